import json
import math
import os
import weakref
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml

from alignimation_core import (
    AlignimationError,
    Choice,
    Detections,
    Embedder,
    OutputError,
    Recipe,
    RecipeError,
    Registration,
    StageError,
    SubjectSelector,
    Target,
    TransformModel,
    Writer,
    run,
)
from alignimation_core.api.weights import Weights
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import CanvasOptions, ExecutorOptions

PHOTO_KEYS = [
    "path",
    "sha256",
    "width",
    "height",
    "taken",
    "taken_from",
    "taken_zone",
    "status",
    "stage",
    "reason",
    "subject",
    "canvas_from_photo",
    "residual",
    "residual_before",
    "iterations",
    "remarks",
    "turn",
    "corrected",
    "gates",
    "gate",
    "frame",
    "moved",
    "albums",
    "persons",
    "found",
    "picture",
]
KEYS = [
    "alignimation",
    "recipe",
    "seed",
    "device",
    "canvas",
    "reference",
    "photos",
    "outputs",
    "kept",
    "written",
    "report",
    "passed_over",
    "score",
    "min_similarity",
    "seconds",
    "summary",
    "error",
]


@pytest.fixture
def photos(tmp_path, discs):
    return discs.series(tmp_path / "photos", discs.WARPS)


@pytest.fixture
def recipe(discs_recipe):
    return discs_recipe(reference="first", canvas=CanvasOptions(size="64x48", border="black"))


@pytest.fixture
def written(tmp_path):
    """Read run.json."""
    return lambda: json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))


def failed(record):
    """Return (stage, reason) of each failed photo by its bare name."""
    return {
        photo["path"].rpartition("/")[2]: (photo["stage"], photo["reason"])
        for photo in record["photos"]
        if photo["status"] == "failed"
    }


class Shift(TransformModel):
    """The shift alone, which leaves a residual."""

    name: ClassVar[str] = "shift"

    def fit(self, moving, fixed, initial):
        matrices = torch.eye(3, dtype=torch.float64).repeat(len(initial), 1, 1)
        zeros = torch.zeros(len(initial))
        return Registration(matrices, zeros, zeros, zeros.long(), zeros == 0)


# what comes out


def test_known_warps_are_recovered_and_the_frames_stand_still(recipe, photos, discs, written):
    record = run(recipe)
    assert record.summary == {"used": 4, "rejected": 0, "failed": 0}
    assert record.outputs == ["frames.npy"]
    canvas_from_subject = [
        np.array(photo.canvas_from_photo) @ warp
        for photo, warp in zip(record.photos, discs.WARPS, strict=True)
    ]
    for matrix in canvas_from_subject:  # each photo brings the subject to the same place
        apart = (matrix - canvas_from_subject[0])[:2] @ np.c_[discs.BLOBS, np.ones(3)].T
        assert np.abs(apart).max() < 0.05
    frames = np.load(record.folder / "frames.npy").astype(float)
    assert frames.shape == (4, 3, 48, 64)
    assert np.abs(frames - frames[0]).mean() < 1.0
    assert all(np.abs(frame - frames[0]).max() < 45 for frame in frames)
    centroid = [(np.mgrid[:48, :64] + 0.5) * plane / plane.sum() for plane in frames[2]]
    seen = np.array([[c[1].sum(), c[0].sum()] for c in centroid])
    expected = discs.BLOBS @ canvas_from_subject[0][:2, :2].T + canvas_from_subject[0][:2, 2]
    assert np.abs(seen - expected).max() < 0.1


def test_the_record_has_exactly_the_keys_that_others_read(recipe, photos, written):
    record = run(recipe)
    found = written()
    assert list(found) == KEYS
    assert all(list(photo) == PHOTO_KEYS for photo in found["photos"])
    assert found == json.loads(json.dumps(record.as_json()))
    assert found["recipe"] == recipe.dump()
    assert found["canvas"] == {"width": 64, "height": 48}
    assert found["reference"] == "photos/2020-01-01.png"
    assert found["seconds"].keys() == {
        "photos",
        "detector",
        "subject_selector",
        "refine",
        "transform_model",
        "renderer",
    }
    assert found["error"] is None
    first = found["photos"][0]
    assert first["path"] == "photos/2020-01-01.png"
    assert (first["width"], first["height"]) == (64, 48)
    assert (first["taken"], first["taken_from"]) == ("2020-01-01T00:00:00", "name")
    assert (first["status"], first["stage"], first["reason"]) == ("used", None, None)
    assert len(first["sha256"]) == 64
    assert first["subject"].keys() == {"box", "score", "similarity", "keypoints"}
    assert first["subject"]["keypoints"]["blue"] == pytest.approx([32.0, 33.0], abs=0.02)
    assert first["residual"] == 0
    assert all(photo["residual"] < 0.1 for photo in found["photos"])
    assert found["photos"][1]["residual_before"] > 4


