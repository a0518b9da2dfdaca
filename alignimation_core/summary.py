"""What the command prints: the list of stages, the schema, a run's summary and cost."""

from __future__ import annotations

import json
from pathlib import Path

from alignimation_core.api.errors import in_one_line
from alignimation_core.plugin.registry import KINDS, Registered, registry
from alignimation_core.recipe.schema import json_schema
from alignimation_core.record import RECORD_NAME, Record, passed_over

STEPS = {
    "detecting": ("detector", "embedder"),
    "aligning": ("transform_model", "refine"),
    "rendering": ("renderer",),
}


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
    """Return the JSON Schema of a recipe."""
    return json.dumps(json_schema(), indent=1)


def summary(record: Record) -> str:
    """Return the end of a run in a few lines: counts, reasons, seconds."""
    counts = record.summary
    total = sum(counts.values())
    lines = [f"{counts['used']} of {total} photos used"]
    lines += [f"  {count} {text} (such as {photo})" for text, count, photo in record.reasons()]
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.seconds.items())
    lines += passed_over(record.passed_over)
    lines.append(f"{sum(record.seconds.values()):.1f} s: {spent}")
    lines.append(f"every photo's reason is in {record.where(RECORD_NAME)}")
    return "\n".join(lines)


def projection(record: Record, whole: int, looked: int, unknown: int) -> str:
    """Return a line on the cost of all photos, as a trial run with some of them lets expect.

    Of the ``whole``, nothing was stored before the trial of ``unknown`` photos, the trial's among
    them; its networks ``looked`` at some, and the others came from the store.
    """
    trial = max(1, sum(photo.sha256 is not None for photo in record.photos))
    often = {"detecting": unknown / looked if looked else 0.0}
    seconds = {
        step: sum(record.seconds.get(kind, 0.0) for kind in kinds) * often.get(step, whole / trial)
        for step, kinds in STEPS.items()
    }
    parts = ", ".join(f"{step} {_duration(value)}" for step, value in seconds.items() if value)
    size = sum(_bytes(record.folder / name) for name in record.outputs) * whole / trial
    line = f"all {whole} photos: about {_duration(sum(seconds.values()))} ({parts})"
    line += f" and {size / 1e6:.0f} MB" if size >= 1e6 else f" and {size / 1e3:.0f} kB"
    if unknown and not looked:
        line += (
            f"; without detecting {unknown} photos, which was not measured: the trial's photos "
            "were stored"
        )
    return line


def _bytes(output: Path) -> int:
    files = output.rglob("*") if output.is_dir() else [output]
    return sum(file.stat().st_size for file in files)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
