"""What gates measure, against heads and pictures whose values are known."""

import math
from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Choice, Detections, Observation, Photo
from alignimation_core.api.stages.selectors import Gates
from alignimation_core.detection import gates, quality

FIVE = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
PHOTO = Photo(Path("/a.jpg"), "a.jpg", "0", 400, 600, datetime(2020, 1, 1), "exif")


def turned(yaw, pitch, roll):
    """The rotation of a head turned to the image's right, upwards, then clockwise."""
    y, p, r = (math.radians(each) for each in (yaw, pitch, roll))
    side = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    up = [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
    tilt = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
    return (torch.tensor(each, dtype=torch.float64) for each in (tilt, side, up))


def head(yaw=0.0, pitch=0.0, roll=0.0, names=FIVE):
    """The keypoints of a head, as a camera sees it from afar."""
    tilt, side, up = turned(yaw, pitch, roll)
    points = torch.tensor([gates.HEAD[name] for name in names], dtype=torch.float64)
    return (points @ (tilt @ side @ up).T)[:, :2] * 1.5 + 200


def see(points, names=FIVE, box=(150.0, 150.0, 250.0, 250.0), scores=None, measures=None):
    detections = Detections(
        boxes=torch.tensor([box]),
        scores=torch.ones(1),
        keypoints=points.float()[None],
        keypoint_names=names,
        keypoint_scores=None if scores is None else torch.tensor([scores]),
    )
    return Observation(PHOTO, detections, measures=measures)


def values(*observations):
    return gates.values(observations, [Choice(0)] * len(observations))


@pytest.mark.parametrize(
    "names", [FIVE, (*FIVE, "jaw_8"), ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
)
@pytest.mark.parametrize(
    "angles", [(0, 0, 0), (30, 0, 0), (-50, 10, 0), (0, -25, 0), (20, 15, 120), (0, 0, -90)]
)
def test_the_angles_of_a_head_are_found_from_its_keypoints(names, angles):
    (found,) = values(see(head(*angles, names), names))
    assert [found[name] for name in ("yaw", "pitch", "roll")] == pytest.approx(angles, abs=0.05)


def test_a_head_without_a_nose_or_with_three_points_has_no_angles():
    without_nose, three = [1.0, 1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0, 0.0]
    found = values(see(head(), scores=without_nose), see(head(), scores=three), see(head(5)))
    assert ["yaw" in each for each in found] == [False, False, True]
    assert "facing_forward" in found[1]


def test_size_share_and_border_are_of_the_box():
    (found,) = values(see(head(), box=(-20.0, 100.0, 60.0, 280.0)))
    assert found["size"] == 120
    assert found["share"] == pytest.approx(80 * 180 / (400 * 600))
    assert found["border"] == pytest.approx(-20 / 120, abs=1e-4)


def test_eyes_and_mouth_are_open_as_their_outlines_say():
    eye = [(0, 0), (10, -4), (20, -4), (30, 0), (20, 4), (10, 4)]
    lips = [(0, 0), (10, -5), (20, -6), (30, -5), (40, 0), (30, 5), (20, 6), (10, 5)]
    names = (*gates.EYES, *gates.LIPS)
    points = torch.tensor([*eye, *eye, *lips]).double() + 100
    (found,) = values(see(points, names))
    assert found["eyes_open"] == pytest.approx(8 / 30, abs=1e-4)
    assert found["mouth_open"] == pytest.approx(12 / 40, abs=1e-4)
    assert "yaw" not in found


def test_an_outline_without_a_width_has_no_value():
    eye = [(5, 0), (10, -4), (20, -4), (5, 0), (20, 4), (10, 4)]
    points = torch.tensor([*eye, *eye]).double() + 100
    (found,) = values(see(points, (*gates.EYES,)))
    assert "eyes_open" not in found


def test_what_was_rejected_has_its_values_too():
    seen = see(head())
    found = gates.values([seen] * 2, [Choice(None, "no", 0.25, candidate=0), Choice(None, "no")])
    assert found[0]["similarity"] == 0.25
    assert found[1] == {}


def test_a_gate_refuses_what_is_beyond_its_limit_and_passes_what_is_unknown():
    values = {"yaw": -45.0, "eyes_open": 0.1}
    assert Gates().missed(values) is None
    assert Gates(max_yaw=50, min_sharpness=0.9).missed(values) is None
    assert Gates(max_yaw=40).missed(values) == (
        "max_yaw",
        (
            "the subject looks to the side (yaw 45.00, at most 40.00 asked); "
            "`gates: {max_yaw: null}` keeps it"
        ),
    )
    assert Gates(min_eyes_open=0.1004).missed(values) == (
        "min_eyes_open",
        (
            "the subject's eyes are closed (eyes_open 0.1000, at least 0.1004 asked); "
            "`gates: {min_eyes_open: null}` keeps it"
        ),
    )


def test_a_photo_refused_by_a_gate_keeps_whom_it_is_about():
    choice = Choice(0, similarity=0.5)
    assert gates.held(Gates(), choice, {"yaw": 10.0}) is choice
    refused = gates.held(Gates(max_yaw=5), choice, {"yaw": 10.0})
    assert (refused.index, refused.candidate, refused.similarity) == (None, 0, 0.5)


def picture(seed=0):
    noise = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise[None], (400, 600))[0].mul(255).byte()


def test_a_blurred_picture_is_less_sharp_and_a_darker_one_as_sharp():
    image = picture()
    wide = torch.nn.functional.avg_pool2d(image.float()[None], 31, 1, 15)[0].byte()
    box = torch.tensor([[100.0, 100, 300, 300]])
    sharp, blurred, dark = (quality.measure(i, PHOTO, box)[0] for i in (image, wide, image // 2))
    assert blurred[0] < sharp[0] - 0.2
    assert dark[0] == pytest.approx(float(sharp[0]), abs=0.01)
    assert dark[1] == pytest.approx(float(sharp[1]) / 2, abs=0.01)
    assert dark[2] == pytest.approx(float(sharp[2]) / 2, abs=0.01)


def test_flat_pictures_have_their_brightness_and_boxes_outside_have_nothing():
    grey = torch.full((3, 200, 300), 51, dtype=torch.uint8)
    boxes = torch.tensor([[0.0, 0, 600, 400], [700, 0, 800, 90], [-50, -50, 100, 100]])
    found = quality.measure(grey, PHOTO, boxes)
    assert found[0].tolist() == pytest.approx([0, 0.2, 0], abs=1e-5)
    assert found[1].isnan().all()
    assert found[2, 1] == pytest.approx(0.2)
    (value,) = values(see(head(), measures=found[:1]))
    assert value["exposure"] == pytest.approx(0.2, abs=1e-4)
    (value,) = values(see(head(), measures=found[1:2]))
    assert "exposure" not in value
