"""Adds to a file of corrections, and takes from it: all else in it stays, comments too."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError

from alignimation_core.api import atomic
from alignimation_core.api.errors import Fault, OutputError, RecipeError, in_one_line
from alignimation_core.api.files import PhotoNames
from alignimation_core.corrections.document import PARSERS, Entry, read

_LOCK = threading.Lock()

Change = Callable[[CommentedMap, Sequence[Entry]], None]


def add(
    file: Path, names: PhotoNames, photo: str, sha256: str | None, changes: Mapping[str, object]
) -> None:
    """Add to what is corrected of one photo; a newer value takes the place of an older one.

    Args:
        file: the file of corrections, which need not be there; its folder is.
        names: the names of all photos.
        photo: one of them.
        sha256: of that photo's file, so that the correction survives a new name; None if it
            cannot be read.
        changes: keys of ``Correction`` and their values; keypoints are added to those there.

    Raises:
        ValueError: a value is none that its key can have.
        RecipeError: the file was broken by hand; it stays as it is.
        OutputError: the file cannot be written; it stays as it is.
    """
    plain = {key: _plain(PARSERS[key](value)) for key, value in changes.items()}

    def change(document: CommentedMap, entries: Sequence[Entry]) -> None:
        given = _of(photo, sha256, document, entries, names)
        if given is None:
            given = document[photo] = CommentedMap()
            if sha256 is not None:
                given["sha256"] = sha256
        for key, value in plain.items():
            if isinstance(value, CommentedMap) and key in given:
                given[key].update(value)
            else:
                given[key] = value

    _rewrite(file, change)


def remove(
    file: Path, names: PhotoNames, photo: str, sha256: str | None, keys: Iterable[str]
) -> None:
    """Take back what is corrected of one photo, by key; nothing where nothing is said of it.

    The arguments and errors are those of ``add``.
    """
    unwanted = frozenset(keys)

    def change(document: CommentedMap, entries: Sequence[Entry]) -> None:
        given = _of(photo, sha256, document, entries, names)
        if given is None:
            return
        for key in unwanted & given.keys():
            del given[key]
        if not given.keys() - {"sha256"}:
            (key,) = (key for key, value in document.items() if value is given)
            del document[key]

    if file.exists():
        _rewrite(file, change)


def _of(
    photo: str,
    sha256: str | None,
    document: CommentedMap,
    entries: Sequence[Entry],
    names: PhotoNames,
) -> CommentedMap | None:
    """Return what is said of a photo: under its name, or under another that has its content."""
    renamed: CommentedMap | None = None
    given: CommentedMap
    for entry, given in zip(entries, document.values(), strict=True):
        meant = names.meant(entry.written)
        if meant == [photo]:
            return given
        if not meant and sha256 is not None and entry.correction.sha256 == sha256:
            renamed = given
    return renamed


def _plain(value: object) -> object:
    """Return a value as the file is to show it: points in one line, midnight as a date."""
    match value:
        case dict():
            return CommentedMap({key: _plain(each) for key, each in value.items()})
        case tuple():
            point = CommentedSeq(round(side, 2) for side in value)
            point.fa.set_flow_style()
            return point
        case datetime():
            return value if value.time() != datetime.min.time() else value.date()
    return value


def _rewrite(file: Path, change: Change) -> None:
    """Change a file of corrections, unless it is broken; somebody's own changes meanwhile stay."""
    if file.is_symlink():
        raise OutputError(
            f"{file} is a link; nothing is written through links; name what it leads to in "
            "`corrections`"
        )
    try:
        with _LOCK:
            before = _bytes(file)
            after = _changed(file, before, change)
            if after == before:
                return
            with atomic.AtomicWrite(file) as part:
                part.write_bytes(after)
                if file.exists():
                    shutil.copymode(file, part)
                read(part, None)
                if _bytes(file) != before:
                    raise OutputError(f"{file}: it was changed meanwhile; correct it again")
    except OSError as error:
        what = atomic.reason(error, "correct the file by hand")
        raise OutputError(f"{file}: {what}") from error


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _changed(file: Path, before: bytes, change: Change) -> bytes:
    entries = read(file, None)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    text = before.decode("utf-8-sig").replace("\r\n", "\n")
    try:
        document = yaml.load(text)
        head = ""
        if document is None:  # comments alone, at most
            head, document = text, CommentedMap()
        change(document, entries)
        stream = io.StringIO()
        yaml.dump(document, stream)
    except YAMLError as error:
        what = f"this cannot be added to: {in_one_line(error)}; correct it by hand"
        raise RecipeError([Fault(str(file), None, "", what)]) from error
    if head and not head.endswith("\n"):
        head += "\n"
    after = head + (stream.getvalue() if document else "")
    if b"\r\n" in before:
        after = after.replace("\n", "\r\n")
    bom = b"\xef\xbb\xbf"
    return (bom if before.startswith(bom) else b"") + after.encode()
