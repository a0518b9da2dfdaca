"""Preflight: what is refused before a photo is opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignimation_core import urls
from alignimation_core.api import weights
from alignimation_core.api.data import File, named
from alignimation_core.api.errors import Fault, RecipeError, in_one_line
from alignimation_core.api.stages import ComputeStage
from alignimation_core.output.folder import name
from alignimation_core.output.remote import output_folder
from alignimation_core.photos import order, search
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME


def find_photos(recipe: Recipe) -> list[File]:
    """Return the files that the recipe names, each once.

    Raises:
        RecipeError: a folder, glob or file of the recipe gives no photo, or the reference
            named is not among the photos.
    """
    output = output_folder(recipe).folder.resolve()
    files: dict[str, File] = {}
    faults: list[Fault] = []
    for i, pattern in enumerate(recipe.photos):
        found: Sequence[File] = ()
        try:
            found, reason = search.find(pattern, recipe.folder, recipe.output)
            if reason and not urls.is_address(pattern):
                place = (recipe.folder / pattern).resolve()
                if output in (place, *place.parents):
                    reason = search.INSIDE.format(output)
        except urls.AddressError as error:
            reason = f"{pattern}: {error}"
        except (OSError, ValueError, RuntimeError) as error:
            reason = f"{pattern!r} cannot be looked for: {in_one_line(error)}"
        files.update((str(path), path) for path in found)
        if reason:
            faults.append(recipe.fault(("photos", i), reason))
    if not faults:
        names = [order.relative_name(path, recipe.folder) for path in files.values()]
        faults += _unknown_photos(recipe, names)
    if faults:
        raise RecipeError(faults)
    return list(files.values())


def _unknown_photos(recipe: Recipe, names: Sequence[str]) -> Iterator[Fault]:
    """Yield what is wrong with the photos that the recipe names, of those that there are."""
    for place, wanted in recipe.photos_named().items():
        meant = named(wanted, names)
        if not meant:
            hint = "use medoid, mean or first" if place == ("reference",) else "correct it"
            yield recipe.fault(place, f"{wanted!r} is not among the photos; {hint}")
        elif len(meant) > 1:
            what = f"{len(meant)} photos are named {wanted!r}; write {meant[0]} or {meant[1]}"
            yield recipe.fault(place, what)


def check_outputs(recipe: Recipe) -> None:
    """Refuse outputs that would take the place of the run record, or of what no run wrote.

    Raises:
        RecipeError: what stands in the way, by the path of the renderer.
    """
    record = f"{RECORD_NAME!r} is the run record; choose another name"
    obstacles = [
        (("renderers", i, "path"), record)
        for i, renderer in enumerate(recipe.renderers)
        if name(renderer.path) == RECORD_NAME
    ] or output_folder(recipe).obstacles()
    if faults := [recipe.fault(location, text) for location, text in obstacles]:
        raise RecipeError(faults)


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
    """Refuse devices that this machine does not have; imports torch.

    Raises:
        RecipeError: with each of them.
    """
    faults: list[Fault] = []
    for _, place, stage in recipe.stages():
        if isinstance(stage, ComputeStage):
            try:
                stage.torch_device()
            except ValueError as error:
                faults.append(recipe.fault((*place, "device"), str(error)))
    if faults:
        raise RecipeError(faults)


def check(recipe: Recipe) -> str:
    """Return what a run of the recipe would work on.

    Raises:
        RecipeError: a folder, glob or file of the recipe gives no photo, or a file of weights
            that it names is not there.
    """
    count = len(find_photos(recipe))
    check_weights(recipe)
    check_outputs(recipe)
    lines = [f"{count} photo{'' if count == 1 else 's'}"]
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
