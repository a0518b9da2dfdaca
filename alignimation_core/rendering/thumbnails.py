"""Small pictures of photos and frames, for the report."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from alignimation_core.api.data import Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.photos import decoder

SIDE = 320
"""Long side of a small picture, pixels."""


def thumbnail(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a JPEG of a picture, (h, w, 3 or 4) uint8; what is transparent becomes grey."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=1.0)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "#808080"), image)
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=78)
    return stream.getvalue()


def thumbnails(photos: list[Photo]) -> list[bytes | None]:
    """Return a small picture of each photo; None of one that cannot be read."""
    return [_thumbnail(photo) for photo in photos]


def _thumbnail(photo: Photo) -> bytes | None:
    try:
        return thumbnail(decoder.load(photo, SIDE).permute(1, 2, 0).numpy())
    except PhotoError:
        return None
