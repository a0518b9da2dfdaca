"""Validation of the fields of a COCO file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard, TypeVar

T = TypeVar("T", int, str)

_SCORES = {0: 0.0, 1: 0.5, 2: 1.0}
"""Score of a keypoint by COCO's visibility: not labelled, labelled but hidden, visible."""


def get(entry: Mapping[str, Any], key: str, kind: type[T], label: str) -> T:
    """Return a required field."""
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        word = "a whole number" if kind is int else "text"
        raise ValueError(f"{label}: `{key}` should be {word}, got {value!r}")
    return value


def are_numbers(values: object) -> bool:
    """Whether it is a list of finite numbers."""
    return isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )


def box_in(box: Any, label: str) -> tuple[float, float, float, float] | None:
    """Return COCO's ``x, y, width, height`` as ``x0, y0, x1, y1``; None without a box."""
    if not box:
        return None
    if not are_numbers(box) or len(box) != 4 or box[2] <= 0 or box[3] <= 0:
        raise ValueError(f"{label}: `bbox` should be x, y, width, height of some area, got {box!r}")
    x, y, width, height = box
    return float(x), float(y), float(x + width), float(y + height)


def keypoints_in(
    values: Any, scores: Any, count: int, label: str
) -> tuple[tuple[float, float, float], ...] | None:
    """Return ``x, y, score`` of each of ``count`` keypoints; None without keypoints.

    ``scores`` are confidences beside COCO's visibility, None without; in its place they have
    fractions.
    """
    if not values:
        return None
    if not are_numbers(values) or len(values) != 3 * count:
        found = len(values) if isinstance(values, list) else repr(values)
        raise ValueError(
            f"{label}: `keypoints` should be {3 * count} numbers, x, y, v of each of the "
            f"category's {count} keypoints, got {found}"
        )
    seen = values[2::3]
    if any(v not in _SCORES for v in seen):
        wrong = next((v for v in seen if not 0 <= v <= 1), None)
        if wrong is not None:
            raise ValueError(
                f"{label}: visibility in `keypoints` should be 0, 1 or 2, got {wrong!r}; "
                "confidences are from 0 to 1"
            )
        trusted = [float(v) for v in seen]
    else:
        trusted = [_SCORES[v] for v in seen]
    if scores is not None:
        if not are_numbers(scores) or len(scores) != count or any(not 0 <= s <= 1 for s in scores):
            raise ValueError(
                f"{label}: `keypoint_scores` should be {count} numbers from 0 to 1, got {scores!r}"
            )
        trusted = [float(s) if v else 0.0 for s, v in zip(scores, seen, strict=True)]
    triples = zip(values[0::3], values[1::3], trusted, strict=True)
    return tuple((float(x), float(y), score) for x, y, score in triples)


def check_segmentation(
    segmentation: object, picture_size: tuple[int | None, int | None], label: str
) -> None:
    """Validate polygons or run lengths, on which pycocotools would crash or read out of bounds."""
    if isinstance(segmentation, list):
        for i, polygon in enumerate(segmentation):
            if not are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
                found = f"{len(polygon)} of them" if isinstance(polygon, list) else repr(polygon)
                raise ValueError(
                    f"{label}: segmentation[{i}] should be a polygon, x, y of three corners or "
                    f"more as numbers, got {found}"
                )
        return
    if not isinstance(segmentation, dict):
        raise ValueError(f"{label}: `segmentation` should be polygons or run lengths")
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not _are_whole(size, 1) or len(size) != 2:
        raise ValueError(
            f"{label}: `size` of its run lengths should be height, width, got {size!r}"
        )
    if None not in picture_size and size != list(picture_size):
        raise ValueError(
            f"{label}: its run lengths are for {size[1]}x{size[0]} pixels, its image has "
            f"{picture_size[1]}x{picture_size[0]}"
        )
    runs = _run_lengths(counts) if isinstance(counts, str) else counts
    if not _are_whole(runs, 0) or sum(runs) != size[0] * size[1]:
        raise ValueError(
            f"{label}: `counts` of its run lengths should add up to {size[0]} x {size[1]} pixels"
        )


def _are_whole(values: object, least: int) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(isinstance(v, int) and v >= least for v in values)


def _run_lengths(text: str) -> list[int]:
    """Unpack COCO's compressed run lengths, which pycocotools decodes without checking their sum.

    Groups of five bits, low ones first, from character 48 on; bit 5 says that more follow, and
    from the third run on it is the difference from the one before the last.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
