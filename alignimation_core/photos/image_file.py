"""Picture files, opened; and what may be wrong with them."""

from __future__ import annotations

import logging
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from alignimation_core.api import urls
from alignimation_core.api.data import File
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.files import RAW_SUFFIXES, SourcePhoto
from alignimation_core.photos.decoding import camera_raw, contents, jpeg, png_chunks
from alignimation_core.photos.decoding.picture import LARGEST
from alignimation_core.plugin import sources

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # what it says there names no file

FORMATS = "JPEG PNG WEBP AVIF TIFF GIF BMP DIB JPEG2000 PPM".split()
"""What Pillow may take a file for: not what needs other programs, such as PostScript."""

LARGEST_JPEG = 1_000_000_000
"""Pixels of a JPEG, which can be decoded at a reduced size."""

LARGEST_FILE = 1 << 30
"""Bytes of a file that is no JPEG: several formats are read whole."""

_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{3}(?:.{4}|.{6}))Exif", re.DOTALL)
"""Where an AVIF file lists its EXIF: of an item of another type, no decoder takes notice."""

_BITS = 258  # of a sample, a tag of TIFF

NO_MEMORY = "there is too little memory to decode it; set `executor.workers` to fewer"


class Quiet:
    """Ignores warnings, and Pillow's limits, while any thread is inside.

    ``warnings.catch_warnings`` is for one thread alone; limits are ``opened``'s own.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        """Ignore warnings and limits from now on."""
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        """Let both be what they were, once the last thread leaves."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
                Image.MAX_IMAGE_PIXELS = self._limit
                self._before.__exit__(None, None, None)


QUIET = Quiet()
"""What Pillow says of odd files is not for the user: those that matter are errors."""


@contextmanager
def opened(path: File) -> Iterator[tuple[Image.Image, BufferedReader | BytesIO]]:
    """Open a picture, and the file that it is in.

    Raises:
        PhotoError: the file cannot be read or is no picture; whatever Pillow makes of a broken
            file, here or while the picture is used, becomes one.
    """
    with _bytes(path) as stream, picture_in(stream, path) as image:
        yield image, stream


@contextmanager
def picture_in(stream: BufferedReader | BytesIO, path: File) -> Iterator[Image.Image]:
    """Open the picture in an open file; errors name its path, and are those of ``opened``."""
    stream.seek(0)
    head = stream.read(contents.HEAD)
    stream.seek(0)
    try:
        with QUIET, _picture(path, head, stream) as image:
            yield image
    except (PhotoError, KeyboardInterrupt):
        raise
    except UnidentifiedImageError:
        raise PhotoError(path, _unidentified(head)) from None
    except MemoryError:
        raise PhotoError(path, NO_MEMORY) from None
    except Exception as error:  # Pillow raises nearly anything on broken files
        raise PhotoError(path, _damaged(head, error)) from error


def _picture(path: File, head: bytes, stream: BufferedReader | BytesIO) -> Image.Image:
    """Open a picture whose size, and whose EXIF, can be asked for without decoding it."""
    kind = contents.picture_format(head)
    picture, exif = stream, b""
    if kind == "PNG":
        picture, exif = png_chunks.without_faults(stream)
    if kind == "RAW" or (kind == "TIFF" and path.suffix.lower() in RAW_SUFFIXES):
        image = _camera_raw(path, stream)
    else:
        image = _by_pillow(picture, _formats(path, kind), kind)
        if camera_raw.is_raw(image):
            image = _camera_raw(path, stream)
        elif kind == "TIFF":
            _widen_planes(image)
    if kind == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        image.info["exif"] = exif  # or Pillow would decode the picture to look behind it
    with suppress(Exception):  # garbage costs no photo: from here on there is no EXIF
        image.getexif()
    is_jpeg = jpeg.is_jpeg(image)
    most = LARGEST_JPEG if is_jpeg else LARGEST
    if image.width * image.height > most:
        reason = f"the picture is too large: {round(most / 1e6)} megapixels is the most"
        raise PhotoError(path, f"{reason}; export it smaller")
    if not is_jpeg and stream.seek(0, os.SEEK_END) > LARGEST_FILE:
        raise PhotoError(path, "the file is too large: 1 GB is the most; export it smaller")
    return image


