"""Facts of a photo file: size, content hash, version, and when it was taken."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import datetime
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image

from alignimation_core.api import urls
from alignimation_core.api.data import File, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.files import SourcePhoto
from alignimation_core.photos.decoding import orientation
from alignimation_core.photos.image_file import opened
from alignimation_core.photos.order import relative_name


def facts(path: File, folder: Path) -> Photo:
    """Read the cheap facts of a photo: size, date, hash; not its pixels.

    Its name is relative to the folder, which is the recipe's.

    Raises:
        PhotoError: the file cannot be read, or is no picture.
    """
    with opened(path) as (image, stream):
        version = _version(stream)
        width, height = orientation.upright_size(image)
        exif = image.getexif()
        taken, source = in_exif(exif), "exif"
        if taken is None and isinstance(path, SourcePhoto):
            taken, source = _local(path.taken), path.taken_from
        if taken is None:
            taken, source = in_name(path.name), "name"
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
        time = path.modified if isinstance(path, SourcePhoto) else urls.modified(path)
    except FileNotFoundError:
        raise PhotoError(path, "the file is gone") from None
    except Exception as error:
        raise PhotoError(path, urls.reason(error)) from error
    return (_local(time) or datetime.fromtimestamp(0)).replace(microsecond=0)


def _local(time: datetime | None) -> datetime | None:
    """Return a time as this machine's clocks showed it; one without a time zone is so already."""
    return time and time.astimezone().replace(tzinfo=None)


def stamp(path: File) -> str | None:
    """Say, without reading a file, which version of it this is.

    Take it before reading the file: then a change in between shows as another stamp.

    Returns:
        A text that changes when the file does: size, times and inode of a local file; ETag,
        checksum or time of a remote one, for which no request is needed after ``find``; what a
        source says. None where nothing can be known.
    """
    if isinstance(path, SourcePhoto):
        known = f"{path.version} {path.taken} {path.taken_from} {path.modified}"
        return known if path.version else None
    if not isinstance(path, Path):
        return urls.stamp(path)
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def _stamp(known: os.stat_result) -> str:
    return f"{known.st_size} {known.st_mtime_ns} {known.st_ctime_ns} {known.st_ino}"


def _version(stream: BufferedReader | BytesIO) -> str:
    """Return the stamp of a local file that is open; nothing for a remote one, which is a copy."""
    return "" if isinstance(stream, BytesIO) else _stamp(os.fstat(stream.fileno()))


def check_unchanged(photo: Photo, stream: BufferedReader | BytesIO) -> None:
    """Refuse an open file that has changed since its facts were read; but not one merely touched.

    Raises:
        PhotoError: its content is another.
    """
    if photo.stamp and _version(stream) == photo.stamp:
        return
    stream.seek(0)
    if hashlib.file_digest(stream, "sha256").hexdigest() != photo.sha256:
        raise PhotoError(photo.path, "the file has changed since the run began; run again")


def in_exif(exif: Image.Exif) -> datetime | None:
    """Return the first date there is: ``DateTimeOriginal``, ``DateTimeDigitized``, ``DateTime``."""
    inner = exif.get_ifd(0x8769)
    return (
        _exif_date(inner.get(0x9003), inner.get(0x9291))
        or _exif_date(inner.get(0x9004), inner.get(0x9292))
        or _exif_date(exif.get(0x0132), inner.get(0x9290))
    )


def _exif_date(text: object, fraction: object) -> datetime | None:
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", str(text))
    if match is None:
        return None
    digits = re.match(r"\d{1,6}", str(fraction))
    micros = int(digits.group().ljust(6, "0")) if digits else 0
    year, month, day, hour, minute, second = map(int, match.groups())
    return _date(year, month, day, hour, minute, second, micros)


def _date(
    year: int, month: int, day: int, hour: int, minute: int, second: int, micro: int = 0
) -> datetime | None:
    try:
        date = datetime(year, month, day, hour, minute, second, micro)
    except ValueError:
        return None
    return date if date.year >= 1826 else None  # the year of the first photograph


_NAME_DATE = re.compile(
    r"(?<!\d)((?:18|19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[-_ T.]{1,3}(?:at )?([01]\d|2[0-3])([-_.h]?)([0-5]\d)(?:\6([0-5]\d)(?:\d{3})?)?)?"
    r"(?!\d)"
)


def in_name(name: str) -> datetime | None:
    """Return the date in a file name, such as ``IMG_20180704_101530.jpg`` or ``2018-07-04.png``."""
    for match in _NAME_DATE.finditer(name):
        year, _, month, day, hour, _, minute, second = match.groups()
        date = _date(*(int(part or 0) for part in (year, month, day, hour, minute, second)))
        if date is not None:
            return date
    return None
