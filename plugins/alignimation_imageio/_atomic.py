"""Outputs appear under their final name only when they are finished."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from alignimation_core import OutputError
from alignimation_core.api import atomic


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, and of PyAV, into ``OutputError``."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = atomic.reason(error, "choose another path or format")
        raise OutputError(f"{path}: {reason}") from error


class Place:
    """A final path, and a hidden one beside it in which the output grows.

    Attributes:
        final: where the output will stand.
        part: where it is written until then, in the same folder; it does not exist yet.
    """

    def __init__(self, final: Path) -> None:
        self.final = final
        with output_errors(final):
            # a link stays a link: what it points to is replaced
            self._target = final.resolve()
            self._make_parents()
            self.part = atomic.part_of(self._target)

    def _make_parents(self) -> None:
        for parent in reversed(self._target.parents):
            if parent.exists() and not parent.is_dir():
                raise OutputError(f"{self.final}: {parent} is a file; choose another path")
        self._target.parent.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Put what was written under the final name, in place of what stood there."""
        atomic.put(self.part, self._target)

    def discard(self) -> None:
        """Remove what was written."""
        atomic.remove(self.part)
