"""Reference photos: detected and embedded like all others, and who is meant in each."""

from __future__ import annotations

from collections.abc import Sequence

from alignimation_core.api.data import Observation, Photo
from alignimation_core.api.errors import Fault, RecipeError
from alignimation_core.api.stages.individuals import Reference, Shown, listed, meant
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.detection.observations import observe
from alignimation_core.execution.executor import Executor
from alignimation_core.photos.order import relative_name
from alignimation_core.photos.reader import read
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.recipe.timeline import zone_of
from alignimation_core.store.store import Store


def look(
    recipe: Recipe,
    corrections: Corrections,
    photos: Sequence[Photo],
    executor: Executor,
    store: Store,
) -> Shown:
    """Return whom the references show, by option.

    What was found in photos of the run is in the store already, as far as that keeps it.

    Args:
        recipe: the recipe that names the references.
        corrections: they tell the references' files.
        photos: all that the recipe names, as they are corrected.
        executor: where photos are worked on.
        store: what was found in the references is kept there, too.

    Raises:
        RecipeError: a reference cannot be read, shows nobody, or several without saying whom; or
            not the one that it says.
    """
    files = {str(path): path for _, path in corrections.references.values()}
    if not files:
        return {}
    of_run = {str(photo.path): photo for photo in photos}
    others = [path for text, path in files.items() if text not in of_run]
    zone = zone_of(recipe.time_zone) if recipe.time_zone else None
    read_now, unread = read(others, recipe.folder, executor, store, lambda: None, zone)
    wanted = [of_run[text] for text in files if text in of_run] + read_now
    known = store.recall([photo.content for photo in wanted])
    observed = observe(
        wanted,
        recipe.detector,
        recipe.embedder,
        executor,
        recipe.seed,
        lambda: None,
        known,
        store.keep,
    )
    reasons = {failure.photo: failure.reason for failure in (*unread, *observed.failures)}
    by_name = {observation.photo.name: observation for observation in observed.observations}
    shown: dict[str, list[tuple[Observation, int]]] = {}
    faults: list[Fault] = []
    for place, (reference, path) in corrections.references.items():
        name = relative_name(path, recipe.folder)
        try:
            if name in reasons:
                raise ValueError(f"{reference.photo}: {reasons[name]}")
            found = by_name[name]
            shown.setdefault(str(place[1]), []).append((found, _index(reference, found)))
        except ValueError as error:
            faults.append(recipe.fault(place, str(error)))
    if faults:
        raise RecipeError(faults)
    return shown


def _index(reference: Reference, observation: Observation) -> int:
    found = observation.detections
    if not found:
        what = "nobody was found in it; name a photo that shows the face larger and from the front"
        raise ValueError(f"{reference.photo}: {what}")
    if reference.face is not None:
        try:
            return meant(found, reference.face)
        except ValueError as error:
            raise ValueError(f"{reference.photo}: {error}") from None
    if len(found) > 1:
        say = f"write {{photo: {reference.photo}, face: N}}"
        raise ValueError(f"{reference.photo} shows {len(found)}; {say}, {listed(found)}")
    return 0
