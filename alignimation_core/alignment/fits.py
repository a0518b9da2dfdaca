"""Targets -> transforms, in batches; every fit is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from alignimation_core.alignment import procrustes
from alignimation_core.alignment.targets import Drawing, shape_of
from alignimation_core.api import geometry
from alignimation_core.api.errors import AlignimationError, StageError
from alignimation_core.api.registration import Registration, Target
from alignimation_core.api.stages import TransformModel
from alignimation_core.detection.inference import ask
from alignimation_core.store.fits import Fit, Fits

if TYPE_CHECKING:
    from alignimation_core.alignment.alignment import Chosen

BATCH = 32
SMALLEST_AREA = 1e-6
"""Share of a subject's area that a transform may leave of it; it may grow by the inverse."""


def fit(
    chosen: Sequence[Chosen],
    reference: Chosen,
    drawing: Drawing,
    model: TransformModel,
    kept: Fits,
    step: Callable[[], None],
) -> list[Chosen]:
    """Fit every photo to one reference; what fails is noted in the photo's record.

    A model's last bits may depend on the batch. So that a run that goes on where another was
    killed gives it the same batches, these are of photos that it has not been asked about yet,
    and a photo on which it raised an error, or that could not be drawn, is tried again by itself.

    Returns:
        The photos that could be fitted, with their transforms.

    Raises:
        AlignimationError: the reference can no longer be drawn.
    """
    keys = [drawing.key(item) for item in chosen]
    copies, items = Counter(keys), dict(zip(keys, chosen, strict=True))
    fixed_key = drawing.key(reference)
    failures = {key: drawing.failed[key] for key in copies if key in drawing.failed}
    known = kept.recall_fits(fixed_key, copies)
    open_ = [key for key in copies if key not in failures]
    raised = [key for key in open_ if key in known and known[key].reference_from_subject is None]
    new = [key for key in open_ if key not in known]
    _count(step, len(chosen) - sum(copies[key] for key in (*raised, *new)))
    batches = [new[start : start + BATCH] for start in range(0, len(new), BATCH)]
    batches += [[key] for key in raised]
    if batches:
        fixed = drawing.attempt(reference, None)
        if not isinstance(fixed, Target):
            raise lost(reference, fixed[1])
        for batch in batches:
            drawings = {key: drawing.attempt(items[key], shape_of(fixed)) for key in batch}
            targets = {key: each for key, each in drawings.items() if isinstance(each, Target)}
            undrawn = {key: each for key, each in drawings.items() if isinstance(each, tuple)}
            fits = _fit_each(targets, fixed, model)
            fits |= {key: Fit(None, failure=reason) for key, (_, reason) in undrawn.items()}
            failures |= undrawn
            kept.keep_fits(fixed_key, fits)
            known |= fits
            _count(step, sum(copies[key] for key in batch))
    for key, found in known.items():
        if found.failure is not None:
            failures.setdefault(key, ("transform_model", f"{model.name}: {found.failure}"))
    good: list[tuple[Chosen, bytes]] = []
    for item, key in zip(chosen, keys, strict=True):
        if key in failures:
            item.entry.record.fail(*failures[key])
        else:
            item.entry.record.iterations = known[key].iterations
            good.append((item, known[key].reference_from_subject or b""))
    return _bring(good, reference, model)


def lost(reference: Chosen, reason: str | None) -> AlignimationError:
    """Return what to raise where the reference itself fails."""
    return AlignimationError(
        f"{reference.entry.photo.name}: the reference could not be aligned with itself: {reason}; "
        "set `reference` to another photo"
    )


def none_left(chosen: Sequence[Chosen]) -> AlignimationError:
    """Return what to raise where every photo fails."""
    reasons = Counter(item.entry.record.reason for item in chosen)
    reason, count = reasons.most_common(1)[0]
    return AlignimationError(
        f"no photo is left to align; of {len(chosen)}, {count} failed: {reason}"
    )


def _count(step: Callable[[], None], times: int) -> None:
    for _ in range(times):
        step()


def _fit_each(
    targets: Mapping[str, Target], fixed: Target, model: TransformModel
) -> dict[str, Fit]:
    """Fit a batch; when the model raises, each photo alone, to lose only that one."""
    if not targets:
        return {}
    count = len(targets)

    def verb() -> Registration:
        moving = Target.stack(list(targets.values()))
        answer = model.fit(moving, fixed, procrustes.closed_form(moving, fixed))
        if not isinstance(answer, Registration):
            raise TypeError(f"expected a Registration, got {type(answer).__name__}")
        if len(answer.matrices) != count:
            raise ValueError(f"expected {count} matrices, got {len(answer.matrices)}")
        return answer

    try:
        found = ask("transform_model", model, None, verb)
    except StageError as error:
        if count == 1:
            return {key: Fit(None, failure=error.reason) for key in targets}
        alone = (_fit_each({key: target}, fixed, model) for key, target in targets.items())
        return {key: each for fits in alone for key, each in fits.items()}
    matrices = found.matrices.detach().cpu().double().numpy().astype("<f8")
    columns = zip(
        (matrix.tobytes() for matrix in matrices),
        found.residuals_before.tolist(),
        found.residuals.tolist(),
        found.iterations.tolist(),
        found.converged.tolist(),
        found.failures,
        strict=True,
    )
    return {key: Fit(*row) for key, row in zip(targets, columns, strict=True)}


def _bring(
    fitted: Sequence[tuple[Chosen, bytes]], reference: Chosen, model: TransformModel
) -> list[Chosen]:
    """Give photos their transforms, but those whose transforms cannot be used."""
    if not fitted:
        return []
    joined = np.frombuffer(bytearray().join(matrix for _, matrix in fitted), "<f8")
    matrices = torch.from_numpy(joined.astype(np.float64, copy=False)).reshape(-1, 3, 3)
    working_from_photo = torch.stack([item.working_from_photo for item, _ in fitted])
    from_working = geometry.inverse(reference.working_from_photo)
    brought = (from_working @ matrices @ working_from_photo).unbind()
    aligned: list[Chosen] = []
    for (item, _), matrix, reason in zip(fitted, brought, _unusable(matrices), strict=True):
        if reason:
            item.entry.record.fail("transform_model", f"{model.name}: {reason}")
        else:
            item.reference_from_photo = matrix
            aligned.append(item)
    return aligned


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
