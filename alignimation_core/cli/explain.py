"""``alignimation explain``: tell why photos were left out, and what other limits would keep."""

from __future__ import annotations

import argparse
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignimation_core.cli.arguments import add_recipe, add_trace, load_recipe

if TYPE_CHECKING:
    from alignimation_core.review.record import Gate

COLUMNS = 6
"""Limits in a table."""

NEAREST = 3
"""Misses that are named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation explain``."""
    add_recipe(parser)
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Print what the run record of the recipe's last run tells; no photo is opened."""
    from alignimation_core.review import record

    print(explain(record.read(load_recipe(given))))
    return 0


def explain(record: Mapping[str, Any]) -> str:
    """Return why photos were left out, each by name, and what other limits would keep.

    Args:
        record: what ``run.json`` holds.
    """
    from alignimation_core.failure import by_reason
    from alignimation_core.review.record import gates

    photos: Sequence[Mapping[str, Any]] = record["photos"]
    used = sum(photo["status"] == "used" for photo in photos)
    lines = [f"{used} of {len(photos)} photos used"]
    told = by_reason((photo["status"], photo.get("reason"), photo["path"]) for photo in photos)
    for reason, alike in told:
        lines += [f"{len(alike)} {reason}", *(f"    {path}{more}" for path, more in alike)]
    every = list(gates(record))
    measured = [photo for photo in photos if photo.get("gates") and photo["status"] != "failed"]
    if all(photo.get("stage") != "subject_selector" for photo in measured):
        return "\n".join([*lines, *_ranges(every, measured)])
    limited = [gate for gate in every if gate.limit is not None]
    for gate in every:
        lines += _table(gate, [each for each in limited if each != gate], measured)
    return "\n".join(lines)


def _table(
    gate: Gate, others: Sequence[Gate], photos: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Yield what one gate does to the photos that pass all others."""
    from alignimation_core.api.errors import printable

    free = [
        photo
        for photo in photos
        if gate.value in photo["gates"]
        and all(other.passes(photo["gates"], other.limit) for other in others)
        and (
            _chosen(photo)
            or (gate.value == "similarity" and not gate.passes(photo["gates"], gate.limit))
        )
    ]
    if not free:
        return
    missed = [photo for photo in free if not gate.passes(photo["gates"], gate.limit)]
    bound = "at least" if gate.least else "at most"
    state = "off" if gate.limit is None else f"{bound} {gate.limit:g}: it alone rejects "
    yield f"{gate.option}: {state}{'' if gate.limit is None else _photos(len(missed))}"
    numbers = sorted(gate.of(photo["gates"]) for photo in free)
    steps = {_rounded(number, down=gate.least) for number in _quantiles(numbers)}
    steps |= set() if gate.limit is None else {gate.limit}
    for limit in sorted(steps):
        below = bisect_left(numbers, limit) if gate.least else bisect_right(numbers, limit)
        kept = len(numbers) - below if gate.least else below
        yield f"    {bound} {limit:<8g} keeps {kept}"
    nearest = sorted(missed, key=lambda photo: abs(gate.of(photo["gates"]) - (gate.limit or 0.0)))[
        :NEAREST
    ]
    if nearest:
        told = (f"{printable(each['path'])} ({gate.of(each['gates']):g})" for each in nearest)
        yield f"    nearest misses: {', '.join(told)}"


def _ranges(gates: Sequence[Gate], photos: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line of what the values of all photos are between, where no gate rejects any."""
    told = []
    for value, gate in {gate.value: gate for gate in gates}.items():
        numbers = [gate.of(photo["gates"]) for photo in photos if value in photo["gates"]]
        if numbers:
            told.append(f"{value} {min(numbers):.3g} to {max(numbers):.3g}")
    if told:
        yield f"no gate rejects any; there are {', '.join(told)}"


def _chosen(photo: Mapping[str, Any]) -> bool:
    """Return whether the photo shows the subject, for all that its gates say."""
    elsewhere = photo.get("stage") not in ("subject_selector", "corrections")
    return elsewhere or photo.get("gate") is not None


def _quantiles(numbers: Sequence[float]) -> list[float]:
    last = len(numbers) - 1
    return [numbers[round(last * step / (COLUMNS - 1))] for step in range(COLUMNS)]


def _rounded(number: float, *, down: bool) -> float:
    """Round to three digits, so that the photo that the number is of is kept."""
    scale = 10.0 ** (2 - math.floor(math.log10(max(abs(number), 0.01))))
    return (math.floor if down else math.ceil)(number * scale) / scale


def _photos(count: int) -> str:
    return f"{count} photo{'' if count == 1 else 's'}"
