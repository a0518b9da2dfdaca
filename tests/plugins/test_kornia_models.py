import math

import pytest
import torch

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes
from alignimation_kornia import (
    Affine,
    Crop,
    FamilyModel,
    Homography,
    Rigid,
    Similarity,
    Translation,
)

ALL = [Translation, Rigid, Crop, Similarity, Affine, Homography]
SIZE = (96, 128)
FACE = torch.tensor(
    [[52.0, 38.0], [78.0, 37.0], [65.0, 50.0], [56.0, 62.0], [75.0, 62.0]], dtype=torch.float64
)


def draw(points, width, size=SIZE, visible=None):
    """Gaussians on (P, 2) points, one channel each; points not visible have no weight."""
    y = (torch.arange(size[0]) + 0.5)[:, None]
    x = torch.arange(size[1]) + 0.5
    px, py = points.float()[:, 0, None, None], points.float()[:, 1, None, None]
    image = torch.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * width**2))
    weights = torch.ones(len(points)) if visible is None else torch.tensor(visible).float()
    return Target.of(
        image * (weights > 0)[:, None, None],
        weights=weights,
        points=points.float(),
        point_weights=weights,
    )


def similarity(degrees, scale, x, y, size=SIZE):
    return (
        geometry.translation(size[1] / 2 + x, size[0] / 2 + y)
        @ geometry.rotation(math.radians(degrees))
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-size[1] / 2, -size[0] / 2)
    )


def moved_faces(matrices, width=4.0, size=SIZE, points=FACE):
    """Photos in which the face is moved by each ``moving_from_fixed``, and their reference."""
    photos = [
        draw(geometry.apply(matrix, points), width * float(geometry.scale_of(matrix)), size)
        for matrix in matrices
    ]
    return Target.stack(photos), draw(points, width, size), torch.linalg.inv(torch.stack(matrices))


def worst_corner(found, truth, size=SIZE):
    """Percent of the long side by which the worst corner of the reference is off, (B,)."""
    height, width = size
    corners = torch.tensor([[0, 0], [width, 0], [width, height], [0, height]]).double()
    back = geometry.apply(torch.linalg.inv(truth), corners)
    return (geometry.apply(found, back) - corners).norm(dim=-1).amax(1) / max(size) * 100


def blob(matrix=None, size=SIZE):
    """A lopsided silhouette with soft edges, a (1, h, w) image, drawn where a matrix puts it."""
    matrix = torch.eye(3).double() if matrix is None else matrix
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    places = torch.stack([x, y], -1).reshape(-1, 2).double() + 0.5
    places = geometry.apply(torch.linalg.inv(matrix), places) - torch.tensor([64.0, 48.0])
    scale = float(geometry.scale_of(matrix))
    discs = [(0, 0, 12), (-4, -16, 6), (9, 12, 6), (-13, 4, 4), (4, 22, 5)]
    signed = torch.stack(
        [r - (places - torch.tensor([cx, cy])).norm(dim=1) for cx, cy, r in discs]
    ).amax(0)
    return torch.sigmoid(signed * scale * 1.5).reshape(1, *size).float()


def test_a_similarity_is_recovered_from_a_start_that_is_off():
    motions = [(10, 1.1, 8, 4), (-35, 0.6, -20, 9), (44, 1.7, 3, -12), (0, 1, 0, 0)]
    moving, fixed, truth = moved_faces([similarity(*motion) for motion in motions])
    start = similarity(2, 1.03, 1.5, -1) @ truth
    result = Similarity().fit(moving, fixed, start)
    assert result.failures == (None,) * 4
    assert result.converged.all()
    assert worst_corner(start, truth).min() > 1
    assert worst_corner(result.matrices, truth).max() < 0.01
    assert (result.residuals < 0.1 * result.residuals_before).all()
    assert result.matrices.dtype == torch.float64
    assert result.iterations.dtype == torch.int64


