"""What the detector and the embedder are shown of a photo, and where what they find lies in it."""

import time
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from alignimation_core import Embedder, run
from alignimation_core.recipe.options import ExecutorOptions

ORIENTATION = ExifTags.Base.Orientation
STORED = {
    1: None,
    3: Image.Transpose.ROTATE_180,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How pixels are stored that an orientation of EXIF turns upright."""

PLACES = (0.5, 0.5), (0.7, 0.7), (0.3, 0.65)
"""Where the subject is in three photos, in shares of their width and height."""


def jpeg(path, discs, photo_from_subject, size, orientation=1):
    """Write a JPEG that is (height, width) pixels once it is upright."""
    discs.paint(path.with_suffix(".png"), photo_from_subject, size)
    with Image.open(path.with_suffix(".png")) as image:
        exif = image.getexif()
        exif[ORIENTATION] = orientation
        turn = STORED[orientation]
        stored = image if turn is None else image.transpose(turn)
        stored.save(path, exif=exif, quality=95, subsampling=0)
    path.with_suffix(".png").unlink()


@pytest.fixture
def narrow(discs):
    """A detector that makes use of 100 pixels of the long side; and the sizes that it saw."""
    sizes = set()

    class Narrow(discs.Blobs):
        def input_side(self):
            return 100

        def detect(self, images):
            sizes.update(tuple(image.shape[1:]) for image in images)
            return super().detect([without_noise(image) for image in images])

    return Narrow(), sizes


def without_noise(image):
    """Return an image whose black is black again after its compression."""
    return image * (image > 25)


@pytest.mark.parametrize(
    ("size", "orientation", "seen"),
    [
        ((600, 800), 1, (75, 100)),
        ((800, 600), 1, (100, 75)),
        ((400, 640), 6, (100, 160)),
        ((640, 400), 8, (160, 100)),
        ((402, 602), 1, (101, 151)),  # of 100.5 and 150.5 pixels
        ((601, 807), 1, (76, 101)),
        ((601, 807), 3, (76, 101)),
        ((806, 601), 5, (101, 76)),
    ],
)
def test_keypoints_of_a_jpeg_larger_than_the_detector_uses_are_of_the_full_size_photo(
    tmp_path, discs, discs_recipe, narrow, size, orientation, seen
):
    detector, sizes = narrow
    height, width = size
    (tmp_path / "photos").mkdir()
    shown = [discs.placed(x * width, y * height, 0.1, min(size) / 80) for x, y in PLACES]
    for i, photo_from_subject in enumerate(shown):
        jpeg(tmp_path / "photos" / f"{i}.jpg", discs, photo_from_subject, size, orientation)
    record = run(discs_recipe(detector=detector))
    assert sizes == {seen}
    for photo, photo_from_subject in zip(record.photos, shown, strict=True):
        assert (photo.height, photo.width) == size
        places = np.c_[discs.BLOBS, np.ones(3)] @ photo_from_subject[:2].T
        found = np.array([photo.subject["keypoints"][name] for name in discs.NAMES])
        assert found == pytest.approx(places, abs=0.5)
        margin = 4 * width / seen[1]
        corners = [*(places.min(0) - margin), *(places.max(0) + margin)]
        assert photo.subject["box"] == pytest.approx(corners, abs=0.5)
        canvas_from_subject = np.array(photo.canvas_from_photo) @ photo_from_subject
        expected = np.array(record.photos[0].canvas_from_photo) @ shown[0]
        assert canvas_from_subject == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    ("box_side", "other", "shape"),
    [
        (20, 1.0, (150, 200)),  # as the detector saw it
        (48, 1.0, (300, 400)),
        (100, 1.0, (600, 800)),
        (160, 1.0, (1200, 1600)),
        (500, 1.0, (1200, 1600)),  # there is no more
        (48, 0.5, (600, 800)),  # a face of half the size
        (48, 0.2, (300, 400)),  # one far behind, which does not count
    ],
)
def test_the_embedder_gets_a_small_face_in_a_large_photo_with_the_pixels_that_it_uses(
    tmp_path, discs, discs_recipe, box_side, other, shape
):
    class Two(discs.Blobs):
        """The subject, and one of another size at the same place."""

        def input_side(self):
            return 200

        def detect(self, images):
            found = super().detect([without_noise(image) for image in images])
            return [
                replace(
                    seen,
                    boxes=torch.cat([seen.boxes, resized(seen.boxes, other)]),
                    scores=torch.ones(2),
                    keypoints=seen.keypoints.repeat(2, 1, 1),
                    keypoint_scores=seen.keypoint_scores.repeat(2, 1),
                )
                for seen in found
            ]

    asked = []

    class Watching(Embedder):
        name: ClassVar[str] = "watching"
        same_above: ClassVar[float] = 0.5

        def embed(self, images, detections):
            asked.extend(zip(images, detections, strict=True))
            return [torch.ones(2, 1) for _ in detections]

    Watching.box_side = box_side
    (tmp_path / "photos").mkdir()
    photo_from_subject = discs.placed(700, 800, 0.1, 8)
    jpeg(tmp_path / "photos" / "a.jpg", discs, photo_from_subject, (1200, 1600))
    run(discs_recipe(detector=Two(), embedder=Watching()))
    ((image, seen),) = asked
    assert image.shape == (3, *shape)
    sides = (seen.boxes[:, 2:] - seen.boxes[:, :2]).amax(1)
    assert sides[sides >= sides.max() / 4].min() >= box_side or shape == (1200, 1600)
    assert sides[1] / sides[0] == pytest.approx(other, rel=1e-4)
    picture_from_subject = np.diag([shape[1] / 1600, shape[0] / 1200, 1]) @ photo_from_subject
    places = np.c_[discs.BLOBS, np.ones(3)] @ picture_from_subject[:2].T
    assert seen.keypoints[0].numpy() == pytest.approx(places, abs=0.3)
    (shown,) = discs.Blobs().detect([without_noise(image)])
    assert seen.keypoints[0].numpy() == pytest.approx(shown.keypoints[0].numpy(), abs=0.3)


def resized(boxes, factor):
    """Return boxes about the same centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]).repeat(1, 2) / 2
    return centres + (boxes - centres) * factor


def test_the_record_tells_the_detectors_seconds_from_the_embedders(
    tmp_path, discs, discs_recipe, monkeypatch
):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow(discs.Blobs):
        def detect(self, images):
            now[0] += len(images)
            return super().detect(images)

    class Slower(Embedder):
        name: ClassVar[str] = "slower"
        same_above: ClassVar[float] = 0.5

        def embed(self, images, detections):
            now[0] += 3 * len(images)
            return [torch.ones(len(seen), 1) for seen in detections]

    discs.series(tmp_path / "photos", discs.WARPS)
    one = ExecutorOptions(workers=1)
    record = run(discs_recipe(detector=Slow(), embedder=Slower(), executor=one))
    assert (record.seconds["detector"], record.seconds["embedder"]) == (4, 12)
