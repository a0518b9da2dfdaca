"""What was computed, kept in one SQLite file: see docs/store.md."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import PIL

from alignimation_core.api.data import Photo
from alignimation_core.api.stages import Detector, Embedder, TargetBuilder, TransformModel
from alignimation_core.output.folder import HIDDEN
from alignimation_core.photos import decoder, image_file, metadata
from alignimation_core.plugin.fingerprint import digest, fingerprint
from alignimation_core.store.database import DamageError, Database, checksum
from alignimation_core.store.detections import Answers, Known
from alignimation_core.store.fits import Fits, NoFits, StoredFits

__all__ = ["KEPT_RUNS", "Facts", "Known", "Store", "open_store"]

KEPT_RUNS = 10
SETTLED = 2.0
"""Seconds since a file's last change from which another change shows in its times."""


class Facts(NamedTuple):
    """What ``Photo`` says of a file beside its names.

    Attributes:
        sha256: hex digest of the file's bytes.
        height: pixels, upright.
        width: pixels, upright.
        taken: local time at which it was taken.
        taken_from: ``exif``, ``name`` or ``file``.
    """

    sha256: str
    height: int
    width: int
    taken: datetime
    taken_from: str

    @classmethod
    def of(cls, photo: Photo) -> Facts:
        """Return a photo's facts."""
        return cls(photo.sha256, photo.height, photo.width, photo.taken, photo.taken_from)


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
    """The store of one output folder, opened for the stages of one recipe.

    Several runs may use it at once. A damaged store is set aside, and made anew.

    Args:
        folder: the output folder; it exists.
        detector: the detector's fingerprint; None when its answers are not kept.
        embedder: the embedder's; None without one, or when its answers are not kept.
        note: takes one line for the user.
        builder: the target builder's fingerprint; None when its sketches are not kept.
        model: the transform model's; None when its fits are not kept.
        fresh: forget everything first.

    Raises:
        OutputError: from here and from every method: the store cannot be read or written, or was
            written by a newer version.
    """

    fits: Fits
    """Sketches of targets and fitted transforms, for ``alignment.align``."""

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
        self._stages = [text for text in (detector, embedder) if text is not None]
        self._file = Database(folder / HIDDEN / "store.sqlite3", note)
        self._answers: Answers | None = None
        if detector is not None:
            of_embedder = None if embedder is None else digest(embedder)
            self._answers = Answers(self._file, digest(detector), of_embedder)
        self.fits = NoFits()
        if builder is not None:
            of_model = None if model is None else (model, digest(model))
            self.fits = StoredFits(self._file, (builder, digest(builder)), of_model)
        if fresh:
            try:
                self._file.safely(self._file.empty)
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def recall_facts(self, stamps: Mapping[str, str]) -> dict[str, Facts]:
        """Return the facts of files that are as they were when their facts were kept.

        Args:
            stamps: what tells whether a file has changed, by its absolute path or address.
        """
        reader = _reader()

        def verb() -> dict[str, Facts]:
            rows = self._file.execute(
                "SELECT id, crc32, path, stamp, sha256, height, width, taken, taken_from "
                "FROM files WHERE reader = ?",
                (reader,),
            )
            found = [row for row in rows if stamps.get(_path(row[2])) == row[3]]
            if any(_of_file(*row[2:]) != row[1] for row in found):
                raise DamageError
            self._file.mark("files", (row[0] for row in found))
            parsed = datetime.fromisoformat
            return {
                _path(path): Facts(sha256, height, width, parsed(taken), source)
                for _, _, path, _, sha256, height, width, taken, source in found
            }

        return self._file.safely(verb)

    def keep_facts(self, facts: Mapping[str, tuple[str, Facts]], stamped: float) -> None:
        """Store the facts of files, in place of earlier ones of the same files.

        A file that was changed less than two seconds before its stamp was taken, or after, is left
        out: it may change again without a change of its stamp.

        Args:
            facts: the stamp, taken before the facts were read, and the facts, by path.
            stamped: ``time.time()`` when the first of the stamps was taken.
        """
        reader = _reader()
        rows = [
            (_column(path), stamp, *known[:3], known.taken.isoformat(), known.taken_from)
            for path, (stamp, known) in facts.items()
            if _changed(path) <= stamped - SETTLED
        ]

        def verb() -> None:
            with self._file.transaction():
                run = self._file.next_run()
                self._file.execute_many(
                    "INSERT OR REPLACE INTO files (path, stamp, sha256, height, width, taken, "
                    "taken_from, reader, used, crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    ((*row, reader, run, _of_file(*row)) for row in rows),
                )

        if rows:
            self._file.safely(verb)

    def recall(self, photos: Iterable[str]) -> dict[str, Known]:
        """Return what detector and embedder said.

        Args:
            photos: SHA-256 of each photo's file, hex.

        Returns:
            By photo; those of which nothing is known are left out.
        """
        answers = self._answers
        return {} if answers is None else self._file.safely(lambda: answers.recall(photos))

    def keep(self, known: Mapping[str, Known]) -> None:
        """Store what was found, all of it or, where that fails, nothing; known answers stay.

        Args:
            known: by SHA-256 of the photo's file.
        """
        answers = self._answers
        if not known or answers is None:
            return

        def verb() -> None:
            with self._file.transaction():
                for text in self._stages:
                    self._file.describe(text, digest(text))
                answers.keep(known)

        self._file.safely(verb)

    def finish(self) -> None:
        """Count a whole run, and drop what none of the last ten has used."""

        def verb() -> None:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._file.count_run(now, KEPT_RUNS)

        self._file.safely(verb)


def _reader() -> str:
    """Return what facts depend on beside the file: code that reads them, and the time zone."""
    code = b"".join(
        Path(str(module.__file__)).read_bytes() for module in (decoder, image_file, metadata)
    )
    zone = f"Pillow {PIL.__version__}, {time.tzname}, {time.timezone}"
    return hashlib.sha256(code + zone.encode()).hexdigest()


def _changed(path: str) -> float:
    """Return when a file's bytes were last changed; for an address, long ago."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return 0.0
    return status.st_ctime if os.name == "posix" else status.st_mtime


def _of_file(path: str | bytes, stamp: str, sha256: str, *columns: object) -> int:
    """Return the checksum of a file's columns."""
    height, width, taken, taken_from = columns
    return checksum(f"{path!r} {stamp} {sha256} {height} {width} {taken} {taken_from}".encode())


def _column(path: str) -> str | bytes:
    """Return a path as SQLite takes it: bytes where its name is no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _path(column: str | bytes) -> str:
    return os.fsdecode(column) if isinstance(column, bytes) else column
