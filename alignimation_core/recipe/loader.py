"""Settings -> the fields of a recipe, in two phases, every fault reported at once.

First the static part (``photos``, ``canvas``, which stage is used where), then each stage's own
options by the stage's class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from alignimation_core.api.errors import Fault, RecipeError, in_one_line
from alignimation_core.api.stages import Stage
from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.document import Place, Source
from alignimation_core.recipe.options import Settings, StageChoice
from alignimation_core.recipe.validation import validation_faults


def bind(source: Source) -> dict[str, Any]:
    """Check settings and make their stages.

    Returns:
        The fields of a ``Recipe``.

    Raises:
        RecipeError: with every fault.
        PluginError: a plugin breaks the rules of discovery.
    """
    faults: list[Fault] = []
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(source.data)
    except ValidationError as error:
        faults += validation_faults(source, error, Settings)
    stages: dict[str, Any] = {}
    for kind in KINDS:
        if kind == "renderer":
            given = source.data.get("renderers", Settings.model_fields["renderers"].default)
            items = given if settings is None else settings.renderers
            items = items if isinstance(items, list) else []
            made = [
                _stage(source, kind, ("renderers", i), item, faults) for i, item in enumerate(items)
            ]
            stages["renderers"] = tuple(made)
        else:
            given = source.data.get(kind, Settings.model_fields[kind].get_default())
            stages[kind] = _stage(source, kind, (kind,), given, faults)
    if faults or settings is None:
        raise RecipeError(list(dict.fromkeys(faults)))
    return {
        "photos": settings.photos,
        "output": settings.output,
        "reference": settings.reference,
        "refine": settings.refine,
        "max_residual": settings.max_residual,
        "canvas": settings.canvas,
        "executor": settings.executor,
        "seed": settings.seed,
        "folder": source.folder,
        "source": source,
        **stages,
    }


def _stage(
    source: Source, kind: str, place: Place, given: object, faults: list[Fault]
) -> Stage | None:
    """Make one stage; None, with the faults noted, when it cannot be made.

    What is no choice of a stage at all was noted when the static part was checked.
    """
    if isinstance(given, StageChoice):
        given = {"use": given.use, **given.options()}
    options = {"use": given} if isinstance(given, str) else given
    if not isinstance(options, Mapping) or not isinstance(options.get("use"), str):
        return None
    name = options["use"]
    found = registry().stages[kind].get(name)
    if found is None:
        where = (*place, "use") if isinstance(given, Mapping) else place
        faults.append(source.fault(where, registry().explain_unknown(kind, name)))
        return None
    own = {key: value for key, value in options.items() if key != "use"}
    try:
        return found.stage.model_validate(own, context={"folder": source.folder})
    except ValidationError as error:
        faults += validation_faults(source, error, found.stage, place)
    except Exception as error:  # any failure of a plugin's own code
        what = f"{name!r} of {found.distribution} failed on its options: {in_one_line(error)}"
        faults.append(source.fault(place, what))
    return None
