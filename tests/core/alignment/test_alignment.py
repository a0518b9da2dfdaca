"""What the recipe's ``reference`` and ``max_residual`` do to a run."""

from dataclasses import replace

import numpy as np
import pytest

from alignimation_core import AlignimationError, run
from alignimation_core.recipe.options import CanvasOptions


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    """Photos of three blobs; in the last one, one blob is far from where it should be."""
    warps = [discs.placed(30 + i, 24 - i % 3, 0.05 * i, 1 + 0.02 * i) for i in range(5)]
    discs.series(tmp_path / "photos", warps)
    shape = discs.BLOBS.copy()
    discs.BLOBS[2] += [6, -8]
    try:
        discs.paint(tmp_path / "photos" / "2020-01-06.png", discs.placed(32, 26))
    finally:
        discs.BLOBS[:] = shape
    return discs_recipe


def test_a_photo_that_fits_badly_is_left_out_with_its_residual(recipe, tmp_path):
    record = run(recipe(max_residual=3.0))
    *good, bad = record.photos
    assert [photo.status for photo in good] == ["used"] * 5
    assert max(photo.residual for photo in good) < 1
    assert (bad.status, bad.stage) == ("failed", "transform_model")
    assert bad.reason == (
        f"it fits badly: residual {bad.residual:.2f} % of the canvas height, max_residual is 3"
    )
    assert bad.residual > 3
    assert len(np.load(tmp_path / "out" / "frames.npy")) == 5


def test_no_photo_that_is_used_fits_worse_than_allowed_on_the_canvas_without_the_others(
    tmp_path, discs, discs_recipe
):
    """The one that is left out reaches so far that without it the canvas shows half as much."""
    (tmp_path / "photos").mkdir()
    noise, shape = np.random.default_rng(1), discs.BLOBS.copy()
    try:
        for day in range(1, 12):
            far = day == 11
            discs.BLOBS[:] = (
                shape + noise.normal(0, 0.1 * day, shape.shape) + far * 0.6 * shape[::-1]
            )
            warp = discs.placed(32, 24, 0, 0.4 if far else 1)
            discs.paint(tmp_path / "photos" / f"2020-01-{day:02}.png", warp)
    finally:
        discs.BLOBS[:] = shape
    canvas = CanvasOptions.model_validate({"size": "64x48", "framing": "whole"})
    recipe = discs_recipe(canvas=canvas, reference="2020-01-01.png")
    before = run(recipe)
    *rest, worst = sorted(photo.residual for photo in before.photos)
    limit = 1.2 * rest[-1]
    assert limit < worst
    after = run(replace(recipe, max_residual=limit))
    used = [photo.residual for photo in after.photos if photo.status == "used"]
    assert 0 < len(used) < len(before.photos)
    assert max(used) <= limit


def test_without_a_limit_every_photo_is_used(recipe):
    assert run(recipe(max_residual=None)).summary == {"used": 6, "rejected": 0, "failed": 0}


def test_by_default_a_photo_whose_residual_stands_out_is_left_out_and_says_so(recipe):
    record = run(recipe())
    *good, bad = record.photos
    assert [photo.status for photo in good] == ["used"] * 5
    usual = sorted(photo.residual for photo in record.photos)[2]
    assert bad.reason == (
        f"it fits badly: residual {bad.residual:.2f} % of the canvas height, {usual:.2f} is usual "
        "here: it may show another subject, or have left and right exchanged; `max_residual: null` "
        "uses it all the same"
    )


def test_of_few_photos_none_stands_out(recipe, tmp_path):
    for day in (1, 2):
        (tmp_path / "photos" / f"2020-01-0{day}.png").unlink()
    assert run(recipe()).summary == {"used": 4, "rejected": 0, "failed": 0}


def test_where_photos_differ_as_much_as_those_of_a_moving_subject_none_stands_out(
    tmp_path, discs, discs_recipe
):
    (tmp_path / "photos").mkdir()
    noise, shape = np.random.default_rng(0), discs.BLOBS.copy()
    try:
        for day in range(1, 11):
            discs.BLOBS[:] = shape + noise.normal(0, 1.5, shape.shape)
            discs.paint(tmp_path / "photos" / f"2020-01-{day:02}.png", discs.placed(32, 24))
    finally:
        discs.BLOBS[:] = shape
    assert run(discs_recipe()).summary == {"used": 10, "rejected": 0, "failed": 0}


def test_when_none_fits_the_run_says_how_well_the_best_did(recipe):
    with pytest.raises(AlignimationError, match=r"^no photo fits within max_residual: 1e-09; the"):
        run(recipe(max_residual=1e-9, reference="mean"))


def test_the_mean_shape_is_a_reference_of_its_own(recipe):
    record = run(recipe(reference="mean", max_residual=None))
    assert record.reference == "mean"
    *good, bad = (photo.residual for photo in record.photos)
    assert 0 < max(good) < 1 < bad  # nobody is the mean shape itself, and one is far from it


def test_a_photo_can_be_the_reference_by_its_bare_name(recipe):
    record = run(recipe(reference="2020-01-03.png"))
    assert record.reference == "photos/2020-01-03.png"
    assert record.photos[2].residual == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(
    ("reference", "turned"), [("2020-01-05.png", 0.3), ("first", 0.1), ("medoid", 0), ("mean", 0)]
)
def test_a_reference_that_is_named_stays_as_tilted_as_it_is(
    tmp_path, discs, discs_recipe, reference, turned
):
    """Photos in which the subject is turned by 0.1, 0.15, ... and by 0.2 on average."""
    tilts = [0.1, 0.15, 0.2, 0.25, 0.3]
    discs.series(tmp_path / "photos", [discs.placed(32, 24, tilt) for tilt in tilts])
    record = run(discs_recipe(reference=reference))
    canvas_from_photo = [np.array(photo.canvas_from_photo) for photo in record.photos]
    angles = [np.arctan2(matrix[1, 0], matrix[0, 0]) for matrix in canvas_from_photo]
    assert np.mean(angles) == pytest.approx(turned - 0.2 if turned else 0, abs=2e-3)
    (frame,) = np.load(tmp_path / "out" / "frames.npy")[4:].astype(float)
    red, green = (
        [(places * plane).sum() / plane.sum() for places in np.mgrid[:48, :64] + 0.5]
        for plane in frame[:2]
    )
    seen = np.arctan2(green[0] - red[0], green[1] - red[1])
    assert seen == pytest.approx(turned or 0.2, abs=0.02)
