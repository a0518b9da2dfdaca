"""Targets to the last digit: profiles, blurs, edges and what is missing, computed in other ways."""

import math

import pytest
import torch

from alignimation_core import Mask, Subject
from alignimation_targets import GaussianKeypoints, Pixels, SoftMask

BOX = (10.0, 20.0, 70.0, 100.0)  # its diagonal is 100


def subject(points, scores=None, names=None, mask=None, image=None):
    return Subject(
        BOX,
        1.0,
        points,
        scores or dict.fromkeys(points, 1.0),
        tuple(names or points),
        mask,
        image=image,
    )


def test_a_gaussian_is_exact_up_to_six_widths_and_0_beyond():
    made = GaussianKeypoints(sigma=0.2).build(subject({"nose": (40.5, 8.5)}), (16, 120))
    width = 0.2 * 25  # a single keypoint: a quarter of the box's diagonal
    along = made.image[0, 8]
    x = torch.arange(120) - 40.0
    torch.testing.assert_close(along, torch.exp(-0.5 * (x / width) ** 2), atol=2e-8, rtol=1e-5)
    assert (along[70:] == 0).all()
    assert (along[11:70] > 0).all()
    assert (along[:11] == 0).all()


def test_keypoints_in_one_place_have_the_size_of_the_box():
    points = {"nose": (40.5, 8.5), "left_eye": (40.55, 8.5)}
    made = GaussianKeypoints(keypoints=("nose",), sigma=0.2).build(subject(points), (16, 120))
    both = GaussianKeypoints(sigma=0.2).build(subject(points), (16, 120))
    torch.testing.assert_close(both.image[0], made.image[0])


def test_a_keypoint_that_was_not_found_has_a_point_without_weight_among_pixels():
    names = ("left_eye", "nose", "right_eye")
    seen = subject({"nose": (5.0, 3.0)}, {"nose": 0.5}, names, image=torch.rand(3, 8, 9))
    made = Pixels(channels="grey").build(seen, (8, 9))
    assert made.points.tolist() == [[0, 0], [5, 3], [0, 0]]
    assert made.point_weights.tolist() == [0, 0.5, 0]


def test_edges_are_sobels_relative_to_the_pictures_own():
    grey = torch.rand(7, 6, generator=torch.Generator().manual_seed(0))
    made = Pixels(channels="gradient").build(subject({}, image=grey.expand(3, 7, 6)), (7, 6))
    y, x = torch.arange(7), torch.arange(6)

    def at(down, across):
        return grey[(y + down).clamp(0, 6)][:, (x + across).clamp(0, 5)]

    def slope(forward, back):
        return sum(w * (forward(i) - back(i)) for i, w in ((-1, 1), (0, 2), (1, 1))) / 8

    across = slope(lambda i: at(i, 1), lambda i: at(i, -1))
    down = slope(lambda i: at(1, i), lambda i: at(-1, i))
    length = across**2 + down**2
    wanted = (length / (length + length.mean())).sqrt()
    torch.testing.assert_close(made.image[0], wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("softness", [0.0, 0.02, 0.1])
def test_a_masks_edge_is_that_of_a_gaussian_blur(softness):
    square = Mask.of(torch.ones(30, 40), (12, 8, 52, 38))
    made = SoftMask(softness=softness).build(subject({}, mask=square), (48, 64)).image[0]
    width = softness * math.sqrt(30 * 40)

    def profile(start, end, count):
        sharp = torch.zeros(count)
        sharp[start:end] = 1
        if width == 0:
            return sharp
        at = torch.arange(-200.0, 201.0)
        kernel = torch.exp(-0.5 * (at / width) ** 2)
        kernel /= kernel.sum()
        padded = torch.nn.functional.pad(sharp, (200, 200))[None, None]
        return torch.nn.functional.conv1d(padded, kernel[None, None])[0, 0]

    wanted = profile(8, 38, 48)[:, None] * profile(12, 52, 64)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)


def test_a_side_is_as_well_seen_as_its_scores_from_the_minimum_up():
    builder = GaussianKeypoints(keypoints=("left_eye", "left_ear"), either_side=True)
    points = {"left_eye": (30.0, 30), "right_eye": (20.0, 30), "right_ear": (16.0, 32)}
    names = ("left_eye", "right_eye", "left_ear", "right_ear")

    def taken(scores):
        return builder.build(subject(points, scores, names), (64, 64)).points[0].tolist()

    barely = {"left_eye": 0.3, "right_eye": 0.3, "right_ear": 0.3}
    assert taken(barely) == [20, 30]
    assert taken({**barely, "right_ear": 0.29}) == [30, 30]


def test_what_cannot_be_drawn_is_told_word_by_word():
    size = (64, 64)
    with pytest.raises(
        ValueError, match=r"^the detector knows no keypoints; use target_builder mask or pixels$"
    ):
        GaussianKeypoints().build(subject({}), size)
    aside = Mask.of(torch.ones(4, 4), (50, 50, 60, 60))
    with pytest.raises(
        ValueError,
        match=r"^the mask covers none of the keypoints nose that were found; they may be two "
        r"people's, or leave `mask` out$",
    ):
        GaussianKeypoints(mask=True, sigma=0.1).build(subject({"nose": (9.0, 9)}, mask=aside), size)
