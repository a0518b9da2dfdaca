"""Whose the files in the output folder are: only outputs of earlier runs are ever replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alignimation_core.recipe.document import Place
from alignimation_core.record import RECORD_NAME, without_photos
from alignimation_core.store.database import HIDDEN


def name(path: str) -> str:
    """Return the path of a renderer as the run record names it, with ``/``."""
    return str(PurePosixPath(path.replace("\\", "/")))


def known(folder: Path) -> list[str]:
    """Return the outputs of earlier runs that stand in a folder, as its run record names them."""
    try:
        record = (folder / RECORD_NAME).read_bytes()
    except OSError:
        return []
    return sorted(each for each in listed(record) if (folder / each).exists())


def finished(folder: Path) -> frozenset[str]:
    """Return what the last run that wrote a record into a folder had finished by then."""
    try:
        found = _read(without_photos((folder / RECORD_NAME).read_bytes()))
    except OSError:
        return frozenset()
    return frozenset() if found is None else found.finished


def listed(record: bytes) -> frozenset[str]:
    """Return the outputs of this and earlier runs that a run record names; none if it is none.

    Args:
        record: what ``run.json`` holds.
    """
    found = _read(without_photos(record))
    return frozenset() if found is None else found.finished | found.kept


def is_record(text: bytes) -> bool:
    """Return whether this is what a run record holds."""
    return _read(without_photos(text)) is not None


class _Outputs(NamedTuple):
    """What a run record names: what the run finished, and what else may be of a run."""

    finished: frozenset[str]
    kept: frozenset[str]


@lru_cache(maxsize=1)
def _read(record: bytes) -> _Outputs | None:
    """Return the outputs that a run record without its photos names; None if it is none."""
    try:
        data = json.loads(record)
        if "photos" not in data or "alignimation" not in data:
            return None
        every = data["outputs"], data.get("kept", ())
        return _Outputs(*(frozenset(n for n in names if isinstance(n, str)) for names in every))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def obstacles(folder: Path, paths: list[str]) -> Iterator[tuple[Place, str]]:
    """Yield what stands in the way of writing outputs, each with its place in the recipe.

    Args:
        folder: the output folder; it need not exist.
        paths: the paths of the renderers, relative to it.
    """
    record = folder / RECORD_NAME
    if (record.exists() or record.is_symlink()) and not _is_record(record):
        yield ("output",), f"{record} is no run record; move it away, or choose another folder"
    earlier = known(folder)
    for i, path in enumerate(paths):
        relative = PurePosixPath(name(path))
        place: Place = ("renderers", i, "path")
        final = folder / relative
        if relative.parts[0] == HIDDEN:
            yield place, f"the folder {HIDDEN} is the store's; choose another path"
        for part in (*reversed(list(relative.parents)[:-1]), relative):
            here = folder / part
            if here.is_symlink():
                yield place, f"{here} is a link; outputs are not written through links"
                break
            if part != relative and here.exists() and not here.is_dir():
                yield place, f"{here} is a file; choose another path"
                break
        else:
            if final.exists() and str(relative) not in earlier:
                yield (
                    place,
                    f"{final} is no output of an earlier run; move it away, or choose another path",
                )


class Claims:
    """Which outputs in a folder are of runs: of earlier ones, of this one, of others meanwhile.

    Args:
        folder: the output folder.
        earlier: names of outputs of earlier runs.
        paths: of this run's renderers.
        shared: whether others write there: the user, and runs at the same time.
    """

    def __init__(
        self, folder: Path, earlier: Iterable[str], paths: Iterable[str], *, shared: bool
    ) -> None:
        self._folder, self._shared = folder, shared
        self._ours, self._theirs = {*earlier}, frozenset[str]()
        self.planned = frozenset(name(path) for path in paths)

    def refuse(self, path: str) -> str | None:
        """Return why an output must not take its name now; None where it does so next."""
        final, called = self._folder / name(path), name(path)
        known = called in self._ours or called in self._theirs | finished(self._folder)
        if self._shared and not known and (final.exists() or final.is_symlink()):
            return f"{final} appeared while the run went on; move it away, or choose another path"
        self._ours.add(called)
        return None

    def standing(self) -> list[str]:
        """Return the outputs of earlier runs and of this one that stand there."""
        return sorted(each for each in self._ours if (self._folder / each).exists())

    def meet(self) -> frozenset[str]:
        """Return what other runs have written; to be asked before a record takes its place."""
        if not self._shared:
            return frozenset()
        self._theirs |= finished(self._folder)
        return frozenset(known(self._folder)) - self.planned


def _is_record(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    try:
        return is_record(path.read_bytes())
    except OSError:
        return False
