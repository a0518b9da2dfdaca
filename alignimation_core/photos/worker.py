"""The process that ``decoding.sandbox`` starts: decodes photos for it, with limits."""

from __future__ import annotations

import json
import os
import signal
import sys
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from alignimation_core.api.data import Damage
from alignimation_core.api.errors import PhotoError
from alignimation_core.photos import image_file
from alignimation_core.photos.decoding import camera_raw, colour, jpeg, orientation
from alignimation_core.photos.decoding.picture import Pixels, lost_at_end

UPSIDE_DOWN = frozenset({"BMP", "DIB", "TGA"})
"""Formats, as Pillow names them, that begin with the last row."""


def main(memory: int) -> None:
    """Answer requests until there are no more."""
    _limit(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the run: that ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    while line := sys.stdin.buffer.readline():
        answer, pixels = _answered(json.loads(line))
        answers.write(json.dumps(answer).encode() + b"\n")
        if pixels is not None:
            answers.write(np.ascontiguousarray(pixels).data)
        answers.flush()


def _limit(memory: int) -> None:
    try:
        import resource
    except ImportError:  # Windows, where the limit of seconds alone holds
        return
    for limit, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(limit, (most, hard))


def _answered(request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
    path = Path(request["path"])
    try:
        if request["local"]:
            with path.open("rb") as stream:
                found = decode(stream, path, request["side"])
        else:
            data = sys.stdin.buffer.read(request["bytes"])
            found = decode(BytesIO(data), path, request["side"])
    except PhotoError as error:
        reason = error.reason
        if reason == image_file.NO_MEMORY:
            reason = "decoding it takes too much memory; export it smaller, as JPEG"
        return {"reason": reason}, None
    except OSError as error:
        return {"reason": f"the file cannot be read: {error.strerror}; run again"}, None
    damage = found.damage and (found.damage.reason, found.damage.lost)
    shape = found.rgb.shape[:2]
    return {"shape": shape, "matrix": found.photo_from_picture, "damage": damage}, found.rgb


def decode(stream: BufferedReader | BytesIO, path: Path, side: int) -> Pixels:
    """Decode a photo, and of a damaged one what is left.

    Raises:
        PhotoError: nothing can be decoded.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with image_file.picture_in(stream, path) as image:
            return _pixels(image, stream, side, damaged=False)
    except PhotoError as error:
        if error.__cause__ is None:
            raise
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with image_file.picture_in(stream, path) as image:
                return _pixels(image, stream, side, damaged=True)
        except PhotoError:
            raise error from None


def _pixels(
    image: Image.Image, stream: BufferedReader | BytesIO, side: int, *, damaged: bool
) -> Pixels:
    found = jpeg.decode(image, stream, side, damaged=True)
    if found is not None:
        return found
    turn, size = orientation.turn_of(image), orientation.upright_size(image)
    if image.format == camera_raw.FORMAT:
        return Pixels(colour.srgb(camera_raw.developed(stream)))
    image.load()
    damage = _damage(image, turn, size) if damaged else None
    return Pixels(orientation.upright(colour.srgb(image), turn), damage=damage)


def _damage(image: Image.Image, turn: orientation.Turn, size: tuple[int, int]) -> Damage:
    """Return what is missing of a picture, which libjpeg fills with grey and Pillow with zeros."""
    values = np.asarray(image)
    blank = np.isin(values, (127, 128)) if image.format in ("JPEG", "MPO") else values == 0
    if blank.ndim == 3:
        blank = blank.all(2)
    if blank.all():
        raise OSError("nothing of the picture is left")
    cells = [(0, 0, image.width, image.height)]
    if image.format in UPSIDE_DOWN:
        rows = len(blank)
        cells = [(x0, rows - y1, x1, rows - y0) for x0, y0, x1, y1 in lost_at_end(blank[::-1])]
    elif image.format != "GIF" and not image.info.get("interlace"):  # which miss lines all over
        cells = lost_at_end(blank)
    lost = tuple(orientation.upright_box(box, turn, size) for box in cells)
    what = "the end of the file is missing" if lost else "a part of the file is damaged"
    return Damage(what, lost)


if __name__ == "__main__":
    main(int(sys.argv[1]))
