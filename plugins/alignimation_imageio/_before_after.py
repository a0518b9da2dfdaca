"""Two photos side by side, or a GIF in which one wipes the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.video.stream import VideoStream
from PIL import Image

from alignimation_core import Canvas, Frame, OutputError, Photo
from alignimation_core.api.files import PhotoNames
from alignimation_imageio._metadata import caption
from alignimation_imageio._saving import save
from alignimation_imageio._scaling import Layout, Pixels
from alignimation_imageio._sheet import Grid, OncePerPhoto

RATE = 25
"""Frames a second of the wipe: GIF's clock has hundredths of a second."""
HOLD, WIPE = 25, 50
"""Frames for which each photo stands, and that one takes to wipe the other."""


class BeforeAfterWriter(OncePerPhoto):
    """Keeps two of the photos that come, and writes them at the end."""

    def __init__(
        self,
        path: Path,
        canvas: Canvas,
        before: str | None,
        after: str | None,
        width: int | None,
        captions: str,
        background: str,
    ) -> None:
        self._wanted, self._captions = (before, after), captions
        self._pair: list[tuple[Pixels, Photo] | None] = [None, None]
        self._background = background
        super().__init__(path, Layout(canvas, width, background))
        with self.guarded():
            self.output.part.touch()

    def _add(self, pixels: Pixels, frame: Frame) -> None:
        name = frame.photo.name
        for side, wanted in enumerate(self._wanted):
            new = self._pair[side] is None
            if wanted is None:
                taken = new or side == 1
            else:
                taken = name == wanted or (new and bool(PhotoNames([name]).meant(wanted)))
            if taken:
                self._pair[side] = pixels.copy(), frame.photo

    def _finish(self) -> None:
        found = []
        for wanted, kept in zip(self._wanted, self._pair, strict=True):
            if kept is None:
                what = f"no frame shows the photo {wanted!r}; name one that is not left out"
                raise OutputError(f"{self.path}: {what}")
            found.append((kept[0], caption(kept[1], self._captions)))
        wipes = self.path.suffix.lower() == ".gif"
        cell = self.layout.width, self.layout.height
        captioned = any(words for _, words in found)
        grid = Grid(cell, 1 if wipes else 2, self._background, captioned)
        sheet = grid.blank(grid.height(2 if wipes else 1))
        for place, (pixels, words) in enumerate(found):
            grid.put(sheet, place, pixels, words)
        if not wipes:
            save(sheet, self.output.part, self.path.name)
            return
        height = grid.height(1)
        below = sheet.crop((0, grid.height(2) - height, sheet.width, grid.height(2)))
        above = sheet.crop((0, 0, sheet.width, height))
        _write_gif(self.output.part, above, below, grid.gap + cell[1])


def _write_gif(part: Path, before: Image.Image, after: Image.Image, words: int) -> None:
    """Write the wipe, in the 256 colours that suit both best; captions, below ``words``, change.

    Both are dithered once, so that nothing but the edge moves, which costs little space.
    """
    both = Image.new("RGB", (before.width, 2 * before.height))
    both.paste(before, (0, 0))
    both.paste(after, (0, before.height))
    suited = Image.new("P", (1, 1))
    margin = before.crop((0, 0, 1, 1)).tobytes()  # is the background, and stays exactly that
    suited.putpalette([*(both.quantize(255).getpalette("RGB") or ()), *margin])
    drawn = both.quantize(palette=suited)
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 0] = 255  # opaque
    known = np.array(drawn.getpalette("RGB"), np.uint8).reshape(-1, 3)
    colours[: len(known), 1:] = known
    first, second = np.split(np.asarray(drawn), 2)
    with av.open(str(part), "w", format="gif", container_options={"fflags": "+bitexact"}) as film:
        stream = film.add_stream("gif", rate=RATE)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = before.width, before.height, "pal8"
        stream.codec_context.flags |= Flags.bitexact
        for time, share in _wipe():
            edge = round(share * before.width)
            shown = np.concatenate([second[:, :edge], first[:, edge:]], 1)
            shown[words:] = (first if share < 0.5 else second)[words:]
            picture = av.VideoFrame.from_ndarray((shown, colours), "pal8")  # type: ignore[arg-type]
            picture.pts, picture.time_base = time, Fraction(1, RATE)
            film.mux(stream.encode(picture))
        film.mux(stream.encode(None))


def _wipe() -> Iterator[tuple[int, float]]:
    """Yield when, in frames, how much of the second photo is to be seen: there and back, eased."""
    shares = [(1 - math.cos(math.pi * step / WIPE)) / 2 for step in range(WIPE + 1)]
    yield 0, 0.0
    for step, share in enumerate(shares[1:], HOLD):
        yield step, share
    for step, share in enumerate(shares[-2::-1], 2 * HOLD + WIPE - 1):
        yield step, share
