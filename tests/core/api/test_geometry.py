import math

import pytest
import skimage.data
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes
from alignimation_core.rendering.coverage import coverage


def similarity(angle: float, scale: float, x: float, y: float) -> Tensor:
    turn = geometry.rotation(angle) @ geometry.scaling(scale, scale)
    return geometry.translation(x, y) @ turn


def waves(height: int, width: int) -> Tensor:
    """A smooth (1, h, w) image with a value at every continuous place."""
    y = (torch.arange(height, dtype=torch.float64) + 0.5)[:, None]
    x = (torch.arange(width, dtype=torch.float64) + 0.5)[None, :]
    return waves_at(x, y)[None]


def waves_at(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 + 0.25 * torch.sin(x / 9) + 0.25 * torch.cos(y / 7)


def test_apply_divides_by_the_homogeneous_coordinate() -> None:
    matrix = torch.tensor([[2.0, 0, 1], [0, 2, 1], [0, 0, 2]])
    assert geometry.apply(matrix, torch.tensor([[3.0, 5.0]])).tolist() == [[3.5, 5.5]]


def test_warp_by_the_identity_changes_nothing() -> None:
    image = torch.rand(2, 3, 11, 17, dtype=torch.float64)
    warped = geometry.warp(image, torch.eye(3), (11, 17))
    torch.testing.assert_close(warped, image, atol=1e-12, rtol=0)


def test_warp_by_whole_pixels_is_slicing() -> None:
    image = torch.rand(1, 12, 20, dtype=torch.float64)
    warped = geometry.warp(image, geometry.translation(-3, -2), (5, 7))
    torch.testing.assert_close(warped, image[:, 2:7, 3:10], atol=1e-12, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(90, 120), (120, 90), (64, 160)])
def test_warp_turns_in_pixels_whatever_the_aspect_ratio(height: int, width: int) -> None:
    image = waves(height, width)
    matrix = similarity(0.4, 1.2, 5.0, -3.0)
    warped = geometry.warp(image, matrix, (height, width))
    ys, xs = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack([xs, ys], -1).reshape(-1, 2).double()
    back = geometry.apply(torch.linalg.inv(matrix), places)
    inside = ((back > 1) & (back < torch.tensor([width - 1, height - 1]))).all(1)
    expected = waves_at(back[:, 0], back[:, 1])
    assert inside.double().mean() > 0.2
    error = (warped.reshape(-1) - expected)[inside].abs().max()
    assert error < 0.005  # of bilinear interpolation on this image


def test_warp_gradients_are_right() -> None:
    image = torch.rand(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    matrix = similarity(0.2, 1.1, 0.37, -0.21).clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda i, m: geometry.warp(i, m, (5, 6)), (image, matrix), atol=1e-5
    )


def test_warp_of_one_image_by_many_matrices() -> None:
    image = waves(20, 30)
    matrices = torch.stack([geometry.translation(x, 0) for x in (0.0, 2.0)])
    warped = geometry.warp(image, matrices, (20, 30))
    assert warped.shape == (2, 1, 20, 30)
    torch.testing.assert_close(warped[1, :, :, 2:], image[:, :, :-2], atol=1e-9, rtol=0)


@pytest.mark.parametrize(("x", "y"), [(150, 60), (40, 170), (0, 90), (210, 0)])
def test_a_part_of_a_photo_is_where_it_was(x: int, y: int) -> None:
    photo = torch.randint(0, 256, (3, 240, 320), dtype=torch.uint8)
    part = geometry.warp_photo(photo, geometry.translation(-x, -y), (50, 70))
    wanted = photo[:, y : y + 50, x : x + 70] / 255
    torch.testing.assert_close(part, wanted, atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [2.5, 0.4])
def test_an_enlarged_and_a_reduced_part_of_a_photo_are_where_they_were(scale: float) -> None:
    photo = (waves(700, 900) * 255).round().byte().expand(3, -1, -1)
    canvas_from_photo = geometry.scaling(scale, scale) @ geometry.translation(-610, -205)
    part = geometry.warp_photo(photo, canvas_from_photo, (60, 80))[0].double()
    x, y = 610 + (torch.arange(80) + 0.5) / scale, 205 + (torch.arange(60) + 0.5) / scale
    assert (part - waves_at(x[None, :], y[:, None])).abs().max() < 0.01


