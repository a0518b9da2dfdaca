"""The report of a run: what stands in it, whose its files are, and that it executes no name."""

import base64
import io
import json
import re
import shutil
from datetime import datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import RecipeError, run
from alignimation_core.api.mask import Mask
from alignimation_core.preflight import check_outputs
from alignimation_core.recipe.options import CanvasOptions, ReportOptions
from alignimation_core.rendering.thumbnails import thumbnail
from alignimation_core.report import plots
from alignimation_core.report.outline import outline
from alignimation_imageio import GIF, Frames

NASTY = "<script>alert(1)<!-- \"'& \U0001f600.png"


@pytest.fixture
def photos(tmp_path, discs):
    names = discs.series(tmp_path / "photos", discs.WARPS)
    (tmp_path / "photos" / names[1]).rename(tmp_path / "photos" / NASTY)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "photos" / "empty.png")
    return tmp_path / "photos"


@pytest.fixture
def recipe(discs_recipe):
    def recipe(**changes):
        given = {"report": True, "renderers": [GIF(path="a b.gif")], **changes}
        return discs_recipe(**given)

    return recipe


class Page(HTMLParser):
    """What a page refers to, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.scripts, self._script = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        self._script = dict(attributes) if tag == "script" else None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts.append((self._script.get("type"), data))
            self._script = None

    @property
    def photos(self):
        ((_, text),) = [each for each in self.scripts if each[0] == "application/json"]
        return {photo["path"].removeprefix("photos/"): photo for photo in json.loads(text)}


def read(record):
    text = (record.folder / "report.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_every_photo_is_in_it_with_its_pictures_and_what_was_found(photos, recipe):
    record = run(recipe())
    text, page = read(record)
    assert page.photos.keys() == {path.name for path in photos.iterdir()}
    for name, photo in page.photos.items():
        if name in ("broken.png", "empty.png"):
            assert photo["status"] in ("failed", "rejected")
            assert photo["group"].startswith(f"{photo['status']}: ")
            assert photo["frame"] is None
        else:
            with Image.open(record.folder / photo["photo"]) as image:
                assert image.size == (64, 48)
            with Image.open(record.folder / photo["frame"]) as image:
                assert image.size == (64, 48)
            assert len(photo["points"]) == 3
            assert photo["box"] == photo["found"][0]
    assert page.photos["broken.png"]["photo"] is None
    assert page.photos["empty.png"]["photo"].endswith(".jpg")
    assert "a%20b.gif" in page.sources
    assert "4 photos, " in text
    assert record.outputs == ["a b.gif"]
    assert record.report.keys() == {"report", "report.html"}
    assert not record.report.keys() & record.written.keys()


def test_nothing_of_a_name_is_executed_and_nothing_comes_from_elsewhere(photos, recipe):
    text, page = read(run(recipe()))
    assert [kind for kind, _ in page.scripts] == ["application/json", None]
    assert "alert(1)" not in page.scripts[1][1]
    assert "<script>alert" not in text
    assert page.photos[NASTY]["path"] == f"photos/{NASTY}"
    assert not [source for source in page.sources if ":" in source or source.startswith("/")]
    assert "default-src 'none'" in text
    assert "://" not in re.sub(r"http://www\.w3\.org/2000/svg", "", text)


def test_in_one_file_everything_is_in_it(photos, recipe):
    record = run(recipe(report=ReportOptions(embed=True)))
    _, page = read(record)
    assert not (record.folder / "report").exists()
    assert record.report.keys() == {"report.html"}
    picture = next(iter(page.photos.values()))["frame"]
    assert base64.b64decode(picture.partition(",")[2]).startswith(b"\xff\xd8")


def test_what_is_transparent_is_grey_in_a_small_picture():
    made = Image.open(io.BytesIO(thumbnail(np.zeros((30, 700, 4), np.uint8))))
    assert (made.mode, made.size) == ("RGB", (320, 14))
    assert np.abs(np.asarray(made).astype(int) - 128).max() < 3


def test_the_next_run_replaces_it_also_without_the_store(photos, recipe):
    first = run(recipe())
    shutil.rmtree(first.folder / ".alignimation")
    (photos / "empty.png").unlink()
    again = run(recipe())
    assert "empty.png" not in read(again)[1].photos
    assert again.kept == []


def test_without_a_report_an_earlier_one_is_told_of_as_kept(photos, recipe):
    run(recipe())
    record = run(recipe(report=False))
    assert (record.report, record.kept) == ({}, ["report", "report.html"])


def test_what_is_not_ours_is_spared(photos, recipe, tmp_path):
    (tmp_path / "out" / "report").mkdir(parents=True)
    (tmp_path / "out" / "report" / "mine.txt").write_text("mine")
    with pytest.raises(RecipeError) as error:
        run(recipe())
    out = tmp_path / "out"
    assert str(error.value) == (
        f"recipe: report: {out}/report is no output of an earlier run; move it away, or "
        "set `report: false`"
    )
    assert run(recipe(report=False)).outputs == ["a b.gif"]
    assert (out / "report" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "what"), [("report", "the folder of the report"), ("report.html", "the report")]
)
def test_an_output_cannot_have_its_names(photos, recipe, path, what):
    with pytest.raises(RecipeError) as error:
        check_outputs(recipe(renderers=[Frames(path=path)]))
    assert str(error.value) == (
        f"recipe: renderers[0].path: {path!r} is {what}; choose another name"
    )
    check_outputs(recipe(renderers=[Frames(path=path)], report=False))


def test_frames_are_the_same_with_and_without(photos, recipe):
    frames = []
    for report in (True, False):
        options = CanvasOptions(size="64x48", border="blur")
        renderers = [Frames(path=f"frames-{report}")]
        record = run(recipe(report=report, renderers=renderers, canvas=options))
        folder = record.folder / record.outputs[0]
        frames.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert frames[0] == frames[1]


def test_the_outline_of_a_mask_goes_around_it():
    inside = torch.zeros(8, 10)
    inside[2:6, 3:7] = 1
    (polygon,) = outline(Mask.of(inside, (100.0, 50.0, 120.0, 66.0)))
    xs, ys = zip(*polygon, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == (106.0, 114.0, 54.0, 62.0)
    following = [*polygon[1:], polygon[0]]
    pairs = zip(polygon, following, strict=True)
    area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)
    assert abs(area) / 2 == 64.0


def test_a_mask_with_a_hole_and_an_island_has_three_outlines():
    inside = torch.zeros(40, 40)
    inside[4:20, 4:20] = 1
    inside[10:12, 10:12] = 0
    inside[30, 30] = 1
    assert len(outline(Mask.of(inside, (0.0, 0.0, 40.0, 40.0)))) == 3
    assert outline(Mask.of(torch.zeros(4, 4), (0.0, 0.0, 4.0, 4.0))) == []


def at(day):
    return datetime(2018, 1, 1) + timedelta(days=day)


def test_outliers_are_named_and_long_gaps_told_of():
    points = [(at(day), 0.1 + day % 3 / 100, f"{day}.jpg") for day in range(50)]
    assert plots.outliers(points) == []
    points[20] = (at(20), 3.0, "a/far.jpg")
    assert plots.outliers(points) == [points[20]]
    assert "far.jpg</text>" in plots.over_time(points, "x")
    days = [at(day) for day in range(0, 100, 2)]
    assert "months</text>" not in plots.timeline(days, [])
    assert "10 months</text>" in plots.timeline([*days, at(400)], [])


@pytest.mark.parametrize(
    ("day", "told"), [(0.05, "69 minutes"), (0.4, "10 hours"), (1.8, "43 hours"), (2.6, "3 days")]
)
def test_short_gaps_are_told_of_in_hours(day, told):
    shown = plots.timeline([at(0), at(0.001), at(0.0015), at(0.002), at(day)], [])
    assert f">{told}</text>" in shown


def test_a_year_of_many_digits_is_one_like_any_other():
    assert ">9999-11</text>" in plots.timeline([datetime(9999, 1, 1), datetime(9999, 12, 1)], [])


@pytest.mark.parametrize("last", [1e-5, 0.5, 20, 200, 5000, 36500])
def test_an_axis_has_some_dates_whatever_the_time(last):
    plot = plots.timeline([at(0), at(last)], [at(last / 2)])
    assert 1 <= plot.count("<text") <= 12


@pytest.mark.parametrize("values", [[0.0], [1.0, 1.0], [1e-9, 2e-9], [-5.0, 1e6]])
def test_histograms_of_any_values(values):
    plot = plots.histogram(values, [], [], "x")
    assert plot.count('class="used"') >= 1
    assert "nan" not in plot


def test_plots_of_nothing_are_none():
    assert plots.timeline([], []) is None
    assert plots.over_time([(at(0), 1.0, "a")], "x") is None
    assert plots.histogram([], [], [1.0], "x") is None
