import math

import pytest
import torch

from alignimation_core.api import geometry
from alignimation_kornia._transforms import FAMILIES, Chart, Transform

SIZE = (60, 110)
EVERY = sorted(FAMILIES)


def some_params(family, count=4, scale=0.3):
    generator = torch.Generator().manual_seed(2)
    shape = (count, len(family.parameters))
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def linear(matrices):
    return matrices[:, :2, :2]


def test_the_six_families_and_their_parameters():
    assert {name: len(family.parameters) for name, family in FAMILIES.items()} == {
        "translation": 2,
        "rigid": 3,
        "crop": 3,
        "similarity": 4,
        "affine": 6,
        "homography": 8,
    }


@pytest.mark.parametrize("name", EVERY)
def test_zeros_are_the_identity_and_negative_parameters_the_inverse(name):
    chart = Chart(FAMILIES[name], SIZE)
    params = some_params(FAMILIES[name])
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(chart.matrices(torch.zeros_like(params)), identity)
    both = chart.matrices(params) @ chart.matrices(-params)
    torch.testing.assert_close(both, identity, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_matrices_are_differentiable(name):
    chart = Chart(FAMILIES[name], SIZE)
    params = some_params(FAMILIES[name]).requires_grad_()
    assert torch.autograd.gradcheck(chart.matrices, (params,))


@pytest.mark.parametrize("name", ["translation", "rigid", "crop", "similarity"])
def test_members_are_true_to_pixels_at_any_aspect_ratio(name):
    found = linear(Chart(FAMILIES[name], SIZE).matrices(some_params(FAMILIES[name])))
    gram = found.mT @ found
    scale = gram[:, 0, 0]
    torch.testing.assert_close(
        gram, scale[:, None, None] * torch.eye(2, dtype=torch.float64).expand(4, 2, 2)
    )
    if name in ("translation", "rigid"):
        torch.testing.assert_close(scale, torch.ones_like(scale))
    if name in ("translation", "crop"):
        torch.testing.assert_close(found[:, 0, 1], torch.zeros(4, dtype=torch.float64))
    assert (torch.linalg.det(found) > 0).all()


def test_angle_is_in_radians_log_scale_in_logarithms_and_both_keep_the_centre():
    chart = Chart(FAMILIES["similarity"], SIZE)
    matrix = chart.matrices(torch.tensor([[0, 0, 0.3, math.log(1.2)]], dtype=torch.float64))
    torch.testing.assert_close(geometry.angle_of(matrix), torch.tensor([0.3]).double())
    torch.testing.assert_close(geometry.scale_of(matrix), torch.tensor([1.2]).double())
    centre = torch.tensor([[55.0, 30.0]], dtype=torch.float64)
    torch.testing.assert_close(geometry.apply(matrix, centre[None])[0], centre)


def test_a_unit_of_each_parameter_moves_points_by_comparable_amounts():
    chart = Chart(FAMILIES["homography"], SIZE)
    y, x = torch.meshgrid(torch.arange(60) + 0.5, torch.arange(110) + 0.5, indexing="ij")
    points = torch.stack([x, y], -1).reshape(-1, 2).double()
    moved = geometry.apply(chart.matrices(1e-6 * torch.eye(8, dtype=torch.float64)), points)
    distance = (moved - points).square().sum(-1).mean(1).sqrt() / 1e-6
    torch.testing.assert_close(
        distance[:6], torch.full((6,), chart.radius).double(), rtol=1e-3, atol=0
    )
    assert ((distance / chart.radius > 0.5) & (distance / chart.radius < 2)).all()


@pytest.mark.parametrize("name", EVERY)
def test_the_nearest_member_is_a_member_and_keeps_the_subjects_centre(name):
    family = FAMILIES[name]
    initial = torch.stack(
        [
            geometry.translation(20, -7) @ geometry.rotation(0.7) @ geometry.scaling(1.6, 1.6),
            geometry.translation(-3, 2) @ geometry.rotation(-2.5) @ geometry.scaling(0.4, 0.4),
        ]
    )
    centres = torch.tensor([[12.0, 40.0], [70.0, 33.0]], dtype=torch.float64)
    nearest = family.nearest(initial, centres)
    torch.testing.assert_close(
        geometry.apply(nearest, centres[:, None]), geometry.apply(initial, centres[:, None])
    )
    turned = "angle" in family.parameters
    scaled = "log_scale" in family.parameters
    torch.testing.assert_close(
        geometry.angle_of(nearest),
        geometry.angle_of(initial) if turned else torch.zeros(2).double(),
    )
    torch.testing.assert_close(
        geometry.scale_of(nearest), geometry.scale_of(initial) if scaled else torch.ones(2).double()
    )
    torch.testing.assert_close(family.nearest(nearest, centres), nearest)


def test_a_homography_comes_down_to_the_similarity_that_it_is_near_the_centre():
    bent = torch.eye(3, dtype=torch.float64)[None].clone()
    bent[0, 2, 0] = 2e-3
    centre = torch.tensor([[50.0, 20.0]], dtype=torch.float64)
    nearest = FAMILIES["affine"].nearest(bent, centre)
    near = centre + torch.tensor([[0.01, 0.0], [0.0, 0.01], [0.0, 0.0]]).double()
    torch.testing.assert_close(
        geometry.apply(nearest[0], near), geometry.apply(bent[0], near), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize("name", EVERY)
def test_a_transform_is_a_module_whose_one_parameter_trains(name):
    chart = Chart(FAMILIES[name], SIZE)
    initial = geometry.translation(3, -2)[None]
    model = Transform(chart, initial)
    assert [key for key, _ in model.named_parameters()] == ["params"]
    torch.testing.assert_close(model(), initial)
    points = torch.tensor([[20.0, 10.0], [90.0, 15.0], [30.0, 50.0], [80.0, 45.0]]).double()
    goal = geometry.apply(chart.matrices(some_params(FAMILIES[name], 1, 0.1)), points)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(400):
        optimizer.zero_grad()
        (geometry.apply(model(), points) - goal).square().mean().backward()
        optimizer.step()
    assert (geometry.apply(model(), points) - goal).norm(dim=-1).max() < 0.1
