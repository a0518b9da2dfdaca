"""Common frame of all photos: the mean shape of their keypoints, upright and of a known size."""

from __future__ import annotations

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes

SIZE = 40.0
"""RMS distance of the firm points from their centre in the frame, pixels: eyes are 80 apart."""
ROUNDS = 10
LEAST_AREA = 1e-8
"""Of a photo's pixel in the frame."""


def common_frame(points: Tensor, weights: Tensor, firm: Tensor) -> tuple[Tensor, Tensor]:
    """Bring N shapes of K points onto their mean by similarities (generalised Procrustes).

    A shape far from the mean has less say in it.

    Args:
        points: (N, K, 2) float64 in the photos' pixels; anything where the weight is 0.
        weights: (N, K) float64 >= 0.
        firm: (K,) bool, the points by which the frame's size is measured.

    Returns:
        (N, 3, 3) ``frame_from_photo``, of no use for a photo without two points of weight that are
        apart; and the mean shape, (K, 2), about (0, 0). On average, photos are turned by nothing.
    """
    first = int(weights.sum(1).argmax())
    shape, known = points[first], weights[first] > 0
    say = torch.ones(len(points), dtype=torch.float64)
    for _ in range(ROUNDS):
        frame_from_photo = procrustes.similarity_from_points(
            points, shape.expand_as(points), weights * known
        )
        usable = are_usable(frame_from_photo)
        if not usable.any():
            break
        moved = geometry.apply(frame_from_photo, points).nan_to_num(0.0)
        share = weights * (say * usable)[:, None]
        mean = (share[..., None] * moved).sum(0) / share.sum(0)[:, None]
        shape, known = mean.nan_to_num(0.0), share.sum(0) > 0
        distance = (weights * (moved - shape).square().sum(-1)).sum(1) / weights.sum(1)
        usual = distance[usable].median().clamp(min=1e-12)
        say = 1 / (1 + distance.nan_to_num(0.0) / (4 * usual))
        turn = geometry.angle_of(frame_from_photo[usable])
        angle = torch.atan2(turn.sin().mean(), turn.cos().mean())
        shape = shape @ geometry.rotation(float(angle))[:2, :2]
        sized = known & firm if int((known & firm).sum()) > 1 else known
        centre = shape[sized].mean(0)
        spread = (shape[sized] - centre).square().sum(1).mean().sqrt()
        shape = (shape - centre) * (SIZE / spread.clamp(min=1e-12))
    return (
        procrustes.similarity_from_points(points, shape.expand_as(points), weights * known),
        shape,
    )


def are_usable(matrices: Tensor) -> Tensor:
    """Return which of (N, 3, 3) similarities have an inverse, (N,) bool."""
    finite = matrices.isfinite().all(-1).all(-1)
    area: Tensor = torch.linalg.det(matrices.nan_to_num(0.0))
    return finite & (area > LEAST_AREA)
