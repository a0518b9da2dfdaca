"""The pixels of a frame: the photo where it is, and beyond it every kind of border, in colour."""

import hashlib
from datetime import datetime

import pytest
import torch
from PIL import Image

from alignimation_core import Canvas, Mask, Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.execution.executor import Threads
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering.frames import frames
from alignimation_core.rendering.placement import PlacedSubject

LEFT, RIGHT = (200, 90, 20), (30, 110, 170)
SIZE = (60, 80)
SHIFT = (30, 20)
"""Where the photo begins on the canvas of 140 x 100 pixels."""
PLAIN = Subject(box=(10.0, 10.0, 50.0, 50.0), score=1.0)


@pytest.fixture
def frame_of(tmp_path):
    """Return the frame of a photo, which lies amid it; by default (3, 100, 140)."""

    def frame_of(pixels, *, size=(100, 140), shift=SHIFT, subject=PLAIN, **options):
        path = tmp_path / "photo.png"
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        photo = Photo(path, path.name, digest, *SIZE, datetime(2020, 1, 1), "file")
        aligned = AlignedSubject(FramedSubject(photo, subject, torch.eye(3)), torch.eye(3), 1)
        canvas_from_photo = geometry.as_rows(geometry.translation(*shift))
        placed = PlacedSubject(aligned, canvas_from_photo, None, None)
        (frame,) = frames([placed], Canvas(*size), CanvasOptions(**options), Threads(1))
        assert (frame.image.dtype, frame.image.shape) == (torch.uint8, (3, *size))
        return frame.image.int()

    return frame_of


def of_two_colours():
    pixels = torch.tensor(LEFT, dtype=torch.uint8)[:, None, None].repeat(1, *SIZE)
    pixels[:, :, 40:] = torch.tensor(RIGHT, dtype=torch.uint8)[:, None, None]
    return pixels


def noise():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8, generator=generator)


def beyond():
    """Return where the (100, 140) canvas shows no photo."""
    where = torch.ones(100, 140, dtype=torch.bool)
    where[20:80, 30:110] = False
    return where


@pytest.mark.parametrize("border", ["blur", "mirror", "edge", "#102030", "teal"])
def test_the_photo_is_where_it_belongs_whatever_is_beyond_it(frame_of, border):
    pixels = noise()
    seen = frame_of(pixels, border=border)
    assert torch.equal(seen[:, 20:80, 30:110], pixels.int())


@pytest.mark.parametrize(
    ("border", "rgb"),
    [("#d04010", (0xD0, 0x40, 0x10)), ("rebeccapurple", (102, 51, 153)), ("#123", (17, 34, 51))],
)
def test_beyond_the_photo_a_border_has_the_colour_asked_for(frame_of, border, rgb):
    seen = frame_of(noise(), border=border)[:, beyond()]
    assert torch.equal(seen, torch.tensor(rgb)[:, None].expand_as(seen).int())


def test_half_a_pixel_of_photo_is_half_of_the_borders_colour(frame_of):
    seen = frame_of(of_two_colours(), border="#d04010", shift=(30.5, 20))
    wanted = (torch.tensor(LEFT) + torch.tensor([0xD0, 0x40, 0x10])) / 2
    assert (seen[:, 50, 30] - wanted).abs().max() <= 1
    assert seen[:, 50, 29].tolist() == [0xD0, 0x40, 0x10]
    assert seen[:, 50, 31].tolist() == list(LEFT)


def test_edge_goes_on_with_the_nearest_pixel_of_the_photo(frame_of):
    pixels = noise()
    rows, columns = (torch.arange(100) - 20).clamp(0, 59), (torch.arange(140) - 30).clamp(0, 79)
    wanted = pixels[:, rows][:, :, columns].int()
    assert torch.equal(frame_of(pixels, border="edge"), wanted)


def test_mirror_reflects_the_photo_in_its_border(frame_of):
    pixels = noise()
    padded = torch.cat([pixels.flip(1), pixels, pixels.flip(1)], 1)
    wanted = torch.cat([padded.flip(2), padded, padded.flip(2)], 2)[:, 40:140, 50:190]
    assert torch.equal(frame_of(pixels, border="mirror"), wanted.int())


@pytest.mark.parametrize(("size", "shift"), [((100, 140), SHIFT), ((480, 200), (60, 200))])
def test_blur_goes_on_softly_with_the_colours_of_the_nearest_side(frame_of, size, shift):
    seen = frame_of(of_two_colours(), border="blur", size=size, shift=shift)
    left, right = torch.tensor(LEFT)[:, None, None], torch.tensor(RIGHT)[:, None, None]
    assert (seen[:, :, :10] - left).abs().max() < 45  # of the 170 between the two colours
    assert (seen[:, :, -10:] - right).abs().max() < 45
    assert seen[:, : shift[1]].diff(dim=2).abs().max() <= 4  # in the photo, it is one step


def test_behind_the_subject_a_background_has_the_colour_asked_for(frame_of):
    masked = Subject(PLAIN.box, 1.0, mask=Mask.of(torch.ones(28, 28), (20.0, 10.0, 60.0, 50.0)))
    seen = frame_of(of_two_colours(), subject=masked, background="#d04010")
    corners = seen[:, [0, 0, -1, -1, 22], [0, -1, 0, -1, 33]].T.tolist()
    assert corners == [[0xD0, 0x40, 0x10]] * 5
