"""Photos that lie on their side: the subject is found at a quarter turn, and lies in the photo."""

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import Detections, Detector, Mask, run
from alignimation_core.detection.turns import in_image, in_turned, turned
from alignimation_core.store.store import Known, Store


def found(turn=0):
    return Detections(
        torch.tensor([[1.0, 2, 4, 8]]),
        torch.ones(1),
        torch.tensor([[[1.5, 3.0]]]),
        keypoint_names=("red",),
        masks=(Mask.of(torch.ones(6, 3), (1, 2, 4, 8)),),
        turn=turn,
    )


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_detections_are_where_their_pixels_are(turn):
    image = torch.zeros(3, 10, 20)
    image[:, 2:8, 1:4] = 1
    there = in_turned(found(turn), (10, 20))
    x0, y0, x1, y1 = there.boxes[0].int().tolist()
    inside = turned(image, turn)[:, y0:y1, x0:x1]
    assert inside.min() == 1
    assert inside[0].numel() == 18
    back = in_image(there, turn, (10, 20))
    assert back.turn == turn
    assert torch.equal(back.boxes, found().boxes)
    assert torch.equal(back.keypoints, found().keypoints)
    assert back.masks[0].image_from_mask == found().masks[0].image_from_mask


def test_a_quarter_turn_is_clockwise():
    image = torch.zeros(1, 2, 3)
    image[0, 0, 0] = 1  # the upper left goes to the upper right
    assert turned(image, 90)[0].tolist() == [[0, 1], [0, 0], [0, 0]]
    assert in_turned(found(90), (10, 20)).keypoints[0, 0].tolist() == [7.0, 1.5]


class Upright(Detector):
    """Blobs, of which the red one must lie to the left of the green one and not lower."""

    name: ClassVar[str] = "upright"
    calls: ClassVar[list[int]] = []

    def provides(self):
        return frozenset({"keypoints", "keypoints.red", "keypoints.green", "keypoints.blue"})

    def detect(self, images):
        from alignimation_discs import Blobs

        self.calls.append(len(images))
        answers = []
        for blobs in Blobs().detect(images):
            upright = len(blobs) and self._upright(blobs.keypoints[0])
            answers.append(blobs if upright else Detections.empty(blobs.keypoint_names))
        return answers

    @staticmethod
    def _upright(points):
        x, y = (points[1] - points[0]).tolist()
        return abs(math.atan2(y, x)) < math.radians(44)


@pytest.fixture
def sideways(tmp_path, discs):
    """Photos whose last four are turned; return the angle by which each was."""
    names = discs.series(tmp_path / "photos", [*discs.WARPS, *discs.WARPS])
    angles = dict(zip(names, [0, 0, 0, 0, 90, 180, 270, 60], strict=True))
    for name, angle in angles.items():
        path = tmp_path / "photos" / name
        with Image.open(path) as image:
            image.rotate(angle, Image.Resampling.BICUBIC, expand=True).save(path)
    Upright.calls.clear()
    return angles


def test_a_photo_on_its_side_is_found_and_stands_upright_among_the_others(
    discs_recipe, sideways, tmp_path
):
    record = run(discs_recipe(detector=Upright(), reference="first"))
    assert record.summary == {"used": 8, "rejected": 0, "failed": 0}
    assert {Path(p.path).name: p.turn for p in record.photos} == {
        name: {0: 0, 90: 90, 180: 180, 270: 270, 60: 90}[angle] for name, angle in sideways.items()
    }
    frames = np.load(tmp_path / "out" / "frames.npy").astype(float)
    assert np.abs(frames - frames[0]).mean() < 2.0
    for photo in record.photos:
        with Image.open(tmp_path / photo.path) as image:
            pixels = np.asarray(image)
        for i, name in enumerate(("red", "green", "blue")):
            y, x = np.unravel_index(pixels[..., i].argmax(), pixels.shape[:2])
            at = photo.seen.keypoints[name]
            assert at == pytest.approx((x + 0.5, y + 0.5), abs=1.5), (photo.path, name)


def test_a_reference_on_its_side_gives_an_upright_canvas(discs_recipe, sideways, tmp_path):
    (on_its_side,) = (name for name, angle in sideways.items() if angle == 90)
    run(discs_recipe(detector=Upright(), reference=on_its_side))
    frames = np.load(tmp_path / "out" / "frames.npy")
    red, green = (np.unravel_index(f.argmax(), f.shape) for f in frames[0][:2])
    assert abs(math.atan2(green[0] - red[0], green[1] - red[1])) < math.radians(30)


def test_other_turns_are_tried_once_and_only_where_nothing_is_found(
    discs_recipe, sideways, tmp_path
):
    run(discs_recipe(detector=Upright()))
    assert sorted(Upright.calls) == [3, 3, 3, 3, 4, 4]


def test_the_store_keeps_the_turn_and_one_that_is_asked_for_is_another_photo(tmp_path):
    with Store(tmp_path, "detector", "embedder", print) as store:
        store.keep({"a": Known(found(270), torch.ones(1, 2)), "a turned 90": Known(found(90))})
        known = store.recall(["a", "a turned 90"])
    assert {key: each.detections.turn for key, each in known.items()} == {
        "a": 270,
        "a turned 90": 90,
    }


def test_embeddings_of_two_models_stay_apart_in_one_store(tmp_path):
    for model, number in (("one", 1.0), ("two", 2.0)):
        with Store(tmp_path, "detector", model, print) as store:
            assert store.recall(["a"]).get("a", Known(found())).embeddings is None
            store.keep({"a": Known(found(), torch.full((1, 2), number))})
    with Store(tmp_path, "detector", "one", print) as store:
        assert store.recall(["a"])["a"].embeddings.tolist() == [[1.0, 1.0]]


def test_a_mask_on_its_side_is_cut_out_where_it_is():
    mask = found(90).masks[0]
    across = in_turned(found(90), (10, 20)).masks[0]
    point = np.array(across.image_from_mask) @ [1.5, 3.0, 1.0]
    there = np.array(mask.image_from_mask) @ [1.5, 3.0, 1.0]
    assert point[:2] == pytest.approx([10 - there[1], there[0]])
