"""The photos that users mean, by the names that they write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cached_property
from glob import has_magic
from pathlib import PurePosixPath


class PhotoNames:
    """The names of all photos, found with or without folder or ending."""

    def __init__(self, names: Iterable[str]) -> None:
        self._every = list(dict.fromkeys(names))
        self._known = frozenset(self._every)

    @cached_property
    def _ends(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """All that names end with, from a folder on, with and without the files' endings."""
        ends: dict[str, list[str]] = {}
        stems: dict[str, list[str]] = {}
        for name in self._every:
            parts = name.split("/")
            for start in range(len(parts)):
                end = "/".join(parts[start:])
                ends.setdefault(end, []).append(name)
                stems.setdefault(end.removesuffix(PurePosixPath(end).suffix), []).append(name)
        return ends, stems

    def meant(self, written: str) -> list[str]:
        """Return the photos that a name may mean: the one called so, or all that end so."""
        if written in self._known:
            return [written]
        plain = written.removeprefix("./")
        ends, stems = self._ends
        return ends.get(plain) or stems.get(plain) or []

    def matching(self, pattern: str) -> list[str]:
        """Return the photos that a name or a glob means, by whole names or without folders.

        Raises:
            LookupError: it means none, or a name more than one; the text says what to do.
        """
        if self.meant(pattern) or not has_magic(pattern):
            return [self.one(pattern)]
        found = [
            name
            for name in self._every
            if fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)
        ]
        if not found:
            raise LookupError(f"no photo matches {pattern!r}; {self._sample()}")
        return found

    def one(self, written: str) -> str:
        """Return the one photo that a name means.

        Raises:
            LookupError: it means none, or more than one; the text says what to do.
        """
        meant = self.meant(written)
        if len(meant) > 1:
            names = f"{meant[0]} or {meant[1]}"
            raise LookupError(f"{len(meant)} photos are named {written!r}; write {names}")
        if not meant:
            raise LookupError(f"there is no photo {written!r}; {self._near(written)}")
        return meant[0]

    def _near(self, written: str) -> str:
        bare = written.rpartition("/")[2].casefold()
        lasts: dict[str, str] = {}
        for name in self._every:
            last = name.rpartition("/")[2].casefold()
            lasts.setdefault(last, name)
            lasts.setdefault(last.rpartition(".")[0] or last, name)
        near = dict.fromkeys(lasts[last] for last in difflib.get_close_matches(bare, lasts, 3))
        return f"did you mean {' or '.join(near)}?" if near else self._sample()

    def _sample(self) -> str:
        return f"photos are named as {self._every[0]}" if self._every else "there are no photos"
