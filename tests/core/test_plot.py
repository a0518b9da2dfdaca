"""Plots for notebooks show what they are given."""

import io
import re

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.dates import num2date
from PIL import Image

from alignimation_core import Detections, Mask, OutputError, Target, load, order, plot, run


def exactly(message):
    return f"^{re.escape(message)}$"


def shown(figure):
    """Return the pictures in a figure's axes."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def rendered(figure):
    """Return the figure as a notebook shows it, (h, w, 3)."""
    with Image.open(io.BytesIO(figure._repr_png_())) as image:
        return np.asarray(image.convert("RGB"))


@pytest.fixture
def files(discs, tmp_path, monkeypatch):
    discs.series(tmp_path / "photos", discs.WARPS)
    monkeypatch.chdir(tmp_path)
    return order("photos")


def two(height=60, width=80):
    """Two detections, the second without a mask and with one keypoint that was not found."""
    return Detections(
        torch.tensor([[10.0, 20, 30, 50], [40, 10, 70, 55]]),
        torch.tensor([0.91, 0.5]),
        torch.tensor([[[15.0, 25], [25, 25]], [[50, 20], [0, 0]]]),
        torch.tensor([[1.0, 1], [1, 0]]),
        ("left_eye", "right_eye"),
        (Mask.of(torch.ones(4, 4), (10, 20, 30, 50)), None),
    )


def test_what_was_found_stands_where_it_was_found():
    photo = torch.full((3, 60, 80), 250, dtype=torch.uint8)
    figure = plot.detections(photo, two())
    (axes,) = figure.axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 80), (60, 0))
    boxes = [(p.get_xy(), p.get_width(), p.get_height()) for p in axes.patches]
    assert boxes == [((10, 20), 20, 30), ((40, 10), 30, 45)]
    assert [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines] == [
        (15, 25),
        (25, 25),
        (50, 20),
    ]
    assert [text.get_text() for text in axes.texts] == ["0.91", "0.50"]
    outline = axes.collections[-1].get_paths()[0].vertices
    assert outline.min(0) == pytest.approx([10, 20], abs=1)
    assert outline.max(0) == pytest.approx([30, 50], abs=1)
    pixels = rendered(figure)
    scale = len(pixels) / 60
    beside, within = (pixels[round(40 * scale), round(x * scale)] for x in (35, 20))
    assert beside.tolist() == [250, 250, 250]
    assert within.mean() < 220  # the mask


def test_the_keypoints_of_one_are_named():
    photo = torch.zeros(3, 60, 80)
    (axes,) = plot.detections(photo, two().subject(0)).axes
    assert [text.get_text() for text in axes.texts] == ["0.91", "left_eye", "right_eye"]
    assert len(plot.detections(photo, Detections.empty()).axes[0].patches) == 0


def test_large_photos_are_drawn_in_their_own_pixels():
    photo = torch.arange(2000).expand(3, 100, 2000) / 2000
    (axes,) = plot.detections(photo, Detections.empty()).axes
    assert axes.get_xlim() == (0, 2000)
    assert axes.images[0].get_extent() == [0, 2000, 100, 0]
    assert axes.images[0].get_array().shape == (45, 900, 3)


def test_targets_are_as_bright_as_they_weigh(files):
    image = torch.zeros(2, 48, 64)
    image[0, 10, 20] = image[1, 30, 40] = 1
    target = Target.of(image, weights=torch.tensor([1.0, 0.25]))
    (heat,) = shown(plot.targets(target))
    assert heat[10, 20] == 1
    assert heat[30, 40] == 0.5
    assert heat.sum() == 1.5
    batch = Target.stack([target, target])
    for several in (batch, [target, target]):
        figure = plot.targets(several, [files[0], load(files[1])])
        assert len(figure.axes) == 2
        assert [len(axes.images) for axes in figure.axes] == [2, 2]
        below = figure.axes[0].images[0].get_array()
        assert np.allclose(below, load(files[0]).float().mean(0))
    message = "expected a photo for each of 2 targets, got 1"
    with pytest.raises(ValueError, match=exactly(message)):
        plot.targets(batch, [files[0]])


def test_before_and_after_end_with_their_means(files):
    before = [torch.full((3, 30, 40), level) for level in (0.0, 1.0)]
    after = [torch.full((3, 60, 40), level, dtype=torch.uint8) for level in (100, 200)]
    figure = plot.before_after(before, after)
    assert [axes.get_title() for axes in figure.axes] == ["before", "", "mean", "after", "", ""]
    pictures = shown(figure)
    assert [picture.shape[:2] for picture in pictures] == [(30, 40)] * 2 + [(60, 40)] * 4
    assert [int(picture.mean()) for picture in pictures] == [0, 255, 128, 100, 200, 150]
    with pytest.raises(
        ValueError, match=exactly("expected as many photos before as after, got 2 and 1")
    ):
        plot.before_after(before, after[:1])
    with pytest.raises(ValueError, match=exactly("there is nothing to draw")):
        plot.before_after([], [])
    after[1] = after[1][:, :50]
    message = "after[1]: expected shape (3, 60, 40) as of the first, got (3, 50, 40)"
    with pytest.raises(ValueError, match=exactly(message)):
        plot.before_after(before, after)


def test_a_contact_sheet_has_dates_names_or_captions(files, tmp_path):
    figure = plot.contact_sheet(files)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]
    assert len(shown(figure)) == 4
    (tmp_path / "photos" / "2020-01-01.png").rename(tmp_path / "undated.png")
    assert plot.contact_sheet(order(["undated.png"])).axes[0].get_title() == "undated.png"
    figure = plot.contact_sheet([load("undated.png")] * 5, ["a", "b", "c", "d", "e"], columns=2)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "e", ""]
    assert figure.axes[0].get_gridspec().ncols == 2
    with pytest.raises(ValueError, match=exactly("expected 1 captions, got 2")):
        plot.contact_sheet(["undated.png"], ["a", "b"])
    with pytest.raises(ValueError, match=exactly("there is nothing to draw")):
        plot.contact_sheet([])
    for none in (0, -2):
        message = f"columns: expected 1 or more, got {none}"
        with pytest.raises(ValueError, match=exactly(message)):
            plot.contact_sheet(files, columns=none)


def test_residuals_of_a_run_are_drawn_over_time(files, discs_recipe, tmp_path):
    record = run(discs_recipe())
    figure = plot.residuals(record)
    (axes,) = figure.axes
    before, after = axes.lines
    assert [f"{num2date(at):%Y-%m-%d}" for at in after.get_xdata(orig=False)] == [
        photo.taken.date().isoformat() for photo in files
    ]
    assert after.get_ydata().tolist() == [photo.residual for photo in record.photos]
    assert before.get_ydata().tolist() == [photo.residual_before for photo in record.photos]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["before", "after"]
    again = plot.residuals(tmp_path / "out" / "run.json").axes[0].lines[1]
    assert again.get_ydata().tolist() == after.get_ydata().tolist()
    assert rendered(figure).shape[2] == 3
    for photo in record.photos:
        photo.residual = None
    message = "no photo of this run has a residual: its detector knows no keypoints"
    with pytest.raises(ValueError, match=exactly(message)):
        plot.residuals(record)


def test_names_and_captions_are_told_as_they_are(files, discs_recipe):
    record = run(discs_recipe())
    record.photos[2].path = "photos/$x_$y\udce9.png"
    for photo, residual in zip(record.photos, (0.1, 0.11, 9.0, 0.1), strict=True):
        photo.residual = residual
    figure = plot.residuals(record)
    assert [text.get_text() for text in figure.axes[0].texts] == ["$x_$y\\udce9.png"]
    rendered(figure)
    figure = plot.contact_sheet(files[:1], ["$x_$y\udce9"])
    assert figure.axes[0].get_title() == "$x_$y\\udce9"
    rendered(figure)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "{}: there is no run record yet; run the recipe first"),
        ("{", "{} is no run record: JSONDecodeError: "),
        ("[1]", "{} is no run record: it tells no path and status of each photo"),
        ('{"photos": [1, 2]}', "{} is no run record: it tells no path and status of each photo"),
        (
            '{"photos": [{"path": "a.jpg"}]}',
            "{} is no run record: it tells no path and status of each photo",
        ),
    ],
)
def test_a_file_that_is_no_run_record_is_one_line(text, message, tmp_path):
    path = tmp_path / "run.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(OutputError, match=f"^{re.escape(message.format(path))}"):
        plot.residuals(path)


def test_outliers_are_named(files, discs_recipe):
    record = run(discs_recipe())
    for photo, residual in zip(record.photos, (0.1, 0.11, 9.0, 0.1), strict=True):
        photo.residual = residual
    (axes,) = plot.residuals(record).axes
    assert [text.get_text() for text in axes.texts] == ["2020-01-03.png"]


def test_each_detection_has_a_colour_of_its_own():
    (axes,) = plot.detections(torch.zeros(3, 60, 80), two()).axes
    colours = [to_hex(patch.get_edgecolor()) for patch in axes.patches]
    assert colours == list(plot.COLOURS[:2])


def test_without_matplotlib_it_says_what_to_install(command):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import alignimation_core; print(*alignimation_core.__all__[:1])\n"
        "try:\n    from alignimation_core import plot\n"
        "except ImportError as error:\n    print(error)"
    )
    done = command(main=code)
    assert done.stdout.splitlines() == [
        "AlignedPhoto",
        "alignimation_core.plot needs matplotlib: pip install 'alignimation[plot]'",
    ]
