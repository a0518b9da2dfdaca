"""What stages and settings there are: the text of ``alignimation list``, and its parts."""

from __future__ import annotations

import difflib
import inspect
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alignimation_core.api import weights
from alignimation_core.api.errors import PluginError, in_one_line
from alignimation_core.api.weights import Weights
from alignimation_core.plugin.registry import KINDS, Registered, registry
from alignimation_core.recipe.schema import SETTINGS

TYPES = {
    "boolean": "true or false",
    "integer": "whole number",
    "null": "null",
    "number": "number",
    "object": "mapping",
}
BOUNDS = {
    "minimum": "from {:g}",
    "exclusiveMinimum": "above {:g}",
    "maximum": "to {:g}",
    "exclusiveMaximum": "below {:g}",
}


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a stage, or a setting of a recipe.

    Attributes:
        name: as a recipe writes it; within a mapping dotted, such as ``gates.max_yaw``.
        description: in a few words.
        values: what it may be, such as ``number from 0 below 1``.
        default: as JSON, or ``as below``; None where it must be given.
    """

    name: str
    description: str
    values: str
    default: str | None

    def __str__(self) -> str:
        """Return name, description and default in one line."""
        default = "required" if self.default is None else f"default {self.default}"
        return f"{self.name}: {self.description} ({default})"


def plural(kind: str) -> str:
    """Return what several stages of a kind are called: ``photo sources``."""
    return f"{kind}s".replace("_", " ")


def listing(name: str | None = None) -> str:
    """Return every stage of every plugin with its options, the canvas, and the broken plugins.

    Args:
        name: a kind of stage, such as ``detectors``, of which alone these are; or a stage, or a
            group of settings such as ``canvas``, of which all is told.

    Raises:
        PluginError: there is no such kind, stage or group.
    """
    if name is not None:
        return _of(name)
    lines = [line for kind in KINDS for line in _kind(kind)]
    lines += ["canvas", *(f"      {option}" for option in options(groups()["canvas"]))]
    lines += [f"plugin {broken}" for broken in registry().broken]
    return "\n".join(lines)


def _kind(kind: str) -> Iterator[str]:
    yield plural(kind)
    for name, found in sorted(registry().stages[kind].items()):
        yield f"  {name:<20} {found.summary}  [{found.distribution} {found.version}]"
        yield from (f"      {line}" for line in _options(found))
        yield from (f"      loads {_weighed(file)}" for file in weights_of(found))


def _options(found: Registered) -> Iterator[str]:
    try:
        yield from map(str, options(found.stage.model_json_schema()))
    except Exception as error:  # any failure of a plugin's own code
        yield f"its options cannot be described: {in_one_line(error)}"


def _weighed(file: Weights) -> str:
    size = "" if file.size is None else f", {file.size / 1e6:.0f} MB"
    return f"{file.filename}{size}; {file.licence}"


def _of(name: str) -> str:
    wanted = name.replace("-", " ").replace("_", " ").lower().removesuffix("s")
    for kind in KINDS:
        if plural(kind).removesuffix("s") == wanted:
            return "\n".join(_kind(kind))
    found = [stages[name] for stages in registry().stages.values() if name in stages]
    parts = [_stage(each) for each in found]
    if name in groups():
        parts.append(_group(name, groups()[name]))
    if parts:
        return "\n\n".join(parts)
    known = {*map(plural, KINDS), *groups()}.union(*registry().stages.values())
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    broken = "".join(f"; plugin {each}" for each in registry().broken)
    raise PluginError(
        f"no plugin has a stage {name!r}; {hint}`alignimation list` shows them all{broken}"
    )


def _stage(found: Registered) -> str:
    lines = [f"{found.kind.replace('_', ' ')} {found.name}  [{found.distribution} {found.version}]"]
    lines += ["", inspect.getdoc(found.stage) or "", ""]
    lines += [f"{verb}: {', '.join(words)}" for verb, words in abilities(found).items() if words]
    for file in weights_of(found):
        there = weights.find(file)
        lines += [
            f"loads: {_weighed(file)}",
            f"  {there or 'not yet here, will be fetched: ' + file.url}",
        ]
    try:
        detailed = list(_detailed(found.stage.model_json_schema()))
        lines += ["options:", *detailed] if detailed else ["options: none"]
    except Exception as error:  # any failure of a plugin's own code
        lines.append(f"its options cannot be described: {in_one_line(error)}")
    return "\n".join(lines)


def _group(name: str, schema: Mapping[str, Any]) -> str:
    return "\n".join([f"{name}: {schema['description']}", "", *_detailed(schema)])


def _detailed(schema: Mapping[str, Any]) -> Iterator[str]:
    for option in options(schema, nested=True):
        yield f"  {option}"
        yield f"      {option.values}"


def abilities(found: Registered) -> dict[str, list[str]]:
    """Return what a stage ``needs`` and ``gives`` with its usual options, as far as these tell."""
    try:
        stage = found.stage()
        return {"needs": sorted(stage.requires()), "gives": sorted(stage.provides())}
    except Exception:  # an option that must be given, or any failure of a plugin's own code
        return {}


def weights_of(found: Registered) -> list[Weights]:
    """Return the weights that a stage loads with its usual options."""
    try:
        return [file for file, _ in found.stage().weights_needed()]
    except Exception:  # an option that must be given, or any failure of a plugin's own code
        return []


def groups() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each setting of a recipe that is a group: ``canvas``, ..."""
    schema = SETTINGS.json_schema()
    found: dict[str, dict[str, Any]] = {}
    for name, setting in schema["properties"].items():
        for form in (setting, *setting.get("anyOf", ())):
            if "$ref" in form:
                found[name] = {**_resolved(form, schema), "$defs": schema["$defs"]}
                found[name]["description"] = setting["description"]
    return found


