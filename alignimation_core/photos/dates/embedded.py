"""Dates in a picture file: EXIF with its offsets, GPS, XMP, and PNG's texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from alignimation_core.photos.dates.taken import INSTANT, Taken, moment, offset, offset_of, span


class _Tags(NamedTuple):
    """The numbers of the tags of one date."""

    date: int
    offset: int
    fraction: int


_ORIGINAL = _Tags(0x9003, 0x9011, 0x9291)
_DIGITIZED = _Tags(0x9004, 0x9012, 0x9292)
_MODIFIED = _Tags(0x0132, 0x9010, 0x9290)
_GPS_TIME, _GPS_DATE = 7, 29
_QUARTER = timedelta(minutes=15)

_WRITTEN = re.compile(
    r"\s*(\d{4})[:/.-](\d\d?)[:/.-](\d\d?)[ T]+(\d\d?):(\d\d?)(?::(\d\d?)(?:[.,](\d+))?)?"
    r"\s*(Z|[+-]\d\d:?\d\d)?"
)
_DAY = re.compile(r"\s*(\d{4})(?:-(\d\d)(?:-(\d\d))?)?\s*")
_XMP = tuple(
    re.compile(rf"{name}\s*(?:=\s*[\"']|>)([^\"'<]{{4,40}})".encode())
    for name in ("exif:DateTimeOriginal", "photoshop:DateCreated", "xmp:CreateDate")
)
_PNG = ("Creation Time", "creation time", "exif:DateTimeOriginal")


def recorded(image: Image.Image) -> Iterator[Taken]:
    """Yield when a picture was taken or digitised, in order of trust; nothing of broken data."""
    exif, inner, places = _exif(image)
    instant = _gps(places)
    for tags in (_ORIGINAL, _DIGITIZED):
        if found := _in_tags(tags, exif, inner):
            yield found if found.zone or not instant else _placed(found, instant)
    if instant:
        yield Taken(instant, "gps", INSTANT)
    yield from _in_xmp(image.info.get("xmp"))
    for key in _PNG:
        if isinstance(text := image.info.get(key), str) and (found := _text(text, "png")):
            yield found


def modified(image: Image.Image) -> Iterator[Taken]:
    """Yield when a picture was last changed, as EXIF's ``DateTime`` says: often when it was taken.

    Nothing where EXIF does not say, or is broken.
    """
    exif, inner, _ = _exif(image)
    if found := _in_tags(_MODIFIED, exif, inner):
        yield found


def _exif(image: Image.Image) -> tuple[Mapping[int, Any], Mapping[int, Any], Mapping[int, Any]]:
    """Return the tags of a picture, and those of its parts Exif and GPS, as far as they are whole.

    Pillow raises nearly anything on those that are not.
    """
    parts: list[Mapping[int, Any]] = [{}, {}, {}]
    try:
        exif = image.getexif()
        parts[0] = dict(exif)
        parts[1] = exif.get_ifd(ExifTags.IFD.Exif)
        parts[2] = exif.get_ifd(ExifTags.IFD.GPSInfo)
    except Exception:  # noqa: S110
        pass
    return parts[0], parts[1], parts[2]


def _in_tags(tags: _Tags, exif: Mapping[int, Any], inner: Mapping[int, Any]) -> Taken | None:
    texts = (_plain(part.get(tags.date)) for part in (inner, exif))
    match = next(filter(None, map(_WRITTEN.match, texts)), None)
    if match is None:
        return None
    digits = re.match(r"\d+", _plain(inner.get(tags.fraction)))
    *parts, within, zone = match.groups()
    at = moment(*parts, fraction=digits.group() if digits else within)
    if at is None:
        return None
    written = (zone, inner.get(tags.offset), inner.get(_MODIFIED.offset))
    zones = (offset(_plain(text)) for text in written)
    return Taken(at, "exif", next(filter(None, zones), None))


def _plain(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _gps(places: Mapping[int, Any]) -> datetime | None:
    """Return the instant of a GPS fix, in UTC."""
    try:
        day = re.match(r"(\d{4})\D(\d\d?)\D(\d\d?)", _plain(places[_GPS_DATE]))
        hours, minutes, seconds = (float(part) for part in places[_GPS_TIME])
        start = moment(*day.groups()) if day else None
        time = timedelta(hours=hours, minutes=minutes, seconds=seconds)
        return start + time if start is not None and time <= timedelta(days=1) else None
    except (KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return None


def _placed(found: Taken, instant: datetime) -> Taken:
    """Give a time on the wall the offset in which it is the instant of the photo's GPS fix."""
    quarters = round((found.at - instant) / _QUARTER) * _QUARTER
    return found._replace(zone=offset_of(quarters)) if abs(quarters) <= 56 * _QUARTER else found


def _in_xmp(packet: object) -> Iterator[Taken]:
    data = packet.encode() if isinstance(packet, str) else packet
    if isinstance(data, bytes):
        for pattern in _XMP:
            for match in pattern.finditer(data):
                if found := _text(match.group(1).decode("latin-1"), "xmp"):
                    yield found


def _text(text: str, origin: str) -> Taken | None:
    """Return a date written as EXIF, ISO 8601 or an e-mail writes it."""
    if match := _WRITTEN.match(text):
        *parts, fraction, zone = match.groups()
        at = moment(*parts, fraction=fraction)
        return Taken(at, origin, offset(zone)) if at else None
    if match := _DAY.fullmatch(text):
        _, month, day = (int(part) if part else None for part in match.groups())
        at = moment(*match.groups())
        return Taken(at, origin, None, span(at.year, month, day)) if at else None
    try:
        mailed = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    delta = mailed.utcoffset()
    return Taken(mailed.replace(tzinfo=None), origin, None if delta is None else offset_of(delta))