def test_random_similarities_from_the_closed_form_keep_their_precision():
    generator = torch.Generator().manual_seed(5)
    worst = []
    for keypoints in (5, 8, 12, 17):
        points = torch.rand(keypoints, 2, generator=generator, dtype=torch.float64) * 64 + 32
        points = points - points.new_tensor([0, 16])
        width = 0.15 * float((points - points.mean(0)).square().sum(1).mean().sqrt())
        turns = torch.rand(25, 5, generator=generator, dtype=torch.float64)
        motions = [
            similarity(
                90 * a - 45,
                4**b / 2,
                0.4 * 128 * c * math.cos(2 * math.pi * d),
                0.4 * 128 * c * math.sin(2 * math.pi * d),
            )
            for a, b, c, d, _ in turns.tolist()
        ]
        moving, fixed, truth = moved_faces(motions, width, points=points)
        result = Similarity().fit(moving, fixed, procrustes.closed_form(moving, fixed))
        assert result.failures == (None,) * len(motions)
        worst.append(worst_corner(result.matrices, truth).max())
    assert max(worst) < 0.01


def test_without_a_start_the_closed_form_is_taken_and_one_target_is_a_batch_of_one():
    moving, fixed, truth = moved_faces([similarity(12, 0.9, 5, -3), similarity(-8, 1.1, 2, 4)], 4)
    wanted = Similarity().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    assert torch.equal(Similarity().fit(moving, fixed).matrices, wanted.matrices)
    parts = (moving.image, moving.weights, moving.points, moving.point_weights)
    each = [
        Target(*row, moving.width and moving.width[i])
        for i, row in enumerate(zip(*parts, strict=True))
    ]
    assert worst_corner(Similarity().fit(each, fixed).matrices, truth).max() < 0.01
    alone = Similarity().fit(each[1], fixed)
    assert alone.matrices.shape == (1, 3, 3)
    assert worst_corner(alone.matrices, truth[1:]).max() < 0.01


@pytest.mark.parametrize(
    ("model", "moving_from_fixed"),
    [
        (Translation, geometry.translation(7.3, -4.1)),
        (Rigid, similarity(12, 1, 5, -3)),
        (Crop, similarity(0, 1.2, -6, 2)),
        (Similarity, similarity(12, 0.9, 5, -3)),
        (
            Affine,
            similarity(8, 1.1, 4, 2)
            @ torch.tensor([[1.05, 0.08, 0], [0, 0.96, 0], [0, 0, 1]]).double(),
        ),
        (
            Homography,
            similarity(5, 1.05, 2, 2)
            @ torch.tensor([[1, 0, 0], [0, 1, 0], [4e-4, -3e-4, 1]]).double(),
        ),
    ],
)
def test_each_family_finds_a_member_of_its_own(model, moving_from_fixed):
    fixed = Target.of(blob())
    photo = geometry.warp(blob(), moving_from_fixed, SIZE)
    moving = Target.stack([Target.of(photo)])
    truth = torch.linalg.inv(moving_from_fixed)[None]
    start = similarity(3 if model not in (Translation, Crop) else 0, 1, 1.5, -1) @ truth
    result = model().fit(moving, fixed, start)
    assert result.failures == (None,)
    assert worst_corner(start, truth) > 0.5
    assert worst_corner(result.matrices, truth).max() < 0.3
    assert result.residuals[0] < 0.01


def test_what_does_not_change_scale_says_so_and_keeps_the_size():
    moving, fixed, _ = moved_faces([similarity(20, 1.3, 4, 2)])
    initial = procrustes.closed_form(moving, fixed)
    for model in ALL:
        assert model.changes_scale == (model not in (Translation, Rigid))
    for model in (Translation, Rigid):
        found = model().fit(moving, fixed, initial).matrices
        torch.testing.assert_close(geometry.scale_of(found), torch.ones(1).double())
    for model in (Translation, Crop):
        found = model().fit(moving, fixed, initial).matrices
        torch.testing.assert_close(geometry.angle_of(found), torch.zeros(1).double())


