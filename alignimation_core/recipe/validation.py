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
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls a key that there is not."""
NO_KEY = "invalid_key"
"""What it calls a key that is no text; a number of 64 bits or more it tells of as one."""


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
    """Turn pydantic's errors into faults of a recipe; the recipe's own keys come first.

    Of a value that may be of several types, pydantic says of each why it is none.
    """
    found: dict[Location, list[ErrorDetails]] = {}
    for item in error.errors(include_url=False):
        found.setdefault(_written(item, source.data), []).append(item)
    for location in sorted(found, key=len):
        items = found[location]
        inner = (each for each in found if each[: len(location)] == location != each)
        if len(items[0]["loc"]) > len(location) and any(inner):
            continue  # it is of the type in which something else is wrong
        texts = [_said(source, location, item) for item in items]
        yield source.fault(location, _either(texts, shown(items[0].get("input"))))


def _written(item: ErrorDetails, data: Mapping[str, Any]) -> Location:
    """Return where something is wrong; what pydantic names types of one value by is left out."""
    location: Location = ()
    value: object = data
    for i, part in enumerate(item["loc"]):
        there = isinstance(value, Mapping) and part in value
        is_last = i == len(item["loc"]) - 1
        if (
            isinstance(part, int)
            or there
            or part in _keys_beside((*location, part), data)
            or (is_last and item["type"] in (*UNKNOWN, NO_KEY))
        ):
            location = (*location, str(part) if is_last and item["type"] == NO_KEY else part)
            if isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(value, list | tuple) and isinstance(part, int):
                value = value[part] if part < len(value) else None
    return location


def _either(texts: Sequence[str], given: str) -> str:
    """Return what is wrong with one value, of what each type that it may be of says of it."""
    told = next((text for text in texts if not text.startswith("should be ")), texts[0])
    if len({*texts}) == 1 or not told.startswith("should be "):
        return told
    _, got, rest = told.partition(f", got {given}")
    wanted = [
        text.removeprefix("should be ").partition(f", got {given}")[0].partition(", unable to")[0]
        for text in texts
    ]
    return f"should be {' or '.join(dict.fromkeys(wanted))}{got}{rest}"


def _said(source: Source, location: Location, item: ErrorDetails) -> str:
    """Return what an error says, and what may stand there."""
    kind, given = item["type"], item.get("input")
    keys = _keys_beside(location, source.data)
    known = keys.get(str(location[-1]))
    hint = f" ({known.description})" if known and known.description else ""
    if kind in UNKNOWN:
        meant = _meant(location, keys, source.data)
        what = f"unknown key; did you mean {meant!r}? " if meant else "unknown key; "
        return f"{what}known here: {', '.join(sorted(keys)) or 'none'}"
    if kind == "missing":
        return f"this is required{hint}"
    if kind == "value_error":
        return " ".join(str(item["ctx"]["error"]).split())
    if kind == NO_KEY:
        return f"a key should be a name, got {shown(given)}"
    if given is None:
        required = known is not None and known.is_required()
        what = "give a value" if required else "give a value or leave the line out"
        colour = "; in YAML a colour needs quotes: '#203040'" if location in COLOURS else ""
        return f"is empty; {what}{colour}{hint}"
    if isinstance(given, int | float | date) and (
        kind == "string_type"
        or (kind in ("list_type", "tuple_type") and known and known.annotation in STRINGS)
    ):
        sample = "" if isinstance(given, bool) else f": '{shown(given)}'"
        return f"should be text, got {shown(given)}; put it in quotes{sample}{hint}"
    if kind == "model_type":
        name = item["ctx"]["class_name"]
        what = _form(name, known.annotation if known else None, location, given)
        return f"should be {what}, got {shown(given)}{hint}"
    if kind in ("too_short", "string_too_short") and item["ctx"]["min_length"] == 1:
        return f"should not be empty{hint}"
    message = item["msg"].replace("Input should", "should", 1)
    message = message.replace("a valid tuple", "a valid list")
    return f"{message[:1].lower()}{message[1:]}, got {shown(given)}{hint}"


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


def _form(name: str, annotation: object, location: Location, given: object) -> str:
    """Return how a group of options is written; with the value given, if that says which."""
    if name == StageChoice.__name__:
        return "a name or `{use: name, option: value}`"
    options = _keys_of(_model_in(annotation))
    counts = [option for option, known in options.items() if known.annotation is int]
    if isinstance(given, int) and len(counts) == 1:
        example = f"{location[-1]}: {{{counts[0]}: {shown(int(given))}}}"
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