def _by_pillow(
    picture: BufferedReader | BytesIO, formats: list[str], kind: str | None
) -> Image.Image:
    """Open a picture; an AVIF whose EXIF is garbage as if it had none, as Pillow would not."""
    try:
        return Image.open(picture, formats=formats)
    except Exception:
        if kind != "AVIF":
            raise
        picture.seek(0)
        data = picture.read(LARGEST_FILE)
        return Image.open(BytesIO(_EXIF_ITEM.sub(rb"\1skip", data, count=1)), formats=formats)


def _widen_planes(image: Any) -> None:
    """Have the planes of a TIFF read as 16 bits where they are: Pillow takes them for bytes."""
    if image.tag_v2.get(_BITS, (8,))[0] != 16:
        return
    order = "L" if image.tag_v2.prefix == b"II" else "B"
    for i, tile in enumerate(image.tile):
        mode, *rest = tile.args
        if tile.codec_name == "raw" and mode in tuple("RGBA"):
            image.tile[i] = tile._replace(args=(f"{mode};16{order}", *rest))


def _formats(path: File, kind: str | None) -> list[str]:
    """Return what Pillow may take a file for, after it has learnt to."""
    if kind == "HEIC":
        import pi_heif

        pi_heif.register_heif_opener()
        return ["HEIF"]
    if kind == "JPEG XL":
        try:
            import pillow_jxl  # noqa: F401
        except ImportError:
            reason = "JPEG XL needs one more package: pip install 'alignimation[jxl]'"
            raise PhotoError(path, reason) from None
        return ["JXL"]
    if kind is None and path.suffix.lower() == ".tga":  # the only one without a mark of its own
        return ["TGA"]
    return FORMATS


def _camera_raw(path: File, stream: BufferedReader | BytesIO) -> Image.Image:
    stream.seek(0)
    try:
        return camera_raw.header(stream)
    except ImportError:
        reason = "camera raw needs one more package: pip install 'alignimation[raw]'"
        raise PhotoError(path, reason) from None
    except Exception:  # of LibRaw: it does not know it either
        raise UnidentifiedImageError from None


def _unidentified(head: bytes) -> str:
    if not head:
        return "the file is empty; replace or remove it"
    what = contents.described(head)
    if what is None:
        return "this is no picture of a format that is known; replace or remove it"
    if contents.picture_format(head) == "TIFF":  # which may hold nearly anything
        return "this TIFF is broken, or of a kind that is not read; export it as JPEG, or remove it"
    if contents.picture_format(head):
        return f"this is {what}, of which nothing can be read; replace or remove it"
    return f"this is {what}, no photo; replace or remove it"


def _damaged(head: bytes, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return f"the file cannot be read: {error.strerror}; replace or remove it"
    kind = contents.picture_format(head) or "picture"
    return f"the {kind} is damaged and cannot be decoded; replace or remove it"


@contextmanager
def _bytes(path: File) -> Iterator[BufferedReader | BytesIO]:
    """Open a local file, or get a remote one or a source's, whole and in one request."""
    if isinstance(path, SourcePhoto):
        content = sources.open_photo(path)
        if isinstance(content, bytes):
            yield BytesIO(content)
            return
        path = content
    if not isinstance(path, Path):
        try:
            data = path.fs.cat_file(path.path)
        except FileNotFoundError:
            raise PhotoError(path, "the file is gone") from None
        except Exception as error:  # backends raise their own, such as botocore's
            raise PhotoError(path, urls.reason(error)) from error
        yield BytesIO(data)
        return
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # to open a pipe may take for ever
            raise PhotoError(path, "this is a device or a pipe, no file; remove it")
        stream = path.open("rb")
    except FileNotFoundError:
        gone = "the link leads nowhere" if path.is_symlink() else "the file is gone"
        raise PhotoError(path, gone) from None
    except PermissionError as error:
        what = "folder" if path.is_dir() else "file"
        reason = f"the {what} cannot be read: {error.strerror}; give yourself leave to read it"
        raise PhotoError(path, reason) from None
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}; replace or remove it"
        raise PhotoError(path, reason) from error
    with stream:
        yield stream
