"""The page: a run record, its pictures and its plots as HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import yaml
from markupsafe import Markup

from alignimation_core.api.errors import OutputError, printable
from alignimation_core.api.stages.selectors import LIMITS
from alignimation_core.record import REPORT_FOLDER, REPORT_NAME, PhotoRecord, Record
from alignimation_core.report import plots
from alignimation_core.report.outline import outline
from alignimation_core.report.pictures import Pictures
from alignimation_core.scoring.score import line

NEAREST = 24
"""Rejected faces that are shown next to the histogram."""
PACKAGES = (
    "torch",
    "torchvision",
    "kornia",
    "facenet-pytorch",
    "dlib-bin",
    "numpy",
    "pillow",
    "av",
)
"""Whose versions are told of, where they are installed."""
FILMS, PICTURES = (".mp4", ".mov", ".mkv", ".webm"), (".gif", ".webp", ".png", ".apng")
HERE = Path(__file__).parent


def write(
    record: Record, outputs: Sequence[str], pictures: Pictures, folder: Path, *, embed: bool
) -> list[str]:
    """Write the report of a run, whose pictures are made, into a folder.

    Args:
        record: of the run; every photo is done.
        outputs: the run's, relative to the folder.
        pictures: of its photos.
        folder: where the page and the pictures' folder stand.
        embed: whether pictures go into the page, and the folder away.

    Returns:
        What was written, relative to the folder.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / REPORT_NAME
    try:
        text = page(record, outputs, pictures, embed=embed)
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
        if embed:
            pictures.remove()
        else:
            for photo in record.photos:
                photo.picture = pictures.number(photo.path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return [REPORT_NAME] if embed else [REPORT_NAME, REPORT_FOLDER]


def page(record: Record, outputs: Sequence[str], pictures: Pictures, *, embed: bool) -> str:
    """Return the page of a run, see ``write``."""
    data = record.as_json()
    photos = [_row(photo, pictures, embed=embed) for photo in record.photos]
    used = [photo for photo in record.photos if photo.status == "used"]
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((HERE / "page.html").read_text(encoding="utf-8"))
    residuals = [
        (at, photo.residual, printable(photo.path))
        for photo in used
        if photo.residual is not None and (at := _at(photo)) is not None
    ]
    selector = data["recipe"]["subject_selector"]
    needed = record.min_similarity
    return template.render(
        data=data,
        title=_title(used),
        film=next(iter(_film(outputs, FILMS)), None),
        picture=next(iter(_film(outputs, PICTURES)), None),
        reasons=[(count, text) for text, count, _ in record.reasons()],
        timeline=plots.timeline(*_times(record.photos)),
        residuals=plots.over_time(residuals, "Residuals over time"),
        outliers=plots.outliers(residuals) if len(residuals) > 1 else [],
        similarity=_plot(record.photos, "similarity", [] if needed is None else [needed]),
        needed=needed,
        nearest=_nearest(record.photos, photos),
        gates=[*_gates(record.photos, selector)],
        score=line(record.score) if record.score else None,
        settings=yaml.safe_dump(data["recipe"], sort_keys=False, allow_unicode=True),
        versions=[*_versions(record)],
        script=Markup(script),  # noqa: S704 - our own
        digest=digest,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),  # noqa: S704 - our own
        photos=_json(photos),
    )


def _json(value: object) -> Markup:
    """Return JSON that can stand in a script: nothing in it ends that, or begins a comment."""
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - without <, and all else is ASCII


def _row(photo: PhotoRecord, pictures: Pictures, *, embed: bool) -> dict[str, Any]:
    """Return what the page's script shows of a photo."""
    reason = photo.reason or ""
    kind = re.split(r":| \(|;", reason, maxsplit=1)[0]
    subject = photo.seen
    return {
        "path": printable(photo.path),
        "taken": (photo.taken or "")[:16].replace("T", " "),
        "status": photo.status,
        "group": photo.status if photo.status == "used" else f"{photo.status}: {printable(kind)}",
        "reason": printable(reason),
        "size": [photo.width, photo.height],
        "photo": pictures.source(photo.path, frame=False, embed=embed),
        "frame": pictures.source(photo.path, frame=True, embed=embed)
        if photo.status == "used"
        else None,
        "number": photo.frame,
        "found": photo.found,
        "box": [round(side, 1) for side in subject.box] if subject else None,
        "points": [[round(x, 1), round(y, 1)] for x, y in subject.keypoints.values()]
        if subject
        else [],
        "outline": outline(subject.mask) if subject and subject.mask else [],
        "residual": photo.residual,
        "similarity": photo.gates.get("similarity"),
        "remarks": [
            *map(printable, photo.remarks),
            *(f"corrected: {printable(str(each['what']))}" for each in photo.corrected),
        ],
    }


def _title(used: Sequence[PhotoRecord]) -> str:
    taken = sorted(photo.taken for photo in used if photo.taken)
    if not taken:
        return "No photo used"
    first, last = taken[0][:10], taken[-1][:10]
    count = f"{len(used)} photo{'' if len(used) == 1 else 's'}"
    return f"{count}, {first}" if first == last else f"{count}, {first} to {last}"


def _film(outputs: Sequence[str], endings: tuple[str, ...]) -> Iterator[str]:
    """Yield the addresses of the outputs that a page can show."""
    yield from (quote(name) for name in outputs if name.lower().endswith(endings))


def _at(photo: PhotoRecord) -> datetime | None:
    return datetime.fromisoformat(photo.taken).replace(tzinfo=None) if photo.taken else None


def _times(photos: Sequence[PhotoRecord]) -> tuple[list[datetime], list[datetime]]:
    timed = [(photo.status, at) for photo in photos if (at := _at(photo)) is not None]
    return (
        [at for status, at in timed if status == "used"],
        [at for status, at in timed if status != "used"],
    )


def _plot(
    photos: Sequence[PhotoRecord], value: str, limits: Sequence[float], *, size: bool = False
) -> Markup | None:
    """Return how often values of a gate are; ``size``: whether their sign does not count."""
    rows: dict[bool, list[float]] = {True: [], False: []}
    for photo in photos:
        if (number := photo.gates.get(value)) is not None:
            rows[photo.status == "used"].append(abs(number) if size else number)
    return plots.histogram(rows[True], rows[False], limits, value)


def _gates(photos: Sequence[PhotoRecord], selector: Mapping[str, Any]) -> Iterator[Any]:
    """Yield each value that gates limit: its name, what limits it, and how often values are."""
    asked = selector.get("gates") or {}
    for value in dict.fromkeys(limit.value for limit in LIMITS.values()):
        options = {
            option: asked[option]
            for option, limit in LIMITS.items()
            if limit.value == value and asked.get(option) is not None
        }
        size = value in ("yaw", "pitch", "roll")
        plot = _plot(photos, value, [*options.values()], size=size)
        if plot is not None:
            yield value, options, plot


def _nearest(photos: Sequence[PhotoRecord], rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rejected photos with a similarity, the most similar first."""
    left_out = [
        row
        for photo, row in zip(photos, rows, strict=True)
        if photo.status == "rejected" and row["similarity"] is not None and row["photo"]
    ]
    return sorted(left_out, key=lambda row: -row["similarity"])[:NEAREST]


def _versions(record: Record) -> Iterator[tuple[str, str]]:
    yield "alignimation", record.alignimation
    yield "Python", platform.python_version()
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue
