"""Reading of COCO JSON files: validated annotations of one category."""

from __future__ import annotations

import difflib
import json
from collections import defaultdict
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

    @property
    def path(self) -> PurePosixPath:
        """The file name, which tools on Windows write with backslashes."""
        return PurePosixPath(self.file_name.replace("\\", "/"))


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object, in the annotated image's continuous pixels.

    ``label`` is its file and id, for messages; ``box`` is ``x0, y0, x1, y1``; ``segmentation`` is
    checked polygons (list) or run lengths (dict); ``keypoints`` are ``x, y, score`` of each.
    """

    label: str
    image_id: int
    box: tuple[float, float, float, float] | None
    score: float
    segmentation: list[list[float]] | dict[str, Any] | None
    keypoints: tuple[tuple[float, float, float], ...] | None
    crowd: bool


@dataclass(frozen=True, slots=True)
class Annotations:
    """All annotations of one category, and images by their id.

    ``keypoint_names`` is empty where no annotation has keypoints; ``masks`` tells whether any has
    a segmentation.
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
    found: dict[int, Annotation] = field(default_factory=dict)
    categories: set[str] = field(default_factory=set)
    kinds: set[int] = field(default_factory=set)
    names: tuple[str, ...] = ()


def read(files: Sequence[Path], category: str, *, include_crowd: bool) -> Annotations:
    """Read, validate and join COCO files."""
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
    every = [_boxed(one) for one in joined.found.values()]
    kept = [one for one in every if include_crowd or not one.crowd]
    by_name, of_picture = defaultdict(list), defaultdict(list)
    for image_id, picture in joined.pictures.items():
        by_name[picture.path.name].append(image_id)
    for one in kept:
        of_picture[one.image_id].append(one)
    return Annotations(
        pictures=joined.pictures,
        by_name=by_name,
        of_picture=of_picture,
        keypoint_names=joined.names if any(one.keypoints for one in kept) else (),
        masks=any(one.segmentation is not None for one in kept),
    )


def _boxed(one: Annotation) -> Annotation:
    """Return an annotation with a box, which networks of keypoints leave out."""
    if one.box is not None or one.segmentation is not None:
        return one
    xs, ys = ([p[axis] for p in one.keypoints or () if p[2] > 0] for axis in (0, 1))
    if not xs or min(xs) == max(xs) or min(ys) == max(ys):
        raise ValueError(f"{one.label} has neither `bbox` nor `segmentation`")
    return replace(one, box=(min(xs), min(ys), max(xs), max(ys)))


def _join(joined: _Joined, path: Path) -> None:
    data = _load(path)
    if isinstance(data, list):
        _join_results(joined, path, data)
        return
    for image in data["images"]:
        _join_picture(joined, path, image)
    kinds: set[int] = set()
    for entry in data["categories"]:
        joined.categories.add(get(entry, "name", str, f"{path}: a category"))
        if entry["name"] == joined.category:
            kinds.add(get(entry, "id", int, f"{path}: category {joined.category!r}"))
            _join_names(joined, path, entry.get("keypoints"))
    joined.kinds |= kinds
    mine: dict[int, Annotation | None] = {}
    for position, entry in enumerate(data["annotations"]):
        number = get(entry, "id", int, f"{path}: annotations[{position}]")
        label = f"{path}: annotation {number}"
        if number in mine:
            raise ValueError(f"{label} is there twice; give each its own `id`")
        ours = bool(kinds) and get(entry, "category_id", int, label) in kinds
        mine[number] = _annotation(joined, entry, label) if ours else None
    for number, annotation in _centred(mine).items():
        before = joined.found.setdefault(number, annotation)
        if before.image_id != annotation.image_id:
            raise ValueError(
                f"{annotation.label} is of image {annotation.image_id}, but in {before.label} it "
                f"is of image {before.image_id}: files are joined by their ids, so these must agree"
            )
        if before is not annotation:
            joined.found[number] = _merged(before, annotation)