def test_the_residual_is_the_rms_distance_in_percent_of_the_height(recipe, photos, discs, written):
    record = run(replace(recipe, transform_model=Shift()))
    places = [
        (np.c_[[p.subject["keypoints"][n] for n in discs.NAMES], np.ones(3)])
        @ np.array(p.canvas_from_photo)[:2].T
        for p in record.photos
    ]
    for photo, place in zip(record.photos, places, strict=True):
        rms = math.sqrt(((place - places[0]) ** 2).sum(1).mean())
        assert photo.residual == pytest.approx(100 * rms / 48, abs=0.01)
    assert record.photos[1].residual > 1


def test_the_stages_that_come_along_do_the_same(tmp_path, photos, discs, discs_installed):
    recipe = Recipe.of(
        {
            "photos": "photos/",
            "detector": "blobs",
            "canvas": {"size": "64x48"},
            "renderers": [{"use": "gif"}, {"use": "frames", "path": "frames"}],
        },
        folder=tmp_path,
    )
    record = run(recipe)
    assert record.summary["used"] == 4
    assert record.outputs == ["animation.gif", "frames"]
    assert len(list((record.folder / "frames").iterdir())) == 4
    assert all(photo.residual < 0.3 for photo in record.photos)


def test_the_command_gives_what_python_gives(
    tmp_path, recipe, photos, discs_installed, command, written
):
    data = recipe.dump()
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    run(recipe)
    frames, record = (tmp_path / "out" / "frames.npy").read_bytes(), written()
    (tmp_path / "out" / "frames.npy").unlink()
    done = command(tmp_path / "recipe.yaml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "frames.npy").read_bytes() == frames
    again = written()
    again["seconds"] = record["seconds"] = {}
    assert again == record


def test_two_runs_give_the_same_bytes(tmp_path, photos, discs_installed):
    renderers = ["gif", {"use": "video", "fps": 5}, {"use": "frames", "path": "f"}]
    data = {"photos": "photos/", "detector": "blobs", "renderers": renderers, "output": "a"}
    data["canvas"] = {"size": "64x48"}
    for output in ("a", "b"):
        run(Recipe.of(data | {"output": output, "report": False}, folder=tmp_path))
    names = sorted(
        path.relative_to(tmp_path / "a")
        for path in (tmp_path / "a").rglob("*")
        if path.is_file() and path.name != "run.json" and ".alignimation" not in path.parts
    )
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# photos that are not as they should be


def test_broken_photos_are_in_the_record_and_the_run_goes_on(tmp_path, recipe, photos, written):
    (tmp_path / "photos" / "2020-01-02.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    (tmp_path / "photos" / "2020-01-03.jpg").write_bytes(b"")
    cut = (tmp_path / "photos" / photos[3]).read_bytes()
    (tmp_path / "photos" / photos[3]).write_bytes(cut[:30])
    record = run(recipe)
    assert record.summary == {"used": 3, "rejected": 0, "failed": 3}
    assert {p.path.rpartition("/")[2] for p in record.photos} == {
        *photos,
        "2020-01-02.jpg",
        "2020-01-03.jpg",
    }
    reasons = failed(written())
    assert all(stage == "photos" for stage, _ in reasons.values())
    assert reasons["2020-01-02.jpg"][1] == (
        "the JPEG is damaged and cannot be decoded; replace or remove it"
    )
    assert reasons["2020-01-03.jpg"][1] == "the file is empty; replace or remove it"
    assert reasons[photos[3]][1] == (
        "this is a broken PNG, of which nothing can be read; replace or remove it"
    )
    assert len(np.load(record.folder / "frames.npy")) == 3


def test_photos_are_listed_as_people_count_the_broken_ones_at_the_end(recipe, photos, written):
    for name in ("x10.jpg", "x9.jpg", "x1.jpg"):
        (recipe.folder / "photos" / name).write_bytes(b"")
    run(recipe)
    names = [photo["path"].rpartition("/")[2] for photo in written()["photos"]]
    assert names == [*photos, "x1.jpg", "x9.jpg", "x10.jpg"]


def test_a_photo_without_the_subject_is_rejected_with_the_selectors_reason(
    tmp_path, recipe, photos, written
):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "2020-01-02 empty.png")
    run(recipe)
    record = written()
    assert record["summary"] == {"used": 4, "rejected": 1, "failed": 0}
    (photo,) = (photo for photo in record["photos"] if photo["status"] == "rejected")
    assert (photo["path"], photo["stage"], photo["reason"]) == (
        "photos/2020-01-02 empty.png",
        "subject_selector",
        "nothing here: 0 blobs",
    )
    assert photo["canvas_from_photo"] is None


def test_no_subject_in_any_photo_fails_with_the_reasons(tmp_path, recipe, written):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "c.png").write_bytes(b"nothing")
    with pytest.raises(AlignimationError) as error:
        run(recipe)
    assert str(error.value) == (
        "no photo shows the subject: 2 rejected: nothing here (such as photos/a.png); "
        "1 failed: this is a text file, no photo; replace or remove it "
        "(such as photos/c.png)"
    )
    record = written()
    assert record["error"] == str(error.value)
    assert record["summary"] == {"used": 0, "rejected": 2, "failed": 1}
    assert record["outputs"] == []
    assert not (tmp_path / "out" / "frames.npy").exists()


