"""EXIF orientation: how a stored picture is turned upright."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import ExifTags, Image

if TYPE_CHECKING:
    import numpy as np


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) of a picture once it is upright."""
    width, height = image.size
    return (height, width) if _orientation(image) in (5, 6, 7, 8) else (width, height)


def upright(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    """Turn the (h, w, 3) uint8 pixels of a picture upright, as libjpeg has decoded them."""
    import numpy as np

    orientation = _orientation(image)
    if orientation not in range(2, 9):
        return pixels
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    down = -1 if orientation in (3, 4, 7, 8) else 1
    across = -1 if orientation in (2, 3, 6, 7) else 1
    turned = turned[::down, ::across]
    result = np.empty(turned.shape, np.uint8)
    for colour in range(3):  # numpy copies all three at once half as fast
        result[..., colour] = turned[..., colour]
    return result


def _orientation(image: Image.Image) -> int:
    orientation: int = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation
