"""Connection to a Ray cluster: that at an address, that of this machine, or one of our own."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import Any, TextIO, cast

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.recipe.options import ExecutorOptions

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tell nobody
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run`, do not send the folder to the workers
}

GRACE = 5.0
"""Seconds for Ray to let go of something: where a node is gone, it may wait for ever."""


@contextmanager
def connection(options: ExecutorOptions) -> Iterator[bool]:
    """Connect to a cluster, or start one; nothing that Ray has to say reaches the terminal.

    Yields:
        Whether the cluster was started here, for this run alone.

    Raises:
        AlignimationError: Ray is not installed, nothing answers at the address, or the cluster
            cannot be joined.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise AlignimationError(
            f"executor.use: {in_one_line(error)}: pip install 'alignimation[ray]'"
        ) from error
    if ray.is_initialized():
        yield False
        return
    address = _address(options)
    before = set(threading.enumerate())
    try:
        _init(address, options.workers)
        hushed = _Hushed(set(threading.enumerate()) - before)
        with redirect_stdout(cast("TextIO", hushed)):
            yield address == "local"
    finally:
        within(2 * GRACE, ray.shutdown)  # which ends a cluster of our own


def within(seconds: float, verb: Callable[[], object]) -> None:
    """Do something in a thread of its own; leave it there where it takes longer, or fails."""

    def attempt() -> None:
        with suppress(Exception):  # there is nothing left to be done about it
            verb()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(seconds)


def unreachable(address: str) -> str | None:
    """Return why nothing can be reached at an address: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        return "it should be written as HOST:PORT, such as 10.0.0.1:6379"
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        return in_one_line(error)
    return None


def _address(options: ExecutorOptions) -> str:
    """Return the address of the cluster to join, ``auto`` for that here, ``local`` to start one.

    Raises:
        AlignimationError: nothing answers at an address that was asked for.
    """
    wanted = options.address or os.environ.get("RAY_ADDRESS")
    if wanted in (None, "", "auto"):
        running = _running()
        return "auto" if running and unreachable(running) is None else "local"
    if wanted != "local" and (reason := unreachable(wanted)):
        field = "executor.address" if options.address else "RAY_ADDRESS"
        raise AlignimationError(
            f"{field}: no Ray cluster answers at {wanted}: {reason}; start one there with "
            "`ray start --head`, or leave the address out"
        )
    return wanted


def _running() -> str | None:
    """Return the address of the cluster that ``ray start`` has started or joined here.

    It is in the file that the documentation of ``ray.init`` names.
    """
    folder = tempfile.gettempdir() if sys.platform == "win32" else "/tmp"  # noqa: S108
    file = Path(os.environ.get("RAY_TMPDIR") or folder, "ray", "ray_current_cluster")
    try:
        return file.read_text().strip()
    except OSError:
        return None


def _init(address: str, workers: int | None) -> None:
    import ray

    size = {"num_cpus": workers, "include_dashboard": False} if address == "local" else {}
    main = threading.current_thread() is threading.main_thread()
    on_terminate = signal.getsignal(signal.SIGTERM) if main else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tips on what later versions of Ray will do
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **size)
    except Exception as error:  # Ray raises bare RuntimeErrors, ValueErrors and the like
        raise AlignimationError(
            f"executor: cannot use the Ray cluster ({address}): {in_one_line(error)}; this machine "
            "must be one of its nodes, with the same versions of Ray and Python, and with its "
            "token and RAY_AUTH_MODE=token if it asks for one"
        ) from error
    finally:
        if main and on_terminate is not None:
            signal.signal(signal.SIGTERM, on_terminate)  # Ray has put its own in place


class _Hushed:
    """The standard output, but not for Ray's threads: they tell there how workers died."""

    def __init__(self, hushed: set[threading.Thread]) -> None:
        self._hushed, self._stream = hushed, sys.stdout

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, unless a hushed thread does."""
        if threading.current_thread() in self._hushed:
            return len(text)
        return self._stream.write(text)
