"""JPEG files -> pixels, by libjpeg-turbo straight into an array.

Pillow decodes with the same library, to the same values, but into four bytes a pixel, which it
then packs and copies three times over: twice the time for a photo of 12 megapixels.
"""

from __future__ import annotations

from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from alignimation_core.photos import orientation

if TYPE_CHECKING:
    import numpy as np

SLOWER = 2
"""Of the reductions to n/8, those to more than a half cost more than they save."""


def decode(
    image: Image.Image, stream: BufferedReader | BytesIO, long_side: int
) -> np.ndarray | None:
    """Decode a JPEG in colour or grey, of which Pillow has opened the image, upright.

    At 1/8, 2/8, 3/8, 4/8 or 8/8 of its size, whichever is the least that has ``long_side`` pixels
    and is of whole pixels. Else libjpeg fills up the last row and column, and what lies there would
    seem to lie up to 7 pixels off.

    Returns:
        (h, w, 3) uint8; None where the file is no such JPEG, or has a fault, of which Pillow knows
        best what can be made.
    """
    import simplejpeg

    if image.format not in ("JPEG", "MPO") or image.mode not in ("RGB", "L"):
        return None
    least = 8 * min(long_side, max(image.size))
    eighths = next(
        n
        for n in (1, 2, 3, 4, 8)
        if n * max(image.size) >= least and not any(n * side % 8 for side in image.size)
    )
    stream.seek(0)
    try:
        pixels = simplejpeg.decode_jpeg(
            stream.read(),
            min_width=image.width * eighths // 8,
            min_height=image.height * eighths // 8,
            min_factor=SLOWER,
        )
    except ValueError:
        return None
    return orientation.upright(pixels, image)
