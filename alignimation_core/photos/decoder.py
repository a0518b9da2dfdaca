"""Decode photos into upright tensors, no larger than they are needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from alignimation_core.api.data import File, Photo
from alignimation_core.photos import jpeg
from alignimation_core.photos.image_file import opened
from alignimation_core.photos.metadata import check_unchanged

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def load(photo: str | File | Photo, min_side: int | None = None) -> Tensor:
    """Decode one photo, upright.

    Args:
        photo: the file; a text is a local path. Of a photo whose facts are given, the file must
            still have the content that they tell of.
        min_side: a JPEG may be decoded at n/8 of its size, as long as that is of whole pixels and
            its long side stays at least this many; None for full size.

    Returns:
        (3, h, w) uint8 RGB, the channels of a pixel side by side in memory. Transparency is laid
        over white, 16-bit grey is scaled to 8.

    Raises:
        PhotoError: the file cannot be read, is damaged, or is not what the facts tell of.
    """
    import torch

    path = photo.path if isinstance(photo, Photo) else photo
    with opened(Path(path) if isinstance(path, str) else path) as (image, stream):
        side = max(image.size) if min_side is None else min_side
        pixels = jpeg.decode(image, stream, side)
        if pixels is None:
            pixels = _decoded(image)
        if isinstance(photo, Photo):
            check_unchanged(photo, stream)
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _decoded(image: Image.Image) -> np.ndarray:
    """Return the (h, w, 3) uint8 pixels of a picture of any kind, upright."""
    import numpy as np

    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
        image = Image.fromarray(grey.astype(np.uint8))
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.new("RGBA", clear.size, "white")
        image.alpha_composite(clear)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def load_onto(photo: Photo, frame_from_photo: Tensor, enough: float = 1.0) -> tuple[Tensor, Tensor]:
    """Decode a photo no larger than a frame needs it.

    Along a side of the decoded photo, ``enough`` pixels are needed for one of the frame.
    (3, 3) ``frame_from_photo`` leads from the full-size photo.

    Returns:
        The (3, h, w) uint8 picture, as ``load`` gives it; and (3, 3) ``frame_from_picture``.

    Raises:
        PhotoError: the photo cannot be read, or has changed.
    """
    from alignimation_core.api import geometry

    scale = min(1.0, enough * float(geometry.scale_of(frame_from_photo)))
    picture = load(photo, round(max(photo.height, photo.width) * scale))
    height, width = picture.shape[-2:]
    photo_from_picture = geometry.scaling(photo.width / width, photo.height / height)
    return picture, frame_from_photo @ photo_from_picture
