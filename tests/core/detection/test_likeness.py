"""Perceptual hashes of pictures."""

import time

import numpy as np
import pytest
from PIL import Image

from alignimation_core.detection.thinned import likeness
from alignimation_core.execution.executor import Threads
from alignimation_core.photos import decoder, metadata
from alignimation_core.store.store import Store


def scene(seed, size=(240, 320)):
    """A picture as rich in detail at every scale as photos are, as an (h, w, 3) uint8 array."""
    random = np.random.default_rng(seed)
    picture = np.full((*size, 3), 128.0)
    for octave in range(1, 6):
        coarse = random.normal(size=(3 * 2**octave, 4 * 2**octave)).astype(np.float32)
        layer = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
        picture += 60 / octave * np.asarray(layer)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def bits_apart(one, two):
    return (likeness.perceptual_hash(one) ^ likeness.perceptual_hash(two)).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_is_alike_and_another_picture_is_not(seed, tmp_path):
    picture = scene(seed)
    Image.fromarray(picture).resize((160, 120)).save(tmp_path / "a.jpg", quality=50)
    copy = decoder.load(str(tmp_path / "a.jpg")).permute(1, 2, 0).numpy()
    assert bits_apart(picture, copy) <= 8
    brighter = np.clip(picture * 1.1 + 8, 0, 255).astype(np.uint8)
    assert bits_apart(picture, brighter) <= 24
    assert min(bits_apart(picture, scene(other)) for other in range(10, 20)) > 48


def test_every_frequency_has_its_bit():
    places = (np.arange(128) + 0.5) / 128
    for down, across in ((0, 1), (1, 0), (2, 5), (15, 15)):
        wave = np.outer(np.cos(np.pi * down * places), np.cos(np.pi * across * places))
        picture = (128 + 100 * wave).round().astype(np.uint8)[..., None].repeat(3, 2)
        assert likeness.perceptual_hash(picture) >> (16 * down + across) & 1


def test_hashes_are_computed_once_for_each_content(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("a.png", "b.png", "copy.png", "broken.png")]
    for seed, path in zip((1, 2, 1, 3), paths, strict=True):
        Image.fromarray(scene(seed)).save(path)
    photos = [metadata.facts(path, tmp_path) for path in paths]
    paths[3].write_bytes(b"gone")
    loads, load, steps = [], decoder.load, []
    monkeypatch.setattr(decoder, "load", lambda *given: loads.append(given) or load(*given))
    found = []
    for _ in range(2):
        with Store(tmp_path, None, None, print) as store:
            found.append(
                likeness.hashes(photos, Threads(1), store, lambda: steps.append(time.time()))
            )
    assert len(loads) == 3 + 1  # what cannot be read is tried again
    assert len(steps) == 2 * len(photos)
    assert (
        found[0]
        == found[1]
        == {
            photos[0].sha256: likeness.perceptual_hash(scene(1)),
            photos[1].sha256: likeness.perceptual_hash(scene(2)),
        }
    )
