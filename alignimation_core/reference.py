"""Which photo is the most typical."""

from __future__ import annotations

import torch

from alignimation_core import geometry, procrustes
from alignimation_core.registration import Target


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
    points, weights = torch.nan_to_num(points), weights.clone()
    mean = points[int(whole.double().argmax())]
    for _ in range(10):
        fitted = procrustes.similarity_from_points(points, mean.expand_as(points), weights)
        usable = fitted.isfinite().all(-1).all(-1)
        moved = geometry.apply(fitted[usable], points[usable])
        share = weights[usable][..., None]
        mean = (share * moved).sum(0) / share.sum(0)
    distance = torch.full((len(points),), torch.inf, dtype=torch.float64)
    error = (moved - mean).square().sum(-1)
    distance[usable] = (share[..., 0] * error).sum(1) / share[..., 0].sum(1)
    distance[~whole] = torch.inf
    return int(distance.argmin())
