import math

import pytest
import torch
from pydantic import ValidationError

from alignimation_core import Mask, Subject, Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import procrustes, shared_weights
from alignimation_targets import GaussianKeypoints, Pixels, SoftMask

SIZE = (96, 96)
FACE = {
    "left_eye": (58.0, 40.0),
    "right_eye": (38.0, 41.0),
    "nose": (48.5, 51.0),
    "mouth_left": (56.0, 62.0),
    "mouth_right": (40.0, 63.0),
}
BODY = {
    "left_ear": (52.0, 16.0),
    "right_ear": (46.0, 15.5),
    "left_shoulder": (60.0, 26.0),
    "right_shoulder": (39.0, 25.0),
    "left_hip": (57.0, 49.0),
    "right_hip": (42.0, 50.0),
    "left_ankle": (54.0, 84.0),
    "right_ankle": (43.0, 86.0),
}


def subject_of(points, *, scores=None, names=None, box=(24.0, 20.0, 72.0, 78.0), mask=None):
    return Subject(
        box=box,
        score=0.9,
        keypoints=points,
        keypoint_scores=scores or dict.fromkeys(points, 1.0),
        keypoint_names=names or tuple(points),
        mask=mask,
    )


def moved(subject, angle=0.0, scale=1.0, shift=(0.0, 0.0)):
    centre = geometry.translation(48.0, 48.0)
    new_from_old = (
        geometry.translation(*shift)
        @ centre
        @ geometry.rotation(math.radians(angle))
        @ geometry.scaling(scale, scale)
        @ centre.inverse()
    )
    return subject.transformed(geometry.as_rows(new_from_old)), new_from_old


def disc(radius=20.0, centre=(48.0, 48.0), grid=256):
    """A round mask on a fine grid that covers the whole 96 x 96 frame."""
    at = (torch.arange(grid) + 0.5) * (96 / grid)
    inside = (at - centre[0]) ** 2 + ((at - centre[1]) ** 2)[:, None] < radius**2
    return Mask.of(inside, (0.0, 0.0, 96.0, 96.0))


def fit_similarity(moving: Target, fixed: Target) -> torch.Tensor:
    """Register by least squares over the channels that both have, from the closed form."""
    weights = shared_weights(moving.weights, fixed.weights)[:, None, None]
    start = procrustes.closed_form(Target.stack([moving]), fixed)[0]
    step = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([step], max_iter=60, line_search_fn="strong_wolfe")
    moving_image, fixed_image = moving.image.double(), fixed.image.double()
    to_centre = geometry.translation(-48.0, -48.0)

    def matrix():
        a, b, x, y = step[0] / 50, step[1] / 50, step[2], step[3]
        one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        rows = [
            torch.stack([1 + a, -b, x]),
            torch.stack([b, 1 + a, y]),
            torch.stack([zero, zero, one]),
        ]
        return to_centre.inverse() @ torch.stack(rows) @ to_centre @ start

    def closure():
        optimiser.zero_grad()
        warped = geometry.warp(moving_image, matrix(), SIZE)
        loss = (weights * (warped - fixed_image).square()).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return matrix().detach()


def distance(found, truth, points):
    at = torch.tensor(list(points.values()), dtype=torch.float64)
    return float((geometry.apply(found, at) - geometry.apply(truth, at)).norm(dim=1).max())


# gaussian-keypoints: the picture


def test_each_keypoint_gets_a_channel_with_a_gaussian_of_the_spread_times_sigma():
    builder = GaussianKeypoints(
        keypoints=("nose", "left_eye", "right_eye"), sigma=0.5, weights={"left_eye": 2.0}
    )
    points = {"nose": (40.5, 50.5), "left_eye": (50.5, 30.5), "right_eye": (30.5, 30.5)}

    target = builder.build(subject_of(points), (80, 64))

    # about the centre (43, 35.5), the left eye counting twice
    spread = math.sqrt((2.5**2 + 15**2 + 2 * (7.5**2 + 5**2) + 12.5**2 + 5**2) / 4)
    expected = math.exp(-0.5 * (3**2 + 2**2) / (0.5 * spread) ** 2)
    assert target.image.shape == (3, 80, 64)
    assert target.image.dtype == torch.float32
    assert target.image[0, 50, 40] == 1  # pixel (40, 50) has its centre at (40.5, 50.5)
    assert float(target.image[0, 52, 43]) == pytest.approx(expected, rel=1e-5)
    assert float(target.image[1, 32, 53]) == pytest.approx(expected, rel=1e-5)


