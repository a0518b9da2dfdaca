"""Folders, globs and addresses: what is a photo, what is passed over, what is nobody's."""

import json
import ntpath
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from alignimation_core import Recipe, preflight, run, summary
from alignimation_core.photos import order
from alignimation_sources import Files, _walk

SMALLEST = {"detector": "mtcnn"}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, photos: object) -> tuple[list[str], list[str]]:
    listing = preflight.find_photos(Recipe.of({**SMALLEST, "photos": photos}, folder=folder))
    return tuple(
        [order.relative_name(each, folder) for each in some]
        for some in (listing.photos, listing.passed_over)
    )


def record(folder: Path, **keys: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"alignimation": "0.1.0", "photos": [], **keys})
    (folder / "run.json").write_text(text)


LITTER = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
    ".thumbnails/a.jpg",
    "._a.jpg",
    "$RECYCLE.BIN/S-1-5/a.jpg",
    ".Trash-1000/files/a.jpg",
    "lost+found/a.jpg",
    "Thumbs.db",
    "desktop.ini",
)


@pytest.mark.parametrize("photos", ["p", "p/**/*.jpg", "p/", {"use": "files", "path": "p"}])
def test_what_systems_leave_in_a_folder_is_neither_a_photo_nor_passed_over(tmp_path, photos):
    touch(tmp_path / "p", "a.jpg", "trip/b.jpg", *LITTER)
    names, others = found(tmp_path, photos)
    if photos != "p/**/*.jpg":
        assert names == ["p/a.jpg", "p/trip/b.jpg"]
    assert {*names} == {"p/a.jpg", "p/trip/b.jpg"}
    assert others == []


def test_litter_that_is_named_is_meant(tmp_path):
    touch(tmp_path, *LITTER)
    assert found(tmp_path, "@eaDir/a.jpg")[0] == ["@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg"]
    assert found(tmp_path, "lost+found/*.jpg")[0] == ["lost+found/a.jpg"]
    assert found(tmp_path, ["._a.jpg", ".thumbnails"])[0] == ["._a.jpg", ".thumbnails/a.jpg"]


@pytest.mark.parametrize("photos", ["p", "p/**/*.*"])
def test_frames_and_films_of_an_earlier_run_are_no_photos(tmp_path, photos):
    touch(tmp_path / "p", "a.jpg", "old/b.jpg", "old/frames/000001.png", "old/deep/aging.gif")
    touch(tmp_path / "p", "old/kept.gif", "old/report/1.jpg", "old/report/1-frame.jpg")
    report = {"report": "", "report.html": ""}
    outputs = ["frames", "deep/aging.gif"]
    record(tmp_path / "p" / "old", outputs=outputs, kept=["kept.gif"], report=report)
    names, others = found(tmp_path, photos)
    assert {*names} - {"p/old/run.json"} == {"p/a.jpg", "p/old/b.jpg"}
    assert others == []
    assert found(tmp_path, "p/old/frames")[0] == ["p/old/frames/000001.png"]
    assert found(tmp_path, "p/old/deep/*.gif")[0] == ["p/old/deep/aging.gif"]


def test_outputs_in_folders_are_known_as_windows_writes_paths(tmp_path, monkeypatch):
    record(tmp_path, outputs=["deep/aging.gif"])
    monkeypatch.setattr(_walk, "os", SimpleNamespace(path=ntpath))
    assert _walk.outputs_at(str(tmp_path)) == {f"{tmp_path}\\deep\\aging.gif"}


@pytest.mark.parametrize("text", ["{}", "[]", '{"outputs": ["a.jpg"]}', "no JSON", ""])
def test_a_file_that_only_has_the_name_of_a_record_hides_nothing(tmp_path, text):
    touch(tmp_path, "p/a.jpg")
    (tmp_path / "p" / "run.json").write_text(text)
    assert found(tmp_path, "p") == (["p/a.jpg"], ["p/run.json"])


def test_a_real_runs_frames_are_no_photos_of_the_next(discs_recipe, discs, tmp_path):
    discs.series(tmp_path / "photos", discs.WARPS)
    run(discs_recipe(output="photos/out"))
    (tmp_path / "photos" / "out" / "frame.png").touch()
    names, others = found(tmp_path, "photos")
    assert len(names) == len(discs.WARPS) + 1
    assert "photos/out/frame.png" in names
    assert others == []


def test_files_passed_over_are_told_in_one_line_and_named_in_the_record(
    discs_recipe, discs, tmp_path
):
    discs.series(tmp_path / "photos", discs.WARPS)
    touch(tmp_path / "photos", "b/IMG_1.mov", "IMG_2.MOV", "x.psd", "scan")
    record = run(discs_recipe())
    assert record.passed_over == [
        "photos/IMG_2.MOV",
        "photos/b/IMG_1.mov",
        "photos/scan",
        "photos/x.psd",
    ]
    line = "passed over: 2 .mov, 1 without ending, 1 .psd"
    assert line in summary.summary(record).splitlines()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["passed_over"] == (
        record.passed_over
    )
    recipe = discs_recipe()
    assert preflight.check(recipe).splitlines()[1] == line


