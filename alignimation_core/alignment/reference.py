"""What all photos are aligned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignimation_core.alignment import procrustes
from alignimation_core.alignment.fits import none_left
from alignimation_core.alignment.targets import Drawing
from alignimation_core.api import geometry
from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.registration import Target
from alignimation_core.store.fits import Fits

if TYPE_CHECKING:
    from alignimation_core.alignment.alignment import Chosen

CANDIDATES = 1000
"""Photos among which the most typical one is looked for."""


def choose_reference(chosen: Sequence[Chosen], drawing: Drawing, kept: Fits, wanted: str) -> Chosen:
    """Choose the photo to align on, drawing no more targets than it takes.

    Args:
        chosen: photos with their subjects, in order.
        drawing: draws the targets.
        kept: knows sketches of earlier runs, and keeps those of this one.
        wanted: ``medoid`` or ``mean`` for the most typical one, ``first`` or the whole name of a
            photo.

    Raises:
        AlignimationError: none can be drawn, or the one named is not among them.
    """
    if wanted not in ("medoid", "mean", "first"):
        return _named(chosen, wanted)
    for some in [[item] for item in chosen] if wanted == "first" else _in_two(chosen):
        drawn, sketches = drawing.sketch(some, kept)
        if drawn:
            return drawn[typical(sketches)]
    raise none_left(chosen)


def _named(chosen: Sequence[Chosen], wanted: str) -> Chosen:
    for item in chosen:
        if item.entry.photo.name == wanted:
            return item
    raise AlignimationError(
        f"the reference {wanted!r} is not among the photos used; name one that is, "
        f"such as {chosen[0].entry.photo.name}, or set `reference: medoid`"
    )


def _in_two(chosen: Sequence[Chosen]) -> list[list[Chosen]]:
    """Return the photos among which to look for a typical one, and the others.

    Of many, those with the least hashes: with some photos more or less, or keypoints that differ in
    their last bits, nearly all remain, and so does the reference, to which every fit refers.
    """
    few = set(sorted({item.entry.photo.sha256 for item in chosen})[:CANDIDATES])
    parts: list[list[Chosen]] = [[], []]
    for item in chosen:
        parts[item.entry.photo.sha256 not in few].append(item)
    return parts


def typical(sketches: Target) -> int:
    """Return which of N targets is nearest to their mean shape.

    Points are compared after generalised Procrustes analysis (Gower, Psychometrika 1975); targets
    without two common points by their images.

    Args:
        sketches: N stacked targets.
    """
    points, weights = sketches.points.double(), sketches.point_weights.double()
    common = (weights > 0).double().mean(0) >= 0.5
    points, weights = torch.nan_to_num(points[:, common]), weights[:, common]
    apart = (points - points[:, :1]).abs().sum((1, 2)) > 1e-6  # pixels
    whole = (weights > 0).all(1) & apart
    if not whole.any():
        images = sketches.image.flatten(1)
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
