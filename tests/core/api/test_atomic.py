"""Files and folders take their name only when the disk holds them."""

import errno
import os
import re
from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Canvas, Frame, OutputError, Photo
from alignimation_core.record import Record
from alignimation_imageio import GIF, Frames, Video

PHOTO = Photo(Path("/a.jpg"), "a.jpg", "0" * 64, 48, 64, datetime(2020, 1, 1), "exif")


class Synced:
    """What the disk was made to hold, in order.

    Attributes:
        before: inodes that were synchronised while something else, or nothing, had the final name.
        after: those afterwards.
    """

    def __init__(self, final):
        self.final, self.inode, self.before, self.after = final, inode(final), set(), set()

    def note(self, descriptor):
        seen = self.before if inode(self.final) == self.inode else self.after
        seen.add(os.fstat(descriptor).st_ino)


def inode(path):
    return path.stat().st_ino if path.exists() else None


def write_record(folder):
    return Record("0.1.0", {}, 0, "cpu", folder).write()


def write_with(renderer):
    def write(folder):
        with renderer.open(Canvas(48, 64), 2, folder) as writer:
            for index in range(2):
                writer.write(Frame(torch.zeros(3, 48, 64, dtype=torch.uint8), index, PHOTO))
        return folder / renderer.path

    return write


WRITERS = {
    "run.json": write_record,
    "a.mp4": write_with(Video(path="a.mp4")),
    "a.gif": write_with(GIF(path="a.gif")),
    "f": write_with(Frames(path="f")),
}


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be synchronised there")
@pytest.mark.parametrize("again", [False, True], ids=["new", "in place of another"])
@pytest.mark.parametrize("name", WRITERS)
def test_the_disk_holds_all_of_it_before_it_takes_its_name(tmp_path, monkeypatch, name, again):
    if again:
        WRITERS[name](tmp_path)
    synced = Synced(tmp_path / name)
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (synced.note(number), fsync(number)))
    final = WRITERS[name](tmp_path)
    monkeypatch.undo()
    parts = {final, *(final.iterdir() if final.is_dir() else ())}
    assert len(parts) == (3 if name == "f" else 1)
    assert {path.stat().st_ino for path in parts} <= synced.before
    assert tmp_path.stat().st_ino in synced.after
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_disk_that_cannot_be_synchronised_is_written_all_the_same(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    assert write_record(tmp_path).exists()


def test_a_disk_that_fails_to_hold_it_leaves_what_stood_there(tmp_path, monkeypatch):
    (tmp_path / "run.json").write_text("old")

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError) as caught:
        write_record(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/run.json: Input/output error; set `output` to another place"
    )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"run.json": "old"}


@pytest.mark.parametrize("name", ["run.json", "a.gif", "f"])
def test_what_ended_runs_left_goes_and_what_others_write_stays(tmp_path, name):
    ended = Path("/proc/sys/kernel/pid_max")
    ended = int(ended.read_text()) if ended.exists() else 99999
    left = [f".{name}.part-{ended}", f".{name}.part-{ended}-old"]
    others = [f".{name}.part-{os.getppid()}", f".{name}.part-", f".{name}.part-x", f"{name}.part-1"]
    for each in [*left, *others]:
        (tmp_path / each).mkdir()
        (tmp_path / each / "0001.png").touch()
    WRITERS[name](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, *others])


def test_a_folder_that_cannot_be_put_there_is_put_back(tmp_path, monkeypatch):
    write = WRITERS["f"]
    write(tmp_path)
    rename = Path.rename

    def refuse(path, target):
        if re.search(r"part-\d+$", path.name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match=r"/f: Input/output error; choose another path"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
