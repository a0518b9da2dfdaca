"""Outputs appear under their final name only when they are finished."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from alignimation_core import OutputError

_ADVICE = {
    errno.ENOSPC: "the disk is full; make room and run again",
    errno.EDQUOT: "the disk quota is used up; make room and run again",
    errno.EFBIG: "the file grew larger than this disk or user may write; make it smaller",
    errno.EROFS: "the disk is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder",
    errno.EPERM: "no permission to write there; choose another output folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter path",
}


def _running(process: str) -> bool:
    if os.name == "nt":
        return False  # an open file cannot be removed there, and signal 0 is Ctrl-C
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, and of PyAV, into ``OutputError``."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = _ADVICE.get(
            error.errno or 0, f"{error.strerror or error}; choose another path or format"
        )
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
            hidden = f".{self._target.name}.part-"
            self.part = self._target.with_name(f"{hidden}{os.getpid()}")
            for left in self._target.parent.iterdir():
                process = left.name.removeprefix(hidden)
                if process != left.name and (left == self.part or not _running(process)):
                    _remove(left)

    def _make_parents(self) -> None:
        for parent in reversed(self._target.parents):
            if parent.exists() and not parent.is_dir():
                raise OutputError(f"{self.final}: {parent} is a file; choose another path")
        self._target.parent.mkdir(parents=True, exist_ok=True)

    def publish(self) -> None:
        """Put what was written under the final name, in place of what stood there."""
        if not (self.part.is_dir() and self._target.is_dir()):
            self.part.replace(self._target)
            return
        old = self.part.with_name(f"{self.part.name}-old")
        self._target.rename(old)
        try:
            self.part.rename(self._target)
        except BaseException:
            old.rename(self._target)
            raise
        _remove(old)

    def discard(self) -> None:
        """Remove what was written."""
        _remove(self.part)
