"""The pixels of frames: the photo at its place, every kind of border, photos that are lost."""

import hashlib
from datetime import datetime

import pytest
import torch
from PIL import Image

from alignimation_core import Canvas, Mask, Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.execution.executor import Lost, Threads
from alignimation_core.failure import Failure
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering.frames import fill, frames
from alignimation_core.rendering.placement import PlacedSubject

ORANGE = (230, 120, 40)


def plain(colour, height, width):
    return torch.tensor(colour, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def mosaic(height, width):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("border", ["blur", "mirror", "edge", "#102030", "teal"])
def test_what_the_photo_covers_is_the_photo_whatever_the_border(border):
    picture = mosaic(20, 30)
    made = fill(picture, geometry.translation(5, 8), (40, 50), border)
    assert (made.shape, made.dtype) == ((3, 40, 50), torch.uint8)
    assert torch.equal(made[:, 8:28, 5:35], picture)
    assert torch.equal(
        fill(picture, geometry.translation(-3, -2), (15, 20), border)[:], picture[:, 2:17, 3:23]
    )


@pytest.mark.parametrize(
    ("border", "colour"),
    [("#102030", (16, 32, 48)), ("teal", (0, 128, 128)), ("#f00", (255, 0, 0))],
)
def test_a_coloured_border_has_that_colour_and_blends_where_a_pixel_is_half_covered(border, colour):
    made = fill(plain(ORANGE, 20, 30), geometry.translation(5.25, 8), (40, 50), border)
    beyond = torch.ones(40, 50, dtype=torch.bool)
    beyond[8:28, 5:36] = False
    assert (made.permute(1, 2, 0)[beyond] == torch.tensor(colour)).all()
    wanted = 0.75 * torch.tensor(ORANGE) + 0.25 * torch.tensor(colour)
    assert (made[:, 8:28, 5].float() - wanted[:, None]).abs().max() <= 0.51


def test_at_the_edge_the_last_pixels_go_on():
    picture = mosaic(20, 30)
    made = fill(picture, geometry.translation(5, 8), (40, 50), "edge")
    rows, columns = torch.arange(40).sub(8).clamp(0, 19), torch.arange(50).sub(5).clamp(0, 29)
    assert torch.equal(made, picture[:, rows][:, :, columns])


def test_in_the_mirror_the_photo_is_seen_again():
    picture = mosaic(20, 30)
    made = fill(picture, geometry.translation(5, 8), (40, 50), "mirror")
    both = torch.cat([picture.flip(2), picture, picture.flip(2)], 2)
    both = torch.cat([both.flip(1), both, both.flip(1)], 1)
    assert torch.equal(made, both[:, 12:52, 25:75])


@pytest.mark.parametrize(("size", "near"), [((320, 480), 3), ((60, 90), 20)])
def test_the_blurred_border_has_the_colours_of_the_nearest_part(size, near):
    height, width = size
    picture = plain((200, 30, 90), height // 2, width // 2).clone()
    picture[:, :, width // 4 :] = torch.tensor((20, 140, 220), dtype=torch.uint8)[:, None, None]
    made = fill(picture, geometry.translation(width // 4, height // 4), size, "blur").int()
    left, right = (200, 30, 90), (20, 140, 220)
    for rows in (slice(0, height // 8), slice(-height // 8, None)):
        assert (made[:, rows, 0] - torch.tensor(left)[:, None]).abs().max() <= near
        assert (made[:, rows, -1] - torch.tensor(right)[:, None]).abs().max() <= near
    # from one colour to the other it goes slowly and without overshooting much
    row = made[:, 0].float()
    assert row.diff(dim=1).abs().max() < 0.25 * 180
    assert (row[0].diff() <= 3).all()


def test_a_photo_that_covers_the_canvas_needs_no_border():
    picture = plain(ORANGE, 60, 80)
    for border in ("blur", "teal"):
        made = fill(picture, geometry.translation(-5, -5), (40, 50), border)
        assert torch.equal(made, plain(ORANGE, 40, 50))


def placed(folder, name, picture, matrix, mask=None):
    path = folder / name
    Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    photo = Photo(path, name, digest, *picture.shape[1:], datetime(2020, 1, 1), "file")
    upright = torch.eye(3, dtype=torch.float64)
    framed = FramedSubject(photo, Subject((0, 0, 30, 20), 1.0, mask=mask), upright)
    aligned = AlignedSubject(framed, upright, 1)
    return PlacedSubject(aligned, geometry.as_rows(matrix), None, None)


def test_frames_come_in_order_and_a_photo_that_is_gone_leaves_no_gap(tmp_path):
    colours = [(250, 10, 20), (30, 240, 50), (60, 70, 230)]
    items = [
        placed(tmp_path, f"{i}.png", plain(colour, 20, 30), geometry.translation(0, 0))
        for i, colour in enumerate(colours)
    ]
    items[1].photo.path.unlink()
    first, gone, last = frames(items, Canvas(20, 30), CanvasOptions(), Threads(1))
    assert gone == Failure("1.png", "photos", "the file is gone")
    assert [first.index, last.index] == [0, 1]
    assert [first.photo, last.photo] == [items[0].photo, items[2].photo]
    assert torch.equal(first.image, plain(colours[0], 20, 30))
    assert torch.equal(last.image, plain(colours[2], 20, 30))


def test_a_photo_whose_worker_was_lost_is_the_renderers(tmp_path):
    class Losing(Threads):
        def map(self, work, batches):
            for at, answers in enumerate(super().map(work, batches)):
                yield [Lost("killed its worker twice")] if at == 0 else answers

    items = [
        placed(tmp_path, f"{i}.png", plain(ORANGE, 20, 30), geometry.translation(0, 0))
        for i in range(2)
    ]
    lost, kept = frames(items, Canvas(20, 30), CanvasOptions(), Losing(1))
    assert lost == Failure("0.png", "renderer", "killed its worker twice")
    assert kept.index == 0


@pytest.mark.parametrize(("border", "far"), [("#102030", (16, 32, 48)), ("edge", ORANGE)])
def test_a_frame_has_the_border_of_the_recipe(tmp_path, border, far):
    one = placed(tmp_path, "a.png", plain(ORANGE, 20, 30), geometry.translation(10, 10))
    (made,) = frames([one], Canvas(40, 50), CanvasOptions(border=border), Threads(1))
    assert made.image[:, 0, 0].tolist() == list(far)
    assert made.image[:, 20, 25].tolist() == list(ORANGE)


def test_a_frame_has_the_background_of_the_recipe(tmp_path):
    picture = plain((30, 160, 220), 120, 160).clone()
    picture[:, 30:90, 50:110] = torch.tensor(ORANGE, dtype=torch.uint8)[:, None, None]
    mask = Mask.of(torch.ones(30, 30), (50, 30, 110, 90))
    one = placed(tmp_path, "a.png", picture, geometry.translation(0, 0), mask)
    for background, around in (("#a0b0c0", [160, 176, 192]), ("keep", [30, 160, 220])):
        options = CanvasOptions(background=background)
        (made,) = frames([one], Canvas(120, 160), options, Threads(1))
        assert made.image[:, 5, 5].tolist() == around
        assert (made.image[:, 60, 80].int() - torch.tensor(ORANGE)).abs().max() <= 2
    options = CanvasOptions(background="remove")
    (made,) = frames([one], Canvas(120, 160, alpha=True), options, Threads(1))
    assert made.image[3, 5, 5] == 0
    assert made.image[3, 60, 80] == 255
