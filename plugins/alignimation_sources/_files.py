"""Expand a folder, glob or address into photo files."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignimation_core.api import urls
from alignimation_core.api.data import File
from alignimation_core.api.files import PHOTO_SUFFIXES, RAW_SUFFIXES
from alignimation_sources._walk import RECORD, Walk, is_litter, is_photo, outputs_in, walked

if TYPE_CHECKING:
    from upath import UPath

_KNOWN = " ".join(sorted(PHOTO_SUFFIXES - RAW_SUFFIXES))

_MAGIC = re.compile(r"[*?[]")


class Found(NamedTuple):
    """Files, sorted by path; what is none among them; and why there are no photos, if so."""

    photos: list[File]
    others: list[str]
    why: str


def find(pattern: str, folder: Path, wanted: Callable[[str], bool], *, recursive: bool) -> Found:
    """Find the photos that a folder, a glob, a file or an address names.

    Args:
        pattern: relative to the folder.
        folder: an absolute path.
        wanted: whether a photo is, by its path relative to what is named.
        recursive: whether sub-folders of a folder are searched, too.

    Raises:
        AddressError: an address cannot be listed.
    """
    if urls.is_address(pattern):
        return _list(pattern, wanted, recursive=recursive)
    place = folder / Path(pattern).expanduser()
    walk = Walk(wanted, recursive)
    if place.is_dir():
        walk.through(Path(os.path.normpath(place)))
        why = f"the folder {place} holds no photos ({_KNOWN})"
        if walk.unread == [place]:
            why, walk.unread = f"the folder {place} cannot be read: {_denied(place)}", []
    elif glob.has_magic(pattern) and not place.exists():
        named = Path(pattern).expanduser()  # the folder's own name may hold brackets
        names = glob.glob(str(named), root_dir=folder, recursive=True)
        matches = [Path(os.path.normpath(folder / name)) for name in names]
        root = _without_magic(folder, named)
        files = [path for path in walked(matches, root, named.parts) if _is_file(path)]
        walk.photos = [path for path in files if wanted(_below(path, root))]
        why = f"no file matches {place}"
    else:
        walk.photos = [Path(os.path.normpath(place))] if _is_file(place) else []
        why = f"{place} does not exist"
    every = {str(path): path for path in (*walk.photos, *walk.unread)}
    return Found([path for _, path in sorted(every.items())], sorted(walk.others), why)


def _without_magic(folder: Path, pattern: Path) -> Path:
    """Return the folder in which all matches of a pattern lie, as far as it is written out."""
    fixed = next(i for i, part in enumerate(pattern.parts) if glob.has_magic(part))
    return Path(os.path.normpath(folder / Path(*pattern.parts[:fixed])))


def _below(path: Path, root: Path) -> str:
    inside = path.parts[len(root.parts) :]
    return "/".join(inside)


def _is_file(path: Path) -> bool:
    """Return whether it is a file, or a link that leads nowhere, which is not lost in silence."""
    return path.is_file() or (path.is_symlink() and not path.is_dir())


def _denied(path: Path) -> str:
    try:
        with os.scandir(path):
            return "try again"
    except OSError as error:
        return error.strerror or type(error).__name__


def _list(address: str, wanted: Callable[[str], bool], *, recursive: bool) -> Found:
    """List the photos in a folder with its sub-folders, the matches of a glob, or one file.

    Hidden files, and files in hidden folders that the glob does not name, are left out.
    """
    place, others = urls.at(address), list[str]()
    why = f"the folder {address} holds no photos ({_KNOWN})"
    try:
        place.fs.invalidate_cache()
        info = urls.look(place)
        found: dict[str, dict[str, Any]] = {}
        if info is not None and info["type"] != "directory":
            urls.remember(place, info)
            return Found([place], [], "")
        if info is not None:
            found = place.fs.find(place.path, detail=True, maxdepth=None if recursive else 1)
            files = _without_outputs(_unhidden(found, place.path, wanted), place)
            names = [name for name in files if is_photo(name)]
            others = [name for name in files if not is_photo(name)]
        elif _MAGIC.search(place.path):
            found = place.fs.glob(place.path, detail=True)
            matches = (name for name, each in found.items() if each["type"] != "directory")
            names = _unhidden(matches, place.path, wanted)
            why = f"no file matches {address}"
        else:
            names, why = [], f"{address} does not exist"
        if not names:
            why = urls.missing_bucket(place) or why
    except Exception as error:  # backends raise their own, such as botocore's
        raise urls.AddressError(urls.reason(error)) from error
    paths: list[File] = []
    for name in names:
        path = _at(place, name)
        urls.remember(path, found[name])
        paths.append(path)
    return Found(sorted(paths, key=str), sorted(str(_at(place, name)) for name in others), why)


def _at(place: UPath, name: str) -> UPath:
    return type(place)(name, protocol=place.protocol, **place.storage_options)


def _unhidden(names: Iterable[str], root: str, wanted: Callable[[str], bool]) -> list[str]:
    """Return the files that are not hidden below a folder, or below the fixed part of a glob."""
    named = _parts(root)
    fixed = next((i for i, part in enumerate(named) if _MAGIC.search(part)), len(named))
    visible = []
    for name in names:
        *folders, last = _parts(name)[fixed:]
        hidden = [part for part in folders if is_litter(part) and part not in named[fixed:]]
        shown = not name.endswith("/") and not hidden and not is_litter(last)
        if shown and wanted("/".join((*folders, last))):
            visible.append(name)
    return visible


def _without_outputs(names: list[str], place: UPath) -> list[str]:
    """Return the files of a folder that are no outputs of a run whose record is beside them."""
    ours: list[str] = []
    for name in names:
        folder, _, last = name.rpartition("/")
        if last == RECORD and (outputs := outputs_in(place.fs.cat_file(name))):
            ours += (name, *(f"{folder}/{output}" for output in outputs))
    within = tuple(f"{output}/" for output in ours)
    return [name for name in names if name not in ours and not name.startswith(within)]


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]