def _join_results(joined: _Joined, path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Join a list of results, which networks write: without images, categories and ids."""
    if not joined.pictures:
        raise ValueError(
            f"{path}: is a list of results, which names no photos; list the file with their "
            "`images` and `categories` before it, such as `file: [images.json, results.json]`"
        )
    mine: dict[int, Annotation | None] = {}
    for position, entry in enumerate(rows):
        label = f"{path}: result {position}"
        if get(entry, "category_id", int, label) in joined.kinds:
            mine[-len(joined.found) - position - 1] = _annotation(joined, entry, label)
    joined.found |= _centred(mine)


def _merged(one: Annotation, other: Annotation) -> Annotation:
    return replace(
        one,
        box=one.box or other.box,
        score=min(one.score, other.score),
        segmentation=one.segmentation or other.segmentation,
        keypoints=one.keypoints or other.keypoints,
        crowd=one.crowd or other.crowd,
    )


def _load(path: Path) -> dict[str, list[dict[str, Any]]] | list[dict[str, Any]]:
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from None
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return data
    parts = ("images", "categories", "annotations")
    for part in parts:
        rows = data.get(part) if isinstance(data, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ValueError(
                f"{path}: is no COCO file of annotations: it needs the lists "
                f"{', '.join(f'`{name}`' for name in parts)}, and `{part}` is none"
                f"{_conversion(data)}"
            )
    return {part: data[part] for part in parts}


def _conversion(data: object) -> str:
    """Return how to make a COCO file of that of another tool, as far as it is known."""
    keys = data.keys() if isinstance(data, dict) else ()
    inner = next(iter(data.values()), None) if isinstance(data, dict) and data else None
    if "_via_img_metadata" in keys or (isinstance(inner, dict) and "regions" in inner):
        return "; it is VIA's: there, export the annotations in COCO format"
    if {"shapes", "imagePath"} <= {*keys}:
        return "; it is labelme's: its `labelme2coco.py` makes a COCO file of the folder"
    if "people" in keys:
        return (
            "; it is OpenPose's: write each `pose_keypoints_2d` as the `keypoints` of an "
            "annotation, x, y, confidence, and its photo into `images`"
        )
    return ""


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
    image_id = get(entry, "image_id", int, label)
    if image_id not in joined.pictures:
        raise ValueError(f"{label}: there is no image with the id {image_id} in `images`")
    score = entry.get("score", 1.0)
    if not are_numbers([score]) or not 0 <= score <= 1:
        raise ValueError(f"{label}: `score` should be a number from 0 to 1, got {score!r}")
    segmentation = entry.get("segmentation") or None
    if segmentation is not None:
        picture = joined.pictures[image_id]
        check_segmentation(segmentation, (picture.height, picture.width), label)
    joined.names = joined.names or (COCO_KEYPOINTS if entry.get("keypoints") else ())
    return Annotation(
        label=label,
        image_id=image_id,
        score=float(score),
        segmentation=segmentation,
        keypoints=keypoints_in(
            entry.get("keypoints"), entry.get("keypoint_scores"), len(joined.names), label
        ),
        box=box_in(entry.get("bbox"), label),
        crowd=bool(entry.get("iscrowd", 0)),
    )


def _centred(mine: Mapping[int, Annotation | None]) -> dict[int, Annotation]:
    """Shift the keypoints of one file to pixel centres, where they are pixel indices."""
    ours = {number: one for number, one in mine.items() if one is not None}
    places = [place for one in ours.values() for place in one.keypoints or ()]
    if not all(x.is_integer() and y.is_integer() for x, y, _ in places):
        return ours
    return {
        number: replace(
            one,
            keypoints=one.keypoints and tuple((x + 0.5, y + 0.5, s) for x, y, s in one.keypoints),
        )
        for number, one in ours.items()
    }
