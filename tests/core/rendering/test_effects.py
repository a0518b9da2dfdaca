"""Effects in a run: a stream into a stream, for all outputs or for one, and what goes wrong."""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

import av
import numpy as np
import pytest
from pydantic import Field

from alignimation_core import AlignimationError, Effect, Film, Frame, Recipe, RecipeError, run
from alignimation_core.execution.executor import torch_threads
from alignimation_core.photos import decoder
from alignimation_core.summary import schema
from alignimation_effects import CrossFade, Pace, Title
from alignimation_imageio import Video


class Marked(Effect):
    """Puts the place of the photo among all into the first pixel."""

    name: ClassVar[str] = "marked"
    value: Annotated[int, Field(description="of the second pixel", ge=0, le=255)] = 7

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        for frame in frames:
            image = frame.image.clone()
            image[:, 0, 0] = [photo.name for photo in film.photos].index(frame.photo.name)
            image[:, 0, 1] = self.value
            yield replace(frame, image=image)


class Twice(Effect):
    """Shows every frame twice."""

    name: ClassVar[str] = "twice"

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        for frame in frames:
            yield frame
            yield frame


class Points(Effect):
    """Keeps what it was told of the film."""

    name: ClassVar[str] = "points"
    told: ClassVar[list[Film]] = []

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        self.told.append(film)
        yield from frames


def marks(frames):
    """The first pixel of frames (n, 3, h, w) or (n, h, w, 3)."""
    return [int(frame.flat[0]) for frame in frames]


@pytest.fixture
def photos(tmp_path, discs):
    return discs.series(tmp_path / "photos", discs.WARPS)


def test_effects_follow_each_other_in_the_order_given(discs_recipe, photos):
    record = run(discs_recipe(effects=[Marked(), Twice()]))
    (out,) = record.outputs
    frames = np.load(record.folder / out)
    assert marks(frames) == [0, 0, 1, 1, 2, 2, 3, 3]
    record = run(discs_recipe(effects=[Twice(), Marked(value=9)], output="other"))
    assert marks(np.load(record.folder / out)) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_an_effect_knows_where_the_subject_is_on_the_canvas(discs_recipe, photos, discs):
    Points.told.clear()
    record = run(discs_recipe(effects=[Points()]))
    (film,) = Points.told
    assert [photo.name for photo in film.photos] == [f"photos/{name}" for name in photos]
    assert (film.canvas.width, film.canvas.height, film.fps) == (64, 48, 12.0)
    for photo in record.photos:
        matrix = np.array(photo.canvas_from_photo)
        for name, point in photo.subject["keypoints"].items():
            x, y, _ = matrix @ [*point, 1]
            assert film.subjects[photo.path].keypoints[name] == pytest.approx((x, y), abs=1e-3)


class Seen(Effect):
    """Keeps how long photos and what was made between them are shown."""

    name: ClassVar[str] = "seen"
    shown: ClassVar[list[tuple[bool, float | None]]] = []

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        for frame in frames:
            self.shown.append((frame.made, frame.seconds))
            yield frame


@pytest.mark.parametrize(
    ("effects", "extra", "made"),
    [
        ([], 0, 0),
        ([CrossFade(seconds=0.5)], 0, 45),
        ([Pace(hold=1), CrossFade(seconds=0.5)], 0, 45),
        ([Title(text="A", seconds=1.5)], 1.5, 1),
    ],
    ids=["none", "cross-fade", "pace", "title"],
)
def test_a_film_with_effects_is_as_long_as_asked(discs_recipe, photos, effects, extra, made):
    Seen.shown.clear()
    film = Video(path="a.mp4", seconds=8)
    record = run(discs_recipe(effects=[*effects, Seen()], renderers=[film]))
    with av.open(str(record.folder / "a.mp4")) as movie:
        stream = movie.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(8 + extra, abs=1e-3)
        assert stream.average_rate == 30
    assert sum(is_made for is_made, _ in Seen.shown) == made


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (lambda frames: None, "apply: expected an iterator of frames, got NoneType"),
        (lambda frames: iter([3]), "expected a Frame, got int"),
        (
            lambda frames: (replace(f, image=f.image[:, :5]) for f in frames),
            "expected frames (3, 48, 64) uint8, got (3, 5, 64) uint8",
        ),
        (
            lambda frames: (replace(f, seconds=-1.0) for f in frames),
            "a frame cannot be shown for -1.0 seconds",
        ),
        (lambda frames: (1 / 0 for _ in frames), "division by zero"),
    ],
)
def test_an_effect_that_fails_costs_its_output_and_says_why(discs_recipe, photos, effect, message):
    class Bad(Effect):
        """Does what it should not."""

        name: ClassVar[str] = "bad"

        def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
            return effect(frames)

    with pytest.raises(AlignimationError) as error:
        run(discs_recipe(effects=[Bad()]))
    assert str(error.value).startswith("effect bad: ")
    assert str(error.value).endswith(message)


def data(**changes):
    return {
        "photos": "photos/",
        "detector": "blobs",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "canvas": {"size": "64x48"},
        "renderers": [{"use": "video", "path": "a.mp4"}],
        **changes,
    }


