"""Which photos are compared: those nearest in time, and those most alike."""

from __future__ import annotations

import torch
from torch import Tensor

from alignimation_core.api.sampling import spread

NEXT = 4
"""Photos before each one, and after it, that it is compared with."""
ALIKE = 8
"""Photos most like each one that it is compared with."""
HUBS = 256
"""Photos among which those are looked for, so that the cost is linear; they hold all together."""
SOME = 1024


def hubs_of(count: int) -> Tensor:
    """Return the photos among which alike ones are looked for, (H,) int64, ascending."""
    return spread(count, HUBS)


def neighbours(thumbnails: Tensor, hubs: Tensor) -> tuple[Tensor, Tensor]:
    """Choose whom each photo is compared with.

    Args:
        thumbnails: (N, D) float32 vectors of unit length, in the order of time.
        hubs: (H,) int64, ascending.

    Returns:
        (M,) int64 photos and (M,) int64 others: each pair once, by the photo ascending. The
        other is one of the ``NEXT`` before the photo, or a hub.
    """
    count = len(thumbnails)
    every = torch.arange(count)
    pairs = [torch.stack([every[step:], every[:-step]], 1) for step in range(1, NEXT + 1)]
    most = min(ALIKE, len(hubs) - 1)
    for some in torch.split(every, SOME):
        alike = thumbnails[some] @ thumbnails[hubs].mT
        near = (some[:, None] - hubs).abs() <= NEXT
        alike = alike.masked_fill(near, -2.0)
        best = alike.topk(most, dim=1)
        kept = best.values > -2
        photo = some[:, None].expand_as(kept)[kept]
        pairs.append(torch.stack([photo, hubs[best.indices[kept]]], 1))
    joined = torch.cat(pairs)
    low, high = joined.amin(1), joined.amax(1)
    ordered, order = (high * count + low).sort(stable=True)
    first = torch.ones(len(order), dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    unique = joined[order[first]]
    unique = unique[unique[:, 0].sort(stable=True).indices]
    return unique[:, 0], unique[:, 1]
