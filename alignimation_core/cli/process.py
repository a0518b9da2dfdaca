"""The process of a command: how it is interrupted, how it ends, and what it says of errors."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from alignimation_core.api.errors import (
    AlignimationError,
    PluginError,
    RecipeError,
    printable_lines,
)

EPILOG = """\
exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130 interrupted
"""


def end_with(main: Callable[[], int]) -> NoReturn:
    """Do the command's work, and end the process: at once, whatever stage is still at work."""
    gc.set_threshold(500_000, 20, 100)  # to look through what torch imports takes half a second
    if isinstance(sys.stdout, io.TextIOWrapper):  # whatever a file is called, it can be told
        sys.stdout.reconfigure(errors="backslashreplace")
    status: int | None = None

    def leave() -> None:
        if status is not None:
            print(end="", flush=True)  # also where there is no stdout
            sys.stderr.flush()
            os._exit(status)  # to take down all that torch has built takes half a second

    atexit.register(leave)  # who registers first is called last
    status = main()
    if threading.active_count() > 1:  # a thread in the middle of a batch can only be left
        leave()
    sys.exit(status)


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
    warnings = logging.StreamHandler()
    warnings.setFormatter(_Printable())
    logging.basicConfig(handlers=[warnings])
    if trace:
        logging.getLogger("alignimation_core").setLevel(logging.DEBUG)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as Ctrl-C does
    try:
        status = work()
        print(end="", flush=True)
        return status
    except KeyboardInterrupt:  # Ctrl-C, or being asked to stop
        print(f"{program}: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if trace:
            traceback.print_exc()
        print(f"{program}: {printable_lines(str(error))}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except AlignimationError as error:
        if trace:
            traceback.print_exc()
        lines = printable_lines(str(error)).split("\n")
        print("\n".join(f"{program}: {line}" for line in lines), file=sys.stderr)
        return 2 if isinstance(error, RecipeError | PluginError) else 1


class _Printable(logging.Formatter):
    """Warnings of plugins, of which some name photos."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Raise an interrupt at the end: torch, while it is imported, may swallow one."""
    held: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: held.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        raise KeyboardInterrupt
