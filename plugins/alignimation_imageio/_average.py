"""The mean of photos, in linear light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alignimation_core import Canvas, Frame, OutputError
from alignimation_imageio._saving import save
from alignimation_imageio._scaling import Layout, Pixels
from alignimation_imageio._sheet import Grid, OncePerPhoto, square

Light = NDArray[np.float32]

_ENCODED = np.arange(256) / 255
LIGHT: Light = np.where(
    _ENCODED <= 0.04045, _ENCODED / 12.92, ((_ENCODED + 0.055) / 1.055) ** 2.4
).astype(np.float32)
"""Linear light of each of sRGB's values (IEC 61966-2-1)."""


class AverageWriter(OncePerPhoto):
    """Adds up the light of the photos of each year, or of all."""

    def __init__(
        self, path: Path, canvas: Canvas, by_year: bool, width: int | None, background: str
    ) -> None:
        self._by_year, self._background = by_year, background
        self._sums: dict[int | None, Light] = {}
        self._counts: dict[int | None, int] = {}
        super().__init__(path, Layout(canvas, width, background))
        with self.guarded():
            self.output.part.touch()

    def _add(self, pixels: Pixels, frame: Frame) -> None:
        if self._by_year and frame.photo.taken_from == "file":
            return
        year = frame.photo.taken.year if self._by_year else None
        light = LIGHT[pixels]
        if year in self._sums:
            self._sums[year] += light
        else:
            self._sums[year] = light
        self._counts[year] = self._counts.get(year, 0) + 1

    def _finish(self) -> None:
        if not self._sums:
            what = "no photo says in which year it was taken; leave out by: year"
            raise OutputError(f"{self.path}: {what}")
        means = {year: _pixels(s, self._counts[year]) for year, s in self._sums.items()}
        if not self._by_year:
            save(Image.fromarray(means[None]), self.output.part, self.path.name)
            return
        cell = self.layout.width, self.layout.height
        grid = Grid(cell, square(len(means), cell), self._background, captioned=True)
        sheet = grid.blank(grid.height(-(-len(means) // grid.columns)))
        for place, year in enumerate(sorted(year for year in means if year is not None)):
            grid.put(sheet, place, means[year], str(year))
        save(sheet, self.output.part, self.path.name)


def _pixels(total: Light, count: int) -> Pixels:
    """Return the mean of so much linear light as sRGB."""
    light = total / np.float32(count)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    pixels: Pixels = np.rint(encoded * 255).astype(np.uint8)
    return pixels
