"""Grids of pictures with captions."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from alignimation_core import Canvas, Frame, OutputError
from alignimation_core.api.data import LUMA
from alignimation_core.api.font import FONT
from alignimation_imageio._atomic import AtomicWriter
from alignimation_imageio._metadata import caption
from alignimation_imageio._pdf import POINTS, Pdf
from alignimation_imageio._saving import save
from alignimation_imageio._scaling import Layout, Pixels

LARGEST = 65500
"""Pixels on a side of a JPEG, and of anything that other programs can be expected to open."""


class OncePerPhoto(AtomicWriter):
    """A writer that takes of each photo the first frame that shows it, and it alone."""

    def __init__(self, path: Path, layout: Layout) -> None:
        super().__init__(path, layout)
        self._shown: set[str] = set()

    def write(self, frame: Frame) -> None:
        """Write the next frame, if its photo is new; see ``AtomicWriter.write``."""
        if not frame.made and frame.photo.name not in self._shown:
            self._shown.add(frame.photo.name)
            super().write(frame)


class Grid:
    """Where pictures of one size, and their captions, stand in a grid.

    ``cell`` is the (width, height) of a picture. Without ``captioned`` there is no room for words.
    """

    def __init__(
        self, cell: tuple[int, int], columns: int, background: str, captioned: bool
    ) -> None:
        self.cell, self.columns, self._background = cell, columns, background
        self.gap = max(2, cell[0] // 40)
        size = max(9, cell[0] // 14)
        self._font = ImageFont.truetype(str(FONT), size)
        self._words = round(size * 1.5) if captioned else 0
        colours = zip(LUMA, ImageColor.getrgb(background)[:3], strict=True)
        self._ink = "black" if sum(weight * value for weight, value in colours) > 127 else "white"

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.columns * (self.cell[0] + self.gap) + self.gap

    def height(self, rows: int) -> int:
        """Return the pixels down so many rows."""
        return rows * (self.cell[1] + self._words + self.gap) + self.gap

    def blank(self, height: int) -> Image.Image:
        """Return an empty sheet.

        Raises:
            OutputError: it would be too large.
        """
        if max(self.width, height) > LARGEST:
            raise OutputError(
                f"a picture of {self.width}x{height} pixels is too large for most programs; "
                "set a smaller width, or other columns"
            )
        return Image.new("RGB", (self.width, height), self._background)

    def put(self, sheet: Image.Image, place: int, pixels: Pixels, words: str) -> None:
        """Draw the picture of a place, counted from 0 by rows, and what stands under it."""
        row, column = divmod(place, self.columns)
        x = self.gap + column * (self.cell[0] + self.gap)
        y = self.height(row)
        sheet.paste(Image.fromarray(pixels), (x, y))
        short = words = " ".join(words.split())
        while short and self._font.getlength(short) > self.cell[0]:
            words = words[:-1]
            short = f"{words}..." if words else ""
        middle = x + self.cell[0] / 2, y + self.cell[1] + self._words / 2
        ImageDraw.Draw(sheet).text(middle, short, self._ink, self._font, anchor="mm")


def square(count: int, cell: tuple[int, int]) -> int:
    """Return how many columns make a grid of so many pictures about a square."""
    return max(1, min(count, round(math.sqrt(count * cell[1] / cell[0]))))


class SheetWriter(OncePerPhoto):
    """Writes a contact sheet, or the pages of one."""

    def __init__(
        self,
        path: Path,
        canvas: Canvas,
        count: int,
        columns: int | None,
        width: int,
        captions: str,
        background: str,
    ) -> None:
        pages = path.suffix.lower() == ".pdf"
        columns = columns or (5 if pages else square(count, (canvas.width, canvas.height)))
        # gaps are a fortieth of a cell
        across = max(16, int(width / (columns + (columns + 1) / 40)))
        layout = Layout(canvas, across, background)
        grid = Grid((layout.width, layout.height), columns, background, captions != "none")
        rows, height = -(-count // columns), grid.height(-(-count // columns))
        if pages:
            page = round(grid.width * POINTS[1] / POINTS[0])
            rows = max(1, (page - grid.gap) // (grid.height(1) - grid.gap))
            height = max(page, grid.height(1))
        self._grid, self._captions, self._most = grid, captions, rows * columns
        self._on_sheet = 0
        super().__init__(path, layout)
        with self.guarded():
            self._sheet = grid.blank(height)
            self.output.part.touch()
            self._pdf = Pdf(self.output.part) if pages else None

    def _add(self, pixels: Pixels, frame: Frame) -> None:
        if self._pdf is not None and self._on_sheet == self._most:
            self._pdf.add(self._sheet)
            self._sheet, self._on_sheet = self._grid.blank(self._sheet.height), 0
        words = caption(frame.photo, self._captions)
        self._grid.put(self._sheet, self._on_sheet, pixels, words)
        self._on_sheet += 1

    def _finish(self) -> None:
        if self._pdf is not None:
            self._pdf.add(self._sheet)
            self._pdf.finish()
        else:
            height = self._grid.height(-(-self._on_sheet // self._grid.columns))
            whole = self._sheet.crop((0, 0, self._sheet.width, height))
            save(whole, self.output.part, self.path.name)