def test_a_translation_holds_the_subjects_centre_though_it_turned_and_grew():
    moving, fixed, _ = moved_faces([similarity(10, 1.1, 19, -16)])
    result = Translation().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    centre = geometry.apply(result.matrices, moving.points.double()).mean(1)
    assert (centre - FACE.mean(0)).norm() < 1


def test_silhouettes_without_keypoints_are_turned_by_any_angle():
    motions = [
        similarity(*m)
        for m in ((0, 1, 5, 3), (40, 0.7, 6, -5), (-100, 1.2, 4, 2), (175, 0.8, 0, 0))
    ]
    fixed = Target.of(blob())
    moving = Target.stack([Target.of(blob(motion)) for motion in motions])
    truth = torch.linalg.inv(torch.stack(motions))
    result = Similarity().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    assert result.failures == (None,) * 4
    assert worst_corner(result.matrices, truth).max() < 0.5


def test_a_missing_keypoint_does_not_count_and_does_not_disturb_the_others():
    motion = similarity(15, 1.2, 6, -3)
    points = geometry.apply(motion, FACE)
    points[4] = torch.tensor([5.0, 90.0])  # nonsense where nothing was found
    photos = [draw(points, 4.8, visible=[1, 1, 1, 1, 0]), draw(geometry.apply(motion, FACE), 4.8)]
    moving, truth = Target.stack(photos), torch.linalg.inv(motion).repeat(2, 1, 1)
    start = similarity(2, 1.02, 1, -1) @ truth
    result = Similarity().fit(moving, draw(FACE, 4.0), start)
    assert worst_corner(result.matrices, truth).max() < 0.01


def test_weights_decide_between_keypoints_that_disagree():
    points = FACE.clone()
    points[0] += torch.tensor([4.0, 0.0])
    x = []
    for weight in (1.0, 100.0):
        photo, fixed = (draw(at, 4.0, visible=[weight, 1, 1, 1, 1]) for at in (points, FACE))
        moving = Target.stack([photo])
        result = Translation().fit(moving, fixed, torch.eye(3)[None])
        x.append(float(result.matrices[0, 0, 2]))
    assert -1.2 < x[0] < -0.2
    assert x[1] < -3.5


@pytest.mark.parametrize(
    "model",
    [*(model() for model in ALL), Similarity(optimizer="lbfgs")],
    ids=lambda model: f"{model.name}-{model.optimizer}",
)
def test_a_keypoint_that_the_reference_lacks_or_doubts_counts_as_little(model):
    """In the reference's picture it lies 5 pixels from where the others say."""
    astray = FACE.clone()
    astray[4] += torch.tensor([3.0, 4.0])
    moving, start = Target.stack([draw(FACE, 4.0)]), torch.eye(3)[None].double()
    off = []
    for sure in (0.0, 0.01, 1.0):
        picture, weights = draw(astray, 4.0).image, torch.tensor([1.0, 1, 1, 1, sure])
        fixed = Target.of(
            picture, weights=weights, points=astray.float(), point_weights=weights.clone()
        )
        result = model.fit(moving, fixed, start)
        assert result.failures == (None,)
        others = geometry.apply(result.matrices[0], FACE[:4]) - FACE[:4]
        off.append(float(others.norm(dim=1).max()))
    assert off[0] < 0.01
    assert off[1] < 0.1
    assert off[2] > 0.4


@pytest.mark.parametrize("loss", ["l1", "huber", "tukey"])
def test_robust_losses_hold_against_a_keypoint_in_the_wrong_place(loss):
    motion = similarity(10, 1.1, 4, -3)
    points = geometry.apply(motion, FACE)
    points[2] += torch.tensor([3.0, 3.0])
    moving = Target.stack([draw(points, 4.4)])
    fixed, truth = draw(FACE, 4.0), torch.linalg.inv(motion)[None]
    start = similarity(1, 1.01, 0.5, -0.5) @ truth
    squares = worst_corner(Similarity().fit(moving, fixed, start).matrices, truth)
    robust = worst_corner(Similarity(loss=loss).fit(moving, fixed, start).matrices, truth)
    assert squares > 0.5
    assert robust < 0.5 * squares


