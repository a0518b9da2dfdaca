"""Alignment of every photo on one reference, or on the mean shape of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from alignimation_core.alignment.fits import fit
from alignimation_core.alignment.reference import choose_reference
from alignimation_core.alignment.subjects import (
    AlignedSubject,
    FramedSubject,
    in_working_frames,
    keypoints_of,
)
from alignimation_core.alignment.targets import Targets
from alignimation_core.api import geometry
from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.registration import Target
from alignimation_core.api.stages import TargetBuilder, TransformModel
from alignimation_core.failure import Failure, PhotosError
from alignimation_core.store.fits import Fits

MEAN_PASSES = 2


@dataclass(frozen=True, slots=True)
class Alignment:
    """The photos aligned, in order; what they were aligned on; and why the others failed.

    The reference is one of them, or for ``mean`` the most typical one with the mean shape.
    """

    aligned: list[AlignedSubject]
    reference: FramedSubject
    failures: list[Failure]


def align(
    subjects: Sequence[tuple[Photo, Subject]],
    builder: TargetBuilder,
    model: TransformModel,
    reference: str,
    step: Callable[[], None],
    kept: Fits | None = None,
    remark: Callable[[str], None] = lambda _: None,
) -> Alignment:
    """Bring every photo onto the reference.

    A photo whose target or fit fails is left out. Where a model raises an error, it is asked again
    by the next run; the reasons that it gives itself are answers. ``subjects`` are in full-size
    pixels; ``reference`` is ``medoid``, ``mean``, ``first`` or the whole name of a photo. What is
    wrong with the model, though photos are aligned, is told to ``remark``.

    Raises:
        PhotosError: no photo is left, or the reference named is not among them or cannot be
            aligned with itself.
    """
    kept = kept or Fits()
    framed = in_working_frames(subjects, model)
    targets = Targets(builder, model.working_side)
    fixed, failures = choose_reference(framed, targets, kept, reference)
    if fixed is None:
        raise _none_left(len(framed), failures)
    aligned, failures = fit(framed, fixed, targets, model, kept, step, remark)
    if not aligned:
        failures = _failures_of_all(framed, targets, failures)
        if len(failures) == len(framed) > 1:
            raise _none_left(len(framed), failures)
    if all(item.framed is not fixed for item in aligned):
        reason = next(each.reason for each in failures if each.photo == fixed.photo.name)
        raise PhotosError(
            f"{fixed.photo.name}: the reference could not be aligned with itself: {reason}; "
            "set `reference` to another photo",
            failures,
        )
    if reference == "mean":
        for _ in range(MEAN_PASSES):
            fixed = replace(fixed, subject=mean_subject(aligned, fixed.subject))
            some = [item.framed for item in aligned]
            aligned, lost = fit(some, fixed, targets, model, kept, lambda: None, remark)
            failures += lost
            if not aligned:
                raise _none_left(len(framed), failures)
    return Alignment(aligned, fixed, failures)


def _failures_of_all(
    items: Sequence[FramedSubject], targets: Targets, failures: list[Failure]
) -> list[Failure]:
    """Return why every photo fails where the builder fails on each, not on the reference alone."""
    if [each.stage for each in failures] != ["target_builder"]:
        return failures
    every: list[Failure] = []
    for item in items:
        attempt = targets.attempt(item, None)
        if isinstance(attempt, Target):
            return failures
        every.append(Failure(item.photo.name, *attempt))
    return every


def _none_left(count: int, failures: Sequence[Failure]) -> PhotosError:
    reason, most = Counter(failure.reason for failure in failures).most_common(1)[0]
    return PhotosError(f"no photo is left to align; of {count}, {most} failed: {reason}", failures)


def mean_subject(aligned: Sequence[AlignedSubject], reference: Subject) -> Subject:
    """Return the reference with the mean of all photos' aligned keypoints for its own.

    A photo whose keypoints lie far from the mean (three times the median distance) has no say.
    """
    names = [name for name in reference.keypoint_names if name in reference.keypoints]
    if not names:
        return reference
    points = keypoints_of([item.subject for item in aligned], names)
    points = geometry.apply(torch.stack([a.reference_from_photo for a in aligned]), points)
    middle = points.nanmedian(0).values
    distance = (points - middle).square().sum(-1).nanmean(1)
    trusted = points[distance <= 9 * distance.nanmedian()]
    mean = torch.where(trusted.isnan().all(0), middle, trusted.nanmean(0))
    keypoints = {name: (x, y) for name, (x, y) in zip(names, mean.tolist(), strict=True)}
    return replace(reference, keypoints=keypoints)
