"""Scaling, cropping and matting of frames for an encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from alignimation_core import Canvas, Frame

Pixels = NDArray[np.uint8]
"""(h, w, 3) RGB or (h, w, 4) RGBA."""


class Layout:
    """How frames of one canvas become pictures of one size.

    Pictures are scaled down to ``width`` at most, both sides multiples of ``step``. ``matte`` is
    the colour put behind transparent frames; None keeps them transparent.
    """

    def __init__(self, canvas: Canvas, width: int | None, matte: str | None, step: int = 1) -> None:
        scale = min(1.0, (width or canvas.width) / canvas.width)
        # the small number keeps a product such as 479.99999 from losing its last pixels
        self.width, self.height = (
            max(1, int(side * scale / step + 1e-6)) * step for side in (canvas.width, canvas.height)
        )
        # what a picture shows of the canvas has its shape, so that nothing is stretched
        self.shown = min(self.width / scale, canvas.width), min(self.height / scale, canvas.height)
        self.canvas = canvas
        self.matte = matte if canvas.alpha else None

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
        size = (self.width, self.height)
        if size == (self.canvas.width, self.canvas.height) and self.matte is None:
            return pixels
        image: Any = Image.fromarray(pixels)
        # Pillow weighs colours by their opacity when it resizes RGBA
        if size != self.shown:
            image = image.resize(size, Image.Resampling.LANCZOS, box=(0.0, 0.0, *self.shown))
        else:
            image = image.crop((0, 0, *size))
        if self.matte is not None:
            behind = Image.new("RGBA", image.size, self.matte)
            image = Image.alpha_composite(behind, image).convert("RGB")
        return np.asarray(image)
