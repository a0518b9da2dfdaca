"""Correct what is left: detect again where detectors are at their best, upright and large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alignimation_core.alignment import procrustes
from alignimation_core.alignment.alignment import Chosen
from alignimation_core.api import geometry
from alignimation_core.api.data import Detections, Photo, Subject
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.stages import Detector
from alignimation_core.detection.inference import Turns, ask, detect
from alignimation_core.detection.observations import BATCH, Entry
from alignimation_core.execution.executor import Executor
from alignimation_core.photos import decoder

SIDE = 512
"""Side of the square frame in which a subject is looked for again, pixels."""
FILL = 0.5
"""Share of that side that the subject's box takes."""
NEAR = 0.25
"""How far a keypoint may have moved to be the same subject's, as a share of the box."""


def refine(
    aligned: Sequence[Chosen],
    reference: Chosen,
    detector: Detector,
    turn: float,
    executor: Executor,
    seed: int,
    step: Callable[[], None],
) -> list[tuple[Entry, Subject]]:
    """Find each subject's keypoints again on its aligned frame.

    The new keypoints are kept only where they help: where, brought onto the reference's by a
    similarity, they are nearer to them than the old ones were.

    Args:
        aligned: the photos, with their transforms to the reference.
        reference: what they were aligned on.
        detector: the same that found them.
        turn: radians by which the reference is turned to be upright.
        executor: where photos are decoded and looked at.
        seed: of whatever the detector draws at random.
        step: called after each photo.

    Returns:
        Each photo with its subject, corrected or as it was.
    """
    frame_from_reference = _frame(reference.subject, turn)
    places = [
        Place(item.entry.photo, frame_from_reference @ item.reference_from_photo)
        for item in aligned
    ]
    batches = [places[start : start + BATCH] for start in range(0, len(places), BATCH)]
    work = LookAgain(detector, seed, executor.cores)
    found = (seen for batch in executor.map(work, batches) for seen in batch)
    refined: list[tuple[Entry, Subject]] = []
    for item, place, seen in zip(aligned, places, found, strict=True):
        detections = seen if isinstance(seen, Detections) else None
        again = _same_subject(item.subject, place.frame_from_photo, detections)
        best = item.subject
        if again is not None and best.keypoints.keys() <= again.keypoints.keys():
            best = min(best, again, key=lambda subject: _misfit(subject, reference))
        refined.append((item.entry, best))
        step()
    return refined


def _frame(subject: Subject, turn: float) -> Tensor:
    x0, y0, x1, y1 = subject.box
    scale = FILL * SIDE / max(x1 - x0, y1 - y0, 1.0)
    return (
        geometry.translation(SIDE / 2, SIDE / 2)
        @ geometry.scaling(scale, scale)
        @ geometry.rotation(turn)
        @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where in a photo to look again.

    Attributes:
        photo: its facts.
        frame_from_photo: (3, 3), into the upright frame of ``SIDE`` pixels.
    """

    photo: Photo
    frame_from_photo: Tensor


class LookAgain:
    """Decodes photos, turns their subjects upright, and asks the detector about them.

    Args:
        detector: finds candidates.
        seed: of whatever it draws at random.
        cores: that it may use while it is called by one thread only.
    """

    def __init__(self, detector: Detector, seed: int, cores: int) -> None:
        self._detector, self._seed, self._cores = detector, seed, cores
        self._turns = Turns(detector, seed, cores, threading.Lock())

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process."""
        return LookAgain, (self._detector, self._seed, self._cores)

    def __call__(self, places: list[Place]) -> list[Detections | None]:
        """Return what is found in each frame, in its pixels; None where that fails."""
        pictures = [_picture(place) for place in places]
        found = iter(self._detect([picture for picture in pictures if picture is not None]))
        return [None if picture is None else next(found) for picture in pictures]

    def _detect(self, frames: list[Tensor]) -> list[Detections | None]:
        detector = self._detector
        if not frames:
            return []
        try:
            with self._turns.turn():
                return list(ask("detector", detector, None, lambda: detect(detector, frames)))
        except (StageError, PhotoError):
            if len(frames) == 1:
                return [None]
        return [answer for frame in frames for answer in self._detect([frame])]


def _picture(place: Place) -> Tensor | None:
    """Return the (3, SIDE, SIDE) uint8 frame; None when the photo can no longer be read."""
    try:
        picture, frame_from_picture = decoder.load_onto(place.photo, place.frame_from_photo)
    except PhotoError:
        return None
    frame = geometry.warp_photo(picture, frame_from_picture, (SIDE, SIDE))
    return (frame * 255).round().byte()


def _same_subject(
    subject: Subject, frame_from_photo: Tensor, seen: Detections | None
) -> Subject | None:
    """Return the subject with the keypoints of the detection that lies where it is expected."""
    expected = subject.transformed(geometry.as_rows(frame_from_photo))
    photo_from_frame = geometry.as_rows(geometry.inverse(frame_from_photo))
    best: tuple[float, Subject] | None = None
    for index in range(0 if seen is None else len(seen)):
        assert seen is not None
        candidate = seen.subject(index)
        names = candidate.keypoints.keys() & expected.keypoints.keys()
        if len(names) < 2:
            continue
        moved = _distance(candidate.keypoints, expected.keypoints, names) / (FILL * SIDE)
        if moved <= NEAR and (best is None or moved < best[0]):
            best = moved, candidate.transformed(photo_from_frame)
    if best is None:
        return None
    return replace(subject, keypoints=best[1].keypoints, keypoint_scores=best[1].keypoint_scores)


def _misfit(subject: Subject, reference: Chosen) -> float:
    """Return how far keypoints are from the reference's shape, as a share of its size."""
    names = [n for n in reference.subject.keypoints if n in subject.keypoints]
    if len(names) < 2:
        return torch.inf
    moving = torch.tensor([subject.keypoints[name] for name in names])
    fixed = torch.tensor([reference.subject.keypoints[name] for name in names])
    fitted = procrustes.similarity_from_points(moving, fixed, torch.ones(len(names)))
    distance = (geometry.apply(fitted, moving.double()) - fixed).square().sum(1).mean().sqrt()
    return float(distance)


def _distance(
    one: Mapping[str, tuple[float, float]],
    other: Mapping[str, tuple[float, float]],
    names: set[str],
) -> float:
    pairs = torch.tensor([(one[name], other[name]) for name in names])
    return float((pairs[:, 0] - pairs[:, 1]).square().sum(1).mean().sqrt())
