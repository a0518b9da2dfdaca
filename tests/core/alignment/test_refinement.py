from dataclasses import replace

import numpy as np
import pytest
import torch

from alignimation_core import run
from alignimation_core.recipe.options import RefineOptions

COUNT = 12


@pytest.fixture
def warps(discs):
    generator = np.random.default_rng(3)
    return [
        discs.placed(32 + x, 24 + y, 0.2 * turn, 1 + 0.1 * scale)
        for x, y, turn, scale in generator.uniform(-1, 1, (COUNT, 4)) * [3, 2, 1, 1]
    ]


@pytest.fixture
def unsteady(discs):
    """A detector that misses by a pixel in the photos, and by less or more in an aligned frame."""

    def make(error_in_frames):
        class Unsteady(discs.Blobs):
            def detect(self, images):
                found = []
                for image, seen in zip(images, super().detect(images), strict=True):
                    spread = 1.0 if image.shape[-1] == 64 else error_in_frames
                    seed = int(image.long().sum()) % 2**31
                    noise = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(seed))
                    found.append(replace(seen, keypoints=seen.keypoints + spread * noise))
                return found

        return Unsteady()

    return make


@pytest.fixture
def scatter(tmp_path, discs, discs_recipe, warps):
    """Run with a detector; return the scatter of the true places, in pixels of the canvas."""
    discs.series(tmp_path / "photos", warps)

    def scatter(detector, passes):
        recipe = discs_recipe(detector=detector, refine=RefineOptions(passes=passes))
        record = run(recipe)
        assert record.summary["used"] == COUNT
        places = []
        for photo, warp in zip(record.photos, warps, strict=True):
            points = discs.BLOBS @ warp[:2, :2].T + warp[:2, 2]
            matrix = np.array(photo.canvas_from_photo)
            places.append(points @ matrix[:2, :2].T + matrix[:2, 2])
        return float(np.linalg.norm(places - np.mean(places, axis=0), axis=-1).mean())

    return scatter


def test_refining_corrects_what_a_detector_misses_in_the_photos(scatter, unsteady):
    detector = unsteady(error_in_frames=0.5)  # of 512 pixels: where it is at its best
    assert scatter(detector, 1) < 0.5 * scatter(detector, 0)


def test_what_does_not_help_is_not_kept(scatter, unsteady):
    detector = unsteady(error_in_frames=40.0)
    assert scatter(detector, 1) == pytest.approx(scatter(detector, 0), rel=0.3)
    assert scatter(detector, 1) <= scatter(detector, 0) * 1.05
