"""Detector and embedder at work on batches of photos."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import TypeVar

import torch
from torch import Tensor

from alignimation_core.api.data import EYES, Damage, Detections, Photo
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.stages import Detector, Embedder, Stage
from alignimation_core.api.stages.faces import FEATURES
from alignimation_core.detection import quality
from alignimation_core.detection.turns import TURNS, in_image, in_turned, turned
from alignimation_core.execution.executor import torch_threads
from alignimation_core.photos import decoder
from alignimation_core.photos.decoder import Part, Picture
from alignimation_core.plugin import contract

AROUND, MARGIN = 1.5, 40.0
"""How far what is kept of a face reaches: eye distances, and pixels of the full-size photo."""


class StageLock:
    """Serialise calls to a stage, unless it says that it is thread-safe.

    The seed is set anew for every call but concurrent ones; a stage called by one thread only may
    use all ``cores``. Stages that draw from torch's one generator share ``lock``.
    """

    def __init__(
        self, stage: Detector | Embedder, seed: int, cores: int, lock: threading.Lock
    ) -> None:
        self._concurrent = stage.parallel and stage.torch_device().type == "cpu"
        self._seed, self._cores, self._called = seed, cores, False
        self._lock = lock

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the stage; the first call, which builds the network, is always alone."""
        if self._concurrent and self._called:
            yield
            return
        with self._lock:
            torch.manual_seed(self._seed)
            with torch_threads(1 if self._concurrent else self._cores):
                yield
            self._called = True


Query = tuple[Photo, Detections | None]
"""One photo to run the networks on; if detections are known, the embedder alone."""


@dataclass(slots=True, eq=False)
class Result:
    """What the networks found in one photo.

    Attributes:
        detections: in full-size pixels; None if the detector failed.
        embeddings: (N, D); None if they failed, or there is no embedder.
        failure: what failed, and why: ``photos`` or a kind of stage.
        damage: what is wrong with the file, as far as it was decoded.
        measures: (N, 3), what gates need the pixels for; None where they were not decoded.
        detecting: seconds, as ``embedding`` is.
        remark: what is wrong with a stage, though nothing failed.
        parts: what is around the eyes, where that is asked for.
    """

    detections: Detections | None = None
    embeddings: Tensor | None = None
    failure: tuple[str, str] | None = None
    damage: Damage | None = None
    measures: Tensor | None = None
    detecting: float = 0.0
    embedding: float = 0.0
    remark: str | None = None
    parts: tuple[Part, ...] = ()


@dataclass(slots=True, eq=False)
class _Item:
    """One photo of a batch, with its picture once it is decoded."""

    photo: Photo
    result: Result
    picture: Picture | None = None

    def take(self, found: Detections, turn: int) -> None:
        """Take what was found in the image, turned by ``turn``, into the full-size photo."""
        assert self.picture is not None
        height, width = self.picture.pixels.shape[-2:]
        (x, _, right), (_, y, down), _ = self.picture.photo_from_picture
        there = in_image(found, turn, (height, width))
        self.result.detections = there.scaled(x, y, shift=(right, down))

    def measure(self) -> None:
        """Measure what gates need the pixels for, of all that was found."""
        found = self.result.detections
        if self.picture is not None and found is not None:
            pixels = self.picture.pixels
            self.result.measures = quality.measure(pixels, self.photo, found.boxes)

    def keep_eyes(self, side: int) -> None:
        """Keep what is around eyes and mouths, in the picture decoded with this side."""
        found = self.result.detections
        if self.picture is None or found is None or found.keypoints is None:
            return
        names = found.keypoint_names
        if not all(name in names for name in EYES):
            return
        left, right = (found.keypoints[:, names.index(name)] for name in EYES)
        reaches = AROUND * (left - right).norm(dim=1) + MARGIN
        seen = [names.index(name) for some in FEATURES.values() for name in some if name in names]
        low, high = found.keypoints[:, seen].aminmax(dim=1)
        cut = (
            Part.of(self.photo, side, self.picture, x, y, reach)
            for (x, y), reach in zip(((low + high) / 2).tolist(), reaches.tolist(), strict=True)
            if isfinite(x + y + reach)
        )
        self.result.parts = tuple(part for part in cut if part is not None)


