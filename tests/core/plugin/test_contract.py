from typing import ClassVar

import numpy as np
import pytest
import torch

from alignimation_core import Detections, Detector, StageError
from alignimation_core.plugin import contract

BOXES = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
POINTS = torch.tensor([[[1.5, 2.5]]])


class Boxes(Detector):
    """Boxes only."""

    name: ClassVar[str] = "boxes"
    found: ClassVar[list[Detections]] = []

    def detect(self, images):
        return self.found


def check(detections):
    """Have a detector find these in one image."""
    Boxes.found = [detections]
    return contract.detect(Boxes(), [torch.zeros(3, 8, 8, dtype=torch.uint8)])


@pytest.mark.parametrize("name", ["boxes", "scores", "keypoints", "keypoint_scores"])
@pytest.mark.parametrize(("convert", "kind"), [(np.asarray, "ndarray"), (list, "list")])
def test_what_is_no_tensor_is_named(name, convert, kind):
    parts = {
        "boxes": BOXES,
        "scores": torch.ones(1),
        "keypoints": POINTS,
        "keypoint_scores": torch.ones(1, 1),
    }
    parts[name] = convert(parts[name])
    with pytest.raises(TypeError) as error:
        Detections(**parts, keypoint_names=("nose",))
    assert str(error.value) == f"{name}: expected a torch tensor, got {kind}"


@pytest.mark.parametrize("score", [7.0, -0.25, 1.001])
def test_scores_beyond_their_range_are_refused(score):
    seen = Detections(BOXES, torch.tensor([score]))
    with pytest.raises(StageError) as error:
        check(seen)
    assert (
        error.value.reason
        == f"ValueError: scores: expected 0 to 1, got {float(torch.tensor(score))}"
    )
    seen = Detections(BOXES, torch.ones(1), POINTS, torch.tensor([[score]]), ("nose",))
    with pytest.raises(StageError, match=r"ValueError: keypoint_scores: expected 0 to 1, got "):
        check(seen)


@pytest.mark.parametrize("score", [0.0, 0.5, 1.0, float(np.nextafter(np.float32(1), 2))])
def test_scores_within_their_range_are_taken(score):
    seen = Detections(BOXES, torch.tensor([score]), POINTS, torch.tensor([[score]]), ("nose",))
    check(seen)