def test_photos_that_are_all_broken_fail(tmp_path, recipe, written):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"nothing")
    with pytest.raises(
        AlignimationError, match="no photo shows the subject: 1 failed: this is a text file"
    ):
        run(recipe)
    assert written()["summary"]["failed"] == 1


def test_photos_of_other_shapes_are_not_stretched(tmp_path, recipe, discs):
    discs.series(tmp_path / "photos", discs.WARPS[:1])
    tall = discs.placed(40, 70, math.radians(20), 1.3)
    discs.paint(tmp_path / "photos" / "2020-01-02.png", tall, (120, 80))
    record = run(recipe)
    moved = np.array(record.photos[1].canvas_from_photo)
    a, b = moved[:2, 0], moved[:2, 1]
    assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-6)
    assert abs(a @ b) < 1e-6
    assert record.photos[1].residual < 0.2


def test_limit_takes_the_first_photos_in_time(recipe, photos):
    record = run(recipe, limit=2)
    assert [p.path for p in record.photos] == [f"photos/{name}" for name in photos[:2]]
    assert len(np.load(record.folder / "frames.npy")) == 2


def test_a_photo_named_twice_appears_once(recipe, photos):
    record = run(replace(recipe, photos=["photos/", f"photos/{photos[0]}", "photos/../photos"]))
    assert len(record.photos) == 4


def test_outputs_inside_the_photos_folder_are_not_photos_of_the_next_run(
    tmp_path, photos, discs_installed
):
    recipe = Recipe.of(
        {
            "photos": "photos/",
            "output": "photos/out",
            "detector": "blobs",
            "canvas": {"size": "64x48"},
            "renderers": ["frames", "gif"],
        },
        folder=tmp_path,
    )
    for _ in range(2):
        assert len(run(recipe).photos) == 4


@pytest.mark.parametrize("when", ["detect", "select", "build", "fit"])
def test_a_photo_that_disappears_on_the_way_costs_only_itself(
    tmp_path, recipe, photos, discs, written, when
):
    gone = tmp_path / "photos" / photos[2]

    def vanishing(stage, verb):
        class Vanishing(type(stage)):
            pass

        def wrapped(self, *given):
            gone.unlink(missing_ok=True)
            return getattr(type(stage), verb)(self, *given)

        setattr(Vanishing, verb, wrapped)
        return Vanishing()

    kinds = {
        "detect": "detector",
        "select": "subject_selector",
        "build": "target_builder",
        "fit": "transform_model",
    }
    stage = vanishing(getattr(recipe, kinds[when]), when)
    record = run(replace(recipe, **{kinds[when]: stage}))
    assert failed(written()) == {photos[2]: ("photos", "the file is gone")}
    assert record.outputs == ["frames.npy"]
    assert len(np.load(record.folder / "frames.npy")) == 3


def test_pixels_of_a_photo_that_disappears_cost_only_that_photo(
    tmp_path, recipe, photos, discs, written
):
    class Vanishing(discs.Points):
        def requires(self):
            return frozenset({"pixels"})

        def build(self, subject, size):
            assert subject.image.shape == (3, *size)
            if len(list((tmp_path / "photos").iterdir())) == 4:
                (tmp_path / "photos" / photos[3]).unlink()
            return super().build(subject, size)

    record = run(replace(recipe, target_builder=Vanishing()))
    assert failed(written()) == {photos[3]: ("photos", "the file is gone")}
    assert record.summary["used"] == 3


def test_when_all_photos_disappear_nothing_is_written(tmp_path, recipe, photos, discs, written):
    class Vanishing(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            for path in (tmp_path / "photos").iterdir():
                path.unlink()
            return super().fit(moving, fixed, initial)

    why = r"^no photo could be read again to render it: the file is gone$"
    with pytest.raises(AlignimationError, match=why):
        run(replace(recipe, transform_model=Vanishing()))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".alignimation", "run.json"]
    assert written()["summary"]["failed"] == 4


def test_a_file_name_that_is_no_utf8_is_kept(tmp_path, recipe, photos, written):
    odd = os.fsencode(tmp_path / "photos") + b"/2020-01-09 caf\xe9.png"
    (tmp_path / "photos" / photos[0]).rename(os.fsdecode(odd))
    run(recipe)
    assert [p["path"] for p in written()["photos"]][-1] == "photos/2020-01-09 caf\udce9.png"


# the reference


