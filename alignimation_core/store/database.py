"""One SQLite table of cached values: shared by runs, CRC-checked, rebuilt when damaged."""

from __future__ import annotations

import os
import sqlite3
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import filelock

from alignimation_core.api.errors import AlignimationError, OutputError

HIDDEN = ".alignimation"
"""Where the store is, in the output folder."""
WAIT = 60.0
"""How long another run is waited for, seconds."""
VERSION = 3
"""Of the table and of what is in it: ``PRAGMA user_version``."""
MARK = 0x416C0000
"""With the version added, the file's ``PRAGMA application_id``: one byte makes no newer version."""
TAILS = ("-wal", "-shm", "-journal")
"""What SQLite puts behind a file's name for the files beside it."""
TABLE = f"""
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    used INTEGER NOT NULL,
    value BLOB NOT NULL,
    UNIQUE (kind, key)
);
PRAGMA user_version = {VERSION};
PRAGMA application_id = {MARK + VERSION};
"""
RECALL = """
WITH found AS MATERIALIZED (SELECT id FROM entries WHERE kind = ? ORDER BY id)
SELECT found.id, key, value FROM found LEFT JOIN entries ON entries.id = found.id
"""  # in the order of rows on the disk; a row that only the index has is NULL, and so is damage
KEEP = """
INSERT INTO entries (kind, key, value, used) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET used = excluded.used"""
REPLACE = KEEP + ", value = excluded.value"

RESIDUE = 0x2144DF1C
"""CRC-32 of anything that is followed by its own CRC-32, little-endian."""
FIRST = 256
"""Number of the first run: up to 32767 all take the same room, and no row must be moved."""

T = TypeVar("T")


class DamageError(Exception):
    """The file does not hold what was written, or what this version writes."""


class Anchor:
    """Remembers on which disk a folder lies, so that nothing is written to another in its place.

    Where a disk is unmounted, the empty folder below it takes all that is written from then on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._device = folder, folder.stat().st_dev

    def check(self) -> None:
        """Make sure that the folder is still there.

        Raises:
            OutputError: it is gone, or lies on another disk now.
        """
        with suppress(OSError):
            if self._folder.stat().st_dev == self._device:
                return
        raise OutputError(
            f"{self._folder}: the folder went away while the run was going on; bring it back, "
            "or choose another output folder, and run again"
        )


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Lock a store's file against being opened, replaced or set aside by other runs.

    Args:
        path: the file, which need not exist; nor need its folder, whose parent does.

    Raises:
        OutputError: another run has kept the lock for a minute, or the file's place is taken.
        OSError: its folder cannot be written.
    """
    lock = path.with_name("store.lock")
    _refuse_others(path.parent, stat.S_ISDIR)
    for place in (path, lock, *(path.with_name(path.name + tail) for tail in TAILS)):
        _refuse_others(place, stat.S_ISREG)
    path.parent.mkdir(exist_ok=True)
    try:
        held = filelock.FileLock(lock, timeout=WAIT).acquire()
    except filelock.Timeout as error:
        raise _in_use(path) from error
    with held:
        yield


