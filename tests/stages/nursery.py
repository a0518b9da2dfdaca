"""A process that has imported everything, and forks runs of the command: each in no time.

It reads requests from its standard input, one JSON object a line, and answers a line each:

- ``{"shell": "..."}``: the exit status of a command, whose output goes to stderr;
- ``{"arguments": [...], "site": ..., "said": ..., "environment": {...}}``: the process id of a run
  of ``alignimation-run`` as soon as it has begun, and its exit status, negative for a signal. It
  finds plugins in ``site``; its output goes to ``said``.out and ``said``.err.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback

import torch
from PIL import Image

from alignimation_core.cli import command

HEAVY = (
    "alignimation_core.pipeline",
    "alignimation_imageio._video",
    "alignimation_imageio._frames",
)


def prepare():
    for name in HEAVY:
        importlib.import_module(name)
    Image.init()
    torch.set_num_threads(1)


def be_a_run(request):
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number, name in ((1, "out"), (2, "err")):
            mode = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(f"{request['said']}.{name}", mode, 0o600), number)
        os.environ.update(request["environment"])
        sys.path.insert(0, request["site"])
        sys.argv = ["alignimation-run", *request["arguments"]]
        command()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main():
    prepare()
    for line in sys.stdin:
        request = json.loads(line)
        if "shell" in request:
            done = subprocess.run(["sh", "-c", request["shell"]], stdout=sys.stderr, check=False)
            print(done.returncode, flush=True)
            continue
        child = os.fork()
        if not child:
            be_a_run(request)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