@pytest.mark.parametrize("name", ["2020-01-03.png", "photos/2020-01-03.png"])
def test_a_photo_may_be_named_as_the_reference(recipe, photos, name):
    record = run(replace(recipe, reference=name))
    assert record.reference == "photos/2020-01-03.png"
    assert record.photos[2].residual == 0


def test_a_reference_that_is_no_photo_is_refused_before_anything_is_done(tmp_path, recipe, photos):
    with pytest.raises(RecipeError) as error:
        run(replace(recipe, reference="2020-02-01.png"))
    assert str(error.value) == (
        "recipe: reference: there is no photo '2020-02-01.png'; did you mean "
        "photos/2020-01-01.png or photos/2020-01-04.png or photos/2020-01-03.png? "
        "(`reference` may also be medoid, mean or first)"
    )
    assert not (tmp_path / "out").exists()


def test_of_photos_of_one_name_the_reference_is_the_one_that_is_meant(tmp_path, recipe, photos):
    for folder in ("before", "after"):
        (tmp_path / "photos" / folder).mkdir()
        copy = tmp_path / "photos" / folder / photos[1]
        copy.write_bytes((tmp_path / "photos" / photos[2]).read_bytes())
    name = f"photos/{photos[1]}"
    assert run(replace(recipe, reference=name)).reference == name
    (tmp_path / name).unlink()
    with pytest.raises(RecipeError) as error:
        run(replace(recipe, reference=photos[1]))
    assert str(error.value) == (
        f"recipe: reference: 2 photos are named {photos[1]!r}; write photos/after/{photos[1]} or "
        f"photos/before/{photos[1]}"
    )


def test_a_trial_run_has_the_reference_that_is_named(recipe, photos):
    record = run(replace(recipe, reference=photos[3]), limit=2)
    assert [photo.path for photo in record.photos] == [f"photos/{photos[at]}" for at in (0, 3)]
    assert record.reference == f"photos/{photos[3]}"


class Naming(SubjectSelector):
    """Takes the first detection, and names photos."""

    name: ClassVar[str] = "naming"

    named: Any = ()

    def photos_named(self):
        return {f"named[{i}]": name for i, name in enumerate(self.named)}

    def select(self, observations):
        found = [len(seen.detections) for seen in observations]
        return [Choice(0) if count else Choice(None, "nothing") for count in found]


def test_a_trial_run_has_the_photos_that_the_selector_names(recipe, photos):
    naming = Naming(named=(photos[1], f"photos/{photos[2]}"))
    for limit, reference, expected in [
        (2, "medoid", (1, 2)),
        (3, "medoid", (0, 1, 2)),
        (1, photos[3], (1, 2, 3)),
        (9, photos[3], (0, 1, 2, 3)),
    ]:
        record = run(replace(recipe, subject_selector=naming, reference=reference), limit=limit)
        assert [p.path for p in record.photos] == [f"photos/{photos[at]}" for at in expected]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (
            ("x.png",),
            "recipe: subject_selector.named[0]: there is no photo 'x.png'; ",
        ),
        (3, "recipe: subject_selector: 'naming' failed to say which photos it names: TypeError: "),
    ],
)
def test_photos_that_the_selector_names_and_that_are_not_there_are_refused_at_once(
    tmp_path, recipe, photos, named, message
):
    with pytest.raises(RecipeError) as error:
        run(replace(recipe, subject_selector=Naming(named=named)))
    assert str(error.value).startswith(message)
    assert not (tmp_path / "out").exists()


def test_a_rejected_reference_is_named(tmp_path, recipe, photos, written):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / photos[1])
    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, reference=photos[1]))
    assert str(error.value) == (
        f"the reference 'photos/{photos[1]}' is not among the photos used; name one that is, "
        f"such as photos/{photos[0]}, or set `reference: medoid`"
    )
    assert written()["error"] == str(error.value)


# folders


def test_a_missing_or_empty_photos_folder_is_a_fault_of_the_recipe(tmp_path, recipe):
    with pytest.raises(RecipeError) as error:
        run(recipe)
    assert str(error.value) == f"recipe: photos[0]: {tmp_path}/photos does not exist"
    (tmp_path / "photos").mkdir()
    with pytest.raises(RecipeError, match=r"the folder .*/photos holds no photos"):
        run(recipe)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("output", ["file", "file/out"])
def test_an_output_folder_that_cannot_be_written_is_named(tmp_path, recipe, photos, output):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError) as error:
        run(replace(recipe, output=output))
    what = "File exists" if output == "file" else "Not a directory"
    assert str(error.value) == (
        f"{tmp_path}/{output}: the output folder cannot be written: {what}; set `output`"
    )
    assert (tmp_path / "file").read_text() == "in the way"


