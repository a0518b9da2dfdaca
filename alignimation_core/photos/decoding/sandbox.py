"""Processes of their own for what may hang, crash or eat memory: decoding files that others made.

Such a process reads a line of JSON, decodes one photo, and answers with a line of JSON and the
pixels. It stays for the next photo, until it fails or this process ends.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from io import BufferedReader, BytesIO
from typing import Any

import numpy as np

from alignimation_core.api.data import Damage, File
from alignimation_core.api.errors import PhotoError
from alignimation_core.photos.decoding.picture import Pixels

MODULE = "alignimation_core.photos.worker"

SECONDS = 60.0
"""The longest that one photo may take."""

MEMORY = 4 << 30
"""Bytes of address space that a process may have."""


class Process:
    """One process that decodes photos."""

    def __init__(self) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", MODULE, str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what libraries say there names no file
            env=os.environ | one | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert isinstance(self._process.stdout, BufferedReader)
        self._answers = self._process.stdout

    def ask(self, path: File, stream: BufferedReader | BytesIO, side: int) -> Pixels:
        """Decode a photo.

        Raises:
            PhotoError: it cannot be decoded.
            EOFError: the process has ended.
        """
        assert self._process.stdin is not None
        if isinstance(stream, BytesIO):
            place, data = str(path), stream.getbuffer()
        else:  # of a source's photo, too, which may be a file
            place, data = str(stream.name), memoryview(b"")
        local = not isinstance(stream, BytesIO)
        asked = {"path": place, "local": local, "bytes": len(data), "side": side}
        try:
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError:
            raise EOFError from None
        answer: dict[str, Any] = json.loads(self._answers.readline() or b"null") or {}
        if "reason" in answer:
            raise PhotoError(path, answer["reason"])
        if "shape" not in answer:
            raise EOFError
        rgb = np.empty((*answer["shape"], 3), np.uint8)
        rest = memoryview(rgb.data).cast("B")
        while rest:
            count = self._answers.readinto(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        reason, lost = answer["damage"] or (None, ())
        damage = None if reason is None else Damage(reason, tuple(map(tuple, lost)))
        return Pixels(rgb, tuple(map(tuple, answer["matrix"])), damage)

    def has_ended(self) -> bool:
        """Return whether somebody has ended it, such as a system that was short of memory."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def close(self) -> None:
        """End it, and wait for it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._answers):
            assert pipe is not None
            try:
                pipe.close()
            except OSError:  # what was not yet written is for nobody
                continue


class Pool:
    """Processes that wait for photos."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[Process] = []
        self._elsewhere: list[Process] = []

    def take(self) -> Process:
        """Return a process that nobody uses."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if not process.has_ended():
                    return process
                process.close()
        return Process()

    def give_back(self, process: Process) -> None:
        """Let others use it."""
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End those that wait."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def forget(self) -> None:
        """Leave them to the process from which this one was forked."""
        self._lock = threading.Lock()
        self._elsewhere, self._idle = self._idle, []


POOL = Pool()
atexit.register(POOL.close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)


def decode(path: File, stream: BufferedReader | BytesIO, side: int) -> Pixels:
    """Decode a photo in a process of its own, as small as its long side has ``side`` pixels.

    Raises:
        PhotoError: it cannot be decoded, or takes more time or memory than any photo should.
    """
    process = POOL.take()
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(SECONDS, stop)
    timer.start()
    try:
        pixels = process.ask(path, stream, side)
    except PhotoError:
        POOL.give_back(process)
        raise
    except EOFError:
        process.close()
        if late.is_set():
            reason = f"decoding it takes more than {SECONDS:.0f} s; export it as JPEG, or remove it"
        else:
            reason = "the file makes its decoder crash; replace or remove it"
        raise PhotoError(path, reason) from None
    except BaseException:
        process.close()
        raise
    finally:
        timer.cancel()
    POOL.give_back(process)
    return pixels
