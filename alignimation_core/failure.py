"""Why photos are not used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from alignimation_core.api.errors import AlignimationError, printable

Status = Literal["used", "rejected", "failed"]

_VARYING = re.compile(r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*"|\d+(?:\.\d+)?""")
"""Bytes as Python quotes them, and numbers: what differs between reasons that are alike."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a photo, given by its name, is not used; see ``PhotoRecord``."""

    photo: str
    stage: str
    reason: str
    status: Status = "failed"
    gate: str | None = None


class PhotosError(AlignimationError):
    """Photos failed, and without them the run cannot go on."""

    def __init__(self, message: str, failures: Sequence[Failure]) -> None:
        self.failures = failures
        super().__init__(message)


def _common(texts: Sequence[str]) -> str:
    """Return texts that differ in what varies as one, with dots where they do."""
    constant = _VARYING.split(texts[0])
    varying = ({*each} for each in zip(*map(_VARYING.findall, texts), strict=True))
    filled = [each.pop() if len(each) == 1 else "…" for each in varying]
    return "".join(part for pair in zip(constant, [*filled, ""], strict=True) for part in pair)


def by_reason(
    photos: Iterable[tuple[str, str | None, str]],
) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return why photos are not used, most frequent first.

    Rejections count together by what stands before the colon or the bracket, failures by all but
    numbers and what they quote of a file, which are left out where they differ.

    Args:
        photos: status, reason and path of each.

    Returns:
        Status and reason, with each photo's path and what its own reason says more.
    """
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for status, reason, path in photos:
        if status == "used":
            continue
        text = reason or ""
        common = re.split(r":| \(|;", text, maxsplit=1)[0] if status == "rejected" else text
        row = printable(f"{status}: {common}"), printable(path), printable(text[len(common) :])
        groups.setdefault(_VARYING.sub("#", row[0]), []).append(row)
    ranked = sorted(groups.values(), key=lambda alike: -len(alike))
    return [
        (_common([told for told, _, _ in alike]), [(path, more) for _, path, more in alike])
        for alike in ranked
    ]
