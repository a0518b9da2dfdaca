"""Gaussian heat maps of points."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(points: Tensor, width: float, size: tuple[int, int]) -> Tensor:
    """Draw one Gaussian a point, as the product of its two profiles.

    Args:
        points: (P, 2), continuous pixels.
        width: standard deviation, pixels.
        size: (height, width) of the picture.

    Returns:
        (P, height, width) float32, 1 at the point itself.
    """
    columns, rows = (
        profile(torch.arange(count) + 0.5 - points[:, axis, None], width)
        for axis, count in ((0, size[1]), (1, size[0]))
    )
    return rows[:, :, None] * columns[:, None, :]


def profile(distance: Tensor, width: float) -> Tensor:
    """Return the Gaussian of distances, 0 beyond six widths.

    There it is below 2e-8; denormal numbers further out would make all arithmetic on it slow.
    """
    z = distance / width
    return torch.exp(-0.5 * z.square()).where(z.abs() < 6, 0.0)
