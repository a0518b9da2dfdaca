"""Quarter turns: photos that lie on their side, and what is found in them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from alignimation_core.api.data import Detections
from alignimation_core.api.mask import Matrix

TURNS = (90, 270, 180)
"""Degrees clockwise by which a photo is turned where nothing is found in it as it is."""


def turned(image: Tensor, turn: int) -> Tensor:
    """Return a (C, h, w) picture turned clockwise by 0, 90, 180 or 270 degrees."""
    return torch.rot90(image, -turn // 90, (1, 2))


def in_turned(found: Detections, size: tuple[int, int]) -> Detections:
    """Return detections as they lie in their image of (height, width), turned by their turn."""
    return _moved(found, _turned_from_image(found.turn, size)) if found.turn else found


def in_image(found: Detections, turn: int, size: tuple[int, int]) -> Detections:
    """Return what was found in an image turned by ``turn``, in the image: (height, width)."""
    if not turn:
        return found
    back = _turned_from_image(360 - turn, size if turn == 180 else size[::-1])
    return replace(_moved(found, back), turn=turn)


def _turned_from_image(turn: int, size: tuple[int, int]) -> Matrix:
    """Return the matrix to an image of (height, width), turned clockwise."""
    height, width = map(float, size)
    across, down = {
        0: ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        90: ((0.0, -1.0, height), (1.0, 0.0, 0.0)),
        180: ((-1.0, 0.0, width), (0.0, -1.0, height)),
        270: ((0.0, 1.0, 0.0), (-1.0, 0.0, width)),
    }[turn]
    return across, down, (0.0, 0.0, 1.0)


def _moved(found: Detections, new_from_old: Matrix) -> Detections:
    matrix = found.boxes.new_tensor(new_from_old)

    def move(points: Tensor) -> Tensor:
        return points @ matrix[:2, :2].mT + matrix[:2, 2]

    corners = move(found.boxes.reshape(-1, 2, 2))
    return replace(
        found,
        boxes=torch.cat([corners.amin(1), corners.amax(1)], dim=1),
        keypoints=None if found.keypoints is None else move(found.keypoints),
        masks=None
        if found.masks is None
        else tuple(mask and mask.transformed(new_from_old) for mask in found.masks),
    )