def smooth_noise(seed, size=SIZE):
    noise = torch.randn(1, 1, 12, 16, generator=torch.Generator().manual_seed(seed))
    return (
        torch.nn.functional.interpolate(noise, size, mode="bicubic", align_corners=False)
        .mul(0.15)
        .add(0.5)
        .clamp(0, 1)[0]
    )


def test_pixels_are_registered_and_ncc_does_not_mind_the_light():
    picture, motion = smooth_noise(1), similarity(6, 1.05, 3, -2)
    photo = geometry.warp(picture, motion, SIZE, padding="reflection")
    truth = torch.linalg.inv(motion)[None]
    start = similarity(2, 1.01, 1, 1) @ truth
    fixed = Target.of(picture, points=FACE.float())
    bright, same = (
        Target.stack([Target.of(image, points=geometry.apply(motion, FACE).float())])
        for image in (photo * 0.5 + 0.35, photo)
    )
    assert worst_corner(Similarity().fit(same, fixed, start).matrices, truth) < 0.1
    matched = Similarity(loss="ncc").fit(bright, fixed, start)
    assert matched.failures == (None,)
    assert worst_corner(matched.matrices, truth) < 0.1
    assert worst_corner(Similarity().fit(bright, fixed, start).matrices, truth) > 0.5


@pytest.mark.parametrize(
    ("optimizer", "loss"), [("adam", "l2"), ("lbfgs", "l2"), ("lbfgs", "l1"), ("lbfgs", "ncc")]
)
def test_autograd_finds_the_same(optimizer, loss):
    moving, fixed, truth = moved_faces([similarity(10, 1.1, 4, 2), similarity(-8, 0.9, -3, 2)])
    start = similarity(3, 1.03, 1, -1) @ truth
    result = Similarity(optimizer=optimizer, loss=loss, iterations=60).fit(moving, fixed, start)
    assert result.failures == (None, None)
    assert worst_corner(result.matrices, truth).max() < 0.3
    assert (result.residuals <= result.residuals_before).all()


class CubicLoss(Similarity):
    """A criterion that no built-in loss is."""

    def criterion(self, warped, fixed, weights):
        return (weights * (warped - fixed).abs() ** 3).mean((1, 2, 3))


def test_a_criterion_of_ones_own_is_minimised_by_autograd():
    moving, fixed, truth = moved_faces([similarity(10, 1.1, 4, 2)])
    start = similarity(3, 1.03, 1, -1) @ truth
    result = CubicLoss(optimizer="lbfgs").fit(moving, fixed, start)
    assert worst_corner(result.matrices, truth).max() < 0.1


def test_a_criterion_of_ones_own_with_gauss_newton_is_refused():
    with pytest.raises(ValueError, match="set optimizer to adam or lbfgs"):
        CubicLoss()
    assert issubclass(CubicLoss, FamilyModel)


@pytest.mark.parametrize("model", ALL)
def test_a_photo_never_ends_worse_than_it_began(model):
    generator = torch.Generator().manual_seed(8)
    points = [
        FACE + torch.randn(5, 2, generator=generator, dtype=torch.float64) * 6 for _ in range(6)
    ]
    moving = Target.stack([draw(p, 4.0) for p in points])
    fixed = draw(FACE, 4.0)
    result = model().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    assert (result.residuals <= result.residuals_before).all()
    assert result.matrices.isfinite().all()


