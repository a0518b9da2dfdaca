"""How rigid each part is, and where each photo lies if every part has a say by that.

Every keypoint and every place of the outline has a variance over the series. Photos are moved so
that parts lie on their means, each weighed by its inverse variance, and the variances are those of
what is left: maximum likelihood by turns, in which a hand or a belly gets a large variance and has
hardly a say.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignimation_core.api.sampling import spread

ROUNDS = 30
PRIOR = 3.0
"""Photos that what is believed of a variance before counts as."""
STRAY = 2.5
"""Deviations at which one observation counts half (Cauchy): a hand before the body."""
LEAST = 0.3
"""Least deviation of a part, as a share of the median of its kind: no two points decide alone."""
FINEST = 2e-4
"""Least deviation, in units."""
LOOSE = 1.0
"""Deviation of the moves themselves, in units: what nothing holds stays."""
PRECISION = 1e-5
"""Moves below which there is nothing left to settle, in units and radians."""
OBSERVED = 256
"""Photos by which it is seen how independent parts are, at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """P parts of one kind, as N photos show them, in a common frame.

    Attributes:
        off: (N, P, D) float64, places in D directions, from any one place near their mean.
        weights: (N, P) float64 in [0, 1], 0 for what was not seen.
        moves: (P, D, M) float64, how a unit of each of M parameters moves a part.
        firmness: (P,) float64, inverse variances as they are believed to be before, relative.
        say: what they count in ``cost``, as if they were so many independent ones.
    """

    off: Tensor
    weights: Tensor
    moves: Tensor
    firmness: Tensor
    say: float

    def cost(self, deviations: Tensor, reach: float) -> float:
        """Return the negative log likelihood, but for constants; ``reach`` for what is not seen."""
        seen = self.weights.mean(0)
        each = seen * deviations.log() + (1 - seen) * math.log(reach)
        return float(each.mean()) * self.say * self.moves.shape[1]


def settle(kinds: Sequence[Parts]) -> tuple[Tensor, list[Tensor]]:
    """Return the (N, M) moves of all photos, zero on average; and each kind's (P,) deviations."""
    photos, parameters = len(kinds[0].off), kinds[0].moves.shape[-1]
    moves = torch.zeros(photos, parameters, dtype=torch.float64)
    loose = torch.eye(parameters, dtype=torch.float64) / LOOSE**2
    outer = [torch.einsum("pdm,pdk->pmk", kind.moves, kind.moves).flatten(1) for kind in kinds]
    agreeing = [torch.ones_like(kind.weights) for kind in kinds]
    followed = [torch.zeros_like(kind.weights) for kind in kinds]
    deviations: list[Tensor] = []
    for _ in range(ROUNDS):
        normal, slope = loose.repeat(photos, 1, 1), torch.zeros_like(moves)
        deviations, influence = [], []
        for i, kind in enumerate(kinds):
            moved = kind.off + torch.einsum("pdm,nm->npd", kind.moves, moves)
            counted = (kind.weights * agreeing[i])[..., None]
            mean = (counted * moved).sum(0) / counted.sum(0).clamp(min=1e-12)
            amiss = moved - mean
            squares = amiss.square().sum(-1)
            deviation = _deviations(kind, squares, agreeing[i], followed[i])
            scale = (STRAY * deviation).square() * kind.moves.shape[1]
            agreeing[i] = 1 / (1 + squares / scale)
            each = kind.weights * agreeing[i] / deviation.square()
            each = each * _independent(amiss * each.sqrt()[..., None])
            normal += (each @ outer[i]).reshape(-1, parameters, parameters)
            slope += torch.einsum("npd,pdm->nm", each[..., None] * (mean - kind.off), kind.moves)
            influence.append(each)
            deviations.append(deviation)
        inverse = torch.linalg.inv(normal)
        found = (inverse @ slope[..., None])[..., 0]
        found = found - found.mean(0)
        followed = [
            each * (inverse.flatten(1) @ of_part.mT)
            for each, of_part in zip(influence, outer, strict=True)
        ]
        done = bool(((found - moves).abs() < PRECISION).all())
        moves = found
        if done:
            break
    return moves, deviations


def _deviations(kind: Parts, squares: Tensor, agreeing: Tensor, followed: Tensor) -> Tensor:
    """Return each part's deviation over the series, (P,), from (N, P) squared distances.

    ``followed`` tells how much of an observation its photo's own move took up, of D directions.
    """
    counted = kind.weights * agreeing
    free = (kind.moves.shape[1] - followed).clamp(min=0.1)
    total, count = (counted * squares / free).sum(0), counted.sum(0)
    seen = count > 0
    usual = (total / count)[seen].median().clamp(min=FINEST**2)
    variance = (total + PRIOR * usual / kind.firmness) / (count + PRIOR)
    least = max(FINEST, LEAST * float(variance[seen].median().sqrt()))
    return variance.sqrt().clamp(min=least)


def _independent(amiss: Tensor) -> float:
    """Return the share of parts that are independent: what pulls one pulls its neighbours, too.

    That of the effective rank of their correlations, which chance alone lets seem to be
    1 / n in the mean square over n observations. ``amiss`` is (N, P, D), over the deviations.
    """
    seen = amiss[spread(len(amiss), OBSERVED)].transpose(1, 2).flatten(0, 1)
    length = seen.norm(dim=0)
    seen = seen[:, length > 0] / length[length > 0]
    count = seen.shape[1]
    chance = 1 / len(seen)
    squared = float((seen.mT @ seen).square().sum())
    correlated = (squared - count**2 * chance) / (1 - chance)
    return count / max(correlated, float(count)) if count else 1.0
