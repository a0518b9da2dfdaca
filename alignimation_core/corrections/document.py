"""The file of corrections, read and checked: what it says of which photo, on which line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import yaml

from alignimation_core.api.errors import Fault, RecipeError, shown
from alignimation_core.api.stages.individuals import Face, face_of, point_of
from alignimation_core.recipe.document import Form, Source

FORM = Form(
    "file of corrections",
    "file of corrections",
    "IMG_1.jpg: {use: false}",
    max_bytes=20_000_000,
    max_nodes=1_000_000,
    may_be_empty=True,
    loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader),  # 10,000 photos in 0.5 s, not 2.5 s
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Correction:
    """What the user says of one photo; None, or no keypoints, where nothing is said.

    Attributes:
        sha256: of the photo's file, by which it is known under another name, too.
        use: whether it is in the animation, whatever the selector says.
        face: the subject: its number counted from the left, or a point in it.
        keypoints: ``(x, y)`` of the subject's, by name. These and the point are in the photo's
            full-size pixels, upright by EXIF alone.
        taken: local time at which it was taken.
        turn: degrees clockwise that bring it upright: 0, 90, 180 or 270.
    """

    sha256: str | None = None
    use: bool | None = None
    face: Face | None = None
    keypoints: Mapping[str, Point] = field(default_factory=dict)
    taken: datetime | None = None
    turn: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """The correction of one photo, under the name that the file gives it."""

    written: str
    correction: Correction
    source: Source

    def fault(self, key: str, message: str) -> Fault:
        """Return a fault of what a key says, or with an empty one of the whole entry."""
        return _fault(self.source, self.written, key, message)


def read(path: Path, keypoints: Iterable[str] | None) -> list[Entry]:
    """Read a file of corrections; where there is none, nothing is corrected.

    Args:
        path: the file.
        keypoints: names of those that the detector gives; None where that is not known.

    Raises:
        RecipeError: every fault, by file, line and photo.
    """
    if not path.exists():
        return []
    source = Source.read(path, FORM)
    names = source.top_keys()
    if len(names) != len(source.data):
        fault = Fault(str(path), None, "", "merge keys (<<) are not read here; write them out")
        raise RecipeError([fault])
    known = None if keypoints is None else sorted(keypoints)
    entries: list[Entry] = []
    faults: list[Fault] = []
    for name, given in zip(names, source.data.values(), strict=True):
        values: dict[str, Any] = {}
        for key, text in _faults_of(given, values, known):
            faults.append(_fault(source, name, key, text))
        entries.append(Entry(name, Correction(**values), source))
    if faults:
        raise RecipeError(faults)
    return entries


def _fault(source: Source, name: str, key: str, message: str) -> Fault:
    where = source.fault((name, key) if key else (name,), message)
    return replace(where, field=f"{name}: {key}" if key else name)


def _faults_of(
    given: object, values: dict[str, Any], keypoints: list[str] | None
) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with what is said of one photo, by key; put the rest into values."""
    if not isinstance(given, dict) or not given:
        yield "", f"say what to correct, such as `use: false`; {shown(given)} says nothing"
        return
    for key, value in given.items():
        parse = PARSERS.get(key)
        if parse is None:
            near = difflib.get_close_matches(str(key), PARSERS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            yield str(key), f"unknown key; {hint}known here: {', '.join(sorted(PARSERS))}"
            continue
        try:
            values[key] = parse(value)
        except (ValueError, OverflowError) as error:
            yield key, str(error)
    for name in values.get("keypoints", ()):
        if keypoints is not None and name not in keypoints:
            near = difflib.get_close_matches(name, keypoints, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            gives = f"it gives {', '.join(keypoints)}" if keypoints else "it gives none"
            yield "keypoints", f"the detector knows no keypoint {name!r}; {hint}{gives}"


def _sha256(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{shown(value)} is no SHA-256; leave it out, or give 64 hex digits")
    return value


def _use(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"write true or false, not {shown(value)}")
    return value


def _keypoints(value: object) -> dict[str, Point]:
    points = {}
    for name, place in value.items() if isinstance(value, dict) else ():
        if not isinstance(name, str) or (point := point_of(place)) is None:
            raise ValueError(f"{name}: write it as [x, y] in pixels, not {shown(place)}")
        points[name] = point
    if not points:
        raise ValueError(f"write {{left_eye: [x, y]}}, not {shown(value)}")
    return points


def _taken(value: object) -> datetime:
    try:
        match value:
            case datetime():
                return value.replace(tzinfo=None)
            case date():
                return datetime(value.year, value.month, value.day)
            case str():
                return datetime.fromisoformat(value).replace(tzinfo=None)
    except ValueError:
        pass
    raise ValueError(f"{shown(value)} is no date; write 2008-04-01, or 2008-04-01 14:30")


def _turn(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in (0, 90, 180, 270):
        raise ValueError(f"write 0, 90, 180 or 270, degrees clockwise, not {shown(value)}")
    return value


PARSERS: Mapping[str, Callable[[object], Any]] = {
    "sha256": _sha256,
    "use": _use,
    "face": face_of,
    "keypoints": _keypoints,
    "taken": _taken,
    "turn": _turn,
}
