"""Functions in processes of their own: who answers, what fails, what is left behind."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from alignimation_core.api.processes import Processes

ERRANDS = """
import functools, os, signal, subprocess, sys, time

FOUND = {name: os.environ.get(name) for name in ("MOON", "HOME")}


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


class Unreadable:
    def __reduce__(self):
        return unreadable, ()


def unreadable():
    raise RuntimeError("it cannot be read")


def pid(*given):
    return os.getpid()


def doubled(array, *, times=1):
    return array * 2 * times


@functools.cache
def counter():
    return []


def count():
    counter().append(0)
    return len(counter())


def environment():
    return FOUND


def meet(folder):
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.01)
    return os.getpid()


def shout():
    print("python", flush=True)
    print("python", file=sys.stderr, flush=True)
    os.write(1, b"C")
    subprocess.run(["echo", "another"])
    return sys.stdin.read()


def fail(kind):
    if kind == "odd":
        raise Odd("one", "two")
    if kind == "answer":
        return lambda: None
    if kind == "file":
        raise FileNotFoundError(2, "not there", "moon.task")


def die(how):
    if how < 0:
        os.kill(os.getpid(), -how)
    os._exit(how)


def wait(folder):
    (folder / str(os.getpid())).touch()
    time.sleep(600)
"""


@pytest.fixture
def errands(tmp_path, monkeypatch):
    (tmp_path / "errands.py").write_text(ERRANDS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "errands", raising=False)
    import errands

    yield errands
    del sys.modules["errands"]


def is_running(pid):
    """Whether a process is there, and is not a dead one whose parent has not asked for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_one_process_answers_call_after_call_and_keeps_what_it_has(errands):
    count = Processes(errands.count)
    assert [count(), count(), count()] == [1, 2, 3]
    pid = Processes(errands.pid)
    assert pid() == pid() != os.getpid()


def test_arrays_go_there_and_come_back(errands):
    array = np.arange(3_000_000, dtype="f4").reshape(1000, 1000, 3)
    np.testing.assert_array_equal(Processes(errands.doubled)(array, times=3), array * 6)


def test_there_are_as_many_as_threads_call_at_once(errands, tmp_path):
    folder = tmp_path / "met"
    folder.mkdir()
    meet = Processes(errands.meet)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(meet, [folder, folder])
    assert first != second
    assert {meet(folder) for _ in range(3)} <= {first, second}


def test_the_environment_is_set_before_anything_is_imported(errands, monkeypatch):
    monkeypatch.setenv("MOON", "new")
    monkeypatch.setenv("HOME", "/home")
    assert Processes(errands.environment)() == {"MOON": "new", "HOME": "/home"}
    changed = Processes(errands.environment, env={"MOON": "full", "HOME": None})
    assert changed() == {"MOON": "full", "HOME": None}
    assert os.environ["MOON"] == "new"


def test_what_is_printed_there_reaches_nobody_and_is_no_answer(errands, capfd):
    assert Processes(errands.shout)() == ""
    assert capfd.readouterr() == ("", "")


def test_what_the_function_raises_is_raised_here_with_its_traceback_there(errands):
    fail, pid = Processes(errands.fail), Processes(errands.pid)
    with pytest.raises(FileNotFoundError) as caught:
        fail("file")
    assert str(caught.value) == "[Errno 2] not there: 'moon.task'"
    assert 'errands.py", line' in caught.value.__notes__[0]
    with pytest.raises(RuntimeError) as caught:
        fail("odd")
    assert str(caught.value) == "Odd: one and two"
    with pytest.raises((AttributeError, TypeError), match=r"(?i)can't|cannot"):
        fail("answer")
    assert fail("nothing") is None
    with pytest.raises((AttributeError, TypeError), match=r"(?i)can't|cannot"):
        pid(lambda: None)
    with pytest.raises(RuntimeError, match="it cannot be read"):
        pid(errands.Unreadable())
    assert pid() == pid()


@pytest.mark.parametrize(
    ("how", "told"), [(7, "exit status 7"), (-signal.SIGSEGV, "SIGSEGV"), (0, "exit status 0")]
)
def test_a_process_that_dies_costs_one_call(errands, how, told):
    die = Processes(errands.die)
    for _ in range(2):
        with pytest.raises(RuntimeError) as caught:
            die(how)
        assert str(caught.value) == f"the process of errands.die died ({told})"


def test_one_that_died_between_two_calls_is_told_of_too(errands):
    pid = Processes(errands.pid)
    first = pid()
    os.kill(first, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="died \\(SIGKILL\\)"):
        pid()
    assert pid() != first


def test_functions_that_other_processes_cannot_import_are_refused():
    def local():
        return None

    for function in (local, lambda: None):
        with pytest.raises(ValueError, match="other processes cannot import this; move it to a"):
            Processes(function)


def test_processes_end_with_the_object(errands):
    pid = Processes(errands.pid)
    first = pid()
    assert is_running(first)
    del pid
    gc.collect()
    assert not is_running(first)


# As people write it: without `if __name__ == "__main__"`.
SCRIPT = """
import errands, os, pathlib, sys
from alignimation_core.api.processes import Processes

wait, pid = Processes(errands.wait), Processes(errands.pid)
print(pid(), flush=True)
if sys.argv[1] == "fork":
    child = os.fork()
    print(pid(), flush=True)
    if child:
        os.waitpid(child, 0)
if sys.argv[1] == "wait":
    wait(pathlib.Path(sys.argv[2]))
"""


def started(folder, what):
    path = os.pathsep.join(filter(None, [str(folder), *sys.path]))
    script = folder / "script.py"
    script.write_text(SCRIPT)
    (folder / "pids").mkdir()
    return subprocess.Popen(
        [sys.executable, str(script), what, str(folder / "pids")],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_none_is_left_behind_however_the_program_ends(errands, tmp_path, end):
    program = started(tmp_path, "wait")
    folder = tmp_path / "pids"
    wait_until(lambda: list(folder.iterdir()))
    pids = [int(program.stdout.readline()), *(int(path.name) for path in folder.iterdir())]
    assert len(pids) == 2
    assert all(map(is_running, pids))
    os.killpg(program.pid, signal.Signals[end])  # as Ctrl-C does
    _, printed = program.communicate(timeout=60)
    assert printed.count("Traceback") == (end == "SIGINT")
    assert printed.strip().endswith("KeyboardInterrupt") == (end == "SIGINT")
    wait_until(lambda: not any(map(is_running, pids[: 1 if end != "SIGINT" else 2])))
    if end != "SIGINT":
        assert is_running(pids[1])  # it is at work, and ends when it would answer
        os.kill(pids[1], signal.SIGKILL)


def test_a_program_ends_as_it_would_without_them(errands, tmp_path):
    printed, errors = started(tmp_path, "nothing").communicate(timeout=60)
    assert errors == ""
    assert not is_running(int(printed))


def test_a_forked_process_has_its_own(errands, tmp_path):
    printed, errors = started(tmp_path, "fork").communicate(timeout=60)
    assert errors == ""
    first, *others = printed.split()
    assert len({first, *others}) == 2
    assert others.count(first) == 1
    assert not any(map(is_running, map(int, {first, *others})))
