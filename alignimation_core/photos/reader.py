"""Read the facts of photo files; of files that have not changed, from the store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import PIL

from alignimation_core.api.data import File, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.execution.executor import Executor, Lost
from alignimation_core.failure import Failure
from alignimation_core.photos import metadata, order
from alignimation_core.store.store import Facts, Store

DECODERS = ("pi-heif", "pillow-jxl-plugin", "rawpy")
"""What tells the size of a picture, beside Pillow."""
FILES_A_BATCH = 16
"""Files that are read together."""


def read(
    files: Sequence[File],
    folder: Path,
    executor: Executor,
    store: Store,
    step: Callable[[], None],
    zone: tzinfo | None,
) -> tuple[list[Photo], list[Failure]]:
    """Return the photos, in the order of their files; and those that cannot be read.

    Dates are local ones, of the zone where nobody says more, see ``order.in_zone``. Names are
    relative to the folder. Files that have not changed are not read again.
    """
    photos: list[Photo] = []
    broken: list[Failure] = []
    for path, facts in zip(files, _facts_of(files, folder, executor, store, zone), strict=True):
        if isinstance(facts, Photo):
            photos.append(facts)
        else:
            broken.append(Failure(order.relative_name(path, folder), "photos", facts.reason))
        step()
    return photos, sorted(broken, key=lambda failure: order.natural(failure.photo))


def _facts_of(
    files: Sequence[File], folder: Path, executor: Executor, store: Store, zone: tzinfo | None
) -> Iterator[Photo | PhotoError | Lost]:
    """Yield the facts of each file, in order, or why they cannot be read."""
    stamped = time.time()
    named = [(str(path), path) for path in files]
    stamps = {text: stamp for text, path in named if (stamp := metadata.stamp(path))}
    reader = fingerprint()
    known = store.recall_facts(reader, stamps)
    unknown = [path for text, path in named if text not in known]
    read = _read(unknown, folder, executor, reader, stamps, stamped, store)
    for text, path in named:
        facts = known.get(text)
        if facts is None:
            answer = next(read)
            yield order.in_zone(answer, zone) if isinstance(answer, Photo) else answer
        else:
            sha256, height, width, at, origin, written, modified = facts
            name, stamp = order.relative_name(path, folder), stamps[text]
            at, offset = order.local(at, written, zone)
            yield Photo(path, name, sha256, height, width, at, origin, stamp, offset, modified)


def _read(
    files: Sequence[File],
    folder: Path,
    executor: Executor,
    reader: str,
    stamps: Mapping[str, str],
    stamped: float,
    store: Store,
) -> Iterator[Photo | PhotoError | Lost]:
    batches = (files[at : at + FILES_A_BATCH] for at in range(0, len(files), FILES_A_BATCH))
    for answers in executor.map(partial(_facts, folder), batches):
        fresh = {
            name: (stamps[name], Facts.of(photo))
            for photo in answers
            if isinstance(photo, Photo) and (name := str(photo.path)) in stamps
        }
        store.keep_facts(reader, fresh, stamped)
        yield from answers


def _facts(folder: Path, paths: Sequence[File]) -> list[Photo | PhotoError]:
    """Return the facts of each photo, or why it cannot be read."""
    answers: list[Photo | PhotoError] = []
    for path in paths:
        try:
            answers.append(metadata.facts(path, folder))
        except PhotoError as error:
            answers.append(error)
    return answers


def fingerprint() -> str:
    """Return what facts depend on beside the file: the code that reads it, and the libraries."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    code = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    return f"{code}, Pillow {PIL.__version__}, {[*map(_version, DECODERS)]}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
