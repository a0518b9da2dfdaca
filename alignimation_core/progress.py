"""Progress on stderr: a bar a stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from alignimation_core.api.errors import printable_lines

Step = Callable[[], None]
Received = Callable[[int, int | None], None]
MEGABYTE = 1_000_000
QUIET = 15.0
"""Seconds without an answer after which a line says so."""


class _Heartbeat:
    """Says something whenever nothing has happened for some seconds; a context manager.

    Args:
        say: takes the seconds since the last ``beat``; called by a thread of its own.
        every: how many seconds.
    """

    def __init__(self, say: Callable[[float], None], every: float) -> None:
        self._say, self._every = say, every
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="heartbeat", daemon=True)

    def beat(self) -> None:
        """Note that something has happened."""
        self._last = time.monotonic()

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        said = self._last
        while not self._over.wait(max(self._last, said) + self._every - time.monotonic()):
            now = time.monotonic()
            if now - max(self._last, said) >= self._every:
                said = now
                self._say(now - self._last)


class Progress:
    """Takes notice of the run's progress; this one is silent."""

    @contextmanager
    def stage(self, name: str, total: int, at_work: str = "") -> Iterator[Step]:  # noqa: ARG002
        """Follow one step with so many photos; yield a function to call after each.

        ``at_work`` is which stages do it, told where nothing is heard of them.
        """
        yield lambda: None

    @contextmanager
    def download(self, name: str) -> Iterator[Received]:  # noqa: ARG002
        """Follow the download of a file.

        Yields:
            A function to call with the bytes received so far and, where known, in all.
        """
        yield lambda *_: None

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:  # noqa: ARG002
        """Follow something of which nothing is heard until it is over, such as an upload."""
        yield

    def note(self, text: str) -> None:
        """Say one line to the user."""


class Lines(Progress):
    """Plain lines, for logs and pipes: one every ten seconds and one after each stage.

    Where nothing is answered for ``quiet`` seconds, a line says how far it is.
    """

    def __init__(
        self, stream: TextIO | None = None, every: float = 10.0, quiet: float = QUIET
    ) -> None:
        self._stream, self._every, self._quiet = stream or sys.stderr, every, quiet

    @contextmanager
    def stage(self, name: str, total: int, at_work: str = "") -> Iterator[Step]:
        """Follow one stage; see ``Progress.stage``."""
        begun = said = time.monotonic()
        done = 0

        def step() -> None:
            nonlocal done, said
            done += 1
            heartbeat.beat()
            now = time.monotonic()
            if now - said >= self._every:
                said = now
                left = (now - begun) / done * (total - done)
                self.note(f"{name}: {done} of {total}, about {left:.0f} s left")

        def still(seconds: float) -> None:
            self.note(_still(name, done, total, seconds, at_work))

        with _Heartbeat(still, self._quiet) as heartbeat:
            yield step
        self.note(f"{name}: {done} of {total} in {time.monotonic() - begun:.1f} s")

    @contextmanager
    def download(self, name: str) -> Iterator[Received]:
        """Follow one download; see ``Progress.download``."""
        said = time.monotonic()

        def received(count: int, total: int | None) -> None:
            nonlocal said
            if time.monotonic() - said >= self._every:
                said = time.monotonic()
                whole = f" of {total / MEGABYTE:.0f}" if total else ""
                self.note(f"fetching {name}: {count / MEGABYTE:.0f}{whole} MB")

        self.note(f"fetching {name}")
        yield received

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Follow something silent; see ``Progress.waiting``."""

        def still(seconds: float) -> None:
            self.note(f"{what}: {seconds:.0f} s so far")

        with _Heartbeat(still, self._every):
            yield

    def note(self, text: str) -> None:
        """Say one line to the user."""
        print(f"{printable_lines(text)}\n", end="", file=self._stream, flush=True)


class Bars(Progress):
    """A bar a stage with rate and time left, for a terminal.

    Where nothing is answered for ``quiet`` seconds, a line says how far it is.
    """

    def __init__(self, quiet: float = QUIET) -> None:
        from rich.console import Console

        self._console, self._quiet = Console(stderr=True), quiet

    @contextmanager
    def stage(self, name: str, total: int, at_work: str = "") -> Iterator[Step]:
        """Follow one stage; see ``Progress.stage``."""
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with RichProgress(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=total, rate="")

            def step() -> None:
                bars.advance(task)
                heartbeat.beat()
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f}/s" if speed else "")

            def still(seconds: float) -> None:
                self.note(_still(name, int(bars.tasks[0].completed), total, seconds, at_work))

            with _Heartbeat(still, self._quiet) as heartbeat:
                yield step

    @contextmanager
    def download(self, name: str) -> Iterator[Received]:
        """Follow one download; see ``Progress.download``."""
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as RichProgress

        columns = (TextColumn(name), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with RichProgress(*columns, console=self._console) as bars:
            task = bars.add_task(name, total=None)
            yield lambda count, total: bars.update(task, completed=count, total=total)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Follow something silent; see ``Progress.waiting``."""
        from rich.markup import escape

        with self._console.status(escape(printable_lines(what))):
            yield

    def note(self, text: str) -> None:
        """Say one line to the user."""
        self._console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)


def _still(name: str, done: int, total: int, seconds: float, at_work: str) -> str:
    whom = f" from {at_work}" if at_work else ""
    return f"{name}: {done} of {total}, nothing new{whom} for {seconds:.0f} s"


def progress_for_terminal() -> Progress:
    """Return bars when stderr is a terminal, plain lines otherwise."""
    return Bars() if sys.stderr.isatty() else Lines()