def options(schema: Mapping[str, Any], *, nested: bool = False) -> list[Option]:
    """Return the options that a JSON Schema describes.

    Args:
        schema: that of a stage, or of a group of settings.
        nested: whether options of options are told, too.
    """
    return list(_within(schema, schema, "", nested=nested))


def _within(
    part: Mapping[str, Any], whole: Mapping[str, Any], prefix: str, *, nested: bool
) -> Iterator[Option]:
    for name, option in part.get("properties", {}).items():
        forms = [form for form in (option, *option.get("anyOf", ())) if "$ref" in form and nested]
        default = json.dumps(option.get("default"), ensure_ascii=False)
        if forms and isinstance(option.get("default"), Mapping):
            default = "as below"
        described = " ".join(option.get("description", "").split())
        required = name in part.get("required", ())
        values = _values(option, whole)
        yield Option(f"{prefix}{name}", described, values, None if required else default)
        for form in forms:
            inner = _resolved(form, whole)
            yield from _within(inner, whole, f"{prefix}{name}.", nested=True)


def _resolved(form: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    inner: dict[str, Any] = whole["$defs"][form["$ref"].rpartition("/")[2]]
    return inner


def _values(form: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """Return in words what a value may be."""
    if "$ref" in form:
        return _values(_resolved(form, whole), whole)
    if "anyOf" in form:
        return " or ".join(dict.fromkeys(_values(each, whole) for each in form["anyOf"]))
    if "enum" in form or "const" in form:
        words = form.get("enum", [form.get("const")])
        return ", ".join(word if isinstance(word, str) else json.dumps(word) for word in words)
    if form.get("type") == "array":
        if "prefixItems" in form:
            return f"list of {len(form['prefixItems'])}"
        if not form.get("items"):
            return "list"
        inner = _values(form["items"], whole)
        return f"list of {inner}" if " or " not in inner else f"list of ({inner})"
    if form.get("type") == "object" and isinstance(form.get("additionalProperties"), dict):
        return f"mapping of names to {_values(form['additionalProperties'], whole)}"
    if form.get("type") == "string":
        return {"path": "file", "date": "date"}.get(form.get("format", ""), "text")
    bounds = [text.format(form[key]) for key, text in BOUNDS.items() if key in form]
    return " ".join([TYPES.get(form.get("type", ""), "as described"), *bounds])
