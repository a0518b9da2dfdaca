"""Inverse-compositional Levenberg-Marquardt on one level of a pyramid, batched over photos.

Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 56 (2004): the warp is
linearised on the reference's side, so gradients, Jacobian and its outer products are computed once
for all photos and iterations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignimation_kornia._pyramid_level import Level

_FIRST_DAMPING, _LEAST_DAMPING, _LAST_DAMPING = 1e-4, 1e-8, 1e4
_CHECK_EVERY = 8  # iterations between looks at whether all are done, where looking costs a wait


@dataclass(slots=True, eq=False)
class _State:
    """The state of the iteration; a row a photo."""

    rows: Tensor
    images: Tensor
    weights: Tensor
    matrices: Tensor
    damping: Tensor
    scale: Tensor
    residual: Tensor
    inside: Tensor
    iterations: Tensor
    done: Tensor

    def keep(self, chosen: Tensor) -> _State:
        return _State(*(getattr(self, name)[chosen] for name in self.__slots__))


def minimise(
    level: Level,
    images: Tensor,
    weights: Tensor,
    matrices: Tensor,
    iterations: int,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit (B, C, h, w) images, whose channels weigh (B, C), from (B, 3, 3) ``fixed_from_moving``.

    A step is taken only where it lowers the loss, compared on the pixels that the photo reaches
    before and after it, so that leaving the frame is no way to a lower loss. Photos that are done
    take no further steps, and leave the batch once they are half of it.

    A photo is done when a step moves the target's points by less than ``tolerance``, root mean
    square. Like the matrices, it is in continuous pixels of the finest level.

    Returns:
        ``fixed_from_moving`` (B, 3, 3); iterations (B,) int64; done (B,) bool.
    """
    count, device = len(images), images.device
    residual, inside = level.difference(images, matrices)
    state = _State(
        rows=torch.arange(count, device=device),
        images=images,
        weights=weights,
        matrices=matrices,
        damping=matrices.new_full((count,), _FIRST_DAMPING),
        scale=level.loss.scale(residual, inside * level.counts),
        residual=residual,
        inside=inside,
        iterations=torch.zeros(count, dtype=torch.int64, device=device),
        done=torch.zeros(count, dtype=torch.bool, device=device),
    )
    result, used, finished = state.matrices.clone(), state.iterations.clone(), state.done.clone()
    on_cpu = device.type == "cpu"
    for iteration in range(iterations):
        _step(state, level, tolerance)
        if on_cpu or iteration % _CHECK_EVERY == _CHECK_EVERY - 1:
            remaining = int((~state.done).sum())
            if not remaining:
                break
            if 2 * remaining <= len(state.rows):
                _write(state, result, used, finished)
                state = state.keep(~state.done)
    _write(state, result, used, finished)
    return result, used, finished


def _write(state: _State, matrices: Tensor, iterations: Tensor, done: Tensor) -> None:
    matrices[state.rows] = state.matrices
    iterations[state.rows] = state.iterations
    done[state.rows] = state.done


def _step(state: _State, level: Level, tolerance: float) -> None:
    """Try one damped step for every photo that is not done."""
    loss, chart = level.loss, level.chart
    batch, side = len(state.rows), level.jacobian.shape[-1]
    counted = state.weights[:, :, None] * level.counts * state.inside
    influence = (counted * loss.weight(state.residual, state.scale)).reshape(batch, -1)
    normal = (influence @ level.outer).reshape(batch, side, side).double()
    slope = ((influence * state.residual.reshape(batch, -1)) @ level.jacobian).double()

    diagonal = normal.diagonal(dim1=1, dim2=2)
    floor = 1e-12 + 1e-9 * diagonal.amax(1, keepdim=True)
    damped = normal + torch.diag_embed(state.damping[:, None] * diagonal + floor)
    step = torch.linalg.solve_ex(damped, slope[..., None]).result[..., 0]
    trial = chart.matrices(step) @ state.matrices

    residual, inside = level.difference(state.images, trial)
    common = counted * inside
    before = (common * loss.value(state.residual, state.scale)).sum((1, 2))
    after = (common * loss.value(residual, state.scale)).sum((1, 2))
    better = (after < before) & (torch.linalg.det(trial) > 0) & ~state.done
    still = step.square().sum(1).sqrt() * chart.radius < tolerance

    state.matrices = torch.where(better[:, None, None], trial, state.matrices)
    state.residual = torch.where(better[:, None, None], residual, state.residual)
    state.inside = torch.where(better[:, None, None], inside, state.inside)
    state.iterations = state.iterations + (~state.done).long()
    state.damping = torch.where(better, state.damping * 0.1, state.damping * 10).clamp(
        min=_LEAST_DAMPING
    )
    state.done = state.done | still | (state.damping > _LAST_DAMPING) | ~step.isfinite().all(1)
