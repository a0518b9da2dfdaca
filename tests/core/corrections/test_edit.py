"""The file of corrections is added to, never overwritten."""

from dataclasses import replace
from datetime import datetime

import pytest

from alignimation_core import OutputError, RecipeError
from alignimation_core.api.files import PhotoNames
from alignimation_core.corrections import edit
from alignimation_core.corrections.document import Correction, read

NAMES = PhotoNames(["photos/a.jpg", "photos/b.jpg", "photos/2008.jpg"])
SUM = "ab" * 32

MINE = """\
# what I know of these photos

a.jpg: {use: false}   # blurred
"photos/b.jpg":
  # her sister is in front
  face: [12, 30]      # the one behind
  taken: 2008-04-01
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "corrections.yaml"


def corrections(file):
    return {entry.written: entry.correction for entry in read(file, None)}


def test_the_first_correction_makes_the_file(file):
    edit.add(file, NAMES, "photos/a.jpg", SUM, {"use": False})
    assert file.read_text() == f"photos/a.jpg:\n  sha256: {SUM}\n  use: false\n"


def test_comments_and_all_else_stay_where_something_is_added(file):
    file.write_text(MINE)
    edit.add(file, NAMES, "photos/2008.jpg", None, {"taken": "2008-04-01", "face": [3, 4.5]})
    assert file.read_text() == MINE + "photos/2008.jpg:\n  taken: 2008-04-01\n  face: [3.0, 4.5]\n"


def test_what_is_said_of_a_photo_under_any_of_its_names_is_added_to(file):
    file.write_text(MINE)
    edit.add(file, NAMES, "photos/a.jpg", SUM, {"use": True})
    edit.add(file, NAMES, "photos/b.jpg", SUM, {"keypoints": {"nose": (1, 2)}})
    edit.add(file, NAMES, "photos/b.jpg", SUM, {"keypoints": {"left_eye": (3, 4)}})
    assert corrections(file) == {
        "a.jpg": Correction(use=True),
        "photos/b.jpg": Correction(
            face=(12, 30),
            taken=datetime(2008, 4, 1),
            keypoints={"nose": (1, 2), "left_eye": (3, 4)},
        ),
    }
    for comment in ("# what I know of these photos", "# blurred", "# the one behind"):
        assert comment in file.read_text()


def test_what_is_said_of_a_renamed_photo_is_found_by_its_content(file):
    file.write_text(f"old.jpg: {{use: false, sha256: {SUM}}}\n")
    edit.add(file, NAMES, "photos/a.jpg", SUM, {"turn": 90})
    assert file.read_text() == f"old.jpg: {{use: false, sha256: {SUM}, turn: 90}}\n"


def test_a_correction_is_taken_back_and_the_last_one_takes_its_photo_along(file):
    file.write_text(MINE)
    edit.remove(file, NAMES, "photos/b.jpg", SUM, ["taken", "turn"])
    edit.remove(file, NAMES, "photos/2008.jpg", SUM, ["taken"])
    assert corrections(file)["photos/b.jpg"] == Correction(face=(12, 30))
    edit.remove(file, NAMES, "photos/b.jpg", SUM, ["face"])
    assert corrections(file) == {"a.jpg": Correction(use=False)}
    edit.remove(file, NAMES, "photos/a.jpg", SUM, ["use"])
    assert corrections(file) == {}


def test_comments_alone_stay(file):
    file.write_text("# nothing yet")
    edit.add(file, NAMES, "photos/a.jpg", None, {"use": False})
    assert file.read_text() == "# nothing yet\nphotos/a.jpg:\n  use: false\n"


def test_the_ends_of_lines_stay(file):
    file.write_bytes(b"\xef\xbb\xbf# mine\r\na.jpg: {use: false}\r\n")
    edit.add(file, NAMES, "photos/b.jpg", None, {"use": False})
    assert file.read_bytes() == (
        b"\xef\xbb\xbf# mine\r\na.jpg: {use: false}\r\nphotos/b.jpg:\r\n  use: false\r\n"
    )


def test_a_file_that_was_broken_by_hand_stays_as_it_is(file):
    file.write_text("a.jpg: {use: maybe}\n")
    with pytest.raises(RecipeError) as error:
        edit.add(file, NAMES, "photos/b.jpg", SUM, {"use": False})
    assert str(error.value) == f"{file}:1: a.jpg: use: write true or false, not 'maybe'"
    assert file.read_text() == "a.jpg: {use: maybe}\n"
    assert [*file.parent.iterdir()] == [file]


def test_what_somebody_writes_meanwhile_stays(file, monkeypatch):
    file.write_text(MINE)

    def read_and_write(path, keypoints):
        if path != file:
            file.write_text("a.jpg: {use: true}\n")
        return read(path, keypoints)

    monkeypatch.setattr(edit, "read", read_and_write)
    with pytest.raises(OutputError) as error:
        edit.add(file, NAMES, "photos/b.jpg", SUM, {"use": False})
    assert str(error.value) == f"{file}: it was changed meanwhile; correct it again"
    assert file.read_text() == "a.jpg: {use: true}\n"
    assert [*file.parent.iterdir()] == [file]


def test_a_value_that_a_key_cannot_have_is_refused(file):
    with pytest.raises(ValueError, match="write 0, 90, 180 or 270"):
        edit.add(file, NAMES, "photos/a.jpg", SUM, {"turn": 45})
    assert not file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "{a.jpg: {use: false}, b.jpg: {turn: 90}}\n",
        "---\na.jpg: {use: false}\n...\n",
        "  a.jpg:\n    use: false\n  b.jpg: {turn: 90}\n",
        "? a.jpg\n: use: false\nb.jpg: {turn: 90}\n",
        "a.jpg: &it {use: false}\nb.jpg: {turn: 90}\n",
        "\"a.jpg\": {use: false}\n'b.jpg':\n  turn: 90",
        "a.jpg: {use: false,\n  turn: 0}\n# of b\nb.jpg: {turn: 90}\n",
        "a.jpg:\n  use: false # \u2028\nb.jpg: {turn: 90}\n",
    ],
)
def test_files_of_any_layout_are_added_to(file, text):
    file.write_text(text)
    before = corrections(file)
    edit.add(file, NAMES, "photos/a.jpg", None, {"taken": "2001-01-01"})
    edit.add(file, NAMES, "photos/2008.jpg", None, {"use": True})
    assert corrections(file) == {
        **before,
        "a.jpg": replace(before["a.jpg"], taken=datetime(2001, 1, 1)),
        "photos/2008.jpg": Correction(use=True),
    }
    edit.remove(file, NAMES, "photos/a.jpg", None, ["taken", "use", "turn"])
    assert corrections(file) == {
        **{name: each for name, each in before.items() if name != "a.jpg"},
        "photos/2008.jpg": Correction(use=True),
    }


def test_a_comment_before_the_next_photo_stays_with_it(file):
    file.write_text("a.jpg: {use: false}  # gone with it\n\n# the best\nb.jpg: {use: true}\n")
    edit.remove(file, NAMES, "photos/a.jpg", None, ["use"])
    assert file.read_text() == "\n# the best\nb.jpg: {use: true}\n"


def test_what_an_alias_says_of_two_photos_is_not_changed_of_both(file):
    text = "a.jpg: &it {use: false}\nb.jpg: *it\n"
    file.write_text(text)
    with pytest.raises(RecipeError) as error:
        edit.add(file, NAMES, "photos/a.jpg", None, {"use": True})
    what = "b.jpg would change, too, as by an alias (&, *); write both out by hand"
    assert str(error.value) == f"{file}: {what}"
    assert file.read_text() == text
