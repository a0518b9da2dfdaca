"""What pictures may carry of the photos that they show."""

from __future__ import annotations

from pathlib import PurePosixPath

from PIL import ExifTags, Image

from alignimation_core import Photo
from alignimation_imageio._options import Metadata


def caption(photo: Photo, what: str) -> str:
    """Return the ``date`` or the ``name`` of a photo, or nothing.

    A photo of which no more than the time of its file is known has no date.
    """
    if what == "date" and photo.taken_from != "file":
        return photo.taken.date().isoformat()
    return PurePosixPath(photo.name).name if what == "name" else ""


def exif(photo: Photo, wanted: tuple[Metadata, ...]) -> Image.Exif:
    """Return the EXIF of a frame: when its photo was taken, and what it is called."""
    made = Image.Exif()
    if "date" in wanted and photo.taken_from != "file":
        taken = photo.taken.strftime("%Y:%m:%d %H:%M:%S")
        made[ExifTags.Base.DateTime] = taken
        inner = made.get_ifd(ExifTags.IFD.Exif)
        inner[ExifTags.Base.DateTimeOriginal] = taken
        if photo.taken_zone is not None:
            inner[ExifTags.Base.OffsetTimeOriginal] = photo.taken_zone
    if "name" in wanted:
        name = caption(photo, "name").encode("utf-8", "surrogateescape")  # as the disk has it
        made[ExifTags.Base.ImageDescription] = name
    return made
