"""Progress on stderr: a bar a stage on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from alignimation_core.api.errors import printable_lines

Step = Callable[[], None]
Received = Callable[[int, int | None], None]
MEGABYTE = 1_000_000


class Progress:
    """Takes notice of the run's progress; this one is silent."""

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:  # noqa: ARG002
        """Follow one stage of so many photos; yield a function to call after each."""
        yield lambda: None

    @contextmanager
    def download(self, name: str) -> Iterator[Received]:  # noqa: ARG002
        """Follow the download of a file.

        Yields:
            A function to call with the bytes received so far and, where known, in all.
        """
        yield lambda *_: None

    def note(self, text: str) -> None:
        """Say one line to the user."""


class Lines(Progress):
    """Plain lines, for logs and pipes: one every ten seconds and one after each stage."""

    def __init__(self, stream: TextIO | None = None, every: float = 10.0) -> None:
        self._stream, self._every = stream or sys.stderr, every

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
        """Follow one stage; see ``Progress.stage``."""
        begun = said = time.monotonic()
        done = 0

        def step() -> None:
            nonlocal done, said
            done += 1
            now = time.monotonic()
            if now - said >= self._every:
                said = now
                left = (now - begun) / done * (total - done)
                self.note(f"{name}: {done} of {total}, about {left:.0f} s left")

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

    def note(self, text: str) -> None:
        """Say one line to the user."""
        print(printable_lines(text), file=self._stream, flush=True)


class Bars(Progress):
    """A bar a stage with rate and time left, for a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextmanager
    def stage(self, name: str, total: int) -> Iterator[Step]:
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
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f}/s" if speed else "")

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

    def note(self, text: str) -> None:
        """Say one line to the user."""
        self._console.print(printable_lines(text), markup=False, highlight=False, soft_wrap=True)


def progress_for_terminal() -> Progress:
    """Return bars when stderr is a terminal, plain lines otherwise."""
    return Bars() if sys.stderr.isatty() else Lines()
