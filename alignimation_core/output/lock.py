"""One run has an output folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from alignimation_core.api.errors import OutputError

POLL = 0.2
"""How often it is tried, seconds."""
FAR = 1 << 30
"""The byte that is locked on Windows, where a locked one cannot be read: far behind the text."""


@contextmanager
def alone(path: Path, whose: str, note: Callable[[str], None], *, wait: bool) -> Iterator[bool]:
    """Hold the lock of an output folder; yield whether another run had it and was waited for.

    The operating system lets it go when the process ends, however that ends; the file stays. Where
    a file system knows no locks, a note says so.

    Args:
        path: the lock's file, in a folder that exists.
        whose: the output folder, for messages.
        note: takes one line for the user.
        wait: whether to wait for a run that holds it.

    Raises:
        OutputError: another run holds it, and it is not to be waited for; or the file cannot be
            made.
    """
    waited = False
    while True:
        descriptor = _open(path)
        try:
            taken = _take(descriptor)
        except OSError as error:
            note(
                f"{whose}: no lock can be had there ({error.strerror}); see to it that no other "
                "run writes there at the same time"
            )
            break
        if taken and _is_there(descriptor, path):
            break
        holder = _holder(descriptor)
        os.close(descriptor)
        if taken:
            continue  # who had it before removed the file
        if not wait:
            raise OutputError(
                f"{whose}: another run is writing there{holder}; wait until it ends, or set "
                "`output` to another folder"
            )
        if not waited:
            note(f"{whose}: another run is writing there{holder}; waiting until it ends")
            waited = True
        time.sleep(POLL)
    try:
        with suppress(OSError):  # a full disk: then nobody is told who holds it
            _sign(descriptor)
        yield waited
    finally:
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _open(path: Path) -> int:
    if path.is_symlink():
        raise OutputError(f"{path} is a link; nothing is written through links; remove it")
    flags = os.O_RDWR | os.O_CREAT
    for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"):  # as far as the system knows them
        flags |= getattr(os, name, 0)
    try:
        return os.open(path, flags, 0o666)
    except OSError as error:
        what = error.strerror or type(error).__name__
        raise OutputError(f"{path}: the lock cannot be used: {what}; remove it") from error


def _take(descriptor: int) -> bool:
    """Take the lock; return whether nobody else has it.

    Raises:
        OSError: there are no locks here.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_there(descriptor: int, path: Path) -> bool:
    """Return whether the file that is open is still the one of that name."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _sign(descriptor: int) -> None:
    since = datetime.now().astimezone().isoformat(" ", "seconds")
    text = f"process {os.getpid()} on {socket.gethostname()}, since {since}"
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, text.encode("utf-8", "replace"))


def _holder(descriptor: int) -> str:
    """Return who holds the lock, in brackets; nothing where that is not known."""
    with suppress(OSError):
        os.lseek(descriptor, 0, os.SEEK_SET)
        if text := os.read(descriptor, 500).decode("utf-8", "replace"):
            return f" ({text})"
    return ""
