"""A date at which a photo may have been taken, where it comes from, and whether it can be."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

INSTANT = "UTC"
"""The zone of a date that is an instant: which clock hung on the wall there, nobody knows."""

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1)
FIRST_PHOTOGRAPH = 1826


class Taken(NamedTuple):
    """When a photo was taken, as one place has it.

    Attributes:
        at: the time on the wall, without a zone; in UTC where ``zone`` is ``UTC``.
        origin: the place: ``exif``, ``gps``, ``xmp``, ``png``, ``name``, ``folder``, ``file``, or
            what a photo's source calls its own.
        zone: offset from UTC, such as ``+02:00``; ``UTC`` of an instant; None where it is not said.
        span: how long after ``at`` it may have been as well: a day, of ``2018-07-04``.
    """

    at: datetime
    origin: str
    zone: str | None = None
    span: timedelta = timedelta(0)

    @classmethod
    def of(cls, time: datetime, origin: str) -> Taken:
        """Return a date: an instant, of a time with a zone, else one on the wall."""
        if time.tzinfo is None:
            return cls(time, origin)
        return cls(time.astimezone(UTC).replace(tzinfo=None), origin, INSTANT)

    def is_possible(self, now: datetime) -> bool:
        """Return whether a photo can be of that date, ``now`` being UTC.

        Not of a time before photography, of the future, nor of the zero of a computer's clock.
        """
        epoch = self.span <= DAY and (
            self.at.date() == EPOCH.date()
            or self.at in (datetime(1904, 1, 1), datetime(1969, 12, 31, self.at.hour))
        )
        return self.at.year >= FIRST_PHOTOGRAPH and self.at <= now + DAY and not epoch

    @property
    def is_default(self) -> bool:
        """Whether that is what a camera says whose clock was never set."""
        return not self.span and (
            self.at.date() == date(1980, 1, 1)
            or self.at.replace(second=0, microsecond=0)
            in (datetime(2000, 1, 1), datetime(2002, 12, 8, 12))
        )

    def disagrees(self, other: datetime) -> bool:
        """Return whether another time is more than a day away from all that this may mean."""
        return not self.at - DAY <= other <= self.at + self.span + DAY


def choose(candidates: Iterable[Taken], now: datetime) -> Taken | None:
    """Return the first date that is possible, those of a clock that was never set after the others.

    ``now`` is UTC. None where no date is possible.
    """
    default: Taken | None = None
    for each in candidates:
        if each.is_possible(now):
            if not each.is_default:
                return each
            default = default or each
    return default


def moment(*parts: str | None, fraction: str | None = None) -> datetime | None:
    """Return the time that year, month, day, hour, minute and second say; None if they say none.

    Hour 24 is the first of that day, as cameras write it that count hours from 1 to 24; second 60,
    a leap second, is the one before.
    """
    year, month, day, hour, minute, second = (
        int(part) if part else default
        for part, default in zip((*parts, *[None] * 6)[:6], (0, 1, 1, 0, 0, 0), strict=True)
    )
    micros = int((fraction or "0")[:6].ljust(6, "0"))
    try:
        return datetime(
            year,
            month,
            day,
            0 if hour == 24 else hour,
            minute,
            59 if second == 60 else second,
            micros,
        )
    except ValueError:
        return None


def span(year: int, month: int | None, day: int | None) -> timedelta:
    """Return the length of a year, a month or a day."""
    if day is not None:
        return DAY
    if month is not None:
        return timedelta(calendar.monthrange(year, month)[1])
    return timedelta(365 + calendar.isleap(year))


def offset(text: object) -> str | None:
    """Return an offset from UTC as ``+02:00``, written so or as ``+0200`` or ``Z``; else None."""
    match = re.fullmatch(r"\s*(?:(Z)|([+-])(\d\d):?([0-5]\d))[\s\0]*", str(text))
    if match is None:
        return None
    zulu, sign, hours, minutes = match.groups()
    if zulu:
        return "+00:00"
    return f"{sign}{hours}:{minutes}" if int(hours) * 60 + int(minutes) <= 14 * 60 else None


@lru_cache
def offset_of(delta: timedelta) -> str:
    """Return an offset from UTC as text, ``+02:00``."""
    minutes = round(delta.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


@lru_cache
def delta_of(offset: str) -> timedelta:
    """Return the length of an offset such as ``+02:00``, or ``UTC``."""
    if offset == INSTANT:
        return timedelta(0)
    delta = timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
    return -delta if offset[0] == "-" else delta
