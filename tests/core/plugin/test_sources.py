"""What the engine makes of photo sources that misbehave, or that know more than a file does."""

import json
from datetime import date

import pytest
from PIL import Image

from alignimation_core import PhotoError, Recipe, RecipeError, preflight, run
from alignimation_core.photos import decoder, metadata

HEAD = """
from pathlib import Path
from alignimation_core import *

@hookimpl
def alignimation_photo_sources():
    return [Mine]

class Mine(PhotoSource):
    \"\"\"A source of this test.\"\"\"
    name = "mine"
    path: str = ""
"""


@pytest.fixture
def find(install, tmp_path):
    def find(body, photos="{use: mine}"):
        install("mine", HEAD + body)
        (tmp_path / "r.yaml").write_text(f"photos: {photos}\ndetector: mtcnn\n")
        return preflight.find_photos(Recipe.load(tmp_path / "r.yaml")).photos

    return find


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (mine.py:13)"),
        ("[]", "TypeError: find: expected a Listing, got list"),
        ("Listing([Path('a.jpg')])", "ValueError: find: expected absolute paths, got 'a.jpg'"),
        ("Listing(['/a.jpg'])", "TypeError: find: expected paths or SourcePhoto, got str"),
    ],
)
def test_a_source_that_breaks_its_promise_is_named(find, tmp_path, answer, reason):
    with pytest.raises(RecipeError) as error:
        find(f"    def find(self): return {answer}\n")
    assert str(error.value) == f"{tmp_path}/r.yaml:1: photos[0]: photo_source mine: {reason}"


def test_a_source_without_photos_says_why(find, tmp_path):
    with pytest.raises(RecipeError) as error:
        find("    def find(self): return Listing([], why='the attic is empty')\n")
    assert str(error.value) == f"{tmp_path}/r.yaml:1: photos[0]: the attic is empty"


ONE = "    def find(self): return Listing([SourcePhoto(self, 'k', 'attic/a.png')])\n"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("1 / 0", "mine cannot open it: ZeroDivisionError: division by zero (mine.py:14)"),
        ("None", "mine cannot open it: expected bytes or a Path, got NoneType"),
        ("b''", "the file is empty; replace or remove it"),
        ("exec('raise PhotoError(Path(key), \"it is torn\")')", "it is torn"),
    ],
)
def test_a_photo_that_cannot_be_opened_fails_alone(find, tmp_path, answer, reason):
    (photo,) = find(f"{ONE}    def open(self, key): return {answer}\n")
    with pytest.raises(PhotoError) as error:
        metadata.facts(photo, tmp_path)
    assert str(error.value) == f"attic/a.png: {reason}"


def test_a_source_may_give_a_local_file_in_place_of_bytes(find, tmp_path):
    Image.new("RGB", (4, 3), "red").save(tmp_path / "there.png")
    where = str(tmp_path / "there.png")
    (photo,) = find(f"{ONE}    def open(self, key): return Path({where!r})\n")
    assert decoder.load(photo).shape == (3, 3, 4)
    assert metadata.facts(photo, tmp_path).name == "attic/a.png"
    assert metadata.stamp(photo) is None  # without a version, it is read anew


def test_a_third_partys_source_recognises_what_a_recipe_only_names(find, tmp_path):
    body = (
        f"{ONE}"
        "    @classmethod\n"
        "    def recognises(cls, path): return path.suffix in ('.attic', '.zip')\n"
    )
    (tmp_path / "x.attic").touch()
    (photo,) = find(body, "x.attic")
    assert (photo.place, photo.source.path) == ("attic/a.png", str(tmp_path / "x.attic"))


def test_what_two_sources_recognise_is_asked_back(find, tmp_path):
    (tmp_path / "x.zip").touch()
    with pytest.raises(RecipeError, match="it could be for archive or mine; say which: "):
        find(
            f"{ONE}    @classmethod\n    def recognises(cls, path): return True\n",
            "x.zip",
        )


def test_what_the_source_knows_counts_between_exif_and_name(find, tmp_path):
    (photo,) = find(
        "    def find(self):\n"
        "        from datetime import UTC, datetime\n"
        "        date = datetime(2001, 2, 3, 12, tzinfo=UTC)\n"
        "        place = 'attic/20180704_101530.png'\n"
        "        return Listing([SourcePhoto(self, 'k', place, date, 'attic')])\n"
        f"    def open(self, key): return Path({str(tmp_path)!r}, key + '.png')\n"
    )
    Image.new("RGB", (4, 3)).save(tmp_path / "k.png")
    facts = metadata.facts(photo, tmp_path)
    assert (facts.taken.date(), facts.taken_from) == (date(2001, 2, 3), "attic")
    image = Image.new("RGB", (4, 3))
    exif = image.getexif()
    exif[0x010F] = "a maker"
    exif.get_ifd(0x8769)[0x9003] = "2005:06:07 08:09:10"
    image.save(tmp_path / "k.png", exif=exif)
    assert metadata.facts(photo, tmp_path).taken_from == "exif"


def test_sources_are_part_of_the_record(discs_recipe, discs, tmp_path):
    discs.series(tmp_path / "photos", discs.WARPS)
    from alignimation_sources import Files

    record = run(discs_recipe(photos=[Files(path=str(tmp_path / "photos"))]))
    assert json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["photos"] == [
        {
            "use": "files",
            "path": [str(tmp_path / "photos")],
            "exclude": [],
            "recursive": True,
        }
    ]
    assert record.summary["used"] == len(discs.WARPS)
