"""What stands in the way of outputs, and what a run record says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple

from alignimation_core.output.written import Written
from alignimation_core.record import CLOSING, OPENING
from alignimation_core.store.database import HIDDEN

TRIAL = "trial"
"""Where trial runs write, in the output folder."""


def name(path: str) -> str:
    """Return the path of a renderer as the run record names it, with ``/``."""
    return str(PurePosixPath(path.replace("\\", "/")))


class Listed(NamedTuple):
    """The outputs that a run record names, and their digests."""

    names: frozenset[str]
    digests: Mapping[str, str]


def listed(record: bytes) -> Listed | None:
    """Return the outputs that a run record names; None if it is no run record."""
    return _listed(_without_photos(record))


def _without_photos(record: bytes) -> bytes:
    """Return what a record's file holds, with no photos in it: there may be many thousands."""
    begin = record.find(OPENING.encode())
    end = record.rfind(CLOSING.encode(), begin)
    if -1 in (begin, end):
        return record
    return record[: begin + len(OPENING)] + record[end:]


@lru_cache(maxsize=1)
def _listed(record: bytes) -> Listed | None:
    try:
        data = json.loads(record)
        if "photos" not in data or "alignimation" not in data:
            return None
        names = [*data["outputs"], *data.get("kept", ())]
        every = {**data.get("written", {}), **data.get("report", {})}
        digests = {str(each): str(digest) for each, digest in every.items()}
        return Listed(frozenset(each for each in names if isinstance(each, str)), digests)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def own_folder(path: str) -> str | None:
    """Return why an output cannot have this path: a folder of ours; None where it can."""
    first = PurePosixPath(name(path)).parts[0].lower()
    if first == HIDDEN:
        return f"the folder {HIDDEN} is the store's; choose another path"
    if first == TRIAL:
        return f"the folder {TRIAL} is for trial runs; choose another path"
    return None


def stranger(
    folder: str, output: str, paths: Sequence[str], record: Listed | None, written: Written
) -> str:
    """Return what is wrong with what stands in the place of an output.

    Args:
        folder: the output folder, as messages name it.
        output: the name of the output.
        paths: what no run wrote of all that stands there; the first is named.
        record: what the run record lists.
        written: what runs wrote.
    """
    first, more = output, ""
    what = "is no output of an earlier run"
    if output in written.names:
        first, *others = paths
        more = f" (and {len(others)} more)" if others else ""
        what = "is not as a run wrote it" if written.knows(first) else "was written by no run"
    elif record is not None and output in record.digests:
        what = "is not as a run wrote it"
    elif record is not None and output in record.names:
        what = (
            "may be of an earlier version of alignimation, which did not note what it wrote, or "
            "yours"
        )
    return f"{folder}/{first}{more} {what}; move it away, or choose another path"
