"""The process of a command: how it is interrupted, how it ends, and what it says of errors.

It imports little, for until ``end_with`` an interrupt ends in a traceback.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any, NoReturn, TextIO, cast

EPILOG = """\
exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130 interrupted
"""
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Ctrl-C, being asked to end, and a terminal that is closed: a run ends the same way."""
_heard: list[int] = []
"""Those of them that have come."""


def end_with(main: Callable[[], int]) -> NoReturn:
    """Do the command's work, and end the process: at once, whatever stage is still at work."""
    gc.set_threshold(500_000, 20, 100)  # to look through what torch imports takes half a second
    _open_standard_streams()
    sys.unraisablehook = _interrupted_again
    stderr = _Listened(sys.stderr)
    sys.stderr = cast("TextIO", stderr)
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever a file is called, it can be told
        sys.stdout.reconfigure(errors="backslashreplace")
    status: int | None = None

    def leave() -> None:
        if status is not None:
            print(end="", flush=True)  # also where there is no stdout
            sys.stderr.flush()
            os._exit(status)  # to take down all that torch has built takes half a second

    atexit.register(leave)  # who registers first is called last
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, _stop)
    try:
        status = main()
    except KeyboardInterrupt:  # before the work has begun, or once it is over
        status = 130
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # it ends already
    if stderr.lost:
        status = 130
    if threading.active_count() > 1:  # a thread in the middle of a batch can only be left
        leave()
    sys.exit(status)


def _stop(number: int, _: object) -> NoReturn:
    _heard.append(number)
    raise KeyboardInterrupt


def guarded(program: str, work: Callable[[], int], *, trace: bool) -> int:
    """Do the work of a command, and turn what it raises into a line and an exit status.

    Args:
        program: what the lines on stderr begin with.
        work: it returns its exit status.
        trace: whether to show where an error came from.

    Returns:
        The exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130
        interrupted.
    """
    try:
        from alignimation_core.cli.warned import show_warnings

        show_warnings(details=trace)
        status = work()
        print(end="", flush=True)
        return status
    except BaseException as error:
        # an interrupt in the middle of Python's own locks makes another error of itself
        if _heard or isinstance(error, KeyboardInterrupt):
            print(f"{program}: interrupted; nothing half-written was left", file=sys.stderr)
            return 130
        if trace and not isinstance(error, BrokenPipeError):
            import traceback

            traceback.print_exc()
        return _told(program, error)


def _told(program: str, error: BaseException) -> int:
    """Say what an error says; return the exit status. Raises what is no error of the work."""
    from alignimation_core.api.errors import (
        AlignimationError,
        PluginError,
        RecipeError,
        printable_lines,
    )

    if isinstance(error, OSError):
        if not isinstance(error, BrokenPipeError):
            print(f"{program}: {printable_lines(str(error))}", file=sys.stderr)
        _discard(sys.stdout)
        return 1
    if not isinstance(error, AlignimationError):
        raise error
    lines = printable_lines(str(error)).split("\n")
    print("\n".join(f"{program}: {line}" for line in lines), file=sys.stderr)
    return 2 if isinstance(error, RecipeError | PluginError) else 1


def _open_standard_streams() -> None:
    """Open what the process was started without: the next file would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for as long as the process


def _discard(stream: TextIO) -> None:
    """Have what is still to be written to a stream go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _interrupt() -> None:
    """Raise ``KeyboardInterrupt`` in the main thread."""
    if hasattr(signal, "pthread_kill"):  # which wakes it, whatever it waits for
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        interrupt_main(signal.SIGTERM)


def _interrupted_again(lost: sys.UnraisableHookArgs) -> None:
    """Have an interrupt come again that Python has dropped: it met an object's ``__del__``."""
    if lost.exc_type is KeyboardInterrupt:
        threading.Timer(0.01, _interrupt).start()
    else:
        sys.__unraisablehook__(lost)


class _Listened:
    """A stream; once nobody can read it any more, the process is asked to end, as by SIGTERM.

    Attributes:
        lost: whether nobody can.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.lost = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; nothing where nobody reads it."""
        self._attempt(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Hand over what was written."""
        self._attempt(self._stream.flush)

    def _attempt(self, verb: Callable[[], object]) -> None:
        try:
            verb()
        except OSError:
            _discard(self._stream)
            if not self.lost:
                self.lost = True
                _interrupt()


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """Have what plugins print, in C and in processes of their own too, go to stderr.

    So stdout holds results alone.
    """
    print(end="", flush=True)
    stdout = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Raise an interrupt at the end: torch, while it is imported, may swallow one."""
    held: list[int] = []
    before = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, lambda number, _: held.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt
