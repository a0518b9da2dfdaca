"""Closed forms against least squares by equations, and against moments by hand."""

import pytest
import torch

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_equations(moving, fixed, weights):
    """Solve ``a x - b y + t = u``, ``b x + a y + s = v`` for a, b, t, s, of (P, 2) points."""
    x, y = moving.double().unbind(1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    left = torch.cat([torch.stack([x, -y, one, zero], 1), torch.stack([y, x, zero, one], 1)])
    root = weights.double().sqrt().repeat(2)
    right = fixed.double().T.reshape(-1)
    a, b, t, s = torch.linalg.lstsq(left * root[:, None], right * root).solution.tolist()
    return torch.tensor([[a, -b, t], [b, a, s], [0, 0, 1]], dtype=torch.float64)


def test_weights_decide_between_points_that_disagree():
    moving, fixed = 100 * rand(4, 6, 2, seed=1), 50 * rand(4, 6, 2, seed=2)
    weights = rand(4, 6, seed=3)
    found = procrustes.similarity_from_points(moving, fixed, weights)
    truth = torch.stack([by_equations(*each) for each in zip(moving, fixed, weights, strict=True)])
    torch.testing.assert_close(found, truth, atol=1e-8, rtol=1e-8)
    one = procrustes.similarity_from_points(moving.float()[0], fixed.float()[0], weights[0])
    torch.testing.assert_close(one, truth[0], atol=1e-4, rtol=1e-4)
    assert one.dtype == torch.float64


def photo(points, weights, image=None):
    image = torch.zeros(1, 8, 8) if image is None else image
    return Target.of(image, points=points.float(), point_weights=weights.float())


def test_a_point_counts_as_much_as_both_photos_trust_it():
    points, goal = 20 * rand(2, 5, 2, seed=1), 30 * rand(5, 2, seed=2)
    ours, theirs = rand(2, 5, seed=3), torch.tensor([0.1, 0.9, 0.0, 0.5, 1.0])
    moving = Target.stack([photo(*each) for each in zip(points, ours, strict=True)])
    found = procrustes.closed_form(moving, photo(goal, theirs))
    for matrix, place, trust in zip(found, points, ours, strict=True):
        truth = by_equations(place, goal, 2 * trust * theirs / (trust + theirs))
        torch.testing.assert_close(matrix, truth, atol=1e-4, rtol=1e-4)


def test_the_one_point_in_common_gives_the_shift():
    points, goal = 20 * rand(3, 2, seed=1), 30 * rand(3, 2, seed=2)
    moving = Target.stack([photo(points, torch.tensor([0.0, 0.4, 0.7]))])
    found = procrustes.closed_form(moving, photo(goal, torch.tensor([1.0, 0.3, 0.0])))[0]
    shift = (goal[1] - points[1]).tolist()
    torch.testing.assert_close(found, geometry.translation(*shift), atol=1e-5, rtol=0)


def test_two_points_in_common_give_a_similarity_that_shrinks():
    points = torch.tensor([[2.0, 3.0], [10.0, 7.0], [99.0, 99.0]])
    truth = geometry.translation(1, 2) @ geometry.rotation(0.5) @ geometry.scaling(0.3, 0.3)
    moving = Target.stack([photo(points, torch.tensor([1.0, 1.0, 0.0]))])
    fixed = photo(geometry.apply(truth, points.double()), torch.ones(3))
    torch.testing.assert_close(procrustes.closed_form(moving, fixed)[0], truth, atol=1e-5, rtol=0)


def dots(shape, *masses):
    image = torch.zeros(shape)
    for channel, x, y, mass in masses:
        image[channel, y, x] = mass
    return image


def test_without_points_the_first_two_moments_of_all_channels_decide():
    # pixels p go to 2 p + (2.5, -1.5), their centres too
    first = dots((2, 20, 30), (0, 3, 2, 1.0), (1, 7, 4, 0.25), (0, 5, 6, 0.5))
    grown = dots((2, 20, 30), (0, 9, 3, 1.0), (1, 17, 7, 0.25), (0, 13, 11, 0.5))
    doubled = torch.tensor([[2, 0, 2.5], [0, 2, -1.5], [0, 0, 1]], dtype=torch.float64)
    moving = Target.stack([Target.of(first), Target.of(grown)])
    found = procrustes.closed_form(moving, Target.of(grown))
    torch.testing.assert_close(found[0], doubled)
    torch.testing.assert_close(found[1], torch.eye(3, dtype=torch.float64))
    back = procrustes.closed_form(moving, Target.of(first))
    torch.testing.assert_close(back[1], torch.linalg.inv(doubled))


@pytest.mark.parametrize("turned", [False, True])
def test_pictures_that_are_spread_along_one_axis_have_a_scale_too(turned):
    row, wide = (
        dots((1, 20, 20), (0, 3, 2, 1.0), (0, 7, 2, 1.0)),
        dots((1, 20, 20), (0, 2, 5, 1.0), (0, 14, 5, 1.0)),
    )
    truth = torch.tensor([[3, 0, -8], [0, 3, -2], [0, 0, 1]], dtype=torch.float64)
    if turned:
        row, wide, truth = row.mT, wide.mT, truth[[1, 0, 2]][:, [1, 0, 2]]
    found = procrustes.closed_form(Target.stack([Target.of(row)]), Target.of(wide))
    torch.testing.assert_close(found[0], truth)


def test_points_a_hair_apart_determine_a_similarity():
    moving = 1e-3 * rand(3, 2, seed=1)
    truth = geometry.translation(1, 2) @ geometry.rotation(0.5) @ geometry.scaling(3, 3)
    found = procrustes.similarity_from_points(moving, geometry.apply(truth, moving), rand(3))
    torch.testing.assert_close(found, truth)


@pytest.mark.parametrize(
    ("moving", "fixed"),
    [
        ([], [(0, 3, 2, 1.0), (0, 5, 2, 1.0)]),
        ([(0, 3, 2, 1.0), (0, 5, 2, 1.0)], []),
        ([(0, 3, 2, 1.0)], [(0, 3, 4, 1.0), (0, 5, 2, 1.0)]),
        ([(0, 3, 4, 1.0), (0, 5, 2, 1.0)], [(0, 3, 2, 1.0)]),
    ],
)
def test_pictures_that_are_empty_or_one_dot_leave_the_photo_where_it_is(moving, fixed):
    batch = Target.stack([Target.of(dots((1, 9, 9), *moving))])
    found = procrustes.closed_form(batch, Target.of(dots((1, 9, 9), *fixed)))
    assert torch.equal(found, torch.eye(3, dtype=torch.float64)[None])


def test_points_in_one_place_leave_the_photo_where_it_is():
    place = torch.full((2, 2), 4.0)
    batch = Target.stack([photo(place, torch.ones(2))])
    found = procrustes.closed_form(batch, photo(torch.tensor([[1.0, 2], [5, 6]]), torch.ones(2)))
    assert torch.equal(found, torch.eye(3, dtype=torch.float64)[None])
