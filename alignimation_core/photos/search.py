"""Expand a folder, glob or address into photo files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from alignimation_core import urls
from alignimation_core.api.data import File
from alignimation_core.photos.image_file import HEIF, RAW

if TYPE_CHECKING:
    from upath import UPath

SUFFIXES = (
    RAW
    | HEIF
    | frozenset(
        ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .avif .tif .tiff .bmp .gif .jp2 .j2k .ppm .pgm"
        " .tga".split()
    )
)
"""What counts as a photo when a recipe names a folder."""

_KNOWN = " ".join(sorted(SUFFIXES - RAW))

_MAGIC = re.compile(r"[*?[]")

INSIDE = "it lies inside the output folder {}, where nothing is a photo"


def find(pattern: str, folder: Path, output: Path | str) -> tuple[list[File], str | None]:
    """Find the photos that one line of a recipe names; nothing inside the output is one.

    The line is a folder (searched with all its sub-folders), a glob or a file, relative to
    ``folder`` or at an address.

    Returns:
        The files, sorted by path; and, if there are none, why.

    Raises:
        AddressError: an address cannot be listed.
    """
    if urls.is_address(pattern):
        return _find_at(pattern, str(output))
    return _find_here(pattern, folder, folder / output)


def _find_at(pattern: str, output: str) -> tuple[list[File], str | None]:
    files, why = _list(pattern)
    inside = f"{urls.at(output)}".rstrip("/") + "/" if urls.is_address(output) else None
    found = [path for path in files if not (inside and str(path).startswith(inside))]
    why = why or f"the folder {pattern} holds no photos ({_KNOWN})"
    if files and not found:
        why = INSIDE.format(output)
    return sorted(found, key=str), None if found else why


def _find_here(pattern: str, folder: Path, output: Path) -> tuple[list[File], str | None]:
    place = folder / Path(pattern).expanduser()
    output = output.resolve()
    unread: list[Path] = []
    if place.is_dir():
        start = Path(os.path.normpath(place))
        files = list(_inside(start, {os.path.realpath(start), str(output)}, unread))
        why = f"the folder {place} holds no photos ({_KNOWN})"
        if unread == [place]:
            why, unread = f"the folder {place} cannot be read: {_denied(place)}", []
    elif glob.has_magic(pattern) and not place.exists():
        wanted = str(Path(pattern).expanduser())  # the folder's own name may hold brackets
        names = glob.glob(wanted, root_dir=folder, recursive=True)
        matches = [Path(os.path.normpath(folder / name)) for name in names]
        files = [path for path in matches if _is_file(path) and _visible(path, place)]
        why = f"no file matches {place}"
    else:
        files = [Path(os.path.normpath(place))] if _is_file(place) else []
        why = f"{place} does not exist"
    within = f"{output}{os.sep}"
    every = {str(path): path for path in (*files, *unread)}
    folders = {text.rpartition(os.sep)[0] for text in every}
    ours = {
        text for text in folders if f"{os.path.realpath(text + os.sep)}{os.sep}".startswith(within)
    }
    found: list[File] = [
        path for text, path in sorted(every.items()) if text.rpartition(os.sep)[0] not in ours
    ]
    return found, None if found else why


def _is_file(path: Path) -> bool:
    """Return whether it is a file, or a link that leads nowhere, which is not lost in silence."""
    return path.is_file() or (path.is_symlink() and not path.is_dir())


def _inside(folder: Path, seen: set[str], unread: list[Path]) -> Iterator[Path]:
    """Yield the photos in a folder and its sub-folders, also those that links lead to.

    Folders whose real paths are ``seen`` are left out; ``unread`` takes those that cannot be read.
    """
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=os.DirEntry.is_symlink)
    except OSError:
        unread.append(folder)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            real = os.path.realpath(entry.path)
            if real not in seen:
                seen.add(real)
                yield from _inside(Path(entry.path), seen, unread)
        elif entry.name[entry.name.rfind(".") :].lower() in SUFFIXES and _is_photo(entry):
            yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself
        return False


def _is_photo(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file() or (entry.is_symlink() and not entry.is_dir())
    except OSError:  # such as a link to itself, of which is told when it is read
        return True


def _denied(path: Path) -> str:
    try:
        with os.scandir(path):
            return "try again"
    except OSError as error:
        return error.strerror or type(error).__name__


def _visible(path: Path, place: Path) -> bool:
    inside = path.relative_to(place) if place in path.parents else Path(path.name)
    return not any(part.startswith(".") for part in inside.parts)


def _list(address: str) -> tuple[list[UPath], str | None]:
    """List the photos in a folder with its sub-folders, the matches of a glob, or one file.

    Hidden files, and files in hidden folders that the glob does not name, are left out. Without
    files, return why, too; but not of a folder without photos.
    """
    place, why = urls.at(address), None
    try:
        place.fs.invalidate_cache()
        info = urls.look(place)
        found: dict[str, dict[str, Any]] = {}
        if info is not None and info["type"] != "directory":
            urls.remember(place, info)
            return [place], None
        if info is not None:
            found = place.fs.find(place.path, detail=True)
            names = _unhidden(found, place.path)
            names = [name for name in names if PurePosixPath(name).suffix.lower() in SUFFIXES]
        elif _MAGIC.search(place.path):
            found = place.fs.glob(place.path, detail=True)
            files = (name for name, each in found.items() if each["type"] != "directory")
            names, why = _unhidden(files, place.path), f"no file matches {address}"
        else:
            names, why = [], f"{address} does not exist"
        if not names:
            why = urls.missing_bucket(place) or why
    except Exception as error:  # backends raise their own, such as botocore's
        raise urls.AddressError(urls.reason(error)) from error
    paths = []
    for name in names:
        path = type(place)(name, protocol=place.protocol, **place.storage_options)
        urls.remember(path, found[name])
        paths.append(path)
    return paths, None if paths else why


def _unhidden(names: Iterable[str], root: str) -> list[str]:
    """Return the files that are not hidden below a folder, or below the fixed part of a glob."""
    named = _parts(root)
    fixed = next((i for i, part in enumerate(named) if _MAGIC.search(part)), len(named))
    visible = []
    for name in names:
        *folders, last = _parts(name)[fixed:]
        hidden = [part for part in folders if part.startswith(".") and part not in named[fixed:]]
        if not name.endswith("/") and not hidden and not last.startswith("."):
            visible.append(name)
    return visible


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
