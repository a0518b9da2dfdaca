"""Photos with their facts, in order, without a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignimation_core.api import urls
from alignimation_core.api.data import File, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.photos import metadata
from alignimation_core.photos import order as ordering
from alignimation_core.plugin import sources
from alignimation_core.recipe.timeline import Order


def order(photos: str | Path | Sequence[str | File | Photo], by: Order = "taken") -> list[Photo]:
    """Return photos in the order in which they were taken, as a run has them.

    Args:
        photos: a folder, a glob, an archive, a film or an address; or a list of files.
        by: ``taken``, ``name`` (2 before 10), ``modified`` (the files' time) or ``given``.

    Returns:
        The facts of each photo; ``load`` takes them, too. No pixels are decoded.

    Raises:
        PhotoError: there are none, or one cannot be read.
    """
    if isinstance(photos, str | Path):
        photos = _found(str(photos))
    listed = [each if isinstance(each, Photo) else facts_of(each) for each in photos]
    return ordering.order(listed, by)


def facts_of(file: str | File) -> Photo:
    """Return the facts of one photo file; its name is relative to the working directory.

    Raises:
        PhotoError: it cannot be read, or is no picture.
    """
    if isinstance(file, str):
        file = urls.at(file) if urls.is_address(file) else Path(file)
    if isinstance(file, Path):
        file = file.expanduser().absolute()
    return ordering.in_zone(metadata.facts(file, Path.cwd()), None)


def _found(text: str) -> Sequence[File]:
    place = None if urls.is_address(text) else Path.cwd() / Path(text).expanduser()
    listing = sources.find(sources.source_for(text, place, Path.cwd()))
    if not listing.photos:
        raise PhotoError(place or urls.at(text), listing.why)
    return listing.photos
