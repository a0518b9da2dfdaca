"""Runs that show some of their photos, and what they do where one of those fails."""

import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import AlignimationError, Recipe, run
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.recipe.timeline import Sample

SCORES = {32: 0.5, 35: 0.9, 29: 0.8, 33: 0.7}
"""By the subject's place in the four photos."""

SHARPNESS = re.compile(r", sharpness 0\.\d\d to 0\.\d\d(?=\))")


@pytest.fixture
def photos(tmp_path, discs):
    return [f"photos/{name}" for name in discs.series(tmp_path / "photos", discs.WARPS)]


@pytest.fixture
def rated(discs):
    """Make a detector that scores photos, and misplaces a keypoint of some; it counts photos."""

    class Rated(discs.Blobs):
        def detect(self, images):
            looked.append(len(images))
            found = []
            for each in super().detect(images):
                points = each.keypoints.clone()
                place = round(float(points[0, :, 0].mean()))
                points[0, 2, 1] += 4.0 * (place in misplaced)
                found.append(replace(each, scores=torch.tensor([SCORES[place]]), keypoints=points))
            return found

    looked, misplaced = [], set()

    def rated(*places):
        misplaced.update(places)
        return Rated()

    rated.looked = looked
    return rated


@pytest.fixture
def recipe(discs_recipe, photos, rated):
    return discs_recipe(
        detector=rated(),
        reference="medoid",
        canvas=CanvasOptions(size="64x48", border="black"),
        time_zone="UTC",
    )


def told(record):
    """Return status, stage and reason of each photo, in order; of sharpness, only that it is told.

    A rejection by ``sample`` must tell it.
    """
    data = json.loads((record.folder / "run.json").read_text(encoding="utf-8"))
    assert all(
        SHARPNESS.search(p["reason"]) for p in data["photos"] if " is shown " in str(p["reason"])
    )
    return [
        (photo["status"], photo["stage"], photo["reason"] and SHARPNESS.sub("", photo["reason"]))
        for photo in data["photos"]
    ]


def used(record):
    return [photo.path for photo in record.photos if photo.status == "used"]


def test_the_best_is_shown_and_the_others_are_told_which(recipe, photos):
    record = run(replace(recipe, sample=Sample(every="month", keep=2)))
    assert len(np.load(record.folder / "frames.npy")) == 2
    used_, rule = ("used", None, None), f"2 of every month are used: {photos[1]} is shown"
    assert told(record) == [
        ("rejected", "sample", f"{rule} (score 0.90 to 0.50)"),
        used_,
        used_,
        ("rejected", "sample", f"{rule} (score 0.90 to 0.70)"),
    ]
    assert record.photos[0].subject["score"] == 0.5
    assert record.photos[0].canvas_from_photo is None
    assert record.reference in photos[1:3]


def test_another_choice_looks_at_no_photo_again(tmp_path, photos, discs_installed):
    data = {"photos": "photos/", "detector": "blobs", "subject_selector": "first",
            "target_builder": "points", "transform_model": "closed-form",
            "renderers": "array"}  # fmt: skip
    run(Recipe.of({**data, "sample": "week"}, folder=tmp_path))
    seen = []

    class Told(Progress):
        def note(self, line):
            seen.append(line)

    record = run(Recipe.of({**data, "max": 3}, folder=tmp_path), progress=Told())
    assert len(used(record)) == 3
    assert "detecting: 4 of 4 from the store" in seen


