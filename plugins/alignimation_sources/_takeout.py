"""Google Takeouts: which sidecar belongs to which photo, and what it says."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from alignimation_core import PhotoError
from alignimation_sources import _archive
from alignimation_sources._archive import ArchiveError, Member
from alignimation_sources._walk import Walk, is_photo

_EXPORT = re.compile(r"takeout-\d{8}T\d{6}Z", re.IGNORECASE)
"""How the parts of one export begin."""

_PART = re.compile(rf"({_EXPORT.pattern}-(?:\d+-)?)(\d+)(\..+)", re.IGNORECASE)
"""Name of a part: that of the export, its number, its ending."""

_NAME = re.compile(r"(.*?)(\(\d+\))?(\.[^.]*)?", re.DOTALL)
"""Stem, number and ending of a photo."""

_SIDECAR = re.compile(r"(.*?)(\(\d+\))?\.json", re.DOTALL | re.IGNORECASE)

_ENDING = ".supplemental-metadata"

_LONGEST = 46
"""Characters of a sidecar's name that are left, without its number and ``.json``."""

_EDITED = (
    *"-edited -effects -smile -mix -bearbeitet -bewerkt -edytowane -editat -modificato".split(),
    *"-modifié -編集済み".split(),
    "-ha editado",
)
"""What stands behind the stem of an edited photo, in the languages that Takeout speaks."""

_YEAR = re.compile(r"(photos from|fotos (von|aus|de|del|uit)|photos de|foto del) \d{4}", re.I)
"""Folders of all photos of a year, which are no albums."""

_LARGEST_SIDECAR = 1 << 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Entry(NamedTuple):
    """A file of a takeout: the folder or archive that it is in, and what it is there."""

    container: Path
    member: Member

    def read(self) -> bytes:
        """Return its bytes.

        Raises:
            OSError: it cannot be read.
            PhotoError: the archive is damaged here.
        """
        if self.container.is_dir():
            return (self.container / self.member.key).read_bytes()
        return _archive.opened(self.container).read(self.member.key)


@dataclass(slots=True)
class Shot:
    """A photo, and what the takeout says of it."""

    entry: Entry
    taken: datetime | None = None
    albums: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()


@dataclass(slots=True)
class Contents:
    """The photos of a takeout, and its other files but sidecars."""

    shots: list[Shot] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def is_takeout(path: Path) -> bool:
    """Return whether a folder or an archive is of a Google Takeout."""
    if _archive.is_archive(path):
        if _EXPORT.match(path.name) or not path.name.lower().endswith(".zip"):
            return _EXPORT.match(path.name) is not None
        try:
            members = _archive.opened(path).members
        except ArchiveError:
            return False
        return any(member.name.startswith("Takeout/") for member in members)
    return path.is_dir() and any(map(_is_sidecar, _some_json(path, 3)))


def _some_json(folder: Path, deep: int) -> Iterator[Path]:
    """Yield a few JSON files of each folder, as deep as a takeout keeps them."""
    try:
        with os.scandir(folder) as listed:
            entries = list(listed)
    except OSError:
        return
    names = [entry.name for entry in entries if entry.name.endswith(".json")]
    yield from (folder / name for name in names[:3])
    if deep:
        for entry in entries:
            if "." not in entry.name and entry.is_dir(follow_symlinks=False):
                yield from _some_json(folder / entry.name, deep - 1)


