"""The JSON Schema of recipes, for editors."""

from __future__ import annotations

from typing import Any

from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.schema import SETTINGS


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a recipe: its keys, and each stage with its own options."""
    whole = SETTINGS.json_schema()
    properties, definitions = whole["properties"], whole["$defs"]
    one = {"$ref": "#/$defs/effect"}
    effects: dict[str, Any] = {"anyOf": [one, {"type": "array", "items": one}]}
    described = properties["effects"]["description"]
    properties["effects"] = {"description": described, **effects, "default": []}
    effects = {"anyOf": [*effects["anyOf"], {"type": "null"}]}  # of a renderer: the recipe's
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
            if kind == "renderer":
                own = form["properties"]["effects"]
                form["properties"]["effects"] = {**effects, "description": own["description"]}
            form["required"] = ["use", *form.get("required", ())]
            forms.append(form)
        definitions[kind] = {"anyOf": forms}
    source = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/photo_source"}]}
    listed = {"type": "array", "items": source, "minItems": 1}
    properties["photos"] = {**properties["photos"], "anyOf": [*source["anyOf"], listed]}
    one = {"$ref": "#/$defs/renderer"}
    listed = {**properties["renderers"], "items": one}
    properties["renderers"] = {
        "description": listed.pop("description"),
        "anyOf": [one, listed],
        "default": listed.pop("default"),
    }
    properties["embedder"]["anyOf"][0] = {"$ref": "#/$defs/embedder"}
    for kind in KINDS.keys() - {"photo_source", "effect", "renderer", "embedder"}:
        properties[kind]["$ref"] = f"#/$defs/{kind}"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole}
