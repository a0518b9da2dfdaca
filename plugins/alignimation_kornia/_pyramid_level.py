"""One level of the reference's pyramid: selected pixels and their derivatives.

Only pixels where the reference is not flat are visited (Dellaert and Collins, "Fast image-based
tracking by selective pixel integration", 1999), which for Gaussians on keypoints are a few in a
hundred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_kornia._losses import Loss
from alignimation_kornia._transforms import Chart

_NEGLIGIBLE = 1e-4  # of the largest squared gradient of the channel
_PIXELS = 8192  # visited over all channels ...
_LEAST_PIXELS = 1024  # ... but not fewer than so many in a channel that has them


@dataclass(eq=False)
class Pixels:
    """Some pixels of the reference: N in each of C channels.

    Attributes:
        chart: that of the finest level.
        places: (C * N, 3) float32, the pixels' centres as ``(x, y, 1)`` in the normalised frame.
        values: (C, N) float32, the reference there.
    """

    chart: Chart
    places: Tensor
    values: Tensor

    @classmethod
    def lattice(cls, image: Tensor, side: int, chart: Chart) -> Pixels:
        """Return an even lattice of at most ``side`` by ``side`` pixels of a (C, h, w) image."""
        channels, height, width = image.shape
        step_y, step_x = -(-height // side), -(-width // side)
        rows = slice((height - 1) % step_y // 2, None, step_y)
        columns = slice((width - 1) % step_x // 2, None, step_x)
        places = _grid(height, width, image.device)[rows, columns].reshape(-1, 3)
        values = image[:, rows, columns].reshape(channels, -1)
        return cls(chart, places.repeat(channels, 1), values)

    def sample(self, images: Tensor, fixed_from_moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sample (B, C, h, w) photos of any level through (B, 3, 3) matrices of the finest.

        Returns:
            The photos there, (B, C, N); 1 where they reach, else 0; and the places themselves in
            the photos' normalised frame, (B, C, N, 2).
        """
        batch, channels, height, width = images.shape
        moving_from_fixed = torch.linalg.inv_ex(fixed_from_moving).inverse
        grid_from_moving = self.chart.grid_from_pixels @ moving_from_fixed
        grid_from_grid = grid_from_moving @ self.chart.pixels_from_grid
        mapped = self.places @ grid_from_grid.to(images.dtype).mT  # (B, C * N, 3)
        where = mapped[..., :2] / mapped[..., 2:]
        x, y = where.unbind(-1)
        inside = (x.abs() <= 1 - 1 / width) & (y.abs() <= 1 - 1 / height) & (mapped[..., 2] > 0)
        found = functional.grid_sample(
            images.reshape(batch * channels, 1, height, width),
            where.reshape(batch * channels, 1, -1, 2),
            padding_mode="border",
            align_corners=False,
        )
        shape = (batch, channels, -1)
        reached = inside.to(images.dtype).reshape(shape)
        return found.reshape(shape), reached, where.reshape(*shape, 2)


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """Return the (h, w, 3) centres of all pixels as ``(x, y, 1)`` in the normalised frame."""
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    y, x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1)


