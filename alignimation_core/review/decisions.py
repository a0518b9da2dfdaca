"""What is decided in the page: saved at once, each step of which can be taken back."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alignimation_core.api import atomic
from alignimation_core.api.errors import OutputError, RecipeError
from alignimation_core.api.files import PhotoNames
from alignimation_core.corrections import edit
from alignimation_core.corrections.document import PARSERS, Entry, read
from alignimation_core.recipe.document import Source
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.review import settings

SETTINGS = ("reference", "subject_selector")
"""Keys of the recipe that the page may write."""


class Decisions:
    """Corrections to photos, and settings of the recipe, as the page makes them.

    Photos are meant by their places in the record. What stands in the files is read again for each
    decision: whatever somebody writes there by hand meanwhile stays.

    Args:
        recipe: whose corrections.
        path: its file.
        record: that of its last run.
    """

    def __init__(self, recipe: Recipe, path: Path, record: Mapping[str, Any]) -> None:
        self._recipe_file = path.resolve()
        self._steps: list[tuple[Path, bytes | None, bytes | None]] = []
        self._lock = threading.Lock()
        self.obey(recipe)
        self.take(record)

    def obey(self, recipe: Recipe) -> None:
        """Write into the file of corrections of another recipe from now on."""
        self.file = recipe.folder / recipe.corrections

    def take(self, record: Mapping[str, Any]) -> None:
        """Mean the photos of another record from now on."""
        with self._lock:
            self._paths = [str(photo["path"]) for photo in record["photos"]]
            self._sums = [photo.get("sha256") for photo in record["photos"]]
            self._places = {path: place for place, path in enumerate(self._paths)}
            self._by_sum = {each: place for place, each in enumerate(self._sums) if each}
            self._names = PhotoNames(self._paths)

    def corrected(self) -> dict[int, dict[str, Any]]:
        """Return what the file of corrections says, by photo.

        Raises:
            RecipeError: every fault in it, by line and photo.
        """
        found = {}
        for entry in read(self.file, None):
            place = self._place_of(entry)
            if place is not None:
                found[place] = _shown(entry)
        return found

    def _place_of(self, entry: Entry) -> int | None:
        meant = self._names.meant(entry.written)
        if len(meant) == 1:
            return self._places[meant[0]]
        return self._by_sum.get(entry.correction.sha256 or "")

    def name(self, place: int) -> str:
        """Return a photo's name.

        Raises:
            ValueError: there is no such photo.
        """
        if not 0 <= place < len(self._paths):
            raise ValueError(f"there is no photo {place}")
        return self._paths[place]

    def decide(self, changes: Sequence[tuple[int, Mapping[str, object]]]) -> None:
        """Correct photos, in one step: what each key is to be, None for nothing.

        Raises:
            ValueError: there is no such photo or key, or a key cannot have such a value.
            RecipeError: the file was broken by hand; it stays as it is.
            OutputError: the file cannot be written; it stays as it is.
        """
        for place, wanted in changes:
            self.name(place)
            for key, value in wanted.items():
                if key not in PARSERS or key == "sha256":
                    raise ValueError(f"{key!r} is nothing that can be corrected")
                if value is not None:
                    PARSERS[key](value)
        with self._step(self.file):
            for place, wanted in changes:
                photo, sha256 = self._paths[place], self._sums[place]
                given = {key: value for key, value in wanted.items() if value is not None}
                if gone := wanted.keys() - given.keys():
                    edit.remove(self.file, self._names, photo, sha256, gone)
                if given:
                    edit.add(self.file, self._names, photo, sha256, given)

    def set(self, location: Sequence[str], value: object) -> None:
        """Write a setting into the recipe's file.

        Raises:
            ValueError: the page may not write it.
            RecipeError: the recipe is broken, would be wrong, or cannot be added to; it stays as
                it is.
            OutputError: the file cannot be written; it stays as it is.
        """
        if not location or location[0] not in SETTINGS:
            raise ValueError(f"{'.'.join(location)!r} is nothing that this page writes")
        path = self._recipe_file
        with self._step(path):
            Source.read(path)  # which tells of the line where it is broken
            before = _bytes(path) or b""
            after = settings.edited(str(path), before.decode("utf-8-sig"), location, value)
            if before.startswith(b"\xef\xbb\xbf"):
                after = "\ufeff" + after
            with _replacing(path, before) as part:
                part.write_bytes(after.encode())
                try:
                    Recipe.load(part)
                except RecipeError as error:
                    faults = [replace(fault, where=str(path)) for fault in error.faults]
                    raise RecipeError(faults) from error

    @property
    def undoable(self) -> int:
        """How many steps can be taken back."""
        return len(self._steps)

    def undo(self) -> None:
        """Take back the last step, to the very bytes.

        Raises:
            ValueError: there is none.
            OutputError: the file was changed by hand since; it stays as it is.
        """
        with self._lock:
            if not self._steps:
                raise ValueError("there is nothing to take back")
            path, before, after = self._steps[-1]
            if _bytes(path) != after:
                self._steps.clear()
                raise OutputError(f"{path} was changed since by hand; take it back there")
            if before is None:
                path.unlink()
            else:
                with _replacing(path, after) as part:
                    part.write_bytes(before)
            self._steps.pop()

    @contextmanager
    def _step(self, path: Path) -> Iterator[None]:
        """Keep what a file is before and after, so that the step can be taken back."""
        with self._lock:
            before = _bytes(path)
            try:
                yield
            finally:
                after = _bytes(path)
                if after != before:
                    self._steps.append((path, before, after))


def _shown(entry: Entry) -> dict[str, Any]:
    """Return what is said of a photo, as JSON can hold it."""
    given = asdict(entry.correction)
    if entry.correction.taken is not None:
        given["taken"] = entry.correction.taken.isoformat()
    return {
        key: value for key, value in given.items() if value not in (None, {}) and key != "sha256"
    }


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror or error}; correct the file by hand") from error


@contextmanager
def _replacing(path: Path, expected: bytes | None) -> Iterator[Path]:
    """Give a file to write in place of another, if that is still as expected.

    Raises:
        OutputError: it is a link, cannot be written, or was changed meanwhile.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link; nothing is written through links")
    try:
        with atomic.AtomicWrite(path) as part:
            yield part
            if path.exists():
                shutil.copymode(path, part)
            if _bytes(path) != expected:
                raise OutputError(f"{path}: it was changed meanwhile; decide it again")
    except OSError as error:
        what = atomic.reason(error, "correct the file by hand")
        raise OutputError(f"{path}: {what}") from error
