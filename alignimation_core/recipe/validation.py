"""What pydantic refuses in a recipe -> faults with their lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from datetime import date

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from alignimation_core.api.errors import Fault, shown
from alignimation_core.recipe.document import Place, Source
from alignimation_core.recipe.options import StageChoice

COLOURS = (("canvas", "border"), ("canvas", "background"))
"""Where a recipe takes colours."""
STRINGS = list[str]


def validation_faults(
    source: Source, error: ValidationError, model: type[BaseModel], at: Place = ()
) -> Iterable[Fault]:
    """Turn pydantic's errors into faults of a recipe.

    Args:
        source: where the values came from.
        error: what pydantic found.
        model: the model that was validated.
        at: where in the recipe the model's fields stand.
    """
    for item in error.errors(include_url=False):
        place = (*at, *item["loc"])
        kind, given = item["type"], item.get("input")
        owner = _owner(model, item["loc"])
        known = owner.model_fields.get(str(item["loc"][-1])) if owner and item["loc"] else None
        hint = f" ({known.description})" if known and known.description else ""
        if kind == "extra_forbidden":
            names = sorted(owner.model_fields) if owner else []
            near = difflib.get_close_matches(str(place[-1]), names, n=1, cutoff=0.5)
            what = f"unknown key; did you mean {near[0]!r}? " if near else "unknown key; "
            text = f"{what}known here: {', '.join(names) or 'none'}"
        elif kind == "missing":
            text = f"this is required{hint}"
        elif kind == "value_error":
            text = " ".join(str(item["ctx"]["error"]).split())
        elif given is None and kind != "invalid_key":
            required = known is not None and known.is_required()
            what = "give a value" if required else "give a value or leave the line out"
            colour = "; in YAML a colour needs quotes: '#203040'" if place in COLOURS else ""
            text = f"is empty; {what}{colour}{hint}"
        elif isinstance(given, int | float | date) and (
            kind == "string_type" or (kind == "list_type" and known and known.annotation == STRINGS)
        ):
            sample = "" if isinstance(given, bool) else f": '{given}'"
            text = f"should be text, got {shown(given)}; put it in quotes{sample}{hint}"
        elif kind in ("model_type", "model_attributes_type"):
            what = _form(item["ctx"]["class_name"], known.annotation if known else None, item)
            text = f"should be {what}, got {shown(given)}{hint}"
        elif kind in ("too_short", "string_too_short") and item["ctx"]["min_length"] == 1:
            text = f"should not be empty{hint}"
        elif kind == "invalid_key":
            place = (*place[:-1], str(place[-1]))
            text = f"a key should be a name, got {shown(given)}"
        else:
            message = item["msg"].replace("Input should", "should", 1)
            text = f"{message[:1].lower()}{message[1:]}, got {shown(given)}{hint}"
        yield source.fault(place, text)


def _form(name: str, annotation: object, item: ErrorDetails) -> str:
    """Return how a group of options is written; with the value given, if that says which."""
    if name == StageChoice.__name__:
        return "a name or `{use: name, option: value}`"
    fields = getattr(_model_in(annotation), "model_fields", {})
    if isinstance(item["input"], int) and [known.annotation for known in fields.values()] == [int]:
        (only,) = fields
        example = f"{item['loc'][-1]}: {{{only}: {int(item['input'])}}}"
        return f"`option: value` lines, such as `{example}`"
    return "`option: value` lines"


def _owner(model: type[BaseModel], place: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Return the model whose field a place names, following nested models."""
    owner: type[BaseModel] | None = model
    for part in place[:-1]:
        if owner is None or not isinstance(part, str):
            continue
        known = owner.model_fields.get(part)
        owner = _model_in(known.annotation) if known else None
    return owner


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_in(inner)
        if found:
            return found
    return None
