"""Detector and embedder at work on batches of photos."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from alignimation_core.api.data import Detections, Photo
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.stages import Detector, Embedder, Stage
from alignimation_core.detection import quality
from alignimation_core.execution.executor import torch_threads
from alignimation_core.photos import decoder
from alignimation_core.plugin import contract


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
        measures: (N, 3), what gates need the pixels for; None where they were not decoded.
        detecting: seconds, as ``embedding`` is.
    """

    detections: Detections | None = None
    embeddings: Tensor | None = None
    failure: tuple[str, str] | None = None
    measures: Tensor | None = None
    detecting: float = 0.0
    embedding: float = 0.0


@dataclass(slots=True, eq=False)
class _Item:
    """One photo of a batch, with its pixels once they are decoded."""

    photo: Photo
    result: Result
    image: Tensor | None = None

    def measure(self) -> None:
        """Measure what gates need the pixels for, of all that was found."""
        found = self.result.detections
        if self.image is not None and found is not None:
            self.result.measures = quality.measure(self.image, self.photo, found.boxes)


class Inference:
    """Decode photos, and run the detector and the embedder on them.

    One photo that cannot be read, or on which a stage fails, costs no other. Without a detector,
    all detections are known. Seed and cores are ``StageLock``'s.
    """

    def __init__(
        self, detector: Detector | None, embedder: Embedder | None, seed: int, cores: int
    ) -> None:
        self._given = detector, embedder, seed, cores
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
            for item in items:
                item.image = _load(item, detector.input_side())
            _detect(detector, lock, [item for item in items if item.result.detections is None])
            for item in items:
                item.measure()
                item.result.detecting = (time.perf_counter() - begun) / len(items)
        if self._embedding is not None:
            begun = time.perf_counter()
            _embed(*self._embedding, [item for item in items if item.result.failure is None])
            for item in items:
                item.result.embedding = (time.perf_counter() - begun) / len(items)
        return [item.result for item in items]


def _detect(detector: Detector, lock: StageLock, items: list[_Item]) -> None:
    images = [(item, item.image) for item in items if item.image is not None]
    verb = partial(contract.detect, detector)
    for item, found in _each("detector", detector, images, verb, lock):
        assert item.image is not None
        height, width = item.image.shape[-2:]
        item.result.detections = found.scaled(item.photo.width / width, item.photo.height / height)


def _embed(embedder: Embedder, lock: StageLock, items: list[_Item]) -> None:
    inputs: list[tuple[_Item, tuple[Tensor, Detections]]] = []
    for item in items:
        photo, found = item.photo, item.result.detections
        assert found is not None
        try:
            image = _at_resolution(embedder, photo, item.image, found)
        except PhotoError as error:
            item.result.failure = "photos", error.reason
            continue
        x, y = image.shape[-1] / photo.width, image.shape[-2] / photo.height
        inputs.append((item, (image, found.scaled(x, y))))

    def verb(batch: Sequence[tuple[Tensor, Detections]]) -> list[Tensor]:
        return contract.embed(embedder, *map(list, zip(*batch, strict=True)))

    for item, rows in _each("embedder", embedder, inputs, verb, lock):
        item.result.embeddings = rows


def _load(item: _Item, side: int | None) -> Tensor | None:
    try:
        return decoder.load(item.photo, side)
    except PhotoError as error:
        item.result.failure = "photos", error.reason
        return None


def _at_resolution(
    embedder: Embedder, photo: Photo, image: Tensor | None, found: Detections
) -> Tensor:
    """Return the photo at a scale at which the boxes have the pixels that the embedder uses."""
    need = 1
    if len(found):
        sides = (found.boxes[:, 2:] - found.boxes[:, :2]).amax(1)
        smallest = float(sides[sides >= sides.max() / 4].min())
        full = max(photo.height, photo.width)
        need = min(full, round(full * embedder.box_side / max(smallest, 1.0)))
    if image is not None and max(image.shape[-2:]) >= need:
        return image
    return decoder.load(photo, need)


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
        else:
            items[0][0].result.failure = kind, f"{stage.name}: {error.reason}"
        return
    yield from zip((item for item, _ in items), outputs, strict=True)