def test_the_detectors_whole_list_of_keypoints_is_drawn_when_none_is_chosen():
    names = (*FACE, "chin")

    target = GaussianKeypoints().build(subject_of(FACE, names=names), SIZE)

    assert target.image.shape[0] == 6
    assert target.weights.tolist() == [400, 400, 1, 1, 1, 0]
    assert target.point_weights.tolist() == [400, 400, 1, 1, 1, 0]
    assert target.points[0].tolist() == [58, 40]
    assert target.image[5].max() == 0


def test_points_and_channels_follow_the_order_chosen():
    target = GaussianKeypoints(keypoints=("nose", "left_eye")).build(subject_of(FACE), SIZE)

    assert target.points.tolist() == [[48.5, 51], [58, 40]]


# gaussian-keypoints: what counts how much


def test_weights_are_scores_times_the_weight_of_the_keypoint():
    scores = {"left_eye": 0.5, "right_eye": 1.0, "nose": 0.8, "mouth_left": 0.9, "mouth_right": 0.2}
    subject = subject_of(FACE, scores=scores)

    by_default = GaussianKeypoints().build(subject, SIZE)
    chosen = GaussianKeypoints(weights={"nose": 2.0, "left_eye": 0.0}).build(subject, SIZE)

    torch.testing.assert_close(by_default.weights, torch.tensor([200, 400, 0.8, 0.9, 0]))
    torch.testing.assert_close(chosen.weights, torch.tensor([0, 1, 1.6, 0.9, 0]))


def test_by_default_the_trunk_counts_most_in_a_body():
    target = GaussianKeypoints().build(subject_of(BODY), SIZE)

    assert target.weights.tolist() == [1, 1, 3, 3, 3, 3, 1, 1]


def test_doubtful_keypoints_do_not_count_below_the_minimum():
    subject = subject_of(FACE, scores=dict.fromkeys(FACE, 0.4))

    assert GaussianKeypoints(min_score=0.4).build(subject, SIZE).weights.min() > 0
    with pytest.raises(ValueError, match=r"found with a score of 0\.5 or more; lower `min_score`"):
        GaussianKeypoints(min_score=0.5).build(subject, SIZE)


def test_a_doubtful_keypoint_does_not_change_the_others_widths_beyond_the_mean_proportions():
    scores = {name: 0.1 if name == "left_ankle" else 1.0 for name in BODY}
    elsewhere = dict(BODY, left_ankle=(0.0, 0.0))

    one = GaussianKeypoints().build(subject_of(BODY, scores=scores), SIZE)
    other = GaussianKeypoints().build(subject_of(elsewhere, scores=scores), SIZE)

    assert torch.equal(one.image, other.image)


# gaussian-keypoints: registration


@pytest.mark.parametrize(("angle", "scale"), [(10.0, 1.1), (-30.0, 0.8), (0.0, 1.3)])
def test_widths_scale_with_the_subject_so_that_a_known_motion_is_recovered(angle, scale):
    fixed = subject_of(FACE)
    moving, moving_from_fixed = moved(fixed, angle, scale, (3.0, -2.0))
    builder = GaussianKeypoints(sigma=0.3)

    found = fit_similarity(builder.build(moving, SIZE), builder.build(fixed, SIZE))

    assert distance(found @ moving_from_fixed, torch.eye(3, dtype=torch.float64), FACE) < 0.02


