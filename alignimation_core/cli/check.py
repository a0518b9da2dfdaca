"""``alignimation check``: check a recipe, run nothing."""

from __future__ import annotations

import argparse

from alignimation_core.cli.arguments import add_recipe, add_trace, load_recipe
from alignimation_core.cli.process import prints_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation check``."""
    add_recipe(parser)
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print what a run of the recipe would work on."""
    from alignimation_core import preflight
    from alignimation_core.progress import progress_for_terminal

    with prints_to_stderr():
        told = preflight.check(load_recipe(given), progress_for_terminal())
    print(told)
    return 0
