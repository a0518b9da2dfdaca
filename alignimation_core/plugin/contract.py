"""Whether a stage's answers are what its hook promises."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from alignimation_core.api.data import Detections
from alignimation_core.api.stages import Detector

Kind = TypeVar("Kind")

ROUNDING = 1e-4
"""How far beyond [0, 1] a score may be by rounding."""


def expect_list(answers: object, kind: type[Kind], count: int) -> list[Kind]:
    """Return a stage's answers, one a photo.

    Raises:
        TypeError: they are not ``count`` of that kind.
    """
    if not isinstance(answers, list) or len(answers) != count:
        got = f"{len(answers)}" if isinstance(answers, list) else type(answers).__name__
        raise TypeError(f"expected a list of {count} {kind.__name__}, got {got}")
    for answer in answers:
        if not isinstance(answer, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(answer).__name__}")
    return answers


def in_float32(seen: Detections) -> Detections:
    """Return detections in the type in which they are kept, for then they are the same again."""
    points, scores = seen.keypoints, seen.keypoint_scores
    return replace(
        seen,
        boxes=seen.boxes.detach().float(),
        scores=seen.scores.detach().float(),
        keypoints=None if points is None else points.detach().float(),
        keypoint_scores=None if scores is None else scores.detach().float(),
    )


def check_detections(detector: Detector, answers: object, count: int) -> None:
    """Check that a detector gives what it promises.

    Raises:
        TypeError: its answers have the wrong type.
        ValueError: something promised is missing, or numbers are no good.
    """
    promised = detector.provides() - {"keypoints"}
    for answer in expect_list(answers, Detections, count):
        given = {f"keypoints.{name}" for name in answer.keypoint_names}
        if answer.masks is not None:
            given.add("masks")
        if not given >= promised:
            missing = ", ".join(sorted(promised - given))
            raise ValueError(f"it says that it provides {missing}, but did not")
        _check_numbers(answer)


def _check_numbers(seen: Detections) -> None:
    """Refuse what would spoil the run later: numbers that are none, boxes that are inside out."""
    points = seen.keypoints
    if points is not None and seen.keypoint_scores is not None:
        points = points[seen.keypoint_scores > 0]
    for name, values in (("boxes", seen.boxes), ("scores", seen.scores), ("keypoints", points)):
        if values is not None:
            check_finite(name, values)
    for name, scores in (("scores", seen.scores), ("keypoint_scores", seen.keypoint_scores)):
        if scores is not None and not (within := (scores - 0.5).abs() <= 0.5 + ROUNDING).all():
            bad = float(scores[~within][0])
            raise ValueError(f"{name}: expected 0 to 1, got {bad}")
    if not (seen.boxes[:, 2:] >= seen.boxes[:, :2]).all():
        raise ValueError("boxes: expected (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")


def check_finite(name: str, values: Tensor) -> None:
    """Check numbers that a stage answered.

    Raises:
        TypeError: they are on a device, or integers.
        ValueError: there is an infinity or a NaN.
    """
    if values.device.type != "cpu" or not values.is_floating_point():
        given = f"{values.dtype} on {values.device}"
        raise TypeError(f"{name}: expected torch.float32 on cpu, got {given}")
    if not values.isfinite().all():
        bad = float(values[~values.isfinite()][0])
        raise ValueError(f"{name}: expected finite numbers, got {bad}")
