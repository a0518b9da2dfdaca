"""What detectors and embedders answered, kept in one SQLite file: see docs/store.md."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from alignimation_core.data import Detections
from alignimation_core.database import DamageError, Database
from alignimation_core.fingerprint import digest, fingerprint
from alignimation_core.mask import Mask
from alignimation_core.stages import Detector, Embedder

KEPT_RUNS = 10


class Known(NamedTuple):
    """What the stages said of one photo.

    Attributes:
        detections: in the full-size upright photo's continuous pixels.
        embeddings: (N, D) float32; None when there is no embedder, or it has not answered yet.
    """

    detections: Detections
    embeddings: Tensor | None = None


class NoStore:
    """What stands for the store where the detector's answers are not kept."""

    def recall(self, photos: Iterable[str]) -> dict[str, Known]:  # noqa: ARG002
        """Know nothing; see ``Store.recall``."""
        return {}

    def keep(self, known: Mapping[str, Known]) -> None:
        """Keep nothing; see ``Store.keep``."""

    def finish(self) -> None:
        """Do nothing; see ``Store.finish``."""


@contextmanager
def open_store(
    folder: Path,
    detector: Detector,
    embedder: Embedder | None,
    note: Callable[[str], None],
    *,
    fresh: bool = False,
) -> Iterator[Store | NoStore]:
    """Open the store of an output folder for the stages of a recipe; see ``Store``."""
    of_detector = fingerprint("detector", detector)
    if of_detector is None:
        yield NoStore()
        return
    of_embedder = None if embedder is None else fingerprint("embedder", embedder, of_detector)
    with Store(folder, of_detector, of_embedder, note, fresh=fresh) as store:
        yield store


class Store:
    """The store of one output folder, opened for one detector and, if any, one embedder.

    Several runs may use it at once. A damaged store is set aside, and made anew.

    Args:
        folder: the output folder; it exists.
        detector: the detector's fingerprint.
        embedder: the embedder's; None without one, or when its answers are not kept.
        note: takes one line for the user.
        fresh: forget everything first.

    Raises:
        OutputError: from here and from every method: the store cannot be read or written, or was
            written by a newer version.
    """

    def __init__(
        self,
        folder: Path,
        detector: str,
        embedder: str | None,
        note: Callable[[str], None],
        *,
        fresh: bool = False,
    ) -> None:
        self._stages = {digest(text): text for text in (detector, embedder) if text is not None}
        self._detector = digest(detector)
        self._embedder = None if embedder is None else digest(embedder)
        self._used: set[int] = set()
        self._file = Database(folder / ".alignimation" / "store.sqlite3", note)
        if fresh:
            self._file.safely(self._empty)

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def recall(self, photos: Iterable[str]) -> dict[str, Known]:
        """Return what is known.

        Args:
            photos: SHA-256 of each photo's file, hex.

        Returns:
            By photo; those of which nothing is known are left out.
        """
        wanted = set(photos)

        def verb() -> dict[str, Known]:
            vectors = dict(self._embeddings(wanted))
            return {
                photo: Known(seen, vectors.get(photo)) for photo, seen in self._detections(wanted)
            }

        return self._file.safely(verb)

    def keep(self, known: Mapping[str, Known]) -> None:
        """Store what was found, all of it or, where that fails, nothing; known answers stay.

        Args:
            known: by SHA-256 of the photo's file.
        """
        if known:
            self._file.safely(lambda: self._write(known))

    def finish(self) -> None:
        """Count a whole run, and drop what none of the last ten has used."""

        def verb() -> None:
            with self._file.transaction():
                run = self._next_run()
                now = datetime.now(UTC).isoformat(timespec="seconds")
                self._file.execute("INSERT INTO runs VALUES (?, ?)", (run, now))
                self._file.execute_many(
                    "UPDATE answers SET used = ? WHERE id = ?", ((run, used) for used in self._used)
                )
                oldest = run - KEPT_RUNS
                self._file.execute("DELETE FROM answers WHERE used <= ?", (oldest,))
                self._file.execute("DELETE FROM runs WHERE number <= ?", (oldest,))
                self._file.execute(
                    "DELETE FROM stages WHERE fingerprint NOT IN (SELECT stage FROM answers)"
                )
            self._file.shrink()

        self._file.safely(verb)

    def _empty(self) -> None:
        with self._file.transaction():
            for table in ("answers", "stages", "runs"):
                self._file.execute(f"DELETE FROM {table}")  # noqa: S608
        self._file.shrink()

    def _detections(self, wanted: set[str]) -> Iterator[tuple[str, Detections]]:
        rows = self._file.execute(
            "SELECT photo, id, found, crc32, boxes, scores, keypoint_names, keypoints, "
            "keypoint_scores, has_masks FROM answers LEFT JOIN detections ON answer = id "
            "WHERE stage = ?",
            (self._detector,),
        )
        for photo, number, count, crc32, *row in rows:
            if photo in wanted:
                masks = self._masks(number) if row[-1] else []
                if _crc32(count, *row, *(part for mask in masks for part in mask)) != crc32:
                    raise DamageError
                self._used.add(number)
                yield photo, _detections_of(count, masks, *row)

    def _masks(self, number: int) -> list[tuple[Any, ...]]:
        return self._file.execute(
            "SELECT place, height, width, image_from_mask, data FROM masks "
            "WHERE answer = ? ORDER BY place",
            (number,),
        ).fetchall()

    def _embeddings(self, wanted: set[str]) -> Iterator[tuple[str, Tensor]]:
        rows = self._file.execute(
            "SELECT photo, id, found, crc32, length, vectors FROM answers "
            "LEFT JOIN embeddings ON answer = id WHERE stage = ?",
            (self._embedder,),
        )
        for photo, number, count, crc32, length, vectors in rows:
            if photo in wanted:
                if _crc32(count, length, vectors) != crc32:
                    raise DamageError
                self._used.add(number)
                yield photo, _unpacked(vectors, count, length)

    def _write(self, known: Mapping[str, Known]) -> None:
        with self._file.transaction():
            run = self._next_run()
            self._file.execute_many(
                "INSERT INTO stages VALUES (?, ?) ON CONFLICT DO NOTHING", self._stages.items()
            )
            for photo, (seen, vectors) in known.items():
                ours = self._write_detections(photo, run, seen)
                if ours and self._embedder is not None and vectors is not None:
                    row = (vectors.shape[1], _packed(vectors))
                    crc32 = _crc32(len(vectors), *row)
                    number = self._insert(photo, self._embedder, len(vectors), run, crc32)
                    if number is not None:
                        self._file.execute(
                            "INSERT INTO embeddings VALUES (?, ?, ?)", (number, *row)
                        )

    def _write_detections(self, photo: str, run: int, seen: Detections) -> bool:
        """Return whether these are the detections that are now in the store.

        Another run may have been quicker, with a last bit that differs on another device: then
        embeddings of ours must not stand beside its detections.
        """
        row = (
            _packed(seen.boxes),
            _packed(seen.scores),
            json.dumps(seen.keypoint_names, ensure_ascii=False),
            None if seen.keypoints is None else _packed(seen.keypoints),
            None if seen.keypoint_scores is None else _packed(seen.keypoint_scores),
            int(seen.masks is not None),
        )
        masks = [
            (place, mask.height, mask.width, _packed_matrix(mask), mask.data)
            for place, mask in enumerate(seen.masks or ())
            if mask is not None
        ]
        crc32 = _crc32(len(seen), *row, *(part for mask in masks for part in mask))
        number = self._insert(photo, self._detector, len(seen), run, crc32)
        if number is None:
            there = self._file.execute(
                "SELECT crc32 FROM answers WHERE photo = ? AND stage = ?", (photo, self._detector)
            ).fetchone()
            return bool(there == (crc32,))
        self._file.execute("INSERT INTO detections VALUES (?, ?, ?, ?, ?, ?, ?)", (number, *row))
        self._file.execute_many(
            "INSERT INTO masks VALUES (?, ?, ?, ?, ?, ?)", ((number, *mask) for mask in masks)
        )
        return True

    def _insert(self, photo: str, stage: str, found: int, run: int, crc32: int) -> int | None:
        """Return the new answer's id; None where there is one already."""
        row: tuple[int] | None = self._file.execute(
            "INSERT INTO answers (photo, stage, found, used, crc32) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING RETURNING id",
            (photo, stage, found, run, crc32),
        ).fetchone()
        if row is None:
            return None
        self._used.add(row[0])
        return row[0]

    def _next_run(self) -> int:
        number: int = self._file.execute(
            "SELECT coalesce(max(number), 0) + 1 FROM runs"
        ).fetchone()[0]
        return number


