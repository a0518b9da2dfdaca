"""Picture files, opened; and what may be wrong with them."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from alignimation_core.api import urls
from alignimation_core.api.data import File
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.files import RAW_SUFFIXES, SourcePhoto
from alignimation_core.plugin import sources

HEIF = frozenset({".heic", ".heif", ".hif"})


class Quiet:
    """Ignores warnings while any thread is inside; ``warnings.catch_warnings`` is for one alone."""

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        """Ignore warnings from now on."""
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        """Let warnings be what they were, once the last thread leaves."""
        with self._lock:
            self._inside -= 1
            if not self._inside:
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
    suffix = path.suffix.lower()
    if suffix in RAW_SUFFIXES:
        raise PhotoError(path, "camera raw files are not read; export it as JPEG or TIFF")
    if suffix in HEIF:
        try:
            import pillow_heif
        except ImportError:
            reason = "HEIC needs one more package: pip install 'alignimation[heic]'"
            raise PhotoError(path, reason) from None
        pillow_heif.register_heif_opener()
    with _bytes(path) as stream:
        try:
            with QUIET, Image.open(stream) as image:
                yield image, stream
        except (PhotoError, KeyboardInterrupt):
            raise
        except Image.DecompressionBombError:
            reason = "the picture is too large: 179 megapixels is the most; export it smaller"
            raise PhotoError(path, reason) from None
        except UnidentifiedImageError:
            size = stream.seek(0, os.SEEK_END)
            reason = "the file is empty" if size == 0 else "this is no picture that Pillow knows"
            raise PhotoError(path, f"{reason}; replace or remove it") from None
        except MemoryError:
            reason = "there is too little memory to decode it; set `executor.workers` to fewer"
            raise PhotoError(path, reason) from None
        except Exception as error:  # Pillow raises nearly anything on broken files
            text = " ".join(str(error).split()) or type(error).__name__
            reason = f"the picture is damaged: {text}; replace or remove it"
            raise PhotoError(path, reason) from error


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
