"""Small stages for tests of several people: each a square of a colour of their own."""

from typing import ClassVar

import numpy as np
import torch
from PIL import Image

from alignimation_core import Detections, Detector, Embedder, hookimpl

RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)
CELL = 40


class Squares(Detector):
    """The coloured square in each cell of a photo."""

    name: ClassVar[str] = "squares"

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in ("a", "b", "c"))})

    def detect(self, images):
        return [self._squares(image.float().amax(0) > 100) for image in images]

    @staticmethod
    def _squares(bright):
        boxes = []
        for left in range(0, bright.shape[1], CELL):
            y, x = bright[:, left : left + CELL].nonzero().unbind(1)
            if len(x):
                extent = [x.min() + left, y.min(), x.max() + left + 1, y.max() + 1]
                boxes.append([float(side) for side in extent])
        boxes = torch.tensor(boxes[::-1]).reshape(-1, 4)
        corners = boxes[:, [0, 1, 2, 1, 0, 3]].reshape(-1, 3, 2)
        return Detections(boxes, torch.ones(len(boxes)), corners, keypoint_names=("a", "b", "c"))


class Colours(Embedder):
    """The mean colour."""

    name: ClassVar[str] = "colours"
    same_above: ClassVar[float] = 0.9

    def embed(self, images, detections):
        return [
            torch.stack([self._colour(image, box) for box in found.boxes.int().tolist()])
            if len(found)
            else torch.zeros(0, 3)
            for image, found in zip(images, detections, strict=True)
        ]

    @staticmethod
    def _colour(image, box):
        x0, y0, x1, y1 = box
        mean = image[:, y0:y1, x0:x1].float().mean((1, 2))
        return mean / mean.norm()


def paint(path, *colours, seed=0):
    """Paint a photo: a square of about each colour, from left to right, None for none."""
    shades = np.random.default_rng(seed)
    pixels = np.zeros((CELL, CELL * max(1, len(colours)), 3), np.uint8)
    for i, colour in enumerate(colours):
        if colour is not None:
            pixels[8:28, i * CELL + 10 : i * CELL + 30] = colour + shades.integers(-5, 5, 3)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


@hookimpl
def alignimation_detectors():
    return [Squares]


@hookimpl
def alignimation_embedders():
    return [Colours]