@pytest.mark.parametrize("lost", [("left_ankle",), ("right_ear", "left_hip", "right_ankle")])
def test_missing_keypoints_do_not_make_the_subject_larger(lost):
    fixed, _ = moved(subject_of(BODY), scale=0.7)
    moving, moving_from_fixed = moved(fixed, 5.0, 1.1)
    seen = {name: at for name, at in moving.keypoints.items() if name not in lost}
    partly = subject_of(seen, names=tuple(BODY), box=moving.box)
    builder = GaussianKeypoints()

    found = fit_similarity(builder.build(partly, SIZE), builder.build(fixed, SIZE))

    assert float(geometry.scale_of(found @ moving_from_fixed)) == pytest.approx(1, abs=0.004)


def test_widths_agree_between_photos_that_lost_different_keypoints():
    def width(names):
        points = {name: BODY[name] for name in names}
        image = (
            GaussianKeypoints(keypoints=tuple(BODY), sigma=0.2)
            .build(subject_of(points, names=tuple(BODY)), SIZE)
            .image
        )
        area = float(image[tuple(BODY).index("left_shoulder")].sum())
        return math.sqrt(area / (2 * math.pi))

    whole = width(BODY)
    upper = width([name for name in BODY if "ankle" not in name])
    lower = width([name for name in BODY if "ear" not in name])

    assert upper == pytest.approx(whole, rel=0.06)
    assert lower == pytest.approx(whole, rel=0.06)


def test_a_single_keypoint_is_drawn_by_the_size_of_the_box():
    subject = subject_of({"nose": (48.5, 48.5)}, box=(33.0, 28.0, 63.0, 68.0))  # diagonal 50

    image = GaussianKeypoints(sigma=0.4).build(subject, SIZE).image

    assert float(image[0, 48, 53]) == pytest.approx(math.exp(-0.5), rel=1e-5)


def test_by_default_a_gaussian_is_three_twentieths_of_the_subject_wide():
    subject = subject_of({"nose": (48.5, 48.5)}, box=(28.0, 18.0, 76.0, 82.0))  # diagonal 80

    image = GaussianKeypoints().build(subject, SIZE).image

    assert float(image[0, 51, 48]) == pytest.approx(math.exp(-0.5), rel=1e-5)  # 0.15 x 80 / 4
    assert float(image[0, 48, 48 + 15]) == pytest.approx(math.exp(-12.5), rel=1e-4)


def test_a_keypoint_that_was_not_found_does_not_count_even_when_no_score_is_asked_for():
    subject = subject_of(FACE, names=(*FACE, "chin"))

    target = GaussianKeypoints(min_score=0).build(subject, SIZE)

    assert target.weights.tolist() == [400, 400, 1, 1, 1, 0]


# gaussian-keypoints: the side that shows


LEFT = ("left_ear", "left_shoulder", "left_hip")


def profile(seen, hidden_score):
    scores = {name: 1.0 if name.startswith(seen) else hidden_score for name in BODY}
    return subject_of(BODY, scores=scores)


def test_the_other_side_stands_in_where_it_is_better_seen():
    builder = GaussianKeypoints(keypoints=LEFT, either_side=True)

    facing_left = builder.build(profile("left", 0.4), SIZE)
    facing_right = builder.build(profile("right", 0.4), SIZE)

    assert facing_left.points.tolist() == [[52, 16], [60, 26], [57, 49]]
    assert facing_right.points.tolist() == [[46, 15.5], [39, 25], [42, 50]]
    assert facing_right.weights.tolist() == [1, 3, 3]


@pytest.mark.parametrize(
    ("score", "first"), [(0.83, [52, 16]), (0.77, [46, 15.5])], ids=["hardly", "clearly"]
)
def test_the_other_side_must_be_seen_a_quarter_better(score, first):
    builder = GaussianKeypoints(keypoints=LEFT, either_side=True)

    assert builder.build(profile("right", score), SIZE).points.tolist()[0] == first


def test_a_side_of_doubtful_keypoints_is_not_seen_at_all():
    scores = {name: 0.29 if name.startswith("left") else 0.35 for name in BODY}
    builder = GaussianKeypoints(keypoints=LEFT, either_side=True)

    assert builder.build(subject_of(BODY, scores=scores), SIZE).points.tolist()[0] == [46, 15.5]


