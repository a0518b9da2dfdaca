"""When a photo was taken, by its EXIF or its name."""

from __future__ import annotations

import re
from datetime import datetime

from PIL import Image


def in_exif(exif: Image.Exif) -> datetime | None:
    """Return the first date there is: ``DateTimeOriginal``, ``DateTimeDigitized``, ``DateTime``."""
    inner = exif.get_ifd(0x8769)
    return (
        _exif_date(inner.get(0x9003), inner.get(0x9291))
        or _exif_date(inner.get(0x9004), inner.get(0x9292))
        or _exif_date(exif.get(0x0132), inner.get(0x9290))
    )


def _exif_date(text: object, fraction: object) -> datetime | None:
    match = re.match(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)", str(text))
    if match is None:
        return None
    digits = re.match(r"\d{1,6}", str(fraction))
    micros = int(digits.group().ljust(6, "0")) if digits else 0
    year, month, day, hour, minute, second = map(int, match.groups())
    return _date(year, month, day, hour, minute, second, micros)


def _date(
    year: int, month: int, day: int, hour: int, minute: int, second: int, micro: int = 0
) -> datetime | None:
    try:
        date = datetime(year, month, day, hour, minute, second, micro)
    except ValueError:
        return None
    return date if date.year >= 1826 else None  # the year of the first photograph


_NAME_DATE = re.compile(
    r"(?<!\d)((?:18|19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])"
    r"(?:[-_ T.]{1,3}(?:at )?([01]\d|2[0-3])([-_.h]?)([0-5]\d)(?:\6([0-5]\d)(?:\d{3})?)?)?"
    r"(?!\d)"
)


def in_name(name: str) -> datetime | None:
    """Return the date in a file name, such as ``IMG_20180704_101530.jpg`` or ``2018-07-04.png``."""
    for match in _NAME_DATE.finditer(name):
        year, _, month, day, hour, _, minute, second = match.groups()
        date = _date(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0)
        )
        if date is not None:
            return date
    return None
