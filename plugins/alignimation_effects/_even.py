"""Even light: exposure and white balance of the subject, brought to a running median."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from alignimation_core import Canvas, Film, Frame, Subject
from alignimation_core.api import geometry
from alignimation_effects._light import DECODED, ENCODED, FULL

AROUND = 16
"""Frames before and after one over which the median is taken; so many wait for those after."""
COARSE = 4
"""Every how many pixels, across and down, the subject is measured."""
LEAST = 64
"""Pixels measured below which a subject says nothing."""

_LIGHT = DECODED.astype(np.float64) / FULL
Numbers = NDArray[np.float64]


def evened(frames: Iterator[Frame], film: Film, strength: float) -> Iterator[Frame]:
    """Yield frames whose subject has the light of its neighbours' median, by strength 0 to 1."""
    waiting: deque[tuple[Frame, Numbers | None]] = deque()
    means: list[Numbers] = []  # logarithms; of frames without a subject, not a number
    done = 0

    def next_one() -> Frame:
        frame, shares = waiting.popleft()
        near = np.stack(means[max(0, done - AROUND) : done + AROUND + 1])
        if shares is None:
            return frame
        goal = np.nanmedian(near, axis=0)
        wanted = means[done] + strength * (goal - means[done])
        curves = [_curve(*channel) for channel in zip(shares, np.exp(wanted), strict=True)]
        return replace(frame, image=_through(frame.image, np.stack(curves)))

    for frame in frames:
        shares = _shares(frame, film.subjects.get(frame.photo.name), film.canvas)
        means.append(np.full(3, np.nan) if shares is None else np.log(shares @ _LIGHT + 1e-6))
        waiting.append((frame, shares))
        if len(waiting) > AROUND:
            yield next_one()
            done += 1
    while waiting:
        yield next_one()
        done += 1


def _shares(frame: Frame, subject: Subject | None, canvas: Canvas) -> Numbers | None:
    """Return (3, 256) shares of the subject's pixels that have each value; None without pixels."""
    if subject is None:
        return None
    size = -(-canvas.height // COARSE), -(-canvas.width // COARSE)
    weights = _weights(subject, size).numpy().astype(np.float64)
    pixels = frame.image[:, ::COARSE, ::COARSE].numpy()
    if len(pixels) == 4:
        weights = weights * (pixels[3] / 255)
    if weights.sum() < LEAST:
        return None
    flat = weights.ravel()
    return np.stack([np.bincount(plane.ravel(), flat, 256) / flat.sum() for plane in pixels[:3]])


def _weights(subject: Subject, size: tuple[int, int]) -> torch.Tensor:
    """Return where the subject is on a coarse canvas: its mask, else an ellipse in its box."""
    coarse = geometry.scaling(1 / COARSE, 1 / COARSE)
    if subject.mask is not None:
        placed = coarse @ geometry.as_tensor(subject.mask.image_from_mask)
        return geometry.draw(subject.mask.tensor(), placed, size)
    x0, y0, x1, y1 = (side / COARSE for side in subject.box)
    xs = (torch.arange(size[1]) + 0.5 - (x0 + x1) / 2) / max((x1 - x0) / 2, 1e-6)
    ys = (torch.arange(size[0]) + 0.5 - (y0 + y1) / 2) / max((y1 - y0) / 2, 1e-6)
    return ((xs[None, :].square() + ys[:, None].square()) < 1).float()


def _bent(gain: float) -> Numbers:
    """Return the light of every value times a gain, bent so that black and white stay."""
    bent: Numbers = gain * _LIGHT / (1 + (gain - 1) * _LIGHT)
    return bent


def _curve(shares: Numbers, mean: float) -> NDArray[np.uint8]:
    """Return a value for each of 256, by which pixels with these shares have a mean light.

    Nothing becomes black or white that was not, so that nothing clips.
    """
    low, high = -5.0, 5.0
    for _ in range(30):
        middle = (low + high) / 2
        if float(shares @ _bent(float(np.exp(middle)))) < mean:
            low = middle
        else:
            high = middle
    light = _bent(float(np.exp((low + high) / 2)))
    curve: NDArray[np.uint8] = ENCODED[np.round(light * FULL).astype(int)]
    curve[1:255] = curve[1:255].clip(1, 254)
    return curve


def _through(image: torch.Tensor, curves: NDArray[np.uint8]) -> torch.Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    same = range(256) if len(image) == 4 else ()
    changed = picture.point([*curves.ravel().tolist(), *same])
    return torch.from_numpy(np.array(changed)).permute(2, 0, 1)
