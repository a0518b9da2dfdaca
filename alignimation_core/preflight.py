"""Preflight: what is refused before a photo is opened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path, PurePosixPath

from alignimation_core.api import urls, weights
from alignimation_core.api.data import File
from alignimation_core.api.errors import (
    Fault,
    PhotoError,
    RecipeError,
    StageError,
    in_one_line,
)
from alignimation_core.api.files import Listing, PhotoNames
from alignimation_core.api.frame import Canvas
from alignimation_core.api.stages import ComputeStage
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.failure import by_reason
from alignimation_core.output.obstacles import name
from alignimation_core.output.remote import output_folder
from alignimation_core.photos import metadata, order, search
from alignimation_core.photos.image_file import opened
from alignimation_core.progress import Progress
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.recipe.timeline import stretch, zone_of
from alignimation_core.record import RECORD_NAME, REPORT_FOLDER, REPORT_NAME, passed_over


def find_photos(recipe: Recipe, progress: Progress | None = None) -> Listing:
    """Return the photos that the recipe names, each once; and what was passed over.

    What takes long is told to ``progress``.

    Raises:
        RecipeError: a folder, glob or file of the recipe gives no photo, or the reference
            named is not among the photos.
    """
    output = output_folder(recipe).folder.resolve()
    files: dict[str, File] = {}
    faults: list[Fault] = []
    progress = progress or Progress()
    skipped: list[str] = []
    for i, entry in enumerate(recipe.photos):
        found: Sequence[File] = ()
        try:
            place = entry if isinstance(entry, str) else entry.name
            with progress.waiting(f"looking for photos at {place}"):
                found, others, reason = search.find(entry, recipe.folder, recipe.output)
            skipped += others
            if reason and isinstance(entry, str) and not urls.is_address(entry):
                there = (recipe.folder / entry).resolve()
                if output in (there, *there.parents):
                    reason = search.INSIDE.format(output)
        except urls.AddressError as error:
            reason = f"{entry}: {error}"
        except StageError as error:
            reason = (
                f"{entry!r} cannot be looked for: {error.reason}"
                if isinstance(entry, str)
                else str(error)
            )
        except (OSError, ValueError, RuntimeError) as error:
            reason = f"{entry!r} cannot be looked for: {in_one_line(error)}"
        files.update((str(path), path) for path in found)
        if reason:
            faults.append(recipe.fault(("photos", i), reason))
    if not faults:
        faults += _unknown_photos(recipe, files.values())
    if faults:
        raise RecipeError(faults)
    return Listing(
        list(files.values()), [place for place in dict.fromkeys(skipped) if place not in files]
    )


def _unknown_photos(recipe: Recipe, files: Iterable[File]) -> Iterator[Fault]:
    """Yield what is wrong with the photos that the recipe names, of those that there are."""
    if not (named := recipe.photos_named()):
        return
    known = PhotoNames(order.relative_name(path, recipe.folder) for path in files)
    for place, wanted in named.items():
        try:
            known.one(wanted)
        except LookupError as error:
            other = place == ("reference",) and not known.meant(wanted)
            hint = " (`reference` may also be medoid, mean or first)" if other else ""
            yield recipe.fault(place, f"{error}{hint}")


def check_corrections(recipe: Recipe, files: Sequence[File]) -> Corrections:
    """Return the corrections to the photos; also to which of them the recipe leaves out.

    Raises:
        RecipeError: every fault in the corrections or in ``without``, by file and line.
    """
    corrections = Corrections.load(recipe)
    corrections.check(recipe, files)
    return corrections


def check_outputs(recipe: Recipe, *, trial: bool = False) -> None:
    """Refuse outputs that would take the place of the run record, or of what no run wrote.

    And those of a canvas that their format cannot hold.

    Args:
        recipe: whose outputs.
        trial: whether they are those of a trial run.

    Raises:
        RecipeError: what stands in the way, by the path of the renderer.
    """
    taken = {RECORD_NAME: "run record"}
    if recipe.report is not False:
        taken |= {REPORT_NAME: "report", REPORT_FOLDER: "folder of the report"}
    obstacles: list[tuple[Location, str]] = [
        (("renderers", i, "path"), f"{first!r} is the {taken[first]}; choose another name")
        for i, renderer in enumerate(recipe.renderers)
        if (first := PurePosixPath(name(renderer.path)).parts[0]) in taken
        and (first != RECORD_NAME or name(renderer.path) == RECORD_NAME)
    ] or [*output_folder(recipe, trial=trial).obstacles(), *_too_large(recipe)]
    if faults := [recipe.fault(location, text) for location, text in obstacles]:
        raise RecipeError(faults)


def _too_large(recipe: Recipe) -> Iterator[tuple[Location, str]]:
    """Yield the outputs whose format cannot hold the canvas, where the recipe gives its size."""
    if (shape := recipe.canvas.shape()) is None:
        return
    canvas = Canvas(*shape, alpha=recipe.canvas.background == "remove")
    for i, renderer in enumerate(recipe.renderers):
        try:
            reason = renderer.refuses(canvas)
        except Exception as error:  # any failure of a plugin's own code
            reason = f"{renderer.name!r} failed to say what it can write: {in_one_line(error)}"
        if reason is not None:
            yield ("renderers", i), reason


def check_weights(recipe: Recipe) -> None:
    """Refuse files of weights that the recipe names and that are not there.

    Raises:
        RecipeError: with each of them.
    """
    faults: list[Fault] = []
    for _, place, stage in recipe.stages():
        try:
            missing = [
                local
                for needed, local in stage.weights_needed()
                if local is not None and weights.find(needed, local) is None
            ]
        except Exception as error:  # any failure of a plugin's own code
            what = f"{stage.name!r} failed to say which weights it needs: {in_one_line(error)}"
            faults.append(recipe.fault(place, what))
            continue
        for local in missing:
            options = [n for n in type(stage).model_fields if getattr(stage, n) == local]
            what = f"{local} is no file; give another, or leave this out for the published one"
            faults.append(recipe.fault((*place, *options[:1]), what))
    if faults:
        raise RecipeError(faults)


def check_devices(recipe: Recipe) -> None:
    """Refuse devices that this machine does not have; imports torch where one is named.

    Raises:
        RecipeError: with each of them.
    """
    faults: list[Fault] = []
    for _, place, stage in recipe.stages():
        if isinstance(stage, ComputeStage) and stage.device not in ("auto", "cpu"):
            try:
                stage.torch_device()
            except ValueError as error:
                faults.append(recipe.fault((*place, "device"), str(error)))
    if faults:
        raise RecipeError(faults)


def _unreadable(files: Sequence[File]) -> list[PhotoError]:
    """Return why files are no pictures, as far as their beginnings tell; of those that lie here."""
    errors: list[PhotoError] = []
    for path in files:
        if isinstance(path, Path):
            try:
                with opened(path):
                    pass
            except PhotoError as error:
                errors.append(error)
    return errors


def _check_time(recipe: Recipe, corrections: Corrections, files: Sequence[File]) -> None:
    """Refuse a time in which no photo was taken, where all of them lie here.

    Raises:
        RecipeError: no photo is of the recipe's time.
    """
    here = [path for path in files if isinstance(path, Path)]
    if len(here) < len(files) or recipe.photos_named() or not (recipe.since or recipe.until):
        return
    start, end = stretch(recipe.since, recipe.until)
    zone = zone_of(recipe.time_zone) if recipe.time_zone else None
    corrected = (entry.correction.taken for entry in corrections.entries)
    seen: list[datetime] = []
    for taken in (*filter(None, corrected), *_times(here, recipe.folder, zone)):
        if start <= taken < end:
            return
        seen.append(taken)
    if seen:
        when = f"from {min(seen).date()} to {max(seen).date()}"
        what = f"no photo is of this time: they were taken {when}; correct it"
        raise RecipeError([recipe.fault(("from",) if recipe.since else ("to",), what)])


def _times(files: Sequence[Path], folder: Path, zone: tzinfo | None) -> Iterator[datetime]:
    """Yield when photos were taken, of those that can be read."""
    for path in files:
        with suppress(PhotoError):
            taken = metadata.taken(path, folder)
            yield order.local(taken.at, taken.zone, zone)[0]


def check(recipe: Recipe, progress: Progress | None = None) -> str:
    """Return what a run of the recipe would work on; no photo is decoded.

    What takes long is told to ``progress``.

    Raises:
        RecipeError: a folder, glob or file of the recipe gives no photo, none of the photos can be
            read or is of the recipe's time, or a file of weights, a device or an output that it
            names cannot be had.
    """
    found = find_photos(recipe, progress)
    corrections = check_corrections(recipe, found.photos)
    files = corrections.kept(recipe, found.photos)
    if not files:
        raise RecipeError([recipe.fault(("without",), "leaves out every photo; name fewer")])
    check_weights(recipe)
    folder = output_folder(recipe).folder
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        what = f"{there} is a file; give a folder, or move the file away"
        raise RecipeError([recipe.fault(("output",), what)])
    check_outputs(recipe)
    check_devices(recipe)
    count = len(files)
    lines = [f"{count} photo{'' if count == 1 else 's'}", *passed_over(found.passed_over)]
    errors = _unreadable(files)
    for told, alike in by_reason(("failed", error.reason, str(error.photo)) for error in errors):
        reason = told.removeprefix("failed: ")
        lines.append(f"{len(alike)} of them cannot be read: {reason} (such as {alike[0][0]})")
    if len(errors) == count:
        what = f"none of these can be read; {errors[0]}"
        raise RecipeError([recipe.fault(("photos",), what)])
    _check_time(recipe, corrections, files)
    for _, _, stage in recipe.stages():
        for needed, local in stage.weights_needed():
            path = weights.find(needed, local)
            state = f"present: {path}" if path else f"not yet here, will be fetched: {needed.url}"
            lines.append(f"weights {needed.filename} {state}")
    try:
        remarks = list(recipe.subject_selector.remarks(recipe.embedder))
    except Exception as error:  # any failure of a plugin's own code
        remarks = [f"{recipe.subject_selector.name!r} failed to say more: {in_one_line(error)}"]
    lines += [f"subject_selector: {remark}" for remark in remarks]
    lines.append("the recipe is fine")
    return "\n".join(lines)
