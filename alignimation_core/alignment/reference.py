"""Choice of the reference: the photo on which all others are aligned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alignimation_core.alignment.subjects import FramedSubject
from alignimation_core.alignment.targets import Targets, stacked
from alignimation_core.api import geometry
from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.registration import Target, procrustes
from alignimation_core.failure import Failure
from alignimation_core.store.fits import Fits

CANDIDATES = 1000
"""Photos among which the most typical one is looked for."""


def choose_reference(
    items: Sequence[FramedSubject], targets: Targets, kept: Fits, wanted: str
) -> tuple[FramedSubject | None, list[Failure]]:
    """Choose the photo to align on, building no more targets than it takes.

    ``medoid`` and ``mean`` want the most typical one. Returns the reference, None where no target
    can be built; and the photos that failed on the way.

    Raises:
        AlignimationError: the photo named is not among them.
    """
    if wanted not in ("medoid", "mean", "first"):
        return _named(items, wanted), []
    failures: list[Failure] = []
    for some in [[item] for item in items] if wanted == "first" else _in_two(items):
        built, summaries, failed = targets.summarise(some, kept)
        failures += failed
        if built:
            return built[typical(stacked(summaries))], failures
    return None, failures


def _named(items: Sequence[FramedSubject], wanted: str) -> FramedSubject:
    for item in items:
        if item.photo.name == wanted:
            return item
    raise AlignimationError(
        f"the reference {wanted!r} is not among the photos used; name one that is, "
        f"such as {items[0].photo.name}, or set `reference: medoid`"
    )


def _in_two(items: Sequence[FramedSubject]) -> list[list[FramedSubject]]:
    """Return the photos among which to look for a typical one, and the others.

    Of many, those with the least hashes: with some photos more or less, or keypoints that differ in
    their last bits, nearly all remain, and so does the reference, to which every fit refers.
    """
    few = set(sorted({item.photo.sha256 for item in items})[:CANDIDATES])
    parts: list[list[FramedSubject]] = [[], []]
    for item in items:
        parts[item.photo.sha256 not in few].append(item)
    return parts


def typical(summaries: Target) -> int:
    """Return which of N targets is nearest to their mean shape.

    Points are compared after generalised Procrustes analysis (Gower, Psychometrika 1975); targets
    without two common points by their images.
    """
    points, weights = summaries.points.double(), summaries.point_weights.double()
    common = (weights > 0).double().mean(0) >= 0.5
    points, weights = torch.nan_to_num(points[:, common]), weights[:, common]
    apart = (points - points[:, :1]).abs().sum((1, 2)) > 1e-6  # pixels
    whole = (weights > 0).all(1) & apart
    if not whole.any():
        images = summaries.image.flatten(1)
        return int((images - images.mean(0)).square().sum(1).argmin())
    mean = points[whole.nonzero()[0, 0]]
    for _ in range(10):
        moved, usable = _moved(points, weights, mean)
        share = weights[usable][..., None]
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
