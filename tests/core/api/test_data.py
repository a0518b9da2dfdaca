import pytest
import torch

import alignimation_core
from alignimation_core import Detections, Mask, Registration, Subject


def test_a_subjects_keypoints_without_scores_count_fully():
    points = {"nose": (1.0, 2.0), "left_eye": (3.0, 4.0)}
    subject = Subject((0, 0, 9, 9), 0.9, points)
    assert subject.keypoint_scores == {"nose": 1.0, "left_eye": 1.0}
    subject = Subject((0, 0, 9, 9), 0.9, points, {"nose": 0.25})
    assert subject.keypoint_scores == {"nose": 0.25, "left_eye": 1.0}


def test_names_not_asked_for_yet_can_be_completed():
    names = dir(alignimation_core)
    assert names == sorted(names)
    assert {*alignimation_core.__all__, "__doc__", "__name__"} <= set(names)


def test_detections_of_several_images_are_split_as_they_were_joined():
    mask = Mask.of(torch.ones(2, 2), (0, 0, 4, 4))
    joined = Detections(
        torch.arange(12.0).reshape(3, 4),
        torch.tensor([0.9, 0.8, 0.7]),
        torch.arange(12.0).reshape(3, 2, 2),
        keypoint_names=("nose", "left_eye"),
        masks=(None, mask, None),
    )
    first, none, rest = joined.split([1, 0, 2])
    assert [len(first), len(none), len(rest)] == [1, 0, 2]
    assert torch.equal(torch.cat([first.boxes, none.boxes, rest.boxes]), joined.boxes)
    assert torch.equal(rest.keypoints, joined.keypoints[1:])
    assert none.keypoints.shape == (0, 2, 2)
    assert first.keypoint_scores.tolist() == [[1, 1]]
    assert (first.masks, none.masks, rest.masks) == ((None,), (), (mask, None))
    assert rest.keypoint_names == joined.keypoint_names
    bare = Detections(joined.boxes, joined.scores).split([2, 1])[0]
    assert bare.keypoints is None
    assert bare.masks is None
    with pytest.raises(RuntimeError):
        joined.split([1, 1])


def test_a_registration_needs_its_matrices_alone():
    found = Registration(torch.eye(3, dtype=torch.float64).repeat(2, 1, 1))
    assert found.residuals_before.isnan().tolist() == [True, True]
    assert found.residuals.isnan().tolist() == [True, True]
    assert (found.iterations.tolist(), found.iterations.dtype) == ([0, 0], torch.int64)
    assert found.converged.tolist() == [True, True]
    assert found.failures == (None, None)
    with pytest.raises(ValueError, match=r"^iterations: expected shape \(2\), got \(3,\)$"):
        Registration(found.matrices, iterations=torch.zeros(3))
