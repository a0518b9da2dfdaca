"""A canvas to paint places on, in linear light, and the lens that puts them out of focus.

Radiance is float64 ``(h, w, 3)``, linear RGB, 1.0 being white paper; lamps and glints are far
above 1.0, so that :func:`lens_blur` spreads them into the bright discs of a wide open lens.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import filters, transform

Array = NDArray[np.float64]
Colour = tuple[float, float, float]


def linear(image: Array) -> Array:
    """Linear light from sRGB values, both in [0, 1]."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4)


def srgb(image: Array) -> Array:
    """The sRGB values of linear light, both in [0, 1]."""
    image = np.clip(image, 0, 1)
    return np.where(image <= 0.0031308, image * 12.92, 1.055 * image ** (1 / 2.4) - 0.055)


def blur(image: Array, sigma: float) -> Array:
    """A Gaussian blur of (h, w) or (h, w, c), in pixels; edges are continued."""
    channel_axis = 2 if image.ndim == 3 else None
    blurred: Array = filters.gaussian(image, sigma, mode="nearest", channel_axis=channel_axis)
    return blurred


def lens_blur(image: Array, radius: float) -> Array:
    """``image`` (h, w, 3) seen through an aperture whose blur disc has ``radius`` pixels."""
    margin = int(np.ceil(radius)) + 2
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
    h, w = padded.shape[:2]
    y = np.minimum(np.arange(h), h - np.arange(h))[:, None]
    x = np.minimum(np.arange(w), w - np.arange(w))[None, :]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    spectrum = np.fft.rfft2(disc / disc.sum())[..., None]
    blurred = np.fft.irfft2(np.fft.rfft2(padded, axes=(0, 1)) * spectrum, s=(h, w), axes=(0, 1))
    return np.clip(blurred[margin:-margin, margin:-margin], 0, None)


class View:
    """A canvas with scene coordinates: x in [0, w/h], y in [0, 1] down, turned by ``tilt``."""

    def __init__(self, h: int, w: int, tilt: float, rng: np.random.Generator) -> None:
        """A blank canvas of ``h`` x ``w`` pixels; ``tilt`` in degrees, clockwise."""
        self.h, self.w, self.rng, self.aspect = h, w, rng, w / h
        y, x = np.mgrid[0:h, 0:w] + 0.5
        x, y = x / h - self.aspect / 2, y / h - 0.5
        c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
        self.x: Array = c * x + s * y + self.aspect / 2
        self.y: Array = -s * x + c * y + 0.5
        self.image: Array = np.zeros((h, w, 3))

    def paint(self, where: Array | NDArray[np.bool_], colour: Colour | Array) -> None:
        """Lay ``colour`` over the canvas with coverage ``where`` (h, w) in [0, 1]."""
        cover = np.asarray(where, dtype=np.float64)[..., None]
        self.image = self.image * (1 - cover) + np.asarray(colour) * cover

    def ramp(self, top: Colour, bottom: Colour, y0: float = 0.0, y1: float = 1.0) -> Array:
        """A vertical gradient (h, w, 3) from ``top`` at ``y0`` to ``bottom`` at ``y1``."""
        t = np.clip((self.y - y0) / (y1 - y0), 0, 1)[..., None]
        return np.asarray(top) * (1 - t) + np.asarray(bottom) * t

    def box(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.bool_]:
        """The rectangle between two corners, as a mask (h, w)."""
        return (self.x >= x0) & (self.x < x1) & (self.y >= y0) & (self.y < y1)

    def disc(self, x: float, y: float, r: float) -> NDArray[np.bool_]:
        """The disc of radius ``r`` about ``(x, y)``, as a mask (h, w)."""
        return np.hypot(self.x - x, self.y - y) < r

    def glow(self, x: float, y: float, r: float) -> Array:
        """Light falling off from ``(x, y)`` over about ``r``, (h, w, 1), 1 at its centre."""
        fall: Array = 1 / (1 + ((self.x - x) ** 2 + (self.y - y) ** 2) / r**2)
        return fall[..., None]

    def noise(self, cell: float, octaves: int = 4, stretch: float = 1.0) -> Array:
        """Cloud-like noise (h, w) in [0, 1]; ``cell`` in scene units, ``stretch`` widens it."""
        total = np.zeros((self.h, self.w))
        for octave in range(octaves):
            size = cell / 2**octave
            rows = max(2, round(1 / size) + 2)
            columns = max(2, round(self.aspect / (size * stretch)) + 2)
            grid = Image.fromarray(self.rng.random((rows, columns)).astype(np.float32))
            layer = grid.resize((self.w, self.h), Image.Resampling.BICUBIC)
            total += np.asarray(layer, dtype=np.float64) / 2**octave
        low, high = np.percentile(total, (1, 99))
        return np.clip((total - low) / (high - low), 0, 1)

    def mix(self, where: Array, dark: Colour, light: Colour) -> Array:
        """Colours (h, w, 3) between ``dark`` where ``where`` is 0 and ``light`` where it is 1."""
        return np.asarray(dark) + (np.asarray(light) - np.asarray(dark)) * where[..., None]

    def texture(self, picture: Array, u: Array, v: Array) -> Array:
        """``picture`` (H, W) or (H, W, 3) at pixel columns ``u``, rows ``v``, mirrored outside."""
        planes = np.atleast_3d(picture)
        coordinates = np.stack([v, u])
        sampled = [
            transform.warp(planes[..., k], coordinates, order=1, mode="reflect")
            for k in range(planes.shape[2])
        ]
        return np.stack(sampled, axis=-1)

    def lights(self, count: int, y0: float, y1: float, colours: list[Colour], power: float) -> None:
        """Add ``count`` points of light between two heights."""
        for _ in range(count):
            x, y = self.rng.uniform(0, self.aspect), self.rng.uniform(y0, y1)
            colour = np.asarray(colours[self.rng.integers(len(colours))])
            self.paint(self.disc(x, y, 0.0045), colour * power * self.rng.random() ** 1.7)

    def books(self, x0: float, x1: float, y: float, tall: float) -> None:
        """A row of books from ``x0`` to ``x1`` standing on ``y``."""
        palette = np.array(
            [(0.3, 0.05, 0.04), (0.05, 0.1, 0.22), (0.45, 0.36, 0.22), (0.06, 0.16, 0.1),
             (0.5, 0.22, 0.05), (0.16, 0.12, 0.1), (0.55, 0.52, 0.46)]
        )  # fmt: skip
        while x0 < x1:
            width, high = self.rng.uniform(0.012, 0.03), tall * self.rng.uniform(0.65, 0.95)
            colour = palette[self.rng.integers(len(palette))] * self.rng.uniform(0.6, 1.3)
            self.paint(self.box(x0, y - high, min(x0 + width, x1), y), colour)
            x0 += width + (0.05 if self.rng.random() < 0.08 else 0.002)
