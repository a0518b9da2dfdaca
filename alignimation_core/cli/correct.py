"""``alignimation correct``: note what the user decides of single photos, beside the recipe."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from alignimation_core.cli.arguments import add_recipe, add_trace, load_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation correct``."""
    add_recipe(parser)
    for option, key, what in (
        ("--leave-out", "leave_out", "leave this photo out"),
        ("--use", "use", "use this photo, whatever the subject selector says"),
    ):
        parser.add_argument(
            option, metavar="PHOTO", nargs="+", action="extend", default=[], dest=key, help=what
        )
    for key, value, what in (
        ("taken", "DATE", "when this photo was taken, such as 2008-04-01"),
        ("face", "FACE", "who in this photo is the subject: 2, the second from the left, or X,Y"),
    ):
        parser.add_argument(
            f"--{key}",
            metavar=("PHOTO", value),
            nargs=2,
            action="append",
            default=[],
            help=what,
        )
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Add to the file of corrections; print what was noted."""
    from alignimation_core import preflight
    from alignimation_core.api.errors import Fault, PhotoError, RecipeError, printable
    from alignimation_core.api.files import PhotoNames
    from alignimation_core.corrections import edit
    from alignimation_core.corrections.document import PARSERS
    from alignimation_core.photos import metadata
    from alignimation_core.photos.order import relative_name

    recipe = load_recipe(given)
    files = {
        relative_name(path, recipe.folder): path for path in preflight.find_photos(recipe).photos
    }
    names = PhotoNames(files)
    changes: dict[str, dict[str, object]] = {}
    faults: list[Fault] = []
    for option, key, photo, value in _wanted(given):
        try:
            changed = changes.setdefault(names.one(photo), {})
            if changed.setdefault(key, PARSERS[key](value)) != PARSERS[key](value):
                raise ValueError("something else is said of this photo, too; say one of them")
        except (LookupError, ValueError) as error:
            faults.append(Fault(f"{option} {photo}", None, "", str(error)))
    if not (changes or faults):
        faults = [Fault("arguments", None, "", "say what, such as --leave-out PHOTO")]
    if faults:
        raise RecipeError(faults)
    file = recipe.folder / recipe.corrections
    for name, changed in changes.items():
        try:
            sha256 = metadata.facts(files[name], recipe.folder).sha256
        except PhotoError:  # it may be the reason to leave the photo out
            sha256 = None
        edit.add(file, names, name, sha256, changed)
        what = ", ".join(_written(*each) for each in changed.items())
        print(printable(f"{file}: {name}: {what}"))
    return 0


def _written(key: str, value: object) -> str:
    """Return a correction as the file has it."""
    return f"{key}: {str(value).lower() if isinstance(value, bool) else value}"


def _wanted(given: argparse.Namespace) -> Iterator[tuple[str, str, str, object]]:
    """Yield option, key of the file, photo and value of all that is asked for."""
    yield from (("--leave-out", "use", photo, False) for photo in given.leave_out)
    yield from (("--use", "use", photo, True) for photo in given.use)
    yield from (("--taken", "taken", photo, date) for photo, date in given.taken)
    for photo, face in given.face:
        number, comma, other = face.partition(",")
        try:
            value: object = [float(number), float(other)] if comma else int(number)
        except ValueError:
            value = face
        yield "--face", "face", photo, value
