"""Reading of COCO JSON files: validated annotations of one category."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from alignimation_annotations._validation import (
    are_numbers,
    box_in,
    check_segmentation,
    get,
    keypoints_in,
)
from alignimation_core.api.data import COCO_KEYPOINTS


@dataclass(frozen=True, slots=True)
class Picture:
    """One annotated image; the size is None where the files do not give it."""

    file_name: str
    height: int | None
    width: int | None


def path_of(picture: Picture) -> PurePosixPath:
    """Return the file name, which tools on Windows write with backslashes."""
    return PurePosixPath(picture.file_name.replace("\\", "/"))


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object, in the annotated image's continuous pixels.

    Attributes:
        label: file and id, for messages.
        box: ``x0, y0, x1, y1``; None where the file gives none.
        score: 1 where the file gives none.
        segmentation: checked polygons (list) or run lengths (dict); None without.
        keypoints: ``x, y, score`` of each; None without.
        crowd: whether it stands for several objects.
    """

    label: str
    box: tuple[float, float, float, float] | None
    score: float
    segmentation: list[list[float]] | dict[str, Any] | None
    keypoints: tuple[tuple[float, float, float], ...] | None
    crowd: bool


@dataclass(frozen=True, slots=True)
class Annotations:
    """All annotations of one category.

    Attributes:
        pictures: by image id.
        by_name: image ids by bare file name.
        of_picture: annotations by image id.
        keypoint_names: of the category; empty where no annotation has keypoints.
        masks: whether any annotation has a segmentation.
    """

    pictures: Mapping[int, Picture]
    by_name: Mapping[str, Sequence[int]]
    of_picture: Mapping[int, Sequence[Annotation]]
    keypoint_names: tuple[str, ...]
    masks: bool


@dataclass(slots=True)
class _Joined:
    """The annotations of the files read so far."""

    category: str
    pictures: dict[int, Picture] = field(default_factory=dict)
    found: dict[int, tuple[int, Annotation]] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)
    names: tuple[str, ...] = ()