def test_photos_of_another_time_are_not_looked_at(recipe, photos, rated):
    record = run(replace(recipe, since="2020-01-02", until="2020-01-03"))
    assert used(record) == photos[1:3]
    assert sum(rated.looked) == 2
    assert told(record)[3] == (
        "rejected",
        "sample",
        "taken after 2020-01-03: on 2020-01-04",
    )
    rated.looked.clear()
    with pytest.raises(AlignimationError) as error:
        run(replace(recipe, since="2019", until="2019"))
    assert str(error.value) == ("no photo is of the recipe's time: taken after 2019: on 2020-01-01")
    assert not rated.looked


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("taken", ["img9.png", "img2.png", "img10.png"]),
        ("name", ["img2.png", "img9.png", "img10.png"]),
        ("modified", ["img10.png", "img2.png", "img9.png"]),
        ("given", ["img2.png", "img10.png", "img9.png"]),
    ],
)
def test_frames_come_in_the_order_that_the_recipe_asks_for(recipe, photos, tmp_path, order, names):
    wanted = {"img9.png": (0, 30), "img2.png": (1, 20), "img10.png": (2, 10)}
    for name, (number, modified) in wanted.items():
        exif = Image.Exif()
        exif[0x8769] = {0x9003: f"2020:01:01 0{number}:00:00"}
        with Image.open(tmp_path / photos[number]) as image:
            image.save(tmp_path / name, exif=exif)
        os.utime(tmp_path / name, (modified * 1e7, modified * 1e7))
    given = ["img2.png", "img10.png", "img9.png"]
    record = run(replace(recipe, photos=given, order=order))
    assert [photo.path for photo in record.photos] == names
    assert len(np.load(record.folder / "frames.npy")) == 3


def test_the_reference_is_shown_whenever_it_was_taken(recipe, photos):
    record = run(replace(recipe, since="2020-01-03", reference="2020-01-01.png"))
    assert used(record) == [photos[0], *photos[2:]]


def test_a_trial_takes_the_first_photos_of_the_recipes_time(recipe, photos):
    record = run(replace(recipe, since="2020-01-02"), limit=2)
    assert [photo.path for photo in record.photos] == photos[1:3]


def test_duplicates_are_shown_once(recipe, photos, tmp_path):
    copy = tmp_path / "photos" / "2020-02-01.png"
    copy.write_bytes((tmp_path / photos[1]).read_bytes())
    record = run(replace(recipe, duplicates="drop"))
    assert used(record)[-1] != "photos/2020-02-01.png"
    assert told(record)[4] == (
        "rejected",
        "sample",
        f"the same file as another: {photos[1]} is shown (score 0.90 to 0.90)",
    )
    assert "duplicates" in record.seconds


def test_where_one_cannot_be_aligned_the_next_best_is_shown(recipe, photos, rated):
    wanted = replace(recipe, sample=Sample(every="month", keep=3), detector=rated(29))
    assert used(run(wanted)) == photos[1:]
    record = run(replace(wanted, max_residual=1.0), fresh=True)
    assert used(record) == [photos[0], photos[1], photos[3]]
    status, stage, reason = told(record)[2]
    assert (status, stage) == ("failed", "transform_model")
    assert reason.startswith("it fits badly: residual ")
    assert len(np.load(record.folder / "frames.npy")) == 3


def test_where_nobody_can_take_its_place_the_others_are_shown(recipe, photos, rated):
    everyone = Sample(every="month", keep=4)
    record = run(replace(recipe, sample=everyone, detector=rated(29), max_residual=1.0))
    assert used(record) == [photos[0], photos[1], photos[3]]
    assert record.summary == {"used": 3, "rejected": 0, "failed": 1}


def test_where_the_reference_itself_cannot_be_aligned_the_next_best_is(recipe, photos, discs):
    class Refusing(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            asked.append(len(initial))
            why = ("it is refused",) * len(initial) if len(asked) == 1 else ()
            return replace(super().fit(moving, fixed, initial), failures=why)

    asked = []
    record = run(replace(recipe, max=1, transform_model=Refusing()))
    assert used(record) == [photos[2]]
    assert told(record)[1][0] == "failed"
    assert len(asked) == 2


def test_where_the_best_cannot_be_rendered_the_next_best_is(recipe, photos, discs, tmp_path):
    class Vanishing(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            (tmp_path / photos[1]).unlink(missing_ok=True)
            return super().fit(moving, fixed, initial)

    rule = f"more than 1 in all: {photos[2]} is shown"
    record = run(replace(recipe, max=1, transform_model=Vanishing()))
    assert told(record) == [
        ("rejected", "sample", f"{rule} (score 0.80 to 0.50)"),
        ("failed", "photos", "the file is gone"),
        ("used", None, None),
        ("rejected", "sample", f"{rule} (score 0.80 to 0.70)"),
    ]
    assert len(np.load(record.folder / "frames.npy")) == 1
    assert record.error is None
    assert record.outputs == ["frames.npy"]
