"""Whose the files in an output folder are, by what run records and the table of files say."""

import json

import pytest
from blake3 import blake3

from alignimation_core import OutputError
from alignimation_core.output import obstacles as outputs
from alignimation_core.output.folder import OutputFolder
from alignimation_core.record import Record


def written(folder, done=(), kept=None, **more):
    record = {"alignimation": "1", "photos": [], "outputs": [*done], **more}
    if kept is not None:
        record["kept"] = kept
    (folder / "run.json").write_text(json.dumps(record))


def digests(**texts):
    return {name: blake3(text.encode()).hexdigest() for name, text in texts.items()}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("path", "name"), [("a.gif", "a.gif"), ("sub\\deep//./a.gif", "sub/deep/a.gif")]
)
def test_an_output_is_named_with_slashes(path, name):
    assert outputs.name(path) == name


def test_a_record_lists_its_outputs_and_their_digests(tmp_path):
    written(tmp_path, ["b.gif", "gone.gif", 7], kept=["sub/a.gif", None], written={"b.gif": "1f"})
    listed = outputs.listed((tmp_path / "run.json").read_bytes())
    assert listed.names == {"b.gif", "gone.gif", "sub/a.gif"}
    assert listed.digests == {"b.gif": "1f"}


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
        '{"alignimation": "1", "photos": [], "outputs": [], "written": []}',
    ],
)
def test_what_is_no_record_lists_nothing(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    assert outputs.listed(text.encode()) is None
    assert OutputFolder(tmp_path, []).prepare() == []


def test_every_obstacle_is_told_with_its_place(tmp_path):
    touch(tmp_path, "file", "sub/file", "mine.gif", "new/mine.gif", "unsure.gif")
    (tmp_path / "old.gif").write_text("ours")
    (tmp_path / "other.gif").write_text("another's")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    written(
        tmp_path,
        ["old.gif", "other.gif"],
        kept=["unsure.gif"],
        written=digests(**{"old.gif": "ours", "other.gif": "ours"}),
    )
    paths = [
        "file/a.gif",
        "sub/file/deep/a.gif",
        "dangling/a.gif",
        ".alignimation/a.gif",
        "old.gif",
        "mine.gif",
        "new\\mine.gif",
        "new/other.gif",
        "other.gif",
        "unsure.gif",
        "Trial/a.gif",
    ]
    is_file, is_mine = (
        "is a file; choose another path",
        "is no output of an earlier run; move it away, or choose another path",
    )
    assert OutputFolder(tmp_path, paths).obstacles() == [
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
        (
            ("renderers", 8, "path"),
            f"{tmp_path}/other.gif is not as a run wrote it; move it away, or choose another path",
        ),
        (
            ("renderers", 9, "path"),
            (
                f"{tmp_path}/unsure.gif may be of an earlier version of alignimation, which did "
                "not note what it wrote, or yours; move it away, or choose another path"
            ),
        ),
        (
            ("renderers", 10, "path"),
            "the folder trial is for trial runs; choose another path",
        ),
    ]
    assert OutputFolder(tmp_path / "none", paths[4:10]).obstacles() == []


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
    assert OutputFolder(tmp_path, []).obstacles() == [
        (
            ("output",),
            f"{record} is no run record; move it away, or choose another folder",
        )
    ]


def rendered(folder, **texts):
    for name, text in texts.items():
        (folder.rendering / name).write_text(text)


def test_what_appears_during_a_run_is_refused_and_its_own_are_not(tmp_path):
    (tmp_path / "old.gif").write_text("ours")
    (tmp_path / "changed.gif").write_text("yours")
    ours = digests(**{"old.gif": "ours", "changed.gif": "ours"})
    written(tmp_path, ["old.gif", "changed.gif", "gone.gif"], written=ours)
    folder = OutputFolder(tmp_path, ["a.gif"])
    assert folder.prepare() == ["old.gif"]
    rendered(folder, **{"old.gif": "new", "a.gif": "new"})
    (tmp_path / "a.gif").touch()
    record = Record("1", {}, 0, "cpu", tmp_path)
    appeared = "appeared while the run went on; move it away, or choose another path"
    with pytest.raises(OutputError) as error:
        folder.publish(record, ["old.gif", "a.gif"])
    assert str(error.value) == f"{tmp_path}/a.gif {appeared}"
    assert (tmp_path / "old.gif").read_text() == "ours"
    (tmp_path / "a.gif").unlink()
    folder.publish(record, ["old.gif", "a.gif"])
    assert (record.outputs, record.kept) == (["old.gif", "a.gif"], [])
    assert record.written == digests(**{"old.gif": "new", "a.gif": "new"})
    assert (tmp_path / "changed.gif").read_text() == "yours"
    assert folder.published