def test_old_outputs_stay_until_new_ones_are_finished(tmp_path, recipe, photos, discs):
    run(recipe)
    before = (tmp_path / "out" / "frames.npy").read_bytes()
    with pytest.raises(AlignimationError):
        run(replace(recipe, renderers=[breaking(discs, "close")(path="frames.npy")]))
    assert (tmp_path / "out" / "frames.npy").read_bytes() == before
    left = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert left == [".alignimation", "frames.npy", "run.json"]


# stages of others that do wrong: named with the photo, and the others go on


def brightest(image):
    """Return the green blob's height, by which these stages know the photo they fail on."""
    return int(image[1].float().amax(1).argmax())


def detecting(discs, change):
    class Wrong(discs.Blobs):
        def detect(self, images):
            found = super().detect(images)
            return [
                change(seen) if brightest(image) == 17 else seen
                for image, seen in zip(images, found, strict=True)
            ]

    return Wrong()


def bad(seen, **changes):
    return replace(seen, **changes)


NAN = float("nan")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: 1 / 0, "blobs: ZeroDivisionError: division by zero"),
        (lambda _: None, "blobs: TypeError: expected Detections, got NoneType"),
        (
            lambda _: Detections.empty(),
            (
                "blobs: ValueError: it says that it provides keypoints.blue, keypoints.green, "
                "keypoints.red, but did not"
            ),
        ),
        (
            lambda seen: bad(seen, boxes=torch.zeros(1, 5)),
            "blobs: ValueError: boxes: expected shape (n, 4), got (1, 5)",
        ),
        (
            lambda seen: bad(seen, scores=torch.ones(2)),
            "blobs: ValueError: scores: expected shape (1), got (2,)",
        ),
        (
            lambda seen: bad(seen, boxes=seen.boxes * NAN),
            "blobs: ValueError: boxes: expected finite numbers, got nan",
        ),
        (
            lambda seen: bad(seen, keypoints=seen.keypoints * math.inf),
            "blobs: ValueError: keypoints: expected finite numbers, got inf",
        ),
        (
            lambda seen: bad(seen, scores=seen.scores * NAN),
            "blobs: ValueError: scores: expected finite numbers, got nan",
        ),
        (
            lambda seen: bad(seen, boxes=seen.boxes.long()),
            "blobs: TypeError: boxes: expected torch.float32 on cpu, got torch.int64 on cpu",
        ),
        (
            lambda seen: bad(seen, scores=seen.scores.to("meta")),
            "blobs: TypeError: scores: expected torch.float32 on cpu, got torch.float32 on meta",
        ),
        (
            lambda seen: bad(seen, boxes=seen.boxes.flip(1)),
            "blobs: ValueError: boxes: expected (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1",
        ),
    ],
)
def test_a_detector_that_does_wrong(recipe, photos, discs, written, change, reason):
    record = run(replace(recipe, detector=detecting(discs, change)))
    assert failed(written()) == {photos[1]: ("detector", reason)}
    assert record.summary == {"used": 3, "rejected": 0, "failed": 1}
    assert len(np.load(record.folder / "frames.npy")) == 3


def test_a_keypoint_that_was_not_found_may_have_no_place(recipe, photos, discs):
    def without(seen):
        scores = torch.tensor([[1.0, 1.0, 0.0]])
        points = seen.keypoints.clone()
        points[0, 2] = NAN
        return bad(seen, keypoints=points, keypoint_scores=scores)

    class Two(discs.Points):
        def build(self, subject, size):
            points = [subject.keypoints[name] for name in ("red", "green")]
            return Target.of(torch.zeros(1, *size), points=torch.tensor(points))

    record = run(replace(recipe, detector=detecting(discs, without), target_builder=Two()))
    assert record.summary["used"] == 4
    assert record.photos[1].subject["keypoints"].keys() == {"red", "green"}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda found: found[:-1], "blobs: TypeError: expected a list of 1 Detections, got 0"),
        (tuple, "blobs: TypeError: expected a list of 1 Detections, got tuple"),
        (lambda _: None, "blobs: TypeError: expected a list of 1 Detections, got NoneType"),
    ],
)
def test_a_detector_that_answers_with_no_list_or_too_few(
    recipe, photos, discs, written, answer, reason
):
    class Wrong(discs.Blobs):
        def detect(self, images):
            return answer(super().detect(images))

    with pytest.raises(AlignimationError, match=r"^no photo shows the subject: 4 failed: blobs"):
        run(replace(recipe, detector=Wrong()))
    assert failed(written()) == dict.fromkeys(photos, ("detector", reason))


