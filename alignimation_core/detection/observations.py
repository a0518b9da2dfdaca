"""Observations of photos: detections and embeddings, computed or recalled from the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from alignimation_core.api.data import Damage, Detections, Observation, Photo
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.stages import AnnotationDetector, Detector, Embedder
from alignimation_core.detection.inference import Inference, Result
from alignimation_core.execution.executor import Executor, Lost
from alignimation_core.failure import Failure
from alignimation_core.photos.decoder import Parts
from alignimation_core.plugin import contract, guard
from alignimation_core.store.store import Known

PHOTOS_A_BATCH = 4
"""Photos that go through the networks together."""

T = TypeVar("T")


@dataclass(slots=True)
class Observed:
    """Photos on which nothing failed, in order; the others; wall seconds in the embedder.

    ``damaged``: what is wrong with files that were decoded all the same, by the photos' names.
    ``remarks``: what is wrong with stages, though nothing failed.
    """

    observations: list[Observation] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    embedding: float = 0.0
    damaged: dict[str, Damage] = field(default_factory=dict)
    remarks: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Content:
    """Copies of one content that did not fail, and what is known of it, in full-size pixels.

    ``failed``: none of the copies can be read, or a stage failed on it.
    """

    photos: list[Photo]
    detections: Detections | None = None
    embeddings: Tensor | None = None
    damage: Damage | None = None
    measures: Tensor | None = None
    failed: bool = False

    def is_open(self, *, embeds: bool) -> bool:
        """Return whether something is left to compute, with embeddings or without."""
        known = self.detections is not None and (self.embeddings is not None or not embeds)
        return not known and not self.failed

    def learn(self, result: Result) -> bool:
        """Take what was computed; return whether anything was."""
        news = result.detections is not None and self.detections is None
        self.detections, self.embeddings = result.detections, result.embeddings
        self.damage = result.damage or self.damage
        if result.measures is not None:
            self.measures = result.measures
        return news or result.embeddings is not None

    def fail(self, stage: str, reason: str) -> list[Failure]:
        """Return the photos that fail: while there is a copy, only the one that is unreadable."""
        lost = self.photos
        if stage == "photos" and len(self.photos) > 1:
            lost, self.photos = self.photos[:1], self.photos[1:]
        else:
            self.failed = True
        return [Failure(photo.name, stage, reason) for photo in lost]


def observe(
    photos: Sequence[Photo],
    detector: Detector,
    embedder: Embedder | None,
    executor: Executor,
    seed: int,
    step: Callable[[], None],
    known: Mapping[str, Known],
    keep: Callable[[Mapping[str, Known]], None],
    parts: Parts | None = None,
) -> Observed:
    """Detect and embed, in batches, holding only a few decoded photos at a time.

    The batches do not depend on what is known already, so that a run that goes on where another
    was killed gives its networks the same batches, and gets the same last bits. What is ``known``
    goes by the photo's ``content``; ``keep`` is called with what is found now, batch by batch.
    In ``parts`` is kept what is around the eyes of those that are decoded.

    Raises:
        AlignimationError: what concerns not one photo but all, such as missing weights.
    """
    annotated = isinstance(detector, AnnotationDetector)
    strangers: str | None = None
    contents: dict[str, _Content] = {}
    of_photo: list[_Content] = []
    for photo in photos:
        key = photo.name if annotated else photo.content
        content = contents.setdefault(key, _Content([], *known.get(key, ())))
        content.photos.append(photo)
        of_photo.append(content)
    observed = Observed()
    if isinstance(detector, AnnotationDetector):
        strangers = guard.call("detector", detector, lambda: detector.strangers(photos))
        _annotate(detector, contents.values(), observed)
    looking = None if annotated else detector
    inference = Inference(looking, embedder, seed, executor.cores, eyes=parts is not None)
    _infer(list(contents.values()), inference, executor, step, keep, observed, parts)
    same_above = None if embedder is None else embedder.same_above
    nothing_found = f"no {detector.finds()} was found: {strangers or detector.hint()}"
    lost = {failure.photo for failure in observed.failures}
    for photo, content in zip(photos, of_photo, strict=True):
        if content.damage is not None:
            observed.damaged[photo.name] = content.damage
        if photo.name not in lost:
            assert content.detections is not None
            observed.observations.append(
                Observation(
                    photo,
                    content.detections,
                    content.embeddings,
                    same_above,
                    nothing_found,
                    content.measures,
                )
            )
    return observed


def _infer(
    contents: list[_Content],
    inference: Inference,
    executor: Executor,
    step: Callable[[], None],
    keep: Callable[[Mapping[str, Known]], None],
    observed: Observed,
    parts: Parts | None,
) -> None:
    """Compute what is not known; where a file cannot be read, try again with a copy of it."""
    embeds = inference.embeds
    batches = [
        [content for content in batch if content.is_open(embeds=embeds)]
        for batch in in_batches(contents)
    ]
    for content in contents:
        if not content.is_open(embeds=embeds):
            for _ in content.photos:
                step()
    while batches := [batch for batch in batches if batch]:
        queries = ([(each.photos[0], each.detections) for each in batch] for batch in batches)
        begun = time.perf_counter()
        detecting = embedding = 0.0
        for batch, results in zip(batches, executor.map(inference, queries), strict=True):
            fresh: dict[str, Known] = {}
            done = 0
            for content, result in zip(batch, results, strict=True):
                copies = len(content.photos)
                if isinstance(result, Lost):
                    observed.failures += content.fail("detector", result.reason)
                else:
                    if parts is not None:
                        parts.keep(content.photos[0], result.parts)
                    detecting += result.detecting
                    embedding += result.embedding
                    if result.remark is not None:
                        observed.remarks.add(result.remark)
                    if content.learn(result) and content.detections is not None:
                        fresh[content.photos[0].content] = Known(
                            content.detections,
                            content.embeddings,
                            content.damage,
                            content.measures,
                        )
                    if result.failure is not None:
                        observed.failures += content.fail(*result.failure)
                done += 1 if content.is_open(embeds=embeds) else copies
            keep(fresh)
            for _ in range(done):
                step()
        if embedding:
            spent = time.perf_counter() - begun
            observed.embedding += spent * embedding / (detecting + embedding)
        again = [each for batch in batches for each in batch if each.is_open(embeds=embeds)]
        batches = in_batches(again)


def in_batches(items: list[T]) -> list[list[T]]:
    """Return items in batches that go through the networks together."""
    starts = range(0, len(items), PHOTOS_A_BATCH)
    return [items[start : start + PHOTOS_A_BATCH] for start in starts]


def boxes_from_left(observations: Sequence[Observation]) -> list[list[list[float]]]:
    """Return the boxes in each photo by their middles, from the left, rounded to 0.1 pixels."""
    if not observations:
        return []
    counts = [len(each.detections) for each in observations]
    photos = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    boxes = torch.cat([each.detections.boxes for each in observations]).double()
    order = (boxes[:, 0] + boxes[:, 2]).argsort(stable=True)
    order = order[photos[order].argsort(stable=True)]
    rows = iter(((boxes[order] * 10).round() / 10).tolist())
    return [[*islice(rows, count)] for count in counts]


def count_known(
    photos: Sequence[Photo], embedder: Embedder | None, known: Mapping[str, Known]
) -> int:
    """Return how many photos need no network any more."""
    found = [known.get(photo.content) for photo in photos]
    return sum(
        each is not None and (embedder is None or each.embeddings is not None) for each in found
    )


def _annotate(
    detector: AnnotationDetector, contents: Iterable[_Content], observed: Observed
) -> None:
    """Take the detections of every photo from the annotations."""
    for content in contents:
        try:
            photo = content.photos[0]
            found = contract.annotate(detector, photo)
            content.detections = replace(found, turn=photo.turn or 0)
        except (StageError, PhotoError) as error:
            observed.failures += content.fail("detector", f"{detector.name}: {error.reason}")
