"""Writers whose output stands under its final name only when it is finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from alignimation_core import OutputError, Writer
from alignimation_core.api import atomic


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, and of PyAV, into ``OutputError``."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = atomic.reason(error, "choose another path or format")
        raise OutputError(f"{path}: {reason}") from error


class AtomicWriter(Writer):
    """Writes to ``self.output.part``, a hidden sibling that takes the final name when closed.

    Args:
        path: where the output will stand; folders on the way are made.

    Raises:
        OutputError: it cannot be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with output_errors(path):
            target = path.resolve()  # a link stays a link: what it points to is replaced
            for parent in reversed(target.parents):
                if parent.exists() and not parent.is_dir():
                    raise OutputError(f"{path}: {parent} is a file; choose another path")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.output = atomic.AtomicWrite(target)

    def abort(self) -> None:
        """Remove what was written so far."""
        self.output.discard()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Abort at any exception, with errors as of ``output_errors``."""
        try:
            with output_errors(self.path):
                yield
        except BaseException:
            self.abort()
            raise
