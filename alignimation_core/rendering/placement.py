"""Where every photo lies on the canvas, and how well."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from alignimation_core.alignment.alignment import Chosen, keypoints_of
from alignimation_core.api import geometry
from alignimation_core.api.data import Canvas, Subject
from alignimation_core.api.errors import AlignimationError


def place(
    aligned: Sequence[Chosen], reference: Chosen, canvas: Canvas, canvas_from_reference: Tensor
) -> None:
    """Write into the photos' records how they come onto the canvas, and that they are used.

    Args:
        aligned: the photos, with their transforms to the reference; one at least.
        reference: what they were aligned on.
        canvas: the canvas.
        canvas_from_reference: (3, 3) float64.
    """
    width = reference.entry.photo.width
    ratio = geometry.table([width / item.entry.photo.width for item in aligned], 1)[:, 0]
    resized = torch.diag_embed(torch.stack([ratio, ratio, torch.ones_like(ratio)], 1))
    placed = canvas_from_reference @ torch.stack([a.reference_from_photo for a in aligned])
    residuals = Residuals(reference.subject, canvas_from_reference, canvas.height)
    points = residuals.common([item.subject for item in aligned])
    columns = zip(
        aligned,
        placed.tolist(),
        residuals.of(points, placed),
        residuals.of(points, canvas_from_reference @ resized),
        strict=True,
    )
    for item, (across, down, depth), after, before in columns:
        record = item.entry.record
        record.canvas_from_photo = tuple(across), tuple(down), tuple(depth)
        record.residual, record.residual_before = after, before
        record.use()


def within_residual(placed: Sequence[Chosen], most: float | None) -> list[Chosen]:
    """Return the photos that fit well enough; note in the records of the others that they do not.

    Args:
        placed: photos whose records have what ``place`` writes.
        most: the largest residual allowed, percent of the canvas height; None for any.

    Raises:
        AlignimationError: none fits well enough.
    """
    good = []
    for item in placed:
        record = item.entry.record
        if most is None or record.residual is None or record.residual <= most:
            good.append(item)
        else:
            record.fail(
                "transform_model",
                f"it fits badly: residual {record.residual:.2f} % of the canvas height, "
                f"max_residual is {most:g}",
            )
            record.canvas_from_photo = None  # the canvas is made anew without it
    if not good:
        raise AlignimationError(
            f"no photo fits within max_residual: {most:g}; the best has "
            f"{min(item.entry.record.residual or 0 for item in placed):.2f}"
        )
    return good


class Residuals:
    """RMS distances of subjects' keypoints from a reference's, in percent of the canvas height.

    Args:
        reference: the subject that the others are compared with.
        canvas_from_reference: (3, 3) float64, of its photo.
        height: of the canvas, pixels.
    """

    def __init__(self, reference: Subject, canvas_from_reference: Tensor, height: int) -> None:
        self._names, self._height = list(reference.keypoints), height
        goal = torch.tensor(list(reference.keypoints.values()), dtype=torch.float64)
        self._goal = geometry.apply(canvas_from_reference, goal.reshape(-1, 2))

    def common(self, subjects: Sequence[Subject]) -> Tensor:
        """Return the reference's P keypoints of N subjects; see ``keypoints_of``."""
        return keypoints_of(subjects, self._names)

    def of(self, points: Tensor, canvas_from_photo: Tensor) -> list[float | None]:
        """Return N residuals; None without a common keypoint.

        Args:
            points: (N, P, 2), what ``common`` gave.
            canvas_from_photo: (N, 3, 3) float64.
        """
        squares = (geometry.apply(canvas_from_photo, points) - self._goal).square().sum(2)
        found = ~points.isnan().all(2)
        mean = squares.where(found, 0.0).sum(1) / found.sum(1)
        percent = (100 * mean.sqrt() / self._height).tolist()
        return [round(value, 4) if value < torch.inf else None for value in percent]
