"""Facts of a photo file: size, content hash, version, and when it was taken."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image

from alignimation_core.api import urls
from alignimation_core.api.data import File, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.files import SourcePhoto
from alignimation_core.photos.dates import embedded, names
from alignimation_core.photos.dates.taken import INSTANT, Taken, choose
from alignimation_core.photos.decoding import orientation
from alignimation_core.photos.image_file import opened
from alignimation_core.photos.order import relative_name


def facts(path: File, folder: Path) -> Photo:
    """Read the cheap facts of a photo: size, date, hash; not its pixels.

    Its name is relative to the folder, which is the recipe's; its date may still be in UTC, see
    ``order.in_zone``.

    Raises:
        PhotoError: the file cannot be read, or is no picture.
    """
    name = relative_name(path, folder)
    with opened(path) as (image, stream):
        version = _version(stream)
        width, height = orientation.upright_size(image)
        taken = _taken(image, name, path)
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if _version(stream) != version:
            raise PhotoError(path, "the file changed while it was read; run again")
    modified = _modified(path) if taken is None or isinstance(path, Path | SourcePhoto) else None
    if taken is None:
        taken = Taken(modified or datetime(1970, 1, 1), "file", INSTANT)
    return Photo(
        path,
        name,
        digest,
        height,
        width,
        taken.at,
        taken.origin,
        version,
        taken_zone=taken.zone,
        modified=modified,
    )


def taken(path: Path, folder: Path) -> Taken:
    """Return when a photo in a file was taken, as ``facts`` tells; its content is not read.

    Raises:
        PhotoError: the file cannot be read, or is no picture.
    """
    with opened(path) as (image, _):
        known = _taken(image, relative_name(path, folder), path)
    return known or Taken(_modified(path) or datetime(1970, 1, 1), "file", INSTANT)


def _taken(image: Image.Image, name: str, path: File) -> Taken | None:
    return choose(_dates(image, name, path), datetime.now(UTC).replace(tzinfo=None))


def _dates(image: Image.Image, name: str, path: File) -> Iterator[Taken]:
    """Yield what is known of when a photo was taken, the most trusted first."""
    yield from embedded.recorded(image)
    if isinstance(path, SourcePhoto) and path.taken is not None:
        yield Taken.of(path.taken, path.taken_from)
    yield from embedded.modified(image)
    yield from names.in_name(name)
    yield from names.in_folders(name)


def _modified(path: File) -> datetime | None:
    """Return when a file was last written, UTC, in whole seconds; None if nobody knows."""
    try:
        if isinstance(path, Path):
            seconds = int(path.stat().st_mtime)
            return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
        time = path.modified if isinstance(path, SourcePhoto) else urls.modified(path)
    except FileNotFoundError:
        raise PhotoError(path, "the file is gone") from None
    except Exception as error:
        raise PhotoError(path, urls.reason(error)) from error
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None, microsecond=0)


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
