"""Frames between two photos: both warped to the shape between them, then faded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import Canvas, Frame, Subject
from alignimation_core.api import geometry
from alignimation_effects._fade import Fade, faded

STEP = 16
"""Pixels of the canvas between two places at which the warp is computed."""
REACH = 1.2
"""How far around the keypoints the picture moves, in units of their extent."""
EDGE = 0.25
"""Share of the region's half in which the movement fades out, so that its edge is fixed."""
LEAST = 3
"""Keypoints below which there is no shape."""
FAINT = 0.02
"""A movement, in pixels, that is not seen."""


def morphed(
    first: Frame,
    second: Frame,
    shapes: tuple[Subject | None, Subject | None],
    canvas: Canvas,
    shares: Sequence[float],
) -> Iterator[Tensor]:
    """Yield the frames between two; a mere fade where they have too few keypoints in common."""
    old, new = shapes
    names = sorted(set(old.keypoints) & set(new.keypoints)) if old and new else []
    if not shares or old is None or new is None or len(names) < LEAST:
        yield from faded(first, second, shares)
        return
    begin = geometry.table([old.keypoints[name] for name in names], 2)
    end = geometry.table([new.keypoints[name] for name in names], 2)
    moving = Region.around(torch.cat([begin, end]), canvas)
    if moving is None:
        yield from faded(first, second, shares)
        return
    fade = Fade(first.image, second.image)
    part = moving.rows, moving.columns
    planes = [each.image[:, *part][None].float() for each in (first, second)]
    for share in shares:
        between = torch.lerp(begin, end, share)
        warped = [
            moving.warped(plane, between, points)[0].round().byte()
            for plane, points in zip(planes, (begin, end), strict=True)
        ]
        fade.put(part, *warped)
        yield torch.from_numpy(fade.at(share)).permute(2, 0, 1)


class Region:
    """The part of the canvas that moves, whole pixels (x0, y0, x1, y1); its edge does not."""

    def __init__(self, x0: int, y0: int, x1: int, y1: int) -> None:
        self.rows, self.columns = slice(y0, y1), slice(x0, x1)
        self._corner = torch.tensor([x0, y0], dtype=torch.float64)
        self._size = (y1 - y0, x1 - x0)
        height, width = self._size
        self._grid = (max(4, -(-height // STEP)), max(4, -(-width // STEP)))
        ys = (torch.arange(self._grid[0], dtype=torch.float64) + 0.5) * height / self._grid[0]
        xs = (torch.arange(self._grid[1], dtype=torch.float64) + 0.5) * width / self._grid[1]
        self._places = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
        across = (torch.arange(width) + 0.5) * (2 / width) - 1
        down = (torch.arange(height) + 0.5) * (2 / height) - 1
        self._still = torch.stack(torch.meshgrid(across, down, indexing="xy"), -1)[None]
        nearest = torch.minimum(
            torch.minimum(xs, width - xs)[None, :] / (width * EDGE / 2),
            torch.minimum(ys, height - ys)[:, None] / (height * EDGE / 2),
        ).clamp(max=1)
        self._taper = nearest.square() * (3 - 2 * nearest)
        along = torch.linspace(0, 1, 5, dtype=torch.float64)
        fixed = torch.cartesian_prod(along, along)
        self._fixed = fixed[((fixed == 0) | (fixed == 1)).any(1)]
        self._fixed = self._fixed * torch.tensor([width, height], dtype=torch.float64)

    @classmethod
    def around(cls, points: Tensor, canvas: Canvas) -> Region | None:
        """Return the region around (N, 2) points; None where they are not on the canvas."""
        low, high = points.amin(0), points.amax(0)
        reach = REACH * float((high - low).max())
        size = torch.tensor([canvas.width, canvas.height], dtype=torch.float64)
        inside = ((points > 0) & (points < size)).all()
        x0, y0 = (low - reach).clamp(min=0).floor().long().tolist()
        x1, y1 = torch.minimum(high + reach, size).ceil().long().tolist()
        return cls(x0, y0, x1, y1) if inside and x1 > x0 + 8 and y1 > y0 + 8 else None

    def warped(self, planes: Tensor, between: Tensor, points: Tensor) -> Tensor:
        """Return (1, C, h, w) planes of the region, its points moved to where they are between.

        ``between`` and ``points`` are (N, 2), in the canvas's continuous pixels.
        """
        goal = torch.cat([between - self._corner, self._fixed])
        shift = torch.cat([points - between, torch.zeros_like(self._fixed)])
        moved = thin_plate(goal, shift, self._places)
        moved = moved.reshape(*self._grid, 2) * self._taper[..., None]
        if float(moved.abs().max()) < FAINT:
            return planes
        height, width = self._size
        shares = moved * moved.new_tensor([2 / width, 2 / height])
        dense = functional.interpolate(
            shares.permute(2, 0, 1)[None].float(), self._size, mode="bilinear", align_corners=False
        )
        grid = self._still + dense.permute(0, 2, 3, 1)
        return functional.grid_sample(
            planes, grid, mode="bilinear", padding_mode="border", align_corners=False
        )


def thin_plate(points: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """Return a thin-plate spline through (N, 2) values at (N, 2) points, at (M, 2) places.

    Bookstein, "Principal warps: thin-plate splines and the decomposition of deformations", 1989.
    Float64 all.
    """
    unit = float((points.amax(0) - points.amin(0)).max())
    points, places = points / unit, places / unit
    count = len(points)
    system = points.new_zeros(count + 3, count + 3)
    system[:count, :count] = _bent(torch.cdist(points, points))
    system[:count, count] = system[count, :count] = 1
    system[:count, count + 1 :] = points
    system[count + 1 :, :count] = points.T
    system[range(count), range(count)] += 1e-9  # where two points are one
    wanted = torch.cat([values, values.new_zeros(3, 2)])
    weights = torch.linalg.solve(system, wanted)
    plain = torch.cat([places.new_ones(len(places), 1), places], 1)
    found: Tensor = _bent(torch.cdist(places, points)) @ weights[:count] + plain @ weights[count:]
    return found


def _bent(distance: Tensor) -> Tensor:
    return torch.xlogy(distance.square(), distance)
