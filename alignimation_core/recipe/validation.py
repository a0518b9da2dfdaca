"""Validation of a recipe: every fault at once, with its line, near matches of misspelt keys."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from alignimation_core.api.errors import Fault, RecipeError, shown
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.choice import StageChoice
from alignimation_core.recipe.document import Location, Source, field_name
from alignimation_core.recipe.schema import SETTINGS, Settings, defaults

COLOURS = (("canvas", "border"), ("canvas", "background"))
"""Where a recipe takes colours."""
STRINGS = (list[str], Sequence[str], Sequence[str | PhotoSource])
SYNONYMS = {"speed": "fps", "framerate": "fps", "frame_rate": "fps", "resolution": "size"}
"""Keys of other programs, and what they are here."""


def bind(source: Source) -> Settings:
    """Check settings and make their stages.

    Raises:
        RecipeError: with every fault.
    """
    truths = list(_truths(source, (), source.data))
    try:
        settings = SETTINGS.validate_python(source.data, context={"folder": source.folder})
    except ValidationError as error:
        found = list(faults(source, error))
        fields = {fault.field for fault in found}
        found += [fault for fault in truths if fault.field not in fields]
        raise RecipeError(found) from error
    if truths:
        raise RecipeError(truths)
    return settings


def _truths(source: Source, location: Location, value: object) -> Iterator[Fault]:
    """Yield where a recipe says true or false and a number is meant, which pydantic takes for 1."""
    if isinstance(value, bool):
        known = _keys_beside(location, source.data).get(str(location[-1]))
        if (
            known is not None
            and _kinds(known.annotation) & {int, float}
            and bool not in _kinds(known.annotation)
        ):
            hint = f" ({known.description})" if known.description else ""
            yield source.fault(location, f"should be a number, got {str(value).lower()}{hint}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _truths(source, (*location, str(key)), inner)
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _truths(source, (*location, i), inner)


def _kinds(annotation: object) -> set[object]:
    """Return the types that a union is of, or the one."""
    parts = getattr(annotation, "__args__", ())
    return {annotation}.union(*map(_kinds, parts)) if parts else {annotation}


def faults(source: Source, error: ValidationError) -> Iterator[Fault]:
    """Turn pydantic's errors into faults of a recipe; the recipe's own keys come first."""
    for item in sorted(error.errors(include_url=False), key=lambda item: len(item["loc"])):
        location, kind, given = item["loc"], item["type"], item.get("input")
        keys = _keys_beside(location, source.data)
        known = keys.get(str(location[-1]))
        hint = f" ({known.description})" if known and known.description else ""
        if kind in ("extra_forbidden", "unexpected_keyword_argument"):
            meant = _meant(location, keys, source.data)
            what = f"unknown key; did you mean {meant!r}? " if meant else "unknown key; "
            text = f"{what}known here: {', '.join(sorted(keys)) or 'none'}"
        elif kind == "missing":
            text = f"this is required{hint}"
        elif kind == "value_error":
            text = " ".join(str(item["ctx"]["error"]).split())
        elif given is None and kind != "invalid_key":
            required = known is not None and known.is_required()
            what = "give a value" if required else "give a value or leave the line out"
            colour = "; in YAML a colour needs quotes: '#203040'" if location in COLOURS else ""
            text = f"is empty; {what}{colour}{hint}"
        elif isinstance(given, int | float | date) and (
            kind == "string_type"
            or (kind in ("list_type", "tuple_type") and known and known.annotation in STRINGS)
        ):
            sample = "" if isinstance(given, bool) else f": '{shown(given)}'"
            text = f"should be text, got {shown(given)}; put it in quotes{sample}{hint}"
        elif kind == "model_type":
            what = _form(item["ctx"]["class_name"], known.annotation if known else None, item)
            text = f"should be {what}, got {shown(given)}{hint}"
        elif kind in ("too_short", "string_too_short") and item["ctx"]["min_length"] == 1:
            text = f"should not be empty{hint}"
        elif kind == "invalid_key":
            location = (*location[:-1], str(location[-1]))
            text = f"a key should be a name, got {shown(given)}"
        else:
            message = item["msg"].replace("Input should", "should", 1)
            message = message.replace("a valid tuple", "a valid list")
            text = f"{message[:1].lower()}{message[1:]}, got {shown(given)}{hint}"
        yield source.fault(location, text)


def _meant(
    location: Location, keys: Mapping[str, FieldInfo], data: Mapping[str, Any]
) -> str | None:
    """Return the key that a misspelt or misplaced one may be, as it is written there."""
    key = str(location[-1])
    name = SYNONYMS.get(key.lower().replace("-", "_"), key)
    if name in keys:
        return name
    if len(location) == 1:
        groups = ("canvas", "refine", "executor")
        kinds: list[Location] = [(kind,) for kind in KINDS if kind != "renderer"]
        places = [(group,) for group in groups] + kinds + [("renderers", 0)]
        for place in places:
            if name != "use" and name in _keys_beside((*place, name), {**defaults(), **data}):
                return field_name((*place, name))
    near = difflib.get_close_matches(key, sorted(keys), n=1, cutoff=0.5)
    return near[0] if near else None


def _form(name: str, annotation: object, item: ErrorDetails) -> str:
    """Return how a group of options is written; with the value given, if that says which."""
    if name == StageChoice.__name__:
        return "a name or `{use: name, option: value}`"
    options = _keys_of(_model_in(annotation))
    counts = [option for option, known in options.items() if known.annotation is int]
    if isinstance(item["input"], int) and len(counts) == 1:
        example = f"{item['loc'][-1]}: {{{counts[0]}: {shown(int(item['input']))}}}"
        return f"`option: value` lines, such as `{example}`"
    return "`option: value` lines"


def _keys_beside(location: Location, data: Mapping[str, Any]) -> Mapping[str, FieldInfo]:
    """Return what may stand where a location ends: keys of the recipe, a group or a stage."""
    owner: type | None = Settings
    match location:
        case ("renderers", int(i), "effects", _, *_):  # written as the recipe's own
            own = _listed(data, "renderers", i)
            data, location = own if isinstance(own, Mapping) else {}, location[2:]
    match location:
        case ("photos", int(i), _, *_):
            given = data["photos"]
            entry = given if isinstance(given, Mapping) else [*given][i]
            owner, location = _stage_at("photo_source", entry), location[2:]
        case ("effects", int(i), _, *_):
            owner, location = _stage_at("effect", _listed(data, "effects", i)), location[2:]
        case ("effects", str(), *_):  # one may be written without a list
            owner, location = _stage_at("effect", _listed(data, "effects", 0)), location[1:]
        case ("renderers", int(i), _, *_):
            owner, location = _stage_at("renderer", _listed(data, "renderers", i)), location[2:]
        case ("renderers", str(), *_):  # one may be written without a list
            owner, location = _stage_at("renderer", _listed(data, "renderers", 0)), location[1:]
        case (str(kind), _, *_) if kind in KINDS:
            owner, location = _stage_at(kind, data.get(kind)), location[1:]
    for part in location[:-1]:
        if isinstance(part, str):
            known = _keys_of(owner).get(part)
            owner = _model_in(known.annotation) if known else None
    return _keys_of(owner)


def _listed(data: Mapping[str, Any], key: str, i: int) -> object:
    given = data.get(key)
    listed = given if isinstance(given, list | tuple) else [given]
    return listed[i] if i < len(listed) else None


def _stage_at(kind: str, given: object) -> type[BaseModel]:
    name = given.get("use") if isinstance(given, Mapping) else given
    found = registry().stages[kind].get(name) if isinstance(name, str) else None
    return found.stage if found else StageChoice


def _keys_of(owner: type | None) -> Mapping[str, FieldInfo]:
    fields: Mapping[str, FieldInfo] = getattr(owner, "__pydantic_fields__", {})
    return {known.alias or name: known for name, known in fields.items()}


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, getattr(annotation, "__args__", ()))), None)
