"""Disks that are full, read-only or gone, photos that change, clocks that jump: amid real runs."""

import os
import re
import shutil

import pytest

from alignimation_core import PhotoError
from alignimation_core.api import urls
from alignimation_core.photos import decoder, metadata
from alignimation_core.photos.dates import names

pytestmark = pytest.mark.slow

PROGRESS = re.compile(r"\w+: \d+ of \d+ (in \d+\.\d s|from the store)|all \d+ photos: about .*")


@pytest.fixture(scope="module")
def undisturbed(nursery, slow_recipe, tmp_path_factory):
    """The outputs and the record of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed")
    run = nursery.start(slow_recipe, "--set", f"output={out}", PAUSE="0").wait()
    assert run.status == 0, run.lines
    return nursery.outputs(out), nursery.record(out, "renderers")


@pytest.fixture
def go(nursery, slow_recipe, out):
    """Run the command on an output folder; return what it said and did."""

    def go(*settings, recipe=slow_recipe, limit=(), **environment):
        flags = [word for setting in (f"output={out}", *settings) for word in ("--set", setting)]
        return nursery.start(recipe, *flags, *limit, **{"PAUSE": "0", **environment}).wait()

    return go


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def disk(nursery, out):
    """A small disk of its own, mounted where the output is to be; what is on it is in ``kept``."""
    if nursery.can_mount is not True:
        pytest.skip(f"no disk can be mounted here: {nursery.can_mount}")
    kept = out.with_name("kept")
    kept.mkdir()
    out.mkdir()
    nursery.shell(f"mount -t tmpfs -o size=2m none {kept} && mount --bind {kept} {out}")
    yield kept
    nursery.shell(f"umount {out}; umount {kept}")


@pytest.fixture
def copied(nursery, tmp_path):
    """Copy a folder from that disk, which only the runs see."""

    def copied(folder):
        copy = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        nursery.shell(f"cp -r {folder} {copy}")
        return copy

    return copied


def check_failed(run, message):
    """It says how far it came, and one line more."""
    assert run.status == 1, run.lines
    assert run.lines[-1] == f"alignimation-run: {message}"
    assert [line for line in run.lines[:-1] if not PROGRESS.fullmatch(line)] == []


def asked(run):
    return [line for line in run.events if line.startswith("detect ")]


FULL = (
    "{out}/.alignimation/store.sqlite3: cannot be written (database or disk is full); make room, "
    "or set `output` to another place; what is done so far is kept there"
)
NO_ROOM = "the disk is full; make room and run again"
NO_ARRAY = "renderers=[{use: video, path: a.mp4}, {use: frames, path: f}]"


@pytest.mark.parametrize(
    ("at", "settings", "limit", "message"),
    [
        (
            "detect 21",
            (),
            (),
            FULL,
        ),
        (
            "put-done 1",
            (NO_ARRAY,),
            (),
            FULL,
        ),
        # the frames fail first, and make room for the video, which is small
        (
            "load 60",
            (NO_ARRAY,),
            (),
            f"{{out}}/f: {NO_ROOM}",
        ),
        (
            "put-done 1",
            ("renderers=[slow-array]",),
            ("--limit", "7"),
            f"{{out}}/trial: {NO_ROOM}",
        ),
    ],
    ids=["the store", "the store's end", "the frames", "the record"],
)
def test_a_full_disk_is_one_line_and_what_is_done_is_kept(
    nursery, go, out, disk, copied, left, undisturbed, at, settings, limit, message
):
    fill = f"cat /dev/zero > {disk}/ballast 2> /dev/null || true"
    full = go(*settings, limit=limit, AT=at, DO=fill)
    check_failed(full, message.format(out=out))
    assert "ballast" in nursery.outputs(copied(disk))
    assert not left(copied(disk))
    nursery.shell(f"rm {disk}/ballast")
    again = go()
    assert again.status == 0, again.lines
    if at == "detect 21":
        assert 0 < len(asked(again)) <= 40 - 8
    else:
        assert len(asked(again)) == 40 - len(asked(full))
    copy = copied(disk)
    assert nursery.outputs(copy) == undisturbed[0]
    assert nursery.record(copy)["photos"] == undisturbed[1]["photos"]


def test_a_read_only_disk_is_one_line(nursery, go, out, disk, copied, undisturbed):
    nursery.shell(f"mount -o remount,ro,bind {out}")
    refused = go()
    check_failed(
        refused, f"{out}: the output folder cannot be written: Read-only file system; set `output`"
    )
    assert refused.events == []
    nursery.shell(f"mount -o remount,rw,bind {out}")
    assert go().status == 0
    assert nursery.outputs(copied(disk)) == undisturbed[0]


AWAY = (
    "{out}: the folder went away while the run was going on; bring it back, or choose another "
    "output folder, and run again"
)


@pytest.mark.parametrize("at", ["detect 21", "fit 8", "put 1", "put 2", "put-done 3"])
def test_a_disk_that_vanishes_is_one_line_and_nothing_is_written_below_it(
    nursery, go, out, disk, copied, undisturbed, at
):
    vanished = go(NO_ARRAY, AT=at, DO=f"umount --lazy {out}")
    check_failed(vanished, AWAY.format(out=out))
    assert list(out.iterdir()) == []
    nursery.shell(f"mount --bind {disk} {out}")
    again = go()
    assert again.status == 0, again.lines
    assert len(asked(again)) <= (40 - 8 if at == "detect 21" else 0)
    copy = copied(disk)
    assert nursery.outputs(copy) == undisturbed[0]
    assert nursery.record(copy, "renderers") == undisturbed[1]


def test_a_folder_that_is_moved_away_is_one_line_and_is_gone_on_with(nursery, go, out, undisturbed):
    removed = go(AT="fit 8", DO=f"rm -r {out}")
    check_failed(removed, AWAY.format(out=out))
    assert not out.exists()
    elsewhere = out.with_name("elsewhere")
    moved = go(AT="detect 21", DO=f"mv {out} {elsewhere}")
    check_failed(moved, AWAY.format(out=out))
    assert not out.exists()
    elsewhere.rename(out)
    again = go()
    assert len(asked(again)) <= 40 - 8
    assert nursery.outputs(out) == undisturbed[0]


# photos


@pytest.fixture
def own(slow_recipe, tmp_path):
    """A copy of the recipe whose photos may be changed."""
    shutil.copytree(slow_recipe.parent / "photos", tmp_path / "photos")
    return shutil.copy(slow_recipe, tmp_path)


@pytest.fixture
def spoil(own, discs, tmp_path):
    """A command that changes five photos: one goes, one is only touched."""
    gone, garbage, larger, other, touched = sorted((tmp_path / "photos").iterdir())[30:35]
    discs.paint(tmp_path / "larger.png", discs.placed(40, 30), (96, 128))
    discs.paint(tmp_path / "other.png", discs.placed(28, 20))
    return "; ".join(
        [
            "set -e",
            f"rm {gone}",
            f"echo no picture > {garbage}",
            f"cp {tmp_path / 'larger.png'} {larger}",
            f"mv {tmp_path / 'other.png'} {other}",
            f"touch {touched}",
            f"chmod 600 {touched}",
        ]
    )


CHANGED = "the file has changed since the run began; run again"
REASONS = [
    "the file is gone",
    "this is a text file, no photo; replace or remove it",
    CHANGED,
    CHANGED,
]


@pytest.mark.parametrize("at", ["read-done 40", "embed 40", "write 1"])
def test_photos_that_change_on_the_way_fail_alone_and_leave_nothing_wrong_behind(
    nursery, go, own, out, undisturbed, spoil, slow_recipe, tmp_path, at
):
    run = go(recipe=own, AT=at, DO=spoil)
    assert run.status == 0, run.lines
    found = nursery.record(out)
    failed = {photo["path"]: photo for photo in found["photos"] if photo["status"] != "used"}
    names = sorted(path.name for path in (slow_recipe.parent / "photos").iterdir())
    assert list(failed) == [f"photos/{name}" for name in names[30:34]]
    assert [photo["reason"] for photo in failed.values()] == REASONS
    assert {(photo["status"], photo["stage"]) for photo in failed.values()} == {
        ("failed", "photos")
    }
    frames = sorted((out / "f").iterdir())
    assert len(frames) == 36
    if at != "read-done 40":  # all were aligned, and so the canvas is the same
        expected = [undisturbed[0][f"f/{i:04}.png"] for i in range(1, 41) if i not in range(31, 35)]
        assert [path.read_bytes() for path in frames] == expected
    for name in names[30:35]:
        shutil.copy(slow_recipe.parent / "photos" / name, tmp_path / "photos" / name)
    again = go(recipe=own)
    assert len(asked(again)) == (4 if at == "read-done 40" else 0)
    assert nursery.outputs(out) == undisturbed[0]
    assert nursery.record(out)["photos"] == undisturbed[1]["photos"]


def test_a_photo_at_an_address_that_changes_is_refused(memory, discs, tmp_path):
    pictures = []
    for x in (30, 34):
        discs.paint(tmp_path / "a.png", discs.placed(x, 24))
        pictures.append((tmp_path / "a.png").read_bytes())
    memory.pipe("/box/a.png", pictures[0])
    photo = metadata.facts(urls.at("memory://box/a.png"), tmp_path)
    assert decoder.load(photo).shape == (3, 48, 64)
    memory.pipe("/box/a.png", pictures[1])
    with pytest.raises(PhotoError) as caught:
        decoder.load(photo)
    assert str(caught.value) == f"memory://box/a.png: {CHANGED}"


def test_a_photo_that_is_still_being_copied_is_not_read(discs, monkeypatch, tmp_path):
    path, in_name = tmp_path / "2020-01-01.png", names.in_name
    discs.paint(path, discs.placed(32, 24))

    def grow(name):
        path.write_bytes(path.read_bytes() + b"more")
        return in_name(name)

    monkeypatch.setattr(names, "in_name", grow)
    with pytest.raises(PhotoError) as caught:
        metadata.facts(path, tmp_path)
    assert str(caught.value) == f"{path}: the file changed while it was read; run again"


# clocks

YEARS = 10 * 365 * 86400.0


@pytest.mark.parametrize("jump", [-2 * YEARS, -3.0, 3.0, 2 * YEARS])
def test_a_clock_that_jumps_changes_nothing(nursery, go, out, own, undisturbed, tmp_path, jump):
    first = go(recipe=own, AT="detect 21", JUMP=f"{jump}", DO="kill -9 $PPID", PAUSE="0.002")
    assert first.status == -9
    for number, path in enumerate(sorted((tmp_path / "photos").iterdir())):
        os.utime(path, (0, 1e8 + number * 1e8 / 2))  # 1973 to 2035
    second = go(recipe=own, AT="read 1", JUMP=f"{jump}")
    assert second.status == 0, second.lines
    assert len(asked(second)) <= 40 - 8
    third = go(recipe=own, AT="put 1", JUMP=f"{-jump}")
    assert asked(third) == []
    for run in (second, third):
        assert not [line for line in run.lines if re.search(r"-\d", line.partition("/")[0])]
    assert nursery.outputs(out) == undisturbed[0]
    assert nursery.record(out)["photos"] == undisturbed[1]["photos"]


def test_an_edit_that_sets_the_times_back_is_seen(nursery, go, out, own, discs, tmp_path):
    """Of the same size, in the same file, with the same time of change."""
    path = sorted((tmp_path / "photos").iterdir())[20]
    discs.paint(tmp_path / "other.png", discs.placed(28, 20))
    contents = [path.read_bytes(), (tmp_path / "other.png").read_bytes()]
    length = max(map(len, contents))
    digests = set()
    for content in contents:
        path.write_bytes(content.ljust(length, b"\0"))
        os.utime(path, ns=(0, 10**18))
        run = go(recipe=own, AT="read 1", JUMP=f"{YEARS}")  # so that no file is too new to trust
        assert run.status == 0, run.lines
        digests.add(nursery.record(out)["photos"][20]["sha256"])
    assert len(asked(run)) == 1
    assert len(digests) == 2
