"""Decode photos into upright tensors, no larger than they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from alignimation_core.api.data import Damage, File, Photo
from alignimation_core.api.mask import Matrix
from alignimation_core.photos.decoding import colour, jpeg, orientation, sandbox
from alignimation_core.photos.decoding.picture import Pixels
from alignimation_core.photos.image_file import opened
from alignimation_core.photos.metadata import check_unchanged

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

LARGEST_HERE = 100_000_000
"""Pixels of a picture that is decoded in this process."""

MOST = 128 << 20
"""Bytes of parts of pictures that a run keeps in memory for a later step: of some 900 faces."""


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


class Part(NamedTuple):
    """What stays of a decoded photo for a later step, which may need no more of it.

    Attributes:
        pixels: (h, w, 3) uint8.
        corner: (x, y) of the first of them in the picture.
        size: (height, width) of the picture.
        photo_from_picture: as in ``Picture``.
        eighths: to how many the picture is reduced, if it is a JPEG.
    """

    pixels: NDArray[np.uint8]
    corner: tuple[int, int]
    size: tuple[int, int]
    photo_from_picture: Matrix
    eighths: int

    @classmethod
    def of(
        cls, photo: Photo, min_side: int, picture: Picture, x: float, y: float, reach: float
    ) -> Self | None:
        """Cut a square out of what ``read`` gave; None where nothing of it is in the picture.

        It is about (x, y), and its sides are ``reach`` from there, pixels of the full-size photo.
        """
        height, width = picture.pixels.shape[-2:]
        (across, _, right), (_, down, below), _ = picture.photo_from_picture
        x0, x1 = (round((x + side - right) / across) for side in (-reach, reach))
        y0, y1 = (round((y + side - below) / down) for side in (-reach, reach))
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1:
            return None
        pixels = picture.pixels[:, y0:y1, x0:x1].permute(1, 2, 0).contiguous().numpy()
        eighths = jpeg.eighths((photo.width, photo.height), min_side)
        return cls(pixels, (x0, y0), (height, width), picture.photo_from_picture, eighths)

    def serves(
        self, photo: Photo, min_side: int, canvas_from_photo: Tensor, size: tuple[int, int]
    ) -> bool:
        """Return whether ``read`` would give the same, as far as ``warp_photo`` touches it."""
        from alignimation_core.api import geometry

        if jpeg.eighths((photo.width, photo.height), min_side) != self.eighths:
            return False
        canvas_from_picture = canvas_from_photo @ geometry.as_tensor(self.photo_from_picture)
        x0, y0, x1, y1 = geometry.part_shown(self.size, canvas_from_picture, size)
        (x, y), (height, width) = self.corner, self.pixels.shape[:2]
        return x <= x0 and y <= y0 and x1 <= x + width and y1 <= y + height

    def picture(self) -> Picture:
        """Return the picture, of which nothing is right but this part."""
        import torch

        (x, y), (height, width) = self.corner, self.pixels.shape[:2]
        whole = torch.empty(*self.size, 3, dtype=torch.uint8)
        whole[y : y + height, x : x + width] = torch.from_numpy(self.pixels)
        return Picture(whole.permute(2, 0, 1), self.photo_from_picture, None)


class Parts:
    """Parts of photos, kept in memory, by the photos' content: so many bytes at most.

    Attributes:
        min_side: with which photos are decoded where parts are cut, and at least where parts are
            used, so that one serves for the other; 0 leaves that to their users.
    """

    def __init__(self, min_side: int = 0, most: int = MOST) -> None:
        self.min_side, self._left = min_side, most
        self._parts: dict[str, tuple[Part, ...]] = {}

    def keep(self, photo: Photo, parts: Sequence[Part]) -> None:
        """Keep a photo's parts if there is room for them."""
        count = sum(part.pixels.nbytes for part in parts)
        if parts and count <= self._left and photo.content not in self._parts:
            self._left -= count
            self._parts[photo.content] = tuple(parts)

    def of(self, photo: Photo) -> tuple[Part, ...]:
        """Return what was kept of a photo."""
        return self._parts.get(photo.content, ())

    def forget(self) -> None:
        """Keep nothing any more."""
        self._left, self._parts = 0, {}


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


def side_onto(photo: Photo, frame_from_photo: Tensor, enough: float = 1.0) -> int:
    """Return the ``min_side`` with which ``read_onto`` decodes a photo."""
    from alignimation_core.api import geometry

    scale = min(1.0, enough * float(geometry.scale_of(frame_from_photo)))
    return round(max(photo.height, photo.width) * scale)


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

    picture = read(photo, side_onto(photo, frame_from_photo, enough))
    return picture, frame_from_photo @ geometry.as_tensor(picture.photo_from_picture)
