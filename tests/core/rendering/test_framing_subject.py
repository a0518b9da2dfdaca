"""Sizes by name, and framing by how large the subject is and where."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from alignimation_core import Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering import framing

EYES = {"left_eye": (370.0, 240.0), "right_eye": (330.0, 240.0)}
TORSO = {
    "left_shoulder": (400.0, 350.0),
    "right_shoulder": (300.0, 350.0),
    "left_hip": (390.0, 550.0),
    "right_hip": (310.0, 550.0),
}


def photos(keypoints, width=800, height=600):
    identity = torch.eye(3, dtype=torch.float64)
    subject = Subject((300.0, 200.0, 400.0, 320.0), 1.0, keypoints)
    photo = Photo(Path("/a"), "a", "", height, width, datetime(2020, 1, 1), "exif")
    one = AlignedSubject(FramedSubject(photo, subject, identity), identity, 1)
    return [replace(one) for _ in range(3)]


@pytest.mark.parametrize(
    ("keypoints", "point"),
    [(EYES, (350, 240)), (EYES | TORSO, (350, 450)), ({}, (350, 260))],
)
def test_the_subject_is_as_large_and_where_it_is_wanted(keypoints, point):
    wanted = {"size": "400x500", "framing": {"subject": 0.3, "at": [0.25, 0.4]}}
    options = CanvasOptions.model_validate(wanted)
    canvas, canvas_from_reference = framing.frame(photos(keypoints), options, level=True)
    assert (canvas.width, canvas.height) == (400, 500)
    ends = torch.tensor([[350.0, 200], [350, 320], point], dtype=torch.float64)
    top, bottom, there = geometry.apply(canvas_from_reference, ends)
    assert float(bottom[1] - top[1]) == pytest.approx(0.3 * 500)
    assert there.tolist() == pytest.approx([100, 200])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("story", (1920, 1080)),
        ("portrait", (1350, 1080)),
        ("square", (1080, 1080)),
        ("1080p", (1080, 1920)),
        ("4k", (2160, 3840)),
    ],
)
def test_sizes_have_names(name, shape):
    assert CanvasOptions(size=name).shape() == shape


def test_a_canvas_as_large_as_the_photos():
    options = CanvasOptions(size="photo")
    assert options.shape() is None
    canvas, _ = framing.frame(photos(EYES, 3001, 2000), options, level=True)
    assert (canvas.width, canvas.height) == (3000, 2000)


def test_a_framing_is_dumped_as_it_is_written():
    wanted = {"subject": 0.3, "at": [0.5, 0.4]}
    options = CanvasOptions.model_validate({"framing": wanted})
    assert options.model_dump(mode="json")["framing"] == wanted
    assert CanvasOptions.model_validate(options.model_dump()) == options


@pytest.mark.parametrize(
    ("framing", "location"),
    [
        ({"subject": 0}, ("framing", "subject")),
        ({"at": [0.5, 2]}, ("framing", "at", 1)),
        ({"size": 1}, ("framing", "size")),
        ("tigth", ("framing",)),
    ],
)
def test_a_wrong_framing_is_told_by_its_place(framing, location):
    with pytest.raises(ValidationError) as error:
        CanvasOptions(framing=framing)
    assert [fault["loc"] for fault in error.value.errors()] == [location]
