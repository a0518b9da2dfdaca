"""Photos -> observations: what the detector and the embedder make of each photo."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from alignimation_core.api.data import Detections, Observation, Photo
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.stages import AnnotationDetector, Detector, Embedder
from alignimation_core.detection.inference import Look, Question, Sight, ask
from alignimation_core.execution.executor import Executor, Lost
from alignimation_core.plugin.contract import check_detections
from alignimation_core.record import PhotoRecord
from alignimation_core.store.store import Known

BATCH = 4
"""Photos that go through the networks together."""


@dataclass(slots=True)
class Entry:
    """One photo on its way through the run: its facts, and the record that follows it."""

    photo: Photo
    record: PhotoRecord


@dataclass(slots=True, eq=False)
class _Seen:
    """What is known so far of one photo, and of its copies.

    Attributes:
        entries: the photo, and those of the same content.
        detections: in full-size pixels; None while they are not known.
        vectors: its embeddings; None while they are not known.
        failed: whether it cannot be read, or a stage failed on it.
    """

    entries: list[Entry]
    detections: Detections | None = None
    vectors: Tensor | None = None
    failed: bool = False

    @property
    def photo(self) -> Photo:
        return self.entries[0].photo

    def is_open(self, *, embeds: bool) -> bool:
        """Return whether something is left to find out, with embeddings or without."""
        known = self.detections is not None and (self.vectors is not None or not embeds)
        return not known and not self.failed

    def learn(self, sight: Sight) -> bool:
        """Take what was found; return whether anything was."""
        news = (sight.seen is not None and self.detections is None) or sight.vectors is not None
        self.detections, self.vectors = sight.seen, sight.vectors
        if sight.fault is not None:
            self.fail(*sight.fault)
        return news

    def fail(self, stage: str, reason: str) -> None:
        """Note what failed; a file that cannot be read is not the end while there is a copy."""
        if stage == "photos" and len(self.entries) > 1:
            self.entries.pop(0).record.fail(stage, reason)
            return
        self.failed = True
        for entry in self.entries:
            entry.record.fail(stage, reason)

    def count(self, step: Callable[[], None]) -> None:
        for _ in self.entries:
            step()


def observe(
    entries: Sequence[Entry],
    detector: Detector,
    embedder: Embedder | None,
    executor: Executor,
    seed: int,
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
        executor: where photos are decoded and looked at.
        seed: of whatever the stages draw at random.
        step: called after each photo.
        seconds: takes the time spent in the ``embedder``.
        known: what the stages said before, by SHA-256 of the photo.
        keep: called with what they say now, a batch at a time.

    Raises:
        AlignimationError: what concerns not one photo but all, such as missing weights.
    """
    annotated = isinstance(detector, AnnotationDetector)
    looks: dict[str, _Seen] = {}
    for entry in entries:
        key = entry.photo.name if annotated else entry.photo.sha256
        if key in looks:
            looks[key].entries.append(entry)
        else:
            looks[key] = _Seen([entry], *known.get(key, ()))
    if isinstance(detector, AnnotationDetector):
        _annotate(detector, looks.values())
    work = Look(None if annotated else detector, embedder, seed, executor.cores)
    batches: list[Sequence[_Seen]] = [
        [look for look in batch if look.is_open(embeds=work.embeds)]
        for batch in _in_batches(list(looks.values()))
    ]
    asked = {id(look) for batch in batches for look in batch}
    for look in looks.values():
        if id(look) not in asked:
            look.count(step)
    while batches := [batch for batch in batches if batch]:
        _ask(batches, work, executor, step, seconds, keep)
        again = [look for batch in batches for look in batch if look.is_open(embeds=work.embeds)]
        batches = list(_in_batches(again))
    same_above = None if embedder is None else embedder.same_above
    found: list[tuple[Entry, Observation]] = []
    for entry in entries:
        look = looks[entry.photo.name if annotated else entry.photo.sha256]
        if look.detections is not None and (embedder is None or look.vectors is not None):
            seen = Observation(entry.photo, look.detections, look.vectors, same_above)
            found.append((entry, seen))
    return found


def _ask(
    batches: Sequence[Sequence[_Seen]],
    work: Look,
    executor: Executor,
    step: Callable[[], None],
    seconds: dict[str, float],
    keep: Callable[[Mapping[str, Known]], None],
) -> None:
    """Look at the photos of which something is not known yet."""
    questions = ([Question(seen.photo, seen.detections) for seen in batch] for batch in batches)
    begun = time.perf_counter()
    detecting = embedding = 0.0
    for batch, sights in zip(batches, executor.map(work, questions), strict=True):
        fresh: dict[str, Known] = {}
        for look, sight in zip(batch, sights, strict=True):
            if isinstance(sight, Lost):
                look.fail("detector", sight.reason)
            else:
                detecting += sight.detecting
                embedding += sight.embedding
                if look.learn(sight) and look.detections is not None:
                    fresh[look.photo.sha256] = Known(look.detections, look.vectors)
        keep(fresh)
        for look in batch:
            if look.is_open(embeds=work.embeds):
                step()  # for the copy that could not be read; another is looked at later
            else:
                look.count(step)
    if work.embeds:
        spent = time.perf_counter() - begun
        share = embedding / (detecting + embedding) if embedding else 0.0
        seconds["embedder"] = seconds.get("embedder", 0.0) + spent * share


def count_known(
    entries: Sequence[Entry], embedder: Embedder | None, known: Mapping[str, Known]
) -> int:
    """Return how many photos need no network any more."""
    answers = [known.get(entry.photo.sha256) for entry in entries]
    return sum(
        answer is not None and (embedder is None or answer.embeddings is not None)
        for answer in answers
    )


def _in_batches(looks: Sequence[_Seen]) -> Iterable[Sequence[_Seen]]:
    return (looks[start : start + BATCH] for start in range(0, len(looks), BATCH))


def _annotate(detector: AnnotationDetector, looks: Iterable[_Seen]) -> None:
    """Take the detections of every photo from the annotations."""
    for look in looks:

        def verb(photo: Photo = look.photo) -> Detections:
            answer = detector.annotate(photo)
            check_detections(detector, [answer], 1)
            return answer

        try:
            look.detections = ask("detector", detector, None, verb)
        except (StageError, PhotoError) as error:
            look.fail("detector", f"{detector.name}: {error.reason}")
