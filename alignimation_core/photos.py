"""Files -> upright tensors; dates; order."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

from alignimation_core.data import Photo
from alignimation_core.errors import PhotoError

if TYPE_CHECKING:
    from torch import Tensor

RAW = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .kdc .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srf"
    " .srw .x3f".split()
)
"""Camera raw formats: found, so that none is lost in silence, and reported as not read."""

HEIF = frozenset({".heic", ".heif", ".hif"})

SUFFIXES = (
    RAW
    | HEIF
    | frozenset(
        ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .avif .tif .tiff .bmp .gif .jp2 .j2k .ppm .pgm"
        " .tga".split()
    )
)
"""What counts as a photo when a recipe names a folder."""


def find(pattern: str, folder: Path, output: Path) -> tuple[list[Path], str | None]:
    """Find the photos that one line of a recipe names.

    Args:
        pattern: a folder (searched with all its sub-folders), a glob or a file, relative to
            ``folder``.
        folder: where the recipe lies.
        output: the output folder; nothing inside it is a photo.

    Returns:
        The files in natural order of their names; and, if there are none, why.
    """
    place = folder / Path(pattern).expanduser()
    unread: list[Path] = []
    if place.is_dir():
        files = _inside(place, unread)
        why = f"the folder {place} holds no photos ({' '.join(sorted(SUFFIXES - RAW))})"
        if unread == [place]:
            why, unread = f"the folder {place} cannot be read: {_denied(place)}", []
    elif glob.has_magic(pattern) and not place.exists():
        files = [Path(name) for name in glob.glob(str(place), recursive=True)]
        why = f"no file matches {place}"
    else:
        files = [place] if place.exists() else []
        why = f"{place} does not exist"
    output = output.resolve()
    there = [path for path in files if path.is_file() or (path.is_symlink() and not path.is_dir())]
    found = {
        Path(os.path.normpath(path))
        for path in (*there, *unread)
        if _visible(path, place) and output not in path.absolute().parents
    }
    return sorted(found, key=lambda path: _natural(str(path))), None if found else why


def _inside(place: Path, unread: list[Path]) -> list[Path]:
    """Return the photos in a folder and its sub-folders; note the folders that cannot be read."""

    def note(error: OSError) -> None:
        unread.append(Path(error.filename))

    return [
        Path(folder, name)
        for folder, _, names in os.walk(place, onerror=note)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    ]


def _denied(path: Path) -> str:
    try:
        with os.scandir(path):
            return "try again"
    except OSError as error:
        return error.strerror or type(error).__name__


def _visible(path: Path, place: Path) -> bool:
    inside = path.relative_to(place) if place in path.parents else Path(path.name)
    return not any(part.startswith(".") for part in inside.parts)


def _natural(text: str) -> list[tuple[int, int | str]]:
    """Return a key that sorts ``img2`` before ``img10``."""
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def order(photos: Sequence[Photo]) -> list[Photo]:
    """Return photos in the order in which they were taken, then by name."""
    return sorted(photos, key=lambda photo: (photo.taken, _natural(photo.name)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; whatever Pillow makes of a broken file becomes a ``PhotoError``."""
    suffix = path.suffix.lower()
    if suffix in RAW:
        raise PhotoError(path, "camera raw files are not read; export it as JPEG or TIFF")
    if suffix in HEIF:
        try:
            import pillow_heif
        except ImportError:
            reason = "HEIC needs one more package: pip install 'alignimation[heic]'"
            raise PhotoError(path, reason) from None
        pillow_heif.register_heif_opener()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                yield image
    except (PhotoError, KeyboardInterrupt):
        raise
    except FileNotFoundError:
        gone = "the link leads nowhere" if path.is_symlink() else "the file is gone"
        raise PhotoError(path, gone) from None
    except PermissionError as error:
        what = "folder" if path.is_dir() else "file"
        reason = f"the {what} cannot be read: {error.strerror}; give yourself leave to read it"
        raise PhotoError(path, reason) from None
    except Image.DecompressionBombError:
        reason = "the picture is too large: 179 megapixels is the most; export it smaller"
        raise PhotoError(path, reason) from None
    except UnidentifiedImageError:
        size = path.stat().st_size
        reason = "the file is empty" if size == 0 else "this is no picture that Pillow knows"
        raise PhotoError(path, f"{reason}; replace or remove it") from None
    except Exception as error:  # Pillow raises nearly anything on broken files
        text = " ".join(str(error).split()) or type(error).__name__
        raise PhotoError(path, f"the picture is damaged: {text}; replace or remove it") from error


def facts(path: Path, folder: Path) -> Photo:
    """Read the cheap facts of a photo: size, date, hash; not its pixels.

    Args:
        path: the file.
        folder: where the recipe lies; the photo's name is relative to it.

    Raises:
        PhotoError: the file cannot be read, or is no picture.
    """
    with _opened(path) as image:
        width, height = image.size
        exif = image.getexif()
        if exif.get(0x0112) in (5, 6, 7, 8):
            width, height = height, width
        dates = exif.get_ifd(0x8769)
        taken = (
            _exif_date(dates.get(0x9003), dates.get(0x9291))
            or _exif_date(dates.get(0x9004), dates.get(0x9292))
            or _exif_date(exif.get(0x0132), dates.get(0x9290))
        )
        source = "exif"
        if taken is None:
            taken, source = date_in_name(path.name), "name"
        if taken is None:
            taken, source = datetime.fromtimestamp(int(path.stat().st_mtime)), "file"
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Photo(path, relative_name(path, folder), digest, height, width, taken, source)


def relative_name(path: Path, folder: Path) -> str:
    """Return a file's name as the run record gives it: relative to the recipe, with ``/``."""
    return Path(os.path.relpath(path, folder)).as_posix()


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


def date_in_name(name: str) -> datetime | None:
    """Return the date in a file name, such as ``IMG_20180704_101530.jpg`` or ``2018-07-04.png``."""
    for match in _NAME_DATE.finditer(name):
        year, _, month, day, hour, _, minute, second = match.groups()
        date = _date(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
        if date is not None:
            return date
    return None


def load(path: str | Path, min_side: int | None = None) -> Tensor:
    """Decode one photo, upright.

    Args:
        path: the file.
        min_side: a JPEG may be decoded at 1/2, 1/4 or 1/8, as long as its long side stays at
            least this many pixels; None for full size.

    Returns:
        (3, h, w) uint8 RGB. Transparency is laid over white, 16-bit grey is scaled to 8.

    Raises:
        PhotoError: the file cannot be read, or is damaged.
    """
    import numpy as np
    import torch

    with _opened(Path(path)) as opened:
        image: Image.Image = opened
        if min_side is not None:
            ratio = min_side / max(image.size)
            wanted = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
            image.draft(None, wanted)
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image).astype(np.uint32) * 255 + 32767) // 65535
            image = Image.fromarray(grey.astype(np.uint8))
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            image = Image.new("RGBA", clear.size, "white")
            image.alpha_composite(clear)
        pixels = np.array(image.convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