class Colours(Embedder):
    """The mean colour."""

    name: ClassVar[str] = "colours"
    same_above: ClassVar[float] = 0.5

    def embed(self, images, detections):
        return [torch.ones(len(seen), 2) / math.sqrt(2) for seen in detections]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: 1 / 0, "colours: ZeroDivisionError: division by zero"),
        (lambda _: [1.0], "colours: TypeError: expected Tensor, got list"),
        (
            lambda rows: rows[0],
            "colours: ValueError: embeddings: expected shape (1, n), got (2,)",
        ),
        (
            lambda rows: rows.repeat(2, 1),
            "colours: ValueError: embeddings: expected shape (1, n), got (2, 2)",
        ),
        (
            lambda rows: rows.to("meta"),
            (
                "colours: TypeError: embeddings: expected torch.float32 on cpu, got torch.float32 "
                "on meta"
            ),
        ),
        (
            lambda rows: rows * NAN,
            "colours: ValueError: embeddings: expected finite numbers, got nan",
        ),
    ],
)
def test_an_embedder_that_does_wrong(recipe, photos, written, change, reason):
    class Wrong(Colours):
        def embed(self, images, detections):
            return [
                change(rows) if brightest(image) * 64 // image.shape[2] == 17 else rows
                for image, rows in zip(images, super().embed(images, detections), strict=True)
            ]

    record = run(replace(recipe, embedder=Wrong()))
    assert failed(written()) == {photos[1]: ("embedder", reason)}
    assert record.summary["used"] == 3


def test_a_selector_is_given_embeddings_and_full_size_detections(recipe, photos, discs):
    seen = []

    class Watching(discs.First):
        def select(self, observations):
            seen.extend(observations)
            return [Choice(0, similarity=0.25) for _ in observations]

    record = run(replace(recipe, embedder=Colours(), subject_selector=Watching()))
    assert [each.photo.name for each in seen] == [f"photos/{name}" for name in photos]
    assert all(each.embeddings.shape == (1, 2) for each in seen)
    assert all(each.same_above == 0.5 for each in seen)
    assert seen[0].detections.keypoints[0].numpy() == pytest.approx(
        discs.BLOBS + np.array([32, 24]), abs=0.02
    )
    assert [photo.subject["similarity"] for photo in record.photos] == [0.25] * 4


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda _: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda choices: choices[1:], "TypeError: expected a list of 4 Choice, got 3"),
        (lambda _: None, "TypeError: expected a list of 4 Choice, got NoneType"),
        (lambda choices: [0, *choices[1:]], "TypeError: expected Choice, got int"),
        (
            lambda choices: [*choices[:3], Choice(1)],
            "IndexError: photos/2020-01-04.png: chose detection 1 of 1",
        ),
        (
            lambda choices: [Choice(-1), *choices[1:]],
            "IndexError: photos/2020-01-01.png: chose detection -1 of 1",
        ),
        (
            lambda choices: [Choice(0, similarity=NAN), *choices[1:]],
            "ValueError: photos/2020-01-01.png: the similarity is nan",
        ),
    ],
)
def test_a_selector_that_does_wrong_ends_the_run(recipe, photos, discs, written, answer, reason):
    class Wrong(discs.First):
        def select(self, observations):
            return answer(super().select(observations))

    with pytest.raises(StageError) as error:
        run(replace(recipe, subject_selector=Wrong()))
    assert str(error.value) == f"subject_selector first: {reason}"
    assert written()["error"] == str(error.value)
    assert written()["summary"]["failed"] == 4


def building(discs, change):
    class Wrong(discs.Points):
        def build(self, subject, size):
            target = super().build(subject, size)
            return change(target) if subject_turn(subject) > 5 else target

    return Wrong()


def subject_turn(subject):
    """Return how far the subject is turned, degrees: 8 in the second photo, the most."""
    (x0, y0), (x1, y1) = subject.keypoints["red"], subject.keypoints["green"]
    return math.degrees(math.atan2(y1 - y0, x1 - x0))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: 1 / 0, "points: ZeroDivisionError: division by zero"),
        (lambda target: target.image, "points: TypeError: expected a Target, got Tensor"),
        (
            lambda target: replace(target, image=torch.zeros(1, 4, 5)),
            "points: ValueError: image: expected shape (C, 128, 128), got (1, 4, 5)",
        ),
        (
            lambda target: Target.of(torch.zeros(2, 128, 128), points=target.points),
            "points: it drew (2, 3) channels and points here, but (1, 3) before",
        ),
        (
            lambda target: Target.of(target.image, points=target.points[:2]),
            "points: it drew (1, 2) channels and points here, but (1, 3) before",
        ),
        (
            lambda target: replace(target, image=target.image + NAN),
            "points: ValueError: image: not all numbers are finite",
        ),
        (
            lambda target: replace(target, points=target.points * NAN),
            "points: ValueError: points: not all numbers are finite",
        ),
        (
            lambda target: replace(target, image=target.image.byte()),
            "points: TypeError: image: expected float32 in [0, 1], got torch.uint8",
        ),
        (
            lambda target: replace(target, weights=torch.ones(3)),
            "points: ValueError: weights: expected shape (1), got (3,)",
        ),
    ],
)
def test_a_target_builder_that_does_wrong(recipe, photos, discs, written, change, reason):
    record = run(replace(recipe, target_builder=building(discs, change)))
    assert failed(written()) == {photos[1]: ("target_builder", reason)}
    assert record.summary["used"] == 3