def _packed(values: Tensor) -> bytes:
    return values.numpy().astype("<f4").tobytes()


def _unpacked(data: bytes, *shape: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(data, "<f4").astype(np.float32).reshape(shape))


def _detections_of(
    count: int,
    masks: list[tuple[Any, ...]],
    boxes: bytes,
    scores: bytes,
    names: str,
    keypoints: bytes | None,
    keypoint_scores: bytes | None,
    has_masks: int,
) -> Detections:
    keypoint_names = tuple(json.loads(names))
    shape = count, len(keypoint_names)
    by_place = {place: _unpacked_mask(*rest) for place, *rest in masks}
    return Detections(
        boxes=_unpacked(boxes, count, 4),
        scores=_unpacked(scores, count),
        keypoints=None if keypoints is None else _unpacked(keypoints, *shape, 2),
        keypoint_scores=None if keypoint_scores is None else _unpacked(keypoint_scores, *shape),
        keypoint_names=keypoint_names,
        masks=tuple(by_place.get(place) for place in range(count)) if has_masks else None,
    )


def _packed_matrix(mask: Mask) -> bytes:
    return struct.pack("<9d", *(value for row in mask.image_from_mask for value in row))


def _unpacked_mask(height: int, width: int, matrix: bytes, data: bytes) -> Mask:
    values = struct.unpack("<9d", matrix)
    return Mask(data, height, width, (values[:3], values[3:6], values[6:]))


def _crc32(*parts: Any) -> int:
    """Return the checksum of an answer's columns, in order."""
    crc32 = 0
    for part in parts:
        crc32 = zlib.crc32(part if isinstance(part, bytes) else repr(part).encode(), crc32)
    return crc32
