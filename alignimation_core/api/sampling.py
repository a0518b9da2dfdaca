"""Rows of tables: a stratified subsample, and one of each of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def spread(count: int, most: int, weights: Tensor | None = None) -> Tensor:
    """Return the indices of a stratified subsample of a series.

    One is drawn from each of ``most`` equal parts, the same ones at every call: at even steps it
    might be the second face of every photo, or the evening of every day.

    Args:
        count: how many there are.
        most: how many to choose at most.
        weights: (count,) > 0, float64: then the parts are of equal weight; what weighs more than a
            part is chosen once.

    Returns:
        (N,) int64 indices, ascending: all where there are no more than ``most``.
    """
    if count <= most:
        return torch.arange(count)
    within = torch.rand(most, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if weights is not None:
        up_to = weights.cumsum(0)
        drawn = (torch.arange(most) + within) * (up_to[-1] / most)
        met = torch.searchsorted(up_to, drawn, right=True).clamp(max=count - 1)
        return met[met.diff(prepend=met.new_tensor([-1])) > 0]
    ends = torch.arange(most + 1) * count // most
    return ends[:-1] + (within * ends.diff()).long()


def row_of_each(indices: Sequence[int], *columns: Sequence[Tensor]) -> list[Tensor]:
    """Return one row of each of M tables, (M, ...); of several columns of such tables, of each.

    The tables of a column, at least one, differ in length alone; those of another are as long.
    """
    lengths = np.array([table.shape[0] for table in columns[0]])
    rows = torch.from_numpy(lengths.cumsum() - lengths + np.array(indices))
    return [torch.cat([*tables])[rows] for tables in columns]
