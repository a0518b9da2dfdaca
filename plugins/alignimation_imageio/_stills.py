"""Renderers of single pictures: a contact sheet, two photos beside each other, the mean of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from alignimation_core import Canvas, Renderer, Writer
from alignimation_core.api.stages import OwnEffects
from alignimation_imageio._options import Colour, Width, with_suffix

Captions = Annotated[
    Literal["date", "name", "none"],
    Field(
        description="what stands under each photo; a photo of which no more than its file's time "
        "is known has no date"
    ),
]
Background = Annotated[Colour, Field(description="colour around and behind the photos")]


class _Still(Renderer):
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg")
    effects: Annotated[
        OwnEffects,
        Field(
            default_factory=list,
            description="of this picture: none, unless named; null: the recipe's",
        ),
    ]

    @field_validator("path")
    @classmethod
    def _known_suffix(cls, path: str) -> str:
        return with_suffix(path, cls.suffixes)


class ContactSheet(_Still):
    """All photos in a grid with captions: one PNG or JPEG, or the A4 pages of a PDF.

    Photos are shown no larger than their frames, each by the first frame that shows it.
    """

    name: ClassVar[str] = "contact-sheet"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".pdf")
    path: Annotated[
        str, Field(description="file; its ending (.png, .jpg, .jpeg, .pdf) sets the format")
    ] = "contact-sheet.png"
    columns: Annotated[
        int | None,
        Field(description="photos in a row; if absent, as many as make a square; PDF: 5", ge=1),
    ] = None
    width: Annotated[
        int, Field(description="pixels across the sheet, or across a page", ge=64, le=20000)
    ] = 2400
    captions: Captions = "date"
    background: Background = "white"

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Begin the sheet; see ``Renderer.open``."""
        from alignimation_imageio._sheet import SheetWriter

        return SheetWriter(
            folder / self.path,
            canvas,
            count,
            self.columns,
            self.width,
            self.captions,
            self.background,
        )


class BeforeAfter(_Still):
    """The first and the last photo, or any two: side by side, or as a GIF that wipes across."""

    name: ClassVar[str] = "before-after"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".gif")
    path: Annotated[
        str, Field(description="file; .png, .jpg, .jpeg: side by side; .gif: one wipes the other")
    ] = "before-after.png"
    before: Annotated[str | None, Field(description="a photo's name; the first if absent")] = None
    after: Annotated[str | None, Field(description="a photo's name; the last if absent")] = None
    width: Width = None
    captions: Captions = "date"
    background: Background = "white"

    def photos_named(self) -> Mapping[str, str]:
        """Return the photos that ``before`` and ``after`` name."""
        named = {"before": self.before, "after": self.after}
        return {option: name for option, name in named.items() if name is not None}

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:  # noqa: ARG002
        """Begin the picture; see ``Renderer.open``."""
        from alignimation_imageio._before_after import BeforeAfterWriter

        return BeforeAfterWriter(
            folder / self.path,
            canvas,
            self.before,
            self.after,
            self.width,
            self.captions,
            self.background,
        )


class Average(_Still):
    """The mean of all photos, of their light: what stays the same is sharp; or one of each year.

    Each photo counts once, by the first frame that shows it. ``by: year`` puts the years into a
    grid; photos of which no more than their file's time is known are in none of them. It keeps a
    sum of each year in memory, 12 bytes a pixel.
    """

    name: ClassVar[str] = "average"
    path: Annotated[
        str, Field(description="file; its ending (.png, .jpg, .jpeg) sets the format")
    ] = "average.png"
    by: Annotated[
        Literal["year"] | None, Field(description="year: a mean of each; all photos if absent")
    ] = None
    width: Width = None
    background: Background = "white"

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:  # noqa: ARG002
        """Begin the picture; see ``Renderer.open``."""
        from alignimation_imageio._average import AverageWriter

        by_year = self.by == "year"
        return AverageWriter(folder / self.path, canvas, by_year, self.width, self.background)
