"""Refinement of keypoints: detect again on the aligned photos, upright and large."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor

from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.api.data import Detections, Photo, Subject
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.registration import procrustes
from alignimation_core.api.stages import Detector
from alignimation_core.detection.inference import StageLock
from alignimation_core.detection.observations import in_batches
from alignimation_core.execution.executor import Executor
from alignimation_core.photos import decoder
from alignimation_core.plugin import contract

SIDE = 512
"""Side of the square frame in which a subject is looked for again, pixels."""
FILL = 0.5
"""Share of that side that the subject's box takes."""
NEAR = 0.25
"""How far a keypoint may have moved to be the same subject's, as a share of the box."""

Region = tuple[Photo, Tensor]
"""A photo and (3, 3) ``frame_from_photo``: where in it to detect again."""


def refine(
    aligned: Sequence[AlignedSubject],
    reference: FramedSubject,
    detector: Detector,
    turn: float,
    executor: Executor,
    seed: int,
    step: Callable[[], None],
) -> list[tuple[Photo, Subject]]:
    """Find each subject's keypoints again on its aligned frame.

    The new keypoints are kept only where they help: where, brought onto the reference's by a
    similarity, they are nearer to them than the old ones were. To be upright, the reference is
    turned by ``turn`` radians.
    """
    frame_from_reference = _frame(reference.subject, turn)
    regions: list[Region] = [
        (item.photo, frame_from_reference @ item.reference_from_photo) for item in aligned
    ]
    work = Redetection(detector, seed, executor.cores)
    found = chain.from_iterable(executor.map(work, in_batches(regions)))
    refined: list[tuple[Photo, Subject]] = []
    for item, (_, frame_from_photo), again in zip(aligned, regions, found, strict=True):
        best = item.subject
        if isinstance(again, Detections):
            candidate = _same_subject(best, frame_from_photo, again)
            if candidate is not None and best.keypoints.keys() <= candidate.keypoints.keys():
                best = min(best, candidate, key=lambda subject: _misfit(subject, reference.subject))
        refined.append((item.photo, best))
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


class Redetection:
    """Decode photos, turn their subjects upright, and run the detector on them."""

    def __init__(self, detector: Detector, seed: int, cores: int) -> None:
        self._detector, self._seed, self._cores = detector, seed, cores
        self._lock = StageLock(detector, seed, cores, threading.Lock())

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling."""
        return Redetection, (self._detector, self._seed, self._cores)

    def __call__(self, regions: list[Region]) -> list[Detections | None]:
        """Return what is found in each frame, in its pixels; None where that fails."""
        frames = [_frame_of(*region) for region in regions]
        found = iter(self._detect([frame for frame in frames if frame is not None]))
        return [None if frame is None else next(found) for frame in frames]

    def _detect(self, frames: list[Tensor]) -> list[Detections | None]:
        if not frames:
            return []
        try:
            with self._lock.held():
                return [*contract.detect(self._detector, frames)]
        except (StageError, PhotoError):
            if len(frames) == 1:
                return [None]
        return [found for frame in frames for found in self._detect([frame])]


def _frame_of(photo: Photo, frame_from_photo: Tensor) -> Tensor | None:
    """Return the (3, SIDE, SIDE) uint8 frame; None when the photo can no longer be read."""
    try:
        picture, frame_from_picture = decoder.load_onto(photo, frame_from_photo)
    except PhotoError:
        return None
    frame = geometry.warp_photo(picture, frame_from_picture, (SIDE, SIDE))
    return (frame * 255).round().byte()


def _same_subject(subject: Subject, frame_from_photo: Tensor, found: Detections) -> Subject | None:
    """Return the subject with the keypoints of the detection that lies where it is expected."""
    expected = subject.transformed(geometry.as_rows(frame_from_photo))
    photo_from_frame = geometry.as_rows(geometry.inverse(frame_from_photo))
    best: tuple[float, Subject] | None = None
    for index in range(len(found)):
        candidate = found.subject(index)
        names = candidate.keypoints.keys() & expected.keypoints.keys()
        if len(names) < 2:
            continue
        pairs = [(candidate.keypoints[name], expected.keypoints[name]) for name in names]
        here, there = torch.tensor(pairs).unbind(1)
        moved = float((here - there).square().sum(1).mean().sqrt()) / (FILL * SIDE)
        if moved <= NEAR and (best is None or moved < best[0]):
            best = moved, candidate.transformed(photo_from_frame)
    if best is None:
        return None
    return replace(subject, keypoints=best[1].keypoints, keypoint_scores=best[1].keypoint_scores)


def _misfit(subject: Subject, reference: Subject) -> float:
    """Return how far keypoints are from the reference's shape, as a share of its size."""
    names = [n for n in reference.keypoints if n in subject.keypoints]
    if len(names) < 2:
        return torch.inf
    moving = torch.tensor([subject.keypoints[name] for name in names])
    fixed = torch.tensor([reference.keypoints[name] for name in names])
    fitted = procrustes.similarity_from_points(moving, fixed, torch.ones(len(names)))
    distance = (geometry.apply(fitted, moving.double()) - fixed).square().sum(1).mean().sqrt()
    return float(distance)
