"""Photos -> observations: what the detector and the embedder make of each photo."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from alignimation_core import photos
from alignimation_core.answers import check_detections, check_finite, expect_list, in_float32
from alignimation_core.data import Detections, Observation, Photo
from alignimation_core.errors import AlignimationError, PhotoError, StageError, in_one_line
from alignimation_core.record import PhotoRecord
from alignimation_core.stages import AnnotationDetector, Detector, Embedder, Stage
from alignimation_core.store import Known

BATCH = 8
AHEAD = 4

LOG = logging.getLogger(__name__)

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
    except (Exception, SystemExit) as error:  # a plugin's code may do anything
        LOG.debug("%s %s raised", kind, stage.name, exc_info=True)
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


@dataclass(slots=True, eq=False)
class _Look:
    """What is known so far of one photo, and of its copies.

    Attributes:
        entries: the photo, and those of the same content.
        seen: its detections in full-size pixels.
        vectors: its embeddings.
        picture: its pixels, if they are at hand.
        news: whether a stage has answered in this run.
        failed: whether it cannot be read, or a stage failed on it.
    """

    entries: list[Entry]
    seen: Detections | None = None
    vectors: Tensor | None = None
    picture: Tensor | None = None
    news: bool = False
    failed: bool = False

    @property
    def photo(self) -> Photo:
        return self.entries[0].photo

    def fail(self, stage: str, reason: str) -> None:
        self.failed = True
        for entry in self.entries:
            entry.record.fail(stage, reason)


def observe(
    entries: Sequence[Entry],
    detector: Detector,
    embedder: Embedder | None,
    step: Callable[[], None],
    seconds: dict[str, float],
    known: Mapping[str, Known],
    keep: Callable[[Mapping[str, Known]], None],
) -> list[tuple[Entry, Observation]]:
    """Detect and embed, in batches, holding only a few pictures at a time.

    A photo that cannot be read, or on which a stage fails, is noted in its record and left out.
    The batches do not depend on what is known already, so that a run that goes on where another
    was killed gives its networks the same batches, and gets the same last bits.

    Args:
        entries: the photos.
        detector: finds candidates.
        embedder: tells individuals apart, if any.
        step: called after each photo.
        seconds: takes the time spent in the ``embedder``.
        known: what the stages said before, by SHA-256 of the photo.
        keep: called with what they say now, a batch at a time.

    Raises:
        AlignimationError: what concerns not one photo but all, such as missing weights.
    """
    annotated = isinstance(detector, AnnotationDetector)

    def content(photo: Photo) -> str:
        return photo.name if annotated else photo.sha256

    looks: dict[str, _Look] = {}
    for entry in entries:
        key = content(entry.photo)
        if key in looks:
            looks[key].entries.append(entry)
        else:
            looks[key] = _Look([entry], *known.get(key, ()))
    if embedder is not None:
        seconds.setdefault("embedder", 0.0)
    for batch in _in_batches(list(looks.values()), detector, embedder):
        _find(detector, [look for look in batch if look.seen is None])
        if embedder is not None:
            begun = time.perf_counter()
            _embed(embedder, [look for look in batch if look.vectors is None])
            seconds["embedder"] += time.perf_counter() - begun
        keep(
            {
                look.photo.sha256: Known(look.seen, look.vectors)
                for look in batch
                if look.news and look.seen is not None
            }
        )
        for look in batch:
            look.picture = None
            for _ in look.entries:
                step()
    same_above = None if embedder is None else embedder.same_above
    found: list[tuple[Entry, Observation]] = []
    for entry in entries:
        look = looks[content(entry.photo)]
        if look.seen is not None and (embedder is None or look.vectors is not None):
            found.append((entry, Observation(entry.photo, look.seen, look.vectors, same_above)))
    return found


def count_known(
    entries: Sequence[Entry], embedder: Embedder | None, known: Mapping[str, Known]
) -> int:
    """Return how many photos need no network any more."""
    answers = [known.get(entry.photo.sha256) for entry in entries]
    return sum(
        answer is not None and (embedder is None or answer.embeddings is not None)
        for answer in answers
    )


def _in_batches(
    looks: Sequence[_Look], detector: Detector, embedder: Embedder | None
) -> Iterator[Sequence[_Look]]:
    """Yield photos with the pictures that the stages will ask for; one that fails has none."""
    if isinstance(detector, AnnotationDetector):
        for look in looks:
            yield [look]
        return
    side = detector.input_side()
    blind = [
        look
        for look in looks
        if look.seen is None or (embedder is not None and look.vectors is None)
    ]
    pictures = load_ahead((look, look.photo.path, side) for look in blind)
    wanted = set(map(id, blind))
    for start in range(0, len(looks), BATCH):
        batch = looks[start : start + BATCH]
        for look, picture in islice(pictures, sum(id(look) in wanted for look in batch)):
            if isinstance(picture, PhotoError):
                look.fail("photos", picture.reason)
            else:
                look.picture = picture
        yield batch


def _find(detector: Detector, looks: Sequence[_Look]) -> None:
    """Ask the detector about photos of which nothing is known."""
    if isinstance(detector, AnnotationDetector):
        photos = [(look, look.photo) for look in looks]
        for look, seen in _each("detector", detector, photos, partial(_annotate, detector)):
            look.seen = seen
        return
    pictures = [(look, look.picture) for look in looks if look.picture is not None]
    for look, seen in _each("detector", detector, pictures, partial(detect, detector)):
        assert look.picture is not None
        height, width = look.picture.shape[-2:]
        look.seen = seen.scaled(look.photo.width / width, look.photo.height / height)
        look.news = True


def _annotate(detector: AnnotationDetector, photos: list[Photo]) -> list[Detections]:
    answers = [detector.annotate(photo) for photo in photos]
    check_detections(detector, answers, len(photos))
    return answers


def detect(detector: Detector, images: list[Tensor]) -> list[Detections]:
    """Ask a detector, and check that it keeps its word.

    Raises:
        Exception: whatever it raises, or what is wrong with its answer.
    """
    answers = detector.detect(images)
    check_detections(detector, answers, len(images))
    return [in_float32(answer) for answer in answers]


def _embed(embedder: Embedder, looks: Sequence[_Look]) -> None:
    """Ask the embedder about photos whose detections are known, and their embeddings not."""

    def verb(items: list[tuple[Tensor, Detections]]) -> list[Tensor]:
        rows = embedder.embed([image for image, _ in items], [seen for _, seen in items])
        for row, (_, seen) in zip(expect_list(rows, Tensor, len(items)), items, strict=True):
            if row.ndim != 2 or len(row) != len(seen):
                shape = tuple(row.shape)
                raise ValueError(f"embeddings: expected shape ({len(seen)}, n), got {shape}")
            check_finite("embeddings", row)
        return [row.detach().float() for row in rows]

    ready: list[tuple[_Look, tuple[Tensor, Detections]]] = []
    for look in looks:
        if look.seen is None or look.failed:
            continue
        photo = look.photo
        try:
            picture = _sharp_enough(embedder, photo, look.picture, look.seen)
        except PhotoError as error:
            look.fail("photos", error.reason)
            continue
        x, y = picture.shape[-1] / photo.width, picture.shape[-2] / photo.height
        ready.append((look, (picture, look.seen.scaled(x, y))))
    for look, rows in _each("embedder", embedder, ready, verb):
        look.vectors, look.news = rows, True


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
    items: list[tuple[_Look, Item]],
    verb: Callable[[list[Item]], list[Answer]],
) -> Iterator[tuple[_Look, Answer]]:
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
            items[0][0].fail(kind, f"{stage.name}: {error.reason}")
        return
    yield from zip((look for look, _ in items), answers, strict=True)
