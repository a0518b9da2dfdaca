"""Photos are found by what users write of their names."""

import pytest

from alignimation_core.api.files import PhotoNames

NAMES = PhotoNames(
    ["photos/IMG_1.jpg", "photos/IMG_2.jpg", "scans/IMG_2.png", "scans/a[1].png", "top.jpg"]
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("photos/IMG_1.jpg", "photos/IMG_1.jpg"),
        ("IMG_1.jpg", "photos/IMG_1.jpg"),
        ("IMG_1", "photos/IMG_1.jpg"),
        ("photos/IMG_2", "photos/IMG_2.jpg"),
        ("IMG_2.png", "scans/IMG_2.png"),
        ("./top.jpg", "top.jpg"),
        ("top", "top.jpg"),
        ("scans\\IMG_2.png", "scans/IMG_2.png"),
    ],
)
def test_a_name_may_lack_its_folder_and_its_ending(written, name):
    assert NAMES.one(written) == name


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "IMG_2",
            "2 photos are named 'IMG_2'; write photos/IMG_2.jpg or scans/IMG_2.png",
        ),
        (
            "IMG_1.jgp",
            "there is no photo 'IMG_1.jgp'; did you mean photos/IMG_1.jpg or photos/IMG_2.jpg?",
        ),
        (
            "other/TOP.jpg",
            "there is no photo 'other/TOP.jpg'; did you mean top.jpg?",
        ),
        (
            "quite different",
            "there is no photo 'quite different'; photos are named as photos/IMG_1.jpg",
        ),
    ],
)
def test_a_name_of_no_photo_or_of_two_says_which_there_are(written, message):
    with pytest.raises(LookupError) as error:
        NAMES.one(written)
    assert str(error.value) == message


def test_globs_match_whole_names_or_last_parts_and_brackets_in_names_stay():
    assert NAMES.matching("scans/*") == ["scans/IMG_2.png", "scans/a[1].png"]
    assert NAMES.matching("scans\\*") == ["scans/IMG_2.png", "scans/a[1].png"]
    assert NAMES.matching("*.png") == ["scans/IMG_2.png", "scans/a[1].png"]
    assert NAMES.matching("a[1].png") == ["scans/a[1].png"]
    assert NAMES.matching("IMG_?.jpg") == ["photos/IMG_1.jpg", "photos/IMG_2.jpg"]
    with pytest.raises(
        LookupError, match=r"no photo matches '\*\.tif'; photos are named as photos"
    ):
        NAMES.matching("*.tif")


def test_a_whole_name_comes_before_those_that_end_so():
    names = PhotoNames(["a.jpg", "old/a.jpg", "old/b.jpg", "new/b.jpg", "bb.jpg"])
    assert names.meant("a.jpg") == ["a.jpg"]
    assert names.meant("b.jpg") == ["old/b.jpg", "new/b.jpg"]
    assert names.meant("c.jpg") == []
