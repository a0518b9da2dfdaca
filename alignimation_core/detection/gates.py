"""What the subject of each photo is like, as numbers: the values that gates limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import TypeAlias

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.data import Choice, Observation
from alignimation_core.api.sampling import row_of_each
from alignimation_core.api.stages.faces import facing_forward, of_each
from alignimation_core.api.stages.selectors import PIXELS, Gates

HEAD = {
    "left_eye": (32.0, -34.0, 0.0),
    "right_eye": (-32.0, -34.0, 0.0),
    "nose": (0.0, -1.0, 26.0),
    "mouth_left": (25.0, 36.0, 2.0),
    "mouth_right": (-25.0, 36.0, 2.0),
    "left_ear": (75.0, -18.0, -85.0),
    "right_ear": (-75.0, -18.0, -85.0),
    "jaw_8": (0.0, 78.0, 0.0),
}
"""A generic head that looks into the camera, in mm about the face's middle: to the image's right,
down, and towards the camera."""

EYES = [f"{side}_eye_{i}" for side in ("left", "right") for i in range(6)]
LIPS = [f"inner_lip_{i}" for i in range(8)]
DIGITS = 4

Values: TypeAlias = dict[str, float]
"""What gates limit, of one photo, by name."""


def held(gates: Gates, choice: Choice, values: Values) -> Choice:
    """Return a choice, or its rejection by the first gate that it misses."""
    missed = None if choice.index is None else gates.missed(values)
    if missed is None:
        return choice
    option, reason = missed
    return replace(
        choice, index=None, reason=reason, candidate=choice.index, gate=f"gates.{option}"
    )


def values(observations: Sequence[Observation], choices: Sequence[Choice]) -> list[Values]:
    """Return the values of each photo's subject, or of what was rejected in its place.

    ``yaw``, ``pitch`` and ``roll`` are degrees: the subject turned to the image's right, upwards,
    clockwise. ``size``: side in pixels of the square as large as its box. ``share``: of the photo
    that the box covers. ``border``: distance of the box from the photo's border, in such sides.
    ``facing_forward``: the smaller of the ratios, shorter to longer, of the distances from the
    nose to the eyes and to the corners of the mouth. ``eyes_open`` and ``mouth_open``: height by
    width. ``similarity``: the selector's. ``sharpness``, ``exposure`` and ``contrast``: see
    ``quality.measure``. A value that cannot be known of a photo is absent.
    """
    meant = (each.candidate if each.index is None else each.index for each in choices)
    subjects = [(place, index) for place, index in enumerate(meant) if index is not None]
    found: list[Values] = [{} for _ in choices]
    if not subjects:
        return found
    _write(found, [place for place, _ in subjects], _of_boxes(observations, subjects))
    _write(found, *_measured(observations, subjects))
    groups: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for place, index in subjects:
        detections = observations[place].detections
        if detections.keypoints is not None:
            groups.setdefault(detections.keypoint_names, []).append((place, index))
        if (similarity := choices[place].similarity) is not None:
            found[place]["similarity"] = round(similarity, DIGITS + 1)
    for names, group in groups.items():
        of_group = [observations[place].detections for place, _ in group]
        points, there = of_each(of_group, [index for _, index in group])
        table = _Points(names, points, there)
        angles = _angles(table)
        if "roll" in angles:
            turns = torch.tensor([each.turn for each in of_group])
            angles["roll"] = (angles["roll"] + turns + 180) % 360 - 180
        forward = {"facing_forward": facing_forward(names, points, there)}
        columns = angles | forward | _openings(table)
        _write(found, [place for place, _ in group], columns)
    return found


def _write(found: list[Values], places: Sequence[int], columns: dict[str, Tensor]) -> None:
    """Enter columns of numbers by photo, rounded, those that are finite."""
    for name, column in columns.items():
        rounded = (column.double() * 10**DIGITS).round() / 10**DIGITS
        for place, value in zip(places, rounded.tolist(), strict=True):
            if isfinite(value):
                found[place][name] = value


def _measured(
    observations: Sequence[Observation], subjects: Sequence[tuple[int, int]]
) -> tuple[list[int], dict[str, Tensor]]:
    """Return the photos whose pixels were measured, and what was."""
    tables, places, indices = [], [], []
    for place, index in subjects:
        if (measures := observations[place].measures) is not None:
            tables.append(measures)
            places.append(place)
            indices.append(index)
    columns = row_of_each(indices, tables)[0].unbind(1) if tables else []
    return places, dict(zip(PIXELS, columns, strict=bool(tables)))


def _of_boxes(
    observations: Sequence[Observation], subjects: Sequence[tuple[int, int]]
) -> dict[str, Tensor]:
    seen = [observations[place] for place, _ in subjects]
    indices = [index for _, index in subjects]
    (boxes,) = row_of_each(indices, [each.detections.boxes for each in seen])
    boxes = boxes.double()
    sides = geometry.table([(each.photo.width, each.photo.height) for each in seen], 2)
    width, height = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).unbind(1)
    size = (width * height).sqrt()
    nearest = torch.cat([boxes[:, :2], sides - boxes[:, 2:]], 1).amin(1)
    return {
        "size": size,
        "share": width * height / sides.prod(1),
        "border": torch.where(size > 0, nearest / size, torch.nan),
    }


class _Points:
    """Keypoints of M subjects by name: (M, K, 2) points, (M, K) whether each was found."""

    def __init__(self, names: Sequence[str], points: Tensor, there: Tensor) -> None:
        self._columns = {name: i for i, name in enumerate(names)}
        self._points, self._there = points, there

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def of(self, names: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return (M, N, 2) points and (M, N) bool of some names, all of which are known."""
        columns = [self._columns[name] for name in names]
        return self._points[:, columns], self._there[:, columns]


