"""EXIF orientation: how a stored picture is turned upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from PIL import ExifTags, Image

from alignimation_core.api.mask import Matrix

if TYPE_CHECKING:
    import numpy as np

UPRIGHT = frozenset({"TIFF", "HEIF", "JXL"})
"""Formats, as Pillow names them, whose pictures come upright from their decoders."""

Box = tuple[float, float, float, float]


class Turn(NamedTuple):
    """What is left to do for a decoded picture to stand upright.

    Attributes:
        swap: rows become columns, before anything is flipped.
        across: flip left and right.
        down: flip top and bottom.
    """

    swap: bool
    across: bool
    down: bool


def turn_of(image: Image.Image) -> Turn:
    """Return how a picture that Pillow has opened is turned upright; size and pixels alike."""
    found = 1 if image.format in UPRIGHT else image.getexif().get(ExifTags.Base.Orientation, 1)
    return Turn(found in (5, 6, 7, 8), found in (2, 3, 6, 7), found in (3, 4, 7, 8))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) of a picture once it is upright."""
    width, height = image.size
    return (height, width) if turn_of(image).swap else (width, height)


def upright(pixels: np.ndarray, turn: Turn) -> np.ndarray:
    """Turn the (h, w, 3) uint8 pixels of a picture upright."""
    import numpy as np

    if not any(turn):
        return pixels
    turned = pixels.swapaxes(0, 1) if turn.swap else pixels
    turned = turned[:: -1 if turn.down else 1, :: -1 if turn.across else 1]
    result = np.empty(turned.shape, np.uint8)
    for colour in range(3):  # numpy copies all three at once half as fast
        result[..., colour] = turned[..., colour]
    return result


def upright_box(box: Box, turn: Turn, size: tuple[int, int]) -> Box:
    """Turn a box of a stored picture upright; (width, height) ``size`` is the upright photo's."""
    x0, y0, x1, y1 = (box[1], box[0], box[3], box[2]) if turn.swap else box
    width, height = size
    x0, x1 = (width - x1, width - x0) if turn.across else (x0, x1)
    y0, y1 = (height - y1, height - y0) if turn.down else (y0, y1)
    return x0, y0, x1, y1


def photo_from_reduced(
    scale: float, turn: Turn, size: tuple[int, int], reduced: tuple[int, int]
) -> Matrix:
    """Return the matrix from the pixels of a picture that was reduced before it was turned.

    Pixels of the full-size photo are ``scale`` for one; sizes are upright, (width, height). As the
    reduced sides are rounded up, the picture reaches beyond the photo: at its right and bottom as
    it is stored, which may be left and top once it is upright.
    """
    x = size[0] - scale * reduced[0] if turn.across else 0.0
    y = size[1] - scale * reduced[1] if turn.down else 0.0
    return ((scale, 0.0, x), (0.0, scale, y), (0.0, 0.0, 1.0))