def test_each_photo_is_fitted_as_if_it_were_alone():
    moving, fixed, truth = moved_faces(
        [similarity(*m) for m in ((10, 1.1, 8, 4), (-30, 0.7, -12, 9), (0, 1, 0, 0))]
    )
    start = similarity(2, 1.02, 1, -1) @ truth
    together = Similarity().fit(moving, fixed, start)
    for i in range(3):
        alone = Similarity().fit(
            Target(
                moving.image[[i]],
                moving.weights[[i]],
                moving.points[[i]],
                moving.point_weights[[i]],
            ),
            fixed,
            start[[i]],
        )
        assert worst_corner(alone.matrices, together.matrices[[i]]).max() < 1e-3
        assert abs(int(alone.iterations) - int(together.iterations[i])) <= 1


def test_one_iteration_a_level_is_all_that_is_taken_when_one_is_allowed():
    moving, fixed, truth = moved_faces([similarity(10, 1.1, 8, 4)])
    start = similarity(5, 1.05, 1, -1) @ truth
    few = Similarity(iterations=1).fit(moving, fixed, start)
    assert int(few.iterations) == 2  # 64x48 and 128x96
    assert not few.converged.any()


@pytest.mark.parametrize("size", [(97, 131), (64, 64), (301, 203), (16, 16)])
def test_sizes_that_are_odd_or_small(size):
    height, width = size
    points = FACE * torch.tensor([width / 128, height / 96])
    truth_back = similarity(6, 1.05, 0.02 * width, 0.01 * height, size)
    spread = 0.06 * max(size)
    moving, fixed, truth = moved_faces([truth_back], spread, size, points)
    start = similarity(1, 1.01, 0.01 * width, 0, size) @ truth
    result = Similarity().fit(moving, fixed, start)
    assert worst_corner(result.matrices, truth, size).max() < (0.05 if min(size) > 16 else 1)


NOT_A_NUMBER = "the target contains NaN"


def with_image(target, image):
    return Target(image, target.weights, target.points, target.point_weights)


def test_each_fault_is_a_named_failure_of_its_photo_alone():
    good = draw(geometry.apply(similarity(5, 1.05, 2, 1), FACE), 4.2)
    broken = good.image.clone()
    broken[1, 40, 40] = torch.nan
    photos = {
        None: good,
        NOT_A_NUMBER: with_image(good, broken),
        "the target is constant: nothing to align": with_image(
            good, torch.full_like(good.image, 0.5)
        ),
        "nothing in common with the reference: no keypoint found in both": draw(
            FACE, 4.0, visible=[0, 0, 0, 0, 0]
        ),
        "fewer than two keypoints in common with the reference: "
        "they do not determine a similarity": draw(FACE, 4.0, visible=[0, 0, 1, 0, 0]),
    }
    fixed, moving = draw(FACE, 4.0), Target.stack(list(photos.values()))
    result = Similarity().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    assert result.failures == tuple(photos)
    assert result.matrices.isfinite().all()
    assert result.residuals.isfinite().all()
    assert result.residuals_before.isfinite().all()
    assert result.converged.tolist() == [True, False, False, False, False]
    assert (geometry.scale_of(result.matrices) > 0.1).all()


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (torch.diag(torch.tensor([-1.0, 1.0, 1.0])), "the start is mirrored"),
        (torch.diag(torch.tensor([0.0, 1.0, 1.0])), "the start is singular"),
        (torch.full((3, 3), torch.nan), "the start is not finite"),
        (
            geometry.translation(500, 0),
            "no overlap: the photo and the reference share no pixels",
        ),
        (geometry.translation(60, 0), "no overlap: the two targets do not meet"),
    ],
)
def test_a_start_that_leads_nowhere_is_a_named_failure(start, reason):
    target = draw(FACE, 3.0)
    result = Similarity().fit(Target.stack([target]), target, start.double()[None])
    assert result.failures == (reason,)
    assert result.matrices.isfinite().all()


