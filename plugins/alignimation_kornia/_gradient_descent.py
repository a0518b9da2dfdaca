"""Gradient descent on any differentiable criterion, by Adam or L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_kornia._transforms import Chart, Transform

Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(warped (B, C, h, w), fixed (C, h, w), weights (B, C, h, w)) -> (B,)``, differentiable."""


class Options(Protocol):
    """What a fit reads of its transform model."""

    @property
    def family(self) -> str: ...
    @property
    def loss(self) -> Literal["l2", "l1", "huber", "tukey", "ncc"]: ...
    @property
    def optimizer(self) -> Literal["gauss-newton", "adam", "lbfgs"]: ...
    @property
    def iterations(self) -> int: ...
    @property
    def criterion(self) -> Criterion: ...


LEARNING_RATE = 2.0  # pixels of the level that Adam's first step moves the target's points


def descend(
    model: Options,
    reference: Tensor,
    images: Tensor,
    weights: Tensor,
    matrices: Tensor,
    chart: Chart,
    tolerance: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit a batch on one level as ``minimise`` does, with nothing worse than its start returned.

    ``adam`` steps all photos at once, ``lbfgs`` fits them one by one.
    """
    rate = LEARNING_RATE * chart.size[0] / reference.shape[-2] / chart.radius
    if model.optimizer == "adam":
        objective = Objective(reference, images, weights, matrices, chart, model.criterion)
        step = tolerance / chart.radius
        return _adam(objective, Transform(chart, matrices), model.iterations, rate, step)
    each = []
    for image, weight, start in zip(
        images[:, None], weights[:, None], matrices[:, None], strict=True
    ):
        objective = Objective(reference, image, weight, start, chart, model.criterion)
        each.append(_lbfgs(objective, Transform(chart, start, rate), model.iterations))
    found, used, done = zip(*each, strict=True)
    return torch.cat(found), torch.cat(used), torch.cat(done)


class Objective:
    """The criterion as a function of (B, 3, 3) matrices in pixels of the finest level.

    In units of its value at the start. It is taken over the pixels that the photo reaches; so that
    reaching fewer is no way to a lower value, it grows as they get fewer, and stays above that of
    the start when more than half are lost.
    """

    def __init__(
        self,
        reference: Tensor,
        images: Tensor,
        weights: Tensor,
        start: Tensor,
        chart: Chart,
        criterion: Criterion,
    ) -> None:
        (height, width), (full_height, full_width) = reference.shape[-2:], chart.size
        to_level = geometry.scaling(width / full_width, height / full_height)
        from_level = geometry.scaling(full_width / width, full_height / height)
        self.to_level, self.from_level = to_level.to(images.device), from_level.to(images.device)
        self.reference, self.criterion = reference, criterion
        self.weights = weights[:, :, None, None]
        self.images = torch.cat([images, torch.ones_like(images[:, :1])], 1)
        with torch.no_grad():
            first, reach = self._measure(start)
        self.first, self.reach = first.clamp(min=1e-12), reach.clamp(min=1e-12)

    def _measure(self, matrices: Tensor) -> tuple[Tensor, Tensor]:
        at_level = self.to_level @ matrices @ self.from_level
        height, width = self.reference.shape[-2:]
        warped = geometry.warp(self.images, at_level, (height, width))
        inside = (warped[:, -1:].detach() > 0.999).to(warped.dtype)
        loss = self.criterion(warped[:, :-1], self.reference, self.weights * inside)
        return loss, inside.mean((1, 2, 3))

    def __call__(self, matrices: Tensor) -> Tensor:
        loss, reach = self._measure(matrices)
        share = (reach / self.reach).clamp(min=0.5)
        return loss / self.first / share + (share <= 0.5).to(loss)


def _adam(
    objective: Objective, model: Transform, iterations: int, rate: float, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Step by Adam (Kingma and Ba 2015) at a falling rate; keep each photo's best."""
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, iterations, eta_min=step / 10)
    best = model.initial
    lowest = best.new_full((len(best),), torch.inf)
    settled = torch.zeros(len(best), dtype=torch.bool, device=best.device)
    for _ in range(iterations):
        adam.zero_grad()
        now = model()
        losses = objective(now)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        better = losses.detach() < lowest
        best = torch.where(better[:, None, None], now.detach(), best)
        lowest = torch.where(better, losses.detach().to(lowest), lowest)
        earlier = model.params.detach().clone()
        adam.step()
        schedule.step()
        settled = (model.params.detach() - earlier).square().sum(1).sqrt() < step
    return best, torch.full_like(settled, iterations, dtype=torch.int64), settled


def _lbfgs(
    objective: Objective, model: Transform, iterations: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Step by L-BFGS with a strong Wolfe line search (Nocedal and Wright 2006), for one photo."""
    lbfgs = torch.optim.LBFGS(
        model.parameters(),
        max_iter=iterations,
        tolerance_change=1e-9,
        tolerance_grad=0.0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        lbfgs.zero_grad()
        loss = objective(model()).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    lbfgs.step(closure)  # type: ignore[no-untyped-call]
    found = model().detach()
    better = objective(found) <= 1
    used = torch.full_like(better, lbfgs.state[model.params]["n_iter"], dtype=torch.int64)
    return torch.where(better[:, None, None], found, model.initial), used, used < iterations
