"""What runs wrote into an output folder, by size and BLAKE3: nothing else is ever replaced."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from blake3 import blake3

VERSION = 1
PIECE = 1 << 20
"""Bytes that are hashed at once."""
FILE_MANAGERS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers put into every folder that is looked at."""


class Found(NamedTuple):
    """What stands at a path.

    Attributes:
        size: bytes; None for a link, an empty folder and whatever else is no file.
        stamp: a text that changes with the file; None where none is known.
    """

    size: int | None
    stamp: str | None


class Content(NamedTuple):
    """What a run wrote into a file; ``stamp`` as in ``Found``, None until it has its name."""

    size: int
    digest: str
    stamp: str | None = None


class Files(Protocol):
    """An output folder, here or at an address; paths are relative to it, with ``/``."""

    def listing(self, name: str) -> dict[str, Found]:
        """Return what stands in the place of an output, by path: a file, or all in a folder."""

    def digest(self, path: str) -> str:
        """Return the hex digest of a file."""


class LocalFiles:
    """A folder on this machine; links are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def listing(self, name: str) -> dict[str, Found]:
        """Return what stands in the place of an output; see ``Files``."""
        try:
            status = (self._folder / name).lstat()
        except OSError:
            return {}
        if stat.S_ISDIR(status.st_mode):
            return dict(self._inside(name))
        return {name: _found(status)}

    def digest(self, path: str) -> str:
        """Return the hex digest of a file."""
        with (self._folder / path).open("rb") as stream:
            return digest_in(stream)

    def _inside(self, name: str) -> Iterator[tuple[str, Found]]:
        try:
            entries = os.scandir(self._folder / name)
        except OSError:
            yield name, Found(None, None)
            return
        with entries:
            for entry in entries:
                path = f"{name}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    inside = dict(self._inside(path))
                    yield from inside.items() if inside else [(path, Found(None, None))]
                elif entry.name not in FILE_MANAGERS:
                    yield path, _found(os.lstat(entry.path))


def _found(status: os.stat_result) -> Found:
    if not stat.S_ISREG(status.st_mode):
        return Found(None, None)
    times = status.st_mtime_ns, status.st_ctime_ns
    if not any(time % 1_000_000_000 for time in times):  # a disk that counts seconds: too coarse
        return Found(status.st_size, None)
    return Found(status.st_size, f"{times[0]} {times[1]} {status.st_ino}")


class Written:
    """The files that runs wrote, and what they wrote into each.

    A file counts as written by a run only while it holds just that: its size and digest say so,
    or its size and stamp where these are known.

    Attributes:
        names: the outputs of runs that may stand there.
    """

    def __init__(self, files: Files) -> None:
        self.names: set[str] = set()
        self._files = files
        self._contents: dict[str, list[Content]] = {}

    @classmethod
    def load(cls, files: Files, text: bytes, digests: Mapping[str, str]) -> Written:
        """Return what a table holds, as ``text`` gave it.

        Where it does not know an output, that is one if its digest is among those of the run
        record.
        """
        written = cls(files)
        try:
            data = json.loads(text)
            contents = {
                path: [Content(*each) for each in some] for path, some in data["files"].items()
            }
            if data["version"] == VERSION:
                written.names, written._contents = set(data["outputs"]), contents
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # there is none, or it is damaged
        for name, digest in digests.items():
            if name not in written.names:
                written._adopt(name, digest)
        return written

    def text(self) -> bytes:
        """Return what ``load`` takes."""
        data = {"version": VERSION, "outputs": sorted(self.names), "files": self._contents}
        return json.dumps(data).encode()

    def strangers(self, name: str, found: Mapping[str, Found] | None = None) -> list[str]:
        """Return the paths in the place of an output that hold what no run wrote there.

        ``found`` is its listing.
        """
        found = self._files.listing(name) if found is None else found
        matches: dict[str, Content] = {}
        unsure: list[str] = []
        for path, (size, stamp) in found.items():
            for content in self._contents.get(path, ()):
                if (content.size, content.stamp) == (size, stamp) and stamp is not None:
                    matches[path] = content
                elif content.size == size:
                    unsure.append(path)
        unsure = [path for path in dict.fromkeys(unsure) if path not in matches]
        for path, digest in zip(unsure, _digests(self._files, unsure), strict=True):
            for content in self._contents[path]:
                if (content.size, content.digest) == (found[path].size, digest):
                    matches[path] = content._replace(stamp=found[path].stamp)
        for path, match in matches.items():
            others = [each for each in self._contents[path] if each.digest != match.digest]
            self._contents[path] = [match, *others]
        return sorted(found.keys() - matches.keys())

    def standing(self) -> list[str]:
        """Return the outputs of runs that stand there, as runs wrote them."""
        listings = ((name, self._files.listing(name)) for name in self.names)
        return sorted(name for name, found in listings if found and not self.strangers(name, found))

    def knows(self, path: str) -> bool:
        """Return whether a run wrote a file of this path, whatever it holds now."""
        return path in self._contents

    def claim(self, contents: Mapping[str, Mapping[str, Content]]) -> None:
        """Take up what outputs are about to hold, beside what ``standing`` found there."""
        self.names = {name for name in self.names if self._files.listing(name)}
        self._contents = {
            path: some for path, some in self._contents.items() if self._is_of(path, self.names)
        }
        for name, files in contents.items():
            self.names.add(name)
            for path, content in files.items():
                self._contents[path] = [*self._contents.get(path, ())[:1], content]

    def settle(self, contents: Mapping[str, Mapping[str, Content]]) -> None:
        """Take up that outputs hold just this now."""
        self._contents = {
            path: some for path, some in self._contents.items() if not self._is_of(path, contents)
        }
        for name, files in contents.items():
            found = self._files.listing(name)
            for path, content in files.items():
                stamp = found[path].stamp if path in found else None
                self._contents[path] = [content._replace(stamp=stamp)]

    def digests(
        self, names: Iterable[str], contents: Mapping[str, Mapping[str, Content]]
    ) -> dict[str, str]:
        """Return ``digest_of`` of outputs: of ``names``, which ``standing`` found, and others."""
        stand = {
            name: {path: self._contents[path][0] for path in self._files.listing(name)}
            for name in names
        }
        return {name: digest_of(name, files) for name, files in (stand | {**contents}).items()}

    def _adopt(self, name: str, digest: str) -> None:
        found = self._files.listing(name)
        if found and all(each.size is not None for each in found.values()):
            contents = contents_of(self._files, name, found)
            if digest_of(name, contents) == digest:
                self.names.add(name)
                self._contents |= {path: [content] for path, content in contents.items()}

    @staticmethod
    def _is_of(path: str, names: Iterable[str]) -> bool:
        return any(path == name or path.startswith(f"{name}/") for name in names)


def digest_in(stream: BinaryIO) -> str:
    """Return the hex digest of what is left of a stream.

    BLAKE3 (https://github.com/BLAKE3-team/BLAKE3) takes half of the time of SHA-256.
    """
    digest = blake3()
    while piece := stream.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def contents_of(
    files: Files, name: str, found: Mapping[str, Found] | None = None
) -> dict[str, Content]:
    """Return what the files of an output hold, by path; ``found`` is its listing."""
    found = files.listing(name) if found is None else found
    return {
        path: Content(each.size or 0, digest or "", each.stamp)
        for (path, each), digest in zip(found.items(), _digests(files, found), strict=True)
    }


def digest_of(name: str, contents: Mapping[str, Content]) -> str:
    """Return one BLAKE3 digest of an output: of a file, its own.

    That of a folder is of the lines ``digest  path`` of its files, sorted by path, as
    ``b3sum * | b3sum`` in it gives.
    """
    if list(contents) == [name]:
        return contents[name].digest
    lines = (
        f"{contents[path].digest}  {path.removeprefix(name + '/')}\n" for path in sorted(contents)
    )
    return blake3("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _digests(files: Files, paths: Iterable[str]) -> list[str | None]:
    """Return the hex digests of files; None for those that cannot be read."""

    def digest(path: str) -> str | None:
        try:
            return files.digest(path)
        except OSError:
            return None

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), "hashes") as pool:
        return list(pool.map(digest, paths))
