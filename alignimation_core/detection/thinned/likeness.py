"""Perceptual hashes of photos: nearly the same picture has nearly the same 256 bits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from alignimation_core.api.data import Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.detection.observations import in_batches
from alignimation_core.execution.executor import Executor
from alignimation_core.photos import decoder
from alignimation_core.photos.reader import fingerprint
from alignimation_core.store.store import Store

SIDE = 64
"""Pixels of the small grey picture."""
LOW = 16
"""Frequencies that are compared, across and down: of 8 alone, selfies of two days are alike."""


def hashes(
    photos: Sequence[Photo], executor: Executor, store: Store, step: Callable[[], None]
) -> dict[str, int]:
    """Return the perceptual hash of each photo that can be read, by SHA-256 of its file.

    Those that the store knows are not computed again.
    """
    hasher = hashlib.sha256(Path(__file__).read_bytes() + fingerprint().encode()).hexdigest()
    contents = {photo.sha256: photo for photo in photos}
    known = store.recall_hashes(hasher, contents)
    unknown = in_batches([photo for sha256, photo in contents.items() if sha256 not in known])
    for batch, found in zip(unknown, executor.map(_hashes, unknown), strict=True):
        pairs = zip(batch, found, strict=True)
        fresh = {photo.sha256: value for photo, value in pairs if isinstance(value, int)}
        store.keep_hashes(hasher, fresh)
        known.update(fresh)
    for _ in photos:
        step()
    return known


def _hashes(photos: list[Photo]) -> list[int | None]:
    found: list[int | None] = []
    for photo in photos:
        try:
            pixels = decoder.load(photo, 4 * SIDE)
        except PhotoError:  # which is told where the photo is used
            found.append(None)
        else:
            found.append(perceptual_hash(pixels.permute(1, 2, 0).numpy()))
    return found


def perceptual_hash(pixels: np.ndarray) -> int:
    """Return 256 bits that say which of the lowest frequencies of an (h, w, 3) uint8 are strong."""
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("L")
    grey = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)
    waves = _waves()
    strengths = (waves @ grey @ waves.T).ravel()
    bits = strengths > np.median(strengths[1:])  # without the mean of the picture
    return int(sum(1 << place for place in np.flatnonzero(bits).tolist()))


@cache
def _waves() -> np.ndarray:
    """Return the (LOW, SIDE) cosines of the discrete cosine transform."""
    places = (np.arange(SIDE) + 0.5) / SIDE
    return np.cos(np.pi * np.arange(LOW)[:, None] * places)