def fitting(discs, change):
    class Wrong(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            found = super().fit(moving, fixed, initial.clone())
            for i, matrix in enumerate(found.matrices):
                if math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])) < -7.5:
                    found = change(found, i)
            return found

    return Wrong()


def putting(matrix):
    def change(found, i):
        found.matrices[i] = torch.tensor(matrix, dtype=torch.float64)
        return found

    return change


def refusing(found, i):
    reasons = [None] * len(found.matrices)
    reasons[i] = "it went astray"
    return replace(found, failures=tuple(reasons))


WRONG_TRANSFORM = "closed-form: it gave a transform that mirrors, flattens or explodes the photo"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda *_: 1 / 0, "closed-form: ZeroDivisionError: division by zero"),
        (lambda *_: 5, "closed-form: TypeError: expected a Registration, got int"),
        (
            lambda found, _: replace(found, residuals=torch.zeros(9)),
            "closed-form: ValueError: residuals: expected shape (1), got (9,)",
        ),
        (
            lambda found, _: Registration(
                torch.eye(3).expand(7, 3, 3), *[torch.zeros(7, dtype=torch.int64)] * 4
            ),
            "closed-form: ValueError: expected 1 matrices, got 7",
        ),
        (
            putting([[NAN, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "closed-form: it gave a transform with numbers that are not finite",
        ),
        (putting([[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), WRONG_TRANSFORM),
        (putting([[0, 0, 5], [0, 0, 5], [0, 0, 1]]), WRONG_TRANSFORM),
        (putting([[1e-9, 0, 5], [0, 1e-9, 5], [0, 0, 1]]), WRONG_TRANSFORM),
        (putting([[1e200, 0, 5], [0, 1e200, 5], [0, 0, 1]]), WRONG_TRANSFORM),
        (refusing, "closed-form: it went astray"),
    ],
)
def test_a_transform_model_that_does_wrong(recipe, photos, discs, written, change, reason):
    record = run(replace(recipe, transform_model=fitting(discs, change)))
    assert failed(written()) == {photos[1]: ("transform_model", reason)}
    assert record.summary["used"] == 3


def test_a_model_that_fails_on_every_photo_is_blamed_and_not_the_reference(recipe, photos, discs):
    class Wrong(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            raise ValueError("no\nidea")

    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, transform_model=Wrong()))
    assert str(error.value) == (
        "no photo is left to align; of 4, 4 failed: closed-form: ValueError: no idea"
    )


def breaking(discs, at):
    """Return a renderer that fails at a verb."""

    class BreakingWriter(discs.ArrayWriter):
        def write(self, frame):
            if at == "write" and frame.index == 1:
                raise RuntimeError("out of ink")
            super().write(frame)

        def close(self):
            if at == "close":
                raise RuntimeError("out of ink")
            path = super().close()
            return str(path) if at == "type" else path

    class Breaking(discs.Array):
        name: ClassVar[str] = "breaking"

        def open(self, canvas, count, folder):
            if at == "open":
                raise RuntimeError("out of ink")
            return None if at == "nothing" else BreakingWriter(folder / self.path)

    return Breaking


@pytest.mark.parametrize("name", ["", "nothing.npy", "../frames.npy"])
def test_a_renderer_that_writes_elsewhere_is_told(tmp_path, recipe, photos, discs, name):
    class Elsewhere(discs.ArrayWriter):
        def close(self):
            super().close()
            return self.path.parent / name

    class Array(discs.Array):
        def open(self, canvas, count, folder):
            return Elsewhere(folder / self.path)

    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, renderers=[Array()]))
    assert str(error.value) == (
        f"renderer array: close: expected a file or folder that stands in {tmp_path}/out, got "
        f"{tmp_path / 'out'}{'/' * bool(name)}{name}"
    )


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("open", "RuntimeError: out of ink"),
        ("write", "RuntimeError: out of ink"),
        ("close", "RuntimeError: out of ink"),
        ("nothing", "open: expected a Writer, got NoneType"),
        ("type", "close: expected a Path, got str"),
    ],
)
def test_where_a_renderer_does_wrong_no_output_of_the_run_appears(
    tmp_path, recipe, photos, discs, written, at, reason
):
    run(replace(recipe, renderers=[discs.Array(path="a.npy")], canvas=CanvasOptions(size="96x64")))
    earlier = (tmp_path / "out" / "a.npy").read_bytes()
    renderers = [
        discs.Array(path="a.npy"),
        breaking(discs, at)(path="b.npy"),
        discs.Array(path="c.npy"),
    ]
    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, renderers=renderers))
    assert str(error.value) == f"renderer breaking: {reason}"
    assert (written()["outputs"], written()["kept"]) == ([], ["a.npy"])
    assert written()["error"] == str(error.value)
    assert written()["summary"]["used"] == 4
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {".alignimation", "a.npy", "run.json"}
    assert (tmp_path / "out" / "a.npy").read_bytes() == earlier


