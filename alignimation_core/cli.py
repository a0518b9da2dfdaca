"""``alignimation-run``: arguments and exit codes, nothing else."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
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


def command() -> NoReturn:
    """Run the command, and end the process: at once, whatever stage is still at work."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130
        interrupted.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    if not (given.recipe or given.list or given.schema):
        parser.error("give a recipe, such as recipe.yaml, or --list")
    warnings = logging.StreamHandler()
    warnings.setFormatter(_Printable())
    logging.basicConfig(handlers=[warnings])
    if given.traceback:
        logging.getLogger("alignimation_core").setLevel(logging.DEBUG)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as Ctrl-C does
    try:
        status = _do(given)
        print(end="", flush=True)
        return status
    except KeyboardInterrupt:  # Ctrl-C, or being asked to stop
        print("alignimation-run: interrupted; nothing half-written was left", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if given.traceback:
            traceback.print_exc()
        print(f"alignimation-run: {printable_lines(str(error))}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except AlignimationError as error:
        if given.traceback:
            traceback.print_exc()
        print(
            "\n".join(
                f"alignimation-run: {line}" for line in printable_lines(str(error)).split("\n")
            ),
            file=sys.stderr,
        )
        return 2 if isinstance(error, RecipeError | PluginError) else 1


class _Printable(logging.Formatter):
    """Warnings of plugins, of which some name photos."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_lines(super().format(record))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alignimation-run",
        description="Turns photos of one subject into an animation in which only time moves.",
        epilog=EPILOG,
    )
    parser.add_argument("recipe", nargs="?", help="the YAML recipe")
    parser.add_argument("--version", action="version", version=version("alignimation"))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the recipe, run nothing")
    what.add_argument("--list", action="store_true", help="list every stage of every plugin")
    what.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of recipes, for editors"
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="override a setting of the recipe, such as canvas.size=1080x1080",
    )
    parser.add_argument(
        "--limit", metavar="N", type=_positive, help="a trial run with the first N photos"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have stored")
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps or auto")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    return parser


@contextmanager
def _interrupts_held() -> Iterator[None]:
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


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of photos")
    return int(text)


def _do(given: argparse.Namespace) -> int:
    from alignimation_core import summary

    if given.list:
        print(summary.listing())
        return 0
    if given.schema:
        print(summary.schema())
        return 0
    from alignimation_core.recipe.recipe import Recipe

    recipe = Recipe.load(given.recipe, settings=given.settings)
    if given.device:
        recipe = recipe.on(given.device)
    if given.check:
        from alignimation_core import preflight

        print(preflight.check(recipe))
        return 0
    with _interrupts_held():
        from alignimation_core.pipeline import run
        from alignimation_core.progress import progress_for_terminal

    progress = progress_for_terminal()
    gc.freeze()  # what the imports have made stays: it need not be looked through again
    try:
        record = run(recipe, limit=given.limit, fresh=given.fresh, progress=progress)
    finally:
        gc.unfreeze()
    progress.note(summary.summary(record))
    for output in record.outputs:
        print(record.where(output))
    return 0
