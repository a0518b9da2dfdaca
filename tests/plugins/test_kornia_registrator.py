import math

import torch

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes
from alignimation_kornia import KorniaRegistrator, Similarity

SIZE = (48, 64)
FACE = torch.tensor([[24.0, 17.0], [40.0, 17.0], [32.0, 24.0], [27.0, 32.0], [37.0, 32.0]]).double()


def draw(points, width=5.0, visible=(1, 1, 1, 1, 1)):
    y = (torch.arange(SIZE[0]) + 0.5)[:, None]
    x = torch.arange(SIZE[1]) + 0.5
    px, py = points.float()[:, 0, None, None], points.float()[:, 1, None, None]
    weights = torch.tensor(visible).float()
    image = torch.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2))
    return Target.of(image, weights=weights, points=points.float(), point_weights=weights)


def turned(degrees):
    centre = geometry.translation(SIZE[1] / 2, SIZE[0] / 2)
    return centre @ geometry.rotation(math.radians(degrees)) @ torch.linalg.inv(centre)


def off(found, truth):
    back = geometry.apply(torch.linalg.inv(truth), FACE)
    return (geometry.apply(found, back) - FACE).norm(dim=-1).amax(1)


def test_it_finds_a_small_shift_in_pixels_and_in_the_right_direction():
    shift = geometry.translation(2.0, -1.5)
    moving, fixed = Target.stack([draw(geometry.apply(shift, FACE))]), draw(FACE)
    result = KorniaRegistrator().fit(moving, fixed, torch.eye(3)[None])
    assert result.failures == (None,)
    assert off(result.matrices, torch.linalg.inv(shift)[None]) < 0.3
    assert result.residuals[0] < 0.3 * result.residuals_before[0]
    assert 0 < int(result.iterations[0]) <= 500
    assert result.matrices.dtype == torch.float64


def test_it_ignores_the_start_unless_asked_and_hardly_turns():
    motion = turned(10)
    moving, fixed = Target.stack([draw(geometry.apply(motion, FACE))]), draw(FACE)
    truth, initial = torch.linalg.inv(motion)[None], procrustes.closed_form(moving, fixed)
    alone = KorniaRegistrator(iterations=40).fit(moving, fixed, initial)
    assert abs(math.degrees(float(geometry.angle_of(alone.matrices[0])))) < 1
    helped = KorniaRegistrator(start="closed-form", iterations=40).fit(moving, fixed, initial)
    assert off(helped.matrices, truth) < 0.3
    ours = Similarity().fit(moving, fixed, initial)
    assert off(ours.matrices, truth) < 0.01 * off(alone.matrices, truth)


def test_faults_are_named_and_a_missing_keypoint_is_left_out():
    good, broken = draw(FACE), draw(FACE)
    broken.image[0, 0, 0] = torch.nan
    none = draw(FACE, visible=(0, 0, 0, 0, 0))
    few = draw(FACE, visible=(1, 1, 1, 1, 0))
    few.image[4] = 0.7
    moving = Target.stack([good, broken, none, few])
    start = torch.eye(3).double().repeat(4, 1, 1)
    result = KorniaRegistrator(levels=2, iterations=3).fit(moving, good, start)
    assert result.failures == (
        None,
        "the target contains NaN",
        "nothing in common with the reference: no keypoint found in both",
        None,
    )
    assert result.matrices.isfinite().all()
    assert result.residuals.isfinite().all()
    assert off(result.matrices, start).max() < 0.1
    assert result.converged.tolist()[1:3] == [False, False]


def test_a_keypoint_that_the_reference_lacks_is_left_out():
    moving, start = Target.stack([draw(FACE)]), torch.eye(3).double()[None]
    fixed = draw(FACE, visible=(1, 1, 1, 1, 0))
    fixed.image[4] = fixed.image[4].roll(6, dims=1)
    result = KorniaRegistrator(levels=1, iterations=8).fit(moving, fixed, start)
    assert result.failures == (None,)
    assert off(result.matrices, start) < 0.05


def test_targets_that_do_not_overlap_are_a_named_failure():
    target = draw(FACE)
    far = geometry.translation(300, 0)[None]
    model = KorniaRegistrator(start="closed-form", levels=1, iterations=3)
    result = model.fit(Target.stack([target]), target, far)
    assert result.failures == ("no overlap: the two targets do not meet",)
    assert result.matrices.isfinite().all()
