"""The kit for tests of plugins finds what is wrong, and tells each fault once."""

import re
import sys
from pathlib import Path

import pytest

BROKEN = Path(__file__).with_name("broken.py")


class Failures:
    """What failed in a run of pytest: its line, by test and class."""

    def __init__(self):
        self.lines, self.collection = {}, []

    def pytest_runtest_logreport(self, report):
        if report.failed:
            where, test = report.nodeid.split("::")[1:]
            self.lines.setdefault(where, {})[test] = str(report.longrepr).strip()

    def pytest_collectreport(self, report):
        if report.failed:
            self.collection.append(str(report.longrepr).strip())


def run(path, *arguments):
    failures = Failures()
    options = ["-p", "no:cacheprovider", "-p", "no:terminal", "--import-mode=importlib"]
    before = set(sys.modules)
    pytest.main(
        [*options, f"--rootdir={path.parent}", "-c", "/dev/null", str(path), *arguments],
        plugins=[failures],
    )
    for name in set(sys.modules) - before:
        if "broken" in name or "wrong" in name:
            del sys.modules[name]
    return failures


@pytest.fixture(scope="module")
def told():
    return run(BROKEN).lines


FOUND = {
    "TestShares": {
        "test_it_finds_what_its_contract_allows_in_images_of_any_size": (
            "brightest: ValueError: boxes: expected pixels of an image of 260 x 200, got shares of "
            "its sides, 0 to 1; multiply x by the width and y by the height"
        )
    },
    "TestStacking": {
        "test_a_batch_gives_what_each_image_gives_alone": (
            "brightest: RuntimeError: stack expects each tensor to be equal size, but got [3, 200, "
            "260] at entry 0 and [3, 200, 160] at entry 1 (broken.py:LINE): of 3 photos together, "
            "of none of them alone; a run gives it several, of different sizes, at once"
        )
    },
    "TestSwapped": {
        "test_its_coordinates_are_pixels_of_the_image": (
            "brightest: boxes: in an image put further by (48, 16) the middle should be (143, "
            "147), got (111, 179); expected (x, y) in pixels of the image that it is given"
        )
    },
    "TestMirrored": {
        "test_left_and_right_are_the_subjects_own": (
            "brightest: keypoints: left_eye is where the subject's right_eye is; left and right "
            "are the subject's own"
        )
    },
    "TestVandal": {
        "test_it_gives_the_same_twice_and_leaves_the_images_as_they_are": (
            "brightest: detect: it writes into the images that it is given; copy them"
        )
    },
    "TestBlind": {
        "test_what_looks_at_frames_finds_what_is_scored": (
            "brightest: score_detector: expected one that finds middle, got left_eye, right_eye"
        )
    },
    "TestLong": {
        "test_it_embeds_as_its_contract_allows": (
            "long: ValueError: embeddings: expected rows of length 1, got 257.3; "
            "torch.nn.functional.normalize(rows, dim=1) makes them so"
        )
    },
    "TestAlike": {
        "test_two_people_have_two_vectors": (
            "alike: embeddings: the same for two different people"
        ),
        "test_same_above_is_a_cosine": "alike: same_above: expected -1 to 1, got 1.5",
    },
    "TestCareless": {
        "test_it_chooses_or_says_why_not": (
            "careless: IndexError: photos/0002.jpg: chose detection 0 of 0"
        )
    },
    "TestBytes": {
        "test_it_draws_what_its_contract_allows": (
            "bytes: ValueError: image: expected 0 to 1, got 255; divide by 255"
        )
    },
    "TestTurned": {
        "test_a_subject_that_is_moved_moves_in_the_target": (
            "turned: image: a subject moved by (8.0, -5.0) pixels moves what is drawn by (-5.0, "
            "8.0); expected (C, height, width) in pixels of the target"
        )
    },
    "TestStubborn": {
        "test_it_says_that_it_converged": (
            "stubborn: converged: False for every photo, though each starts where it ends"
        )
    },
    "TestBackwards": {
        "test_it_brings_the_targets_together": (
            "backwards: matrices: 9.2 pixels off, and 4.6 before; expected fixed_from_moving in "
            "pixels of the targets; the inverse would be right"
        )
    },
    "TestHoarding": {
        "test_it_takes_frames_as_they_come": (
            "hoarding: apply: it takes every frame before it gives the first; take them one by one"
        )
    },
    "TestEarly": {
        "test_what_stood_there_stays_until_it_is_finished": (
            "early: write: it harms what stood under early.bin before"
        )
    },
    "TestDoubling": {
        "test_it_lists_photos_or_says_why_there_are_none": (
            "doubling: find: it lists /a.jpg 2 times"
        ),
        "test_its_photos_can_be_opened_by_other_processes_and_threads": (
            "doubling: open: /a.jpg is no picture"
        ),
    },
    "TestUntold": {
        "test_it_can_be_registered": (
            "Un told: Untold has no docstring, whose first line is shown by --list"
        ),
        "test_its_name_can_be_written_in_a_recipe": (
            "Un told: name: expected small letters and digits, with hyphens between words, such as "
            "full-moon; got 'Un told'"
        ),
        "test_every_option_is_described": (
            "Un told: use: expected a description that does not end with a full stop, got None"
        ),
    },
}


@pytest.mark.parametrize("case", FOUND)
def test_each_fault_is_told_once_by_name(told, case):
    lines = {test: re.sub(r"py:\d+", "py:LINE", line) for test, line in told[case].items()}
    assert lines == FOUND[case]


def test_an_error_of_the_stages_own_is_shown_where_it_was_raised(told):
    ((test, text),) = told["TestRaising"].items()
    assert test == "test_it_finds_what_its_contract_allows_in_images_of_any_size"
    assert "return image.no_such_thing" in text
    assert "detector brightest: AttributeError: 'Tensor' object has no attribute " in text


def test_a_sound_stage_passes_and_nothing_else_fails(told):
    assert told.keys() == FOUND.keys() | {"TestRaising"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("Track", "expected a stage, such as `stage = Track()`, got the class Track"),
        ("'track'", "expected a stage, such as `stage = Moon()`, got 'track'"),
        ("None", "expected a stage, such as `stage = Moon()`, got None"),
    ],
)
def test_what_is_no_stage_is_one_line(tmp_path, given, line):
    path = tmp_path / "test_wrong.py"
    path.write_text(
        "from alignimation_subject import Track\n"
        "from alignimation_core.testing import StageContract\n"
        f"class TestTrack(StageContract):\n    stage = {given}\n"
    )
    failures = run(path)
    assert failures.collection == [f"TestTrack: {line}"]
    assert failures.lines == {}
