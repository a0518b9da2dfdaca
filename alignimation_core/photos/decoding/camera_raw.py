"""Camera raw files: the preview in them, or what LibRaw develops."""

from __future__ import annotations

from io import BufferedReader, BytesIO
from typing import Any

from PIL import ExifTags, Image, ImageOps

FORMAT = "RAW"

ENOUGH = 0.5
"""Share of the developed picture's long side that a preview has at least to be used."""

_REDUCED, _SUB_PICTURES, _COMPRESSION, _KIND = 254, 330, 259, 262  # tags of TIFF
_COMPRESSIONS = (32767, 34713, 65535)  # of Sony, Nikon and Pentax
_KINDS = (32803, 34892)  # values of a colour filter array, or linear ones

_EXIF_FROM_FLIP = {3: 3, 5: 8, 6: 6}


def is_raw(image: Image.Image) -> bool:
    """Return whether what Pillow takes for a TIFF is a camera's own, with a thumbnail in front."""
    tags: Any = getattr(image, "tag_v2", {})
    return bool(
        (tags.get(_REDUCED) == 1 and _SUB_PICTURES in tags)
        or tags.get(_COMPRESSION) in _COMPRESSIONS
        or tags.get(_KIND) in _KINDS
    )


def header(stream: BufferedReader | BytesIO) -> Image.Image:
    """Return an empty picture that has the size of the photo, without decoding it.

    Raises:
        ImportError: rawpy is not installed.
        Exception: the file is no camera raw that LibRaw knows.
    """
    import rawpy

    with rawpy.imread(stream) as raw:
        preview = _preview(raw)
        size = _size(raw) if preview is None else preview.size
    image = Image.new("1", size)
    image.format = FORMAT
    return image


def developed(stream: BufferedReader | BytesIO) -> Image.Image:
    """Return the photo, upright; raises as ``header`` does."""
    import rawpy

    stream.seek(0)
    with rawpy.imread(stream) as raw:
        return _preview(raw) or Image.fromarray(raw.postprocess(use_camera_wb=True))


def _size(raw: Any) -> tuple[int, int]:
    width, height = raw.sizes.width, raw.sizes.height
    return (height, width) if raw.sizes.flip in (5, 6) else (width, height)


def _preview(raw: Any) -> Image.Image | None:
    """Return the preview, upright, where it is large enough and can be read."""
    import rawpy

    try:
        preview = raw.extract_thumb()
        if preview.format != rawpy.ThumbFormat.JPEG:
            return None
        image: Image.Image = Image.open(BytesIO(preview.data), formats=["JPEG"])
        if max(image.size) < ENOUGH * max(_size(raw)):
            return None
        exif = image.getexif()
        if ExifTags.Base.Orientation not in exif:
            exif[ExifTags.Base.Orientation] = _EXIF_FROM_FLIP.get(raw.sizes.flip, 1)
        return ImageOps.exif_transpose(image)
    except (rawpy.LibRawError, OSError, ValueError):  # then it is developed
        return None
