"""Linear light: sRGB of 8 bits, decoded and encoded by tables."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
_TABLE = ENCODED.tolist()


def light_of(pixels: Pixels) -> Light:
    """Return (h, w, 3 or 4) pixels in linear light, multiplied by their opacity where there is one.

    A fourth channel is the opacity, 0 to ``FULL``.
    """
    light: Light = DECODED.take(pixels)
    if pixels.shape[2] == 4:
        opacity = pixels[..., 3:].astype(np.float32) / 255
        light[..., :3] *= opacity
        light[..., 3:] = opacity * FULL
    return light


def pixels_of(light: Light) -> Pixels:
    """Return the (h, w, 3 or 4) pixels of linear light, as ``light_of`` gives it."""
    if light.shape[2] == 4:
        opacity = light[..., 3:] / FULL
        colours = light[..., :3] / np.where(opacity > 0, opacity, 1)
        alpha = np.round(255 * opacity).astype(np.uint8)
        return np.concatenate([_encode(colours), alpha], axis=2)
    return _encode(light)


def _encode(light: NDArray[np.floating]) -> Pixels:
    height, width, channels = light.shape
    whole = (light + np.float32(0.5)).astype(np.int32)
    flat = Image.fromarray(whole.reshape(height, width * channels), "I").point(_TABLE, "L")
    return np.array(flat).reshape(height, width, channels)
