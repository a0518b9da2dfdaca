"""Sketches of targets and fitted transforms as rows of the store's file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from alignimation_core.store.database import DamageError, Database, checksum


class Sketch(NamedTuple):
    """What is kept of a target that was drawn; numbers are little-endian float32.

    Attributes:
        channels: how many the target has.
        thumbnail: the mean of its channels, reduced, row by row.
        points: P points, (x, y) each, in the target's continuous pixels.
        point_weights: P weights.
    """

    channels: int
    thumbnail: bytes
    points: bytes
    point_weights: bytes


class Fit(NamedTuple):
    """What a transform model found for one subject.

    Attributes:
        reference_from_subject: 3x3 little-endian float64, in the targets' continuous pixels; None
            where the model raised an error.
        residual_before: root mean square difference of the targets at the start.
        residual: the same at the end.
        iterations: steps of the fit.
        converged: whether it came to an end by itself.
        failure: why the transform is not to be used; None where it is.
    """

    reference_from_subject: bytes | None
    residual_before: float = math.nan
    residual: float = math.nan
    iterations: int = 0
    converged: bool = False
    failure: str | None = None


class Fits(Protocol):
    """What keeps sketches and fits, by digests of the subjects as their stages see them."""

    def recall_sketches(self, subjects: Iterable[str]) -> dict[str, Sketch]:
        """Return the sketches that are known."""

    def keep_sketches(self, sketches: Mapping[str, Sketch]) -> None:
        """Store sketches, all or none."""

    def recall_fits(self, reference: str, subjects: Iterable[str]) -> dict[str, Fit]:
        """Return the fits to one reference that are known."""

    def keep_fits(self, reference: str, fits: Mapping[str, Fit]) -> None:
        """Store fits to one reference, all or none; they take the place of earlier ones."""


class NoFits:
    """What stands for the store where nothing is kept."""

    def recall_sketches(self, subjects: Iterable[str]) -> dict[str, Sketch]:  # noqa: ARG002
        """Know nothing; see ``Fits``."""
        return {}

    def keep_sketches(self, sketches: Mapping[str, Sketch]) -> None:
        """Keep nothing; see ``Fits``."""

    def recall_fits(self, reference: str, subjects: Iterable[str]) -> dict[str, Fit]:  # noqa: ARG002
        """Know nothing; see ``Fits``."""
        return {}

    def keep_fits(self, reference: str, fits: Mapping[str, Fit]) -> None:
        """Keep nothing; see ``Fits``."""


class StoredFits:
    """The sketches of one target builder, and the fits of one transform model on its targets.

    Args:
        file: the store's file.
        builder: the target builder's fingerprint, and its digest.
        model: the transform model's; None when its fits are not kept.
    """

    def __init__(
        self, file: Database, builder: tuple[str, str], model: tuple[str, str] | None
    ) -> None:
        self._file, self._builder, self._model = file, builder, model

    def recall_sketches(self, subjects: Iterable[str]) -> dict[str, Sketch]:
        """See ``Fits``."""
        wanted = set(subjects)

        def verb() -> dict[str, Sketch]:
            asked = (
                self._file.execute(
                    "SELECT id, crc32, subject, channels, thumbnail, points, point_weights "
                    "FROM sketches WHERE stage = ? AND subject = ?",
                    (self._builder[1], subject),
                )
                for subject in wanted
            )
            found = [row for rows in asked for row in rows]
            if any(_of_sketch(*columns) != crc32 for _, crc32, *columns in found):
                raise DamageError
            self._file.mark("sketches", (row[0] for row in found))
            return {row[2]: Sketch(*row[3:]) for row in found}

        return self._file.safely(verb)

    def keep_sketches(self, sketches: Mapping[str, Sketch]) -> None:
        """See ``Fits``."""

        def verb() -> None:
            with self._file.transaction():
                run = self._file.next_run()
                self._file.describe(*self._builder)
                self._file.execute_many(
                    "INSERT INTO sketches (stage, subject, channels, thumbnail, points, "
                    "point_weights, used, crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT DO NOTHING",
                    (
                        (self._builder[1], subject, *sketch, run, _of_sketch(subject, *sketch))
                        for subject, sketch in sketches.items()
                    ),
                )

        if sketches:
            self._file.safely(verb)

    def recall_fits(self, reference: str, subjects: Iterable[str]) -> dict[str, Fit]:
        """See ``Fits``."""
        if self._model is None:
            return {}
        wanted, key = set(subjects), (self._model[1], reference)

        def verb() -> dict[str, Fit]:
            rows = self._file.execute(
                "SELECT id, crc32, subject, reference_from_subject, residual_before, residual, "
                "iterations, converged, failure FROM fits NOT INDEXED "  # digests are unordered
                "WHERE stage = ? AND reference = ?",
                key,
            )
            found = [row for row in rows if row[2] in wanted]
            if any(_of_fit(reference, *columns) != crc32 for _, crc32, *columns in found):
                raise DamageError
            self._file.mark("fits", (row[0] for row in found))
            return {row[2]: _unpacked(*row[3:]) for row in found}

        return self._file.safely(verb)

    def keep_fits(self, reference: str, fits: Mapping[str, Fit]) -> None:
        """See ``Fits``."""
        if self._model is None:
            return
        described, stage = self._model, self._model[1]

        def verb() -> None:
            with self._file.transaction():
                run = self._file.next_run()
                self._file.describe(*described)
                rows = ((subject, *_packed(fit)) for subject, fit in fits.items())
                self._file.execute_many(
                    "INSERT OR REPLACE INTO fits (stage, reference, subject, "
                    "reference_from_subject, residual_before, residual, iterations, converged, "
                    "failure, used, crc32) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    ((stage, reference, *row, run, _of_fit(reference, *row)) for row in rows),
                )

        if fits:
            self._file.safely(verb)


def _of_sketch(
    subject: str, channels: int, thumbnail: bytes, points: bytes, point_weights: bytes
) -> int:
    """Return the checksum of a sketch's columns."""
    return checksum(f"{subject} {channels}".encode(), thumbnail, points, point_weights)


def _of_fit(reference: str, subject: str, matrix: bytes | None, *columns: object) -> int:
    """Return the checksum of a fit's columns."""
    return checksum(matrix or b"", f"{reference} {subject} {columns}".encode())


def _packed(fit: Fit) -> tuple[bytes | None, *tuple[object, ...]]:
    """Return a fit as SQLite gives it back, which has no NaN and no bool."""
    before, after = (None if math.isnan(x) else x for x in (fit.residual_before, fit.residual))
    return fit[0], before, after, fit.iterations, int(fit.converged), fit.failure


def _unpacked(
    matrix: bytes | None,
    before: float | None,
    after: float | None,
    iterations: int,
    converged: int,
    failure: str | None,
) -> Fit:
    return Fit(
        matrix,
        math.nan if before is None else before,
        math.nan if after is None else after,
        iterations,
        bool(converged),
        failure,
    )
