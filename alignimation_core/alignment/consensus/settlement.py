"""Where keypoints settle: weighted least squares over all pairs, with a pull to the detector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PULL = 0.5
"""What a detection counts, beside pairs of photos, which count 1 each at most."""
NOISE = 1.0
"""Scale of the Cauchy weights of pairs, pixels: what is further off counts less than half."""
STRAY = 4.0
"""Scale of the Cauchy weights of detections, pixels."""
SUPPORT = 0.4
"""Least sum of a point's weights over all pairs: less may be chance."""
LINK = 0.1
"""Weight of a pair from which on it holds its photos together."""
LONELY = 3.0
"""How much more a detection counts at most where a photo is like few others."""
ROUNDS = 8
STEPS = 200
PRECISION = 1e-5  # pixels


def settle(
    detected: Tensor,
    here: Tensor,
    there: Tensor,
    shifts: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Find offsets whose differences are the shifts that were measured between photos.

    Args:
        detected: (N, K, 2) float64 where the detector saw each point, off its mean place; NaN for
            a point that it did not see.
        here: (M,) int64 photos.
        there: (M,) int64 others.
        shifts: (M, K, 2) float64, offset there less offset here.
        weights: (M, K) float64 >= 0.

    Returns:
        (N, K, 2) offsets; without a pair of weight, those detected. And (N, K) bool, whether
        others confirm it: those of the photos that hold together, if that is most.
    """
    seen = detected.isfinite().all(-1)
    start = torch.where(seen[..., None], detected, 0.0)
    both = weights * (seen[here] & seen[there])
    offsets = start
    total = torch.zeros(start.shape[:2], dtype=start.dtype)
    total.index_add_(0, here, both).index_add_(0, there, both)
    both = both * ((total >= SUPPORT)[here] & (total >= SUPPORT)[there])
    linked = torch.where(total > 0, total, torch.nan).nanmedian(0).values.nan_to_num(1.0)
    pull = PULL * (linked / total.clamp(min=1e-9)).clamp(1.0, LONELY)
    for _ in range(ROUNDS):
        amiss = offsets[there] - offsets[here] - shifts
        firm = both / (1 + amiss.square().sum(-1) / NOISE**2)
        held = pull / (1 + (offsets - start).square().sum(-1) / STRAY**2)
        moved = _solve(start, offsets, here, there, shifts, firm, held)
        done = bool(((moved - offsets).abs() < PRECISION).all())
        offsets = moved
        if done:
            break
    return torch.where(seen[..., None], offsets, detected), _confirmed(firm, here, there, seen)


def _confirmed(firm: Tensor, here: Tensor, there: Tensor, seen: Tensor) -> Tensor:
    """Return which points hold together with those of most photos, (N, K) bool, by their pairs."""
    total = torch.zeros(seen.shape, dtype=firm.dtype)
    total.index_add_(0, here, firm).index_add_(0, there, firm)
    group = torch.arange(len(seen))[:, None].expand_as(seen).clone()
    linked = firm >= LINK
    while True:
        least = torch.minimum(group[here], group[there])
        least = torch.where(linked, least, len(seen))
        joined = group.clone()
        for side in (here, there):
            joined.scatter_reduce_(0, side[:, None].expand_as(least), least, "amin")
        if torch.equal(joined, group):
            break
        group = joined.gather(0, joined)
    members = torch.zeros(seen.shape, dtype=torch.int64)
    members.scatter_add_(0, group, (seen & (total >= SUPPORT)).long())
    most = members.argmax(0)
    whole = 2 * members.amax(0) > seen.sum(0)
    return seen & (total >= SUPPORT) & (group == most) & whole


def _solve(
    start: Tensor,
    guess: Tensor,
    here: Tensor,
    there: Tensor,
    shifts: Tensor,
    firm: Tensor,
    held: Tensor,
) -> Tensor:
    """Solve the normal equations of one round by preconditioned conjugate gradients."""
    firm, held = firm[..., None], held[..., None]

    def spread(flow: Tensor) -> Tensor:
        return torch.zeros_like(start).index_add_(0, there, flow).index_add_(0, here, -flow)

    degree = torch.zeros_like(held).index_add_(0, there, firm).index_add_(0, here, firm)
    diagonal = held + degree

    def normal(x: Tensor) -> Tensor:
        return held * x + spread(firm * (x[there] - x[here]))

    return conjugate_gradients(normal, held * start + spread(firm * shifts), guess, diagonal)


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor], right: Tensor, guess: Tensor, diagonal: Tensor
) -> Tensor:
    """Solve N equations for every point and axis, (N, K, 2), all at once."""
    x = guess
    left = right - operator(x)
    scaled = left / diagonal
    direction = scaled
    product = (left * scaled).sum(0)
    for _ in range(STEPS):
        if bool((scaled.abs() < PRECISION).all()):
            break
        image = operator(direction)
        step = product / (direction * image).sum(0).clamp(min=1e-30)
        x = x + step * direction
        left = left - step * image
        scaled = left / diagonal
        following = (left * scaled).sum(0)
        direction = scaled + following / product.clamp(min=1e-30) * direction
        product = following
    return x