def test_warp_photo_shrinks_without_aliasing() -> None:
    fine = torch.zeros(3, 400, 400, dtype=torch.uint8)
    fine[:, :, ::2] = 255  # stripes of one pixel: a plain sampling would keep or lose them
    small = geometry.warp_photo(fine, geometry.scaling(0.13, 0.13), (52, 52))
    inner = small[:, 4:-4, 4:-4]
    assert (inner - 0.5).abs().max() < 0.03


@pytest.mark.parametrize("scale", [0.95, 0.79, 0.7, 0.6, 0.45, 0.25])
def test_warp_photo_gives_the_mean_colours_of_the_canvas_pixels(scale: float) -> None:
    photo = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)
    canvas_from_photo = similarity(0.08, scale, 3.3, 7.7)
    height = width = round(400 * scale)
    finer = geometry.scaling(8, 8) @ canvas_from_photo
    fine = geometry.warp(photo.float() / 255, finer, (8 * height, 8 * width), padding="border")
    truth = functional.avg_pool2d(fine, 8)
    error = (geometry.warp_photo(photo, canvas_from_photo, (height, width)) - truth).square()
    assert -10 * error.mean().log10() > 41.5  # decibels; smoothed twice, they are 31 to 40


def test_a_large_canvas_is_that_of_one_strip(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)
    tilt = torch.tensor([[0.9, 0.05, 4], [0.02, 1.1, 6], [2e-4, 1e-4, 1.0]]).double()
    for matrix in (similarity(0.3, 0.8, 90.0, -20.0), tilt):
        whole = geometry.warp_photo(photo, matrix, (200, 300))
        with monkeypatch.context() as patch:
            patch.setattr(geometry, "STRIP", 4567)
            torch.testing.assert_close(geometry.warp_photo(photo, matrix, (200, 300)), whole)


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.5])
@pytest.mark.parametrize("tilt", [0.0, 1e-4], ids=["affine", "homography"])
def test_a_photo_on_a_device_is_warped_there(scale: float, tilt: float) -> None:
    matrix = geometry.scaling(scale, scale)
    matrix[2, 0] = tilt
    photo = torch.zeros(3, 60, 80, dtype=torch.uint8, device="meta")  # refuses to meet the CPU's
    warped = geometry.warp_photo(photo, matrix, (45, 60))
    assert (warped.device.type, warped.shape) == ("meta", (3, 45, 60))


def test_colour_goes_on_beyond_the_photo_and_cover_says_where() -> None:
    white = torch.full((3, 40, 60), 255, dtype=torch.uint8)
    canvas_from_photo = geometry.translation(10.5, 0)
    covered = coverage((40, 60), canvas_from_photo, (40, 60))[20]
    assert covered[:10].tolist() == [0.0] * 10
    assert covered[10].item() == pytest.approx(0.5, abs=1e-5)
    torch.testing.assert_close(covered[11:], torch.ones(49))
    warped = geometry.warp_photo(white, canvas_from_photo, (40, 60))
    assert warped.shape == (3, 40, 60)
    assert warped.min() > 0.999  # so that edges have no dark seam


def test_warp_photo_finds_the_same_place_at_every_scale() -> None:
    y, x = torch.meshgrid(torch.arange(600) + 0.5, torch.arange(800) + 0.5, indexing="ij")
    blob = torch.exp(-((x - 523.2) ** 2 + (y - 211.7) ** 2) / (2 * 30**2))
    photo = (blob * 255).round().byte().expand(3, -1, -1)
    for scale in (0.1, 0.3, 0.7, 1.0, 1.9):
        matrix = similarity(0.3, scale, 40.0, 25.0)
        seen = geometry.warp_photo(photo, matrix, (700, 900))[0].double()
        mass = seen.sum()
        ys, xs = torch.arange(700) + 0.5, torch.arange(900) + 0.5
        centre = torch.stack([(seen.sum(0) * xs).sum(), (seen.sum(1) * ys).sum()]) / mass
        truth = geometry.apply(matrix, torch.tensor([[523.2, 211.7]]).double())[0]
        if scale == 1.9:
            assert truth[0] > 780  # partly outside: the centre of mass says nothing
        else:
            torch.testing.assert_close(centre, truth, atol=0.06, rtol=0)


