"""Photos of a source, without those that lie in the output folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from alignimation_core.api import urls
from alignimation_core.api.data import File
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin import sources

INSIDE = "it lies inside the output folder {}, where nothing is a photo"


class Search(NamedTuple):
    """What a search gave.

    Attributes:
        photos: sorted by path.
        passed_over: files that lie among the photos and are none, by their places.
        why: why there are no photos; None if there are some.
    """

    photos: list[File]
    passed_over: list[str]
    why: str | None


def find(wanted: str | PhotoSource, folder: Path, output: Path | str) -> Search:
    """Find the photos of one entry of a recipe; nothing inside the output is one.

    Args:
        wanted: a source, or what a recipe only names, relative to the folder or at an address: then
            the source that recognises it is asked, such as ``files`` for a folder or a glob.
        folder: the recipe's.
        output: where the results go.

    Raises:
        StageError: the source raised, or returned what its hook does not allow.
        ValueError: several sources recognise the same.
    """
    if isinstance(wanted, str):
        place = None if urls.is_address(wanted) else folder / Path(wanted).expanduser()
        wanted = sources.source_for(wanted, place, folder)
    listing = sources.find(wanted)
    inside = _Inside(output, folder)
    every = {str(file): file for file in listing.photos}
    found = [file for text, file in sorted(every.items()) if text not in inside]
    others = sorted(text for text in listing.passed_over if text not in inside)
    why = listing.why
    if every and not found and urls.is_address(next(iter(every))):
        why = INSIDE.format(output)
    return Search(found, others, None if found else why)


class _Inside:
    """The places inside an output folder, whichever links lead there."""

    def __init__(self, output: Path | str, folder: Path) -> None:
        self._address = self._within = None
        if urls.is_address(str(output)):
            self._address = f"{urls.at(str(output))}".rstrip("/") + "/"
        else:
            self._within = f"{os.path.realpath(folder / output)}{os.sep}"
        self._folders: dict[str, bool] = {}

    def __contains__(self, text: str) -> bool:
        """Return whether a file lies there."""
        if not os.path.isabs(text):  # noqa: PTH117 - a Path for each of many costs seconds
            return self._address is not None and text.startswith(self._address)
        above = text.rpartition(os.sep)[0]
        if above not in self._folders:
            real = f"{os.path.realpath(above + os.sep)}{os.sep}"
            self._folders[above] = self._within is not None and real.startswith(self._within)
        return self._folders[above]
