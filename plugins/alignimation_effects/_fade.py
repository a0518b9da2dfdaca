"""Frames between two photos: a fade in linear light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from alignimation_core import Frame
from alignimation_effects._light import Light, light_of, pixels_of


def light(frame: Frame) -> Light:
    """Return the linear light of a frame, (h, w, 3 or 4)."""
    return light_of(frame.image.permute(1, 2, 0).numpy())


def image_of(mixed: Light) -> Tensor:
    """Return the frame of linear light, (3 or 4, h, w) uint8."""
    return torch.from_numpy(pixels_of(mixed)).permute(2, 0, 1)


def mix(first: Light, second: Light, share: float) -> Light:
    """Return light of which so much is the second's."""
    mixed: Light = second - first
    mixed *= np.float32(share)
    mixed += first
    return mixed


def faded(first: Frame, second: Frame, shares: Sequence[float]) -> Iterator[Tensor]:
    """Yield the frames between two, each with so much of the second."""
    if not shares:
        return
    begin, end = light(first), light(second)
    for share in shares:
        yield image_of(mix(begin, end, share))
