"""Order of photos in time, natural sort of names, names relative to the recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from alignimation_core.api.data import File, Photo

NUMBERS = re.compile(r"(\d+)")


def order(photos: Sequence[Photo]) -> list[Photo]:
    """Return photos in the order in which they were taken, then by name."""
    ordered: list[Photo] = []
    taken = attrgetter("taken")
    for _, group in groupby(sorted(photos, key=taken), key=taken):
        same = list(group)
        ordered += sorted(same, key=lambda photo: natural(photo.name)) if len(same) > 1 else same
    return ordered


def natural(text: str) -> list[str | int]:
    """Return a key that sorts ``img2`` before ``img10``: text and numbers in turn."""
    parts: list[str | int] = [*NUMBERS.split(text)]
    parts[1::2] = map(int, parts[1::2])
    return parts


def relative_name(path: File | str, folder: Path) -> str:
    """Return a file's name as the run record gives it: relative to the recipe, or its address."""
    text, start = str(path), str(folder)
    if not isinstance(path, Path) and not Path(text).is_absolute():
        return text
    inside = text[len(start) :]
    if text.startswith(start) and inside.startswith(os.sep):
        inside = inside[1:]
    else:
        inside = os.path.relpath(text, start)
    return inside if os.sep == "/" else Path(inside).as_posix()