def _angles(table: _Points) -> dict[str, Tensor]:
    """Return the rotation of a generic head that shows it as the keypoints do.

    The camera is taken to be far: the best affine map of the head into the image, of which the
    nearest rotation is kept. The nose, and three points more, must be there.
    """
    names = [name for name in HEAD if name in table]
    if len(names) < 4 or "nose" not in names:
        return {}
    points, there = table.of(names)
    head = torch.tensor([HEAD[name] for name in names], dtype=torch.float64)
    turned = torch.full((len(points), 3), torch.nan, dtype=torch.float64)
    for row in {tuple(row) for row in there.tolist()}:
        pattern = torch.tensor(row)
        if int(pattern.sum()) < 4 or not pattern[names.index("nose")]:
            continue
        some = (there == pattern).all(1)
        centred = head[pattern] - head[pattern].mean(0)
        if int(torch.linalg.matrix_rank(centred)) < 3:
            continue
        here = points[some][:, pattern]
        affine = (torch.linalg.pinv(centred) @ (here - here.mean(1, keepdim=True))).mT
        left, _, right = torch.linalg.svd(affine, full_matrices=False)
        rows = left @ right  # (M, 2, 3)
        depth = torch.linalg.cross(rows[:, 0], rows[:, 1])
        turned[some] = torch.stack(
            [
                torch.asin(-depth[:, 0].clamp(-1, 1)),
                torch.atan2(depth[:, 1], depth[:, 2]),
                torch.atan2(rows[:, 1, 0], rows[:, 0, 0]),
            ],
            1,
        )
    return dict(zip(("yaw", "pitch", "roll"), turned.rad2deg().unbind(1), strict=True))


def _openings(table: _Points) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    if all(name in table for name in EYES):
        points, there = table.of(EYES)
        eyes = points.reshape(-1, 2, 6, 2)
        heights = (eyes[:, :, 1] - eyes[:, :, 5]).norm(dim=2)
        heights = heights + (eyes[:, :, 2] - eyes[:, :, 4]).norm(dim=2)
        ratio = heights / (2 * (eyes[:, :, 0] - eyes[:, :, 3]).norm(dim=2))
        found["eyes_open"] = torch.where(there.all(1), ratio.mean(1), torch.nan)
    if all(name in table for name in LIPS):
        points, there = table.of(LIPS)
        height = (points[:, 2] - points[:, 6]).norm(dim=1)
        ratio = height / (points[:, 0] - points[:, 4]).norm(dim=1)
        found["mouth_open"] = torch.where(there.all(1), ratio, torch.nan)
    return found
