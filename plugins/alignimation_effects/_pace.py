"""How long every photo is shown."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch

from alignimation_core import Frame, Photo

LONGEST = 12
"""How many times as long as usual a photo is shown at most, whatever time passes after it."""


def gaps(photos: Sequence[Photo]) -> list[float]:
    """Return for how long each photo stands: until the next, at most ``LONGEST`` median gaps."""
    times = [photo.taken for photo in photos]
    found = [max(0.0, (after - before).total_seconds()) for before, after in pairwise(times)]
    usual = statistics.median([gap for gap in found if gap > 0] or [1.0])
    return [min(gap, LONGEST * usual) for gap in [*found, usual]]


def eased(count: int) -> list[float]:
    """Return weights that make a series begin and end slowly: four times as slow as its middle."""
    places = [(2 * i + 1) / count - 1 for i in range(count)]
    return [1 + 3 * abs(place) ** 3 for place in places]


def spread(weights: Sequence[float], total: float, least: float) -> list[float]:
    """Share out a total by weights, no share smaller than ``least``."""
    short: set[int] = set()
    while True:
        free = [i for i in range(len(weights)) if i not in short]
        left = total - least * len(short)
        whole = sum(weights[i] for i in free)
        few = {i for i in free if not whole or left * weights[i] / whole < least}
        if not few or len(few) == len(free):
            break
        short |= few
    shares = [least] * len(weights)
    for i in free:
        shares[i] = left * weights[i] / whole if whole else left / len(free)
    return shares


def back_again(frames: Iterator[Frame]) -> Iterator[Frame]:
    """Yield frames, then those between the last and the first from behind.

    They are kept in a temporary file: a few gigabytes for a thousand photos of 1080x1350.
    """
    shown: list[Frame] = []
    with tempfile.TemporaryFile() as file:
        for frame in frames:
            file.write(frame.image.permute(1, 2, 0).contiguous().numpy().tobytes())
            shape = frame.image.shape
            shown.append(replace(frame, image=frame.image[:, :1, :1].clone()))
            yield frame
        for place in range(len(shown) - 2, 0, -1):
            channels, height, width = shape
            size = channels * height * width
            file.seek(place * size)
            pixels = torch.frombuffer(bytearray(file.read(size)), dtype=torch.uint8)
            image = pixels.reshape(height, width, channels).permute(2, 0, 1)
            yield replace(shown[place], image=image)
