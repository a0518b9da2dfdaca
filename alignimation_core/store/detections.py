"""Cache of detections and embeddings, by photo."""

from __future__ import annotations

import json
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from alignimation_core.api.data import Damage, Detections
from alignimation_core.api.mask import Mask
from alignimation_core.store.codec import encode, join, pack, split, unpack
from alignimation_core.store.database import Database

MASK = struct.Struct("<2I9d")
"""Height, width and ``image_from_mask`` of a mask, before its data."""

DAMAGE = "damage"
"""Kind of what is wrong with files, by photo; of most files nothing is, and nothing is kept."""


class Known(NamedTuple):
    """What the stages said of one photo.

    Attributes:
        detections: in the full-size upright photo's continuous pixels.
        embeddings: (N, D) float32; None when there is no embedder, or it has not answered yet.
        damage: what is wrong with the file that they were found in; None where nothing is.
        measures: (N, 3) float32, see ``quality.measure``; None where they were not taken.
    """

    detections: Detections
    embeddings: Tensor | None = None
    damage: Damage | None = None
    measures: Tensor | None = None


class Kinds(NamedTuple):
    """Kinds of the values of a photo; ``embeddings`` is None where these are not kept."""

    detections: str
    measures: str
    embeddings: str | None


def keep(file: Database, known: Mapping[str, Known], kinds: Kinds) -> None:
    """Store what is known of photos in one transaction.

    Args:
        file: the store's file.
        known: by the photo's ``content``.
        kinds: of the values.
    """
    rows: list[tuple[str, str, bytes]] = []
    for photo, (seen, vectors, damage, measures) in known.items():
        value = _encode(seen)
        if damage is not None:
            rows.append((DAMAGE, photo, json.dumps([damage.reason, damage.lost]).encode()))
        rows.append((kinds.detections, photo, value))
        for kind, table in ((kinds.embeddings, vectors), (kinds.measures, measures)):
            if kind is not None and table is not None:
                rows.append((kind, _key(photo, value), encode(table.shape[1], pack(table))))
    file.keep(rows)


def recall(file: Database, photos: Iterable[str], kinds: Kinds) -> dict[str, Known]:
    """Return what is known of photos; see ``keep``."""
    photo_of: dict[str, str] = {}
    seen = file.recall(kinds.detections, photos, lambda rows: _detections(rows, photo_of))
    damaged = file.recall(DAMAGE, seen, _damage)

    def tables(kind: str) -> dict[str, Tensor]:
        return file.recall(kind, photo_of, lambda rows: _tables(rows, photo_of, seen))

    measures = tables(kinds.measures)
    vectors = {} if kinds.embeddings is None else tables(kinds.embeddings)
    alone = kinds.embeddings is not None  # those of whose embeddings are still to come
    return {
        photo: Known(
            _copy(each) if alone and photo not in vectors else each,
            vectors.get(photo),
            damaged.get(photo),
            measures.get(photo),
        )
        for photo, each in seen.items()
    }


def _damage(rows: Iterator[tuple[str, bytes]]) -> dict[str, Damage]:
    told = ((photo, json.loads(value)) for photo, value in rows)
    return {photo: Damage(reason, tuple(map(tuple, lost))) for photo, (reason, lost) in told}


def _key(photo: str, detections: bytes) -> str:
    """Return the key of what belongs to these very detections.

    Of two runs at once, on two devices, the detections may differ in a last bit: then embeddings of
    the one's are not those of the other's.
    """
    return f"{photo} {zlib.crc32(detections):08x}"


def _encode(seen: Detections) -> bytes:
    tables = seen.boxes, seen.scores, seen.keypoints, seen.keypoint_scores
    arrays = [b"" if table is None else pack(table) for table in tables]
    masks = [
        b""
        if mask is None
        else MASK.pack(mask.height, mask.width, *(x for row in mask.image_from_mask for x in row))
        + mask.data
        for mask in seen.masks or ()
    ]
    there = (part is not None for part in (*tables[2:], seen.masks))
    return encode([seen.keypoint_names, *there, seen.turn], *arrays, join(masks))


def _detections(
    rows: Iterator[tuple[str, bytes]], photo_of: dict[str, str]
) -> dict[str, Detections]:
    """Return detections by photo; enter the photos by the keys of their embeddings."""
    alike: dict[bytes, dict[str, tuple[bytes, ...]]] = {}
    for photo, value in rows:
        parts = split(value)
        alike.setdefault(parts[0], {})[photo] = parts
        photo_of[_key(photo, value)] = photo
    return {
        photo: seen
        for header, some in alike.items()
        for photo, seen in zip(some, _unpack(json.loads(header), some.values()), strict=True)
    }


def _unpack(header: Sequence[Any], rows: Iterable[Sequence[bytes]]) -> list[Detections]:
    """Return the detections of photos that have the same header."""
    names, has_keypoints, has_keypoint_scores, has_masks, turn = header
    _, boxes, scores, keypoints, keypoint_scores, masks = zip(*rows, strict=True)
    counts = [len(column) // 4 for column in scores]
    found, points = sum(counts), len(names)

    def table(column: Sequence[bytes], *shape: int) -> Tensor:
        return unpack(bytearray().join(column)).reshape(shape)

    every = Detections(
        table(boxes, found, 4),
        table(scores, found),
        table(keypoints, found, points, 2) if has_keypoints else None,
        table(keypoint_scores, found, points) if has_keypoint_scores else None,
        tuple(names),
        tuple(_mask(each) for joined in masks for each in split(joined)) if has_masks else None,
        turn,
    )
    return every.split(counts)


def _mask(value: bytes) -> Mask | None:
    if not value:
        return None
    height, width, *matrix = MASK.unpack_from(value)
    rows = tuple(zip(*[iter(matrix)] * 3, strict=True))
    return Mask(value[MASK.size :], height, width, rows)


def _tables(
    rows: Iterator[tuple[str, bytes]], photo_of: Mapping[str, str], seen: Mapping[str, Detections]
) -> dict[str, Tensor]:
    """Return tables of a row a detection, by photo; those of one width lie in one block."""
    blocks = defaultdict[bytes, tuple[list[str], bytearray]](lambda: ([], bytearray()))
    for key, value in rows:
        length, numbers = split(value)
        photos, block = blocks[length]
        photos.append(photo_of[key])
        block += numbers  # a row at a time: twice all of them is a lot of memory
    each: dict[str, Tensor] = {}
    for length, (photos, block) in blocks.items():
        counts = [len(seen[photo]) for photo in photos]
        joined = unpack(block).reshape(sum(counts), int(length))
        each.update(zip(photos, torch.split(joined, counts), strict=True))
    return each


def _copy(seen: Detections) -> Detections:
    """Return detections whose tensors are not parts of larger ones, to be pickled small."""
    tensors: dict[str, Any] = {
        name: value.clone()
        for name in ("boxes", "scores", "keypoints", "keypoint_scores")
        if (value := getattr(seen, name)) is not None
    }
    return replace(seen, **tensors)