def test_a_file_that_is_named_is_not_passed_over(tmp_path):
    touch(tmp_path, "p/a.jpg", "p/scan", "p/b.mov")
    assert found(tmp_path, ["p", "p/scan"]) == (["p/a.jpg", "p/scan"], ["p/b.mov"])


def test_what_is_excluded_is_left_out_without_a_word(tmp_path):
    touch(tmp_path / "p", "a.jpg", "b.png", "b.mov", "2019/a.jpg", "2019/b/c.jpg", "raw/2019/a.jpg")

    def names(*exclude, **options):
        return found(tmp_path, {"use": "files", "path": "p", "exclude": [*exclude], **options})

    every = ["p/2019/a.jpg", "p/2019/b/c.jpg", "p/a.jpg", "p/b.png", "p/raw/2019/a.jpg"]
    assert names() == (every, ["p/b.mov"])
    assert names("*.png", "*.mov") == ([name for name in every if name != "p/b.png"], [])
    assert names("2019/")[0] == ["p/a.jpg", "p/b.png"]
    assert names("2019/*.jpg", "raw/2019")[0] == ["p/a.jpg", "p/b.png"]
    assert names("a.jpg", recursive=False)[0] == ["p/b.png"]
    with pytest.raises(Exception, match="holds no photos"):
        names("*")
    pattern = {"use": "files", "path": "p/**/*.jpg", "exclude": "2019"}
    assert found(tmp_path, pattern)[0] == ["p/a.jpg"]


def test_addresses_have_the_same_rules(tmp_path):
    from fsspec.implementations.memory import MemoryFileSystem

    fs = MemoryFileSystem()
    fs.store.clear()
    for name in ("a.jpg", "b.mov", "@eaDir/a.jpg", "old/frames/1.png", "old/c.jpg", "raw/d.jpg"):
        fs.pipe(f"/box/{name}", b"")
    text = json.dumps({"alignimation": "1", "photos": [], "outputs": ["frames"]})
    fs.pipe("/box/old/run.json", text.encode())
    photos = {"use": "files", "path": "memory://box/", "exclude": ["raw"]}
    assert found(tmp_path, photos) == (
        ["memory://box/a.jpg", "memory://box/old/c.jpg"],
        ["memory://box/b.mov"],
    )
    fs.store.clear()


def test_a_source_in_python_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    touch(tmp_path, "p/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert Files(path="p").find().photos == [tmp_path / "p" / "a.jpg"]


def test_all_places_of_a_source_must_hold_photos(tmp_path):
    touch(tmp_path, "p/a.jpg")
    with pytest.raises(Exception, match=r"^recipe: photos\[0\]: .*gone does not exist$"):
        found(tmp_path, {"use": "files", "path": ["p", "gone"]})


@pytest.mark.parametrize(
    ("photos", "fault"),
    [
        ({"use": "flies", "path": "p"}, "photos[0].use: there is no photo source 'flies'; did you"),
        ({"use": "files"}, "photos[0].path: this is required (folder, glob, file or address, or"),
        ([{"use": "files", "path": "p", "exlude": "x"}], "photos[0].exlude: unknown key; did you"),
        ({"use": "files", "path": "s3://me:pw@b/"}, "photos[0].path[0]: "),
    ],
)
def test_options_of_a_source_are_checked_as_those_of_any_stage(tmp_path, photos, fault):
    with pytest.raises(Exception, match="photos") as error:
        Recipe.of({**SMALLEST, "photos": photos}, folder=tmp_path)
    assert str(error.value).startswith(f"recipe: {fault}")


def test_a_recipe_with_sources_is_dumped_as_it_can_be_read_again(tmp_path):
    photos = ["a/", {"use": "files", "path": "b", "exclude": "c"}]
    recipe = Recipe.of({**SMALLEST, "photos": photos}, folder=tmp_path)
    dumped = recipe.dump()["photos"]
    assert dumped == [
        "a/",
        {"use": "files", "path": ["b"], "exclude": ["c"], "recursive": True},
    ]
    again = Recipe.of({**SMALLEST, "photos": dumped}, folder=tmp_path)
    assert again.photos == recipe.photos


def test_the_schema_knows_sources(tmp_path):
    from jsonschema import Draft202012Validator

    schema = Draft202012Validator(json.loads(summary.schema()))
    for photos, right in [
        ("a/", True),
        (["a/", {"use": "files", "path": "b"}], True),
        ({"use": "files", "path": ["b"]}, True),
        ({"use": "files"}, False),
        ([], False),
        (5, False),
    ]:
        assert schema.is_valid({**SMALLEST, "photos": photos}) == right, photos


def test_photos_found_twice_are_taken_once(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    sources = ["a.png", {"use": "files", "path": "*.png"}, {"use": "files", "path": "."}]
    assert found(tmp_path, sources)[0] == ["a.png"]
