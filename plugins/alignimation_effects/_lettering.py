"""Text as a picture, and pictures put onto frames."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from alignimation_core.api.font import FONT

MARGIN = 0.035
"""Between what is put onto a frame and its edge, in heights of the canvas."""


def lettering(
    text: str,
    font: Path | None,
    size: float,
    colour: str,
    outline: str | None,
    box: str | None,
    widest: float,
    align: Literal["left", "center", "right"] = "center",
) -> Image.Image:
    """Draw text as RGBA, smaller than ``size`` pixels where it would be wider than ``widest``.

    ``outline`` is the colour around the letters, ``box`` that of a half-transparent box behind
    them; None for neither.
    """
    letters, stroke, bounds = _measured(text, font, size, outline, align)
    if bounds[2] - bounds[0] > widest:
        size *= widest / (bounds[2] - bounds[0])
        letters, stroke, bounds = _measured(text, font, size, outline, align)
    left, top, right, bottom = bounds
    pad = round(size * 0.35) if box else 1
    picture = Image.new(
        "RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), (0, 0, 0, 0)
    )
    draw = ImageDraw.Draw(picture)
    if box:
        behind = Image.new("RGBA", picture.size, box)
        behind.putalpha(160)
        draw.rounded_rectangle((0, 0, *(side - 1 for side in picture.size)), pad, "white")
        picture.paste(behind, mask=picture.getchannel("A"))
        draw = ImageDraw.Draw(picture)
    draw.multiline_text(
        (pad - left, pad - top),
        text,
        colour,
        letters,
        align=align,
        stroke_width=stroke,
        stroke_fill=outline,
    )
    return picture


def _measured(
    text: str, font: Path | None, size: float, outline: str | None, align: str
) -> tuple[ImageFont.FreeTypeFont, float, tuple[float, float, float, float]]:
    """Return the font, the width of the outline, and the bounds of the text in pixels."""
    letters = ImageFont.truetype(str(font or FONT), max(4.0, size))
    stroke = max(1.0, size / 14) if outline else 0.0
    room = ImageDraw.Draw(Image.new("L", (1, 1)))

    def bounds(given: str) -> tuple[float, float, float, float]:
        return room.multiline_textbbox((0, 0), given, letters, align=align, stroke_width=stroke)

    left, top, right, bottom = bounds(text)
    # as high as any letters are: lines of one place do not jump from frame to frame
    _, highest, _, lowest = bounds("\n".join("Ág" for _ in text.split("\n")))
    return letters, stroke, (left, min(top, highest), right, max(bottom, lowest))


def placed(picture: Image.Image, place: str, size: tuple[int, int]) -> tuple[int, int]:
    """Return the upper left corner of a picture at a place of a canvas of (height, width)."""
    height, width = size
    margin = round(MARGIN * height)
    free = width - picture.width, height - picture.height
    x = margin if "left" in place else free[0] - margin if "right" in place else free[0] // 2
    y = margin if "top" in place else free[1] - margin if "bottom" in place else free[1] // 2
    return max(0, x), max(0, y)


def put(image: Tensor, picture: Image.Image, corner: tuple[int, int]) -> Tensor:
    """Return a new frame, (3 or 4, h, w) uint8, with an RGBA picture laid over it."""
    pixels = image.permute(1, 2, 0).numpy().copy()
    x, y = (max(0, place) for place in corner)
    part = pixels[y : y + picture.height, x : x + picture.width]
    covered = Image.fromarray(part)
    if covered.mode == "RGBA":
        covered.alpha_composite(picture)
    else:
        covered.paste(picture, (0, 0), picture)
    part[:] = covered
    return torch.from_numpy(pixels).permute(2, 0, 1)


def image_of(picture: Image.Image) -> Tensor:
    """Return a picture as the image of a frame, (3 or 4, h, w) uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)
