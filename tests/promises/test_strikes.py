"""Kills, full disks and interrupts at every step there is: outputs are old or new, never half."""

import itertools
import shutil

import pytest

OTHER = ("canvas.size=96x64", "to=null")
"""Larger pictures, and one more."""
OUTPUTS = ("a.gif", "frames", "sub")


def by_output(files):
    """Return the files of each output."""
    return {
        each: {path: data for path, data in files.items() if f"{path}/".startswith(f"{each}/")}
        for each in OUTPUTS
    }


@pytest.mark.exhaustive
def test_a_run_killed_at_any_step_is_gone_on_with_and_gives_the_same(runs, whole, disk, tmp_path):
    contents, record = disk
    files, written, steps = whole()
    assert steps > 30
    for at in range(1, steps + 1):
        out = tmp_path / f"{at}"
        assert runs.go(out, at=at)["status"] == -9, at
        stood = by_output(contents(out))
        for each, found in stood.items():
            assert found in ({}, by_output(files)[each]), (at, each)
        mine = out / next((each for each in OUTPUTS if not stood[each]), "z") / "mine"
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_bytes(b"mine")
        answer = runs.go(out)
        if mine.parent.name in ("a.gif", "frames"):
            assert answer["status"] == 2, (at, answer)
            assert f"{mine.parent}" in answer["said"][0]
        else:
            assert answer["status"] == 0, (at, answer)
        assert mine.read_bytes() == b"mine"
        mine.unlink()
        if not list(mine.parent.iterdir()):
            mine.parent.rmdir()
        answer = runs.go(out)
        assert answer["status"] == 0, (at, answer)
        assert contents(out) == files, at
        assert record(out) == written, at
        shutil.rmtree(out)


@pytest.fixture(scope="module")
def earlier(runs, tmp_path_factory):
    """An output folder of an earlier run with another canvas, among files of the user's."""
    out = tmp_path_factory.mktemp("earlier") / "out"
    assert runs.go(out, *OTHER)["status"] == 0
    (out / "notes.txt").write_text("mine")
    (out / "sub" / "mine.gif").write_text("mine")
    (out / "mine").mkdir()
    (out / "mine" / "0001.png").write_text("mine")
    return out


MINE = {"notes.txt": b"mine", "sub/mine.gif": b"mine", "mine/0001.png": b"mine"}


def unlike(stood, *either):
    """Return the outputs that are there, but as in none of these states of the folder."""
    groups = by_output({path: data for path, data in stood.items() if path not in MINE})
    states = [by_output(state) for state in either]
    return [
        each for each, found in groups.items() if found and found not in [s[each] for s in states]
    ]


@pytest.mark.exhaustive
def test_a_run_killed_over_an_earlier_one_leaves_old_or_new_outputs_and_all_of_yours(
    runs, whole, disk, tmp_path, earlier
):
    contents, record = disk
    old, new = whole(*OTHER)[0], whole()[0]
    for at in itertools.count(1):
        out = tmp_path / f"{at}"
        shutil.copytree(earlier, out)
        answer = runs.go(out, at=at)
        if answer["status"] == 0:
            break
        assert answer["status"] == -9, (at, answer)
        stood = contents(out)
        assert {path: stood[path] for path in MINE} == MINE
        assert unlike(stood, old, new) == [], at
        found = record(out)
        assert set(found["kept"]) <= {"a.gif", "frames", "sub/b.gif"}
        if found["error"] is None and found["canvas"]["width"] == 64:
            assert stood == new | MINE, at
        answer = runs.go(out)
        assert answer["status"] == 0, (at, answer)
        assert contents(out) == new | MINE, at
        assert record(out) == whole()[1], at
        shutil.rmtree(out)
    assert at > 30


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["once", "full", "interrupt"])
def test_outputs_appear_together_or_not_at_all_and_the_record_says_which(
    runs, whole, disk, tmp_path, earlier, how
):
    contents, record = disk
    old, new = whole(*OTHER)[0], whole()[0]
    failed = 0
    for at in itertools.count(1):
        out = tmp_path / f"{at}"
        shutil.copytree(earlier, out)
        answer = runs.go(out, at=at, how=how)
        assert answer["status"] in ({0, 130} if how == "interrupt" else {0, 1, 2}), (at, answer)
        stood, found = contents(out), record(out)
        if answer["status"] == 0:
            assert (stood, found["error"]) == (new | MINE, None), at
        elif stood == old | MINE:
            failed += 1
            said = found["error"] is not None or found["canvas"]["width"] == 96
            assert said, (at, answer)
            assert found["error"] != "the run did not finish", at
            if how != "interrupt" and found["error"] is not None:
                assert found["error"] == answer["said"][0], at
                assert found["outputs"] == [], at
                assert found["kept"] == ["a.gif", "frames", "sub/b.gif"], at
        else:
            assert (stood, found["error"]) == (new | MINE, None), at
        if answer["status"] == 0 and answer["steps"] < at:
            break
        if at % 8 == 0:
            answer = runs.go(out)
            assert answer["status"] == 0, (at, answer)
            assert contents(out) == new | MINE, at
        shutil.rmtree(out)
    assert failed > 10


@pytest.mark.exhaustive
@pytest.mark.parametrize("size", range(60, 1500, 60))
def test_a_full_disk_leaves_a_record_that_says_why(runs, whole, disk, tmp_path, size):
    if runs.can_mount is not True:
        pytest.skip(f"no disk can be mounted here: {runs.can_mount}")
    contents, record = disk
    out, copy = tmp_path / "out", tmp_path / "copy"
    out.mkdir()
    runs.shell(f"mount -t tmpfs -o size={size}k none {out}")
    try:
        answer = runs.go(out)
        runs.shell(f"cp -r {out} {copy}")
    finally:
        runs.shell(f"umount {out}")
    assert answer["status"] in (0, 1), answer
    if answer["status"] == 0:
        assert contents(copy) == whole()[0]
        assert record(copy) == whole()[1]
    else:
        assert contents(copy) == {}
        if record(copy) is None:  # there was no room for it from the beginning, and that is said
            assert size < 120
            assert any("the disk is full" in note for note in answer["said"][1:]), answer
        else:
            assert record(copy)["error"] == answer["said"][0]
