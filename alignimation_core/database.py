"""The store's file: its tables, and what may be wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import filelock

from alignimation_core.disk import Anchor
from alignimation_core.errors import OutputError

WAIT = 60.0

ANSWERS = """
CREATE TABLE stages (
    fingerprint TEXT PRIMARY KEY,
    description TEXT NOT NULL
);
CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    photo TEXT NOT NULL,
    stage TEXT NOT NULL,
    found INTEGER NOT NULL,
    used INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    UNIQUE (photo, stage)
);
CREATE TABLE detections (
    answer INTEGER PRIMARY KEY REFERENCES answers ON DELETE CASCADE,
    boxes BLOB NOT NULL,
    scores BLOB NOT NULL,
    keypoint_names TEXT NOT NULL,
    keypoints BLOB,
    keypoint_scores BLOB,
    has_masks INTEGER NOT NULL
);
CREATE TABLE masks (
    answer INTEGER NOT NULL REFERENCES answers ON DELETE CASCADE,
    place INTEGER NOT NULL,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    image_from_mask BLOB NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (answer, place)
);
CREATE TABLE embeddings (
    answer INTEGER PRIMARY KEY REFERENCES answers ON DELETE CASCADE,
    length INTEGER NOT NULL,
    vectors BLOB NOT NULL
);
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    finished TEXT NOT NULL
);
"""

FILES_AND_FITS = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    stamp TEXT NOT NULL,
    reader TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    height INTEGER NOT NULL,
    width INTEGER NOT NULL,
    taken TEXT NOT NULL,
    taken_from TEXT NOT NULL,
    used INTEGER NOT NULL,
    crc32 INTEGER NOT NULL
);
CREATE TABLE sketches (
    id INTEGER PRIMARY KEY,
    stage TEXT NOT NULL,
    subject TEXT NOT NULL,
    channels INTEGER NOT NULL,
    thumbnail BLOB NOT NULL,
    points BLOB NOT NULL,
    point_weights BLOB NOT NULL,
    used INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    UNIQUE (stage, subject)
);
CREATE TABLE fits (
    id INTEGER PRIMARY KEY,
    stage TEXT NOT NULL,
    reference TEXT NOT NULL,
    subject TEXT NOT NULL,
    reference_from_subject BLOB,
    residual_before REAL,
    residual REAL,
    iterations INTEGER NOT NULL,
    converged INTEGER NOT NULL,
    failure TEXT,
    used INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    UNIQUE (stage, reference, subject)
);
"""

VERSIONS = (ANSWERS, FILES_AND_FITS)
"""What each version of the schema adds to the one before."""
SCHEMA = len(VERSIONS)
CLEANED = ("answers", "files", "sketches", "fits")
"""Tables whose rows go when no run uses them any more; of what refers to them, too."""

T = TypeVar("T")


class DamageError(Exception):
    """What the file holds is not what was written."""


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
        try:
            path.parent.mkdir(exist_ok=True)
            self._anchor = Anchor(path.parents[1])
            with self._alone():
                self._db = self._connect()
        except OSError as error:
            raise OutputError(
                f"{path.parent}: cannot be written: {error.strerror or error}; set `output` to "
                "another folder"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        """Execute one statement."""
        return self._db.execute(sql, values)

    def execute_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute one statement a row."""
        self._db.executemany(sql, rows)

    def _connect(self) -> sqlite3.Connection:
        """Open the file; begin afresh where it is damaged."""
        try:
            return _open(self.path)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
        self._set_aside()
        try:
            return _open(self.path)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def safely(self, verb: Callable[[], T]) -> T:
        """Do something; where it meets damage, do it again on a new and empty store."""
        try:
            return verb()
        except (sqlite3.Error, DamageError) as error:
            if not _is_damage(error):
                raise self._unusable(error) from error
        self._db.close()
        with self._alone():
            self._set_aside()
            self._db = self._connect()
        try:
            return verb()
        except sqlite3.Error as error:
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

    def _alone(self) -> filelock.BaseFileLock:
        """Return what keeps two runs from making, or setting aside, the file at once."""
        return filelock.FileLock(self.path.with_name("store.lock"), timeout=WAIT)

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
        if isinstance(error, _NewerError):
            return OutputError(
                f"{self.path}: a newer version of alignimation wrote it; update alignimation, or "
                f"delete the folder {self.path.parent}, which costs nothing but time"
            )
        return OutputError(
            f"{self.path}: cannot be written ({error}); make room, or set `output` to another "
            "place; what is done so far is kept there"
        )


class _NewerError(sqlite3.Error):
    """The file has a schema that this version does not know."""


def _open(path: Path) -> sqlite3.Connection:
    """Open the file, and make the tables that it has not.

    Raises:
        sqlite3.Error: it is damaged, of a newer version, or cannot be written.
    """
    db = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise _NewerError
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        for number in range(version, SCHEMA):
            db.executescript(
                f"BEGIN IMMEDIATE; {VERSIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            )
        db.execute("BEGIN IMMEDIATE")  # whether it can be written shows now, not after an hour
        db.execute("SELECT count(*) FROM runs")
        db.execute("ROLLBACK")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _is_damage(error: Exception) -> bool:
    """Return whether it is the file's content that is wrong, not its place."""
    if isinstance(error, _NewerError):
        return False
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, DamageError) or code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_ERROR,  # tables or columns that are not those of this schema
    )
