"""Runs that are killed or interrupted at random moments, and gone on with."""

import hashlib
import random
import shutil
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

SEED = 20261122
AT_WORK = (2 + 2) * 4
"""Photos that may be lost by one kill: the batches of two workers, and those that wait."""
JITTER = 0.012
"""Seconds after an event within which a run is killed: as long as the longest step."""


@pytest.fixture(scope="module")
def undisturbed(nursery, slow_recipe, tmp_path_factory):
    """The outputs, the record and the events of a run that nothing happens to."""
    out = tmp_path_factory.mktemp("undisturbed")
    run = nursery.start(slow_recipe, "--set", f"output={out}").wait()
    assert run.status == 0, run.lines
    return nursery.outputs(out), nursery.record(out), run.events


MINE = {
    "notes.txt": b"mine",
    ".f.part": b"mine",
    ".a.mp4.part-x": b"mine",
    "frames/0001.png": b"mine",
    "photos.npy": b"",
}


@pytest.fixture
def out(tmp_path):
    """An output folder in which the user keeps files, too."""
    for name, content in MINE.items():
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "out"


@pytest.fixture(scope="module")
def pictures(slow_recipe):
    """How the stages call each photo, by the SHA-256 of its file."""
    return {
        hashlib.sha256(path.read_bytes()).hexdigest(): hashlib.sha256(
            b"".join(plane.tobytes() for plane in Image.open(path).split())
        ).hexdigest()[:12]
        for path in (slow_recipe.parent / "photos").iterdir()
    }


def stored(out, pictures, tmp_path):
    """Return the photos that a store knows, as the stages call them; the store stays as it is."""
    folder, copy = out / ".alignimation", tmp_path / "copy"
    if not (folder / "store.sqlite3").exists():
        return {"detect": set(), "embed": set()}
    shutil.copytree(folder, copy)
    db = sqlite3.connect(copy / "store.sqlite3")
    try:
        found = {
            "detect": db.execute("SELECT key FROM entries WHERE kind LIKE 'detections %'"),
            "embed": db.execute("SELECT key FROM entries WHERE kind LIKE 'embeddings %'"),
        }
        return {
            word: {pictures[key[:64].decode()] for (key,) in rows} for word, rows in found.items()
        }
    except sqlite3.OperationalError:  # the table is not made yet
        return {"detect": set(), "embed": set()}
    finally:
        db.close()
        shutil.rmtree(copy)


class Moments:
    """Random moments of runs that go on with one another, spread over what is left to do."""

    def __init__(self, events, number, count):
        self._events, self._said, self._count = events, set(), count
        self._random = random.Random(f"{SEED} {number}")

    def draw(self):
        """Return a number of events, and seconds after the last of them."""
        left = len({*self._events} - self._said)
        share = self._random.uniform(0, min(1, 2 / (self._count + 1)))
        self._count -= 1
        return int(share * left), self._random.uniform(0, JITTER)

    def note(self, run):
        self._said |= {*run.events}


def asked(run, word):
    return [line.split()[1] for line in run.events if line.split()[0] == word]


def check_whole(contents, *finished):
    """Whatever stands under a final name is the whole output of some run."""
    for name, content in contents.items():
        if not name.startswith(".") and name not in MINE:
            assert content in [each.get(name) for each in finished], name


@pytest.mark.parametrize("number", range(5))
def test_killed_runs_are_gone_on_with_and_give_the_same(
    nursery, slow_recipe, undisturbed, out, left, pictures, tmp_path, number
):
    expected, expected_record, events = undisturbed
    arguments = [slow_recipe, "--set", f"output={out}"]
    before, moments = {}, Moments(events, number, 4)
    if number % 2:  # beside the outputs of a trial run
        limited = nursery.start(*arguments, "--limit", "7", PAUSE="0").wait()
        assert limited.status == 0, limited.lines
        before = nursery.outputs(out)
        moments.note(limited)
    calls, kills = Counter(), 0
    known = stored(out, pictures, tmp_path)
    begun = len(known["detect"])
    for disturbed in (True,) * 4 + (False,):
        count, after = moments.draw()
        run = nursery.start(*arguments)
        if disturbed:
            run.stop(count, after)
            kills += run.status == -signal.SIGKILL
        else:
            run.wait()
        moments.note(run)
        moment = f"seed {SEED} {number}, killed {after * 1000:.1f} ms after {run.events[-1:]}"
        assert run.status in (0, -signal.SIGKILL), (moment, run.lines)
        check_whole(nursery.outputs(out), expected, before)
        for word in ("detect", "embed"):
            again = asked(run, word)
            assert len(set(again)) == len(again), moment
            assert not known[word] & set(again), moment
            calls[word] += len(again)
        known, earlier = stored(out, pictures, tmp_path), known
        assert all(known[word] >= earlier[word] for word in known), moment
    assert run.status == 0, (moment, run.lines)
    assert kills >= 3, moment
    for word in ("detect", "embed"):
        assert len(known[word]) == 40
        assert 0 <= calls[word] - (40 - begun) <= AT_WORK * kills, (moment, calls)
    assert nursery.outputs(out) == expected | before | MINE, moment
    assert nursery.record(out) == expected_record, moment
    assert {path.name for path in out.iterdir()} == {
        *{Path(name).parts[0] for name in expected | before | MINE},
        "run.json",
        ".alignimation",
    }, moment
    assert left(out) <= MINE.keys(), moment


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_runs_say_so_in_one_line_and_are_gone_on_with(
    nursery, slow_recipe, undisturbed, out, left, how
):
    expected, expected_record, events = undisturbed
    arguments = [slow_recipe, "--set", f"output={out}"]
    interrupted, moments = 0, Moments(events, how, 4)
    for _ in range(4):
        count, after = moments.draw()
        run = nursery.start(*arguments).stop(max(count, 1), after, how)
        moments.note(run)
        moment = f"seed {SEED} {how}, stopped {after * 1000:.1f} ms after {run.events[-1:]}"
        assert run.status in (0, 130), (moment, run.lines)
        interrupted += run.status == 130
        if run.status == 130:
            assert run.lines[-1] == "alignimation-run: interrupted; nothing half-written was left"
            assert not [line for line in run.lines if "Traceback" in line], moment
        assert left(out) <= MINE.keys(), moment
        check_whole(nursery.outputs(out), expected)
    assert interrupted >= 3
    run = nursery.start(*arguments).wait()
    assert run.status == 0, run.lines
    assert nursery.outputs(out) == expected | MINE, moment
    assert nursery.record(out) == expected_record, moment
