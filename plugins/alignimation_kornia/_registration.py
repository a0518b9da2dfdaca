"""Registration of a batch against one reference: validation, start, coarse to fine, residuals."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import Registration, Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import shared_weights
from alignimation_kornia._gauss_newton import minimise
from alignimation_kornia._gradient_descent import Objective, Options, descend
from alignimation_kornia._initialization import best_turn, centres
from alignimation_kornia._losses import Loss
from alignimation_kornia._pyramid_level import Level, Pixels
from alignimation_kornia._transforms import FAMILIES, Chart
from alignimation_kornia._validation import NO_MEETING, faults_of_input

COARSEST_SIDE = 32  # pixels: the pyramid stops before its long side gets shorter
KNOWN_START_SIDE = 64  # pixels: photos with a start from keypoints join on this level
RESIDUAL_SIDE = 64  # pixels: residuals are taken on a lattice of at most so many rows and columns
TOLERANCE = 1e-5  # of the long side, on the finest level
COARSE_TOLERANCE = 0.02  # pixels of a coarser level
COINCIDENT = 1e-3  # of the long side: keypoints nearer to each other are in one place
NEAR = 2.0  # widths of a Gaussian: points nearer to each other are within their noise
SINGULAR = 1e-4  # ratio of eigenvalues: below it, the images leave a parameter open


def register(
    model: Options, moving: Target, fixed: Target, initial: Tensor, device: torch.device
) -> Registration:
    """Fit a batch; see ``alignimation_core.TransformModel.fit``."""
    size = (fixed.image.shape[-2], fixed.image.shape[-1])
    if not len(initial):
        return Registration(initial.double())
    family = FAMILIES[model.family]
    chart = Chart(family, size, device)
    weights = shared_weights(moving.weights, fixed.weights).to(device)
    initial = initial.to(device, torch.float64)
    images, reference = moving.image.to(device), fixed.image.to(device)
    failures = faults_of_input(images, reference, weights.cpu(), initial.cpu())
    sound = ~_failed(failures).to(device)
    identity = torch.eye(3, dtype=torch.float64, device=device)
    initial = torch.where(sound[:, None, None], initial, identity)
    weights = weights * sound[:, None]
    if not sound.all():
        images, reference = images.nan_to_num(0, 0, 0), reference.nan_to_num(0, 0, 0)

    start = family.nearest(initial, centres(moving, fixed, images))
    turned = _faults_of_points(moving, fixed, reference, weights, failures, chart)
    fitted = ~(_settled(moving, fixed, start.cpu(), chart) & ~turned)
    if model.optimizer != "gauss-newton" or model.loss != "l2":
        fitted = torch.ones_like(fitted)
    chosen = fitted.nonzero()[:, 0].to(device)
    matrices = start.clone()
    iterations = torch.zeros(len(images), dtype=torch.int64, device=device)
    converged = torch.ones(len(images), dtype=torch.bool, device=device)
    if len(chosen):
        matrices[chosen], iterations[chosen], converged[chosen] = _coarse_to_fine(
            model, images[chosen], reference, weights[chosen], start[chosen], turned[fitted], chart
        )
    return _result(
        model, images, reference, weights, start, matrices, iterations, converged, failures, chart
    )


def _coarse_to_fine(
    model: Options,
    images: Tensor,
    reference: Tensor,
    weights: Tensor,
    start: Tensor,
    turned: Tensor,
    chart: Chart,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit images from (B, 3, 3) starts; for those ``turned``, (B,) bool, from the best turn.

    Returns:
        ``fixed_from_moving`` (B, 3, 3); iterations (B,) int64; converged (B,) bool.
    """
    size, loss = chart.size, Loss(model.loss)
    photos, references = _pyramid(images), [level[0] for level in _pyramid(reference[None])]
    matrices = start.clone()
    if chart.family.turns and turned.any():
        chosen = turned.nonzero()[:, 0].to(images.device)
        coarse = _known_start(photos)
        matrices[chosen] = best_turn(
            [photo[chosen] for photo in photos[coarse:]],
            references[coarse:],
            weights[chosen],
            start[chosen],
            chart,
        )
    iterations = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    converged = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for at in range(_known_start(photos), -1, -1):
        pixel = size[0] / photos[at].shape[-2]
        tolerance = COARSE_TOLERANCE * pixel if at else TOLERANCE * max(size)
        if model.optimizer == "gauss-newton":
            level = Level(references[at], chart, loss)
            matrices, used, converged = minimise(
                level, photos[at], weights, matrices, model.iterations, tolerance
            )
        else:
            matrices, used, converged = descend(
                model, references[at], photos[at], weights, matrices, chart, tolerance
            )
        iterations = iterations + used
    return matrices, iterations, converged