def read(files: Sequence[Path], category: str, *, include_crowd: bool) -> Annotations:
    """Read, validate and join COCO files.

    Raises:
        ValueError: one line that names the file, the annotation and what is wrong.
    """
    joined = _Joined(category)
    for path in files:
        _join(joined, path)
    if category not in joined.categories:
        known = sorted(joined.categories)
        near = difflib.get_close_matches(category, known, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        listed = ", ".join(str(path) for path in files)
        raise ValueError(
            f"{listed}: there is no category {category!r}; {hint}there are: {', '.join(known)}"
        )
    by_picture: dict[int, list[Annotation]] = {}
    for image_id, annotation in joined.found.values():
        if annotation.box is None and annotation.segmentation is None:
            raise ValueError(f"{annotation.label} has neither `bbox` nor `segmentation`")
        if include_crowd or not annotation.crowd:
            by_picture.setdefault(image_id, []).append(annotation)
    by_name: dict[str, list[int]] = {}
    for number, picture in joined.pictures.items():
        by_name.setdefault(path_of(picture).name, []).append(number)
    kept = [annotation for group in by_picture.values() for annotation in group]
    return Annotations(
        pictures=joined.pictures,
        by_name=by_name,
        of_picture=by_picture,
        keypoint_names=joined.names if any(one.keypoints for one in kept) else (),
        masks=any(annotation.segmentation is not None for annotation in kept),
    )


def _join(joined: _Joined, path: Path) -> None:
    data = _load(path)
    for image in data["images"]:
        _join_picture(joined, path, image)
    kind: int | None = None
    for entry in data["categories"]:
        joined.categories.add(get(entry, "name", str, f"{path}: a category"))
        if entry["name"] == joined.category:
            kind = get(entry, "id", int, f"{path}: category {joined.category!r}")
            _join_names(joined, path, entry.get("keypoints"))
    seen: set[int] = set()
    mine: list[tuple[int, int, Annotation]] = []
    for position, entry in enumerate(data["annotations"]):
        number = get(entry, "id", int, f"{path}: annotations[{position}]")
        label = f"{path}: annotation {number}"
        if number in seen:
            raise ValueError(f"{label} is there twice; give each its own `id`")
        seen.add(number)
        if kind is None or get(entry, "category_id", int, label) != kind:
            continue
        image_id = get(entry, "image_id", int, label)
        if image_id not in joined.pictures:
            raise ValueError(f"{label}: there is no image with the id {image_id} in `images`")
        mine.append((number, image_id, _annotation(joined, entry, label)))
    for number, image_id, annotation in _centred(mine):
        before = joined.found.get(number)
        if before is None:
            joined.found[number] = image_id, annotation
        elif before[0] != image_id:
            raise ValueError(
                f"{annotation.label} is of image {image_id}, but in {before[1].label} it is of "
                f"image {before[0]}: files are joined by their ids, so these must agree"
            )
        else:
            joined.found[number] = image_id, _merged(before[1], annotation)


def _merged(one: Annotation, other: Annotation) -> Annotation:
    return replace(
        one,
        box=one.box or other.box,
        score=min(one.score, other.score),
        segmentation=one.segmentation or other.segmentation,
        keypoints=one.keypoints or other.keypoints,
        crowd=one.crowd or other.crowd,
    )


def _load(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from None
    parts = ("images", "categories", "annotations")
    for part in parts:
        rows = data.get(part) if isinstance(data, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(
                f"{path}: is no COCO file of annotations: it needs the lists "
                f"{', '.join(f'`{name}`' for name in parts)}, and `{part}` is none"
            )
    return {part: data[part] for part in parts}


def _join_picture(joined: _Joined, path: Path, entry: Mapping[str, Any]) -> None:
    number = get(entry, "id", int, f"{path}: an image")
    label = f"{path}: image {number}"
    sides = []
    for key in ("height", "width"):
        side = None if entry.get(key) is None else get(entry, key, int, label)
        if side is not None and side < 1:
            raise ValueError(f"{label}: `{key}` should be 1 or more, got {side}")
        sides.append(side)
    picture = Picture(get(entry, "file_name", str, label), *sides)
    before = joined.pictures.setdefault(number, picture)
    if before != picture:
        raise ValueError(
            f"{label} is {picture.file_name!r} ({picture.width}x{picture.height}) and also "
            f"{before.file_name!r} ({before.width}x{before.height}); give each its own `id`"
        )


def _join_names(joined: _Joined, path: Path, names: object) -> None:
    if not names:
        return
    label = f"{path}: category {joined.category!r}"
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{label}: `keypoints` should be a list of names, got {names!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"{label}: `keypoints` names one keypoint twice")
    if joined.names and joined.names != tuple(names):
        raise ValueError(f"{label}: its `keypoints` are not those of the other files")
    joined.names = tuple(names)


def _annotation(joined: _Joined, entry: Mapping[str, Any], label: str) -> Annotation:
    score = entry.get("score", 1.0)
    if not are_numbers([score]) or not 0 <= score <= 1:
        raise ValueError(f"{label}: `score` should be a number from 0 to 1, got {score!r}")
    segmentation = entry.get("segmentation") or None
    if segmentation is not None:
        picture = joined.pictures[entry["image_id"]]
        check_segmentation(segmentation, (picture.height, picture.width), label)
    joined.names = joined.names or (COCO_KEYPOINTS if entry.get("keypoints") else ())
    keypoints = keypoints_in(entry.get("keypoints"), len(joined.names), label)
    return Annotation(
        label=label,
        box=box_in(entry.get("bbox"), label),
        score=float(score),
        segmentation=segmentation,
        keypoints=keypoints,
        crowd=bool(entry.get("iscrowd", 0)),
    )


def _centred(mine: Sequence[tuple[int, int, Annotation]]) -> list[tuple[int, int, Annotation]]:
    """Shift the keypoints of one file to pixel centres, where they are pixel indices."""
    coordinates = [at for _, _, one in mine for x, y, _ in one.keypoints or () for at in (x, y)]
    if not all(at.is_integer() for at in coordinates):
        return list(mine)
    return [
        (
            number,
            image_id,
            replace(one, keypoints=tuple((x + 0.5, y + 0.5, s) for x, y, s in one.keypoints))
            if one.keypoints
            else one,
        )
        for number, image_id, one in mine
    ]
