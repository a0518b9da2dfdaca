"""Subjects -> the transform that brings each photo onto the reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alignimation_core.alignment.fits import fit, lost, none_left
from alignimation_core.alignment.reference import choose_reference
from alignimation_core.alignment.targets import Drawing
from alignimation_core.api import geometry
from alignimation_core.api.data import Subject
from alignimation_core.api.stages import TargetBuilder, TransformModel
from alignimation_core.detection.observations import Entry
from alignimation_core.store.fits import Fits

FILL = 0.5
"""Share of a working frame's side that the subject's box takes: the rest is room to move."""
MEAN_PASSES = 2


@dataclass(slots=True, eq=False)
class Chosen:
    """A photo with its subject, on its way to the canvas.

    Attributes:
        entry: the photo and its record.
        subject: in the photo's full-size upright pixels.
        working_from_photo: (3, 3) float64, into the square frame in which targets are drawn.
        reference_from_photo: (3, 3) float64, into the reference photo's full-size pixels; NaN
            until fitted.
    """

    entry: Entry
    subject: Subject
    working_from_photo: Tensor
    reference_from_photo: Tensor


def choose(pairs: Sequence[tuple[Entry, Subject]], model: TransformModel) -> list[Chosen]:
    """Give each subject its working frame: centred on its box, which fills half of the side.

    A model that keeps sizes gets one scale for all photos, so that its transform in the working
    frames is the same kind of transform between the photos.
    """
    side = model.working_side
    boxes = geometry.table([s.box for _, s in pairs], 4)
    sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1).clamp(min=1.0)
    if not model.changes_scale:
        sizes = sizes.sort().values[len(sizes) // 2].expand(len(sizes))
    scale = FILL * side / sizes
    frames = torch.diag_embed(torch.stack([scale, scale, torch.ones_like(scale)], 1))
    middle = -(boxes[:, :2] + boxes[:, 2:]) / 2
    frames[:, :2, 2] = side / 2 + scale[:, None] * middle
    unknown = torch.full((3, 3), torch.nan, dtype=torch.float64)
    return [
        Chosen(entry, subject, frame, unknown)
        for (entry, subject), frame in zip(pairs, frames.unbind(), strict=True)
    ]


def align(
    chosen: Sequence[Chosen],
    builder: TargetBuilder,
    model: TransformModel,
    reference: str,
    step: Callable[[], None],
    kept: Fits | None = None,
) -> tuple[list[Chosen], Chosen]:
    """Bring every photo onto the reference.

    A photo whose target or fit fails is noted in its record and left out. Where a model raises an
    error, it is asked again by the next run; the reasons that it gives itself are answers.

    Args:
        chosen: photos with their subjects, in order.
        builder: draws the targets.
        model: fits the transforms.
        reference: ``medoid``, ``mean``, ``first`` or the whole name of a photo.
        step: called after each photo.
        kept: knows sketches and fits of earlier runs, and keeps those of this one.

    Returns:
        The photos that were aligned, and what they were aligned on: one of them, or for ``mean``
        the most typical one with the mean shape for its keypoints.

    Raises:
        AlignimationError: no photo is left, or the reference named is not among them or cannot be
            aligned with itself.
    """
    kept = kept or Fits()
    drawing = Drawing(builder, model.working_side)
    fixed = choose_reference(chosen, drawing, kept, reference)
    aligned = fit(chosen, fixed, drawing, model, kept, step)
    if fixed not in aligned:
        raise lost(fixed, fixed.entry.record.reason)
    if reference == "mean":
        for _ in range(MEAN_PASSES):
            fixed = replace(fixed, subject=mean_subject(aligned, fixed.subject))
            aligned = fit(aligned, fixed, drawing, model, kept, lambda: None)
            if not aligned:
                raise none_left(chosen)
    return aligned, fixed


def mean_subject(aligned: Sequence[Chosen], reference: Subject) -> Subject:
    """Return the reference with the mean of all photos' aligned keypoints for its own.

    A photo whose keypoints lie far from the mean (three times the median distance) has no say.

    Args:
        aligned: the photos, with their transforms to the reference.
        reference: the subject aligned on, in the pixels that the transforms lead to.
    """
    names = [name for name in reference.keypoint_names if name in reference.keypoints]
    if not names:
        return reference
    places = keypoints_of([item.subject for item in aligned], names)
    places = geometry.apply(torch.stack([a.reference_from_photo for a in aligned]), places)
    middle = places.nanmedian(0).values
    distance = (places - middle).square().sum(-1).nanmean(1)
    trusted = places[distance <= 9 * distance.nanmedian()]
    mean = torch.where(trusted.isnan().all(0), middle, trusted.nanmean(0))
    keypoints = {name: (x, y) for name, (x, y) in zip(names, mean.tolist(), strict=True)}
    return replace(reference, keypoints=keypoints)


def keypoints_of(subjects: Sequence[Subject], names: Sequence[str]) -> Tensor:
    """Return (N, P, 2) float64 keypoints in the photos' pixels; NaN where one was not found."""
    missing = math.nan, math.nan
    every = [subject.keypoints for subject in subjects]
    sides = [side for points in every for name in names for side in points.get(name, missing)]
    return geometry.table(sides, 2).reshape(len(every), len(names), 2)
