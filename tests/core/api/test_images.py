"""What images every stage takes, and what it says of all else."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import Detections, Embedder, Frame, Mask, Photo, Subject, geometry
from alignimation_core.api import images

ARRAYS = "torch.from_numpy(array).permute(2, 0, 1) makes one of an array (h, w, 3)"
EXPECTED = "expected (3, h, w) RGB, uint8 or float in [0, 1], got "


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.fixture
def picture(discs, tmp_path):
    discs.paint(tmp_path / "a.png", discs.WARPS[1])
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("image", "error", "got"),
    [
        (
            torch.zeros(48, 64, 3, dtype=torch.uint8),
            ValueError,
            "(48, 64, 3) uint8; permute(2, 0, 1) puts its channels first",
        ),
        (
            torch.zeros(48, 64),
            ValueError,
            "(48, 64) float32; expand(3, -1, -1) makes colours of grey",
        ),
        (
            torch.zeros(1, 48, 64),
            ValueError,
            "(1, 48, 64) float32; expand(3, -1, -1) makes colours of grey",
        ),
        (torch.zeros(3, 0, 64), ValueError, "(3, 0, 64) float32"),
        (torch.zeros(4, 48, 64), ValueError, "(4, 48, 64) float32"),
        (
            torch.full((3, 48, 64), 200.0),
            ValueError,
            "(3, 48, 64) float32 from 200 to 200; divide it by 255",
        ),
        (
            torch.full((3, 48, 64), -0.2),
            ValueError,
            "(3, 48, 64) float32 from -0.2 to -0.2; clamp(0, 1) it",
        ),
        (
            torch.full((3, 48, 64), torch.nan),
            ValueError,
            "(3, 48, 64) float32 from nan to nan; clamp(0, 1) it",
        ),
        (
            torch.zeros(3, 48, 64, dtype=torch.int64),
            TypeError,
            "(3, 48, 64) int64; byte() makes it uint8",
        ),
        (
            np.zeros((48, 64, 3), np.uint8),
            TypeError,
            f"ndarray (48, 64, 3); {ARRAYS}",
        ),
        ("a.png", TypeError, "str; alignimation_core.load(path) makes one of a file"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(discs, image, error, got):
    with pytest.raises(error, match=exactly(f"image: {EXPECTED}{got}")):
        discs.Blobs().detect(image)
    with pytest.raises(error, match=exactly(f"images[1]: {EXPECTED}{got}")):
        discs.Blobs().detect([torch.zeros(3, 48, 64), image])


def test_a_detector_takes_one_image_or_many_of_either_kind(discs, picture):
    detector = discs.Blobs()
    (wanted,) = detector.detect([picture])
    assert len(wanted) == 1
    floats = picture.double() / 255
    for many in ([picture], (floats,), picture[None], [floats.float()]):
        (found,) = detector.detect(many)
        assert torch.equal(found.keypoints, wanted.keypoints)
    for one in (picture, floats):
        found = detector.detect(one)
        assert isinstance(found, Detections)
        assert torch.equal(found.keypoints, wanted.keypoints)
    assert detector.detect([]) == []


class Brightness(Embedder):
    """The mean colour in each box."""

    name = "brightness"
    same_above = 0.9

    def embed(self, images, detections):
        assert all(image.dtype == torch.uint8 for image in images)
        return [
            image.float().mean((1, 2)).expand(len(found), 3)
            for image, found in zip(images, detections, strict=True)
        ]


def test_an_embedder_takes_one_image_or_many_of_either_kind(discs, picture):
    embedder, found = Brightness(), discs.Blobs().detect(picture)
    (wanted,) = embedder.embed([picture], [found])
    assert wanted.shape == (1, 3)
    assert torch.equal(embedder.embed(picture, found), wanted)
    assert torch.equal(embedder.embed(picture / 255, found), wanted)
    with pytest.raises(ValueError, match=exactly("detections: expected those of 2 images, got 1")):
        embedder.embed([picture, picture], [found])
    with pytest.raises(TypeError, match=r"^image: expected \(3, h, w\)"):
        embedder.embed(None, found)


def test_what_a_detector_of_a_detector_is_given_is_converted_once(discs, picture):
    class Loud(discs.Blobs):
        """The same, twice."""

        def detect(self, images):
            assert [image.dtype for image in images] == [torch.uint8]
            return super().detect(images) * 1

    assert torch.equal(Loud().detect(picture / 255).boxes, discs.Blobs().detect(picture).boxes)


def test_frames_and_subjects_take_either_kind(picture):
    photo = Photo("a.png", "a.png", "", 48, 64, None, "file")
    assert torch.equal(Frame(picture / 255, 0, photo).image, picture)
    assert Frame(picture, 0, photo).image is picture
    see_through = torch.cat([picture, picture[:1]]) / 255
    assert Frame(see_through, 0, photo).image.shape == (4, 48, 64)
    message = "image: expected (3 or 4, h, w) RGB, uint8 or float in [0, 1], got (2, 48, 64) uint8"
    with pytest.raises(ValueError, match=exactly(message)):
        Frame(picture[:2], 0, photo)
    subject = Subject((0, 0, 9, 9), 1.0, image=picture)
    torch.testing.assert_close(subject.image, picture / 255)
    with pytest.raises(ValueError, match="divide it by 255"):
        Subject((0, 0, 9, 9), 1.0, image=picture.float())


def test_bytes_and_floats_of_an_image_are_each_others(picture):
    assert images.as_bytes(picture) is picture
    assert torch.equal(images.as_bytes(images.as_floats(picture)), picture)
    rounded = torch.tensor([-0.0009, 0.5, 1.0009]).reshape(3, 1, 1)
    assert images.as_bytes(rounded).flatten().tolist() == [0, 128, 255]
    half = picture.half() / 255
    assert (images.as_bytes(half).int() - picture).abs().max() <= 1


def test_bytes_are_warped_and_cut_as_bytes(picture):
    matrix = geometry.translation(4.5, -2.25) @ geometry.rotation(0.3)
    warped = geometry.warp(picture, matrix, (40, 50))
    assert warped.dtype == torch.uint8
    exact = geometry.warp(picture.double(), matrix, (40, 50))
    assert (warped.double() - exact).abs().max() <= 0.5 + 1e-3
    batch = geometry.warp(torch.stack([picture, picture]), matrix, (40, 50), mode="bicubic")
    assert (batch.dtype, batch.shape) == (torch.uint8, (2, 3, 40, 50))
    box = torch.tensor([3, 2, 20, 30])
    assert torch.equal(geometry.crop(picture, box, (28, 17)), picture[:, 2:30, 3:20])
    floats = geometry.warp_photo(picture / 255, matrix, (40, 50))
    torch.testing.assert_close(floats, geometry.warp_photo(picture, matrix, (40, 50)))
    beyond = geometry.warp_photo(picture, geometry.translation(10, 0), (48, 64), padding="zeros")
    assert beyond[:, :, :10].abs().max() == 0


@pytest.mark.parametrize("verb", [geometry.warp, geometry.crop])
def test_what_cannot_be_warped_is_refused(verb):
    expected = "image: expected ([B,] C, h, w), uint8 or floating point, got "
    where = torch.eye(3) if verb is geometry.warp else torch.tensor([0, 0, 4, 4])
    for image, error, got in [
        (torch.zeros(1, 4, 4, dtype=torch.int32), TypeError, "(1, 4, 4) int32"),
        (np.zeros((4, 4, 3)), TypeError, "ndarray"),
        (torch.zeros(4, 4), ValueError, "(4, 4) float32"),
    ]:
        with pytest.raises(error, match=exactly(expected + got)):
            verb(image, where, (4, 4))


def test_a_mask_is_drawn_on_its_image():
    mask = Mask.of(torch.ones(4, 4), (2, 3, 10, 7))
    drawn = mask.on((12, 16))
    assert (drawn.shape, drawn.dtype) == ((12, 16), torch.float32)
    assert drawn[4:6, 4:8].min() == 1
    assert drawn[:2].max() == drawn[9:].max() == drawn[:, 12:].max() == 0
    assert drawn.sum() == pytest.approx(8 * 4, rel=0.05)
