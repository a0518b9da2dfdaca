"""Decode photos into upright tensors, no larger than they are needed."""

from __future__ import annotations

from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alignimation_core.api.data import Damage, File, Photo
from alignimation_core.api.mask import Matrix
from alignimation_core.photos.decoding import colour, jpeg, orientation, sandbox
from alignimation_core.photos.decoding.picture import Pixels
from alignimation_core.photos.image_file import opened
from alignimation_core.photos.metadata import check_unchanged

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

LARGEST_HERE = 100_000_000
"""Pixels of a picture that is decoded in this process."""


class Picture(NamedTuple):
    """A decoded photo.

    Attributes:
        pixels: (3, h, w) uint8 sRGB, upright, the channels of a pixel side by side in memory.
        photo_from_picture: 3x3, from its continuous pixels to those of the full-size photo.
        damage: what is wrong with the file, which was decoded all the same; None where nothing is.
    """

    pixels: Tensor
    photo_from_picture: Matrix
    damage: Damage | None


def load(photo: str | File | Photo, min_side: int | None = None) -> Tensor:
    """Decode one photo, upright, as (3, h, w) uint8 sRGB; see ``read``."""
    return read(photo, min_side).pixels


def read(photo: str | File | Photo, min_side: int | None = None) -> Picture:
    """Decode one photo, upright, in sRGB.

    Transparency is laid over white, grey of more bits is scaled to 8. A JPEG or PNG without a fault
    is decoded here; all else in a process of its own, which may neither hang nor crash this one,
    nor take all memory. What can be made of a damaged file is returned, with its ``damage``.

    Args:
        photo: the file; a text is a local path. Of a photo whose facts are given, the file must
            still have the content that they tell of.
        min_side: a JPEG may be decoded at n/8 of its size, as long as its long side stays at least
            this many; None for full size.

    Raises:
        PhotoError: the file cannot be read, is damaged too much, or is not what the facts tell of.
        TypeError: it is neither a file nor facts.
    """
    import torch

    given = photo.path if isinstance(photo, Photo) else photo
    if not (isinstance(given, str) or hasattr(given, "as_posix")):
        raise TypeError(f"photo: expected a path or a Photo, got {type(given).__name__}")
    path = Path(given) if isinstance(given, str) else given
    with opened(path) as (image, stream):
        side = max(image.size) if min_side is None else min_side
        found = _decoded_here(image, stream, side)
        if found is None:
            found = sandbox.decode(path, stream, side)
        if isinstance(photo, Photo):
            check_unchanged(photo, stream)
    return Picture(torch.from_numpy(found.rgb).permute(2, 0, 1), *found[1:])


def _decoded_here(image: Image.Image, stream: BufferedReader | BytesIO, side: int) -> Pixels | None:
    """Decode a JPEG or PNG that has no fault; None for everything else."""
    if image.width * image.height > LARGEST_HERE:
        return None
    if jpeg.is_jpeg(image):
        return jpeg.decode(image, stream, side)
    if image.format != "PNG":
        return None
    try:
        return Pixels(orientation.upright(colour.srgb(image), orientation.turn_of(image)))
    except Exception:  # whatever it is, the sandbox finds out what can be made of the file
        return None


def load_onto(photo: Photo, frame_from_photo: Tensor, enough: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return the pixels of ``read_onto``, (3, h, w) uint8, and its matrix."""
    picture, frame_from_picture = read_onto(photo, frame_from_photo, enough)
    return picture.pixels, frame_from_picture


def read_onto(
    photo: Photo, frame_from_photo: Tensor, enough: float = 1.0
) -> tuple[Picture, Tensor]:
    """Decode a photo no larger than a frame needs it.

    Along a side of the decoded photo, ``enough`` pixels are needed for one of the frame.
    (3, 3) ``frame_from_photo`` leads from the full-size photo.

    Returns:
        The picture, as ``read`` gives it; and (3, 3) ``frame_from_picture``.

    Raises:
        PhotoError: the photo cannot be read, or has changed.
    """
    from alignimation_core.api import geometry

    scale = min(1.0, enough * float(geometry.scale_of(frame_from_photo)))
    picture = read(photo, round(max(photo.height, photo.width) * scale))
    return picture, frame_from_photo @ geometry.as_tensor(picture.photo_from_picture)