@given(
    st.floats(-math.pi, math.pi),
    st.floats(0.2, 5),
    st.floats(-500, 500),
    st.floats(-500, 500),
    st.integers(2, 20),
    st.integers(0, 2**31),
)
def test_similarity_from_points_is_exact_on_clean_points(
    angle: float, scale: float, x: float, y: float, count: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 2, dtype=torch.float64, generator=generator) * 100
    points[1] = points[0] + torch.tensor([30.0, -20.0])
    weights = torch.rand(count, generator=generator) + 0.1
    truth = similarity(angle, scale, x, y)
    fitted = procrustes.similarity_from_points(points, geometry.apply(truth, points), weights)
    torch.testing.assert_close(fitted, truth, atol=1e-7, rtol=1e-9)


def test_similarity_from_points_ignores_points_of_no_weight() -> None:
    points = torch.tensor([[0.0, 0], [10, 0], [3, 8]])
    moved = points + 5
    moved[2] = 1e6
    fitted = procrustes.similarity_from_points(points, moved, torch.tensor([1.0, 1, 0]))
    torch.testing.assert_close(fitted, geometry.translation(5, 5))


def test_similarity_from_points_is_never_a_reflection() -> None:
    points = torch.tensor([[0.0, 0], [10, 0], [0, 10], [7, 3]])
    mirrored = points * torch.tensor([-1.0, 1])
    fitted = procrustes.similarity_from_points(points, mirrored, torch.ones(4))
    # least squares of one complex number and a shift
    z, w = (torch.view_as_complex(each.double().contiguous()) for each in (points, mirrored))
    dz, dw = z - z.mean(), w - w.mean()
    turn = complex((dz.conj() * dw).sum() / dz.abs().square().sum())
    shift = complex(w.mean() - turn * z.mean())
    a, b = turn.real, turn.imag
    truth = torch.tensor([[a, -b, shift.real], [b, a, shift.imag], [0, 0, 1]]).double()
    assert a * a + b * b > 0.01
    torch.testing.assert_close(fitted, truth)


def test_similarity_from_one_place_is_undetermined() -> None:
    points = torch.tensor([[4.0, 4], [4, 4]])
    assert procrustes.similarity_from_points(points, points, torch.ones(2)).isnan().any()


def target(points: list[list[float]], weights: list[float]) -> Target:
    return Target.of(
        torch.zeros(1, 32, 32), points=torch.tensor(points), point_weights=torch.tensor(weights)
    )


def test_closed_form_uses_the_points_that_both_have() -> None:
    fixed = target([[5.0, 5], [15, 5], [10, 20]], [1, 1, 1])
    shifted = [[8.0, 9], [18, 9], [13, 24]]
    batch = Target.stack(
        [
            target(shifted, [1, 1, 1]),
            target([shifted[0], [999.0, 999], shifted[2]], [1, 0, 1]),
            target([shifted[0], [999.0, 999], [999, 999]], [1, 0, 0]),
            target(shifted, [0, 0, 0]),
        ]
    )
    fitted = procrustes.closed_form(batch, fixed)
    back = geometry.translation(-3, -4)
    for matrix in fitted[:3]:
        torch.testing.assert_close(matrix, back)
    torch.testing.assert_close(fitted[3], torch.eye(3, dtype=torch.float64))


def test_closed_form_leaves_out_what_the_reference_does_not_have() -> None:
    shape = [[5.0, 5], [15, 5], [10, 20], [25, 12]]
    moving = Target.stack([target([[x + 3, y + 4] for x, y in shape], [1, 1, 1, 1])])
    back = geometry.translation(-3, -4)[None]
    nowhere = [999.0, -999.0]
    for fixed in (
        target([*shape[:3], nowhere], [1, 1, 1, 0]),
        target([shape[0], nowhere, nowhere, shape[3]], [1, 0, 0, 1]),
        target([nowhere, nowhere, shape[2], nowhere], [0, 0, 1, 0]),
    ):
        torch.testing.assert_close(procrustes.closed_form(moving, fixed), back)


@pytest.mark.parametrize(
    ("of_photo", "of_reference", "both"), [(1.0, 0.25, 0.4), (0.25, 1.0, 0.4), (0.5, 0.25, 1 / 3)]
)
def test_closed_form_counts_a_point_as_sure_as_both_targets_are_of_it(
    of_photo: float, of_reference: float, both: float
) -> None:
    places = [[10.0, 10], [20, 10], [10, 20], [20, 20]]
    moving = Target.stack([target(places, [1, 1, 1, of_photo])])
    fixed = target([*places[:3], [20, 26]], [1, 1, 1, of_reference])
    fitted = procrustes.closed_form(moving, fixed)[0]
    # least squares bring the weighted middle onto the weighted middle
    middle = [(40 + 20 * both) / (3 + both)] * 2
    mapped = geometry.apply(fitted, torch.tensor([middle]).double())[0].tolist()
    assert mapped == pytest.approx([middle[0], (40 + 26 * both) / (3 + both)], abs=1e-6)


