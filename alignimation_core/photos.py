"""Files -> upright tensors; dates; order."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from io import BufferedReader, BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from alignimation_core import addresses, dates, jpeg
from alignimation_core.addresses import File
from alignimation_core.data import Photo
from alignimation_core.errors import PhotoError
from alignimation_core.opening import opened

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

NUMBERS = re.compile(r"(\d+)")


def order(photos: Sequence[Photo]) -> list[Photo]:
    """Return photos in the order in which they were taken, then by name."""
    ordered: list[Photo] = []
    for _, group in groupby(sorted(photos, key=_taken), key=_taken):
        same = list(group)
        ordered += sorted(same, key=lambda photo: natural(photo.name)) if len(same) > 1 else same
    return ordered


def _taken(photo: Photo) -> datetime:
    return photo.taken


def natural(text: str) -> list[str | int]:
    """Return a key that sorts ``img2`` before ``img10``: text and numbers in turn."""
    parts: list[str | int] = [*NUMBERS.split(text)]
    parts[1::2] = map(int, parts[1::2])
    return parts


def named(wanted: str, names: Iterable[str]) -> list[str]:
    """Return which photos a name may mean: the one that is called so, or else all in any folder.

    Args:
        wanted: as a user writes it, with or without folders.
        names: of photos, as the run record gives them.
    """
    every = list(names)
    if wanted in every:
        return [wanted]
    return [name for name in every if name.endswith(f"/{wanted}")]


def facts(path: File, folder: Path) -> Photo:
    """Read the cheap facts of a photo: size, date, hash; not its pixels.

    Args:
        path: the file.
        folder: where the recipe lies; the photo's name is relative to it.

    Raises:
        PhotoError: the file cannot be read, or is no picture.
    """
    with opened(path) as (image, stream):
        version = _version(stream)
        width, height = image.size
        exif = image.getexif()
        if exif.get(0x0112) in (5, 6, 7, 8):
            width, height = height, width
        taken, source = dates.in_exif(exif), "exif"
        if taken is None:
            taken, source = dates.in_name(path.name), "name"
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _version(stream) != version:
            raise PhotoError(path, "the file changed while it was read; run again")
    if taken is None:
        taken, source = _written(path), "file"
    name = relative_name(path, folder)
    return Photo(path, name, digest, height, width, taken, source, version)


def _written(path: File) -> datetime:
    """Return when a file was last written, local time, in whole seconds; 1970 if nobody knows."""
    try:
        if isinstance(path, Path):
            return datetime.fromtimestamp(int(path.stat().st_mtime))
        time = addresses.modified(path)
    except FileNotFoundError:
        raise PhotoError(path, "the file is gone") from None
    except Exception as error:
        raise PhotoError(path, addresses.reason(error)) from error
    if time is None:
        return datetime.fromtimestamp(0)
    return time.astimezone().replace(tzinfo=None, microsecond=0)


def stamp(path: File) -> str | None:
    """Say, without reading a file, which version of it this is.

    Take it before reading the file: then a change in between shows as another stamp.

    Returns:
        A text that changes when the file does: size, times and inode of a local file; ETag,
        checksum or time of a remote one, for which no request is needed after ``find``. None where
        nothing can be known.
    """
    if not isinstance(path, Path):
        return addresses.stamp(path)
    try:
        known = path.stat()
    except OSError:
        return None
    return _stamp(known)


def _stamp(known: os.stat_result) -> str:
    return f"{known.st_size} {known.st_mtime_ns} {known.st_ctime_ns} {known.st_ino}"


def _version(stream: BufferedReader | BytesIO) -> str:
    """Return the stamp of a local file that is open; nothing for a remote one, which is a copy."""
    return "" if isinstance(stream, BytesIO) else _stamp(os.fstat(stream.fileno()))


def relative_name(path: File, folder: Path) -> str:
    """Return a file's name as the run record gives it: relative to the recipe, or its address."""
    if not isinstance(path, Path):
        return str(path)
    text, start = str(path), str(folder)
    inside = text[len(start) :]
    if text.startswith(start) and inside.startswith(os.sep):
        inside = inside[1:]
    else:
        inside = os.path.relpath(path, folder)
    return inside if os.sep == "/" else Path(inside).as_posix()


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
            _check_unchanged(photo, stream)
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


def _check_unchanged(photo: Photo, stream: BufferedReader | BytesIO) -> None:
    """Refuse a file that has changed since its facts were read; one merely touched is the same."""
    if photo.stamp and _version(stream) == photo.stamp:
        return
    stream.seek(0)
    if hashlib.file_digest(stream, "sha256").hexdigest() != photo.sha256:
        raise PhotoError(photo.path, "the file has changed since the run began; run again")


def load_onto(photo: Photo, frame_from_photo: Tensor, enough: float = 1.0) -> tuple[Tensor, Tensor]:
    """Decode a photo no larger than a frame needs it.

    Args:
        photo: its facts.
        frame_from_photo: (3, 3), from the full-size photo.
        enough: pixels along a side of the decoded photo for one of the frame.

    Returns:
        The (3, h, w) uint8 picture, as ``load`` gives it; and (3, 3) ``frame_from_picture``.

    Raises:
        PhotoError: the photo cannot be read, or has changed.
    """
    from alignimation_core import geometry

    scale = min(1.0, enough * float(geometry.scale_of(frame_from_photo)))
    picture = load(photo, round(max(photo.height, photo.width) * scale))
    height, width = picture.shape[-2:]
    photo_from_picture = geometry.scaling(photo.width / width, photo.height / height)
    return picture, frame_from_photo @ photo_from_picture
