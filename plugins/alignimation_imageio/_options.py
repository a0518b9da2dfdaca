"""Options that several renderers have, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _colour(colour: str) -> str:
    from PIL import ImageColor

    try:
        known = len(ImageColor.getrgb(colour)) == 3
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{colour!r} is no opaque colour; write a name or #rrggbb")
    return colour


Colour = Annotated[str, AfterValidator(_colour)]
Width = Annotated[
    int | None,
    Field(description="scale down to this many pixels across; the canvas's width if absent", ge=16),
]
Matte = Annotated[
    Colour,
    Field(description="colour behind transparent frames where the format has none: white, #20c0ff"),
]
Metadata = Literal["date", "name"]


def with_suffix(path: str, suffixes: Sequence[str]) -> str:
    """Return a path that ends in one of some suffixes; raises ``ValueError`` otherwise."""
    if PurePosixPath(path).suffix.lower() not in suffixes:
        raise ValueError(f"{path!r} does not end in {one_of(suffixes)}")
    return path


def one_of(words: Sequence[str]) -> str:
    """Return ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