def _is_sidecar(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"photoTakenTime"' in file.read(1 << 16)
    except OSError:
        return False


def containers(paths: Sequence[Path]) -> list[Path]:
    """Return the folders and archives of takeouts, with all parts of each export.

    Raises:
        ArchiveError: a path is neither.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            archives = [each for each in sorted(path.iterdir()) if _EXPORT.match(each.name)]
            found.update(dict.fromkeys([path, *filter(_archive.is_archive, archives)]))
        elif _archive.is_archive(path):
            export = _EXPORT.match(path.name)
            beside = sorted(path.parent.iterdir()) if export else [path]
            head = export[0].lower() if export else path.name.lower()
            parts = (each for each in beside if each.name.lower().startswith(head))
            found.update(dict.fromkeys(filter(_archive.is_archive, parts)))
        else:
            what = "is no folder or archive" if path.exists() else "does not exist"
            raise ArchiveError(f"{path} {what}")
    return list(found)


def missing(paths: Iterable[Path]) -> Iterator[str]:
    """Yield the names of parts that are not beside the others, as far as numbers tell."""
    exports: dict[str, dict[int, re.Match[str]]] = defaultdict(dict)
    for path in paths:
        if match := _PART.fullmatch(path.name):
            exports[match[1]][int(match[2])] = match
    for start, parts in exports.items():
        for number in range(1, max(parts)):
            if number not in parts:
                digits, ending = parts[max(parts)][2], parts[max(parts)][3]
                yield f"{start}{number:0{len(digits)}}{ending}"


def contents(paths: Sequence[Path]) -> Contents:
    """Read what the parts of takeouts hold, taken together.

    Raises:
        ArchiveError: a part cannot be read.
    """
    found = Contents()
    folders = _folders(paths)
    once: dict[tuple[object, ...], Shot] = {}
    for folder in sorted(folders, key=lambda each: _YEAR.match(each[1].rpartition("/")[2]) is None):
        for shot in _shots(folders[folder], found.others):
            member = shot.entry.member
            key = member.name.rpartition("/")[2], member.size, shot.taken
            known = once.setdefault(key, shot)
            if known is not shot:
                known.albums = tuple(dict.fromkeys((*known.albums, *shot.albums)))
    found.shots = list(once.values())
    return found


def _folders(paths: Sequence[Path]) -> dict[tuple[str, str], list[Entry]]:
    """Return the files of each folder of each export, of one account at one time, by both.

    What has no name of an export is taken for a part of the others, unless it holds another photo
    under the same path.
    """
    every = [(container, _members(container)) for container in containers(paths)]
    named = {each: found[0].lower() for each, _ in every if (found := _EXPORT.match(each.name))}
    several = len({*named.values()}) > 1
    sizes: dict[tuple[str, str], int] = {}
    folders: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for container, members in every:
        export = named.get(container, "") if several else ""
        photos = {member.name: member.size for member in members if is_photo(member.name)}
        if any(sizes.get((export, name), size) != size for name, size in photos.items()):
            export = str(container)
        sizes |= {(export, name): size for name, size in photos.items()}
        for member in members:
            folder = member.name.rpartition("/")[0]
            folders[export, folder].append(Entry(container, member))
    return folders


def _members(container: Path) -> list[Member]:
    if not container.is_dir():
        every = _archive.opened(container).members
        return [member for member in every if _archive.is_shown(member.name)]
    walk = Walk()
    walk.through(container)
    members = []
    for path in (*map(str, walk.photos), *walk.others):
        name = path[len(str(container)) + 1 :].replace("\\", "/")
        try:
            known = Path(path).stat()
        except OSError:
            continue
        modified = datetime.fromtimestamp(known.st_mtime, UTC)
        version = f"{known.st_size} {known.st_mtime_ns}"
        members.append(Member(name, name, known.st_size, modified, version))
    return members


def _shots(entries: Sequence[Entry], others: list[str]) -> Iterator[Shot]:
    """Yield the photos of one folder with what their sidecars say; take note of other files."""
    photos: dict[str, Entry] = {}
    sidecars: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        name = _plain(entry.member.name.rpartition("/")[2])
        if is_photo(name):
            photos[name] = entry
        elif match := _SIDECAR.fullmatch(name):
            sidecars[match[1], match[2] or ""] = entry
        elif not name.endswith(".html"):
            others.append(str(entry.container / entry.member.name))
    stems: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in photos:
        stem, number, _ = _parts(name)
        stems[stem, number].append(name)
    originals = {name: _originals(name, stems) for name in photos}
    replaced = {original for each in originals.values() for original in each}
    owners = {name: _owner(name, originals[name], sidecars) for name in photos}
    album = _album(sidecars[key] for key in sidecars.keys() - set(owners.values()))
    for name, entry in photos.items():
        key = owners[name]
        said = {} if key is None else _read(sidecars[key])
        if name not in replaced and not said.get("trashed"):
            yield Shot(entry, _taken(said), album, _persons(said))


def _parts(name: str) -> tuple[str, str, str]:
    """Return stem, number such as ``(1)``, and ending of a photo's name."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return match[1], match[2] or "", match[3] or ""


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _unedited(name: str) -> str | None:
    """Return the stem of the photo that a photo is an edited version of; None if it is none.

    Of a long stem, Google cuts what stands behind it: ``-edi`` is ``-edited``.
    """
    stem, _number, ending = _parts(name)
    for word in _EDITED:
        if stem.endswith(word):
            return stem.removesuffix(word)
    if len(stem) + len(ending) >= _LONGEST:
        head, dash, end = stem.rpartition("-")
        if end and any(word.startswith(dash + end) for word in _EDITED):
            return head
    return None


def _originals(name: str, stems: Mapping[tuple[str, str], Sequence[str]]) -> Sequence[str]:
    """Return the photos that an edited photo takes the place of; their endings may be others."""
    stem = _unedited(name)
    return () if stem is None else stems.get((stem, _parts(name)[1]), ())


def _owner(
    name: str, originals: Sequence[str], sidecars: Mapping[tuple[str, str], Entry]
) -> tuple[str, str] | None:
    """Return which sidecar speaks of a photo, or of its original."""
    names = [name, *originals]
    if (stem := _unedited(name)) is not None:
        names.append("".join((stem, *_parts(name)[1:])))
    return next(filter(None, (_sidecar(each, sidecars) for each in names)), None)


def _sidecar(name: str, sidecars: Mapping[tuple[str, str], Entry]) -> tuple[str, str] | None:
    """Return which sidecar belongs to a photo, by its name and number.

    ``a(1).jpg`` has ``a.jpg(1).json``; its ``.supplemental-metadata`` and long names are cut.
    """
    stem, number, ending = _parts(name)
    for title, wanted in ((f"{stem}{ending}", number), (name, "")):
        whole = title + _ENDING
        least = min(len(title), _LONGEST - len(wanted))
        for end in range(len(whole), least - 1, -1):
            if (whole[:end], wanted) in sidecars:
                return whole[:end], wanted
    return None


def _read(entry: Entry) -> dict[str, Any]:
    try:
        data = json.loads(entry.read()) if entry.member.size <= _LARGEST_SIDECAR else None
    except (OSError, ValueError, PhotoError):
        return {}
    return data if isinstance(data, dict) else {}


def _taken(sidecar: dict[str, Any]) -> datetime | None:
    try:
        seconds = int(sidecar["photoTakenTime"]["timestamp"])
        return _EPOCH + timedelta(seconds=seconds) if seconds else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _persons(sidecar: dict[str, Any]) -> tuple[str, ...]:
    people = sidecar.get("people")
    names = [each.get("name") for each in people or () if isinstance(each, dict)]
    return tuple(name for name in names if isinstance(name, str))


def _album(others: Iterable[Entry]) -> tuple[str, ...]:
    """Return the title of the album that a folder is, from what is no photo's sidecar."""
    for entry in others:
        data = _read(entry)
        title = data.get("title")
        if isinstance(title, str) and title and "photoTakenTime" not in data:
            return () if _YEAR.fullmatch(title) else (title,)
    return ()
