"""A photo on the canvas against the plain warp of all of it."""

import pytest
import skimage.data
import torch
from torch.nn import functional

from alignimation_core.api import geometry

PHOTO = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[:, :400]
TILT = torch.tensor([[1, 0, 0], [0, 1, 0], [3e-4, -4e-4, 1]], dtype=torch.float64)


def part(x, y, scale, angle=0.1):
    """Show, in the middle of the canvas, what is about (x, y) in the photo."""
    turn = geometry.rotation(angle) @ geometry.scaling(scale, scale)
    return geometry.translation(50, 50) @ turn @ geometry.translation(-x, -y)


@pytest.mark.parametrize("size", [(80, 120), (130, 70)])
@pytest.mark.parametrize("matrix", [part(370, 200, 1.0), part(300, 150, 0.95) @ TILT])
def test_a_part_that_hardly_changes_its_size_is_sampled_as_it_is(matrix, size):
    plain = geometry.warp(PHOTO.float() / 255, matrix, size, padding="border")
    torch.testing.assert_close(geometry.warp_photo(PHOTO, matrix, size), plain, atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [(80, 120), (130, 70)])
@pytest.mark.parametrize("matrix", [part(370, 200, 2.0), part(300, 150, 1.8) @ TILT])
def test_a_part_that_grows_is_sampled_bicubically_and_stays_in_range(matrix, size):
    generator = torch.Generator().manual_seed(0)
    photo = torch.randint(0, 2, PHOTO.shape, generator=generator).mul(255).byte()
    plain = geometry.warp(photo.float() / 255, matrix, size, padding="border", mode="bicubic")
    assert plain.min() < -0.1
    assert plain.max() > 1.1
    strips = torch.cat([*geometry.strips(photo, matrix, size)], 1)
    torch.testing.assert_close(strips / 255, plain.clamp(0, 1), atol=5e-3, rtol=0)
    torch.testing.assert_close(strips / 255, geometry.warp_photo(photo, matrix, size))
    assert (strips.min(), strips.max()) == (0, 255)


@pytest.mark.parametrize("scale", [0.9, 1.6])
@pytest.mark.parametrize(("x", "y"), [(10, 390), (-90, 480), (600, -80)])
def test_beyond_the_photo_is_its_reflection(x, y, scale):
    matrix = part(x, y, scale)
    mode = "bicubic" if scale > 1 else "bilinear"
    plain = geometry.warp(PHOTO.float() / 255, matrix, (90, 110), padding="reflection", mode=mode)
    seen = geometry.warp_photo(PHOTO, matrix, (90, 110), padding="reflection")
    torch.testing.assert_close(seen, plain.clamp(0, 1), atol=2e-3, rtol=0)


def test_beyond_a_tilted_photo_its_edge_goes_on():
    matrix = part(500, 380, 1.0) @ TILT
    plain = geometry.warp(PHOTO.float() / 255, matrix, (90, 110), padding="border")
    torch.testing.assert_close(
        geometry.warp_photo(PHOTO, matrix, (90, 110)), plain, atol=2e-3, rtol=0
    )
    assert geometry.warp(torch.ones(1, 400, 512), matrix, (90, 110)).min() == 0


@pytest.mark.parametrize("scale", [0.7, 0.3])
def test_a_part_that_shrinks_has_the_mean_colours_of_the_canvas_pixels(scale):
    matrix = geometry.scaling(scale, scale) @ geometry.translation(-203.4, -91.7)
    height, width = round(180 * scale), round(220 * scale)
    finer = geometry.scaling(8, 8) @ matrix
    fine = geometry.warp(PHOTO.float() / 255, finer, (8 * height, 8 * width), padding="border")
    truth = functional.avg_pool2d(fine, 8)
    error = (geometry.warp_photo(PHOTO, matrix, (height, width)) - truth).square()
    assert -10 * error.mean().log10() > 40  # decibels


@pytest.mark.parametrize(("x", "y"), [(5000, 20), (-5000, 20), (20, 5000), (20, -5000)])
def test_a_canvas_beside_the_photo_goes_on_with_its_edge(x, y):
    seen = geometry.warp_photo(PHOTO, geometry.translation(-x, -y), (40, 60))
    rows = torch.arange(y, y + 40).clamp(0, 399)
    columns = torch.arange(x, x + 60).clamp(0, 511)
    torch.testing.assert_close(seen, PHOTO[:, rows][:, :, columns].float() / 255)


@pytest.mark.parametrize("nearer", [(-1e-3, 0.0), (0.0, -1e-3)])
@pytest.mark.parametrize(("scale", "mode"), [(1.15, "bilinear"), (1.4, "bicubic")])
def test_the_scale_of_a_tilted_photo_is_that_of_the_middle_of_what_is_seen(nearer, scale, mode):
    tilt = torch.eye(3, dtype=torch.float64)
    tilt[2, :2] = torch.tensor(nearer)
    centre, size = geometry.translation(60, 45), (90, 120)
    matrix = centre @ geometry.scaling(scale, scale) @ tilt @ geometry.translation(-330, -250)
    plain = geometry.warp(PHOTO.float() / 255, matrix, size, padding="border", mode=mode)
    seen = geometry.warp_photo(PHOTO, matrix, size)
    torch.testing.assert_close(seen, plain.clamp(0, 1), atol=2e-3, rtol=0)


def test_stretch_is_how_long_a_pixel_at_the_middle_becomes():
    turned = geometry.rotation(0.7) @ geometry.scaling(3, 0.25)
    assert geometry.stretch(turned, (30, 80)) == pytest.approx((3, 0.25))
    # x' = x / (1 + x / 100) and y' = y / (1 + x / 100), of a pixel at (40, 15)
    tilted = torch.tensor([[1, 0, 0], [0, 1, 0], [0.01, 0, 1]])
    across = (41 / 1.41 - 40 / 1.4, 15 / 1.41 - 15 / 1.4)
    assert geometry.stretch(tilted, (30, 80)) == pytest.approx(
        ((across[0] ** 2 + across[1] ** 2) ** 0.5, 1 / 1.4)
    )
