"""kornia's ImageRegistrator behind the contract of a transform model."""

from __future__ import annotations

import torch
from kornia.geometry import ImageRegistrator
from torch import Tensor
from torch.nn import functional

from alignimation_core import Registration, Target, geometry

LEAST_SIDE = 8  # pixels: kornia's blur needs some on the coarsest level


def register(
    moving: Target, fixed: Target, start: Tensor, levels: int, iterations: int, device: torch.device
) -> Registration:
    """Register photos one by one, as kornia does.

    The photo is first warped by ``start``; kornia, which always begins at the identity, then
    registers the result, and its answer, the normalised matrix from destination to source, is
    turned around, brought to pixels and put behind ``start``.

    Args:
        moving: a batch.
        fixed: the reference.
        start: (B, 3, 3) float64 ``fixed_from_moving``, where kornia begins.
        levels: of kornia's pyramid, fewer for small targets.
        iterations: at most so many on each level.
        device: where to compute.
    """
    size = (fixed.image.shape[-2], fixed.image.shape[-1])
    while levels > 1 and min(size) < LEAST_SIDE * 2 ** (levels - 1):
        levels -= 1
    to_grid = geometry.normalised_from_pixels(size)
    found, before, after, failures, used = [], [], [], [], []
    for image, weights, first in zip(moving.image, moving.weights, start, strict=True):
        counted = (weights * fixed.weights) > 0
        matrix, failure, steps = first, None, 0
        if not counted.any():
            failure = "nothing in common with the reference: no keypoint found in both"
        elif not (image.isfinite().all() and fixed.image.isfinite().all()):
            failure = "a target contains NaN"
        else:
            destination = fixed.image[None, counted].to(device)
            source = geometry.warp(image[None, counted], first, size).to(device)
            loss = _CountingLoss()
            registrator = ImageRegistrator(
                "similarity",
                loss_fn=loss,
                pyramid_levels=levels,
                num_iterations=iterations,
                tolerance=1e-8,
            ).to(device)
            try:
                answer = registrator.register(source, destination)[0].detach().cpu().double()
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
                answer = torch.full_like(first, torch.nan)
            steps = loss.calls // 2
            if bool(answer.isfinite().all()) and float(torch.linalg.det(answer)) > 0:
                matrix = torch.linalg.inv(to_grid) @ torch.linalg.inv(answer) @ to_grid @ first
            else:
                failure = "no overlap: kornia's registrator moved the targets apart"
        found.append(matrix)
        before.append(_difference(image, fixed.image, counted, first))
        after.append(_difference(image, fixed.image, counted, matrix))
        failures.append(failure)
        used.append(steps)
    return Registration(
        matrices=torch.stack(found),
        residuals_before=torch.stack(before),
        residuals=torch.stack(after),
        iterations=torch.tensor(used),
        converged=torch.tensor(
            [
                failure is None and steps < iterations * levels
                for failure, steps in zip(failures, used, strict=True)
            ]
        ),
        failures=tuple(failures),
    )


class _CountingLoss:
    """Mean squared error that counts its calls; kornia makes two a step, one in each direction."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, one: Tensor, other: Tensor, reduction: str) -> Tensor:
        self.calls += 1
        return functional.mse_loss(one, other, reduction=reduction)


def _difference(image: Tensor, fixed: Tensor, counted: Tensor, matrix: Tensor) -> Tensor:
    warped = geometry.warp(image, matrix, (fixed.shape[-2], fixed.shape[-1]))
    difference = (warped - fixed)[counted].square().mean().sqrt()
    return difference.nan_to_num()
