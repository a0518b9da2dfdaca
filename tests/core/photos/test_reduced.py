"""Where things lie in a JPEG that is reduced while it is decoded."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from alignimation_core.api import geometry
from alignimation_core.photos import decoder, metadata

SIZES = [(1001, 750), (997, 749), (640, 483), (645, 480), (1000, 752)]


def with_blob(path, size, orientation):
    """Save a dark JPEG with a bright blob, and return where it lies once it is upright."""
    width, height = size
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    sigma = max(size) / 40
    across, down = np.exp(-((x - 0.25 * width) ** 2) / (2 * sigma**2)), y - 0.5 * height
    blob = across * np.exp(-(down**2) / (2 * sigma**2))
    image = Image.fromarray((230 * blob).round().astype(np.uint8))
    image.getexif()[0x0112] = orientation
    image.save(path, exif=image.getexif(), quality=97)
    with Image.open(path) as opened:
        return centre(np.asarray(ImageOps.exif_transpose(opened)))


def centre(grey):
    weights = (grey.astype(np.float32) - 8).clip(0)
    height, width = grey.shape
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    return np.array([weights.sum(0) @ x, weights.sum(1) @ y]) / weights.sum()


@pytest.mark.parametrize(
    ("size", "orientation"),
    [((4001, 2999), 3), *product(SIZES, range(1, 9))],  # libjpeg makes 501 pixels of 500.125
)
def test_a_reduced_jpeg_lies_where_the_whole_one_does(tmp_path, size, orientation):
    path = tmp_path / "a.jpg"
    truth = with_blob(path, size, orientation)
    sides = set()
    for eighths in (1, 2, 3, 4, 8):
        picture = decoder.read(path, max(size) * eighths // 8)
        sides.add(max(picture.pixels.shape))
        place = torch.from_numpy(centre(picture.pixels[0].numpy()))
        matrix = geometry.as_tensor(picture.photo_from_picture)
        found = geometry.apply(matrix, place[None])[0].numpy()
        assert np.abs(found - truth).max() < 0.1, eighths
    assert sides == {-(-max(size) * eighths // 8) for eighths in (1, 2, 3, 4, 8)}


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_frame_shows_a_reduced_photo_where_the_whole_one_would_be(tmp_path, orientation):
    path = tmp_path / "a.jpg"
    truth = with_blob(path, (997, 749), orientation)
    frame_from_photo = geometry.translation(2, 3) @ geometry.scaling(0.25, 0.25)
    picture, frame_from_picture = decoder.load_onto(
        metadata.facts(path, tmp_path), frame_from_photo
    )
    assert max(picture.shape) == 250
    frame = geometry.warp_photo(picture, frame_from_picture, (260, 260))
    found = centre((frame[0] * 255).numpy())
    assert np.abs(found - (truth * 0.25 + (2, 3))).max() < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 3), (9, 1), (17, 1), (1, 1000)])
def test_tiny_jpegs_are_reduced_by_what_is_said_too(tmp_path, size):
    path = tmp_path / "a.jpg"
    Image.new("RGB", size, "coral").save(path)
    for side in (1, 2, max(size) // 2 or 1, max(size)):
        picture = decoder.read(path, side)
        (scale, _, x), (_, same, y), _ = picture.photo_from_picture
        assert (scale, x, y) == (same, 0, 0)
        shape = picture.pixels.shape[-2:]
        assert shape == tuple(-(-each // scale) for each in reversed(size))
        assert max(shape) >= min(side, max(size))
