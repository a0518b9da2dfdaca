"""Cache of summaries of targets and of fitted transforms, by subject."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from alignimation_core.store.codec import encode, parsed, split
from alignimation_core.store.database import Database

SeriesKind: TypeAlias = Literal["agreement", "rigid"]
"""The places of keypoints on which photos agree; where photos lie by a body's rigid parts."""


class TargetSummary(NamedTuple):
    """What is kept of a target; numbers are little-endian float32."""

    channels: int
    thumbnail: bytes  # the mean of its channels, reduced, row by row
    points: bytes  # P points, (x, y) each, in the target's continuous pixels
    point_weights: bytes  # P


class Fit(NamedTuple):
    """What a transform model found for one subject; see ``Registration``.

    The matrix is 3x3 little-endian float64, in the targets' continuous pixels; None where the model
    raised an error.
    """

    reference_from_subject: bytes | None
    residual_before: float = math.nan
    residual: float = math.nan
    iterations: int = 0
    converged: bool = False
    failure: str | None = None


class Fits:
    """The summaries of one target builder, and the fits of one transform model on its targets.

    Subjects are digests of the subjects as their stages see them. ``builder`` and ``model`` are
    the kinds of what is kept; ``Fits()`` keeps nothing.
    """

    def __init__(
        self, file: Database | None = None, builder: str = "", model: str | None = None
    ) -> None:
        self._file, self._builder, self._model = file, builder, model

    def recall_summaries(self, subjects: Iterable[str]) -> dict[str, TargetSummary]:
        """Return the summaries that are known."""
        if self._file is None:
            return {}
        return self._file.recall(self._builder, subjects, _summaries)

    def keep_summaries(self, summaries: Mapping[str, TargetSummary]) -> None:
        """Store summaries, all or none."""
        if self._file is not None:
            kind = self._builder
            self._file.keep((kind, key, encode(*summary)) for key, summary in summaries.items())

    def recall_fits(self, reference: str, subjects: Iterable[str]) -> dict[str, Fit]:
        """Return the fits to one reference that are known."""
        if self._file is None or self._model is None:
            return {}
        return self._file.recall(self._of(reference), subjects, _fits)

    def keep_fits(self, reference: str, fits: Mapping[str, Fit]) -> None:
        """Store fits to one reference, all or none; they take the place of earlier ones."""
        if self._file is not None and self._model is not None:
            kind = self._of(reference)
            rows = ((kind, key, encode(fit[1:], fit[0] or b"")) for key, fit in fits.items())
            self._file.keep(rows, replace=True)

    def recall_series(self, what: SeriesKind, series: str) -> Tensor | None:
        """Return the float64 numbers that the photos of a series settled on, if known."""
        if self._file is None:
            return None
        return self._file.recall(self._of_series(what), [series], _numbers).get(series)

    def keep_series(self, what: SeriesKind, series: str, numbers: Tensor) -> None:
        """Store the float64 numbers that the photos of a series settled on."""
        if self._file is not None:
            value = encode([*numbers.shape], numbers.numpy().astype("<f8").tobytes())
            self._file.keep([(self._of_series(what), series, value)])

    def _of_series(self, what: SeriesKind) -> str:
        return f"{what} {self._builder.partition(' ')[2]}"

    def _of(self, reference: str) -> str:
        return f"{self._model} {reference[:16]}"


def _summaries(rows: Iterable[tuple[str, bytes]]) -> dict[str, TargetSummary]:
    each = ((key, split(value)) for key, value in rows)
    return {key: TargetSummary(int(channels), *arrays) for key, (channels, *arrays) in each}


def _numbers(rows: Iterable[tuple[str, bytes]]) -> dict[str, Tensor]:
    known: dict[str, Tensor] = {}
    for key, value in rows:
        header, numbers = split(value)
        array = np.frombuffer(bytearray(numbers), "<f8").astype(np.float64, copy=False)
        known[key] = torch.from_numpy(array).reshape(json.loads(header))
    return known


def _fits(rows: Iterable[tuple[str, bytes]]) -> dict[str, Fit]:
    each = {key: split(value) for key, value in rows}
    headers = parsed(header for header, _ in each.values())
    return {
        key: Fit(matrix or None, *header)
        for (key, (_, matrix)), header in zip(each.items(), headers, strict=True)
    }
