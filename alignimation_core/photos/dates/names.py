"""Dates in the names of files and folders, as cameras, phones, messengers and people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath

from alignimation_core.photos.dates.taken import INSTANT, Taken, moment, offset, span

_CENTURY = "(?:18|19|20)"
_MONTH, _DAY = "0?[1-9]|1[0-2]", "0?[1-9]|[12][0-9]|3[01]"
_GAP = r"(?P<gap>[-_ T.,]{1,3})(?:(?:at|um|om|kl\.?|alle|a las|à|às)[ ])?"
"""Between date and time, with the word that messengers put there."""
_SECONDS = r"(?P<H>[01]\d|2[0-3])(?P<M>[0-5]\d)(?P<S>[0-5]\d)(?:\d{1,3})?"
_MINUTES = r"(?P<h>1\d|2[0-3])(?P<m>[0-5]\d)(?![-_.]\d)"
"""Four digits beside a date are a time, but a number where they begin with 0."""
_SPACED = (
    r"(?P<hh>[01]?\d|2[0-3])(?P<colon>[.:h]|(?<=\d\d)[-_])(?P<mm>[0-5]\d)"
    r"(?:(?P=colon)(?P<ss>[0-5]\d)(?:[-_.,]\d{3}(?!\d))?)?"
)
_REST = r"(?:[ ]?(?P<half>[AaPp])\.?[Mm](?![^\W\d_]))?(?P<zone>Z|[+-]\d\d:?\d\d)?"
_TIME = rf"(?:{_GAP}(?:{_SECONDS}|{_MINUTES}|{_SPACED}){_REST})?(?!\d)"
_BEFORE, _AFTER = r"(?:^|(?<=\s))", r"(?![-_.]?\d)"

_DATES = (
    re.compile(  # 20180704_101530, 20180704
        rf"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01]){_TIME}"
    ),
    re.compile(  # 20180704101530, 201807041015
        r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])"
        r"(?P<H>[01]\d|2[0-3])(?P<M>[0-5]\d)(?:(?P<S>[0-5]\d)(?:\d{3})?)?(?!\d)"
    ),
    re.compile(  # 2018-07-04 at 9.05.30 PM, 2018-7-4
        rf"(?<!\d)(?P<year>{_CENTURY}\d\d)(?P<dash>[-_. ])(?P<month>{_MONTH})(?P=dash)"
        rf"(?P<day>{_DAY}){_TIME}"
    ),
    re.compile(  # 04-07-2018 10.15
        rf"(?<!\d)(?P<day>{_DAY})(?P<dash>[-_. ])(?P<month>{_MONTH})(?P=dash)"
        rf"(?P<year>{_CENTURY}\d\d){_TIME}"
    ),
    re.compile(  # 07-13-2018, whose 13 is no month
        rf"(?<!\d)(?P<month>{_MONTH})(?P<dash>[-_. ])(?P<day>1[3-9]|2\d|3[01])(?P=dash)"
        rf"(?P<year>{_CENTURY}\d\d){_TIME}"
    ),
)
_UNIX = re.compile(r"(?<!\d)(?:(\d{10})|(\d{13}))(?!\d)")
_COARSE = (
    re.compile(rf"{_BEFORE}(?P<year>{_CENTURY}\d\d)[-_.](?P<month>{_MONTH}){_AFTER}"),
    re.compile(rf"(?<!\d)(?P<year>{_CENTURY}\d\d)-(?P<month>0[1-9]|1[0-2]){_AFTER}"),
    re.compile(rf"{_BEFORE}(?P<year>(?:19|20)\d\d)(?=$|[\s(),]|[-_]\D|[-_]\d{{1,3}}$)"),
)
_COUNTED = re.compile(r"(?:dsc\w?|foto|image|img|photo|pic|picture|scan)\s+$", re.IGNORECASE)
"""After these, four digits are a number."""
_FOLDERS = re.compile(  # 2018/07/04/, 2018/07 - July/
    rf"(?:^|/)(?P<year>{_CENTURY}\d\d)/(?P<month>0[1-9]|1[0-2])(?:[ ]?[-_.][^/]*)?/"
    r"(?:(?P<day>0[1-9]|[12]\d|3[01])(?:[ ]?[-_.][^/]*)?/)?"
)


def in_name(path: str) -> Iterator[Taken]:
    """Yield the dates in a file's own name, the likeliest first; the path's parts end in ``/``."""
    name = path.rpartition("/")[2]
    stem = " ".join(PurePosixPath(name).stem.split())
    yield from _whole(stem, "name", INSTANT if name.startswith("PXL_") else None)
    for seconds, thousandths in _UNIX.findall(stem):
        count = int(seconds) if seconds else int(thousandths) / 1000
        if count >= 946_684_800:  # the year 2000
            yield Taken.of(datetime.fromtimestamp(count, UTC), "name")
    for pattern in _COARSE:
        for match in pattern.finditer(stem):
            if not _COUNTED.search(stem[: match.start()]):
                yield from _taken(match, "name")


def in_folders(path: str) -> Iterator[Taken]:
    """Yield the dates in the names of a file's folders, the innermost first."""
    *folders, _ = path.split("/")
    for match in _FOLDERS.finditer("/".join(folders) + "/"):
        yield from _taken(match, "folder")
    for folder in reversed(folders):
        yield from _whole(folder, "folder")
        for found in filter(None, (pattern.match(folder) for pattern in _COARSE)):
            yield from _taken(found, "folder")


def _whole(text: str, origin: str, zone: str | None = None) -> Iterator[Taken]:
    """Yield the dates that name a day, in the order in which they stand."""
    matches = (match for pattern in _DATES for match in pattern.finditer(text))
    for match in sorted(matches, key=re.Match.start):
        yield from _taken(match, origin, zone)


def _taken(match: re.Match[str], origin: str, zone: str | None = None) -> Iterator[Taken]:
    parts = match.groupdict()
    hour, minute, second = (
        next(filter(None, (parts.get(name) for name in names)), None)
        for names in (("H", "h", "hh"), ("M", "m", "mm"), ("S", "ss"))
    )
    half = parts.get("half")
    if half and hour and 1 <= int(hour) <= 12:
        hour = f"{int(hour) % 12 + 12 * (half in 'Pp')}"
    at = moment(parts["year"], parts.get("month"), parts.get("day"), hour, minute, second)
    if at is None:
        return
    if hour is None:
        day = at.day if parts.get("day") else None
        month = at.month if parts.get("month") else None
        yield Taken(at, origin, None, span(at.year, month, day))
    else:
        written = offset(parts["zone"]) if parts.get("gap") == "T" else None
        yield Taken(at, origin, zone or written)
