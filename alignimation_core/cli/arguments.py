"""Arguments that several commands share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignimation_core.recipe.recipe import Recipe


def add_trace(parser: argparse.ArgumentParser) -> None:
    """Add what shows where an error came from."""
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add what overrides a recipe."""
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="override a setting of the recipe, such as canvas.size=1080x1080",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, mps or auto")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the recipe, and what overrides it."""
    parser.add_argument("recipe", help="the YAML recipe")
    add_settings(parser)


def load_recipe(given: argparse.Namespace) -> Recipe:
    """Return the recipe that the arguments name, as they override it.

    Raises:
        RecipeError: it cannot be read, or something in it is wrong.
    """
    from alignimation_core.recipe.recipe import Recipe

    recipe = Recipe.load(given.recipe, settings=given.settings)
    return recipe.on(given.device) if given.device else recipe