def _settled(moving: Target, fixed: Target, start: Tensor, chart: Chart) -> Tensor:
    """Return for which photos the images know nothing better than (B, 3, 3) ``start``, (B,) bool.

    Where they show the points alone, as Gaussians of one width, their squared difference hardly
    differs from that of the points, as long as these are near to each other; and ``start`` is best
    for those when a Gauss-Newton step on them stays where it is.
    """
    if fixed.width is None or not (moving.points_only and fixed.points_only):
        return torch.zeros(len(start), dtype=torch.bool)
    shared = shared_weights(moving.point_weights, fixed.point_weights).double().cpu()
    there = geometry.apply(start, moving.points.double().cpu())
    off = there - fixed.points.double().cpu()
    far = (off.norm(dim=-1) > NEAR * float(fixed.width)) & (shared > 0)
    unit_from_pixels, generators = chart.unit_from_pixels.cpu(), chart.generators.cpu()
    u = functional.pad(geometry.apply(unit_from_pixels, there), (0, 1), value=1.0)
    moved = torch.einsum("kij,bpj->bpik", generators, u)
    velocity = moved[:, :, :2] - u[:, :, :2, None] * moved[:, :, 2:]
    normal = torch.einsum("bp,bpik,bpil->bkl", shared, velocity, velocity)
    slope = torch.einsum("bp,bpik,bpi->bk", shared, velocity, off)
    step = torch.linalg.lstsq(normal, slope[..., None]).solution[..., 0]
    settled: Tensor = ~far.any(1) & (step.norm(dim=1) < TOLERANCE * max(chart.size))
    return settled


