"""Folders, walked for photos; what in them is never one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alignimation_core.api.files import PHOTO_SUFFIXES

RECORD = "run.json"
"""The run record, beside the outputs that it names."""

LITTER = frozenset(
    {
        "@eaDir",  # thumbnails of a Synology
        "#recycle",
        "$RECYCLE.BIN",
        "lost+found",
        "System Volume Information",
        "__MACOSX",
        "Thumbs.db",
        "desktop.ini",
    }
)
"""What systems leave in folders; beside it, what is hidden: ``.Trash-1000``, ``.thumbnails``."""


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is no user's."""
    return name.startswith(".") or name in LITTER


def is_photo(name: str) -> bool:
    """Return whether a file counts as a photo by its ending."""
    return name[name.rfind(".") :].lower() in PHOTO_SUFFIXES


def outputs_in(record: bytes) -> frozenset[str]:
    """Return the outputs of runs that a run record names, relative to it; none if it is none."""
    begin, end = record.find(b'"photos": [\n'), record.rfind(b"\n ]")
    if -1 < begin < end:  # there may be many thousands
        record = record[: begin + len(b'"photos": [')] + record[end:]
    try:
        data = json.loads(record)
        every = (data["outputs"], data.get("kept", ()), data.get("report", ()))
        names = [name for some in every for name in some] if "alignimation" in data else []
    except (ValueError, KeyError, TypeError, AttributeError):
        return frozenset()
    return frozenset(name for name in names if isinstance(name, str))


def outputs_at(folder: str) -> frozenset[str]:
    """Return the paths of outputs that the run record in a folder names."""
    try:
        record = Path(folder, RECORD).read_bytes()
    except OSError:
        return frozenset()
    names = (name.split("/") for name in outputs_in(record))
    return frozenset(os.path.join(folder, *parts) for parts in names)  # noqa: PTH118


@dataclass(slots=True)
class Walk:
    """What was found in a folder and its sub-folders.

    Attributes:
        wanted: whether a file or folder is, by its path relative to the folder that was named.
        recursive: whether sub-folders are walked.
        photos: files that count as photos, also those that links lead to, and links to nowhere.
        others: files that do not.
        unread: folders that cannot be read.
    """

    wanted: Callable[[str], bool] = lambda _: True
    recursive: bool = True
    photos: list[Path] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)

    def through(self, folder: Path) -> None:
        """Walk a folder; each of its sub-folders once, whichever links lead to it."""
        self._enter(str(folder), "", {os.path.realpath(folder)}, frozenset())

    def _enter(self, folder: str, inside: str, seen: set[str], outputs: frozenset[str]) -> None:
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=os.DirEntry.is_symlink)
        except OSError:
            self.unread.append(Path(folder))
            return
        if any(entry.name == RECORD for entry in entries) and (found := outputs_at(folder)):
            outputs |= found | {f"{folder}{os.sep}{RECORD}"}
        for entry in entries:
            name = f"{inside}{entry.name}"
            if is_litter(entry.name) or entry.path in outputs or not self.wanted(name):
                continue
            if _is_folder(entry):
                real = os.path.realpath(entry.path)
                if self.recursive and real not in seen:
                    seen.add(real)
                    self._enter(entry.path, f"{name}/", seen, outputs)
            elif _is_file(entry):
                if is_photo(entry.name):
                    self.photos.append(Path(entry.path))
                else:
                    self.others.append(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # such as a link to itself, of which is told when it is read
        return True


def walked(matches: Sequence[Path], root: Path, named: Sequence[str]) -> Iterator[Path]:
    """Yield the matches of a pattern that are no litter and no outputs of runs.

    Args:
        matches: files below the root.
        root: the part of the pattern without wildcards.
        named: the parts of the pattern, which are meant even where they look like litter.
    """
    outputs: dict[str, frozenset[str]] = {}
    start = len(root.parts)
    for path in matches:
        parts = path.parts
        place, skip = str(Path(*parts[:start])), frozenset[str]()
        for part in parts[start:]:
            if place not in outputs:
                outputs[place] = outputs_at(place)
            skip |= outputs[place]
            place = os.path.join(place, part)  # noqa: PTH118
            if place in skip or (is_litter(part) and part not in named):
                break
        else:
            yield path
