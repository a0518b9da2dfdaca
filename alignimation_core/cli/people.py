"""``alignimation people``: list who appears in the photos, with a contact sheet of each."""

from __future__ import annotations

import argparse

from alignimation_core.cli.arguments import add_recipe, add_trace, load_recipe
from alignimation_core.cli.process import interrupts_held, prints_to_stderr


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation people``."""
    add_recipe(parser)
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print who was found, and where the sheets are."""
    recipe = load_recipe(given)
    with interrupts_held():
        from alignimation_core import people
        from alignimation_core.output.remote import output_folder
        from alignimation_core.progress import progress_for_terminal

    progress = progress_for_terminal()
    with prints_to_stderr():
        found = people.find(recipe, progress)
        sheets = people.write_sheets(found, output_folder(recipe).folder)
    for individual, path in zip(found, sheets, strict=True):
        count = len(individual.faces)
        photos = f"{count} photo{'' if count == 1 else 's'}"
        print(f"{individual.number}: {photos}, {individual.years}, {path}")
    if len(found) > 1:
        progress.note("to take one: `subject_selector: {use: identity, person: 2}`")
    return 0
