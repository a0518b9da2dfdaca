"""``alignimation schema``: print the JSON Schema of recipes, for editors."""

from __future__ import annotations

import argparse

from alignimation_core.cli.arguments import add_trace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation schema``."""
    add_trace(parser)


def work(_: argparse.Namespace) -> int:
    """Print the schema."""
    from alignimation_core import summary

    print(summary.schema())
    return 0
