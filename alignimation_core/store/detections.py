"""Detections and embeddings as rows of the store's file."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alignimation_core.api.data import Detections
from alignimation_core.api.mask import Mask
from alignimation_core.store.database import DamageError, Database, checksum

Row = Sequence[Any]


class Known(NamedTuple):
    """What the stages said of one photo.

    Attributes:
        detections: in the full-size upright photo's continuous pixels.
        embeddings: (N, D) float32; None when there is no embedder, or it has not answered yet.
    """

    detections: Detections
    embeddings: Tensor | None = None


class _Table(NamedTuple):
    """Embeddings of one length: photos, their answers' ids, how many each, and all numbers."""

    photos: list[str]
    answers: list[int]
    counts: list[int]
    numbers: bytearray


class Answers:
    """What one detector and, if any, one embedder said of every photo.

    Args:
        file: the store's file.
        detector: digest of the detector's fingerprint.
        embedder: of the embedder's; None without one, or when its answers are not kept.
    """

    def __init__(self, file: Database, detector: str, embedder: str | None) -> None:
        self._file, self._detector, self._embedder = file, detector, embedder

    def recall(self, photos: Iterable[str]) -> dict[str, Known]:
        """Return what is known of photos; those of which nothing is known are left out.

        Raises:
            DamageError: a row is not what was written.
        """
        wanted = set(photos)
        seen = self._detections(wanted)
        if self._embedder is None:
            return {photo: Known(detections) for photo, detections in seen.items()}
        vectors = self._embeddings(wanted)
        return {
            photo: Known(detections, vectors[photo])
            if photo in vectors
            else Known(_separate(detections))
            for photo, detections in seen.items()
        }

    def keep(self, known: Mapping[str, Known]) -> None:
        """Write answers; those that are there already stay."""
        run = self._file.next_run()
        for photo, (seen, vectors) in known.items():
            ours = self._write_detections(photo, run, seen)
            if ours and self._embedder is not None and vectors is not None:
                row = (vectors.shape[1], _packed(vectors))
                crc32 = checksum(len(vectors), *row)
                number = self._insert(photo, self._embedder, len(vectors), run, crc32)
                if number is not None:
                    self._file.execute("INSERT INTO embeddings VALUES (?, ?, ?)", (number, *row))

    def _detections(self, wanted: set[str]) -> dict[str, Detections]:
        rows = self._file.execute(
            "SELECT photo, id, found, crc32, boxes, scores, keypoint_names, keypoints, "
            "keypoint_scores, has_masks FROM answers LEFT JOIN detections ON answer = id "
            "WHERE stage = ?",
            (self._detector,),
        )
        found = [row for row in rows if row[0] in wanted]
        masks = self._masks() if any(row[-1] for row in found) else {}
        if any(_checksum(row, masks.get(row[1], ())) != row[3] for row in found):
            raise DamageError
        self._file.mark("answers", (row[1] for row in found))
        return {
            photo: detections
            for _, alike in groupby(sorted(found, key=_kind), _kind)
            for photo, detections in _unpacked_detections(list(alike), masks)
        }

    def _masks(self) -> dict[int, list[Row]]:
        masks: dict[int, list[Row]] = {}
        for answer, *row in self._file.execute(
            "SELECT answer, place, height, width, image_from_mask, data FROM masks "
            "JOIN answers ON id = answer WHERE stage = ? ORDER BY answer, place",
            (self._detector,),
        ):
            masks.setdefault(answer, []).append(row)
        return masks

    def _embeddings(self, wanted: set[str]) -> dict[str, Tensor]:
        tables: dict[int, _Table] = {}
        for photo, answer, found, crc32, length, vectors in self._file.execute(
            "SELECT photo, id, found, crc32, length, vectors FROM answers "
            "LEFT JOIN embeddings ON answer = id WHERE stage = ?",
            (self._embedder,),
        ):
            if photo not in wanted:
                continue
            if vectors is None or checksum(found, length, vectors) != crc32:
                raise DamageError
            table = tables.setdefault(length, _Table([], [], [], bytearray()))
            table.photos.append(photo)
            table.answers.append(answer)
            table.counts.append(found)
            table.numbers.extend(vectors)  # a row at a time: twice all of them is a lot of memory
        each: dict[str, Tensor] = {}
        for length, table in tables.items():
            self._file.mark("answers", table.answers)
            joined = _numbers(table.numbers).reshape(sum(table.counts), length)
            each.update(zip(table.photos, torch.split(joined, table.counts), strict=True))
        return each

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
        crc32 = checksum(len(seen), *row, *(part for mask in masks for part in mask))
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
        return None if row is None else row[0]


def _checksum(row: Row, masks: Sequence[Row]) -> int | None:
    """Return the checksum of detections as they are read; None where their row is gone."""
    if row[4] is None:
        return None
    return checksum(row[2], *row[4:], *chain.from_iterable(masks))


def _packed(values: Tensor) -> bytes:
    return values.numpy().astype("<f4").tobytes()


def _numbers(joined: bytearray) -> Tensor:
    """Return the float32 numbers of rows that were joined."""
    values = np.frombuffer(joined, "<f4").astype(np.float32, copy=False)
    return torch.from_numpy(values)


def _joined(blobs: Sequence[bytes]) -> Tensor:
    return _numbers(bytearray().join(blobs))


def _kind(row: Row) -> tuple[str, bool, bool, int]:
    """Return what rows have in common that are unpacked together."""
    return row[6], row[7] is None, row[8] is None, row[9]


def _unpacked_detections(
    rows: Sequence[Row], masks: Mapping[int, Sequence[Row]]
) -> Iterable[tuple[str, Detections]]:
    photos, numbers, counts, _, boxes, scores, names, keypoints, point_scores, has_masks = zip(
        *rows, strict=True
    )
    keypoint_names = tuple(json.loads(names[0]))
    found, points = sum(counts), len(keypoint_names)
    silhouettes: tuple[Mask | None, ...] | None = None
    if has_masks[0]:
        each = zip(numbers, counts, strict=True)
        silhouettes = tuple(
            mask for number, count in each for mask in _unpacked_masks(masks.get(number, ()), count)
        )
    of_all = Detections(
        _joined(boxes).reshape(found, 4),
        _joined(scores),
        None if keypoints[0] is None else _joined(keypoints).reshape(found, points, 2),
        None if point_scores[0] is None else _joined(point_scores).reshape(found, points),
        keypoint_names,
        silhouettes,
    )
    return zip(photos, of_all.split(counts), strict=True)


def _separate(seen: Detections) -> Detections:
    """Return detections whose tensors are not parts of larger ones, to travel light."""
    return replace(
        seen,
        boxes=seen.boxes.clone(),
        scores=seen.scores.clone(),
        keypoints=None if seen.keypoints is None else seen.keypoints.clone(),
        keypoint_scores=None if seen.keypoint_scores is None else seen.keypoint_scores.clone(),
    )


def _packed_matrix(mask: Mask) -> bytes:
    return struct.pack("<9d", *(value for row in mask.image_from_mask for value in row))


def _unpacked_masks(rows: Sequence[Row], count: int) -> tuple[Mask | None, ...]:
    masks: list[Mask | None] = [None] * count
    for place, height, width, matrix, data in rows:
        values = struct.unpack("<9d", matrix)
        masks[place] = Mask(data, height, width, (values[:3], values[3:6], values[6:]))
    return tuple(masks)
