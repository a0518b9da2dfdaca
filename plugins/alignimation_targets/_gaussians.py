"""Gaussian heat maps of points."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(points: Tensor, width: float, size: tuple[int, int]) -> Tensor:
    """Draw a (P, height, width) Gaussian, 1 at the point itself, for (P, 2) points in pixels."""
    rows = profile(torch.arange(size[0]) + 0.5 - points[:, 1, None], width)
    columns = profile(torch.arange(size[1]) + 0.5 - points[:, 0, None], width)
    return rows[:, :, None] * columns[:, None, :]


def profile(distance: Tensor, width: float) -> Tensor:
    """Return the Gaussian of distances, 0 beyond six widths.

    There it is below 2e-8; denormal numbers further out would make all arithmetic on it slow.
    """
    z = distance / width
    return torch.exp(-0.5 * z.square()).where(z.abs() < 6, 0.0)
