"""Nothing of yours is overwritten: an output replaces what a run wrote, and only when finished."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from blake3 import blake3

from alignimation_core import AlignimationError, OutputError, RecipeError, run
from alignimation_core.api import atomic
from alignimation_core.output import written
from alignimation_core.output.folder import OutputFolder
from alignimation_core.output.written import LocalFiles
from alignimation_core.recipe.options import CanvasOptions
from alignimation_imageio import GIF, Frames


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    discs.series(tmp_path / "photos", discs.WARPS)

    def recipe(*renderers, **changes):
        return discs_recipe(renderers=renderers or (GIF(path="a.gif"), Frames()), **changes)

    return recipe


def refused(recipe):
    with pytest.raises(RecipeError) as caught:
        run(recipe)
    return str(caught.value).removeprefix("recipe: ")


# whose a file is


def test_a_photo_put_into_a_finished_folder_of_frames_is_refused_and_named(recipe, out):
    run(recipe())
    mine = out / "frames" / "20190704.jpg"
    mine.write_bytes(b"a photo of mine")
    stood = sorted(path.name for path in (out / "frames").iterdir())
    assert refused(recipe()) == (
        f"renderers[1].path: {mine} was written by no run; move it away, or choose another path"
    )
    assert sorted(path.name for path in (out / "frames").iterdir()) == stood
    assert mine.read_bytes() == b"a photo of mine"
    mine.rename(out / "20190704.jpg")
    run(recipe())
    assert (out / "20190704.jpg").read_bytes() == b"a photo of mine"


def test_more_strangers_are_counted_and_so_are_folders_and_links(recipe, out):
    run(recipe())
    (out / "frames" / "a link").symlink_to("/nowhere")
    (out / "frames" / "deep" / "er").mkdir(parents=True)
    (out / "frames" / "deep" / "0001.png").write_bytes(b"mine")
    assert refused(recipe()) == (
        f"renderers[1].path: {out}/frames/a link (and 2 more) was written by no run; move it away, "
        "or choose another path"
    )


def test_a_film_in_the_place_of_ours_is_refused(recipe, out):
    run(recipe())
    for content in (b"GIF89a of mine", b"?" * (out / "a.gif").stat().st_size):
        (out / "a.gif").write_bytes(content)
        assert refused(recipe()) == (
            f"renderers[0].path: {out}/a.gif is not as a run wrote it; move it away, or choose "
            "another path"
        )
        assert (out / "a.gif").read_bytes() == content


def test_an_edit_is_seen_though_size_and_time_are_set_back(recipe, out):
    run(recipe())
    frame = out / "frames" / "0002.png"
    status = frame.stat()
    data = bytearray(frame.read_bytes())
    data[-1] ^= 1
    frame.write_bytes(data)
    os.utime(frame, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert f"{frame} is not as a run wrote it" in refused(recipe())
    assert frame.read_bytes() == bytes(data)


@pytest.mark.parametrize("time", [0, 10**18, 4 * 10**18], ids=["1970", "2001", "2096"])
def test_whatever_a_clock_says_an_output_is_known_and_an_edit_is_seen(
    recipe, out, monkeypatch, time
):
    """The same time for all: a clock that jumps back, or a disk that counts whole seconds."""
    run(recipe())
    found, frame = written._found, out / "frames" / "0002.png"

    def stopped(status):
        names = {name: getattr(status, name) for name in ("st_mode", "st_size", "st_ino")}
        return found(SimpleNamespace(**names, st_mtime_ns=time, st_ctime_ns=time))

    monkeypatch.setattr(written, "_found", stopped)
    for _ in range(2):
        for path in out.rglob("*.[gp][in][fg]"):
            os.utime(path, ns=(time, time))
        assert run(recipe()).outputs == ["a.gif", "frames"]
    data = bytearray(frame.read_bytes())
    data[-1] ^= 1
    frame.write_bytes(data)
    assert f"{frame} is not as a run wrote it" in refused(recipe())
    assert frame.read_bytes() == bytes(data)


def test_a_copy_a_touch_or_another_disk_changes_nothing(recipe, out, tmp_path):
    run(recipe())
    os.utime(out / "a.gif", (1e9, 1e9))
    shutil.copytree(out, tmp_path / "copy")
    shutil.rmtree(out)
    shutil.copytree(tmp_path / "copy", out)
    (out / "frames" / "0003.png").unlink()
    assert run(recipe()).outputs == ["a.gif", "frames"]
    assert len(list((out / "frames").iterdir())) == 4


def test_what_file_managers_leave_in_a_folder_of_frames_stays_there(recipe, out):
    run(recipe())
    (out / "frames" / ".DS_Store").write_bytes(b"icons")
    run(recipe(canvas=CanvasOptions(size="96x64")))
    assert (out / "frames" / ".DS_Store").read_bytes() == b"icons"
    assert len(list((out / "frames").iterdir())) == 5


def test_deleting_the_hidden_folder_costs_time_and_nothing_else(recipe, out):
    run(recipe())
    shutil.rmtree(out / ".alignimation")
    assert run(recipe()).outputs == ["a.gif", "frames"]
    shutil.rmtree(out / ".alignimation")
    (out / "frames" / "mine.png").write_bytes(b"mine")
    (out / "a.gif").write_bytes(b"mine")
    what = "is not as a run wrote it; move it away, or choose another path"
    assert refused(recipe()).splitlines() == [
        f"renderers[0].path: {out}/a.gif {what}",
        f"recipe: renderers[1].path: {out}/frames {what}",
    ]


def test_a_damaged_table_is_as_none(recipe, out):
    for text in ("", "{", "[]", '{"version": 1}', '{"version": 9, "outputs": [], "files": {}}'):
        run(recipe())
        (out / ".alignimation" / "outputs.json").write_text(text)
    assert run(recipe()).outputs == ["a.gif", "frames"]


def test_outputs_of_an_earlier_version_are_refused_and_named(recipe, out):
    run(recipe())
    shutil.rmtree(out / ".alignimation")
    record = json.loads((out / "run.json").read_text())
    del record["written"]
    (out / "run.json").write_text(json.dumps(record))
    assert refused(recipe(GIF(path="a.gif"))) == (
        f"renderers[0].path: {out}/a.gif may be of an earlier version of alignimation, which did "
        "not note what it wrote, or yours; move it away, or choose another path"
    )


def test_the_digests_in_the_record_are_those_of_b3sum(recipe, out):
    run(recipe())
    record = run(recipe(GIF(path="a.gif")))
    lines = "".join(
        f"{blake3(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted((out / "frames").iterdir())
    )
    assert record.written == {
        "a.gif": blake3((out / "a.gif").read_bytes()).hexdigest(),
        "frames": blake3(lines.encode()).hexdigest(),
    }
    assert (record.outputs, record.kept) == (["a.gif"], ["frames"])


def test_what_appears_during_the_run_stays_and_is_named(recipe, out):
    class Late(GIF):
        def open(self, canvas, count, folder):
            (out / "b.gif").write_bytes(b"mine")
            return super().open(canvas, count, folder)

    with pytest.raises(OutputError) as error:
        run(recipe(Late(path="b.gif"), GIF(path="a.gif")))
    assert str(error.value) == (
        f"{out}/b.gif appeared while the run went on; move it away, or choose another path"
    )
    assert (out / "b.gif").read_bytes() == b"mine"
    assert sorted(path.name for path in out.iterdir()) == [".alignimation", "b.gif", "run.json"]
    assert json.loads((out / "run.json").read_text())["error"] == str(error.value)


def test_a_file_put_into_the_old_frames_at_the_last_moment_is_given_back(recipe, out, monkeypatch):
    run(recipe())
    rename = os.rename

    def late(source, target, **options):
        if str(source) == str(out / "frames"):
            (out / "frames" / "mine.jpg").write_bytes(b"mine")
        return rename(source, target, **options)

    monkeypatch.setattr(os, "rename", late)
    run(recipe())
    assert (out / "frames" / "mine.jpg").read_bytes() == b"mine"
    assert len(list((out / "frames").iterdir())) == 5


def test_where_what_was_replaced_cannot_be_removed_old_frames_do_not_come_back(
    recipe, out, monkeypatch
):
    run(recipe())
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, **_: None)
        run(recipe(until="2020-01-03"))
    assert list((out / ".alignimation").glob("outputs-*/old/frames/0004.png"))
    for _ in range(2):
        run(recipe(until="2020-01-03"))
        assert [path.name for path in sorted((out / "frames").iterdir())] == [
            f"000{number}.png" for number in (1, 2, 3)
        ]
    assert not list((out / ".alignimation").glob("outputs-*"))


def test_old_outputs_that_cannot_be_brought_back_are_by_the_next_run(recipe, out, monkeypatch):
    """The disk fails when the new ones are put in their places, and when they are taken back."""
    run(recipe())
    before = {path: path.read_bytes() for path in out.rglob("*.[gp][in][fg]")}
    rename, replace = os.rename, os.replace

    def failing(call):
        def failing(source, target, **options):
            if str(out / "frames") in (str(source), str(target)) and "/old/" not in str(target):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return call(source, target, **options)

        return failing

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", failing(rename))
        patch.setattr(os, "replace", failing(replace))
        with pytest.raises(OutputError, match="Input/output error"):
            run(recipe(canvas=CanvasOptions(size="96x64")))
    assert not (out / "frames").exists()
    with pytest.raises(AlignimationError, match="no photo is of the recipe's time"):
        run(recipe(since="2030"))
    assert {path: path.read_bytes() for path in before} == before


def test_an_interrupt_while_a_writers_thread_starts_leaves_no_half_written_file(
    recipe, out, monkeypatch
):
    """It comes where the pool has started a thread and does not know of it yet."""
    start, opened = threading.Thread.start, threading.Event()

    class Slow(GIF):
        def open(self, canvas, count, folder):
            time.sleep(0.2)
            opened.set()
            return super().open(canvas, count, folder)

    def started(thread):
        start(thread)
        if thread.name.startswith("renderer-"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", started)
        with pytest.raises(KeyboardInterrupt):
            run(recipe(Slow(path="a.gif")))
    assert not opened.wait(1)
    assert not list((out / ".alignimation").glob("outputs-*"))
    run(recipe(Slow(path="a.gif")))
    assert opened.is_set()


def test_what_killed_runs_left_is_removed_by_the_next(recipe, out):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    run(recipe())
    left = out / f".run.json.part-{ended.pid}"
    others = [out / f".run.json.part-{os.getppid()}", out / ".run.json.part-x"]
    for path in (left, *others):
        path.write_text("{")
    run(recipe())
    assert not left.exists()
    assert all(path.exists() for path in others)


# links


@pytest.mark.parametrize(
    "name", ["run.json", ".alignimation", ".alignimation/run.lock", ".alignimation/outputs.json"]
)
def test_nothing_of_ours_is_written_through_a_link(recipe, out, tmp_path, name):
    run(recipe())
    place, elsewhere = out / name, tmp_path / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    before |= {elsewhere: elsewhere.read_bytes()} if elsewhere.is_file() else {}
    if name == ".alignimation/outputs.json":  # the link gives way to a file
        run(recipe())
        assert not place.is_symlink()
    else:
        with pytest.raises((RecipeError, OutputError), match=f"{name} is (a link|no run record)"):
            run(recipe())
    assert {path: path.read_bytes() for path in before} == before
    assert elsewhere.is_dir() or elsewhere.read_bytes() == before[elsewhere]
    files = [path for path in elsewhere.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(path for path in before if path != elsewhere)


@pytest.mark.parametrize("limit", [None, 2])
def test_the_folder_of_trial_runs_is_no_link(recipe, out, tmp_path, limit):
    (tmp_path / "mine").mkdir()
    out.mkdir()
    (out / "trial").symlink_to(tmp_path / "mine")
    if limit is None:
        run(recipe(), limit=limit)
    else:
        with pytest.raises(RecipeError) as error:
            run(recipe(), limit=limit)
        assert str(error.value) == (
            f"recipe: output: {out}/trial is a link; trial runs are not written through links; "
            "remove it"
        )
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_hidden_part_that_is_a_link_is_removed_not_followed(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_bytes(b"mine")
    for target in ("mine", "mine/a"):
        final = tmp_path / "run.json"
        part = tmp_path / f".run.json.part-{os.getpid()}"
        part.symlink_to(target)
        with atomic.AtomicWrite(final) as path:
            path.write_bytes(b"ours")
        assert final.read_bytes() == b"ours"
    assert (tmp_path / "mine" / "a").read_bytes() == b"mine"
    assert len(list((tmp_path / "mine").iterdir())) == 1


# trial runs


def test_a_trial_run_writes_beside_the_whole_and_never_touches_it(recipe, out, discs):
    record = run(recipe())
    before = {path: path.read_bytes() for path in out.rglob("*.[gp][in][fg]")}
    text = (out / "run.json").read_text()
    trial = run(recipe(), limit=2)
    assert trial.folder == out / "trial"
    assert (trial.outputs, trial.kept) == (["a.gif", "frames"], [])
    assert {path: path.read_bytes() for path in before} == before
    assert (out / "run.json").read_text() == text
    assert len(list((out / "trial" / "frames").iterdir())) == 2
    assert json.loads((out / "trial" / "run.json").read_text())["summary"]["used"] == 2
    assert not (out / "trial" / ".alignimation" / "store.sqlite3").exists()
    assert run(recipe()).written == record.written
    assert len(list((out / "trial" / "frames").iterdir())) == 2


def test_the_folder_of_trial_runs_is_no_place_for_outputs(recipe, out):
    assert refused(recipe(GIF(path="trial/a.gif"))) == (
        "renderers[0].path: the folder trial is for trial runs; choose another path"
    )


# what it costs


def test_the_check_asks_no_hash_where_nothing_was_changed(recipe, out, monkeypatch):
    run(recipe())
    hashed = []
    digest = LocalFiles.digest
    monkeypatch.setattr(
        LocalFiles, "digest", lambda self, path: hashed.append(path) or digest(self, path)
    )
    assert OutputFolder(out, ["a.gif", "frames"]).obstacles() == []
    assert hashed == []
    os.utime(out / "frames" / "0001.png")
    assert OutputFolder(out, ["a.gif", "frames"]).obstacles() == []
    assert hashed == ["frames/0001.png"]
