"""Subjects on their way through the alignment, and their keypoints as one tensor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.stages import TransformModel

FILL = 0.5
"""Share of a working frame's side that the subject's box takes: the rest is room to move."""


@dataclass(frozen=True, slots=True, eq=False)
class FramedSubject:
    """A photo's subject, in full-size upright pixels; its square working frame, (3, 3) float64."""

    photo: Photo
    subject: Subject
    working_from_photo: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class AlignedSubject:
    """A photo's subject with the transform that the fit found in so many iterations.

    ``reference_from_photo`` is (3, 3) float64, into the reference photo's full-size pixels.
    """

    framed: FramedSubject
    reference_from_photo: Tensor
    iterations: int

    @property
    def photo(self) -> Photo:
        """The photo's facts."""
        return self.framed.photo

    @property
    def subject(self) -> Subject:
        """The subject in the photo's full-size upright pixels."""
        return self.framed.subject


def in_working_frames(
    subjects: Sequence[tuple[Photo, Subject]], model: TransformModel
) -> list[FramedSubject]:
    """Give each subject its working frame: upright, centred on its box, half of the side.

    A model that keeps sizes gets one scale for all photos, so that its transform in the working
    frames is the same kind of transform between the photos.
    """
    side = model.working_side
    boxes = geometry.table([subject.box for _, subject in subjects], 4)
    sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1).clamp(min=1.0)
    if not model.changes_scale:
        sizes = sizes.sort().values[len(sizes) // 2].expand(len(sizes))
    scale = FILL * side / sizes
    frames = torch.diag_embed(torch.stack([scale, scale, torch.ones_like(scale)], 1))
    middle = -(boxes[:, :2] + boxes[:, 2:]) / 2
    frames[:, :2, 2] = side / 2 + scale[:, None] * middle
    for i, (_, subject) in enumerate(subjects):
        if subject.turn:
            frames[i] = _about_middle(math.radians(subject.turn), side) @ frames[i]
    return [
        FramedSubject(photo, subject, frame)
        for (photo, subject), frame in zip(subjects, frames.unbind(), strict=True)
    ]


def _about_middle(angle: float, side: int) -> Tensor:
    """Return the (3, 3) float64 matrix that turns a square about its middle."""
    there, back = (geometry.translation(way * side / 2, way * side / 2) for way in (1, -1))
    return there @ geometry.rotation(angle) @ back


def keypoints_of(subjects: Sequence[Subject], names: Sequence[str]) -> Tensor:
    """Return (N, P, 2) float64 keypoints in the photos' pixels; NaN where one was not found."""
    missing = math.nan, math.nan
    every = [subject.keypoints for subject in subjects]
    sides = [side for points in every for name in names for side in points.get(name, missing)]
    return geometry.table(sides, 2).reshape(len(every), len(names), 2)
