"""How far patches are shifted against each other, by normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

PATCH = 16, 44
"""Height and width of what is compared, pixels: of an eye, its lids; brows move, glasses shine."""
REACH = 7
"""How far a patch is looked for, pixels."""
WINDOW = PATCH[0] + 2 * REACH, PATCH[1] + 2 * REACH
BLUR = 1.3
LOCAL = 10.0
"""Standard deviation of the Gaussian over which a pixel's surroundings are taken, pixels."""
FLAT = 0.01
"""Least standard deviation of the surroundings, of a range of 1: what is flat says nothing."""
SHOWN = 0.5
"""Least share of a patch that must show the subject."""
APART = 2.0
"""How far the shifts found in both directions may disagree, pixels."""
LIKE = 0.5
"""Correlation from which on patches are held to show the same."""
CLOSE = 4
"""Pixels about a peak that belong to it."""
DISTINCT = 0.1
"""How much higher a peak must be than any other, lest it be there by chance."""
THUMBNAIL = 7
"""Pixels of a patch along a side of one of its thumbnail's."""

_FOURIER = WINDOW[0], WINDOW[1] + 2  # products of small primes


@dataclass(frozen=True, slots=True, eq=False)
class Spectra:
    """Patches of N photos at K places, ready to be compared.

    Attributes:
        templates: (N, K, ...) complex, the Fourier transform of the middle of each window.
        windows: (N, K, ...) complex, that of the window.
        energy: (N, K) sum of squares of the middle; 0 where too little is shown.
        energies: (N, K, 15, 15) the same at every shift.
    """

    templates: Tensor
    windows: Tensor
    energy: Tensor
    energies: Tensor

    @classmethod
    def of(cls, windows: Tensor, shown: Tensor) -> Self:
        """Transform (N, K, *WINDOW) normalised pixels, and which are shown."""
        rows, columns = (slice(REACH, REACH + side) for side in PATCH)
        middle = windows[..., rows, columns]
        enough = shown[..., rows, columns].mean((-1, -2)) >= SHOWN
        area = PATCH[0] * PATCH[1]
        return cls(
            torch.fft.rfft2(middle, _FOURIER),
            torch.fft.rfft2(windows, _FOURIER),
            middle.square().sum((-1, -2)) * enough,
            functional.avg_pool2d(windows.square(), PATCH, 1) * area,
        )

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the patches of several as one."""
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in cls.__slots__))


def normalised(pixels: Tensor, shown: Tensor) -> Tensor:
    """Blur pixels, take away their local mean and divide by their local standard deviation.

    So neither light nor contrast counts. Of (..., *WINDOW) pixels in [0, 1] and shares in [0, 1]
    that they show; what is not shown is 0, and no part of any mean.
    """
    near, _ = smoothed(pixels * shown, shown, BLUR)
    mean, there = smoothed(near * shown, shown, LOCAL)
    square, _ = smoothed(near.square() * shown, shown, LOCAL)
    deviation = (square - mean.square()).clamp(min=0).add(FLAT**2).sqrt()
    return (near - mean) / deviation * shown * (there > 0)


def smoothed(values: Tensor, shares: Tensor, width: float) -> tuple[Tensor, Tensor]:
    """Return the Gaussian mean of (..., *WINDOW) values that are shares of something; its share."""
    down, across = (_gaussian(side, width) for side in values.shape[-2:])
    share = down @ shares @ across
    return down @ values @ across / share.clamp(min=1e-6), share


def _gaussian(side: int, width: float) -> Tensor:
    at = torch.arange(side)
    rows = torch.exp(-0.5 * ((at - at[:, None]) / width).square())
    return rows / rows.sum(1).max()


def thumbnails(windows: Tensor) -> Tensor:
    """Return a vector of unit length for each of N photos, by which alike ones are found."""
    reduced = functional.avg_pool2d(windows.flatten(0, 1)[:, None], THUMBNAIL)
    return functional.normalize(reduced.reshape(len(windows), -1), dim=1)


def shifts(spectra: Spectra, here: Tensor, there: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Measure how far the patches of one photo are shifted in another.

    Args:
        spectra: of N photos.
        here: (M,) indices.
        there: (M,) indices of the others.

    Yields:
        For some of the pairs after the others: (m, K, 2) x and y, by how much what lies in the
        middle of a patch here lies off it there, pixels; and (m, K) weights in [0, 1], 0 where
        the two do not show the same, or the two directions disagree.
    """
    for some in torch.split(torch.arange(len(here)), 64):
        a, b = here[some], there[some]
        forth, like = _peak(spectra, a, b)
        back, liked = _peak(spectra, b, a)
        agree = (forth + back).norm(dim=-1) <= APART
        alike = torch.where(agree, (like + liked) / 2, 0.0)
        yield (forth - back) / 2, 4 * (alike - LIKE).clamp(min=0).square()


def _peak(spectra: Spectra, here: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
    """Return (m, K, 2) shifts and (m, K) correlations; 0 where the peak is not inside."""
    side = 2 * REACH + 1
    product = spectra.templates[here].conj() * spectra.windows[there]
    raw = torch.fft.irfft2(product, _FOURIER)[..., :side, :side]
    energy = spectra.energy[here, :, None, None] * spectra.energies[there]
    found = torch.where(energy > 1e-3, raw / energy.clamp(min=1e-3).sqrt(), 0.0)
    height, at = found.flatten(-2).max(-1)
    y, x = at // side, at % side
    inside = (x > 0) & (x < side - 1) & (y > 0) & (y < side - 1)
    inside &= spectra.energy[there] > 0
    x, y = x.clamp(1, side - 2), y.clamp(1, side - 2)
    steps = torch.arange(side)
    near = ((steps - y[..., None]).abs() <= CLOSE)[..., :, None]
    near = near & ((steps - x[..., None]).abs() <= CLOSE)[..., None, :]
    rival = found.masked_fill(near, 0.0).flatten(-2).amax(-1)
    inside &= height - rival > DISTINCT
    flat = found.flatten(-2)
    centre = y * side + x

    def value(step: int) -> Tensor:
        return flat.gather(-1, (centre + step)[..., None])[..., 0]

    def summit(step: int) -> Tensor:
        before, middle, after = value(-step), value(0), value(step)
        bend = (2 * middle - before - after).clamp(min=1e-6)
        return ((after - before) / (2 * bend)).clamp(-0.5, 0.5)

    shift = torch.stack([x - REACH + summit(1), y - REACH + summit(side)], -1)
    return shift, torch.where(inside, height, 0.0)
