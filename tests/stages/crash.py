"""A process that has imported everything, and forks runs that are struck at a given step.

Steps are the calls by which what is on the disk gets its place: renames, links, new folders, fsync,
room taken, and commits of the store, before and after each. It is given a folder of plugins, a
recipe and an output folder, and runs that once, so that all is imported. It reads requests from its
standard input, one JSON object a line, and answers a line each:

- ``{"shell": "..."}``: the exit status of a command, whose output goes to stderr;
- ``{"settings": [...], "at": number or null, "how": "kill", "full", "once" or "interrupt"}``: a
  JSON object with ``status`` (0, 1 for an error of ours, 2 for one of the recipe, 130, 99 for any
  other, negative for a signal), ``said`` (error and notes) and ``steps`` (how many there were).

``full`` fails that step, and what needs room from then on; ``once`` fails that step alone.
"""

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback

import torch

from alignimation_core import AlignimationError, Recipe, RecipeError
from alignimation_core.pipeline import run
from alignimation_core.progress import Progress

STEPS = ("rename", "replace", "link", "fsync", "mkdir", "posix_fallocate")
NEED_ROOM = {"link", "fsync", "mkdir", "posix_fallocate", "commit"}
LOCK = threading.Lock()


class Heard(Progress):
    """Keeps what is said."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Steps:
    """Counts steps, and strikes at one of them."""

    def __init__(self, at, how):
        self.at, self.how, self.count = at, how, 0

    def step(self, name):
        with LOCK:
            self.count += 1
            here = self.at == self.count
            later = self.at is not None and self.count > self.at
        if here and self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if here and self.how == "interrupt":
            signal.raise_signal(signal.SIGINT)
        full = self.how == "full" and (here or later) and name in NEED_ROOM
        if full or (self.how == "once" and here):
            if name == "commit":
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def watch(self):
        for name in STEPS:
            setattr(os, name, self.watched(name, getattr(os, name)))
        steps = self

        class Connection(sqlite3.Connection):
            def execute(self, sql, *given):
                if sql != "COMMIT":
                    return super().execute(sql, *given)
                steps.step("commit")
                answer = super().execute(sql, *given)
                steps.step("committed")
                return answer

        connect = sqlite3.connect
        sqlite3.connect = lambda *given, **options: connect(*given, factory=Connection, **options)

    def watched(self, name, call):
        def watched(*given, **options):
            self.step(name)
            return call(*given, **options)

        return watched


def be_a_run(path, request, answer):
    progress, steps, status, said = Heard(), Steps(request["at"], request["how"]), 99, ""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        recipe = Recipe.load(path, settings=request["settings"])
        steps.watch()
        run(recipe, progress=progress)
        status = 0
    except RecipeError as error:
        status, said = 2, str(error)
    except AlignimationError as error:
        status, said = 1, str(error)
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        said = traceback.format_exc()
    notes = [said, *progress.notes]
    os.write(answer, json.dumps({"status": status, "said": notes, "steps": steps.count}).encode())
    os._exit(0)


def answered(path, request):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        be_a_run(path, request, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return answer.decode() or json.dumps({"status": status, "said": [], "steps": None})


def main(site, path, out):
    torch.set_num_threads(1)
    sys.path.insert(0, site)
    run(Recipe.load(path, settings=[f"output={out}"]))
    for line in sys.stdin:
        request = json.loads(line)
        if "shell" in request:
            done = subprocess.run(["sh", "-c", request["shell"]], stdout=sys.stderr, check=False)
            print(done.returncode, flush=True)
        else:
            print(answered(path, request), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
