"""One run has an output folder: the second waits, or leaves at once, and reading goes on."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import yaml

from alignimation_core import OutputError, RecipeError, preflight, run
from alignimation_core.output import lock
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import CanvasOptions
from alignimation_imageio import Frames

HOLDER = rf"\(process \d+ on {re.escape(socket.gethostname())}, since \d{{4}}-\d\d-\d\d \S+\)"


class Heard(Progress):
    def __init__(self):
        self.notes = []
        self.said = threading.Event()

    def note(self, text):
        self.notes.append(text)
        self.said.set()


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    discs.series(tmp_path / "photos", discs.WARPS)
    return discs_recipe(renderers=[Frames()])


@pytest.fixture
def held(tmp_path):
    """The lock of the output folder, held by another."""
    (tmp_path / "out" / ".alignimation").mkdir(parents=True)
    with lock.alone(tmp_path / "out" / ".alignimation" / "run.lock", "", print, wait=False):
        yield


def test_a_second_run_waits_and_says_for_whom(recipe, tmp_path):
    begun, go_on, heard = threading.Event(), threading.Event(), Heard()

    class Slow(Frames):
        def open(self, canvas, count, folder):
            begun.set()
            assert go_on.wait(60)
            return super().open(canvas, count, folder)

    first = threading.Thread(target=run, args=[replace(recipe, renderers=[Slow()])])
    first.start()
    assert begun.wait(60)
    records = []
    other = replace(recipe, canvas=CanvasOptions(size="96x64"))
    second = threading.Thread(target=lambda: records.append(run(other, progress=heard)))
    second.start()
    assert heard.said.wait(60)
    go_on.set()
    first.join(60)
    second.join(60)
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/out: another run is writing there {HOLDER}; waiting until it "
        "ends",
        heard.notes[0],
    )
    found = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (found["canvas"], found["error"]) == ({"width": 96, "height": 64}, None)
    assert found["written"] == records[0].written


def test_a_run_that_does_not_wait_is_refused_at_once(recipe, tmp_path, held):
    with pytest.raises(OutputError) as error:
        run(recipe, wait=False)
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/out: another run is writing there {HOLDER}; wait until it "
        "ends, or set `output` to another folder",
        str(error.value),
    )
    assert not (tmp_path / "out" / "run.json").exists()


def test_reading_goes_on_while_a_run_has_the_folder(recipe, held):
    assert preflight.check(recipe).endswith("the recipe is fine")


def test_a_trial_run_does_not_wait_for_the_whole(recipe, held):
    assert run(recipe, limit=2, wait=False).outputs == ["frames"]


def test_what_the_other_run_left_is_looked_at_again(recipe, tmp_path, held, monkeypatch):
    """While it waited, the user's file came into the place of an output."""
    sleep, mine = time.sleep, tmp_path / "out" / "frames"

    def slept(seconds):
        sleep(seconds)
        mine.write_text("mine")
        monkeypatch.setattr(lock, "_take", lambda descriptor: True)

    monkeypatch.setattr(time, "sleep", slept)
    with pytest.raises(RecipeError, match=f"{mine} is no output of an earlier run"):
        run(recipe)
    assert mine.read_text() == "mine"


def test_a_lock_ends_with_its_process_and_its_file_may_go(tmp_path):
    path = tmp_path / "run.lock"
    code = (
        "import os, sys; from pathlib import Path; from alignimation_core.output import lock\n"
        "with lock.alone(Path(sys.argv[1]), '', print, wait=False):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(OutputError, match=f"process {other.pid} on "),
            lock.alone(path, "", print, wait=False),
        ):
            pass
        heard = Heard()

        def kill():
            assert heard.said.wait(60)
            other.kill()

        threading.Thread(target=kill).start()
        with lock.alone(path, "", heard.note, wait=True) as waited:
            assert waited
            path.unlink()
        with lock.alone(path, "", print, wait=False) as waited:
            assert not waited
    finally:
        other.kill()
        other.communicate()


def test_a_lock_file_that_was_removed_and_made_again_is_not_held_twice(tmp_path, monkeypatch):
    path, opened = tmp_path / "run.lock", lock._open

    def removed(place):
        descriptor = opened(place)
        monkeypatch.setattr(lock, "_open", opened)
        place.unlink()
        return descriptor

    monkeypatch.setattr(lock, "_open", removed)
    with lock.alone(path, "", print, wait=False):
        assert path.exists()
        with pytest.raises(OutputError), lock.alone(path, "", print, wait=False):
            pass


def test_where_there_are_no_locks_the_run_goes_on_and_says_so(recipe, tmp_path, monkeypatch):
    def none(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock, "_take", none)
    heard = Heard()
    assert run(recipe, progress=heard).outputs == ["frames"]
    assert heard.notes[0] == (
        f"{tmp_path}/out: no lock can be had there (No locks available); see to it that no other "
        "run writes there at the same time"
    )


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_stands_in_the_place_of_the_lock_is_left_alone(recipe, tmp_path, kind):
    hidden = tmp_path / "out" / ".alignimation"
    hidden.mkdir(parents=True)
    (tmp_path / "mine").write_text("mine")
    {
        "link": lambda path: path.symlink_to(tmp_path / "mine"),
        "folder": lambda path: path.mkdir(),
        "pipe": os.mkfifo,
    }[kind](hidden / "run.lock")
    if kind == "pipe":
        run(recipe)
    else:
        with pytest.raises(OutputError, match=r"run\.lock( is a link|: the lock cannot be used)"):
            run(recipe)
    assert (tmp_path / "mine").read_text() == "mine"


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_ends_the_waiting_at_once(tmp_path, site, discs, discs_installed, held):
    discs.series(tmp_path / "photos", discs.WARPS[:1])
    data = {
        "photos": "photos/",
        "output": "out",
        "detector": "blobs",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "renderers": ["frames"],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    main = "from alignimation_core.cli import command; command()"
    waiting = subprocess.Popen(
        [sys.executable, "-c", main, tmp_path / "recipe.yaml"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert "waiting until it ends" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, said = waiting.communicate(timeout=60)
    finally:
        waiting.kill()
    assert waiting.returncode == 130
    assert said == "alignimation-run: interrupted; nothing half-written was left\n"
    assert time.monotonic() - begun < 10


@pytest.mark.slow
def test_pairs_of_runs_at_once_give_the_outputs_of_one_of_them(runs, whole, disk, tmp_path):
    """The other is done before it, or after."""
    contents, record = disk
    settings = [("canvas.size=96x64",), ()]
    wholes = [whole(*each) for each in settings]
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from alignimation_core import Recipe, run\n"
        "for number in range(int(sys.argv[5])):\n"
        "    given = [f'output={sys.argv[3]}/{number}', *json.loads(sys.argv[4])]\n"
        "    run(Recipe.load(sys.argv[2], settings=given))\n"
    )
    pairs = 12
    both = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", code, runs.site, runs.recipe, tmp_path),
                *(json.dumps(each), str(pairs)),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for each in settings
    ]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    for number in range(pairs):
        out = tmp_path / f"{number}"
        assert (contents(out), record(out)) in [each[:2] for each in wholes], number
