"""What the command prints: the schema, a run's summary and cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignimation_core.api.errors import printable
from alignimation_core.api.mask import Matrix
from alignimation_core.photos.dates.names import in_name
from alignimation_core.photos.dates.taken import Taken, choose
from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.schema import SETTINGS
from alignimation_core.record import RECORD_NAME, REPORT_NAME, PhotoRecord, Record, passed_over

LISTED = 10
"""Photos that a warning names."""

STEPS = {
    "detecting": ("detector", "embedder"),
    "aligning": ("transform_model", "refine"),
    "rendering": ("renderer",),
}


def schema() -> str:
    """Return the JSON Schema of a recipe."""
    return json.dumps(_json_schema(), indent=1)


def _json_schema() -> dict[str, Any]:
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


def summary(record: Record) -> str:
    """Return the end of a run in a few lines: counts, reasons, seconds."""
    from alignimation_core.scoring import score  # imports torch

    counts = record.summary
    total = sum(counts.values())
    lines = [f"{counts['used']} of {total} photos used"]
    lines += [f"  {count} {text} (such as {photo})" for text, count, photo in record.reasons()]
    lines += [*doubts(record), *shortcomings(record)]
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record.seconds.items())
    lines += passed_over(record.passed_over)
    lines += _earlier(record.kept)
    lines += [score.line(record.score)] if record.score else []
    lines.append(f"{sum(record.seconds.values()):.1f} s: {spent}")
    told = REPORT_NAME if record.report else RECORD_NAME
    lines.append(f"every photo's reason is in {record.where(told)}")
    return "\n".join(lines)


def _earlier(kept: Sequence[str]) -> list[str]:
    """Return a line on outputs of earlier runs that stand beside those of this one, if any."""
    count = len(kept)
    return [f"{count} older output{'s' * (count > 1)} kept beside: {_listed(kept)}"] if kept else []


def doubts(record: Record) -> Iterator[str]:
    """Yield warnings of photos whose place in time is not sure, where time is what orders them."""
    if record.recipe.get("order", "taken") != "taken":
        return
    used = [photo for photo in record.photos if photo.status == "used" and photo.taken]
    undated = [photo.path for photo in used if photo.taken_from == "file"]
    if undated:
        yield (
            f"warning: {len(undated)} of {len(used)} photos used have no date but their file's "
            f"(such as {printable(undated[0])}); put one into their names, such as 2018-07-04.jpg"
        )
    apart = [
        (photo, named)
        for photo in used
        if photo.taken_from == "exif"
        and (named := _in_name(photo.path))
        and named.disagrees(datetime.fromisoformat(photo.taken or ""))
    ]
    if apart:
        photo, named = apart[0]
        yield (
            f"warning: {len(apart)} of {len(used)} photos used have dates in EXIF and in their "
            f"names that are more than a day apart (such as {printable(photo.path)}: "
            f"{(photo.taken or '')[:10]} and {named.at.date()}); EXIF was believed"
        )


def shortcomings(record: Record) -> Iterator[str]:
    """Yield warnings of frames that show what no photo has: a border, or pixels between pixels."""
    used = record.summary["used"]
    bordered = [photo.path for photo in _bordered(record)]
    if bordered:
        yield (
            f"warning: framing: tight, but {len(bordered)} of {used} photos used are too "
            f"narrow around the subject to fill the canvas: {_listed(bordered)}; part of it is "
            "filled as `border` says"
        )
    if enlarged := _enlarged(record):
        most, scale = max(enlarged, key=lambda each: each[1])
        yield (
            f"warning: {len(enlarged)} of {used} photos used are enlarged more than twice "
            f"({printable(most.path)} {scale:.1f} times); a smaller canvas.size is sharper"
        )


def remark(record: Record) -> None:
    """Note in the record which frames show what no photo has; see ``shortcomings``."""
    for photo in _bordered(record):
        photo.remarks.append("too narrow to fill the canvas: part of it is filled as `border` says")
    for photo, scale in _enlarged(record):
        photo.remarks.append(f"enlarged {scale:.1f} times")


def _bordered(record: Record) -> list[PhotoRecord]:
    """Return the photos used that do not fill a canvas of which nothing is to be invented."""
    if record.canvas is None or record.recipe.get("canvas", {}).get("framing") != "tight":
        return []
    return [photo for photo in _placed(record) if not _covers(photo, record.canvas)]


def _enlarged(record: Record) -> list[tuple[PhotoRecord, float]]:
    """Return the photos used that are enlarged more than twice, and how much each is."""
    scales = ((photo, _scale(photo.canvas_from_photo or ())) for photo in _placed(record))
    return [(photo, scale) for photo, scale in scales if scale > 2]


def _placed(record: Record) -> list[PhotoRecord]:
    return [p for p in record.photos if p.status == "used" and p.canvas_from_photo]


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - LISTED} more" if len(paths) > LISTED else ""
    return ", ".join(map(printable, paths[:LISTED])) + more


def _scale(matrix: Matrix) -> float:
    """Return how much larger a transform makes areas' sides, where it is affine."""
    (a, b, _), (c, d, _), _ = matrix
    return math.sqrt(abs(a * d - b * c))


def _covers(photo: PhotoRecord, canvas: Mapping[str, int]) -> bool:
    """Return whether a photo holds the canvas's corners, but for half a pixel, and so all of it."""
    (a, b, c), (d, e, f), (g, h, i) = photo.canvas_from_photo or ()
    adjugate = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    for x in (0, canvas["width"]):
        for y in (0, canvas["height"]):
            u, v, w = (row[0] * x + row[1] * y + row[2] for row in adjugate)
            if not (
                -0.5 <= u / w <= (photo.width or 0) + 0.5
                and -0.5 <= v / w <= (photo.height or 0) + 0.5
            ):
                return False
    return True


def _in_name(path: str) -> Taken | None:
    return choose(in_name(path), datetime.now(UTC).replace(tzinfo=None))


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