class Inference:
    """Decode photos, and run the detector and the embedder on them.

    One photo that cannot be read, or on which a stage fails, costs no other. Without a detector,
    all detections are known. Seed and cores are ``StageLock``'s. With ``eyes``, results have parts.
    """

    def __init__(
        self,
        detector: Detector | None,
        embedder: Embedder | None,
        seed: int,
        cores: int,
        eyes: bool = False,
    ) -> None:
        self._given = detector, embedder, seed, cores, eyes
        self._eyes = eyes
        lock = threading.Lock()
        self._detecting = (
            None if detector is None else (detector, StageLock(detector, seed, cores, lock))
        )
        self._embedding = (
            None if embedder is None else (embedder, StageLock(embedder, seed, cores, lock))
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling."""
        return Inference, self._given

    @property
    def embeds(self) -> bool:
        """Whether embeddings are asked for."""
        return self._embedding is not None

    def __call__(self, queries: list[Query]) -> list[Result]:
        """Run the networks on a batch of photos.

        Raises:
            AlignimationError: what concerns not one photo but all, such as missing weights.
        """
        items = [_Item(photo, Result(detections)) for photo, detections in queries]
        if self._detecting is not None:
            detector, lock = self._detecting
            begun = time.perf_counter()
            side = detector.input_side()
            for item in items:
                item.picture = _read(item, side)
            _detect(detector, lock, [item for item in items if item.result.detections is None])
            for item in items:
                item.measure()
                if self._eyes and side is not None:
                    item.keep_eyes(side)
                item.result.detecting = (time.perf_counter() - begun) / len(items)
        if self._embedding is not None:
            begun = time.perf_counter()
            _embed(*self._embedding, [item for item in items if item.result.failure is None])
            for item in items:
                item.result.embedding = (time.perf_counter() - begun) / len(items)
        return [item.result for item in items]


def _detect(detector: Detector, lock: StageLock, items: list[_Item]) -> None:
    """Detect upright, or as a correction says; where nothing is found, at the other turns."""
    images = [
        (item, turned(item.picture.pixels, item.photo.turn or 0))
        for item in items
        if item.picture is not None
    ]
    verb = partial(contract.detect, detector)
    for item, found in _each("detector", detector, images, verb, lock):
        item.take(found, item.photo.turn or 0)
    nothing = [
        (item, image)
        for item, image in images
        if item.photo.turn is None and item.result.detections is not None
        if not len(item.result.detections)
    ]

    def verb_at_turns(batch: Sequence[Tensor]) -> list[tuple[Detections, int]]:
        return [_at_turns(detector, image) for image in batch]

    for item, (found, turn) in _each("detector", detector, nothing, verb_at_turns, lock):
        item.take(found, turn)


def find(detector: Detector, image: Tensor) -> Detections:
    """Return what is found in one (3, h, w) uint8 image; if nothing, at the other quarter turns.

    Raises:
        StageError: the detector raised, or returned what its hook does not allow.
    """
    (found,) = contract.detect(detector, [image])
    if len(found):
        return found
    height, width = image.shape[-2:]
    return in_image(*_at_turns(detector, image), (height, width))


def _at_turns(detector: Detector, image: Tensor) -> tuple[Detections, int]:
    """Return what is found at the turn at which the detector is surest, and that turn."""
    views = contract.detect(detector, [turned(image, turn) for turn in TURNS])
    best = max(views, key=lambda found: max(found.scores.tolist(), default=-1.0))
    return (best, TURNS[views.index(best)]) if len(best) else (best, 0)


def _embed(embedder: Embedder, lock: StageLock, items: list[_Item]) -> None:
    inputs: list[tuple[_Item, tuple[Tensor, Detections]]] = []
    for item in items:
        photo, found = item.photo, item.result.detections
        assert found is not None
        try:
            picture = _at_resolution(embedder, photo, item.picture, found)
        except PhotoError as error:
            item.result.failure = "photos", error.reason
            continue
        item.result.damage = picture.damage
        (x, _, right), (_, y, down), _ = picture.photo_from_picture
        height, width = picture.pixels.shape[-2:]
        there = found.scaled(1 / x, 1 / y, shift=(-right / x, -down / y))
        found = in_turned(there, (height, width))
        inputs.append((item, (turned(picture.pixels, found.turn), found)))

    def verb(batch: Sequence[tuple[Tensor, Detections]]) -> list[Tensor]:
        return contract.embed(embedder, *map(list, zip(*batch, strict=True)))

    for item, rows in _each("embedder", embedder, inputs, verb, lock):
        item.result.embeddings = rows


def _read(item: _Item, side: int | None) -> Picture | None:
    try:
        picture = decoder.read(item.photo, side)
    except PhotoError as error:
        item.result.failure = "photos", error.reason
        return None
    item.result.damage = picture.damage
    return picture


def _at_resolution(
    embedder: Embedder, photo: Photo, picture: Picture | None, found: Detections
) -> Picture:
    """Return the photo at a scale at which the boxes have the pixels that the embedder uses."""
    need = 1
    if len(found):
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).amax(1)
        smallest = float(sides[sides >= sides.max() / 4].min())
        full = max(photo.height, photo.width)
        need = min(full, round(full * embedder.side_for(found) / max(smallest, 1.0)))
    if picture is not None and max(picture.pixels.shape[-2:]) >= need:
        return picture
    return decoder.read(photo, need)


Input = TypeVar("Input")
Output = TypeVar("Output")


def _each(
    kind: str,
    stage: Stage,
    items: list[tuple[_Item, Input]],
    verb: Callable[[Sequence[Input]], list[Output]],
    lock: StageLock,
) -> Iterator[tuple[_Item, Output]]:
    """Run a stage on a batch; when it fails, on each photo alone, to lose only that one."""
    if not items:
        return
    try:
        with lock.held():
            outputs = verb([value for _, value in items])
    except (StageError, PhotoError) as error:
        if len(items) > 1:
            for each in items:
                yield from _each(kind, stage, [each], verb, lock)
            if all(item.result.failure is None for item, _ in items):
                items[0][0].result.remark = contract.only_alone(error)
        else:
            items[0][0].result.failure = kind, f"{stage.name}: {error.reason}"
        return
    yield from zip((item for item, _ in items), outputs, strict=True)
