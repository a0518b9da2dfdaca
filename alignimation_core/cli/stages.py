"""``alignimation list``: list every stage of every plugin, or tell all of one."""

from __future__ import annotations

import argparse

from alignimation_core.cli.arguments import add_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation list``."""
    parser.add_argument(
        "name",
        nargs="?",
        help="a kind of stage, such as detectors; a stage, such as mtcnn, of which all is told "
        "(options, weights, licences); or canvas, executor, refine, report, sample",
    )
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print the stages with their options, and the broken plugins."""
    from alignimation_core.cli import listing

    print(listing.listing(getattr(given, "name", None)))
    return 0
