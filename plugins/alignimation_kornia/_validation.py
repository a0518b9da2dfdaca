"""Validation of what is to be registered."""

from __future__ import annotations

import torch
from torch import Tensor

NO_MEETING = "no overlap: the two targets do not meet"


def faults_of_input(
    images: Tensor, reference: Tensor, weights: Tensor, initial: Tensor
) -> list[str | None]:
    """Return why each photo cannot be fitted at all; None for those that can.

    Images are (B, C, h, w) and (C, h, w) on any device, weights (B, C) and starts (B, 3, 3) on the
    CPU.
    """
    counted = weights > 0
    # A range is NaN where the image holds a NaN or an infinity.
    range_ = (images.amax((2, 3)) - images.amin((2, 3))).cpu()
    reference_range = (reference.amax((1, 2)) - reference.amin((1, 2))).cpu()
    flat, flat_reference = (((each < 1e-6) | ~counted).all(1) for each in (range_, reference_range))
    determinants = torch.linalg.det(initial.nan_to_num(0, 0, 0))
    faults: list[tuple[str, Tensor]] = [
        ("the reference's target contains NaN", ~reference_range.isfinite().all()),
        ("the target contains NaN", ~range_.isfinite().all(1)),
        ("nothing in common with the reference: no keypoint found in both", ~counted.any(1)),
        ("the reference's target is constant: nothing to align with", flat_reference),
        ("the target is constant: nothing to align", flat),
        ("the start is not finite", ~initial.isfinite().flatten(1).all(1)),
        ("the start is mirrored", determinants < -1e-12),
        ("the start is singular", determinants.abs() <= 1e-12),
    ]
    failures: list[str | None] = [None] * len(initial)
    for text, found in reversed(faults):
        for i in found.expand(len(initial)).nonzero()[:, 0].tolist():
            failures[i] = text
    return failures
