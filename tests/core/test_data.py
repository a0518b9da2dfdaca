import alignimation_core
from alignimation_core import Subject


def test_a_subjects_keypoints_without_scores_count_fully():
    points = {"nose": (1.0, 2.0), "left_eye": (3.0, 4.0)}
    subject = Subject((0, 0, 9, 9), 0.9, points)
    assert subject.keypoint_scores == {"nose": 1.0, "left_eye": 1.0}
    subject = Subject((0, 0, 9, 9), 0.9, points, {"nose": 0.25})
    assert subject.keypoint_scores == {"nose": 0.25, "left_eye": 1.0}


def test_names_not_asked_for_yet_can_be_completed():
    names = dir(alignimation_core)
    assert names == sorted(names)
    assert {*alignimation_core.__all__, "__doc__", "__name__"} <= set(names)
