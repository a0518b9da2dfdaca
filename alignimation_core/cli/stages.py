"""``alignimation list``: list every stage of every plugin."""

from __future__ import annotations

import argparse

from alignimation_core.cli.arguments import add_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation list``."""
    add_trace(parser)


def work(_: argparse.Namespace) -> int:
    """Print the stages with their options, and the broken plugins."""
    from alignimation_core import summary

    print(summary.listing())
    return 0
