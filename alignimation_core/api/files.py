"""Photo files, photos that lie in an archive or on a server, and the names that users write."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from glob import has_magic
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from upath import UPath

RAW_SUFFIXES = frozenset(
    ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .kdc .mrw .nef .nrw .orf .pef .raf .raw .rw2 .sr2 .srf"
    " .srw .x3f".split()
)
"""Camera raw formats: found, so that none is lost in silence."""

_OPTIONAL = frozenset({".jxl"} if find_spec("pillow_jxl") else ())

PHOTO_SUFFIXES = (
    RAW_SUFFIXES
    | _OPTIONAL
    | frozenset(
        ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .avif .heic .heif .hif .tif .tiff .bmp .gif"
        " .jp2 .j2k .ppm .pgm .tga".split()
    )
)
"""Endings, in small letters, of what counts as a photo in a folder or an archive."""


class Opener(Protocol):
    """What opens photos by their keys: a ``PhotoSource``."""

    def open(self, key: str) -> bytes | Path:
        """Return the bytes of a photo, or the local file that it is."""


@dataclass(frozen=True, slots=True)
class SourcePhoto:
    """A photo as its source lists it: what is known of it before it is opened.

    It stands for the file wherever a photo that is a file has its path.

    Attributes:
        source: what opens it.
        key: what the source opens it by.
        place: where it lies, for people and for the run record; no two photos have the same. What
            lies in a local file begins with that file's absolute path: ``/a/b.zip/2019/c.jpg``.
        taken: when it was taken, as far as the source knows; local time if it has no time zone.
            A date in the photo's own metadata comes before it.
        taken_from: where ``taken`` is from, in a word: ``takeout``.
        modified: when the file was last written; what counts when nothing else is known.
        albums: the albums that it is in.
        persons: who is in it, by name.
        version: a text that changes with the photo's content; empty where none is known, and then
            the photo is read anew by each run.
    """

    source: Opener = field(repr=False, compare=False)
    key: str
    place: str
    taken: datetime | None = None
    taken_from: str = ""
    modified: datetime | None = None
    albums: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    version: str = ""

    @property
    def name(self) -> str:
        """The last part of the place."""
        return PurePosixPath(self.place).name

    @property
    def suffix(self) -> str:
        """The ending of the name."""
        return PurePosixPath(self.place).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the place."""
        return PurePosixPath(self.place).parts

    def as_posix(self) -> str:
        """Return the place."""
        return self.place

    def __str__(self) -> str:
        """Return the place."""
        return self.place


File: TypeAlias = "Path | UPath | SourcePhoto"
"""A local file, one at an address, or a photo that its source opens."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a source has.

    Attributes:
        photos: in any order; a plain path where the photo is a file of which no more is known.
        passed_over: files that lie among the photos and are none, by their places.
        why: why there are no photos and what to do, for when there are none.
    """

    photos: Sequence[File]
    passed_over: Sequence[str] = ()
    why: str = "there are no photos in it"


def unwritable(name: str) -> str | None:
    """Return why no file of text can hold a photo's name, and what to do; None where one can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return f"the photo's name {name!a} is no UTF-8, and cannot be written; rename the photo"
    return None


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
        plain = written.replace("\\", "/").removeprefix("./")
        for name in (written, plain):
            if name in self._known:
                return [name]
        ends, stems = self._ends
        return ends.get(plain) or stems.get(plain) or []

    def matching(self, pattern: str) -> list[str]:
        """Return the photos that a name or a glob means, by whole names or without folders.

        Raises:
            LookupError: it means none, or a name more than one; the text says what to do.
        """
        if self.meant(pattern) or not has_magic(pattern):
            return [self.one(pattern)]
        patterns = {pattern, pattern.replace("\\", "/")}
        found = [
            name
            for name in self._every
            if any(
                fnmatchcase(each, p) for each in (name, name.rpartition("/")[2]) for p in patterns
            )
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