@pytest.mark.usefixtures("discs_installed")
class TestInARecipe:
    def test_an_output_may_have_its_own(self, tmp_path, photos):
        own = [{"use": "caption", "text": "hello"}]
        renderers = [
            {"use": "frames", "path": "all"},
            {"use": "frames", "path": "own", "effects": own},
            {"use": "frames", "path": "none", "effects": []},
        ]
        recipe = Recipe.of(data(effects="caption", renderers=renderers), folder=tmp_path)
        assert [kind for kind, _, _ in recipe.stages()].count("effect") == 2
        record = run(recipe)
        pictures = [(record.folder / name / "0001.png").read_bytes() for name in ("all", "own")]
        plain = (record.folder / "none" / "0001.png").read_bytes()
        assert len({*pictures, plain}) == 3
        written = json.loads((record.folder / "run.json").read_text())["recipe"]
        own = [each["effects"] for each in written["renderers"]]
        assert [each["use"] for each in written["effects"]] == ["caption"]
        assert [each and each[0]["text"] for each in own] == [None, "hello", []]

    @pytest.mark.parametrize(
        ("changes", "faults"),
        [
            (
                {"effects": ["captoin"]},
                "effects[0]: there is no effect 'captoin'; did you mean 'caption'?",
            ),
            (
                {"effects": {"use": "caption", "txt": "a"}},
                "effects[0].txt: unknown key; did you mean 'text'?",
            ),
            (
                {"effects": ["caption", {"use": "caption", "size": True}]},
                "effects[1].size: should be a number, got true",
            ),
            (
                {"renderers": [{"use": "gif", "effects": [{"use": "caption", "siz": 3}]}]},
                "renderers[0].effects[0].siz: unknown key; did you mean 'size'?",
            ),
            (
                {"renderers": [{"use": "gif", "effects": [{"use": "caption", "text": "{x}"}]}]},
                "renderers[0].effects[0].text: {x} is not known; the fields are",
            ),
        ],
    )
    def test_faults_are_told_by_their_place(self, tmp_path, changes, faults):
        with pytest.raises(RecipeError) as error:
            Recipe.of(data(**changes), folder=tmp_path)
        (fault,) = error.value.faults
        assert f"{fault.field}: {fault.message}".startswith(faults)

    @pytest.mark.parametrize(
        ("changes", "faults"),
        [
            (
                {"effects": ["caption", "cross-fade", "pace"]},
                [
                    (
                        "effects[2]: cross-fade before pace makes frames that are no photos; "
                        "put pace before it"
                    )
                ],
            ),
            (
                {
                    "effects": [{"use": "title", "text": "A"}, "pace"],
                    "renderers": ["video", {"use": "gif", "effects": ["pace", "morph", "pace"]}],
                },
                [
                    (
                        "effects[1]: title before pace makes frames that are no photos; "
                        "put pace before it"
                    ),
                    (
                        "renderers[1].effects[2]: morph before pace makes frames that are no "
                        "photos; put pace before it"
                    ),
                ],
            ),
            (
                {
                    "effects": [{"use": "pace", "seconds": 20}],
                    "renderers": [{"use": "video", "seconds": 30}, "gif"],
                },
                [
                    (
                        "effects[0]: the output shall last 30 seconds, and pace says 20; "
                        "leave one of them out"
                    )
                ],
            ),
        ],
    )
    def test_what_pace_cannot_follow_is_refused_with_the_recipe(self, tmp_path, changes, faults):
        with pytest.raises(RecipeError) as error:
            Recipe.of(data(**changes), folder=tmp_path)
        assert [f"{fault.field}: {fault.message}" for fault in error.value.faults] == faults

    def test_the_schema_knows_effects(self):
        whole = json.loads(schema())
        one = {"$ref": "#/$defs/effect"}
        listed = {"type": "array", "items": one}
        assert whole["properties"]["effects"]["anyOf"] == [one, listed]
        (gif,) = [
            form
            for form in whole["$defs"]["renderer"]["anyOf"]
            if form.get("properties", {}).get("use") == {"const": "gif"}
        ]
        assert gif["properties"]["effects"]["anyOf"] == [one, listed, {"type": "null"}]


def test_photos_are_taken_one_by_one_and_no_more_than_a_few_wait(
    discs, discs_recipe, tmp_path, monkeypatch
):
    discs.series(tmp_path / "photos", discs.WARPS * 10)
    decoded, read_onto = [], decoder.read_onto
    monkeypatch.setattr(
        decoder, "read_onto", lambda *given: decoded.append(given[0].name) or read_onto(*given)
    )

    class Counting(Effect):
        """Takes its time over the first photo, and takes no more than two."""

        name: ClassVar[str] = "counting"
        seen: ClassVar[list[int]] = []
        decoded: ClassVar[int] = 0

        def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
            for frame in itertools.islice(frames, 2):  # the others are never asked for
                if not self.seen:
                    while self.decoded < len(decoded):  # until no more are
                        type(self).decoded = len(decoded)
                        time.sleep(0.3)
                self.seen.append(frame.index)
                yield frame

    with torch_threads(2):
        record = run(discs_recipe(effects=[Counting()]))
    assert Counting.seen == [0, 1]
    assert Counting.decoded <= 12
    assert len(decoded) == 40
    assert len(np.load(record.folder / record.outputs[0])) == 2
