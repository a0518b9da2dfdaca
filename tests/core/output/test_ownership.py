"""Whose the files in an output folder are, by what run records say."""

import json

import pytest

from alignimation_core.output import folder as outputs
from alignimation_core.record import Record


def written(folder, done=(), kept=None, **more):
    record = {"alignimation": "1", "photos": [], "outputs": [*done], **more}
    if kept is not None:
        record["kept"] = kept
    (folder / "run.json").write_text(json.dumps(record))


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("path", "name"), [("a.gif", "a.gif"), ("sub\\deep//./a.gif", "sub/deep/a.gif")]
)
def test_an_output_is_named_with_slashes(path, name):
    assert outputs.name(path) == name


def test_known_are_the_outputs_that_a_record_names_and_that_stand_there(tmp_path):
    assert outputs.known(tmp_path) == []
    assert outputs.finished(tmp_path) == frozenset()
    written(tmp_path, ["b.gif", "gone.gif", 7], kept=["sub/a.gif", None])
    touch(tmp_path, "b.gif", "sub/a.gif", "mine.gif")
    assert outputs.known(tmp_path) == ["b.gif", "sub/a.gif"]
    assert outputs.finished(tmp_path) == {"b.gif", "gone.gif"}
    record = (tmp_path / "run.json").read_bytes()
    assert outputs.listed(record) == {"b.gif", "gone.gif", "sub/a.gif"}
    assert outputs.is_record(record)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "[]",
        "7",
        '{"photos": [], "outputs": []}',
        '{"alignimation": "1", "outputs": []}',
        '{"alignimation": "1", "photos": []}',
        '{"alignimation": "1", "photos": [], "outputs": 7}',
        '{"alignimation": "1", "photos": [], "outputs": [], "kept": null}',
    ],
)
def test_what_is_no_record_names_nothing(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    touch(tmp_path, "photos", "outputs")
    assert not outputs.is_record(text.encode())
    assert outputs.listed(text.encode()) == frozenset()
    assert outputs.known(tmp_path) == []
    assert outputs.finished(tmp_path) == frozenset()


def test_every_obstacle_is_told_with_its_place(tmp_path):
    touch(tmp_path, "file", "sub/file", "old.gif", "mine.gif", "new/mine.gif")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    written(tmp_path, ["old.gif"])
    paths = [
        "file/a.gif",
        "sub/file/deep/a.gif",
        "dangling/a.gif",
        ".alignimation/a.gif",
        "old.gif",
        "mine.gif",
        "new\\mine.gif",
        "new/other.gif",
    ]
    is_file, is_mine = (
        "is a file; choose another path",
        "is no output of an earlier run; move it away, or choose another path",
    )
    assert list(outputs.obstacles(tmp_path, paths)) == [
        (("renderers", 0, "path"), f"{tmp_path}/file {is_file}"),
        (("renderers", 1, "path"), f"{tmp_path}/sub/file {is_file}"),
        (
            ("renderers", 2, "path"),
            f"{tmp_path}/dangling is a link; outputs are not written through links",
        ),
        (
            ("renderers", 3, "path"),
            "the folder .alignimation is the store's; choose another path",
        ),
        (("renderers", 5, "path"), f"{tmp_path}/mine.gif {is_mine}"),
        (("renderers", 6, "path"), f"{tmp_path}/new/mine.gif {is_mine}"),
    ]
    assert list(outputs.obstacles(tmp_path / "none", paths[4:])) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "folder"])
def test_a_run_json_that_is_no_file_of_its_own_is_in_the_way(tmp_path, kind):
    record = tmp_path / "run.json"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    written(elsewhere)
    if kind == "folder":
        record.mkdir()
    else:
        record.symlink_to(elsewhere / ("run.json" if kind == "link" else "none"))
    assert list(outputs.obstacles(tmp_path, [])) == [
        (
            ("output",),
            f"{record} is no run record; move it away, or choose another folder",
        )
    ]


def test_what_appears_during_a_run_is_refused_and_its_own_are_not(tmp_path):
    touch(tmp_path, "old.gif")
    written(tmp_path, ["old.gif", "gone.gif"])
    folder = outputs.OutputFolder(tmp_path, ["a.gif", "sub\\b.gif"])
    assert folder.planned == {"a.gif", "sub/b.gif"}
    assert folder.prepare() == ["old.gif"]
    assert folder.standing() == ["old.gif"]
    (tmp_path / "run.json").unlink()  # as this run's own record takes its place
    assert folder.refuse("old.gif") is None
    assert folder.refuse("a.gif") is None
    touch(tmp_path, "a.gif", "sub/b.gif")
    assert folder.refuse("a.gif") is None
    appeared = "appeared while the run went on; move it away, or choose another path"
    assert folder.refuse("sub\\b.gif") == f"{tmp_path}/sub/b.gif {appeared}"
    (tmp_path / "link.gif").symlink_to(tmp_path / "nowhere")
    assert folder.refuse("link.gif") == f"{tmp_path}/link.gif {appeared}"
    assert folder.standing() == ["a.gif", "old.gif"]


def test_what_another_run_finished_meanwhile_is_replaced_and_what_it_planned_is_not(tmp_path):
    folder = outputs.OutputFolder(tmp_path, ["a.gif", "b.gif", "c.gif"])
    touch(tmp_path, "a.gif", "b.gif", "other.gif", "done.gif")
    written(tmp_path, ["a.gif", "other.gif", "done.gif"], kept=["b.gif", "gone.gif"])
    ours = Record("1", {}, 0, "cpu", tmp_path, outputs=["done.gif"])
    folder.write(ours)
    assert ours.kept == ["other.gif"]
    (tmp_path / "run.json").unlink()
    assert folder.refuse("a.gif") is None
    assert folder.refuse("b.gif") is not None
    touch(tmp_path, "c.gif")
    written(tmp_path, ["c.gif"])
    assert folder.refuse("c.gif") is None
