"""The tables of the store's file, version by version, and how it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

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


class NewerError(sqlite3.Error):
    """The file has a schema that this version does not know."""


def connect(path: Path, wait: float) -> sqlite3.Connection:
    """Open the file, and make the tables that it has not.

    Args:
        path: the file.
        wait: how long another run that writes is waited for, seconds.

    Raises:
        sqlite3.Error: it is damaged, of a newer version, or cannot be written.
    """
    db = sqlite3.connect(path, timeout=wait, isolation_level=None)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            raise NewerError
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
