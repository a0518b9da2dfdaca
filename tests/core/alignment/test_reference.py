import math
from datetime import datetime
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alignimation_core import Photo, Subject, Target
from alignimation_core.alignment.alignment import mean_subject
from alignimation_core.alignment.reference import typical
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry

FACE = torch.tensor([[20.0, 20], [44, 20], [32, 34], [24, 44], [40, 44]], dtype=torch.float64)
NAMES = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


def moved(points: Tensor, angle: float, scale: float, x: float, y: float) -> Tensor:
    turn = geometry.rotation(angle) @ geometry.scaling(scale, scale)
    return geometry.apply(geometry.translation(x, y) @ turn, points)


def stacked(shapes: list[Tensor], weights: list[list[float]] | None = None) -> Target:
    weights = weights or [[1.0] * 5] * len(shapes)
    return Target.stack(
        [
            Target.of(torch.zeros(1, 8, 8), points=points, point_weights=torch.tensor(weight))
            for points, weight in zip(shapes, weights, strict=True)
        ]
    )


def shapes() -> list[Tensor]:
    """Eleven shapes in all poses; number 4 alone is the mean shape itself."""
    generator = torch.Generator().manual_seed(1)
    noise = [torch.randn(5, 2, generator=generator).double() for _ in range(5)]
    made = [FACE + sign * n for n in noise for sign in (1, -1)]
    made.insert(4, FACE)
    return [moved(s, 0.3 * i, 0.5 + 0.2 * i, 7.0 * i, -3.0 * i) for i, s in enumerate(made)]


def test_the_typical_shape_is_the_one_nearest_to_the_mean_whatever_its_pose() -> None:
    assert typical(stacked(shapes())) == 4


def test_a_photo_that_misses_points_is_not_the_typical_one() -> None:
    weights = [[1.0] * 5 for _ in range(11)]
    weights[4] = [1.0, 1, 0, 1, 1]
    assert typical(stacked(shapes(), weights)) != 4


def test_an_outlier_does_not_decide() -> None:
    wild = [*shapes(), moved(FACE.flip(0), 0, 9.0, 0, 0)]
    assert typical(stacked(wild)) == 4


def test_a_first_photo_that_misses_points_counts_as_much_as_any_other() -> None:
    nose = torch.zeros(5, 2).double()
    nose[2, 1] = 1.0
    made = [FACE + by * nose for by in (-3, 2, 1, 0)]
    weights = [[1.0, 1, 1, 0, 1], *[[1.0] * 5] * 3]
    assert typical(stacked(made, weights)) == 3


def test_of_many_shapes_one_of_the_nearest_to_the_mean_is_typical() -> None:
    noise = torch.randn(3000, 5, 2, generator=torch.Generator().manual_seed(2)).double()
    noise -= noise.mean(0)
    chosen = typical(stacked([moved(FACE + n, 0.3, 1.5, 7.0, -3.0) for n in noise]))
    size = noise.square().sum((1, 2))
    assert size[chosen] < size.quantile(0.05)


def test_a_shape_whose_points_fall_together_is_not_the_typical_one() -> None:
    assert typical(stacked([torch.full_like(FACE, 9.0), *shapes()])) == 5


def test_without_points_the_images_decide() -> None:
    images = [torch.full((1, 8, 8), value) for value in (0.0, 0.45, 1.0)]
    assert typical(Target.stack([Target.of(image) for image in images])) == 1


def aligned_subject(
    points: Tensor, matrix: Tensor, names: tuple[str, ...] = NAMES
) -> AlignedSubject:
    photo = Photo(Path("/a.jpg"), "a.jpg", "", 100, 100, datetime(2020, 1, 1), "exif")
    keypoints = {n: (x, y) for n, (x, y) in zip(NAMES, points.tolist(), strict=True) if n in names}
    subject = Subject((0, 0, 9, 9), 1.0, keypoints, keypoint_names=NAMES)
    return AlignedSubject(FramedSubject(photo, subject, torch.eye(3)), matrix, 1)


def test_the_mean_shape_is_the_mean_of_the_aligned_keypoints() -> None:
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(400, 5, 2, generator=generator).double()
    pose = geometry.translation(5, 6) @ geometry.rotation(0.4) @ geometry.scaling(2, 2)
    back = torch.linalg.inv(pose)
    items = [aligned_subject(geometry.apply(pose, FACE + n), back) for n in noise]
    items += [aligned_subject(FACE + 500, torch.eye(3, dtype=torch.float64)) for _ in range(20)]
    mean = mean_subject(items, items[0].subject)
    found = torch.tensor([mean.keypoints[name] for name in NAMES], dtype=torch.float64)
    assert (found - FACE).abs().max() < 4 / math.sqrt(400)


def test_a_keypoint_that_some_photos_miss_is_averaged_over_the_others() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    items = [aligned_subject(FACE + shift, eye) for shift in (0, 1, 3)]
    items.append(aligned_subject(FACE + 2, eye, names=NAMES[:2]))
    mean = mean_subject(items, items[0].subject)
    assert mean.keypoints["nose"] == pytest.approx((32 + 4 / 3, 34 + 4 / 3))
    assert mean.keypoints["left_eye"] == pytest.approx((44 + 6 / 4, 20 + 6 / 4))
