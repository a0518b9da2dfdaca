"""Fit transforms to targets, in batches; cache every fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.alignment.targets import Targets, shape_of
from alignimation_core.api import geometry
from alignimation_core.api.errors import StageError
from alignimation_core.api.registration import Target, procrustes
from alignimation_core.api.stages import TransformModel
from alignimation_core.failure import Failure
from alignimation_core.plugin import contract
from alignimation_core.store.fits import Fit, Fits

Key = TypeVar("Key")

FITS_A_BATCH = 32
SMALLEST_AREA = 1e-6
"""Share of a subject's area that a transform may leave of it; it may grow by the inverse."""


def fit(
    items: Sequence[FramedSubject],
    reference: FramedSubject,
    targets: Targets,
    model: TransformModel,
    kept: Fits,
    step: Callable[[], None],
    remark: Callable[[str], None],
) -> tuple[list[AlignedSubject], list[Failure]]:
    """Fit every photo to one reference; return those fitted, and why the others failed.

    A model's last bits may depend on the batch. So that a run that goes on where another was
    killed gives it the same batches, these are of photos that it has not been asked about yet,
    and a photo on which it raised an error, or that could not be drawn, is tried again by itself.
    What is wrong with the model, though photos are fitted, is told to ``remark``.
    """
    keys = targets.keys(items)
    copies, of_key = Counter(keys), dict(zip(keys, items, strict=True))
    (fixed_key,) = targets.keys([reference])
    failed = {key: targets.failed[key] for key in copies if key in targets.failed}
    known = kept.recall_fits(fixed_key, copies)
    open_ = [key for key in copies if key not in failed]
    raised = [key for key in open_ if key in known and known[key].reference_from_subject is None]
    new = [key for key in open_ if key not in known]
    for _ in range(len(items) - sum(copies[key] for key in (*raised, *new))):
        step()
    batches = [new[start : start + FITS_A_BATCH] for start in range(0, len(new), FITS_A_BATCH)]
    batches += [[key] for key in raised]
    if batches:
        fixed = targets.attempt(reference, None)
        if not isinstance(fixed, Target):
            return [], [Failure(reference.photo.name, *fixed)]
        for batch in batches:
            shape = shape_of(fixed)
            attempts = {key: targets.attempt(of_key[key], shape, fixed) for key in batch}
            built = {key: each for key, each in attempts.items() if isinstance(each, Target)}
            unbuilt = {key: each for key, each in attempts.items() if isinstance(each, tuple)}
            fits = fit_each(built, fixed, model, remark)
            fits |= {key: Fit(None, failure=reason) for key, (_, reason) in unbuilt.items()}
            failed |= unbuilt
            kept.keep_fits(fixed_key, fits)
            known |= fits
            for _ in range(sum(copies[key] for key in batch)):
                step()
    for key, found in known.items():
        if found.failure is not None:
            failed.setdefault(key, ("transform_model", f"{model.name}: {found.failure}"))
    failures: list[Failure] = []
    fitted: list[tuple[FramedSubject, Fit]] = []
    for item, key in zip(items, keys, strict=True):
        if key in failed:
            failures.append(Failure(item.photo.name, *failed[key]))
        else:
            fitted.append((item, known[key]))
    if len(fitted) > 1 and not any(found.converged for _, found in fitted):
        remark(
            f"transform_model {model.name}: it says of none of the photos that its fit has "
            "converged; look closely, or give it more iterations"
        )
    aligned, unusable = onto_reference(fitted, reference, model)
    return aligned, failures + unusable


def fit_each(
    targets: Mapping[Key, Target],
    fixed: Target,
    model: TransformModel,
    remark: Callable[[str], None],
) -> dict[Key, Fit]:
    """Fit a batch; when the model raises, each photo alone, to lose only that one."""
    if not targets:
        return {}
    moving = Target.stack(list(targets.values()))
    initial = procrustes.closed_form(moving, fixed)
    try:
        found = contract.fit(model, moving, fixed, initial)
    except StageError as error:
        if len(targets) == 1:
            return {key: Fit(None, failure=error.reason) for key in targets}
        alone = (fit_each({key: each}, fixed, model, remark) for key, each in targets.items())
        every = {key: each for fits in alone for key, each in fits.items()}
        if all(each.failure is None for each in every.values()):
            remark(contract.only_alone(error))
        return every
    matrices = found.matrices.detach().cpu().double().numpy().astype("<f8")
    fits = map(
        Fit,
        (matrix.tobytes() for matrix in matrices),
        found.residuals_before.tolist(),
        found.residuals.tolist(),
        found.iterations.tolist(),
        found.converged.tolist(),
        found.failures,
    )
    return dict(zip(targets, fits, strict=True))


def onto_reference(
    fitted: Sequence[tuple[FramedSubject, Fit]], reference: FramedSubject, model: TransformModel
) -> tuple[list[AlignedSubject], list[Failure]]:
    """Turn fits between working frames into transforms between photos; leave out unusable ones."""
    if not fitted:
        return [], []
    joined = np.frombuffer(
        bytearray().join(found.reference_from_subject or b"" for _, found in fitted), "<f8"
    )
    matrices = torch.from_numpy(joined.astype(np.float64, copy=False)).reshape(-1, 3, 3)
    working_from_photo = torch.stack([item.working_from_photo for item, _ in fitted])
    from_working = geometry.inverse(reference.working_from_photo)
    reference_from_photo = (from_working @ matrices @ working_from_photo).unbind()
    aligned: list[AlignedSubject] = []
    failures: list[Failure] = []
    for (item, found), matrix, reason in zip(
        fitted, reference_from_photo, _unusable(matrices), strict=True
    ):
        if reason:
            what = f"{model.name}: {reason}"
            failures.append(Failure(item.photo.name, "transform_model", what))
        else:
            aligned.append(AlignedSubject(item, matrix, found.iterations))
    return aligned, failures


def _unusable(matrices: Tensor) -> list[str | None]:
    """Return why (N, 3, 3) transforms cannot be used; None for those that can."""
    finite = matrices.isfinite().all(-1).all(-1)
    area = torch.linalg.det(matrices.nan_to_num(0, 0, 0))
    sane = (area > SMALLEST_AREA) & (area < 1 / SMALLEST_AREA)
    return [
        None
        if is_sane and is_finite
        else "it gave a transform that mirrors, flattens or explodes the photo"
        if is_finite
        else "it gave a transform with numbers that are not finite"
        for is_finite, is_sane in zip(finite.tolist(), sane.tolist(), strict=True)
    ]