class Level(Pixels):
    """The pixels of high gradient of a (C, h, w) reference on one level, with their derivatives.

    Attributes:
        loss: the loss that they are prepared for.
        counts: (C, N) float32, 1 for a pixel, 0 for what fills up the shorter channels.
        bend: (C, N, 3) float32, the reference's second derivatives by ``xx``, ``xy`` and ``yy``, in
            pixels of the level.
        jacobian: (C * N, P) float32, derivatives of the reference by the parameters.
        outer: (C * N, P * P) float32, each pixel's outer product of its Jacobian with itself.
    """

    def __init__(self, image: Tensor, chart: Chart, loss: Loss) -> None:
        height, width = image.shape[-2:]
        per_y, per_x = torch.gradient(image, dim=(1, 2))
        steepness = per_x.square() + per_y.square()
        index, counts = _select(steepness, max(_LEAST_PIXELS, _PIXELS // len(image)))
        across = per_x.flatten(1).gather(1, index) * (chart.radius * width / chart.size[1])
        down = per_y.flatten(1).gather(1, index) * (chart.radius * height / chart.size[0])
        gradient = torch.stack([across, down], -1)
        values = image.flatten(1).gather(1, index) * counts
        places = _grid(height, width, image.device).reshape(-1, 3)[index]  # (C, N, 3)

        unit_from_grid = chart.unit_from_pixels @ chart.pixels_from_grid
        u = places @ unit_from_grid.to(places).mT
        moved = torch.einsum("pij,cnj->cnpi", chart.generators.to(u), u)
        velocity = moved[..., :2] - u[:, :, None, :2] * moved[..., 2:]  # (C, N, P, 2)
        rows = torch.einsum("cnpi,cni->cnp", velocity, gradient) * counts[..., None]
        rows = loss.project(rows, values, counts).flatten(0, 1)
        super().__init__(chart, places.flatten(0, 1), values)
        self.loss, self.counts = loss, counts
        self.bend = _second_differences(image, index)
        self.jacobian = rows
        self.outer = (rows[:, :, None] * rows[:, None, :]).flatten(1)

    def difference(self, images: Tensor, fixed_from_moving: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, C, N) residuals of photos, and 1 where they reach, else 0.

        Bilinear interpolation at a fraction ``t`` between two pixels adds ``t (1 - t) / 2`` second
        derivatives. The photo's are those of the reference, seen through the transform: with them
        added to the reference, a photo in its true place differs by the third order only.
        """
        height, width = images.shape[-2:]
        sampled, inside, where = self.sample(images, fixed_from_moving)
        steps = fixed_from_moving[:, :2, :2].to(where.dtype)
        added = torch.zeros_like(sampled)
        for axis, side in ((0, width), (1, height)):
            place = (where[..., axis] + 1) * (side / 2) - 0.5
            t = place - place.floor()
            x, y = steps[:, 0, axis], steps[:, 1, axis]  # one pixel of the photo in the reference
            second = torch.stack([x * x, 2 * x * y, y * y], -1) @ self.bend.flatten(0, 1).mT
            added = added + (t - t * t) / 2 * second.reshape(sampled.shape)
        return self.loss.residual(sampled, inside * self.counts, self.values + added), inside

    def information(self, weights: Tensor) -> Tensor:
        """Return the (B, P, P) Gauss-Newton Hessians for (B, C) weights of channels."""
        channels = len(self.values)
        each = self.outer.reshape(channels, -1, self.outer.shape[-1]).sum(1)
        side = self.jacobian.shape[-1]
        return (weights @ each).reshape(-1, side, side)


def _second_differences(image: Tensor, index: Tensor) -> Tensor:
    """Return (C, N, 3) derivatives by ``xx``, ``xy``, ``yy`` of (C, h, w) at (C, N) pixels."""
    height, width = image.shape[-2:]
    flat, y, x = image.flatten(1), index // width, index % width

    def at(dx: int, dy: int) -> Tensor:
        row, column = (y + dy).clamp(0, height - 1), (x + dx).clamp(0, width - 1)
        return flat.gather(1, row * width + column)

    middle = 2 * at(0, 0)
    per_xx = at(1, 0) - middle + at(-1, 0)
    per_xy = (at(1, 1) - at(-1, 1) - at(1, -1) + at(-1, -1)) / 4
    per_yy = at(0, 1) - middle + at(0, -1)
    return torch.stack([per_xx, per_xy, per_yy], -1)


def _select(steepness: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Select the pixels of high gradient in each channel, or a lattice of some ``limit`` of them.

    The lattice is skewed by the golden ratio, so that it meets every row and every column. Returned
    are (C, N) int64 indices into ``h * w``, and their counts: 0 for what fills up shorter channels.
    """
    strongest = steepness.amax((1, 2), keepdim=True)
    picks = []
    for channel in (steepness > _NEGLIGIBLE * strongest) & (strongest > 0):
        y, x = channel.nonzero().unbind(1)
        every = max(1, math.ceil(len(y) / limit))
        skew = round(every * 0.618)
        while math.gcd(skew, every) > 1:
            skew += 1
        kept = (x + skew * y) % every == 0
        picks.append((y * channel.shape[1] + x)[kept])
    longest = max(1, *(len(pick) for pick in picks))
    index = torch.zeros(len(picks), longest, dtype=torch.int64, device=steepness.device)
    counts = steepness.new_zeros(len(picks), longest)
    for channel, pick in enumerate(picks):
        index[channel, : len(pick)] = pick
        counts[channel, : len(pick)] = 1
    return index, counts