def test_faults_of_the_reference_fail_every_photo():
    good = draw(FACE, 4.0)
    moving = Target.stack([good, good])
    start = torch.eye(3).double().repeat(2, 1, 1)
    broken = with_image(good, torch.full_like(good.image, torch.nan))
    flat = with_image(good, torch.zeros_like(good.image))
    assert (
        Similarity().fit(moving, broken, start).failures
        == ("the reference's target contains NaN",) * 2
    )
    assert (
        Similarity().fit(moving, flat, start).failures
        == ("the reference's target is constant: nothing to align with",) * 2
    )


def test_a_reference_of_one_keypoint_or_of_others_determines_no_similarity():
    start = torch.eye(3).double()[None]
    moving = Target.stack([draw(FACE, 4.0, visible=[1, 1, 1, 0, 0])])
    references = [draw(FACE, 4.0, visible=some) for some in ([0, 0, 1, 1, 0], [0, 0, 0, 1, 1])]
    assert [Similarity().fit(moving, fixed, start).failures[0] for fixed in references] == [
        "fewer than two keypoints in common with the reference: they do not determine a similarity",
        "nothing in common with the reference: no keypoint found in both",
    ]


def test_keypoints_in_one_place_do_not_determine_a_similarity():
    target = draw(FACE[[0, 0, 0]], 4.0)
    moving = Target.stack([target])
    result = Similarity().fit(moving, target, procrustes.closed_form(moving, target))
    assert result.failures == (
        "the keypoints in common with the reference coincide: they do not determine a similarity",
    )


def test_what_is_round_stays_upright():
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(128) + 0.5, indexing="ij")
    disc, other = (
        Target.of(torch.sigmoid(radius - ((x - cx) ** 2 + (y - cy) ** 2).sqrt())[None])
        for cx, cy, radius in ((64, 48, 20), (72, 40, 25))
    )
    moving = Target.stack([other])
    found = Similarity().fit(moving, disc, procrustes.closed_form(moving, disc)).matrices
    torch.testing.assert_close(
        found[0],
        geometry.translation(64, 48) @ geometry.scaling(0.8, 0.8) @ geometry.translation(-72, -40),
        rtol=0,
        atol=0.1,
    )
    assert abs(float(geometry.angle_of(found[0]))) < 1e-3


def test_the_residual_is_the_root_mean_square_difference_over_the_reference():
    fixed, photo = draw(FACE, 5.0), draw(FACE + torch.tensor([3.0, 1.0]), 5.0)
    start = torch.eye(3).double()[None]
    result = Translation().fit(Target.stack([photo]), fixed, start)
    expected = (photo.image - fixed.image).square().mean().sqrt()
    torch.testing.assert_close(result.residuals_before[0], expected, rtol=0.03, atol=0)


def test_no_photos_give_an_empty_registration():
    fixed = draw(FACE, 4.0)
    none = Target.stack([fixed])
    none = Target(none.image[:0], none.weights[:0], none.points[:0], none.point_weights[:0])
    result = Similarity().fit(none, fixed, torch.zeros(0, 3, 3))
    assert result.matrices.shape == (0, 3, 3)
    assert result.failures == ()


def test_one_keypoint_is_enough_for_a_translation_and_for_a_mask_that_has_a_shape():
    photo = draw(FACE + torch.tensor([5.0, -3.0]), 4.0, visible=[0, 0, 1, 0, 0])
    moving, fixed = Target.stack([photo]), draw(FACE, 4.0)
    result = Translation().fit(moving, fixed, procrustes.closed_form(moving, fixed))
    assert result.failures == (None,)
    torch.testing.assert_close(result.matrices[0], geometry.translation(-5, 3), rtol=0, atol=2e-3)
    motion = similarity(30, 0.9, 4, 2)
    points = torch.tensor([[64.0, 48.0]])
    with_mask = Target.stack(
        [Target.of(blob(motion), points=geometry.apply(motion, points.double()).float())]
    )
    fixed = Target.of(blob(), points=points)
    result = Similarity().fit(with_mask, fixed, procrustes.closed_form(with_mask, fixed))
    assert result.failures == (None,)
    assert worst_corner(result.matrices, torch.linalg.inv(motion)[None]).max() < 0.5
