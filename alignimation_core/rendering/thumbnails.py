"""Small pictures of photos and frames, for the report."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional

from alignimation_core.api.data import Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.photos import decoder

SIDE = 320
"""Long side of a small picture, pixels."""


def thumbnail(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a JPEG of a picture, (h, w, 3 or 4) uint8; what is transparent becomes grey."""
    if pixels.shape[2] == 4:
        image = Image.fromarray(pixels)
        pixels = np.array(Image.alpha_composite(Image.new("RGBA", image.size, "#808080"), image))
    whole = torch.from_numpy(np.ascontiguousarray(pixels[..., :3])).permute(2, 0, 1)[None]
    scale = min(1.0, SIDE / max(pixels.shape))
    size = [max(1, round(side * scale)) for side in pixels.shape[:2]]
    # of what comes three colours a pixel, in a third of Pillow's time
    small = functional.interpolate(whole, size, mode="bilinear", antialias=True)[0]
    stream = io.BytesIO()
    Image.fromarray(small.permute(1, 2, 0).contiguous().numpy()).save(stream, "JPEG", quality=78)
    return stream.getvalue()


def thumbnails(photos: list[Photo]) -> list[bytes | None]:
    """Return a small picture of each photo; None of one that cannot be read."""
    return [_thumbnail(photo) for photo in photos]


def _thumbnail(photo: Photo) -> bytes | None:
    try:
        return thumbnail(decoder.load(photo, SIDE).permute(1, 2, 0).numpy())
    except PhotoError:
        return None
