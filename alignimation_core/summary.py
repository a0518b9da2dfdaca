"""What the command tells about stages, recipes and runs: lists, schema, checks, summaries."""

from __future__ import annotations

import json
from typing import Any

from alignimation_core import preflight
from alignimation_core.api import weights
from alignimation_core.api.errors import in_one_line
from alignimation_core.plugin.registry import KINDS, Registered, registry
from alignimation_core.recipe.options import Settings
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME, Record


def listing() -> str:
    """Return every stage of every plugin with its options, and the broken plugins."""
    lines: list[str] = []
    for kind in KINDS:
        lines.append(f"{kind}s".replace("_", " "))
        for name, found in sorted(registry().stages[kind].items()):
            lines.append(f"  {name:<20} {found.summary}  [{found.distribution} {found.version}]")
            lines += [f"      {line}" for line in _options(found)]
    lines += [f"plugin {broken}" for broken in registry().broken]
    return "\n".join(lines)


def _options(found: Registered) -> list[str]:
    try:
        schema = found.stage.model_json_schema()
    except Exception as error:  # any failure of a plugin's own code
        return [f"its options cannot be described: {in_one_line(error)}"]
    rows = []
    for name, option in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        default = "required" if required else f"default {json.dumps(option.get('default'))}"
        rows.append(f"{name}: {option.get('description', '')} ({default})")
    return rows


def schema() -> str:
    """Return the JSON Schema of a recipe: its static part, and each stage with its own options."""
    whole = Settings.model_json_schema()
    definitions = whole.setdefault("$defs", {})
    for kind in KINDS:
        forms: list[dict[str, Any]] = [{"enum": sorted(registry().stages[kind])}]
        for name, found in sorted(registry().stages[kind].items()):
            refs = f"#/$defs/{kind}.{name}.{{model}}"
            try:
                form = found.stage.model_json_schema(ref_template=refs)
            except Exception:  # any failure of a plugin's own code: its options stay open
                form = {"type": "object"}
            for inner, definition in form.pop("$defs", {}).items():
                definitions[f"{kind}.{name}.{inner}"] = definition
            form["properties"] = {"use": {"const": name}, **form.get("properties", {})}
            form["required"] = ["use", *form.get("required", ())]
            forms.append(form)
        if kind == "embedder":
            forms.append({"type": "null"})
        definitions[kind] = {"anyOf": forms}
        if kind == "renderer":
            whole["properties"]["renderers"]["items"] = {"$ref": "#/$defs/renderer"}
        else:
            field = whole["properties"][kind]
            kept = {key: field[key] for key in ("description", "default") if key in field}
            whole["properties"][kind] = {"$ref": f"#/$defs/{kind}", **kept}
    definitions.pop("StageChoice", None)
    return json.dumps(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}, indent=1
    )


def check(recipe: Recipe) -> str:
    """Return what a run of the recipe would work on.

    Raises:
        RecipeError: a folder, glob or file of the recipe gives no photo, or a file of weights
            that it names is not there.
    """
    count = len(preflight.find_photos(recipe))
    preflight.check_weights(recipe)
    preflight.check_outputs(recipe)
    lines = [f"{count} photo{'' if count == 1 else 's'}"]
    for _, _, stage in recipe.stages():
        for needed, local in stage.weights_needed():
            path = weights.find(needed, local)
            state = f"present: {path}" if path else f"not yet here, will be fetched: {needed.url}"
            lines.append(f"weights {needed.filename} {state}")
    lines.append("the recipe is fine")
    return "\n".join(lines)


def summary(record: Record) -> str:
    """Return the end of a run in a few lines: counts, reasons, seconds."""
    counts = record.summary
    total = sum(counts.values())
    lines = [f"{counts['used']} of {total} photos used"]
    lines += [f"  {count} {text} (such as {photo})" for text, count, photo in record.reasons()]
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.seconds.items())
    lines.append(f"{sum(record.seconds.values()):.1f} s: {spent}")
    lines.append(f"every photo's reason is in {record.where(RECORD_NAME)}")
    return "\n".join(lines)
