"""The mean outline of a series of masks, and how far each photo's outline lies from it.

All is in a unit frame: the reference's box is centred on (0, 0), and its longer side is 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
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
PHOTOS_AT_ONCE = 16
"""Photos whose masks are sampled together."""
KEPT = 64 << 20
"""Bytes of decompressed masks that are kept at most."""

Masked: TypeAlias = tuple[Photo, Mask | None]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """J places on a mean outline with the directions outwards, (J, 2) float64 each."""

    places: Tensor
    outwards: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Outlines:
    """A mean outline, and how far outside of it each photo's lies.

    Attributes:
        mean: J places.
        off: (N, J) float64 in units; NaN where it is not within reach, or where the photo ends.
    """

    mean: Outline
    off: Tensor

    def towards(self, x: float, y: float) -> Outlines:
        """Return the half that lies in a direction."""
        along = self.mean.places @ self.mean.places.new_tensor([x, y])
        half = along > along.median()
        mean = Outline(self.mean.places[half], self.mean.outwards[half])
        return Outlines(mean, self.off[:, half])


class Masks:
    """The masks of a series of N photos, where they have one."""

    def __init__(self, photos: Sequence[Masked]) -> None:
        self._count = len(photos)
        self._masked = [(i, photo, mask) for i, (photo, mask) in enumerate(photos) if mask]
        self._sizes = torch.tensor([[p.width, p.height] for _, p, _ in self._masked]).double()
        grids = [
            geometry.normalised_from_pixels((mask.height, mask.width))
            @ geometry.inverse(geometry.as_tensor(mask.image_from_mask))
            for _, _, mask in self._masked
        ]
        self._grid_from_photo = torch.stack(grids) if grids else torch.empty(0, 3, 3)
        self._pixels: dict[int, Tensor] = {}
        self._free = KEPT

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._masked)

    def outlines(self, unit_from_photo: Tensor, reach: float) -> Outlines | None:
        """Return the mean outline, and how far off it each photo's lies, within ``reach``.

        ``unit_from_photo`` is (N, 3, 3) float64. The mean is taken where most photos do not end
        before it, up to ``PLACES`` of it; None without any.
        """
        mean = self._mean(unit_from_photo) if self._masked else None
        return None if mean is None else Outlines(mean, self._off(unit_from_photo, mean, reach))

    def _mean(self, unit_from_photo: Tensor) -> Outline | None:
        axis = ((torch.arange(CELLS, dtype=torch.float64) + 0.5) / CELLS - 0.5) * SIDE
        cells = torch.cartesian_prod(axis, axis).flip(1)
        total, shown = torch.zeros(len(cells)), torch.zeros(len(cells))
        some = spread(len(self._masked), OF_MEAN)
        for _, inside, seen in self._sampled(some, unit_from_photo, cells):
            total += (inside * seen).sum(0)
            shown += seen.sum(0)
        known = (shown > 0) & (shown >= SHOWN * len(some))
        mean = torch.where(known, total / shown, torch.nan).reshape(CELLS, CELLS).double()
        found = _crossings(mean, axis)
        chosen = spread(len(found.places), PLACES)
        return Outline(found.places[chosen], found.outwards[chosen]) if len(chosen) else None

    def _off(self, unit_from_photo: Tensor, mean: Outline, reach: float) -> Tensor:
        steps = torch.linspace(-reach, reach, STEPS, dtype=torch.float64)
        across = (mean.places[:, None] + steps[:, None] * mean.outwards[:, None]).flatten(0, 1)
        found = torch.full((self._count, len(mean.places)), math.nan, dtype=torch.float64)
        every = torch.arange(len(self._masked))
        for photos, inside, seen in self._sampled(every, unit_from_photo, across):
            level = inside.reshape(len(photos), -1, STEPS) - 0.5
            both = seen.reshape(len(photos), -1, STEPS)
            here, there = level[..., :-1], level[..., 1:]
            leaves = (here >= 0) & (there < 0) & both[..., :-1] & both[..., 1:]
            at = steps[:-1] + (steps[1] - steps[0]) * here / (here - there).clamp(min=1e-9)
            nearest, which = torch.where(leaves, at.abs(), torch.inf).min(-1)
            off = at.gather(-1, which[..., None])[..., 0]
            found[photos] = torch.where(nearest.isfinite(), off, math.nan)
        return found

    def _sampled(
        self, some: Tensor, unit_from_photo: Tensor, places: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Sample some masks, a few at a time, at (M, 2) places.

        Yields:
            (n,) photos; their masks there, (n, M) float32; and whether they show them, bool.
        """
        low, high = places.aminmax(dim=0)
        corners = torch.cartesian_prod(*torch.stack([low, high], 1))
        for block in torch.split(some, PHOTOS_AT_ONCE):
            photos = torch.tensor([self._masked[i][0] for i in block.tolist()])
            placed = unit_from_photo[photos]
            photo_from_unit = geometry.inverse(placed)
            grids = _moved(self._grid_from_photo[block] @ photo_from_unit, places).float()
            inside = torch.empty(len(block), len(places))
            for row, (i, grid) in enumerate(zip(block.tolist(), grids, strict=True)):
                image = self._tensor(i)[None, None]
                sampled = functional.grid_sample(image, grid[None, None], align_corners=False)
                inside[row] = sampled[0, 0, 0]
            margin = (MARGIN / geometry.scale_of(placed))[:, None, None]
            sizes = self._sizes[block][:, None]
            at = _moved(photo_from_unit, corners)
            seen = torch.ones(len(block), len(places), dtype=torch.bool)
            cut = ~((at >= margin) & (at <= sizes - margin)).flatten(1).all(1)
            at = _moved(photo_from_unit[cut], places)
            seen[cut] = ((at >= margin[cut]) & (at <= sizes[cut] - margin[cut])).all(-1)
            yield photos, inside, seen

    def _tensor(self, i: int) -> Tensor:
        """Return a mask's pixels, kept as long as there is room."""
        if (known := self._pixels.get(i)) is not None:
            return known
        pixels = self._masked[i][2].tensor()
        if pixels.nbytes <= self._free:
            self._free -= pixels.nbytes
            self._pixels[i] = pixels
        return pixels


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


def _moved(matrices: Tensor, places: Tensor) -> Tensor:
    """Return (M, 2) places through (n, 3, 3) matrices, (n, M, 2), fast where these are affine."""
    if not (matrices[:, 2] == matrices.new_tensor([0.0, 0.0, 1.0])).all():
        return geometry.apply(matrices, places)
    shifts, each = matrices[:, None, :2, 2], places.expand(len(matrices), -1, -1)
    return torch.baddbmm(shifts, each, matrices[:, :2, :2].mT)
