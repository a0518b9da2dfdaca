"""A bar at the edge of the frame, which grows with the film, and the years along it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from PIL import Image, ImageDraw

from alignimation_core import Photo
from alignimation_effects._lettering import lettering


def shares(photos: Sequence[Photo], *, by_time: bool) -> dict[str, float]:
    """Return for each photo, by name, which share of the film is over with it, 0 to 1."""
    if by_time and len(photos) > 1:
        first, last = photos[0].taken, photos[-1].taken
        whole = (last - first).total_seconds()
        if whole > 0:
            return {
                photo.name: min(1.0, max(0.0, (photo.taken - first).total_seconds() / whole))
                for photo in photos
            }
    return {photo.name: (i + 1) / len(photos) for i, photo in enumerate(photos)}


def bar(width: int, height: int, share: float, colour: str) -> Image.Image:
    """Return the bar as RGBA; what is to come of it is half transparent."""
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 110))
    done = round(width * share)
    if done:
        ImageDraw.Draw(picture).rectangle((0, 0, done - 1, height - 1), colour)
    return picture


def years(
    photos: Sequence[Photo], size: tuple[int, int], letters: float, font: Path | None, colour: str
) -> Image.Image | None:
    """Return the years along the bar as RGBA, of a canvas's (height, width); None without any."""
    first, last = photos[0].taken, photos[-1].taken
    whole = (last - first).total_seconds()
    width = size[1]
    names = [
        (year, (datetime(year, 1, 1) - first).total_seconds() / whole * width)
        for year in range(first.year + 1, last.year + 1)
        if whole > 0
    ]
    if not names:
        return None
    drawn = {
        year: lettering(str(year), font, letters, colour, "black", None, width) for year, _ in names
    }
    tall = max(each.height for each in drawn.values())
    tick = max(2, round(letters / 4))
    strip = Image.new("RGBA", (width, tall + 2 * tick), (0, 0, 0, 0))
    draw = ImageDraw.Draw(strip)
    free = 0.0
    for year, x in names:
        name = drawn[year]
        left = x - name.width / 2
        draw.line((x, tall + tick, x, tall + 2 * tick), colour, max(1, round(letters / 12)))
        if left >= free and left + name.width <= width:
            strip.alpha_composite(name, (round(left), tall - name.height))
            free = left + name.width * 1.3
    return strip
