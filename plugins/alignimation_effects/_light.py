"""Linear light: sRGB of 8 bits, decoded and encoded by tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FULL = 65535
"""White in linear light."""

Pixels = NDArray[np.uint8]
Light = NDArray[np.float32]


def _decoded(encoded: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


DECODED: Light = (FULL * _decoded(np.arange(256) / 255)).astype(np.float32)
"""Linear light of each value of sRGB, 0 to ``FULL``."""
ENCODED = np.round(255 * _encoded(np.arange(FULL + 1) / FULL)).astype(np.uint8)
"""The value of sRGB of each whole number of linear light."""


def light_of(pixels: Pixels) -> Light:
    """Return (h, w, 4) pixels in linear light times their opacity, and that, both of ``FULL``."""
    opacity = pixels[..., 3:].astype(np.float32) / 255
    return np.concatenate([DECODED.take(pixels[..., :3]) * opacity, opacity * FULL], axis=2)


def pixels_of(light: Light) -> Pixels:
    """Return the (h, w, 4) pixels of linear light, as ``light_of`` gives it."""
    opacity = light[..., 3:] / FULL
    colours = light[..., :3] / np.where(opacity > 0, opacity, np.float32(1))
    encoded: Pixels = ENCODED.take(np.round(colours).astype(int), mode="clip")
    return np.concatenate([encoded, np.round(255 * opacity).astype(np.uint8)], axis=2)
