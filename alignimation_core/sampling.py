"""A few of many, standing for all."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(count: int, most: int) -> Tensor:
    """Return which of a series to look at, where it is too long to look at all of it.

    One is drawn from each of ``most`` equal parts, the same ones at every call: at even steps it
    might be the second face of every photo, or the evening of every day.

    Args:
        count: how many there are.
        most: how many to choose at most.

    Returns:
        (min(count, most),) int64 indices, ascending.
    """
    if count <= most:
        return torch.arange(count)
    ends = torch.arange(most + 1) * count // most
    within = torch.rand(most, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return ends[:-1] + (within * ends.diff()).long()
