"""The mean outline of a series of masks, and how far each photo's outline lies from it.

All is in a unit frame: the reference's box is centred on (0, 0), and its longer side is 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.data import Photo
from alignimation_core.api.mask import Mask
from alignimation_core.api.sampling import spread

CELLS = 96
"""Cells along a side of the mean mask."""
SIDE = 1.5
"""Of the mean mask, in units."""
OF_MEAN = 64
"""Photos of which the mean mask is made, at most."""
SHOWN = 0.3
"""Share of these that must show a place of the mean outline."""
PLACES = 160
"""Places at which outlines are compared, at most."""
STEPS = 25
"""Samples across an outline."""
MARGIN = 0.015
"""Distance from a photo's border within which a mask is not trusted, in units."""

Masked: TypeAlias = tuple[Photo, Mask | None]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """J places on a mean outline with the directions outwards, (J, 2) float64 each."""

    places: Tensor
    outwards: Tensor

    def towards(self, x: float, y: float) -> Outline:
        """Return the half that lies in a direction."""
        along = self.places @ self.places.new_tensor([x, y])
        half = along > along.median()
        return Outline(self.places[half], self.outwards[half])


def mean_outline(photos: Sequence[Masked], unit_from_photo: Tensor) -> Outline | None:
    """Return the outline of the mean of masks, where most photos do not end before it.

    Args:
        photos: N photos, each with its subject's mask, if there is one.
        unit_from_photo: (N, 3, 3) float64.

    Returns:
        Up to ``PLACES`` of it; None without any.
    """
    masked = [(i, mask) for i, (_, mask) in enumerate(photos) if mask is not None]
    axis = ((torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS - 0.5) * SIDE
    cells = torch.cartesian_prod(axis, axis).flip(1)
    total, shown = torch.zeros(len(cells)), torch.zeros(len(cells))
    some = spread(len(masked), OF_MEAN).tolist()
    for i, mask in (masked[each] for each in some):
        inside, seen = _sampled(photos[i][0], mask, unit_from_photo[i], cells)
        total += inside * seen
        shown += seen
    known = (shown > 0) & (shown >= SHOWN * len(some))
    mean = torch.where(known, total / shown, torch.nan).reshape(CELLS, CELLS).double()
    found = _crossings(mean, axis)
    chosen = spread(len(found.places), PLACES)
    return Outline(found.places[chosen], found.outwards[chosen]) if len(chosen) else None


def _crossings(mean: Tensor, axis: Tensor) -> Outline:
    """Return where the lines of a grid cross the outline of a mean mask, NaN where unknown."""
    down, across = torch.gradient(mean.nan_to_num(0.0))
    places, outwards = [], []
    for way in (0, 1):
        here, there = (mean.narrow(way, start, len(mean) - 1) for start in (0, 1))
        y, x = ((here - 0.5) * (there - 0.5) < 0).nonzero().unbind(1)
        beyond = ((here - 0.5) / (here - there))[y, x] * (axis[1] - axis[0])
        place = torch.stack([axis[x], axis[y]], 1)
        place[:, 1 - way] += beyond
        places.append(place)
        outwards.append(-torch.stack([across[y, x], down[y, x]], 1))
    directions = torch.cat(outwards)
    length = directions.norm(dim=1)
    steep = length > 0
    return Outline(torch.cat(places)[steep], directions[steep] / length[steep, None])


def distances(
    photos: Sequence[Masked], unit_from_photo: Tensor, outline: Outline, reach: float
) -> Tensor:
    """Return how far outside of the mean outline each photo's lies, (N, J) float64 in units.

    NaN where it is not within ``reach``, or where the photo ends; the same arguments as for
    ``mean_outline``.
    """
    steps = torch.linspace(-reach, reach, STEPS, dtype=torch.float64)
    across = (outline.places[:, None] + steps[:, None] * outline.outwards[:, None]).flatten(0, 1)
    found = torch.full((len(photos), len(outline.places)), math.nan, dtype=torch.float64)
    for i, (photo, mask) in enumerate(photos):
        if mask is None:
            continue
        inside, seen = _sampled(photo, mask, unit_from_photo[i], across)
        level = inside.reshape(-1, STEPS).double() - 0.5
        both = seen.reshape(-1, STEPS)
        here, there = level[:, :-1], level[:, 1:]
        leaves = (here >= 0) & (there < 0) & both[:, :-1] & both[:, 1:]
        at = steps[:-1] + (steps[1] - steps[0]) * here / (here - there).clamp(min=1e-9)
        nearest, which = torch.where(leaves, at.abs(), torch.inf).min(1)
        off = at.gather(1, which[:, None])[:, 0]
        found[i] = torch.where(nearest.isfinite(), off, math.nan)
    return found


def _sampled(
    photo: Photo, mask: Mask, unit_from_photo: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a mask at (M, 2) places, (M,) float32, and whether the photo shows them, bool."""
    photo_from_unit = geometry.inverse(unit_from_photo)
    mask_from_photo = geometry.inverse(geometry.as_tensor(mask.image_from_mask))
    x, y = _moved(mask_from_photo @ photo_from_unit, places)
    grid = torch.stack([x * (2 / mask.width) - 1, y * (2 / mask.height) - 1], 1).float()
    image = mask.tensor()[None, None]
    inside = functional.grid_sample(image, grid[None, None], align_corners=False)[0, 0, 0]
    margin = MARGIN / float(geometry.scale_of(unit_from_photo))
    x, y = _moved(photo_from_unit, places)
    seen = (x >= margin) & (x <= photo.width - margin)
    return inside, seen & (y >= margin) & (y <= photo.height - margin)


def _moved(matrix: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Return x and y of (M, 2) places through a matrix; of many, faster than ``geometry.apply``."""
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    x, y = places.unbind(1)
    if g == h == 0:
        return (a * x + b * y + c) / i, (d * x + e * y + f) / i
    depth = g * x + h * y + i
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth
