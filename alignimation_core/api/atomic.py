"""Atomic writes: temporary sibling, fsync, rename."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path

_ADVICE = {
    errno.ENOENT: "its folder is gone; bring it back, or choose another output folder",
    errno.ENOSPC: "the disk is full; make room and run again",
    errno.EDQUOT: "the disk quota is used up; make room and run again",
    errno.EFBIG: "the file grew larger than this disk or user may write; make it smaller",
    errno.EROFS: "the disk is read-only; choose another output folder",
    errno.EACCES: "no permission to write there; choose another output folder",
    errno.EPERM: "no permission to write there; choose another output folder",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter path",
}


def reason(error: Exception, otherwise: str) -> str:
    """Return why a file cannot be written, and what to do.

    Args:
        error: what the operating system said, or one of PyAV, which carries the same.
        otherwise: what to do about an error that is not among the usual ones.
    """
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return _ADVICE.get(getattr(error, "errno", None) or 0, f"{text}; {otherwise}")


class AtomicWrite:
    """A file or a folder that takes its name only when the disk holds the whole of it.

    A context manager that gives ``part``, publishes it after success, and discards it after any
    exception. A writer that lives longer calls ``publish`` or ``discard`` itself. What processes
    that have ended left is removed.

    Attributes:
        part: where to write until then, a hidden sibling; nothing is there yet.

    Args:
        final: where it will stand; its folder exists.

    Raises:
        OSError: the folder cannot be read, or what is left there cannot be removed.
    """

    def __init__(self, final: Path) -> None:
        self._final, self.part = final, final.with_name(f".{final.name}.part-{os.getpid()}")
        _remove(self.part)
        remove_left(final)

    def publish(self) -> Path:
        """Put what was written under its final name, in place of what stands there.

        It is written through to the disk first, so that after a power cut there is either the old
        or the new one, and never a half. A folder is replaced by a folder in two steps; if the
        process is killed between them, no folder stands there.

        Returns:
            The final path.

        Raises:
            OSError: it cannot be put there; then what stood there still does.
        """
        part, final = self.part, self._final
        _write_through(part)
        if part.is_dir() and final.is_dir():
            old = part.with_name(f"{part.name}-old")
            final.rename(old)
            try:
                part.rename(final)
            except BaseException:
                old.rename(final)
                raise
            _remove(old)
        else:
            part.replace(final)
        sync(final.parent)
        return final

    def discard(self) -> None:
        """Remove what was written."""
        _remove(self.part)

    def __enter__(self) -> Path:
        """Return ``part``."""
        return self.part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Publish after success; remove what is left in any case."""
        try:
            if kind is None:
                self.publish()
        finally:
            with suppress(OSError):
                self.discard()


def remove_left(final: Path) -> None:
    """Remove what processes that have ended left of writing a file or a folder.

    Args:
        final: where it was to stand; its folder exists.

    Raises:
        OSError: the folder cannot be read, or what is left there cannot be removed.
    """
    hidden = f".{final.name}.part-"
    for left in final.parent.iterdir():
        process = left.name.removeprefix(hidden)
        if process != left.name and not _running(process.removesuffix("-old")):
            _remove(left)


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it; it need not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_through(path: Path) -> None:
    if path.is_dir():
        for inside in path.iterdir():
            _write_through(inside)
    sync(path)


def sync(path: Path) -> None:
    """Wait until the disk holds a file's bytes, or a folder's names.

    Raises:
        OSError: it does not.
    """
    if os.name == "nt":
        return  # a file that is only open for reading, or a folder, cannot be synchronised there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a disk that knows no such thing
            raise
    finally:
        os.close(descriptor)


def reserve(path: Path, size: int) -> None:
    """Take room on the disk, in a file of so many bytes.

    Raises:
        OSError: there is not so much.
    """
    with path.open("wb") as stream:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, size)
        else:
            stream.write(bytes(size))


def _running(process: str) -> bool:
    if os.name == "nt":
        return False  # an open file cannot be removed there, and signal 0 is Ctrl-C
    try:
        os.kill(int(process), 0)
    except (OSError, ValueError, OverflowError) as error:
        return not isinstance(error, ProcessLookupError)
    return True
