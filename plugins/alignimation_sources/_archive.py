"""ZIP and TAR archives, read in place: nothing in them decides where anything is written."""

from __future__ import annotations

import tarfile
import tempfile
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from alignimation_core import PhotoError
from alignimation_sources._walk import is_litter, is_photo

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

LARGEST = 1 << 30
"""Bytes of the largest photo that is read."""

DENSEST = 200
"""How many times its size in the archive a photo may have: more is a bomb, not a picture."""

SMALL = 64 << 20
"""Bytes up to which the density does not matter: a white TIFF is dense, too."""

CHUNK = 1 << 20


class ArchiveError(ValueError):
    """An archive cannot be read; the text says why and what to do."""


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
        key: by which it is read.
        name: path in the archive, with ``/``; without ``..`` and the like.
        size: bytes.
        modified: when it was last written; None where the archive does not say.
        version: changes with its content.
    """

    key: str
    name: str
    size: int
    modified: datetime | None
    version: str


class Archive(ABC):
    """An open archive; several threads may read at once.

    Attributes:
        path: the file.
        members: its regular files.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: list[Member] = []

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the bytes of a member.

        Raises:
            PhotoError: it is damaged, encrypted, or too large.
        """


def is_archive(path: Path) -> bool:
    """Return whether a file is an archive by its name."""
    return path.name.lower().endswith(ENDINGS) and path.is_file()


def opened(path: Path) -> Archive:
    """Return an archive, which stays open while it is in use.

    Raises:
        ArchiveError: it cannot be read.
    """
    try:
        known = path.stat()
        return _opened(path, known.st_size, known.st_mtime_ns)
    except FileNotFoundError:
        raise ArchiveError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise ArchiveError(
            f"{path} is a folder; give an archive, or write it as `photos`"
        ) from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError) as error:
        what = " ".join(str(error).split())
        raise ArchiveError(f"{path} is a damaged archive ({what}); fetch it again") from error
    except ArchiveError:
        raise
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ArchiveError(f"{path} cannot be read as an archive ({what}); give another") from error


@lru_cache(maxsize=256)
def _opened(path: Path, size: int, written: int) -> Archive:
    """Open an archive once for all its members, as long as it stays what it is."""
    if path.name.lower().endswith(".zip"):
        return Zip(path)
    return Tar(path, f"{size} {written}")


def is_shown(name: str) -> bool:
    """Return whether nothing on the way to a member is hidden or of the system."""
    return not any(map(is_litter, name.split("/")))


def inside(name: str) -> str:
    """Return a member's path without what would lead out of the archive."""
    parts = name.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


class Zip(Archive):
    """A ZIP archive, of which the table of contents is read and kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = zipfile.ZipFile(path)
        self._infos = [info for info in self._file.infolist() if not info.is_dir()]
        for i, info in enumerate(self._infos):
            try:
                modified = datetime(*info.date_time)
            except ValueError:
                modified = None
            version = f"{info.CRC:08x} {info.file_size}"
            name = inside(info.filename)
            self.members.append(Member(str(i), name, info.file_size, modified, version))

    def read(self, key: str) -> bytes:
        """Return the bytes of a member."""
        info = self._infos[int(key)]
        _check(self.path / inside(info.filename), info.file_size, info.compress_size)
        if info.flag_bits & 1:
            what = "it is encrypted; unpack the archive with its password"
            raise PhotoError(self.path / inside(info.filename), what)
        try:
            return self._file.read(info)
        except Exception as error:  # zlib, lzma and bz2 raise their own
            what = " ".join(str(error).split()) or type(error).__name__
            place = self.path / inside(info.filename)
            raise PhotoError(place, f"the archive is damaged here: {what}") from error


class Tar(Archive):
    """A TAR archive; of a compressed one, the members are kept in a nameless temporary file."""

    def __init__(self, path: Path, version: str) -> None:
        super().__init__(path)
        self._lock = threading.Lock()
        self._places: list[tuple[int, int]] = []  # offset, size
        with path.open("rb") as raw:
            compressed = not _is_plain(raw)
            self._file: IO[bytes] = tempfile.TemporaryFile() if compressed else path.open("rb")  # noqa: SIM115
            raw.seek(0)
            with tarfile.open(fileobj=raw, mode="r|*" if compressed else "r:") as tar:
                for i, info in enumerate(_files(tar)):
                    self._places.append(
                        self._place(tar, info, path)
                        if compressed
                        else (info.offset_data, info.size)
                    )
                    modified = datetime.fromtimestamp(info.mtime, UTC) if info.mtime else None
                    name = inside(info.name)
                    self.members.append(Member(str(i), name, info.size, modified, f"{version} {i}"))

    def _place(self, tar: tarfile.TarFile, info: tarfile.TarInfo, path: Path) -> tuple[int, int]:
        """Copy a member of a compressed archive to the end of the temporary file."""
        start, packed = self._file.seek(0, 2), path.stat().st_size
        if info.size > LARGEST or not (is_photo(info.name) or info.name.endswith(".json")):
            return start, 0
        if start + info.size > max(SMALL, DENSEST * packed):
            raise ArchiveError(f"{path} unpacks to more than {DENSEST} times its size; unpack it")
        stream = tar.extractfile(info)
        assert stream is not None
        while chunk := stream.read(CHUNK):
            self._file.write(chunk)
        return start, info.size

    def __del__(self) -> None:
        """Close the file."""
        if (file := getattr(self, "_file", None)) is not None:
            file.close()

    def read(self, key: str) -> bytes:
        """Return the bytes of a member."""
        offset, size = self._places[int(key)]
        member = self.members[int(key)]
        _check(self.path / member.name, member.size, member.size)
        with self._lock:
            self._file.seek(offset)
            content = self._file.read(size)
        if len(content) < size:
            raise PhotoError(self.path / member.name, "the archive ends in the middle of it")
        return content


def _is_plain(raw: IO[bytes]) -> bool:
    raw.seek(257)
    return raw.read(5) == b"ustar"


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the regular files: no links, devices or sparse files."""
    while (info := tar.next()) is not None:
        tar.members = []  # type: ignore[attr-defined]  # else all are kept
        if info.isreg() and not info.issparse():
            yield info


def _check(place: Path, size: int, packed: int) -> None:
    """Refuse what would not fit, and what no picture is.

    Raises:
        PhotoError: why.
    """
    if size > LARGEST:
        raise PhotoError(place, f"it is too large: {LARGEST >> 30} GB is the most; unpack it")
    if size > SMALL and size > DENSEST * packed:
        raise PhotoError(place, f"it unpacks to more than {DENSEST} times its size in the archive")
