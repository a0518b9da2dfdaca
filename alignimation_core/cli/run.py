"""``alignimation-run``, and ``alignimation run``: make the animation."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, NoReturn

from alignimation_core.cli.process import (
    EPILOG,
    end_with,
    guarded,
    interrupts_held,
    prints_to_stderr,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from alignimation_core.record import Record

WHAT = "the YAML recipe; or a folder of photos, an archive or a film, for which one is written"


def command() -> NoReturn:
    """Run ``alignimation-run``, and end the process."""
    end_with(main)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``alignimation-run``.

    Returns:
        The exit status: 0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130
        interrupted.
    """
    import argparse
    from importlib.metadata import version

    from alignimation_core.cli import check, completion, init, schema, stages

    parser = argparse.ArgumentParser(
        prog="alignimation-run",
        description="Turns photos of one subject into an animation in which only time moves.",
        epilog=EPILOG,
    )
    parser.add_argument("recipe", nargs="?", metavar="recipe | photos", help=WHAT)
    parser.add_argument("--version", action="version", version=version("alignimation"))
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="check the recipe, run nothing")
    what.add_argument("--list", action="store_true", help="list every stage of every plugin")
    what.add_argument(
        "--schema", action="store_true", help="print the JSON Schema of recipes, for editors"
    )
    _add_options(parser)
    completion.complete(parser)
    given = parser.parse_args(arguments)
    if not (given.recipe or given.list or given.schema):
        parser.error("give a recipe, such as recipe.yaml, or --list")
    asked = {stages.work: given.list, schema.work: given.schema, check.work: given.check}
    chosen = next((each for each, wanted in asked.items() if wanted), work)
    if chosen is not work and any(getattr(given, name) is not None for name in init.OPTIONS):
        parser.error("--face, --body, --out, --size and --fps are for a run of photos")
    return guarded(parser.prog, lambda: chosen(given), trace=given.traceback)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation run``."""
    parser.add_argument("recipe", metavar="recipe | photos", help=WHAT)
    _add_options(parser)


def _add_options(parser: argparse.ArgumentParser) -> None:
    from alignimation_core.cli import init
    from alignimation_core.cli.arguments import add_settings, add_trace

    init.add_options(parser)
    add_settings(parser)
    parser.add_argument(
        "--limit",
        metavar="N",
        type=_positive,
        help="a trial run with the first N photos, into the folder trial of the output",
    )
    parser.add_argument(
        "--no-wait",
        action="store_false",
        dest="wait",
        help="fail where another run is writing into the output folder",
    )
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs have stored")
    add_trace(parser)


def _positive(text: str) -> int:
    from argparse import ArgumentTypeError

    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no number of photos")
    return int(text)


def work(given: argparse.Namespace) -> int:
    """Run the recipe, or that of the photos; print the paths of its outputs."""
    with prints_to_stderr():
        record = _run(given)
    for output in record.outputs:
        print(record.where(output))
    return 0


def _run(given: argparse.Namespace) -> Record:
    from alignimation_core.cli import init
    from alignimation_core.cli.arguments import load_recipe
    from alignimation_core.cli.starter import is_photos
    from alignimation_core.progress import progress_for_terminal

    progress = progress_for_terminal()
    if is_photos(given.recipe):
        given.recipe = init.first_recipe(given, progress)
    else:
        init.refuse_options(given)
    recipe = load_recipe(given)
    with interrupts_held():
        from alignimation_core.pipeline import run
        from alignimation_core.summary import summary

    gc.freeze()  # what the imports have made stays: it need not be looked through again
    try:
        record = run(
            recipe, limit=given.limit, fresh=given.fresh, wait=given.wait, progress=progress
        )
    finally:
        gc.unfreeze()
    progress.note(summary(record))
    return record
