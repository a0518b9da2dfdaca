"""``alignimation VERB``: all that is done around a run. A module a verb."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from alignimation_core.cli.process import EPILOG, end_with, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "run": "run",
    "init": "init",
    "check": "check",
    "correct": "correct",
    "explain": "explain",
    "people": "people",
    "review": "review",
    "score": "score",
    "list": "stages",
    "schema": "schema",
    "new-plugin": "new_plugin",
    "completion": "completion",
}
"""The modules of the verbs; imported once an interrupt finds its handler."""


def command() -> NoReturn:
    """Run ``alignimation``, and end the process."""
    end_with(main)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``alignimation``.

    Returns:
        The exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130
        interrupted.
    """
    import argparse
    import difflib
    from importlib.metadata import version

    from alignimation_core.cli import completion

    parser = argparse.ArgumentParser(
        prog="alignimation",
        description="Turns photos of one subject into an animation in which only time moves.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=version("alignimation"))
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    modules = {verb: import_module(f"alignimation_core.cli.{name}") for verb, name in VERBS.items()}
    for name, module in modules.items():
        what = str(module.__doc__).partition(": ")[2].splitlines()[0].rstrip(".")
        module.add_arguments(verbs.add_parser(name, help=what, description=f"{what.capitalize()}."))
    completion.complete(parser)
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = next(iter(arguments), "")
    if verb and verb[0] != "-" and verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(VERBS)}"
        parser.error(f"there is no verb {verb!r}{meant}")
    given, others = parser.parse_known_args(arguments)
    if others:
        verb = next((other[2:] for other in others if other[2:] in VERBS), "")
        meant = f"; there is `alignimation {verb}`" if verb else ""
        parser.error(f"unrecognized arguments: {' '.join(others)}{meant}")
    work = modules[given.verb].work
    return guarded(f"alignimation {given.verb}", lambda: work(given), trace=given.traceback)
