"""Adds to a file of corrections, and takes from it: all else in it stays, comments too."""

from __future__ import annotations

import io
import re
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
from alignimation_core.api.files import PhotoNames, unwritable
from alignimation_core.corrections.document import PARSERS, Entry, read

_LOCK = threading.Lock()

_PLAIN = re.compile(r"[^\s{\[&*!|>%@?#-]")
"""How the line of an entry begins, of which the lines can be read alone."""

Change = Callable[[CommentedMap | None], CommentedMap | None]
"""Takes what is said of one photo, and returns what is to be said; None is nothing."""


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
        RecipeError: the file was broken by hand, or the photo's name cannot be written; it stays
            as it is.
        OutputError: the file cannot be written; it stays as it is.
    """
    plain = {key: _plain(PARSERS[key](value)) for key, value in changes.items()}

    def change(given: CommentedMap | None) -> CommentedMap:
        if given is None:
            given = CommentedMap({} if sha256 is None else {"sha256": sha256})
        for key, value in plain.items():
            if isinstance(value, CommentedMap) and key in given:
                given[key].update(value)
            else:
                given[key] = value
        return given

    _rewrite(file, photo, lambda entries: _place(photo, sha256, entries, names), change)


def remove(
    file: Path, names: PhotoNames, photo: str, sha256: str | None, keys: Iterable[str]
) -> None:
    """Take back what is corrected of one photo, by key; nothing where nothing is said of it.

    The arguments and errors are those of ``add``.
    """
    unwanted = frozenset(keys)

    def change(given: CommentedMap | None) -> CommentedMap | None:
        if given is None:
            return None
        for key in unwanted & given.keys():
            del given[key]
        return given if given.keys() - {"sha256"} else None

    if file.exists():
        _rewrite(file, photo, lambda entries: _place(photo, sha256, entries, names), change)


def _place(
    photo: str, sha256: str | None, entries: Sequence[Entry], names: PhotoNames
) -> int | None:
    """Return which entry is a photo's: under its name, or under another that has its content."""
    renamed: int | None = None
    for place, entry in enumerate(entries):
        meant = names.meant(entry.written)
        if meant == [photo]:
            return place
        if not meant and sha256 is not None and entry.correction.sha256 == sha256:
            renamed = place
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


def _rewrite(
    file: Path, photo: str, place: Callable[[Sequence[Entry]], int | None], change: Change
) -> None:
    """Change a file of corrections, unless it is broken; somebody's own changes meanwhile stay."""
    if file.is_symlink():
        raise OutputError(
            f"{file} is a link; nothing is written through links; name what it leads to in "
            "`corrections`"
        )
    try:
        with _LOCK:
            before = _bytes(file)
            entries = read(file, None)
            if (at := place(entries)) is None and (why := unwritable(photo)):
                raise RecipeError([Fault(str(file), None, "", why)])
            after = _changed(file, before, photo, entries, at, change)
            if after == before:
                return
            with atomic.AtomicWrite(file) as part:
                part.write_bytes(after)
                if file.exists():
                    shutil.copymode(file, part)
                _check_others(file, entries, read(part, None))
                if _bytes(file) != before:
                    raise OutputError(f"{file}: it was changed meanwhile; correct it again")
    except OSError as error:
        what = atomic.reason(error, "correct the file by hand")
        raise OutputError(f"{file}: {what}") from error


def _check_others(file: Path, before: Sequence[Entry], after: Sequence[Entry]) -> None:
    """Refuse to change what is said of more than one photo."""
    said, now = ({each.written: each.correction for each in some} for some in (before, after))
    changed = [name for name in {**said, **now} if said.get(name) != now.get(name)]
    if len(changed) > 1:
        what = f"{changed[1]} would change, too, as by an alias (&, *); write both out by hand"
        raise RecipeError([Fault(str(file), None, "", what)])


def _bytes(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _changed(
    file: Path,
    before: bytes,
    photo: str,
    entries: Sequence[Entry],
    at: int | None,
    change: Change,
) -> bytes:
    text = before.decode("utf-8-sig").replace("\r\n", "\n")
    head, part, tail = _around(text, entries, at)
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000
    try:
        document = yaml.load(part)
        if document is None:  # comments alone, at most
            head, part, document = head + part, "", CommentedMap()
        keys = [*document]
        key = photo if at is None else keys[at if len(keys) == len(entries) else 0]
        given = change(document.get(key))
        if given is not None:
            document[key] = given
        elif key in document:
            del document[key]
        stream = io.StringIO()
        yaml.dump(document, stream)
    except YAMLError as error:
        what = f"this cannot be added to: {in_one_line(error)}; correct it by hand"
        raise RecipeError([Fault(str(file), None, "", what)]) from error
    if head and not head.endswith("\n"):
        head += "\n"
    after = head + (stream.getvalue() if document else _comments_after(part)) + tail
    if b"\r\n" in before:
        after = after.replace("\n", "\r\n")
    bom = b"\xef\xbb\xbf"
    return (bom if before.startswith(bom) else b"") + after.encode()


def _around(text: str, entries: Sequence[Entry], at: int | None) -> tuple[str, str, str]:
    """Return what stands before an entry, the entry's own lines, and what follows.

    With None for ``at``, the lines are none, at the end. Of a file in which lines cannot be told
    apart so, all are the entry's; thousands of others would take seconds.
    """
    lines = text.splitlines(keepends=True)
    starts = [(entry.fault("", "").line or 1) - 1 for entry in entries]
    plain = (
        len(lines) == text.count("\n") + (not text.endswith("\n"))
        and all(_PLAIN.match(lines[start]) for start in starts)
        and not any(line.startswith(("---", "...", "%")) for line in lines)
        and not re.search(r"(?m)[\s:\[{,][&*]\S", text)
    )
    if not (plain and entries):
        return "", text, ""
    if at is None:
        return text, "", ""
    end = starts[at + 1] if at + 1 < len(starts) else len(lines)
    return "".join(lines[: starts[at]]), "".join(lines[starts[at] : end]), "".join(lines[end:])


def _comments_after(part: str) -> str:
    """Return the comments after an entry that is taken away: they may be the next one's."""
    lines = part.splitlines(keepends=True)
    last = max((i for i, line in enumerate(lines) if line.strip() and line[0] != "#"), default=-1)
    return "".join(lines[last + 1 :])
