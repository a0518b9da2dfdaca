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

from alignimation_annotations._coco import Annotation, Annotations, Picture, path_of
from alignimation_core import Detections, Mask, Photo, PhotoError

Box = tuple[float, float, float, float]

_MASK_SIDE = 512
"""Longest side of a mask's grid, cells: enough for a soft edge on a canvas of HD size."""

_FINEST = 8.0
"""Cells a pixel, at most, when drawing the polygon of a small subject."""


def detections_of(annotations: Annotations, photo: Photo) -> Detections:
    """Return the detections of a photo in its full-size upright continuous pixels.

    Raises:
        PhotoError: no single image of the annotations fits the photo.
    """
    names = annotations.keypoint_names
    number = _picture_of(annotations, photo)
    found = annotations.of_picture.get(number, ()) if number is not None else ()
    if number is None or not found:
        return Detections.empty(names, masks=annotations.masks)
    picture = annotations.pictures[number]
    x, y = _scale(picture, photo)
    boxes = [one.box or _box_around(one, photo) for one in found]
    order = sorted(range(len(found)), key=lambda i: (-found[i].score, -_area(boxes[i])))
    found, boxes = [found[i] for i in order], [boxes[i] for i in order]
    keypoints = torch.tensor(
        [one.keypoints or [(0.0, 0.0, 0.0)] * len(names) for one in found]
    ).view(len(found), len(names), 3)
    return Detections(
        boxes=torch.tensor(boxes),
        scores=torch.tensor([one.score for one in found]),
        keypoints=keypoints[..., :2] if names else None,
        keypoint_scores=keypoints[..., 2] if names else None,
        keypoint_names=names,
        masks=tuple(_mask(one) for one in found) if annotations.masks else None,
    ).scaled(x, y)


def _picture_of(annotations: Annotations, photo: Photo) -> int | None:
    """Return the id of the image whose path agrees with the photo's on most of its last parts."""
    own = PurePosixPath(photo.path.as_posix()).parts

    def agreement(picture: Picture) -> int:
        parts = path_of(picture).parts
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
        turned = math.isclose(
            photo.width / photo.height, picture.height / picture.width, rel_tol=0.01
        )
        hint = (
            "it seems to have been annotated before turning upright"
            if turned
            else "it seems to have been cropped since"
        )
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
        x, y, width, height = _bounds(_packed(one.segmentation))
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


def _decoded(packed: Any) -> Tensor:
    """Decode run lengths to (h, w) uint8, 0 or 1."""
    with warnings.catch_warnings():  # pycocotools 2.0.11 speaks to numpy 2 as to numpy 1
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.from_numpy(coco_mask.decode(packed))


def _bounds(packed: Any) -> list[float]:
    """Return the bounding box ``x, y, width, height`` of run lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        bounds: list[float] = coco_mask.toBbox(packed).tolist()
    return bounds


def _mask(one: Annotation) -> Mask | None:
    if one.segmentation is None:
        return None
    if isinstance(one.segmentation, list):
        return _mask_of_polygons(one.segmentation)
    return _mask_of_runs(one.segmentation)


def _mask_of_polygons(polygons: Sequence[Sequence[float]]) -> Mask | None:
    """Rasterise polygons on a grid over their own box, finer than the pixels where it is small."""
    x0, y0, x1, y1 = _extent(polygons)
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
    drawn = _decoded(coco_mask.merge(coco_mask.frPyObjects(moved, height, width)))
    return Mask.of(drawn.bool(), (x0, y0, x1, y1))


def _mask_of_runs(run_lengths: Any) -> Mask | None:
    """Decode run lengths, keep the part that is not empty, and reduce it where it is large."""
    packed = _packed(run_lengths)
    x, y, width, height = (round(side) for side in _bounds(packed))
    if width == 0 or height == 0:
        return None
    whole = _decoded(packed)
    part = whole[y : y + height, x : x + width] * 255
    shrink = _MASK_SIDE / max(width, height)
    if shrink < 1:
        small = (max(1, round(height * shrink)), max(1, round(width * shrink)))
        part = functional.interpolate(
            part[None, None], small, mode="bilinear", antialias=True, align_corners=False
        )[0, 0]
    return Mask.of(part.float() / 255, (x, y, x + width, y + height))
