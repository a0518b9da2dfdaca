"""Conversion of annotations to the detections of one photo."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional

from alignimation_annotations._coco import Annotation, Annotations, Picture
from alignimation_core import Detections, Mask, Photo, PhotoError

Box = tuple[float, float, float, float]

_MASK_SIDE = 512  # cells on a grid's longest side: enough for a soft edge on a canvas of HD size
_FINEST = 8.0  # cells a pixel, at most, when drawing the polygon of a small subject


def detections_of(
    annotations: Annotations, photo: Photo, mask_cell: float | None = None
) -> Detections:
    """Return the detections of a photo in its full-size upright continuous pixels.

    Masks have cells of ``mask_cell`` pixels of the annotated image, or as fine ones as it has.
    """
    names = annotations.keypoint_names
    number = _picture_of(annotations, photo)
    if number is None or number not in annotations.of_picture:
        return Detections.empty(names, masks=annotations.masks)
    x, y = _scale(annotations.pictures[number], photo)
    boxed = [(one, one.box or _box_around(one, photo)) for one in annotations.of_picture[number]]
    boxed.sort(key=lambda pair: (-pair[0].score, -_area(pair[1])))
    found, boxes = zip(*boxed, strict=True)
    keypoints = torch.tensor(
        [one.keypoints or [(0.0, 0.0, 0.0)] * len(names) for one in found]
    ).view(len(found), len(names), 3)
    return Detections(
        boxes=torch.tensor(boxes),
        scores=torch.tensor([one.score for one in found]),
        keypoints=keypoints[..., :2] if names else None,
        keypoint_scores=keypoints[..., 2] if names else None,
        keypoint_names=names,
        masks=tuple(_mask(one.segmentation, mask_cell) for one in found)
        if annotations.masks
        else None,
    ).scaled(x, y)


def _picture_of(annotations: Annotations, photo: Photo) -> int | None:
    """Return the id of the image whose path agrees with the photo's on most of its last parts."""
    own = PurePosixPath(photo.path.as_posix()).parts

    def agreement(picture: Picture) -> int:
        parts = picture.path.parts
        pairs = zip(reversed(own), reversed(parts), strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(own), len(parts)))

    named_alike = annotations.by_name.get(photo.path.name, ())
    scores = {number: agreement(annotations.pictures[number]) for number in named_alike}
    if not scores:
        return None
    best = max(scores.values())
    fitting = [number for number, score in scores.items() if score == best]
    if len(fitting) > 1:
        names = " and ".join(annotations.pictures[number].file_name for number in fitting[:2])
        raise PhotoError(
            photo.path, f"the annotated images {names} could both be it; give their folders alike"
        )
    return fitting[0]


def _scale(picture: Picture, photo: Photo) -> tuple[float, float]:
    """Return how much larger the photo is than the annotated image, across and down."""
    if picture.height is None or picture.width is None:
        return 1.0, 1.0
    x, y = photo.width / picture.width, photo.height / picture.height
    slack = max(1.0, x, y)  # a side may have been rounded
    if abs(photo.width - y * picture.width) > slack and (
        abs(photo.height - x * picture.height) > slack
    ):
        hint = "it seems to have been cropped since"
        if math.isclose(photo.width / photo.height, picture.height / picture.width, rel_tol=0.01):
            hint = "it seems to have been annotated before turning upright"
        raise PhotoError(
            photo.path,
            f"its annotations are for {picture.width}x{picture.height} pixels, the upright photo "
            f"has {photo.width}x{photo.height}; {hint}: annotate it as it is now",
        )
    return x, y


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _box_around(one: Annotation, photo: Photo) -> Box:
    """Return the box around the segmentation."""
    if isinstance(one.segmentation, list):
        box = _extent(one.segmentation)
    else:
        x, y, width, height = _quietly(coco_mask.toBbox, _packed(one.segmentation)).tolist()
        box = x, y, x + width, y + height
    if box[2] <= box[0] or box[3] <= box[1]:
        raise PhotoError(photo.path, f"{one.label}: its segmentation has no area")
    return box


def _extent(polygons: Sequence[Sequence[float]]) -> Box:
    xs, ys = ([float(at) for polygon in polygons for at in polygon[axis::2]] for axis in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def _packed(run_lengths: Any) -> Any:
    """Return run lengths in pycocotools' compressed form."""
    if isinstance(run_lengths["counts"], str):
        return run_lengths
    return coco_mask.frPyObjects(run_lengths, *run_lengths["size"])


def _quietly(function: Any, packed: Any) -> Any:
    with warnings.catch_warnings():  # pycocotools 2.0.11 speaks to numpy 2 as to numpy 1
        warnings.simplefilter("ignore", DeprecationWarning)
        return function(packed)


def _mask(
    segmentation: list[list[float]] | dict[str, Any] | None, cell: float | None
) -> Mask | None:
    if segmentation is None:
        return None
    if isinstance(segmentation, list):
        return _mask_of_polygons(segmentation, cell)
    return _mask_of_runs(segmentation, cell)


def _mask_of_polygons(polygons: Sequence[Sequence[float]], cell: float | None) -> Mask | None:
    """Rasterise polygons on a grid over their own box, finer than the pixels where it is small."""
    x0, y0, x1, y1 = box = _extent(polygons)
    if x1 <= x0 or y1 <= y0:
        return None
    cells = min(_FINEST, _MASK_SIDE / max(x1 - x0, y1 - y0))
    height, width = (max(1, round((high - low) * cells)) for low, high in ((y0, y1), (x0, x1)))
    corner = np.array([x0, y0])
    scale = np.array([width / (x1 - x0), height / (y1 - y0)])
    moved = [
        ((np.asarray(polygon, float).reshape(-1, 2) - corner) * scale).ravel().tolist()
        for polygon in polygons
    ]
    packed = coco_mask.merge(coco_mask.frPyObjects(moved, height, width))
    drawn = torch.from_numpy(_quietly(coco_mask.decode, packed))
    return _gridded(drawn, box, cell)


def _mask_of_runs(run_lengths: Any, cell: float | None) -> Mask | None:
    """Decode run lengths, and keep the part that is not empty."""
    packed = _packed(run_lengths)
    x, y, width, height = (round(side) for side in _quietly(coco_mask.toBbox, packed))
    if width == 0 or height == 0:
        return None
    whole = torch.from_numpy(_quietly(coco_mask.decode, packed))
    part = whole[y : y + height, x : x + width]
    return _gridded(part, (x, y, x + width, y + height), cell)


def _gridded(drawn: Tensor, box: Box, cell: float | None) -> Mask:
    """Return what fills a box, (h, w) 0 or 1, on a grid as coarse as it is, and no larger one."""
    height, width = drawn.shape
    sides = box[3] - box[1], box[2] - box[0]
    most = _MASK_SIDE if cell is None else min(_MASK_SIDE, max(1.0, max(sides) / cell))
    shrink = most / max(height, width)
    if shrink >= 1:
        return Mask.of(drawn.bool(), box)
    small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    part = functional.interpolate(
        (drawn * 255)[None, None], small, mode="bilinear", antialias=True, align_corners=False
    )[0, 0]
    return Mask.of(part.float() / 255, box)
