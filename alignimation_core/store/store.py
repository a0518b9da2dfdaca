"""Cache of everything that is expensive to compute, in one SQLite file: see docs/store.md."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from alignimation_core.api.data import Photo
from alignimation_core.api.stages import Detector, Embedder, TargetBuilder, TransformModel
from alignimation_core.plugin.fingerprint import digest, fingerprint
from alignimation_core.store import detections
from alignimation_core.store.codec import parsed
from alignimation_core.store.database import HIDDEN, Database
from alignimation_core.store.detections import Known
from alignimation_core.store.fits import Fits

__all__ = ["KEPT_RUNS", "Facts", "Known", "Store", "open_store"]

KEPT_RUNS = 10
SETTLED = 2.0
"""Seconds since a file's last change from which another change shows in its times."""


class Facts(NamedTuple):
    """What ``Photo`` says of a file beside its names."""

    sha256: str
    height: int
    width: int
    taken: datetime
    taken_from: str
    taken_zone: str | None = None
    modified: datetime | None = None

    @classmethod
    def of(cls, photo: Photo) -> Facts:
        """Return a photo's facts."""
        return cls(
            photo.sha256,
            photo.height,
            photo.width,
            photo.taken,
            photo.taken_from,
            photo.taken_zone,
            photo.modified,
        )


def open_store(
    folder: Path,
    detector: Detector,
    embedder: Embedder | None,
    note: Callable[[str], None],
    *,
    builder: TargetBuilder | None = None,
    model: TransformModel | None = None,
    fresh: bool = False,
) -> Store:
    """Open the store of an output folder for the stages of a recipe; see ``Store``.

    The answers of a stage whose fingerprint is None, and of those that stand on it, are not kept.
    """
    of_detector = fingerprint("detector", detector)
    of_embedder = of_builder = of_model = None
    if embedder is not None and of_detector is not None:
        of_embedder = fingerprint("embedder", embedder, of_detector)
    if builder is not None:
        of_builder = fingerprint("target_builder", builder)
    if model is not None and of_builder is not None:
        of_model = fingerprint("transform_model", model, of_builder)
    return Store(
        folder, of_detector, of_embedder, note, builder=of_builder, model=of_model, fresh=fresh
    )


class Store:
    """The store of one output folder, which exists, opened for the stages of one recipe.

    Several runs may use it at once. A damaged store is set aside, and made anew; ``note`` takes a
    line on it. Stages are given as fingerprints; what a stage computes is not kept without one.
    ``fits`` keeps summaries of targets and fitted transforms. ``fresh`` forgets everything first.

    Raises:
        OutputError: from here and from every method: the store cannot be read or written, or was
            written by a newer version.
    """

    fits: Fits

    def __init__(
        self,
        folder: Path,
        detector: str | None,
        embedder: str | None,
        note: Callable[[str], None],
        *,
        builder: str | None = None,
        model: str | None = None,
        fresh: bool = False,
    ) -> None:
        self._stages = [text for text in (detector, embedder, builder, model) if text is not None]
        self._kinds = detector and detections.Kinds(
            _kind("detections", detector),
            _kind("measures", detector),
            embedder and _kind("embeddings", embedder),
        )
        self._file = Database(folder / HIDDEN / "store.sqlite3", note)
        self.fits = Fits()
        if builder is not None:
            of_model = model and _kind("fits", model)
            self.fits = Fits(self._file, _kind("summaries", builder), of_model)
        if fresh:
            self._file.empty()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def recall_facts(self, reader: str, stamps: Mapping[str, str]) -> dict[str, Facts]:
        """Return the facts of files whose ``stamps``, by path, are as they were when kept.

        ``reader`` is what facts depend on beside the file.
        """

        def decode(rows: Iterable[tuple[str, bytes]]) -> dict[str, Facts]:
            kept = dict(rows)
            known = zip(kept, parsed(kept.values()), strict=True)
            return {
                path: Facts(
                    sha256,
                    height,
                    width,
                    datetime.fromisoformat(taken),
                    origin,
                    zone,
                    modified and datetime.fromisoformat(modified),
                )
                for path, (stamp, sha256, height, width, taken, origin, zone, modified) in known
                if stamp == stamps[path]
            }

        return self._file.recall(_kind("facts", reader), stamps, decode)

    def keep_facts(
        self, reader: str, facts: Mapping[str, tuple[str, Facts]], stamped: float
    ) -> None:
        """Store the facts of files, in place of earlier ones of the same files.

        A file that was changed less than two seconds before its stamp was taken, or after, is left
        out: it may change again without a change of its stamp. Stamps were taken from
        ``stamped`` on, by ``time.time()``, before the facts were read.
        """
        kind = _kind("facts", reader)
        rows = (
            (kind, path, json.dumps([stamp, *known], default=datetime.isoformat).encode())
            for path, (stamp, known) in facts.items()
            if _changed(path) <= stamped - SETTLED
        )
        self._file.keep(rows, replace=True)

    def recall(self, photos: Iterable[str]) -> dict[str, Known]:
        """Return what detector and embedder found, by the photos' ``content``, if known."""
        return detections.recall(self._file, photos, self._kinds) if self._kinds else {}

    def keep(self, known: Mapping[str, Known]) -> None:
        """Store what was found, all of it or, where that fails, nothing; what is known stays."""
        if self._kinds:
            detections.keep(self._file, known, self._kinds)

    def recall_hashes(self, hasher: str, photos: Iterable[str]) -> dict[str, int]:
        """Return the perceptual hashes of pictures, by SHA-256 of the photos' files, if known.

        ``hasher`` is what they depend on beside the file.
        """

        def decode(rows: Iterable[tuple[str, bytes]]) -> dict[str, int]:
            return {photo: int.from_bytes(value, "little") for photo, value in rows}

        return self._file.recall(_kind("hashes", hasher), photos, decode)

    def keep_hashes(self, hasher: str, hashes: Mapping[str, int]) -> None:
        """Store perceptual hashes of 256 bits, by SHA-256 of the photos' files."""
        kind = _kind("hashes", hasher)
        self._file.keep(
            (kind, sha256, value.to_bytes(32, "little")) for sha256, value in hashes.items()
        )

    def finish(self) -> None:
        """Count a whole run, and drop what none of the last ten has used."""
        self._file.keep(("stage", digest(text)[:16], text.encode()) for text in self._stages)
        self._file.finish(KEPT_RUNS)


def _kind(word: str, fingerprint: str) -> str:
    """Return the kind of values that depend on a fingerprint beside their keys."""
    return f"{word} {digest(fingerprint)[:16]}"


def _changed(path: str) -> float:
    """Return when a file's bytes were last changed; for an address, long ago."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return 0.0
    return status.st_ctime if os.name == "posix" else status.st_mtime
