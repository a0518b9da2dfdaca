"""Google Takeouts: every photo finds its sidecar, however the names were cut."""

import io
import json
import os
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
from PIL import Image

from alignimation_core import Recipe, RecipeError, preflight
from alignimation_core.photos import decoder, metadata, order

SMALLEST = {"detector": "mtcnn"}
YEAR = "Takeout/Google Photos/Photos from 2019"


def picture(shade: int = 0, **dates: str) -> bytes:
    stream = io.BytesIO()
    image = Image.new("RGB", (8, 6), (shade, 10, 20))
    exif = image.getexif()
    if dates:
        exif[0x010F] = "a maker"
        exif.get_ifd(0x8769)[0x9003] = dates["original"]
    image.save(stream, "PNG", exif=exif)
    return stream.getvalue()


def sidecar(seconds: object, **more: object) -> bytes:
    return json.dumps({"photoTakenTime": {"timestamp": str(seconds)}, **more}).encode()


def unpacked(folder: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return "Takeout"


def packed(folder: Path, files: dict[str, bytes]) -> str:
    """Several parts, so that hardly a photo is in that of its sidecar."""
    parts = [{}, {}, {}]
    for i, (name, content) in enumerate(sorted(files.items())):
        parts[i % 3][name] = content
    for i, part in enumerate(parts, start=1):
        with zipfile.ZipFile(folder / f"takeout-20240102T030405Z-00{i}.zip", "w") as archive:
            for name, content in part.items():
                archive.writestr(name, content)
    return "takeout-20240102T030405Z-002.zip"


both = pytest.mark.parametrize("given", [unpacked, packed])


def facts(folder: Path, photos: object):
    recipe = Recipe.of({**SMALLEST, "photos": photos}, folder=folder)
    listing = preflight.find_photos(recipe)
    return {photo.path.name: photo for photo in (metadata.facts(p, folder) for p in listing.photos)}


def utc(photo) -> int:
    assert photo.taken_from == "takeout"
    return int(photo.path.taken.timestamp())


LONG = "a_name_of_a_photo_that_is_far_longer_than_google_keeps.png"
NAMES = {
    # photo: its sidecar
    "IMG_1.png": "IMG_1.png.json",
    "IMG_1(1).png": "IMG_1.png(1).json",
    "IMG_1(2).png": "IMG_1.png.supplemental-metadata(2).json",
    "IMG_2.png": "IMG_2.png.supplemental-metadata.json",
    "IMG_20190304_121314_9.png": "IMG_20190304_121314_9.png.supplemental-metadat.json",
    "PXL_20190304_121314567.MP.png": "PXL_20190304_121314567.MP.png.supplemental-met.json",
    "Screenshot_20190304_a_b_c_d_e_f_g_h_i.png": (
        "Screenshot_20190304_a_b_c_d_e_f_g_h_i.png.supp.json"
    ),
    "0123456789_0123456789_0123456789_01234567.png": (
        "0123456789_0123456789_0123456789_01234567.png..json"
    ),
    LONG[:47] + ".png": LONG[:46] + ".json",
    "scan(3).png": "scan(3).png.json",
    "Müll.png": "Mu\u0308ll.png.json",
}


@both
def test_every_photo_finds_its_sidecar(tmp_path, given):
    files, truth = {}, {}
    for i, (photo, beside) in enumerate(NAMES.items()):
        assert len(beside) <= 54
        files[f"{YEAR}/{photo}"] = picture(i)
        files[f"{YEAR}/{beside}"] = sidecar(1_000_000_000 + i)
        truth[photo] = 1_000_000_000 + i
    found = facts(tmp_path, given(tmp_path, files))
    assert {name: utc(photo) for name, photo in found.items()} == truth
    assert {photo.taken_from for photo in found.values()} == {"takeout"}
    shades = {name: int(decoder.load(photo)[0, 0, 0]) for name, photo in found.items()}
    assert shades == {name: i for i, name in enumerate(NAMES)}


@both
def test_an_edited_photo_takes_the_place_of_its_original_and_keeps_its_date(tmp_path, given):
    files = {
        f"{YEAR}/a.png": picture(1),
        f"{YEAR}/a-edited.png": picture(2),
        f"{YEAR}/a.png.supplemental-metadata.json": sidecar(1_100_000_000),
        f"{YEAR}/a(1).png": picture(3),
        f"{YEAR}/a-edited(1).png": picture(4),
        f"{YEAR}/a.png.supplemental-metadata(1).json": sidecar(1_200_000_000),
        f"{YEAR}/b.tif": picture(5),
        f"{YEAR}/b-bearbeitet.png": picture(6),
        f"{YEAR}/b.tif.json": sidecar(1_300_000_000),
        f"{YEAR}/c-edited.png": picture(7),
        f"{YEAR}/c.png.json": sidecar(1_400_000_000),
    }
    found = facts(tmp_path, given(tmp_path, files))
    assert {name: utc(photo) for name, photo in found.items()} == {
        "a-edited.png": 1_100_000_000,
        "a-edited(1).png": 1_200_000_000,
        "b-bearbeitet.png": 1_300_000_000,
        "c-edited.png": 1_400_000_000,
    }


@both
@pytest.mark.parametrize("word", ["-edited", "-edi", "-e"])
def test_of_a_long_name_what_marks_an_edited_photo_may_be_cut(tmp_path, given, word):
    stem = "a" * 43
    files = {
        f"{YEAR}/{stem}.png": picture(1),
        f"{YEAR}/{stem}{word}.png": picture(2),
        f"{YEAR}/{stem}.png.json": sidecar(1_100_000_000),
        f"{YEAR}/b.png": picture(3),
        f"{YEAR}/b-edi.png": picture(4),
    }
    found = facts(tmp_path, given(tmp_path, files))
    assert {*found} == {f"{stem}{word}.png", "b.png", "b-edi.png"}
    assert utc(found[f"{stem}{word}.png"]) == 1_100_000_000


def test_parts_that_are_not_there_are_told(tmp_path, caplog):
    place = packed(tmp_path, ALBUMS)
    facts(tmp_path, place)
    assert not caplog.messages
    first, _second, third = sorted(tmp_path.glob("*.zip"))
    third.rename(third.with_name("takeout-20240102T030405Z-005.zip"))
    first.unlink()
    facts(tmp_path, place)
    names = ", ".join(f"takeout-20240102T030405Z-00{number}.zip" for number in (1, 3, 4))
    line = f"takeout: {names} are missing beside the other parts: what is in there is not used; "
    assert {*caplog.messages} == {f"{line}download it again"}


@both
def test_exif_comes_before_the_sidecar_and_the_sidecar_before_the_name(tmp_path, given):
    files = {
        f"{YEAR}/20110102_030405.png": picture(1),
        f"{YEAR}/20110102_030405.png.json": sidecar(-150_000_000),
        f"{YEAR}/b.png": picture(2, original="2005:06:07 08:09:10"),
        f"{YEAR}/b.png.json": sidecar(1_000_000_000),
        f"{YEAR}/20120102_030405.png": picture(3),
        f"{YEAR}/20120102_030405.png.json": sidecar(0),
        f"{YEAR}/20130102_030405.png": picture(4),
        f"{YEAR}/20130102_030405.png.json": b'{"photoTakenTime": {"timestamp": "soon"}}',
    }
    found = facts(tmp_path, given(tmp_path, files))
    assert utc(found["20110102_030405.png"]) == -150_000_000  # a scan of 1965
    assert found["b.png"].taken == datetime(2005, 6, 7, 8, 9, 10)
    assert found["20120102_030405.png"].taken_from == "name"
    assert found["20130102_030405.png"].taken_from == "name"


ALBUMS = {
    f"{YEAR}/a.png": picture(1),
    f"{YEAR}/a.png.json": sidecar(1_000_000_000, people=[{"name": "Ann"}, {"name": "Ben"}]),
    f"{YEAR}/b.png": picture(2),
    f"{YEAR}/b.png.json": sidecar(1_000_000_001, people=[{"name": "Ben"}]),
    f"{YEAR}/c.mp4": b"film",
    f"{YEAR}/c.mp4.json": sidecar(1_000_000_002),
    f"{YEAR}/gone.png": picture(3),
    f"{YEAR}/gone.png.json": sidecar(1_000_000_003, trashed=True),
    "Takeout/Google Photos/By the sea/metadata.json": b'{"title": "By the sea!"}',
    "Takeout/Google Photos/By the sea/a.png": picture(1),
    "Takeout/Google Photos/By the sea/a.png.json": sidecar(1_000_000_000),
    "Takeout/Google Photos/At home/metadata(1).json": b'{"title": "At home"}',
    "Takeout/Google Photos/At home/a.png": picture(1),
    "Takeout/Google Photos/At home/a.png.json": sidecar(1_000_000_000),
    "Takeout/Google Photos/print-subscriptions.json": b"{}",
    "Takeout/archive_browser.html": b"<html>",
}


@both
def test_a_photo_comes_once_with_its_albums_and_persons_and_the_bin_is_left_out(tmp_path, given):
    listing = preflight.find_photos(
        Recipe.of({**SMALLEST, "photos": given(tmp_path, ALBUMS)}, folder=tmp_path)
    )
    assert [
        (photo.name, {*photo.albums}, photo.persons, "Photos from 2019" in photo.place)
        for photo in listing.photos
    ] == [
        ("a.png", {"By the sea!", "At home"}, ("Ann", "Ben"), True),
        ("b.png", set(), ("Ben",), True),
    ]
    assert [Path(place).name for place in listing.passed_over] == ["c.mp4"]


@both
def test_photos_of_two_accounts_may_have_the_same_name(tmp_path, given):
    parts = []
    for name, day in (("ann", 1), ("bob", 2)):
        files = {
            f"{YEAR}/IMG_0001.jpg": picture(original=f"2019:07:0{day} 12:00:00") + b"x" * day,
            f"{YEAR}/IMG_0001.jpg.json": sidecar(1530000000 + day, people=[{"name": name}]),
            f"{YEAR}/{name}.png": picture(50 + day),
            f"{YEAR}/{name}.png.json": sidecar(1540000000 + day, people=[{"name": name}]),
        }
        (tmp_path / name).mkdir()
        part = tmp_path / name / given(tmp_path / name, files)
        for each in (tmp_path / name).glob("*.zip"):
            each.rename(each.with_name(each.name.replace("20240102", f"2024010{day}")))
        parts.append(str(part).replace("20240102", f"2024010{day}"))
    found = preflight.find_photos(
        Recipe.of({**SMALLEST, "photos": {"use": "takeout", "path": parts}}, folder=tmp_path)
    )
    of = {(Path(photo.place).name, photo.persons, photo.taken.second) for photo in found.photos}
    assert of == {
        ("IMG_0001.jpg", ("ann",), 1),
        ("IMG_0001.jpg", ("bob",), 2),
        ("ann.png", ("ann",), 41),
        ("bob.png", ("bob",), 42),
    }
    assert len(found.photos) == 4


@both
def test_albums_and_persons_may_be_chosen(tmp_path, given):
    place = given(tmp_path, ALBUMS)

    def names(**options):
        return sorted(facts(tmp_path, {"use": "takeout", "path": place, **options}))

    assert names(albums="At home") == ["a.png"]
    assert names(persons=["Ben"]) == ["a.png", "b.png"]
    assert names(persons=["Ann"], albums=["At home", "By the sea!"]) == ["a.png"]
    with pytest.raises(RecipeError) as error:
        names(albums=["Sea"])
    assert str(error.value) == (
        "recipe: photos[0]: the takeout has no photos of Sea; its albums: At home, By the sea!"
    )


def test_a_takeout_and_its_unpacked_folder_hold_the_same(tmp_path):
    (tmp_path / "zip").mkdir()
    sums = [
        {(photo.sha256, photo.taken) for photo in facts(folder, given(folder, ALBUMS)).values()}
        for folder, given in ((tmp_path, unpacked), (tmp_path / "zip", packed))
    ]
    assert sums[0] == sums[1]
    assert len(sums[0]) == 2


@pytest.mark.parametrize("given", ["Takeout", "Takeout/Google Photos", YEAR, "."])
def test_a_folder_is_known_for_a_takeout_by_its_sidecars(tmp_path, given):
    unpacked(tmp_path, {f"{YEAR}/a.png": picture(), f"{YEAR}/a.png.json": sidecar(1_000_000_000)})
    (photo,) = facts(tmp_path, given).values()
    assert (photo.name, photo.taken_from) == (f"{YEAR}/a.png", "takeout")


def test_a_folder_with_other_json_is_a_folder(tmp_path):
    unpacked(tmp_path, {"p/a.png": picture(), "p/a.png.json": b'{"title": "a"}'})
    listing = preflight.find_photos(Recipe.of({**SMALLEST, "photos": "p"}, folder=tmp_path))
    assert listing.photos == [tmp_path / "p" / "a.png"]
    assert listing.passed_over == [str(tmp_path / "p" / "a.png.json")]


def test_a_zip_that_was_renamed_is_known_by_what_it_holds(tmp_path):
    packed(tmp_path, ALBUMS)
    for i, path in enumerate(sorted(tmp_path.glob("*.zip"))):
        path.rename(tmp_path / f"mine{i}.zip")
    photos = {"use": "takeout", "path": ["mine0.zip", "mine1.zip", "mine2.zip"]}
    assert sorted(facts(tmp_path, photos)) == ["a.png", "b.png"]
    recipe = Recipe.of({**SMALLEST, "photos": "mine0.zip"}, folder=tmp_path)
    assert {photo.source.name for photo in preflight.find_photos(recipe).photos} == {"takeout"}


def test_a_folder_of_all_parts_is_a_takeout_when_it_is_called_one(tmp_path):
    packed(tmp_path, ALBUMS)
    assert sorted(facts(tmp_path, {"use": "takeout", "path": "."})) == ["a.png", "b.png"]


def test_dates_of_sidecars_that_change_are_read_again(tmp_path):
    files = {f"{YEAR}/a.png": picture(), f"{YEAR}/a.png.json": sidecar(1_000_000_000)}
    unpacked(tmp_path, files)
    stamps = set()
    for seconds in (1_000_000_000, 1_000_000_001, 1_000_000_000):
        (tmp_path / YEAR / "a.png.json").write_bytes(sidecar(seconds))
        recipe = Recipe.of({**SMALLEST, "photos": "Takeout"}, folder=tmp_path)
        stamps.add(metadata.stamp(preflight.find_photos(recipe).photos[0]))
    assert len(stamps) == 2


def test_names_are_relative_to_the_recipe_as_those_of_files_are(tmp_path):
    unpacked(tmp_path, ALBUMS)
    (tmp_path / "recipes").mkdir()
    photos = facts(tmp_path / "recipes", f"..{os.sep}Takeout").values()
    assert {photo.name for photo in photos} == {f"../{YEAR}/{name}" for name in ("a.png", "b.png")}
    assert {order.relative_name(photo.path, tmp_path) for photo in photos} == {
        f"{YEAR}/a.png",
        f"{YEAR}/b.png",
    }


@both
@pytest.mark.parametrize("form", ["WEBP", "TIFF"])
def test_what_is_decoded_in_a_process_of_its_own_is_read_from_a_takeout(tmp_path, given, form):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 10, 20)).save(stream, form, lossless=True)
    name = f"{YEAR}/a.{form.lower()}"
    photos = given(tmp_path, {name: stream.getvalue(), f"{name}.json": sidecar(1_546_300_800)})
    (photo,) = facts(tmp_path, photos).values()
    assert decoder.load(photo)[:, 0, 0].tolist() == [200, 10, 20]
