"""JPEG files -> pixels, by libjpeg-turbo straight into an array.

Pillow decodes with the same library, to the same values, but into four bytes a pixel, which it
then packs and copies three times over: twice the time for a photo of 12 megapixels.
"""

from __future__ import annotations

import os
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from alignimation_core.api.data import Damage
from alignimation_core.photos.decoding import colour, orientation
from alignimation_core.photos.decoding.picture import LARGEST, Pixels, lost_at_end

if TYPE_CHECKING:
    import numpy as np

EIGHTHS = (1, 2, 3, 4, 8)
SLOWER = 2
"""Of the reductions to n/8, those to more than a half cost more than they save."""

BLOCK = 8
GREY = 128
"""What libjpeg fills the blocks with that are missing."""

SCANS = 64
"""Passes over a picture in one file: more are there to make it slow."""

METADATA = 1 << 24
"""Bytes of a file that are read beside six for each pixel: more is no part of the picture."""

_RESTARTS, _SCAN = b"\xff\xdd\x00\x04", (0xFF, 0xDA)
_AT_ONCE = 1 << 18  # bytes searched for scans, which fit a core's cache


def is_jpeg(image: Image.Image) -> bool:
    """Return whether it is a JPEG in colour or grey, which alone is decoded here."""
    return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")


def decode(
    image: Image.Image, stream: BufferedReader | BytesIO, long_side: int, *, damaged: bool = False
) -> Pixels | None:
    """Decode a JPEG in colour or grey, of which Pillow has opened the image, upright, in sRGB.

    At 1/8, 2/8, 3/8, 4/8 or 8/8 of its size, whichever is the least that has ``long_side`` pixels;
    no larger than ``LARGEST``. With ``damaged``, a file with faults is decoded as far as it goes.

    Returns:
        None where the file is no such JPEG, or has a fault.
    """
    import simplejpeg

    if not is_jpeg(image):
        return None
    reduction = eighths(image.size, long_side)
    columns, rows = (-(-side * reduction // BLOCK) for side in image.size)
    length = stream.seek(0, os.SEEK_END)  # for more, memory would be set aside first
    stream.seek(0)
    data = stream.read(min(length, METADATA + 6 * image.width * image.height))
    reduced = {"min_width": columns, "min_height": rows, "min_factor": SLOWER}
    damage = None
    if not damaged and _scans(data) > SCANS:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, **reduced)
    except ValueError as error:
        if not damaged:
            return None
        try:
            pixels = simplejpeg.decode_jpeg(data, **reduced, strict=False)
        except ValueError:
            return None
        if (pixels == GREY).all():
            return None
        damage = _damage(pixels, reduction, image, data, str(error))
    if pixels.shape[:2] != (rows, columns):
        return None
    turn, size = orientation.turn_of(image), orientation.upright_size(image)
    pixels = colour.srgb_of_jpeg(pixels, image.mode, image.info.get("icc_profile"))
    pixels = orientation.upright(pixels, turn)
    height, width = pixels.shape[:2]
    scale = BLOCK / reduction
    photo_from_picture = orientation.photo_from_reduced(scale, turn, size, (width, height))
    return Pixels(pixels, photo_from_picture, damage)


def _scans(data: bytes) -> int:
    """Return how often a scan's marker is in a file, in a quarter of ``bytes.count``'s time."""
    import numpy as np

    found, (first, second) = 0, _SCAN
    values = np.frombuffer(data, np.uint8)
    for at in range(0, len(values), _AT_ONCE):
        part = values[at : at + _AT_ONCE + 1]
        marks = part[:-1] == first
        marks &= part[1:] == second
        found += int(np.count_nonzero(marks))
    return found


def eighths(size: tuple[int, int], long_side: int) -> int:
    """Return to how many eighths a picture of (width, height), upright or not, is reduced.

    Tiny ones, whose sides would not tell, are not.
    """
    long = max(size)
    least = BLOCK * min(long_side, long)
    found = next(n for n in EIGHTHS if n * long >= least)
    while found > 1 and size[0] * size[1] * found * found > LARGEST * BLOCK * BLOCK:
        found = EIGHTHS[EIGHTHS.index(found) - 1]
    return found if long >= BLOCK else BLOCK


def _damage(
    pixels: np.ndarray, eighths: int, image: Image.Image, data: bytes, warning: str
) -> Damage:
    """Return what is wrong with a JPEG of which libjpeg has warned, and which blocks are missing.

    ``pixels`` are as libjpeg has decoded them, missing blocks in grey: all to the end of the file,
    or where it is made to be resumed, to the next place for that.
    """
    import numpy as np

    blank = (pixels == GREY).all(2)
    for axis in (0, 1):
        starts = np.arange(0, blank.shape[axis], eighths)
        blank = np.logical_and.reduceat(blank, starts, axis)
    resumes = _RESTARTS in data[:METADATA]
    width, height = image.size
    turn, size = orientation.turn_of(image), orientation.upright_size(image)
    boxes = []
    for x0, y0, x1, y1 in lost_at_end(blank, anywhere=resumes):
        box = (BLOCK * x0, BLOCK * y0, min(BLOCK * x1, width), min(BLOCK * y1, height))
        boxes.append(orientation.upright_box(box, turn, size))
    cut = "premature end" in warning.lower() and b"\xff\xd9" not in data[-2:]
    what = "the end of the file is missing" if cut else "a part of the file is damaged"
    return Damage(what, tuple(boxes))
