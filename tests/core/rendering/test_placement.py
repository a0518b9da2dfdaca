import math
from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Canvas, Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.rendering.placement import Residuals, on_canvas

CANVAS = Canvas(200, 400)
POINTS = {"a": (10.0, 20.0), "b": (50.0, 25.0), "c": (30.0, 70.0)}


def aligned_subject(points, matrix, width=640):
    photo = Photo(Path("/p"), "p", "0" * 64, 480, width, datetime(2020, 1, 1), "exif")
    subject = Subject((0, 0, 64, 64), 1.0, points, keypoint_names=tuple(POINTS))
    return AlignedSubject(FramedSubject(photo, subject, torch.eye(3).double()), matrix, 1)


def moved(x, y, turn=0.0, scale=1.0):
    return geometry.translation(x, y) @ geometry.rotation(turn) @ geometry.scaling(scale, scale)


def by_hand(points, matrix, goal, canvas_from_goal):
    """Return the residual, a point at a time."""

    def on_canvas(m, x, y):
        u, v, w = (row[0] * x + row[1] * y + row[2] for row in m.tolist())
        return u / w, v / w

    pairs = [
        (on_canvas(matrix, *points[n]), on_canvas(canvas_from_goal, *goal[n]))
        for n in goal
        if n in points
    ]
    squares = [(u - x) ** 2 + (v - y) ** 2 for (u, v), (x, y) in pairs]
    return 100 * math.sqrt(sum(squares) / len(squares)) / CANVAS.height


def test_photos_are_placed_with_their_residuals_before_and_after():
    canvas_from_reference = moved(40, 10, 0.3, 2.0)
    reference = aligned_subject(POINTS, torch.eye(3).double(), width=320)
    tilted = moved(3, -4, 0.2, 0.7)
    tilted[2, 0] = 1e-4
    aligned = [
        reference,
        aligned_subject(POINTS | {"b": (52.0, 22.0)}, moved(5, 6, -0.1, 1.2)),
        aligned_subject({"a": (11.0, 19.0)}, tilted, width=1000),
    ]
    placed = on_canvas(aligned, reference.framed, CANVAS, canvas_from_reference)
    for item, record in zip(aligned, placed, strict=True):
        assert record.aligned is item
        matrix = canvas_from_reference @ item.reference_from_photo
        ratio = 320 / item.photo.width
        resized = canvas_from_reference @ geometry.scaling(ratio, ratio)
        assert geometry.as_tensor(record.canvas_from_photo).allclose(matrix, atol=1e-10)
        points = item.subject.keypoints
        assert record.residual == pytest.approx(
            by_hand(points, matrix, POINTS, canvas_from_reference), abs=1e-4
        )
        assert record.residual_before == pytest.approx(
            by_hand(points, resized, POINTS, canvas_from_reference), abs=1e-4
        )
    assert placed[0].residual == 0
    assert placed[1].residual > 1


def test_photos_without_a_common_keypoint_or_with_one_nowhere_have_no_residual():
    nowhere = torch.nan, torch.inf
    subjects = [
        aligned_subject(points, torch.eye(3)).subject
        for points in ({}, {"other": (1.0, 1.0)}, POINTS | {"a": nowhere}, POINTS, {"c": (30, 71)})
    ]
    matrices = torch.eye(3).double().repeat(len(subjects), 1, 1)
    residuals = Residuals(aligned_subject(POINTS, torch.eye(3)).subject, torch.eye(3).double(), 200)
    assert residuals.of(residuals.common(subjects), matrices) == [None, None, None, 0.0, 0.5]


def test_a_reference_without_keypoints_gives_no_residuals():
    residuals = Residuals(aligned_subject({}, torch.eye(3)).subject, torch.eye(3).double(), 200)
    points = residuals.common([aligned_subject(POINTS, torch.eye(3)).subject] * 2)
    assert residuals.of(points, torch.eye(3).double().repeat(2, 1, 1)) == [None, None]
