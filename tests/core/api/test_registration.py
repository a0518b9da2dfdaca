"""What target builders and transform models hand over is checked where it is made."""

import re

import pytest
import torch

from alignimation_core import Registration, Target

PARTS = {
    "image": torch.zeros(3, 4, 5),
    "weights": torch.ones(3),
    "points": torch.zeros(2, 2),
    "point_weights": torch.ones(2),
}
FOUND = {
    "matrices": torch.eye(3).repeat(2, 1, 1),
    "residuals_before": torch.ones(2),
    "residuals": torch.zeros(2),
    "iterations": torch.zeros(2, dtype=torch.int64),
    "converged": torch.ones(2, dtype=torch.bool),
}


def exactly(message):
    return f"^{re.escape(message)}$"


def stacked(parts, times=7):
    return {name: part.expand(times, *part.shape) for name, part in parts.items()}


@pytest.mark.parametrize("parts", [PARTS, stacked(PARTS)])
def test_a_target_whose_parts_agree_is_kept_as_it_is(parts):
    target = Target(**parts)
    assert all(getattr(target, name) is part for name, part in parts.items())


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("image", (4, 5), "image: expected shape (C, h, w), got (4, 5)"),
        ("image", (1, 7, 3, 4, 5), "image: expected shape (C, h, w), got (1, 7, 3, 4, 5)"),
        ("weights", (2,), "weights: expected shape (3), got (2,)"),
        ("points", (2, 3), "points: expected shape (n, 2), got (2, 3)"),
        ("point_weights", (3,), "point_weights: expected shape (2), got (3,)"),
    ],
)
def test_a_target_whose_parts_disagree_is_refused(name, shape, message):
    with pytest.raises(ValueError, match=exactly(message)):
        Target(**{**PARTS, name: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("weights", (3,), "weights: expected shape (7, 3), got (3,)"),
        ("weights", (7, 4), "weights: expected shape (7, 3), got (7, 4)"),
        ("points", (2, 2), "points: expected shape (7, n, 2), got (2, 2)"),
        ("point_weights", (2,), "point_weights: expected shape (7, 2), got (2,)"),
    ],
)
def test_a_batch_whose_parts_disagree_is_refused(name, shape, message):
    with pytest.raises(ValueError, match=exactly(message)):
        Target(**{**stacked(PARTS), name: torch.zeros(shape)})


@pytest.mark.parametrize("name", ["weights", "points", "point_weights"])
def test_a_part_that_is_no_tensor_is_named(name):
    with pytest.raises(TypeError, match=exactly(f"{name}: expected a torch tensor, got list")):
        Target(**{**PARTS, name: [1.0, 2.0]})


@pytest.mark.parametrize("lead", [(), (7,)])
def test_what_is_not_said_of_a_target_counts_one(lead):
    image, points = torch.rand(*lead, 3, 4, 5), torch.rand(*lead, 2, 2)
    bare = Target.of(image)
    assert torch.equal(bare.weights, torch.ones(*lead, 3))
    assert bare.points.shape == (*lead, 0, 2)
    assert bare.point_weights.shape == (*lead, 0)
    assert torch.equal(Target.of(image, points=points).point_weights, torch.ones(*lead, 2))
    given = Target.of(
        image,
        weights=torch.full((*lead, 3), 0.5),
        points=points,
        point_weights=torch.full((*lead, 2), 0.25),
    )
    assert given.image is image
    assert given.points is points
    assert (given.weights == 0.5).all()
    assert (given.point_weights == 0.25).all()


def test_targets_are_stacked_part_by_part():
    first, second = (Target(*(torch.rand(part.shape) for part in PARTS.values())) for _ in range(2))
    batch = Target.stack([first, second])
    for name in PARTS:
        assert torch.equal(getattr(batch, name)[0], getattr(first, name))
        assert torch.equal(getattr(batch, name)[1], getattr(second, name))


def test_a_registration_without_failures_has_none_for_every_photo():
    assert Registration(**FOUND).failures == (None, None)
    assert Registration(**FOUND, failures=(None, "torn")).failures == (None, "torn")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("matrices", torch.eye(3), "matrices: expected shape (n, 3, 3), got (3, 3)"),
        ("matrices", torch.zeros(2, 2, 3), "matrices: expected shape (n, 3, 3), got (2, 2, 3)"),
        ("matrices", torch.zeros(2, 3, 4), "matrices: expected shape (n, 3, 3), got (2, 3, 4)"),
        ("residuals_before", torch.zeros(3), "residuals_before: expected shape (2), got (3,)"),
        ("residuals", torch.zeros(1), "residuals: expected shape (2), got (1,)"),
        ("iterations", torch.zeros(2, 1), "iterations: expected shape (2), got (2, 1)"),
        ("converged", torch.zeros(5), "converged: expected shape (2), got (5,)"),
        ("failures", (None,), "failures: expected 2, got 1"),
    ],
)
def test_a_registration_whose_parts_disagree_is_refused(name, value, message):
    with pytest.raises(ValueError, match=exactly(message)):
        Registration(**{**FOUND, name: value})
