"""Adapter of kornia's ImageRegistrator to a transform model."""

from __future__ import annotations

import torch
from kornia.geometry import ImageRegistrator
from torch import Tensor
from torch.nn import functional

from alignimation_core import Registration, Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import shared_weights
from alignimation_kornia._validation import NO_MEETING, faults_of_input

LEAST_SIDE = 8  # pixels: kornia's blur needs some on the coarsest level


def register(
    moving: Target, fixed: Target, start: Tensor, levels: int, iterations: int, device: torch.device
) -> Registration:
    """Register photos one by one, as kornia does.

    The photo is first warped by ``start``; kornia, which always begins at the identity, then
    registers the result, and its estimate, the normalised matrix from destination to source, is
    turned around, brought to pixels and put behind ``start``, (B, 3, 3) ``fixed_from_moving``.
    """
    size = (fixed.image.shape[-2], fixed.image.shape[-1])
    while levels > 1 and min(size) < LEAST_SIDE * 2 ** (levels - 1):
        levels -= 1
    to_grid = geometry.normalised_from_pixels(size)
    both = shared_weights(moving.weights, fixed.weights)
    failures = faults_of_input(moving.image, fixed.image, both, start)
    found, before, after, used = [], [], [], []
    for i, (image, counted) in enumerate(zip(moving.image, both > 0, strict=True)):
        first = torch.eye(3, dtype=torch.float64) if failures[i] else start[i]
        matrix, loss = first, _CountingLoss()
        if failures[i] is None:
            destination = fixed.image[None, counted].to(device)
            source = geometry.warp(image[None, counted], first, size).to(device)
            registrator = ImageRegistrator(
                "similarity",
                loss_fn=loss,
                pyramid_levels=levels,
                num_iterations=iterations,
                tolerance=1e-8,
            ).to(device)
            try:
                estimate = registrator.register(source, destination)[0].detach().cpu().double()
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
                estimate = torch.full_like(first, torch.nan)
            if bool(estimate.isfinite().all()) and float(torch.linalg.det(estimate)) > 0:
                matrix = geometry.inverse(to_grid) @ geometry.inverse(estimate) @ to_grid @ first
            warped = geometry.warp(image, matrix, size)
            if matrix is first or not (warped * fixed.image)[counted].any():
                failures[i] = NO_MEETING
        found.append(matrix)
        before.append(_difference(image, fixed.image, counted, first))
        after.append(_difference(image, fixed.image, counted, matrix))
        used.append(loss.calls // 2)
    steps = torch.tensor(used, dtype=torch.int64)
    sound = torch.tensor([failure is None for failure in failures], dtype=torch.bool)
    return Registration(
        matrices=torch.stack(found) if found else start,
        residuals_before=torch.tensor(before),
        residuals=torch.tensor(after),
        iterations=steps,
        converged=sound & (steps < iterations * levels),
        failures=tuple(failures),
    )


class _CountingLoss:
    """Mean squared error that counts its calls; kornia makes two a step, one in each direction."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, one: Tensor, other: Tensor, reduction: str) -> Tensor:
        self.calls += 1
        return functional.mse_loss(one, other, reduction=reduction)


def _difference(image: Tensor, fixed: Tensor, counted: Tensor, matrix: Tensor) -> float:
    warped = geometry.warp(image, matrix, (fixed.shape[-2], fixed.shape[-1]))
    return float((warped - fixed)[counted].square().mean().sqrt().nan_to_num())
