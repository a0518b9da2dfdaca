"""Photos -> observations: what the detector and the embedder make of each photo."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from alignimation_core import photos
from alignimation_core.data import Detections, Observation, Photo
from alignimation_core.errors import AlignimationError, PhotoError, StageError, in_one_line
from alignimation_core.record import PhotoRecord
from alignimation_core.stages import AnnotationDetector, Detector, Embedder, Stage

BATCH = 8
AHEAD = 4

T = TypeVar("T")


@dataclass(slots=True)
class Entry:
    """One photo on its way through the run: its facts, and the record that follows it."""

    photo: Photo
    record: PhotoRecord


def ask(kind: str, stage: Stage, photo: str | None, verb: Callable[[], T]) -> T:
    """Call a plugin's code.

    Raises:
        StageError: it raised; the error names kind, stage and photo.
        AlignimationError: it raised one of this package's own, which says more than we could.
    """
    try:
        return verb()
    except AlignimationError:
        raise
    except Exception as error:
        raise StageError(kind, stage.name, in_one_line(error), photo) from error


def load_ahead(
    wanted: Iterable[tuple[T, Path, int | None]],
) -> Iterator[tuple[T, Tensor | PhotoError]]:
    """Decode photos in threads, a bounded number ahead, in order.

    Args:
        wanted: something to give back with the picture, the file, and the long side that will do.

    Yields:
        Each with its (3, h, w) uint8 picture, or with the error that came instead.
    """

    def decode(path: Path, min_side: int | None) -> Tensor | PhotoError:
        try:
            return photos.load(path, min_side)
        except PhotoError as error:
            return error

    waiting: deque[tuple[T, Future[Tensor | PhotoError]]] = deque()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="decode") as pool:
        try:
            for item, path, min_side in wanted:
                waiting.append((item, pool.submit(decode, path, min_side)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def observe(
    entries: Sequence[Entry],
    detector: Detector,
    embedder: Embedder | None,
    step: Callable[[], None],
    seconds: dict[str, float],
) -> Iterator[tuple[Entry, Observation]]:
    """Detect and embed, in batches, holding only a few pictures at a time.

    A photo that cannot be read, or on which a stage fails, is noted in its record and left out.

    Args:
        entries: the photos.
        detector: finds candidates.
        embedder: tells individuals apart, if any.
        step: called after each photo.
        seconds: takes the time spent in the ``embedder``.

    Raises:
        AlignimationError: what concerns not one photo but all, such as missing weights.
    """
    if isinstance(detector, AnnotationDetector):
        batches = _annotated(detector, entries)
    else:
        batches = _detected(detector, entries)
    for batch in batches:
        if embedder is None:
            found = [(entry, Observation(entry.photo, seen)) for entry, _, seen in batch.found]
        else:
            begun = time.perf_counter()
            found = list(_embed(embedder, batch.found))
            seconds["embedder"] = seconds.get("embedder", 0.0) + time.perf_counter() - begun
        yield from found
        for _ in range(batch.size):
            step()


@dataclass(slots=True)
class _Batch:
    """Photos that were looked at, and in which of them what was seen.

    Attributes:
        size: how many photos were looked at.
        found: photo, its picture if there is one at hand, and its detections in full-size pixels.
    """

    size: int
    found: list[tuple[Entry, Tensor | None, Detections]]


def _detected(detector: Detector, entries: Sequence[Entry]) -> Iterator[_Batch]:
    side = detector.input_side()
    pictures = load_ahead((entry, entry.photo.path, side) for entry in entries)
    while batch := list(islice(pictures, BATCH)):
        good: list[tuple[Entry, Tensor]] = []
        for entry, picture in batch:
            if isinstance(picture, PhotoError):
                entry.record.fail("photos", picture.reason)
            else:
                good.append((entry, picture))
        answers = _each("detector", detector, good, partial(detect, detector))
        yield _Batch(
            len(batch),
            [
                (
                    entry,
                    image,
                    seen.scaled(
                        entry.photo.width / image.shape[-1], entry.photo.height / image.shape[-2]
                    ),
                )
                for (entry, image), seen in answers
            ],
        )


def _annotated(detector: AnnotationDetector, entries: Sequence[Entry]) -> Iterator[_Batch]:
    def verb(photos: list[Photo]) -> list[Detections]:
        answers = [detector.annotate(photo) for photo in photos]
        _check_detections(detector, answers, len(photos))
        return answers

    for entry in entries:
        answers = _each("detector", detector, [(entry, entry.photo)], verb)
        yield _Batch(1, [(item, None, seen) for (item, _), seen in answers])


def detect(detector: Detector, images: list[Tensor]) -> list[Detections]:
    """Ask a detector, and check that it keeps its word.

    Raises:
        Exception: whatever it raises, or what is wrong with its answer.
    """
    answers = detector.detect(images)
    _check_detections(detector, answers, len(images))
    return answers


def _check_detections(detector: Detector, answers: object, count: int) -> None:
    promised = detector.provides() - {"keypoints"}
    for answer in _expect_list(answers, Detections, count):
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
            _check_finite(name, values)
    if not (seen.boxes[:, 2:] >= seen.boxes[:, :2]).all():
        raise ValueError("boxes: expected (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")


def _check_finite(name: str, values: Tensor) -> None:
    if values.device.type != "cpu" or not values.is_floating_point():
        given = f"{values.dtype} on {values.device}"
        raise TypeError(f"{name}: expected torch.float32 on cpu, got {given}")
    if not values.isfinite().all():
        bad = float(values[~values.isfinite()][0])
        raise ValueError(f"{name}: expected finite numbers, got {bad}")


def _embed(
    embedder: Embedder, found: list[tuple[Entry, Tensor | None, Detections]]
) -> Iterator[tuple[Entry, Observation]]:
    def verb(items: list[tuple[Tensor, Detections]]) -> list[Tensor]:
        rows = embedder.embed([image for image, _ in items], [seen for _, seen in items])
        for row, (_, seen) in zip(_expect_list(rows, Tensor, len(items)), items, strict=True):
            if row.ndim != 2 or len(row) != len(seen):
                shape = tuple(row.shape)
                raise ValueError(f"embeddings: expected shape ({len(seen)}, n), got {shape}")
            _check_finite("embeddings", row)
        return rows

    whole = {id(entry): seen for entry, _, seen in found}
    ready: list[tuple[Entry, tuple[Tensor, Detections]]] = []
    for entry, image, seen in found:
        photo = entry.photo
        try:
            picture = _sharp_enough(embedder, photo, image, seen)
        except PhotoError as error:
            entry.record.fail("photos", error.reason)
            continue
        x, y = picture.shape[-1] / photo.width, picture.shape[-2] / photo.height
        ready.append((entry, (picture, seen.scaled(x, y))))
    for (entry, _), rows in _each("embedder", embedder, ready, verb):
        yield entry, Observation(entry.photo, whole[id(entry)], rows, embedder.same_above)


def _sharp_enough(
    embedder: Embedder, photo: Photo, image: Tensor | None, seen: Detections
) -> Tensor:
    """Return the picture at a scale at which the boxes have the pixels that the embedder uses."""
    need = 1
    if len(seen):
        sides = (seen.boxes[:, 2:] - seen.boxes[:, :2]).amax(1)
        smallest = float(sides[sides >= sides.max() / 4].min())
        full = max(photo.height, photo.width)
        need = min(full, round(full * embedder.box_side / max(smallest, 1.0)))
    if image is not None and max(image.shape[-2:]) >= need:
        return image
    return photos.load(photo.path, need)


Item = TypeVar("Item")
Answer = TypeVar("Answer")


def _each(
    kind: str,
    stage: Stage,
    items: list[tuple[Entry, Item]],
    verb: Callable[[list[Item]], list[Answer]],
) -> Iterator[tuple[tuple[Entry, Item], Answer]]:
    """Ask a stage about a batch; when it fails, about each photo alone, to lose only that one."""
    if not items:
        return
    try:
        answers = ask(kind, stage, None, lambda: verb([item for _, item in items]))
    except (StageError, PhotoError) as error:
        if len(items) > 1:
            for item in items:
                yield from _each(kind, stage, [item], verb)
        else:
            items[0][0].record.fail(kind, f"{stage.name}: {error.reason}")
        return
    yield from zip(items, answers, strict=True)


Kind = TypeVar("Kind")


def _expect_list(answers: object, kind: type[Kind], count: int) -> list[Kind]:
    if not isinstance(answers, list) or len(answers) != count:
        got = f"{len(answers)}" if isinstance(answers, list) else type(answers).__name__
        raise TypeError(f"expected a list of {count} {kind.__name__}, got {got}")
    for answer in answers:
        if not isinstance(answer, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(answer).__name__}")
    return answers
