"""Frames between two photos: a fade in linear light."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignimation_core import Frame
from alignimation_effects._light import DECODED, ENCODED, Pixels, light_of, pixels_of

STRIP = 32
"""Rows looked up together: few enough that they stay in the cache."""


class Fade:
    """A fade between two frames, each (3 or 4, h, w) uint8.

    For opaque frames a table of the 65,536 pairs of values says what each becomes.
    """

    def __init__(self, first: Tensor, second: Tensor) -> None:
        before, after = _pixels(first), _pixels(second)
        self._opaque = len(first) == 3
        if self._opaque:
            self._pairs = pairs(before, after)
        else:
            self._lights = light_of(before), light_of(after)

    def put(self, part: tuple[slice, slice], first: Tensor, second: Tensor) -> None:
        """Fade from now on between other pixels in a part of the frames: rows and columns."""
        before, after = _pixels(first), _pixels(second)
        if self._opaque:
            self._pairs[part] = pairs(before, after)
        else:
            self._lights[0][part], self._lights[1][part] = light_of(before), light_of(after)

    def at(self, share: float) -> Pixels:
        """Return the pixels, (h, w, 3 or 4), with so much of the second."""
        if self._opaque:
            return looked_up(self._pairs, table(share))
        begin, end = self._lights
        return pixels_of(begin + np.float32(share) * (end - begin))


def _pixels(image: Tensor) -> Pixels:
    """Return (h, w, C) of a (C, h, w) picture."""
    pixels: Pixels = image.permute(1, 2, 0).numpy()
    return pixels


def pairs(first: Pixels, second: Pixels) -> NDArray[np.uint16]:
    """Return where in the table each pair of values is."""
    return first * np.uint16(256) + second


def table(share: float) -> Pixels:
    """Return the value of each pair whose light is mixed with so much of the second."""
    light = DECODED[:, None] * (1 - share) + DECODED[None, :] * share
    values: Pixels = ENCODED.take(np.round(light).astype(int)).ravel()
    return values


def looked_up(places: NDArray[np.uint16], values: Pixels) -> Pixels:
    """Return values at places of the same shape."""
    found = np.empty(places.shape, np.uint8)
    for top in range(0, len(places), STRIP):
        rows = slice(top, top + STRIP)
        np.take(values, places[rows], out=found[rows], mode="clip")
    return found


def faded(first: Frame, second: Frame, shares: Sequence[float]) -> Iterator[Tensor]:
    """Yield the frames between two, each with so much of the second."""
    if shares:
        fade = Fade(first.image, second.image)
        for share in shares:
            yield torch.from_numpy(fade.at(share)).permute(2, 0, 1)
