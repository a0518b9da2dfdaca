"""Placement of every aligned photo on the canvas, and its residual there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from alignimation_core.alignment.subjects import (
    AlignedSubject,
    FramedSubject,
    keypoints_of,
)
from alignimation_core.api import geometry
from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.frame import Canvas
from alignimation_core.api.mask import Matrix
from alignimation_core.failure import Failure, PhotosError
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering.framing import frame

FEWEST = 5
"""Photos of which some may stand out."""
LEAST = 2.0
"""Residual that no photo stands out by, percent of the canvas height."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedSubject:
    """A photo's subject with the transform that brings the photo onto the canvas.

    Attributes:
        aligned: on the reference.
        canvas_from_photo: 3x3, as the run record holds it.
        residual: RMS distance of the keypoints from the reference's, percent of the canvas height;
            None without keypoints.
        residual_before: the same for the photo merely resized to the reference's size.
    """

    aligned: AlignedSubject
    canvas_from_photo: Matrix
    residual: float | None
    residual_before: float | None

    @property
    def photo(self) -> Photo:
        """The photo's facts."""
        return self.aligned.photo

    @property
    def subject(self) -> Subject:
        """The subject in the photo's full-size upright pixels."""
        return self.aligned.subject


@dataclass(frozen=True, slots=True)
class Placement:
    """The photos on the canvas, in order; and those left out, where they would be without that."""

    canvas: Canvas
    placed: list[PlacedSubject]
    misfits: list[PlacedSubject]
    failures: list[Failure]


def place(
    aligned: Sequence[AlignedSubject],
    reference: FramedSubject,
    options: CanvasOptions,
    *,
    level: bool,
    max_residual: float | Literal["auto"] | None,
) -> Placement:
    """Choose the canvas and place the photos, one at least; leave out those that fit badly.

    The canvas is chosen anew without the photos that are left out, whose residual is more than
    ``max_residual``, percent of the canvas height; for ``auto``, whose residual stands out once all
    are placed. Not ``level``, the canvas is as the reference is once that is upright.

    Raises:
        PhotosError: none fits well enough.
    """
    turn = math.radians(reference.subject.turn)
    misfits: list[PlacedSubject] = []
    failures: list[Failure] = []
    while True:
        canvas, canvas_from_reference = frame(aligned, options, level=level, turn=turn)
        placed = on_canvas(aligned, reference, canvas, canvas_from_reference)
        limit, usual = torch.inf, 0.0
        if max_residual == "auto":
            if not misfits:
                limit, usual = _standing_out([item.residual or 0 for item in placed])
        elif max_residual is not None:
            limit = max_residual
        beyond = [item for item in placed if (item.residual or 0) > limit]
        if not beyond:
            return Placement(canvas, placed, misfits, failures)
        misfits += beyond
        failures += [
            Failure(
                item.photo.name,
                "transform_model",
                f"it fits badly: residual {item.residual:.2f} % of the canvas height, "
                + (
                    f"{usual:.2f} is usual here: it may show another subject, or have left and "
                    "right exchanged; `max_residual: null` uses it all the same"
                    if max_residual == "auto"
                    else f"max_residual is {limit:g}"
                ),
            )
            for item in beyond
        ]
        if len(beyond) == len(placed):
            best = min(item.residual or 0 for item in placed)
            what = f"no photo fits within max_residual: {limit:g}; the best has {best:.2f}"
            raise PhotosError(what, failures)
        out = {item.aligned for item in beyond}
        aligned = [item for item in aligned if item not in out]


def _standing_out(residuals: Sequence[float]) -> tuple[float, float]:
    """Return the residual above which a photo of the series stands out, and the usual one.

    Ten deviations above the median, by the median distance from it; but limbs move, heads turn,
    and a few photos are often much alike.
    """
    values = torch.tensor(residuals, dtype=torch.float64)
    usual = float(values.median())
    if len(values) < FEWEST:
        return torch.inf, usual
    deviation = 1.4826 * float((values - usual).abs().median())
    return max(usual + 10 * deviation, 4 * usual, LEAST), usual


def on_canvas(
    aligned: Sequence[AlignedSubject],
    reference: FramedSubject,
    canvas: Canvas,
    canvas_from_reference: Tensor,
) -> list[PlacedSubject]:
    """Bring photos, one at least, onto a canvas, and measure how well they fit."""
    width = reference.photo.width
    ratio = geometry.table([width / item.photo.width for item in aligned], 1)[:, 0]
    resized = torch.diag_embed(torch.stack([ratio, ratio, torch.ones_like(ratio)], 1))
    canvas_from_photo = canvas_from_reference @ torch.stack(
        [item.reference_from_photo for item in aligned]
    )
    residuals = Residuals(reference.subject, canvas_from_reference, canvas.height)
    points = residuals.common([item.subject for item in aligned])
    columns = zip(
        aligned,
        canvas_from_photo.tolist(),
        residuals.of(points, canvas_from_photo),
        residuals.of(points, canvas_from_reference @ resized),
        strict=True,
    )
    return [
        PlacedSubject(item, (tuple(across), tuple(down), tuple(depth)), after, before)
        for item, (across, down, depth), after, before in columns
    ]


class Residuals:
    """RMS distances of subjects' keypoints from a reference's, in percent of the canvas height."""

    def __init__(self, reference: Subject, canvas_from_reference: Tensor, height: int) -> None:
        self._names, self._height = list(reference.keypoints), height
        goal = torch.tensor(list(reference.keypoints.values()), dtype=torch.float64)
        self._goal = geometry.apply(canvas_from_reference, goal.reshape(-1, 2))

    def common(self, subjects: Sequence[Subject]) -> Tensor:
        """Return the reference's P keypoints of N subjects; see ``keypoints_of``."""
        return keypoints_of(subjects, self._names)

    def of(self, points: Tensor, canvas_from_photo: Tensor) -> list[float | None]:
        """Return N residuals of (N, P, 2) points; None without a common keypoint."""
        squares = (geometry.apply(canvas_from_photo, points) - self._goal).square().sum(2)
        found = ~points.isnan().all(2)
        mean = squares.where(found, 0.0).sum(1) / found.sum(1)
        percent = (100 * mean.sqrt() / self._height).tolist()
        return [round(value, 4) if value < torch.inf else None for value in percent]


def moved(before: Subject, item: PlacedSubject, canvas: Canvas) -> float:
    """Return how far a subject's keypoints were moved, RMS, in percent of the canvas height.

    Of those that were; ``before`` is the subject as the detector saw it.
    """
    names = [n for n, place in item.subject.keypoints.items() if before.keypoints.get(n) != place]
    if not names:
        return 0.0
    matrix = geometry.as_tensor(item.canvas_from_photo)
    here, there = geometry.apply(matrix, keypoints_of([before, item.subject], names))
    return round(100 * float((here - there).square().sum(1).mean().sqrt()) / canvas.height, 4)