def _pyramid(images: Tensor) -> list[Tensor]:
    """Return the image pyramid of (B, C, h, w), halved level by level, the finest first."""
    levels = [images]
    while max(images.shape[-2:]) >= 2 * COARSEST_SIDE and min(images.shape[-2:]) >= 8:
        half = [-(-side // 2) for side in images.shape[-2:]]
        # At a half, bilinear interpolation is the mean of two by two pixels: a low-pass by itself.
        images = functional.interpolate(images, half, mode="bilinear", align_corners=False)
        levels.append(images)
    return levels


def _known_start(levels: list[Tensor]) -> int:
    """Return the coarsest level that a photo with a good start need visit."""
    return max(
        (at for at, level in enumerate(levels) if max(level.shape[-2:]) >= KNOWN_START_SIDE),
        default=0,
    )


def _faults_of_points(
    moving: Target,
    fixed: Target,
    reference: Tensor,
    weights: Tensor,
    failures: list[str | None],
    chart: Chart,
) -> Tensor:
    """Fail the photos whose points leave the transform undetermined; return whose rotation is.

    Where there are too few points, or all in one place, the images may still determine the
    transform: then the smallest eigenvalue of the Gauss-Newton Hessian is not negligible beside
    the largest.
    """
    family = chart.family
    needed = 1 if family.name == "translation" else 2
    shared = shared_weights(moving.point_weights, fixed.point_weights).cpu()
    few = (shared > 0).sum(1) < needed
    place = (shared[..., None] * fixed.points.cpu().nan_to_num()).sum(1) / shared.sum(1)[:, None]
    apart = (fixed.points.cpu() - place[:, None]).norm(dim=-1) > COINCIDENT * max(chart.size)
    together = ~((shared > 0) & apart).any(1) & ~few & (needed > 1)
    turned: Tensor = few | together
    if turned.any() and moving.points.shape[1] > 0:
        level = Level(reference, chart, Loss("l2"))
        spectrum = torch.linalg.eigvalsh(level.information(weights).double()).cpu()
        undetermined = turned & (spectrum[:, 0] <= SINGULAR * spectrum[:, -1])
        number = "one keypoint" if needed == 1 else "two keypoints"
        for i in undetermined.nonzero()[:, 0].tolist():
            reason = f"fewer than {number} in common with the reference"
            if together[i]:
                reason = "the keypoints in common with the reference coincide"
            failures[i] = failures[i] or f"{reason}: they do not determine a {family.name}"
    return turned & ~_failed(failures)


def _failed(failures: list[str | None]) -> Tensor:
    return torch.tensor([failure is not None for failure in failures], dtype=torch.bool)


def _result(
    model: Options,
    images: Tensor,
    reference: Tensor,
    weights: Tensor,
    start: Tensor,
    end: Tensor,
    iterations: Tensor,
    converged: Tensor,
    failures: list[str | None],
    chart: Chart,
) -> Registration:
    """Compare start and end on the same pixels, keep the better, name failures."""
    loss = Loss(model.loss)
    lattice = Pixels.lattice(reference, RESIDUAL_SIDE, chart)
    at_start, reach_start, _ = lattice.sample(images, start)
    at_end, reach_end, _ = lattice.sample(images, end)
    usable = end.isfinite().flatten(1).all(1) & (torch.linalg.det(end) > 0)
    usable = usable & (reach_end.mean((1, 2)) >= 0.5 * reach_start.mean((1, 2)))
    reach_end = torch.where(usable[:, None, None], reach_end, reach_start)
    common = reach_start * reach_end
    before = loss.residual(at_start, common, lattice.values)
    after = loss.residual(at_end.nan_to_num(), common, lattice.values)
    counted = common * weights[:, :, None]
    if model.optimizer == "gauss-newton":
        scale = loss.scale(before, common)
        gain = loss.value(before, scale) - loss.value(after, scale)
        better = usable & ((counted * gain).sum((1, 2)) >= 0)
    else:
        sane = torch.where(usable[:, None, None], end, start)
        objective = Objective(reference, images, weights, start, chart, model.criterion)
        better = usable & (objective(sane) <= 1)
    matrices = torch.where(better[:, None, None], end, start)
    after = torch.where(better[:, None, None], after, before)

    total = counted.sum((1, 2))
    rms_before = ((counted * before.square()).sum((1, 2)) / total).sqrt()
    rms_after = ((counted * after.square()).sum((1, 2)) / total).sqrt()

    sampled = torch.where(better[:, None, None], at_end, at_start)
    meet = (counted * sampled * lattice.values).sum((1, 2))
    theirs = (counted * sampled.square()).sum((1, 2)) * (counted * lattice.values**2).sum((1, 2))
    apart = ~(meet > 1e-3 * theirs.sqrt())
    outside = common[:, 0].mean(1) < 0.01
    for i, (is_outside, is_apart) in enumerate(zip(outside.tolist(), apart.tolist(), strict=True)):
        if is_outside:
            failures[i] = failures[i] or "no overlap: the photo and the reference share no pixels"
        elif is_apart:
            failures[i] = failures[i] or NO_MEETING
    failed = _failed(failures).to(images.device)
    return Registration(
        matrices=torch.where(failed[:, None, None], start, matrices).cpu(),
        residuals_before=rms_before.nan_to_num().cpu(),
        residuals=torch.where(failed, rms_before, rms_after).nan_to_num().cpu(),
        iterations=iterations.cpu(),
        converged=(converged & ~failed).cpu(),
        failures=tuple(failures),
    )
