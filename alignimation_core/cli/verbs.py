"""``alignimation VERB``: all that is done around a run. A module a verb."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from types import ModuleType
from typing import NoReturn

from alignimation_core.cli import (
    check,
    completion,
    correct,
    explain,
    init,
    people,
    review,
    run,
    schema,
    score,
    stages,
)
from alignimation_core.cli.process import EPILOG, end_with, guarded

VERBS: dict[str, ModuleType] = {
    "run": run,
    "init": init,
    "check": check,
    "correct": correct,
    "explain": explain,
    "people": people,
    "review": review,
    "score": score,
    "list": stages,
    "schema": schema,
    "completion": completion,
}


def command() -> NoReturn:
    """Run ``alignimation``, and end the process."""
    end_with(main)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``alignimation``.

    Returns:
        The exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130
        interrupted.
    """
    parser = argparse.ArgumentParser(
        prog="alignimation",
        description="Turns photos of one subject into an animation in which only time moves.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=version("alignimation"))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        what = str(module.__doc__).partition(": ")[2].splitlines()[0].rstrip(".")
        module.add_arguments(verbs.add_parser(name, help=what, description=f"{what.capitalize()}."))
    completion.complete(parser)
    given = parser.parse_args(arguments)
    work = VERBS[given.verb].work
    return guarded(f"alignimation {given.verb}", lambda: work(given), trace=given.traceback)
