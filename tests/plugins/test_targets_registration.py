"""Photos whose keypoints the detector found in part, or badly, brought onto a reference."""

import math
from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Photo, Subject
from alignimation_core.alignment.alignment import align
from alignimation_core.api import geometry
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_core.api.registration import shared_weights
from alignimation_kornia import Affine, Rigid, Similarity, Translation
from alignimation_targets import GaussianKeypoints

LEGS = ("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")
HALVES = (100, 100), (106, 92), (94, 92), (110, 96), (90, 97), (130, 150), (72, 152), (140, 200)
BODY = dict(
    zip(
        COCO_KEYPOINTS,
        (*HALVES, (60, 203), (142, 245), (66, 249), (121, 252), (84, 250), (123, 330), (80, 327),
         (121, 400), (83, 402)),
        strict=True,
    )
)  # fmt: skip


def photo(number):
    return Photo(
        Path(f"/{number}.jpg"), f"{number}.jpg", f"{number:064}", 500, 500, datetime(2020, 1, 1),
        "file",
    )  # fmt: skip


def subject(keypoints):
    xs, ys = zip(*keypoints.values(), strict=True)
    box = min(xs) - 10, min(ys) - 10, max(xs) + 10, max(ys) + 10
    return Subject(box, 1.0, keypoints, keypoint_names=COCO_KEYPOINTS)


def series(warps, **changes):
    """The body, warped, without the legs in every second photo; ``changes`` to it in the last."""
    last = len(warps) - 1
    subjects = [(photo(0), subject(BODY))]
    for i, warp in enumerate(warps):
        body = BODY | (changes if i == last else {})
        seen = {name: at for name, at in body.items() if i % 2 or name not in LEGS}
        subjects.append((photo(i + 1), subject(seen).transformed(geometry.as_rows(warp))))
    return subjects


def errors(aligned, warps):
    """Distances of the whole body's keypoints from their true places, percent of its height."""
    points = torch.tensor(list(BODY.values())).double()
    return [
        float((geometry.apply(item.reference_from_photo @ warp, points) - points).norm(dim=1).max())
        / 3.1
        for item, warp in zip(aligned[1:], warps, strict=True)
    ]


WARPS = [
    geometry.translation(20 * i, -10) @ geometry.rotation(math.radians(12 * i - 20))
    @ geometry.scaling(0.7 + 0.2 * i, 0.7 + 0.2 * i)
    for i in range(4)
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"loss": "huber"}, {"optimizer": "lbfgs"}])
def test_photos_that_show_other_keypoints_do_not_change_the_subjects_size(options):
    model = Similarity(**options)
    found = align(series(WARPS), GaussianKeypoints(), model, "0.jpg", lambda: None)
    assert max(errors(found.aligned, WARPS)) < 0.05


@pytest.mark.parametrize("model", [Similarity(), Rigid(), Translation()])
def test_where_the_start_is_the_best_there_is_no_fit(model):
    warps = [geometry.translation(5, 3)]
    found = align(series(warps), GaussianKeypoints(), model, "0.jpg", lambda: None)
    assert [item.iterations for item in found.aligned] == [0, 0]
    assert max(errors(found.aligned, warps)) < 1e-4


def test_an_affine_map_is_fitted_for_the_start_is_a_similarity():
    sheared = torch.eye(3, dtype=torch.float64)
    sheared[0, 1] = 0.1
    found = align(series([sheared]), GaussianKeypoints(), Affine(), "0.jpg", lambda: None)
    assert found.aligned[1].iterations > 0
    assert max(errors(found.aligned, [sheared])) < 2


def test_a_keypoint_that_is_far_off_is_left_to_the_fit_which_counts_it_less():
    wrong = {"left_wrist": (20, 100)}
    starts = series(WARPS[:2], **wrong)
    found = align(starts, GaussianKeypoints(), Similarity(), "0.jpg", lambda: None)
    assert found.aligned[1].iterations == 0
    assert found.aligned[2].iterations > 0
    assert max(errors(found.aligned, WARPS[:2])) < 1


def test_a_weight_that_both_have_counts_once_and_nothing_where_one_has_none():
    moving, fixed = torch.tensor([3.0, 0.5, 0.0, 0.0, 1.0]), torch.tensor([3.0, 1.0, 2.0, 0.0, 1.0])
    expected = torch.tensor([3.0, 2 / 3, 0.0, 0.0, 1.0])
    torch.testing.assert_close(shared_weights(moving, fixed), expected)
