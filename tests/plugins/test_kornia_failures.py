"""Photos that cannot be fitted fail alone, and faint or open ones are not taken for such."""

import pytest
import torch

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_kornia import Similarity, Translation

SIZE = (48, 64)
UPRIGHT = torch.eye(3, dtype=torch.float64)
PLACES = [(20.0, 16.0), (44.0, 18.0), (31.0, 34.0)]


def faces(shift=(0.0, 0.0), strength=1.0, visible=(1, 1, 1)):
    y = (torch.arange(SIZE[0]) + 0.5)[:, None]
    x = torch.arange(SIZE[1]) + 0.5
    points = torch.tensor(PLACES) + torch.tensor(shift)
    image = torch.stack([torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 32) for u, v in points])
    weights = torch.tensor(visible).float()
    return Target.of(strength * image, weights=weights, points=points, point_weights=weights)


def stripe(at, keypoint):
    """A bright upright stripe, which says nothing of up and down."""
    x = torch.arange(SIZE[1]) + 0.5
    image = torch.exp(-((x - at) ** 2) / 32).expand(1, *SIZE)
    return Target.of(
        image, points=torch.tensor([[at, 20.0]]), point_weights=torch.tensor([float(keypoint)])
    )


OPEN = "fewer than one keypoint in common with the reference: they do not determine a translation"


@pytest.mark.parametrize(("keypoint", "failure"), [(0, OPEN), (1, None)])
def test_without_a_keypoint_a_stripe_leaves_a_translation_open(keypoint, failure):
    start = geometry.translation(-4, 0)[None]
    moving, fixed = Target.stack([stripe(34.0, keypoint)]), stripe(30.0, 1)
    result = Translation().fit(moving, fixed, start)
    assert result.failures == (failure,)
    torch.testing.assert_close(result.matrices, start, atol=0.05, rtol=0)


@pytest.mark.parametrize("number", [torch.inf, -torch.inf, torch.nan])
def test_numbers_that_are_none_leave_the_other_photos_alone(number):
    broken, good = faces(), faces((3.0, -2.0))
    broken.image[1, 10, 10] = number
    result = Similarity().fit(Target.stack([broken, good]), faces(), UPRIGHT.repeat(2, 1, 1))
    assert result.failures == ("the target contains NaN", None)
    alone = Similarity().fit(Target.stack([good]), faces(), UPRIGHT[None])
    torch.testing.assert_close(result.matrices[1], alone.matrices[0], atol=1e-4, rtol=0)
    assert result.matrices.isfinite().all()
    assert result.residuals.isfinite().all()
    assert result.residuals_before.max() < 1
    reversed_ = Similarity().fit(Target.stack([good]), broken, UPRIGHT[None])
    assert reversed_.failures == ("the reference's target contains NaN",)
    assert torch.equal(reversed_.matrices, UPRIGHT[None])
    assert reversed_.residuals_before.max() < 1


def test_of_two_photos_only_the_one_that_does_not_meet_the_reference_fails():
    starts = torch.stack([geometry.translation(-3, 2), geometry.translation(-31, 0)])
    moving = Target.stack([faces((3.0, -2.0)), faces()])
    result = Similarity().fit(moving, faces(), starts)
    assert result.failures == (None, "no overlap: the two targets do not meet")


@pytest.mark.parametrize("strength", [1.0, 0.02])
def test_a_faint_target_is_fitted_as_well(strength):
    moving = Target.stack([faces((3.0, -2.0), strength)])
    result = Similarity().fit(moving, faces(strength=strength), UPRIGHT[None])
    assert result.failures == (None,)
    torch.testing.assert_close(result.matrices[0], geometry.translation(-3, 2), atol=0.02, rtol=0)
