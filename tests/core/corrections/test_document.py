"""The file of corrections: what may stand there, and what is said of everything else."""

from datetime import datetime

import pytest

from alignimation_core import RecipeError
from alignimation_core.corrections.document import Correction, read

KEYPOINTS = ["left_eye", "right_eye", "nose"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "corrections.yaml"

    def write(text):
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_everything_that_may_be_said_of_a_photo(file):
    path = file(
        "# mine\n"
        "IMG_1.jpg: {use: false, sha256: " + "ab" * 32 + "}\n"
        "2008-04-01:\n"
        "  face: [412, 230.5]\n"
        "  keypoints: {left_eye: [1, 2]}\n"
        "  taken: 2008-04-01\n"
        "  turn: 90\n"
        "0012: {face: 2, use: true, taken: 2008-04-01 14:30}\n"
    )
    entries = read(path, KEYPOINTS)
    assert [entry.written for entry in entries] == ["IMG_1.jpg", "2008-04-01", "0012"]
    assert entries[0].correction == Correction(sha256="ab" * 32, use=False)
    assert entries[1].correction == Correction(
        face=(412.0, 230.5),
        keypoints={"left_eye": (1.0, 2.0)},
        taken=datetime(2008, 4, 1),
        turn=90,
    )
    assert entries[2].correction == Correction(face=2, use=True, taken=datetime(2008, 4, 1, 14, 30))


def test_no_file_and_one_of_comments_alone_correct_nothing(file, tmp_path):
    assert read(tmp_path / "none.yaml", KEYPOINTS) == []
    assert read(file("# nothing yet\n"), KEYPOINTS) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{use: maybe}", "use: write true or false, not 'maybe'"),
        (
            "{uses: true}",
            (
                "uses: unknown key; did you mean 'use'? known here: face, keypoints, "
                "sha256, taken, turn, use"
            ),
        ),
        (
            "{face: 0}",
            "face: 0 is neither a number, 1 for the leftmost face, nor a point [x, y] in it",
        ),
        (
            "{face: true}",
            "face: True is neither a number, 1 for the leftmost face, nor a point [x, y] in it",
        ),
        (
            "{face: [.inf, 2]}",
            "face: [inf, 2] is neither a number, 1 for the leftmost face, nor a point [x, y] in it",
        ),
        (
            "{keypoints: {nose: [1, .nan]}}",
            "keypoints: nose: write it as [x, y] in pixels, not [1, nan]",
        ),
        ("{keypoints: [1, 2]}", "keypoints: write {left_eye: [x, y]}, not [1, 2]"),
        ("{keypoints: {nose: 3}}", "keypoints: nose: write it as [x, y] in pixels, not 3"),
        (
            "{keypoints: {left_eyes: [3, 4]}}",
            (
                "keypoints: the detector knows no keypoint "
                "'left_eyes'; did you mean 'left_eye'? it gives left_eye, nose, right_eye"
            ),
        ),
        ("{taken: April}", "taken: 'April' is no date; write 2008-04-01, or 2008-04-01 14:30"),
        ("{turn: 45}", "turn: write 0, 90, 180 or 270, degrees clockwise, not 45"),
        ("{sha256: 12}", "sha256: 12 is no SHA-256; leave it out, or give 64 hex digits"),
        ("no", "say what to correct, such as `use: false`; False says nothing"),
        ("", "say what to correct, such as `use: false`; None says nothing"),
    ],
)
def test_a_fault_names_file_line_and_photo(file, line, message):
    path = file(f"# the first line\nIMG_1.jpg: {line}\n")
    with pytest.raises(RecipeError) as error:
        read(path, KEYPOINTS)
    assert str(error.value) == f"{path}:2: IMG_1.jpg: {message}"


def test_every_fault_is_told_at_once_by_its_own_line(file):
    path = file("a.jpg:\n  use: 1\n  face: 2\nb.jpg:\n  turn: 10\n")
    with pytest.raises(RecipeError) as error:
        read(path, KEYPOINTS)
    assert [(fault.line, fault.field) for fault in error.value.faults] == [
        (2, "a.jpg: use"),
        (5, "b.jpg: turn"),
    ]


def test_a_photo_that_stands_there_twice_is_a_fault(file):
    path = file("a.jpg: {use: false}\na.jpg: {use: true}\n")
    with pytest.raises(RecipeError) as error:
        read(path, KEYPOINTS)
    assert str(error.value) == f"{path}:2: the key 'a.jpg' stands here twice"


def test_what_is_no_list_of_corrections_says_what_one_looks_like(file):
    path = file("- IMG_1.jpg\n")
    with pytest.raises(RecipeError) as error:
        read(path, KEYPOINTS)
    assert str(error.value) == (
        f"{path}:1: a file of corrections is a list of `key: value` lines, such as "
        "`IMG_1.jpg: {use: false}`"
    )


def test_a_file_that_is_no_yaml_says_where(file):
    path = file("a.jpg: {use: false}\nb.jpg: {use: false\nc.jpg: {use: true}\n")
    with pytest.raises(RecipeError) as error:
        read(path, KEYPOINTS)
    assert str(error.value).startswith(f"{path}:3: this is no valid YAML: ")
    assert "\n" not in str(error.value)
