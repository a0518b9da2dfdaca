"""What the detector and the embedder are asked about single photos."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from alignimation_core.api.data import Detections, Photo
from alignimation_core.api.errors import AlignimationError, PhotoError, StageError, in_one_line
from alignimation_core.api.stages import Detector, Embedder, Stage
from alignimation_core.execution.executor import torch_threads
from alignimation_core.photos import decoder
from alignimation_core.plugin.contract import (
    check_detections,
    check_finite,
    expect_list,
    in_float32,
)

LOG = logging.getLogger(__name__)

T = TypeVar("T")


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


class Turns:
    """Lets several threads call one stage: all at once if it says so, else one after another.

    Args:
        stage: the stage.
        seed: of whatever it draws at random, set anew for every call but those at once.
        cores: that it may use while it is called by one thread only.
        lock: held by the one that calls; stages that draw from torch's one generator share it.
    """

    def __init__(
        self, stage: Detector | Embedder, seed: int, cores: int, lock: threading.Lock
    ) -> None:
        self._at_once = stage.parallel and stage.torch_device().type == "cpu"
        self._seed, self._cores, self._called = seed, cores, False
        self._lock = lock

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the stage; the first call, which builds the network, is always alone."""
        if self._at_once and self._called:
            yield
            return
        with self._lock:
            torch.manual_seed(self._seed)
            with torch_threads(1 if self._at_once else self._cores):
                yield
            self._called = True


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """One photo to look at.

    Attributes:
        photo: its facts.
        seen: its detections, if they are known; then only embeddings are asked for.
    """

    photo: Photo
    seen: Detections | None = None


@dataclass(slots=True, eq=False)
class Sight:
    """What was found in one photo.

    Attributes:
        seen: its detections in full-size pixels; None if the detector failed.
        vectors: its embeddings; None if they failed, or there is no embedder.
        fault: what failed, and why: ``photos`` or a kind of stage.
        detecting: seconds.
        embedding: seconds.
    """

    seen: Detections | None = None
    vectors: Tensor | None = None
    fault: tuple[str, str] | None = None
    detecting: float = 0.0
    embedding: float = 0.0


@dataclass(slots=True, eq=False)
class _Look:
    """One photo while it is looked at."""

    photo: Photo
    sight: Sight
    picture: Tensor | None = None

    def fail(self, stage: str, reason: str) -> None:
        self.sight.fault = stage, reason


class Look:
    """Decodes photos, and asks the detector and the embedder about them.

    One photo that cannot be read, or on which a stage fails, costs no other.

    Args:
        detector: finds candidates; None where all detections are known.
        embedder: tells individuals apart, if any.
        seed: of whatever the stages draw at random.
        cores: that a stage may use which is called by one thread at a time.
    """

    def __init__(
        self, detector: Detector | None, embedder: Embedder | None, seed: int, cores: int
    ) -> None:
        self._detector, self._embedder = detector, embedder
        self._seed, self._cores = seed, cores
        lock = threading.Lock()
        self._detecting = None if detector is None else Turns(detector, seed, cores, lock)
        self._embedding = None if embedder is None else Turns(embedder, seed, cores, lock)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process."""
        return Look, (self._detector, self._embedder, self._seed, self._cores)

    @property
    def embeds(self) -> bool:
        """Whether embeddings are asked for."""
        return self._embedder is not None

    def __call__(self, questions: list[Question]) -> list[Sight]:
        """Look at a batch of photos.

        Raises:
            AlignimationError: what concerns not one photo but all, such as missing weights.
        """
        looks = [_Look(question.photo, Sight(question.seen)) for question in questions]
        if self._detector is not None:
            begun = time.perf_counter()
            for look in looks:
                look.picture = self._load(look, self._detector.input_side())
            self._find([look for look in looks if look.sight.seen is None])
            for look in looks:
                look.sight.detecting = (time.perf_counter() - begun) / len(looks)
        if self._embedder is not None:
            begun = time.perf_counter()
            self._embed(self._embedder, [look for look in looks if look.sight.fault is None])
            for look in looks:
                look.sight.embedding = (time.perf_counter() - begun) / len(looks)
        return [look.sight for look in looks]

    @staticmethod
    def _load(look: _Look, side: int | None) -> Tensor | None:
        try:
            return decoder.load(look.photo, side)
        except PhotoError as error:
            look.fail("photos", error.reason)
            return None

    def _find(self, looks: list[_Look]) -> None:
        detector, turns = self._detector, self._detecting
        assert detector is not None
        assert turns is not None
        pictures = [(look, look.picture) for look in looks if look.picture is not None]
        for look, seen in _each("detector", detector, pictures, partial(detect, detector), turns):
            assert look.picture is not None
            height, width = look.picture.shape[-2:]
            look.sight.seen = seen.scaled(look.photo.width / width, look.photo.height / height)

    def _embed(self, embedder: Embedder, looks: list[_Look]) -> None:
        ready: list[tuple[_Look, tuple[Tensor, Detections]]] = []
        for look in looks:
            photo, seen = look.photo, look.sight.seen
            assert seen is not None
            try:
                picture = _sharp_enough(embedder, photo, look.picture, seen)
            except PhotoError as error:
                look.fail("photos", error.reason)
                continue
            x, y = picture.shape[-1] / photo.width, picture.shape[-2] / photo.height
            ready.append((look, (picture, seen.scaled(x, y))))
        assert self._embedding is not None
        answers = _each("embedder", embedder, ready, partial(_embed, embedder), self._embedding)
        for look, rows in answers:
            look.sight.vectors = rows


def detect(detector: Detector, images: list[Tensor]) -> list[Detections]:
    """Ask a detector, and check that it keeps its word.

    Raises:
        Exception: whatever it raises, or what is wrong with its answer.
    """
    answers = detector.detect(images)
    check_detections(detector, answers, len(images))
    return [in_float32(answer) for answer in answers]


def _embed(embedder: Embedder, items: list[tuple[Tensor, Detections]]) -> list[Tensor]:
    rows = embedder.embed([image for image, _ in items], [seen for _, seen in items])
    for row, (_, seen) in zip(expect_list(rows, Tensor, len(items)), items, strict=True):
        if row.ndim != 2 or len(row) != len(seen):
            shape = tuple(row.shape)
            raise ValueError(f"embeddings: expected shape ({len(seen)}, n), got {shape}")
        check_finite("embeddings", row)
    return [row.detach().float() for row in rows]


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
    return decoder.load(photo, need)


Item = TypeVar("Item")
Answer = TypeVar("Answer")


def _each(
    kind: str,
    stage: Stage,
    items: list[tuple[_Look, Item]],
    verb: Callable[[list[Item]], list[Answer]],
    turns: Turns,
) -> Iterator[tuple[_Look, Answer]]:
    """Ask a stage about a batch; when it fails, about each photo alone, to lose only that one."""
    if not items:
        return
    try:
        with turns.turn():
            answers = ask(kind, stage, None, lambda: verb([item for _, item in items]))
    except (StageError, PhotoError) as error:
        if len(items) > 1:
            for item in items:
                yield from _each(kind, stage, [item], verb, turns)
        else:
            items[0][0].fail(kind, f"{stage.name}: {error.reason}")
        return
    yield from zip((look for look, _ in items), answers, strict=True)
