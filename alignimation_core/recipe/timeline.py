"""The settings of time: the order of photos, their zone, and which of them a film needs."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alignimation_core.api.errors import shown

Order: TypeAlias = Literal["taken", "name", "modified", "given"]
"""What photos are ordered by."""

UNITS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
"""Seconds of units of time."""
_EVERY = r"(?:([1-9][0-9]{0,3}) ?)?(hour|day|week|month|year)s?"
_GAP = r"(?:([0-9]{1,6}(?:\.[0-9]+)?) ?)?(minute|hour|day|week)s?"
_MOMENT = (
    r"([0-9]{4})(?:-([0-9]{1,2})(?:-([0-9]{1,2})"
    r"(?:[ T]([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?)?)?)?"
)


def zone_of(text: str) -> tzinfo:
    """Return a time zone of its name, such as ``Europe/Berlin``, or of an offset as ``+02:00``.

    Raises:
        ValueError: there is none of that name.
    """
    if re.fullmatch(r"[+-](?:0\d|1[0-4]):[0-5]\d", text):
        delta = timedelta(hours=int(text[1:3]), minutes=int(text[4:]))
        return timezone(-delta if text[0] == "-" else delta)
    if text == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        names = {name.rpartition("/")[2].lower(): name for name in _zones()}
        wanted = text.rpartition("/")[2].replace(" ", "_").lower()
        near = difflib.get_close_matches(wanted, names, n=1, cutoff=0.75)
        meant = f"; did you mean {names[near[0]]!r}?" if near else ""
        what = "is no time zone; write one such as Europe/Berlin or +02:00"
        raise ValueError(f"{text!r} {what}{meant}") from None


def _zones() -> list[str]:
    """Return the names of all zones, those of a continent and a city last."""
    return sorted(zoneinfo.available_timezones(), key=lambda name: (name.count("/") == 1, name))


def _zone(name: object) -> object:
    if isinstance(name, str):
        zone_of(name)
    return name


Zone = Annotated[str, BeforeValidator(_zone)]


def _moment(given: object) -> object:
    """Return a time as text: YAML makes a number of 2018, and a date of 2018-07-04."""
    text = given
    if isinstance(given, datetime):
        text = given.replace(tzinfo=None).isoformat(" ", "seconds")
    elif isinstance(given, date):
        text = given.isoformat()
    elif type(given) is int:
        text = f"{given}"
    if not isinstance(text, str):
        return given
    bounds(text)
    return text


Moment = Annotated[str, BeforeValidator(_moment, json_schema_input_type=str | int)]
"""A year, a month, a day or a time of which clocks showed where a photo was taken."""


def bounds(text: str) -> tuple[datetime, datetime]:
    """Return the beginning of a year, a month, a day or a second, and its end.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(_MOMENT, text)
    try:
        if match is None:
            raise ValueError
        given = [int(part) for part in match.groups() if part is not None]
        start = datetime(*(given + [1, 1][len(given) - 1 :])[:6])  # type: ignore[arg-type]
        if len(given) > 3:
            return start, start + timedelta(seconds=1 if len(given) == 6 else 60)
        if len(given) == 3:
            return start, start + timedelta(days=1)
        if len(given) == 2:
            return start, (start + timedelta(days=31)).replace(day=1)
        return start, start.replace(year=start.year + 1)
    except (ValueError, OverflowError):
        what = "is no time; write one such as 2018, 2018-07, 2018-07-04 or '2018-07-04 10:15'"
        raise ValueError(f"{text!r} {what}") from None


def stretch(since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """Return the beginning of one time and the end of another; None is no bound."""
    start = bounds(since)[0] if since else datetime.min
    return start, bounds(until)[1] if until else datetime.max


def _gap(given: object) -> object:
    if isinstance(given, str):
        seconds_of(given)
    return given


Gap = Annotated[str, BeforeValidator(_gap)]
"""A length of time, such as ``12 hours``."""


def seconds_of(text: str) -> float:
    """Return the seconds of a length of time, such as ``12 hours``.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(_GAP, text)
    if match is None:
        raise ValueError(f"{text!r} is no length of time; write one such as 12 hours or 2 days")
    count, unit = match.groups()
    return float(count or 1) * UNITS[unit]


def _parts(every: str) -> tuple[int, str]:
    match = re.fullmatch(_EVERY, every)
    if match is None:
        units = "hour, day, week, month, year or several, such as 10 days"
        raise ValueError(f"{every!r} is no stretch of time; write {units}")
    return int(match[1] or 1), match[2]


def _every(given: object) -> object:
    if not isinstance(given, str):
        raise ValueError(f"{shown(given)} is no stretch of time; write one such as 10 days")
    _parts(given)
    return given


def _keep(given: object) -> object:
    whole = isinstance(given, int) and not isinstance(given, bool) and given > 0
    if whole or given in ("best", "first", "middle"):
        return given
    raise ValueError(f"{shown(given)} is none of best, first, middle and whole numbers from 1")


class Sample(BaseModel):
    """How many photos a stretch of time gives, and which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Annotated[
        str,
        BeforeValidator(_every),
        Field(description="a stretch of time: hour, day, week, month, year, or several: 10 days"),
    ]
    keep: Annotated[
        Literal["best", "first", "middle"] | Annotated[int, Field(ge=1)],
        BeforeValidator(_keep, json_schema_input_type=Literal["best", "first", "middle"] | int),
        Field(
            description="what of it: best (by score, sharpness, facing forward and similarity), "
            "first, middle, or a number: so many of the best"
        ),
    ] = "best"

    def bucket(self, taken: datetime) -> int:
        """Return the number of the stretch of time in which a photo was taken."""
        count, unit = _parts(self.every)
        days = taken.toordinal() - 1  # day 0 is a Monday
        of_unit = {
            "hour": days * 24 + taken.hour,
            "day": days,
            "week": days // 7,
            "month": taken.year * 12 + taken.month - 1,
            "year": taken.year,
        }
        return of_unit[unit] // count
