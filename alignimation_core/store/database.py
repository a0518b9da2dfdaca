"""The store's file: how runs share it, and what may be wrong with it."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import filelock

from alignimation_core.api.atomic import Anchor
from alignimation_core.api.errors import OutputError
from alignimation_core.store.schema import NewerError, connect

WAIT = 60.0
"""How long another run is waited for, seconds."""

CLEANED = ("answers", "files", "sketches", "fits")
"""Tables whose rows go when no run uses them any more; of what refers to them, too."""

T = TypeVar("T")


class DamageError(Exception):
    """What the file holds is not what was written."""


def checksum(*parts: Any) -> int:
    """Return the CRC-32 of a row's columns, in order: of bytes, and of the rest as Python text."""
    told = [part if type(part) is bytes else repr(part).encode() for part in parts]
    return zlib.crc32(b"".join(told))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Keep other runs from opening, replacing or setting aside a store's file meanwhile.

    Raises:
        OutputError: another run has kept it for a minute.
        OSError: its folder cannot be written.
    """
    lock = filelock.FileLock(path.with_name("store.lock"), timeout=WAIT)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise _in_use(path) from error
    try:
        yield
    finally:
        lock.release()


class Database:
    """An SQLite file that is made where there is none, and set aside where it is damaged.

    Several processes may use it at once; for one that writes, others wait up to a minute.

    Args:
        path: the file, in a folder of its own in the output folder; that folder is made.
        note: takes one line for the user.

    Raises:
        OutputError: the file cannot be read or written, or was written by a newer version.
    """

    def __init__(self, path: Path, note: Callable[[str], None]) -> None:
        self.path, self._note = path, note
        self._used: dict[str, set[int]] = {table: set() for table in CLEANED}
        with self._told():
            path.parent.mkdir(exist_ok=True)
            self._anchor = Anchor(path.parents[1])
            with alone(path):
                self._connect()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Execute one statement."""
        return self._db.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute one statement a row."""
        self._db.executemany(sql, rows)

    def _connect(self) -> None:
        """Open the file; begin afresh where it is damaged."""
        try:
            self._db = connect(self.path, WAIT)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
            self._set_aside()
            try:
                self._db = connect(self.path, WAIT)
            except sqlite3.Error as again:
                raise self._unusable(again) from again
        self._identity = _identity(self.path)

    def safely(self, verb: Callable[[], T]) -> T:
        """Do something; where it meets damage, do it again on a new store.

        The new store is empty, or another run's that met the damage first.
        """
        try:
            return verb()
        except (sqlite3.Error, DamageError) as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
        self._db.close()
        with self._told(), alone(self.path):
            if _identity(self.path) == self._identity:
                self._set_aside()
            self._connect()
        self._used = {table: set() for table in CLEANED}
        try:
            return verb()
        except (sqlite3.Error, DamageError) as error:
            raise self._unusable(error) from error

    def _set_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.damaged-{number}")).exists():
            number += 1
        for tail in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + tail)
            if part.exists():
                part.replace(aside.with_name(aside.name + tail))
        self._note(f"{self.path} is damaged: it is set aside as {aside.name}, and made anew")

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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of it or, after any exception, nothing.

        Raises:
            OutputError: the output folder went away.
        """
        self._anchor.check()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def next_run(self) -> int:
        """Return the number of the run that is going on."""
        number: int = self.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()[0]
        return number

    def describe(self, fingerprint: str, digest: str) -> None:
        """Note, once, what a stage's answers depend on."""
        self.execute(
            "INSERT INTO stages VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, fingerprint)
        )

    def mark(self, table: str, rows: Iterable[int]) -> None:
        """Note that this run uses rows of a table in ``CLEANED``."""
        self._used[table].update(rows)

    def count_run(self, finished: str, kept: int) -> None:
        """Count a run, and drop what none of the last ``kept`` has used."""
        with self.transaction():
            run = self.next_run()
            oldest = run - kept
            self.execute("INSERT INTO runs VALUES (?, ?)", (run, finished))
            for table in CLEANED:
                self.execute_many(
                    f"UPDATE {table} SET used = {run} WHERE id = ?",  # noqa: S608
                    ((row,) for row in self._used[table]),
                )
                self.execute(f"DELETE FROM {table} WHERE used <= ?", (oldest,))  # noqa: S608
            self.execute("DELETE FROM runs WHERE number <= ?", (oldest,))
            self.execute(
                "DELETE FROM stages WHERE fingerprint NOT IN (SELECT stage FROM answers UNION "
                "SELECT stage FROM sketches UNION SELECT stage FROM fits)"
            )
        self._shrink()

    def empty(self) -> None:
        """Delete everything."""
        with self.transaction():
            for table in (*CLEANED, "stages", "runs"):
                self.execute(f"DELETE FROM {table}")  # noqa: S608
        self._shrink()

    def _shrink(self) -> None:
        """Give back to the disk what was freed."""
        self._db.executescript("PRAGMA incremental_vacuum")  # execute frees a single page

    def _unusable(self, error: Exception) -> OutputError:
        if isinstance(error, NewerError):
            return OutputError(
                f"{self.path}: a newer version of alignimation wrote it; update alignimation, or "
                f"delete the folder {self.path.parent}, which costs nothing but time"
            )
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return _in_use(self.path)
        why = str(error) or "it is damaged"
        return OutputError(
            f"{self.path}: cannot be written ({why}); make room, or set `output` to another "
            "place; what is done so far is kept there"
        )


def _is_damage(error: Exception) -> bool:
    """Return whether it is the file's content that is wrong, not its place."""
    if isinstance(error, NewerError):
        return False
    return isinstance(error, DamageError) or _code(error) in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # tables or columns that are not those of this schema
    )


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