@pytest.mark.parametrize("at", ["open", "close"])
def test_all_renderers_that_fail_are_named(recipe, photos, discs, at):
    renderers = [breaking(discs, at)(path=path) for path in "ab"]
    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, renderers=renderers))
    assert str(error.value).count("renderer breaking: RuntimeError: out of ink") == 2


def test_an_error_of_our_own_from_a_plugin_says_what_it_says(recipe, photos, discs):
    class Full(discs.Array):
        def open(self, canvas, count, folder):
            raise OutputError(f"{folder}: the disk is full; make room")

    with pytest.raises(AlignimationError, match=r"^.*/out: the disk is full; make room$"):
        run(replace(recipe, renderers=[Full()]))


# weights


def test_weights_of_the_users_own_are_not_fetched_and_missing_ones_are_a_fault(
    tmp_path, recipe, photos
):
    published = Weights(
        filename="none.pt", url="https://localhost/none.pt", sha256="0" * 64, size=1, licence="none"
    )

    class Own(Colours):
        def weights_needed(self):
            return ((published, tmp_path / "mine.pt"),)

    with pytest.raises(RecipeError, match=r"mine\.pt is no file; give another"):
        run(replace(recipe, embedder=Own()))
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine.pt").touch()
    assert run(replace(recipe, embedder=Own())).summary["used"] == 4


# memory


def alive(references):
    return sum(reference() is not None for reference in references)


def most_alive(tmp_path, recipe, discs, count):
    """Run over so many photos; return how many pictures and frames were alive at once at most."""
    images, frames, most = [], [], {"images": 0, "frames": 0}

    class Counting(discs.Blobs):
        def detect(self, pictures):
            images.extend(weakref.ref(picture) for picture in pictures)
            most["images"] = max(most["images"], alive(images))
            return super().detect(pictures)

    class Forgetful(Writer):
        def write(self, frame):
            frames.append(weakref.ref(frame.image))
            most["frames"] = max(most["frames"], alive(frames))
            most["images"] = max(most["images"], alive(images))

        def close(self):
            self.path.touch()
            return self.path

        def abort(self):
            pass

    class Nothing(discs.Array):
        def open(self, canvas, count, folder):
            writer = Forgetful()
            writer.path = folder / self.path
            return writer

    folder = tmp_path / f"photos{count}"
    warps = [discs.placed(30 + i % 5, 24, math.radians(i % 13)) for i in range(count)]
    discs.series(folder, warps)
    stages = {"detector": Counting(), "renderers": [Nothing()], "photos": [str(folder)]}
    two = ExecutorOptions(workers=2)
    assert run(replace(recipe, executor=two, **stages)).summary["used"] == count
    assert len(images) == len(frames) == count
    return most


def test_memory_does_not_grow_with_the_number_of_photos(tmp_path, recipe, discs):
    for count in (20, 60):
        most = most_alive(tmp_path, recipe, discs, count)
        assert most["images"] <= 2 * 4  # two workers with a batch each
        assert most["frames"] <= 2


def test_what_appears_under_an_outputs_name_during_the_run_stays(tmp_path, recipe, photos, written):
    class Mine(Progress):
        @contextmanager
        def stage(self, name, total, at_work=""):
            if name == "rendering":
                (tmp_path / "out" / "frames.npy").write_text("mine")
            yield lambda: None

    with pytest.raises(AlignimationError) as error:
        run(recipe, progress=Mine())
    assert str(error.value) == (
        f"{tmp_path}/out/frames.npy appeared while the run went on; move it away, or choose "
        "another path"
    )
    assert (tmp_path / "out" / "frames.npy").read_text() == "mine"
    assert (written()["outputs"], written()["kept"]) == ([], [])
    with pytest.raises(RecipeError, match=r"is no output of an earlier run"):
        run(recipe)
    assert (tmp_path / "out" / "frames.npy").read_text() == "mine"


def test_a_link_to_nowhere_that_appears_under_an_outputs_name_stays(
    tmp_path, recipe, photos, written
):
    link = tmp_path / "out" / "frames.npy"

    class Mine(Progress):
        @contextmanager
        def stage(self, name, total, at_work=""):
            if name == "rendering":
                link.symlink_to("/nowhere/mine.npy")
            yield lambda: None

    with pytest.raises(AlignimationError) as error:
        run(recipe, progress=Mine())
    assert str(error.value) == (
        f"{link} appeared while the run went on; move it away, or choose another path"
    )
    assert link.readlink() == Path("/nowhere/mine.npy")
    assert (written()["outputs"], written()["kept"]) == ([], [])