def test_a_front_view_stays_on_the_side_asked_for():
    builder = GaussianKeypoints(keypoints=LEFT, either_side=True)

    assert builder.build(profile("right", 0.9), SIZE).points.tolist()[0] == [52, 16]


def test_sides_are_never_mixed_and_the_middle_has_none():
    builder = GaussianKeypoints(keypoints=("nose", *LEFT), either_side=True)
    scores = dict.fromkeys(BODY, 1.0) | {"left_ear": 0.1, "left_hip": 0.1, "nose": 1.0}

    target = builder.build(subject_of(BODY | {"nose": (48.0, 18.0)}, scores=scores), SIZE)

    assert target.points.tolist() == [[48, 18], [46, 15.5], [39, 25], [42, 50]]


def test_without_either_side_a_hidden_side_is_left_as_it_is():
    target = GaussianKeypoints(keypoints=LEFT).build(profile("right", 0.4), SIZE)

    assert target.points.tolist()[0] == [52, 16]
    torch.testing.assert_close(target.weights, torch.tensor([0.4, 1.2, 1.2]))


# gaussian-keypoints: with the mask


def test_with_the_mask_the_picture_is_the_product():
    plain = GaussianKeypoints(sigma=0.3).build(subject_of(FACE), SIZE)
    masked = GaussianKeypoints(sigma=0.3, mask=True).build(subject_of(FACE, mask=disc()), SIZE)

    assert (masked.image <= plain.image + 1e-6).all()
    torch.testing.assert_close(
        masked.image[2, 46:56, 44:54], plain.image[2, 46:56, 44:54], atol=2e-3, rtol=0
    )
    assert masked.image[:, :10].max() == 0
    assert masked.weights.tolist() == [400, 400, 1, 1, 1]


def test_a_keypoint_off_the_mask_does_not_count():
    mask = disc(radius=12.0, centre=(48.0, 62.0))  # the mouth and the nose

    target = GaussianKeypoints(sigma=0.1, mask=True).build(subject_of(FACE, mask=mask), SIZE)

    assert target.weights.tolist() == [0, 0, 1, 1, 1]
    assert target.point_weights.tolist() == [0, 0, 1, 1, 1]
    assert target.image[0].max() == 0


def test_a_keypoint_just_off_the_mask_still_counts():
    builder = GaussianKeypoints(sigma=0.2, mask=True)

    def off(distance):  # the Gaussian is 2.5 pixels wide, and so is the mask's soft edge
        points = {"nose": (68.0 + distance, 48.0)}
        return subject_of(points, box=(33.0, 28.0, 63.0, 68.0), mask=disc(radius=20.0))

    # the product of both is largest between them: 0.30 where it is one width off, 0.02 at three
    assert builder.build(off(2.5), SIZE).image.max() == pytest.approx(0.3, abs=0.05)
    assert builder.build(off(2.5), SIZE).weights.tolist() == [1]
    with pytest.raises(ValueError, match="the mask covers none of the keypoints nose"):
        builder.build(off(7.5), SIZE)


# gaussian-keypoints: what it needs, and what is wrong


