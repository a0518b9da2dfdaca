"""``alignimation init``: write a commented recipe for photos, to be edited and run."""

from __future__ import annotations

import argparse
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alignimation_core.cli.arguments import add_trace

if TYPE_CHECKING:
    from alignimation_core.progress import Progress

OPTIONS = ("subject", "out", "size", "fps")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation init``."""
    parser.add_argument("photos", help="a folder, an archive, a film or an address (s3://...)")
    add_options(parser)
    add_trace(parser)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is asked of photos without a recipe."""
    group = parser.add_argument_group("photos without a recipe")
    subject = group.add_mutually_exclusive_group()
    subject.add_argument(
        "--face", dest="subject", action="store_const", const="face", help="a face (the default)"
    )
    subject.add_argument(
        "--body", dest="subject", action="store_const", const="body", help="a whole person"
    )
    group.add_argument("--out", metavar="DIR", help="folder for the recipe and all results: out/")
    group.add_argument("--size", metavar="WxH", help="size of the film: 1080x1350")
    group.add_argument("--fps", type=_fps, metavar="N", help="photos a second: 12, of bodies 4")


def _fps(text: str) -> float:
    try:
        fps = float(text)
    except ValueError:
        fps = math.nan
    if not 0 < fps <= 240:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of photos a second")
    return fps


def work(given: argparse.Namespace) -> int:
    """Write the recipe; print its path."""
    from alignimation_core.cli import starter

    print(write(given, given.photos, starter.embedder_here() or starter.EMBEDDERS[0]))
    return 0


def first_recipe(given: argparse.Namespace, progress: Progress) -> Path:
    """Write the recipe of a run without one, and tell of it; return its path.

    What tells people apart is fetched, where there is none yet; where that cannot be done, the
    recipe takes the largest face.

    Raises:
        RecipeError: an option is wrong, or is of no use here.
        OutputError: the recipe cannot be written, or another one is there.
    """
    from alignimation_core.api.errors import Fault, RecipeError, WeightsError
    from alignimation_core.cli import starter

    if given.settings:
        what = "is for a recipe; `alignimation init` writes one to be edited"
        raise RecipeError([Fault("--set", None, "", what)])
    embedder = starter.embedder_here()
    if embedder is None and given.subject != "body":
        _recipe_text(given, given.recipe, None)  # what is wrong is said before anything is fetched
        try:
            embedder = _fetched(starter.EMBEDDERS[0], progress)
        except WeightsError as error:
            progress.note(
                f"nothing here tells people apart ({error}); the largest face of each photo is "
                "taken (`largest`)"
            )
    path = write(given, given.recipe, embedder)
    progress.note(f"the recipe of this run is {path}: edit it, and run it again")
    if given.subject == "body" and (advice := starter.without_gpu()):
        progress.note(advice)
    return path


def _fetched(embedder: str, progress: Progress) -> str | None:
    """Fetch the weights of an embedder; return its name, or None where it is not installed.

    Raises:
        WeightsError: they cannot be fetched.
    """
    from alignimation_core.api import weights
    from alignimation_core.plugin.registry import registry

    found = registry().stages["embedder"].get(embedder)
    if found is None:
        return None
    for needed, _ in found.stage.model_validate({}).weights_needed():
        with progress.download(needed.filename) as received:
            weights.fetch(needed, progress=received)
    return embedder


def refuse_options(given: argparse.Namespace) -> None:
    """Refuse the options of photos without a recipe, where there is one.

    Raises:
        RecipeError: one is given.
    """
    from alignimation_core.api.errors import Fault, RecipeError

    for name in OPTIONS:
        if (value := getattr(given, name)) is not None:
            option = f"--{value if name == 'subject' else name}"
            what = "is for photos without a recipe; write it into the recipe, or use --set"
            raise RecipeError([Fault(option, None, "", what)])


def write(given: argparse.Namespace, photos: str, embedder: str | None) -> Path:
    """Write a recipe for photos into the output folder, and return its path.

    Raises:
        RecipeError: an option is wrong, or there are no photos.
        OutputError: the recipe cannot be written, or another one is there.
    """
    from alignimation_core.api import atomic
    from alignimation_core.api.errors import OutputError

    path, text = _recipe_text(given, photos, embedder)
    try:
        if os.path.lexists(path):
            if path.read_text(encoding="utf-8", errors="replace") == text:
                return path
            raise OutputError(
                f"{path} is there already, and says something else; run it "
                f"(alignimation-run {path}), move it away, or give another --out"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic.AtomicWrite(path) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: {atomic.reason(error, 'give another --out')}") from error
    return path


def _recipe_text(given: argparse.Namespace, photos: str, embedder: str | None) -> tuple[Path, str]:
    """Return where the recipe for photos is to lie, and its text.

    Raises:
        RecipeError: an option is wrong, or there are no photos.
    """
    import yaml

    from alignimation_core import preflight
    from alignimation_core.api import urls
    from alignimation_core.api.errors import Fault, RecipeError
    from alignimation_core.cli import starter
    from alignimation_core.recipe.recipe import Recipe

    out = given.out or "out"
    if urls.is_address(out):
        what = "expected a folder here; write an address into the recipe, as `output`"
        raise RecipeError([Fault("--out", None, "", what)])
    folder = Path(out)
    path = folder / starter.NAME
    _refuse_no_photos(photos)
    there = written = photos
    if not urls.is_address(photos):
        there, written = str(Path(photos).resolve()), _relative(Path(photos), folder)
    size = given.size or "1080x1350"
    text = starter.text(written, given.subject or "face", embedder, size, given.fps)
    settings = yaml.safe_load(text)
    try:
        Recipe.of(settings, folder=folder)
        preflight.find_photos(Recipe.of({**settings, "photos": there}, folder=folder))
    except RecipeError as error:
        given_as = {"photos[0]": photos, "canvas.size": f"--size {size}"}
        raise RecipeError(
            [
                replace(fault, where=given_as[fault.field], field="")
                if fault.field in given_as
                else fault
                for fault in error.faults
            ]
        ) from None
    return path, text


def _refuse_no_photos(photos: str) -> None:
    """Refuse an empty name, and a file of anything else, such as a recipe.

    Raises:
        RecipeError: it is one.
    """
    from alignimation_core.api.errors import Fault, PhotoError, RecipeError
    from alignimation_core.cli import starter
    from alignimation_core.photos.image_file import opened

    what = "" if photos else "give a folder of photos, an archive, a film or an address"
    if photos and not starter.is_photos(photos) and Path(photos).is_file():
        try:
            with opened(Path(photos)):
                pass
        except PhotoError as error:
            what = error.reason
            if Path(photos).suffix.lower() in starter.RECIPES:
                what = f"this is a recipe, no photos; run it: alignimation-run {photos}"
    if what:
        raise RecipeError([Fault(photos or "photos", None, "", what)])


def _relative(photos: Path, folder: Path) -> str:
    """Return photos as a recipe in the folder names them."""
    try:
        return Path(os.path.relpath(photos.resolve(), folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return photos.resolve().as_posix()