def _refuse_others(place: Path, is_right: Callable[[int], bool]) -> None:
    """Raise an ``OutputError`` where something of another kind stands."""
    try:
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise OutputError(
            f"{place} is a link; the store is not written through links; remove it, or set "
            "`output` to another folder"
        )
    if not is_right(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
        what = kinds.get(stat.S_IFMT(mode), "neither file nor folder")
        raise OutputError(f"{place} is {what}; remove it, or set `output` to another folder")


class Database:
    """An SQLite file of values by kind and key; made where there is none or a damaged one.

    Several processes may use it at once; for one that writes, others wait up to a minute.

    Args:
        path: the file, in a folder of its own in the output folder; that folder is made.
        note: takes one line for the user.

    Raises:
        OutputError: from here and from every method: the file cannot be read or written, or was
            written by a newer version.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path, self._note = path, note
        self._db: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._used: set[int] = set()
        with self._told():
            self._anchor = Anchor(path.parents[1])
        self._safely(lambda _: None)

    def close(self) -> None:
        """Close the file; what is asked next opens it again."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def recall(
        self, kind: str, keys: Iterable[str], decode: Callable[[Iterator[tuple[str, bytes]]], T]
    ) -> T:
        """Return what ``decode`` makes of the keys that are known and their values.

        They count as used. What ``decode`` raises is damage.
        """
        wanted = {_encoded(key): key for key in keys}
        seed = zlib.crc32(kind.encode())

        def rows(db: sqlite3.Connection) -> Iterator[tuple[str, bytes]]:
            for number, key, signed in db.execute(RECALL, (kind,)):
                if zlib.crc32(signed, zlib.crc32(key, seed)) != RESIDUE:
                    raise DamageError("is damaged")
                if key in wanted:
                    self._used.add(number)
                    yield wanted[key], signed[:-4]

        return self._safely(lambda db: decode(rows(db)))

    def keep(self, rows: Iterable[tuple[str, str, bytes]], *, replace: bool = False) -> None:
        """Store values in one transaction.

        Args:
            rows: kind, key and value of each.
            replace: whether they take the place of values of the same kind and key, which
                otherwise stay.
        """
        signed = [
            (kind, name, value + zlib.crc32(kind.encode() + name + value).to_bytes(4, "little"))
            for kind, key, value in rows
            for name in [_encoded(key)]
        ]

        def operation(db: sqlite3.Connection) -> None:
            with self._transaction(db) as run:
                db.executemany(REPLACE if replace else KEEP, ((*row, run) for row in signed))

        if signed:
            self._safely(operation)

    def finish(self, kept: int) -> None:
        """Count a run, and drop what none of the last ``kept`` has used."""

        def operation(db: sqlite3.Connection) -> None:
            with self._transaction(db) as run:
                marked = ((run, number) for number in sorted(self._used))
                db.executemany("UPDATE entries SET used = ? WHERE id = ?", marked)
                db.execute(KEEP, ("run", b"", b"", run))
                db.execute("DELETE FROM entries WHERE used <= ?", (run - kept,))
            db.executescript("PRAGMA incremental_vacuum")  # execute frees a single page

        self._safely(operation)

    def empty(self) -> None:
        """Delete everything, and give its room back to the disk."""

        def operation(db: sqlite3.Connection) -> None:
            with self._transaction(db):
                db.execute("DELETE FROM entries")
            db.executescript("PRAGMA incremental_vacuum")

        self._safely(operation)

    def _safely(self, operation: Callable[[sqlite3.Connection], T], *, again: bool = True) -> T:
        """Run an operation; on corruption set the file aside and retry once on a new one.

        Whatever it raises is held to be the content's fault, but for what SQLite says of the file's
        place. The new file is empty, or another run's that met the damage first.
        """
        try:
            return operation(self._db or self._open())
        except Exception as error:
            self.close()  # it is opened again where it is asked again
            if isinstance(error, AlignimationError | MemoryError):
                raise
            if again and self._is_damage(error):
                self._set_aside(str(error) if isinstance(error, DamageError) else "is damaged")
                return self._safely(operation, again=False)
            if isinstance(error, sqlite3.Error | DamageError):
                raise self._unusable(error) from error
            raise

    @contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Iterator[int]:
        """Do all of it or, after any exception, nothing; yield the number of this run."""
        self._anchor.check()
        db.execute("BEGIN IMMEDIATE")
        try:
            row = db.execute("SELECT used FROM entries WHERE kind = 'run'").fetchone()
            yield FIRST if row is None else row[0] + 1
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    def _open(self) -> sqlite3.Connection:
        """Open the file; make its table where it has none.

        Raises:
            Exception: whatever damage leads to.
        """
        self._anchor.check()
        with self._told(), alone(self.path):
            if self.path.exists() and self.path.stat().st_size == 0:
                self._note(f"{self.path} is empty: it is made anew")
            db = self._db = sqlite3.connect(self.path, timeout=WAIT, isolation_level=None)
            self._identity = _identity(self.path)
            db.text_factory = bytes  # no text is read, but from a column that damage made one
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (mark,) = db.execute("PRAGMA application_id").fetchone()
            if version > VERSION and mark == MARK + version:
                raise OutputError(
                    f"{self.path}: a newer version of alignimation wrote it; update alignimation, "
                    f"or delete the folder {self.path.parent}, which costs nothing but time"
                )
            if version not in (0, VERSION):
                raise DamageError("was written by an earlier version")
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            if version == 0:
                db.executescript(f"BEGIN IMMEDIATE; {TABLE} COMMIT")
            with self._transaction(db):
                pass  # whether it can be written shows now, not after an hour
            return db

    def _set_aside(self, why: str) -> None:
        """Rename the file, which is closed, unless another run has done so already."""
        self._used.clear()
        with self._told(), alone(self.path):
            if _identity(self.path) != self._identity:
                return
            number = 1
            while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
                number += 1
            for tail in ("", *TAILS):
                part = self.path.with_name(self.path.name + tail)
                if part.exists():
                    part.replace(aside.with_name(aside.name + tail))
        self._note(f"{self.path} {why}: it is set aside as {aside.name}, and made anew")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what a file system raises into an ``OutputError``."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path.parent}: cannot be written: {error.strerror or error}; set `output` "
                "to another folder"
            ) from error

    def _is_damage(self, error: Exception) -> bool:
        """Return whether it is the file's content that is wrong, not its place."""
        if not isinstance(error, sqlite3.OperationalError):
            return True
        if _code(error) == sqlite3.SQLITE_READONLY:  # it is, or so its header says
            return os.access(self.path, os.W_OK)
        return _code(error) == sqlite3.SQLITE_ERROR  # no such table or column

    def _unusable(self, error: Exception) -> OutputError:
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return _in_use(self.path)
        denied = _code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        advice = "give yourself leave to write there" if denied else "make room"
        return OutputError(
            f"{self.path}: cannot be written ({error}); {advice}, or set `output` to another "
            "place; what is done so far is kept there"
        )


def _encoded(key: str) -> bytes:
    """Return a key as bytes; a path, too, that is no text."""
    return key.encode(errors="surrogatepass")


def _code(error: Exception) -> int:
    """Return SQLite's primary result code; 0 where the error has none."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another of its name; None where there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _in_use(path: Path) -> OutputError:
    return OutputError(f"{path}: another run is using it; wait until it ends, and run again")
