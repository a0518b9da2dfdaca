"""Which photo is the most typical."""

from __future__ import annotations

import torch
from torch import Tensor

from alignimation_core import geometry, procrustes
from alignimation_core.registration import Target
from alignimation_core.sampling import spread

SAMPLE = 1000
"""Most targets whose mean shape is taken."""


def typical(sketches: Target) -> int:
    """Return which of N targets is nearest to their mean shape.

    Points are compared after generalised Procrustes analysis (Gower, Psychometrika 1975); targets
    without two common points by their images.

    Args:
        sketches: N stacked targets.
    """
    points, weights = sketches.points.double(), sketches.point_weights.double()
    common = (weights > 0).double().mean(0) >= 0.5
    points, weights = points[:, common], weights[:, common]
    whole = (weights > 0).all(1)
    if points.shape[1] < 2 or not whole.any():
        images = sketches.image.flatten(1)
        return int((images - images.mean(0)).square().sum(1).argmin())
    points = torch.nan_to_num(points)
    first = whole.nonzero()[0]
    some = spread(len(points), SAMPLE)
    if len(some) < len(points):
        some = torch.cat([first, some])  # one that has all points
    mean = points[first[0]]
    for _ in range(10):
        moved, usable = _moved(points[some], weights[some], mean)
        share = weights[some][usable][..., None]
        mean = (share * moved).sum(0) / share.sum(0)
    moved, usable = _moved(points, weights, mean)
    share = weights[usable]
    distance = torch.full((len(points),), torch.inf, dtype=torch.float64)
    distance[usable] = (share * (moved - mean).square().sum(-1)).sum(1) / share.sum(1)
    distance[~whole] = torch.inf
    return int(distance.argmin())


def _moved(points: Tensor, weights: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """Return those of N shapes that can be brought onto another, brought there; and which, bool."""
    fitted = procrustes.similarity_from_points(points, mean.expand_as(points), weights)
    usable = fitted.isfinite().all(-1).all(-1)
    return geometry.apply(fitted[usable], points[usable]), usable
