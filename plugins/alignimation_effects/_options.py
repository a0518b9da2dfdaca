"""Options that several effects have: colours and fonts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from alignimation_core.api.stages import RecipePath


def _colour(colour: str) -> str:
    from PIL import ImageColor

    try:
        ImageColor.getrgb(colour)
    except ValueError:
        raise ValueError(f"{colour!r} is no colour; write a name or '#rrggbb'") from None
    return colour


def _font(path: Path) -> Path:
    from PIL import ImageFont

    try:
        ImageFont.truetype(str(path), 10)
    except OSError:
        raise ValueError(f"{path} is no font that can be read; give a .ttf or .otf file") from None
    return path


Colour = Annotated[str, AfterValidator(_colour)]
Font = Annotated[
    Annotated[RecipePath, AfterValidator(_font)] | None,
    Field(description="file of a font, .ttf or .otf; DejaVu Sans if absent"),
]