def test_closed_form_without_points_uses_the_moments_of_the_images() -> None:
    def disc(x: float, y: float, radius: float) -> Tensor:
        ys, xs = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(96) + 0.5, indexing="ij")
        return ((xs - x) ** 2 + (ys - y) ** 2 < radius**2).float()[None]

    moving = Target.stack([Target.of(disc(40, 50, 12))])
    fitted = procrustes.closed_form(moving, Target.of(disc(55, 45, 18)))[0]
    centre = geometry.apply(fitted, torch.tensor([[40.0, 50]]).double())[0]
    torch.testing.assert_close(centre, torch.tensor([55.0, 45]).double(), atol=0.05, rtol=0)
    assert geometry.scale_of(fitted) == pytest.approx(1.5, rel=0.01)


def test_stretch_is_that_of_a_pixel_at_the_middle_of_the_image() -> None:
    """Of x / w and (y - 20) / w, where w is 1 + x / 100, and the middle is (150, 20)."""
    tilt = torch.tensor([[1.0, 0, 0], [0, 1, -20], [0.01, 0, 1]]).double()
    across, down = geometry.stretch(tilt, (40, 300))
    assert across == pytest.approx(1 / (2.5 * 2.51))
    assert down == pytest.approx(1 / 2.5)
    turned = geometry.rotation(0.4) @ geometry.scaling(3, 0.5)
    assert geometry.stretch(turned, (40, 300)) == pytest.approx((3, 0.5))


@pytest.mark.parametrize(("across", "down"), [(0.25, 1.0), (1.0, 0.25), (0.2, 0.4)])
def test_a_grid_is_reduced_along_the_sides_that_shrink_alone(across: float, down: float) -> None:
    size = (round(120 * down), round(200 * across))
    grid_onto = geometry.scaling(across, down)
    fences = torch.arange(200).expand(120, 200) % 2.0, torch.arange(120)[:, None] % 2.0
    for fence, factor in zip(fences, (across, down), strict=True):
        seen = geometry.draw(fence.expand(120, 200).contiguous(), grid_onto, size)[2:-2, 2:-2]
        assert float(seen.min()) == pytest.approx(0.5 if factor < 1 else 0, abs=0.04)
        assert float(seen.max()) == pytest.approx(0.5 if factor < 1 else 1, abs=0.04)

    ys, xs = torch.arange(120)[:, None] + 0.5, torch.arange(200) + 0.5
    blob = torch.exp(-((xs - 130) ** 2 + (ys - 44) ** 2) / (2 * 12**2))
    seen = geometry.draw(blob, grid_onto, size)
    y, x = (torch.arange(side) + 0.5 for side in size)
    right, below = x / across - 130, y[:, None] / down - 44
    assert (seen - torch.exp(-(right**2 + below**2) / (2 * 12**2))).abs().max() < 0.04


def test_angle_and_scale_of_a_similarity() -> None:
    matrix = similarity(0.3, 1.7, 4, 5)
    assert geometry.angle_of(matrix) == pytest.approx(0.3)
    assert geometry.scale_of(matrix) == pytest.approx(1.7)


def test_the_inverse_of_an_affine_matrix_is_affine_to_the_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = torch.linalg.inv
    amiss = torch.tensor([[0, 0, 0], [0, 0, 0], [5e-19, -3e-19, -1e-16]], dtype=torch.float64)
    monkeypatch.setattr(torch.linalg, "inv", lambda matrices: exact(matrices) + amiss)
    generator = torch.Generator().manual_seed(0)
    affine = torch.randn(500, 3, 3, generator=generator, dtype=torch.float64) * 100
    affine[:, 2] = torch.tensor([0.0, 0.0, 1.0])
    inverses = geometry.inverse(affine)
    assert (inverses[:, 2] == affine[:, 2]).all()
    torch.testing.assert_close(inverses @ affine, torch.eye(3).double().expand(500, 3, 3))


def test_a_homography_is_inverted_too_and_gradients_pass() -> None:
    matrices = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    matrices[0, 2] = torch.tensor([0.001, -0.002, 0.9])
    torch.testing.assert_close(geometry.inverse(matrices), torch.linalg.inv(matrices))
    matrices.requires_grad_()
    assert torch.autograd.gradcheck(geometry.inverse, matrices)
