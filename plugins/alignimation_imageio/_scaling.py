"""Scaling, cropping and matting of frames for an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from alignimation_core import Canvas, Frame

Pixels = NDArray[np.uint8]
"""(h, w, 3) RGB or (h, w, 4) RGBA."""


@dataclass(frozen=True)
class Layout:
    """How frames of one canvas become pictures of one size.

    ``box``, ``x0, y0, x1, y1`` on the canvas, is what a picture of ``width`` by ``height`` shows,
    in the same shape. ``matte`` is put behind transparent frames; None keeps them transparent.
    """

    canvas: Canvas
    width: int
    height: int
    box: tuple[float, float, float, float]
    matte: str | None

    @classmethod
    def of(cls, canvas: Canvas, width: int | None, *, step: int = 1, matte: str | None) -> Layout:
        """Scale down to ``width`` at most, both sides multiples of ``step``."""
        scale = min(1.0, (width or canvas.width) / canvas.width)
        # the small number keeps a product such as 479.99999 from losing its last pixels
        across, down = (
            max(1, int(side * scale / step + 1e-6)) * step for side in (canvas.width, canvas.height)
        )
        box = (0.0, 0.0, min(across / scale, canvas.width), min(down / scale, canvas.height))
        return cls(canvas, across, down, box, matte if canvas.alpha else None)

    @property
    def pixel_format(self) -> str:
        """What ffmpeg calls a picture's pixels."""
        return "rgba" if self.canvas.alpha and self.matte is None else "rgb24"

    def pixels(self, frame: Frame) -> Pixels:
        """Return a frame as (height, width, 3 or 4) uint8."""
        channels = 4 if self.canvas.alpha else 3
        wanted = (channels, self.canvas.height, self.canvas.width)
        if tuple(frame.image.shape) != wanted or frame.image.dtype != torch.uint8:
            found = f"{tuple(frame.image.shape)} {str(frame.image.dtype).removeprefix('torch.')}"
            raise ValueError(f"frame {frame.index}: expected {wanted} uint8, got {found}")
        pixels: Pixels = frame.image.cpu().permute(1, 2, 0).contiguous().numpy()
        whole = (self.width, self.height) == (self.canvas.width, self.canvas.height)
        if whole and self.matte is None:
            return pixels
        image: Any = Image.fromarray(pixels)
        # Pillow weighs colours by their opacity when it resizes RGBA
        if (self.width, self.height) != self.box[2:]:
            size = (self.width, self.height)
            image = image.resize(size, Image.Resampling.LANCZOS, box=self.box)
        elif image.size != (self.width, self.height):
            image = image.crop((0, 0, self.width, self.height))
        if self.matte is not None:
            behind = Image.new("RGBA", image.size, self.matte)
            image = Image.alpha_composite(behind, image).convert("RGB")
        return np.asarray(image)
