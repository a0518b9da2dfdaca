"""Order of photos in time, natural sort of names, names relative to the recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from alignimation_core.api import urls
from alignimation_core.api.data import File, Photo
from alignimation_core.api.files import SourcePhoto
from alignimation_core.photos.dates.taken import INSTANT, delta_of, offset_of
from alignimation_core.recipe.timeline import Order

NUMBERS = re.compile(r"(\d+)")


def order(photos: Sequence[Photo], by: Order = "taken", zone: tzinfo | None = None) -> list[Photo]:
    """Return photos in an order; those of one time by name.

    Args:
        photos: what to order; ``given`` is as they come.
        by: their time, their name (2 before 10), their file's time, or as given.
        zone: where photos were taken of which nobody says; this computer's where it is None.
    """
    if by == "given":
        return list(photos)
    ordered = sorted(photos, key=lambda photo: photo.name)
    ordered.sort(key=lambda photo: natural(photo.name))
    if by == "taken":
        ordered.sort(key=lambda photo: instant(photo, zone))
    elif by == "modified":
        ordered.sort(key=lambda photo: _written(photo) or instant(photo, zone))
    return ordered


def _written(photo: Photo) -> datetime | None:
    """Return when a photo's file was last written, UTC; None where nobody says."""
    if photo.modified is not None or isinstance(photo.path, Path | SourcePhoto):
        return photo.modified
    try:
        time = urls.modified(photo.path)
    except Exception:  # backends raise their own; the photo itself has been read
        return None
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


def instant(photo: Photo, zone: tzinfo | None) -> datetime:
    """Return when a photo was taken, UTC; in a zone, or in this computer's, where nobody says."""
    if photo.taken_zone is not None:
        return photo.taken - delta_of(photo.taken_zone)
    return _local(photo.taken.replace(tzinfo=zone), UTC).replace(tzinfo=None)


def _local(time: datetime, zone: tzinfo | None) -> datetime:
    """Return a time in a zone, or in this computer's; where the computer knows none of then, as is.

    Not all systems know the offsets of the time before 1970.
    """
    try:
        return time.astimezone(zone)
    except (OverflowError, OSError, ValueError):
        return time.replace(tzinfo=time.tzinfo or UTC)


def in_zone(photo: Photo, zone: tzinfo | None) -> Photo:
    """Return a photo whose time is a local one: its own, or that of a zone; see ``local``."""
    taken, offset = local(photo.taken, photo.taken_zone, zone)
    if (taken, offset) == (photo.taken, photo.taken_zone):
        return photo
    return replace(photo, taken=taken, taken_zone=offset)


def local(
    taken: datetime, taken_zone: str | None, zone: tzinfo | None
) -> tuple[datetime, str | None]:
    """Return a time, and its offset, as clocks showed it where the photo was taken.

    An instant becomes what clocks show in the zone, and a time of which nobody says the zone is one
    of there. None is this computer's zone, in which the latter stay as they are.
    """
    if taken_zone == INSTANT:
        there = _local(taken.replace(tzinfo=UTC), zone)
    elif taken_zone is None and zone is not None:
        there = taken.replace(tzinfo=zone)
    else:
        return taken, taken_zone
    offset = there.utcoffset()
    assert offset is not None
    return there.replace(tzinfo=None), offset_of(offset)


def natural(text: str) -> list[str | int]:
    """Return a key that sorts ``img2`` before ``img10``: text and numbers in turn."""
    parts: list[str | int] = [*NUMBERS.split(text)]
    parts[1::2] = map(int, parts[1::2])
    return parts


def relative_name(path: File | str, folder: Path) -> str:
    """Return a file's name as the run record gives it: relative to the recipe, or its address."""
    text, start = str(path), str(folder)
    if not isinstance(path, Path) and not Path(text).is_absolute():
        return text
    inside = text[len(start) :]
    if text.startswith(start) and inside.startswith(os.sep):
        inside = inside[1:]
    else:
        try:
            inside = os.path.relpath(text, start)
        except ValueError:  # on another drive of Windows
            inside = text
    return inside if os.sep == "/" else Path(inside).as_posix()
