"""Why a photo is not used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from alignimation_core.api.errors import AlignimationError

Status = Literal["used", "rejected", "failed"]


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