def test_it_requires_what_it_draws():
    assert GaussianKeypoints().requires() == {"keypoints"}
    assert GaussianKeypoints(weights={"nose": 2}).requires() == {"keypoints", "keypoints.nose"}
    assert GaussianKeypoints(keypoints=("nose",), mask=True).requires() == {
        "keypoints",
        "keypoints.nose",
        "masks",
    }
    assert GaussianKeypoints(keypoints=("left_hip",), either_side=True).requires() == {
        "keypoints",
        "keypoints.left_hip",
        "keypoints.right_hip",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoints": ()}, "`keypoints` is empty; name some, or leave it out to take all"),
        ({"keypoints": ("nose", "nose")}, "`keypoints` names nose twice; name it once"),
        (
            {"keypoints": ("nose", "left_eye"), "weights": {"left_eyes": 2}},
            "`weights` names left_eyes, which is not among the keypoints; did you mean left_eye?",
        ),
        (
            {"keypoints": ("nose", "left_eye"), "either_side": True, "weights": {"tail": 2}},
            "`weights` names tail, which is not among the keypoints; choose from nose, left_eye",
        ),
        (
            {"keypoints": ("left_hip", "right_hip"), "either_side": True},
            "`either_side` needs `keypoints` of one side, such as [left_ear, left_hip]",
        ),
        (
            {"either_side": True},
            "`either_side` needs `keypoints` of one side, such as [left_ear, left_hip]",
        ),
        ({"sigma": 0}, "greater than 0"),
        ({"weights": {"nose": -1}}, "greater than or equal to 0"),
        ({"sgima": 0.2}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValidationError) as refused:
        GaussianKeypoints(**options)
    assert message in str(refused.value)


def test_weights_for_a_keypoint_that_the_detector_does_not_know_are_refused():
    with pytest.raises(ValueError, match=r"`weights` names noes, .*; did you mean nose\?"):
        GaussianKeypoints(weights={"noes": 2}).build(subject_of(FACE), SIZE)


def test_a_detector_without_keypoints_is_named():
    bare = Subject(box=(0.0, 0.0, 9.0, 9.0), score=1.0)
    with pytest.raises(ValueError, match="knows no keypoints; use target_builder mask or pixels"):
        GaussianKeypoints().build(bare, SIZE)


def test_a_mask_that_covers_no_keypoint_is_named():
    elsewhere = subject_of(FACE, mask=disc(radius=5.0, centre=(10.0, 88.0)))
    with pytest.raises(ValueError, match="the mask covers none of the keypoints left_eye, right"):
        GaussianKeypoints(sigma=0.1, mask=True).build(elsewhere, SIZE)


@pytest.mark.parametrize("builder", [GaussianKeypoints(mask=True), SoftMask()])
def test_a_missing_mask_is_named(builder):
    with pytest.raises(ValueError, match="no mask for this subject"):
        builder.build(subject_of(FACE), SIZE)


# mask


def test_a_mask_keeps_its_area_and_place_when_it_is_reduced():
    subject = subject_of({}, mask=disc(radius=20.0, centre=(40.0, 55.0), grid=768))

    target = SoftMask(softness=0.0).build(subject, SIZE)

    mass = target.image[0].double()
    at = torch.arange(96, dtype=torch.float64) + 0.5
    assert float(mass.sum()) == pytest.approx(math.pi * 400, rel=1e-3)
    assert float((mass.sum(0) * at).sum() / mass.sum()) == pytest.approx(40, abs=0.01)
    assert float((mass.sum(1) * at).sum() / mass.sum()) == pytest.approx(55, abs=0.01)
    assert target.points.shape == (0, 2)
    assert SoftMask().requires() == {"masks"}


def test_a_fine_mask_is_reduced_without_aliasing():
    stripes = (torch.arange(960) % 10 < 5).expand(960, 960)  # one period a target pixel
    subject = subject_of({}, mask=Mask.of(stripes, (0.0, 0.0, 96.0, 96.0)))

    inner = SoftMask(softness=0.0).build(subject, SIZE).image[0, 8:-8, 8:-8]

    assert float(inner.min()) > 0.45
    assert float(inner.max()) < 0.55


def test_the_soft_edge_scales_with_the_mask():
    def edge_of(radius):
        image = SoftMask(softness=0.1).build(subject_of({}, mask=disc(radius)), SIZE).image[0]
        row = image[48, 48:]
        return int(((row > 0.16) & (row < 0.84)).sum())  # two standard deviations

    assert edge_of(15.0) == pytest.approx(2 * 0.1 * math.sqrt(math.pi) * 15, abs=1)
    assert edge_of(30.0) == pytest.approx(2 * 0.1 * math.sqrt(math.pi) * 30, abs=1)


def test_by_default_the_soft_edge_is_a_twentieth_of_the_masks_side_wide():
    row = SoftMask().build(subject_of({}, mask=disc(40.0)), SIZE).image[0, 48, 48:]

    edge = int(((row > 0.16) & (row < 0.84)).sum())
    assert edge == pytest.approx(2 * 0.05 * math.sqrt(math.pi) * 40, abs=1)


def test_a_mask_without_area_in_the_target_is_named():
    subject = subject_of({}, mask=disc(radius=5.0, centre=(48.0, 48.0)))
    away = subject.transformed(geometry.as_rows(geometry.translation(500.0, 0.0)))
    with pytest.raises(ValueError, match="the subject's mask is empty"):
        SoftMask().build(away, SIZE)


# pixels


def picture():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    return torch.stack([x / 200, y / 200, ((x - 48) ** 2 + (y - 40) ** 2 < 400) * 0.5])


def with_pixels(image, points=FACE):
    still = geometry.as_rows(torch.eye(3))
    return subject_of(points).transformed(still, image)


def test_colour_is_the_photo_itself_with_the_keypoints_as_points():
    target = Pixels(channels="colour").build(with_pixels(picture()), SIZE)

    assert torch.equal(target.image, picture())
    assert target.weights.tolist() == [1, 1, 1]
    assert target.points.tolist() == [list(at) for at in FACE.values()]
    assert target.point_weights.tolist() == [1, 1, 1, 1, 1]


def test_points_of_pixels_count_as_much_as_the_detector_is_sure_of_them():
    scores = dict(zip(FACE, (0.9, 0.25, 0.5, 1.0, 0.0), strict=True))
    subject = subject_of(FACE, scores=scores).transformed(geometry.as_rows(torch.eye(3)), picture())

    weights = Pixels().build(subject, SIZE).point_weights

    torch.testing.assert_close(weights, torch.tensor([0.9, 0.25, 0.5, 1.0, 0.0]))


def test_pixels_go_without_keypoints():
    target = Pixels(channels="grey").build(with_pixels(picture(), points={}), SIZE)

    assert target.points.shape == (0, 2)
    red, green, blue = picture()[:, 40, 50].tolist()
    assert float(target.image[0, 40, 50]) == pytest.approx(
        0.299 * red + 0.587 * green + 0.114 * blue
    )


def test_gradients_do_not_see_gain_and_offset_of_the_light():
    plain = Pixels().build(with_pixels(picture()), SIZE).image
    darker = Pixels().build(with_pixels(picture() * 0.3 + 0.2), SIZE).image

    torch.testing.assert_close(plain, darker, atol=2e-4, rtol=0)
    assert plain.shape == (1, 96, 96)
    assert float(plain[0, 40, 68]) > 0.8  # the edge of the disc
    assert float(plain[0, 40, 48]) < 0.6  # the slope inside it


def test_gradients_are_sobels_relative_to_the_pictures_own():
    dots = torch.zeros(3, *SIZE)
    dots[:, 4::8, 4::8] = 1

    strength = Pixels().build(with_pixels(dots), SIZE).image[0, 43:46, 43:46].double()

    # squared slopes: a quarter beside a dot, an eighth each way at its corners
    beside, corner = 0.25**2, 2 * 0.125**2
    typical = 4 * (beside + corner) / 64
    wanted = [[corner, beside, corner], [beside, 0, beside], [corner, beside, corner]]
    squares = torch.tensor(wanted).double()
    torch.testing.assert_close(strength, (squares / (squares + typical)).sqrt(), atol=1e-5, rtol=0)


def test_gradients_turn_with_the_picture():
    turned = Pixels().build(with_pixels(picture().rot90(1, (1, 2))), SIZE).image

    torch.testing.assert_close(
        turned, Pixels().build(with_pixels(picture()), SIZE).image.rot90(1, (1, 2))
    )


def test_a_constant_photo_gives_no_gradients_and_no_nan():
    flat = Pixels().build(with_pixels(torch.full((3, 96, 96), 0.5)), SIZE)

    assert flat.image.abs().max() == 0


def test_pixels_need_the_photo_in_the_targets_size():
    with pytest.raises(ValueError, match="without the photo's pixels"):
        Pixels().build(subject_of(FACE), SIZE)
    with pytest.raises(ValueError, match=r"expected shape \(3, 96, 96\), got \(3, 96, 90\)"):
        Pixels().build(with_pixels(torch.zeros(3, 96, 90)), SIZE)
    assert Pixels().requires() == {"pixels"}
