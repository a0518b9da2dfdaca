"""Output folder: which existing files a run may overwrite, and the run record in it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from alignimation_core.api.errors import OutputError
from alignimation_core.recipe.document import Location
from alignimation_core.record import RECORD_NAME, Record, without_photos
from alignimation_core.store.database import HIDDEN, Anchor


def name(path: str) -> str:
    """Return the path of a renderer as the run record names it, with ``/``."""
    return str(PurePosixPath(path.replace("\\", "/")))


def known(folder: Path) -> list[str]:
    """Return the outputs of earlier runs that stand in a folder, as its run record names them."""
    return sorted(each for each in listed(_record(folder)) if (folder / each).exists())


def finished(folder: Path) -> frozenset[str]:
    """Return what the last run that wrote a record into a folder had finished by then."""
    found = _read(without_photos(_record(folder)))
    return frozenset() if found is None else found.finished


def listed(record: bytes) -> frozenset[str]:
    """Return the outputs of this and earlier runs that a run record names; none if it is none."""
    found = _read(without_photos(record))
    return frozenset() if found is None else found.finished | found.kept


def is_record(text: bytes) -> bool:
    """Return whether this is what a run record holds."""
    return _read(without_photos(text)) is not None


def _record(folder: Path) -> bytes:
    """Return what the run record in a folder holds; nothing where none can be read."""
    try:
        return (folder / RECORD_NAME).read_bytes()
    except OSError:
        return b""


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


def obstacles(folder: Path, paths: list[str]) -> Iterator[tuple[Location, str]]:
    """Yield what stands in the way of writing outputs, each with its location in the recipe.

    The folder need not exist; the paths are the renderers', relative to it.
    """
    record = folder / RECORD_NAME
    ours = record.is_file() and not record.is_symlink() and is_record(_record(folder))
    if (record.exists() or record.is_symlink()) and not ours:
        yield ("output",), f"{record} is no run record; move it away, or choose another folder"
    earlier = known(folder)
    for i, path in enumerate(paths):
        relative = PurePosixPath(name(path))
        place: Location = ("renderers", i, "path")
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


class OutputFolder:
    """The output folder of one run on this machine.

    Which outputs in it are of runs: of earlier ones, of this one, of others meanwhile. The paths
    are the renderers', relative to it; ``planned`` are their names.

    Attributes:
        folder: the folder in which the run writes.
        address: where the outputs go in the end, if that is not ``folder``.
    """

    address: str | None = None
    shared = True
    """Whether others write there: the user, and runs at the same time."""

    def __init__(self, folder: Path, paths: Iterable[str]) -> None:
        self.folder = folder
        self._paths = list(paths)
        self._anchor: Anchor | None = None
        self._ours: set[str] = set()
        self._theirs: frozenset[str] = frozenset()
        self.planned = frozenset(name(path) for path in self._paths)

    def obstacles(self) -> list[tuple[Location, str]]:
        """Return what stands in the way of the outputs, each with its location in the recipe."""
        return list(obstacles(self.folder, self._paths))

    def prepare(self) -> list[str]:
        """Make the folder; return the outputs of earlier runs that stand there.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass  # whether it can be written shows now, not after an hour
            self._anchor = Anchor(self.folder)
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise OutputError(
                f"{self.folder}: the output folder cannot be written: {what}; set `output`"
            ) from error
        earlier = known(self.folder)
        self._ours.update(earlier)
        return earlier

    def check(self) -> None:
        """Make sure that the folder is still the one that was prepared.

        Raises:
            OutputError: it is gone, or lies on another disk now.
        """
        if self._anchor is not None:
            self._anchor.check()

    def refuse(self, path: str) -> str | None:
        """Return why an output must not take its name now; None where it does so next."""
        final, called = self.folder / name(path), name(path)
        of_runs = called in self._ours or called in self._theirs | finished(self.folder)
        if self.shared and not of_runs and (final.exists() or final.is_symlink()):
            return f"{final} appeared while the run went on; move it away, or choose another path"
        self._ours.add(called)
        return None

    def standing(self) -> list[str]:
        """Return the outputs of earlier runs and of this one that stand there."""
        return sorted(each for each in self._ours if (self.folder / each).exists())

    def write(self, record: Record) -> None:
        """Write ``run.json``, in which the outputs of runs that finished meanwhile stay known.

        Raises:
            OutputError: it cannot be written.
        """
        self.check()
        others: frozenset[str] = frozenset()
        if self.shared:
            self._theirs |= finished(self.folder)
            others = frozenset(known(self.folder)) - self.planned
        record.kept = sorted({*record.kept, *others} - {*record.outputs})
        record.write()

    def finish(self, record: Record) -> None:
        """Write the record of a run that is over.

        Raises:
            OutputError: it cannot be written.
        """
        self.write(record)
