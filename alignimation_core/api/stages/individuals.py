"""Individuals: who is meant in a photo, and selectors that tell one from another."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alignimation_core.api.data import Choice, Detections, Observation
from alignimation_core.api.errors import shown
from alignimation_core.api.stages import SubjectSelector

MOST_LISTED = 9
"""Detections that a message lists."""

Face = int | tuple[float, float]
"""One detection of a photo: its number, counted from the left, from 1; or a point (x, y) in it."""

Shown = Mapping[str, Sequence[tuple[Observation, int]]]
"""What references show, by option: a photo's observation, and which of its detections it is."""


def face_of(value: object) -> Face:
    """Return what a user writes to tell one face from others.

    Raises:
        ValueError: it is neither a number nor a point; the text says what to write.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if (point := point_of(value)) is not None:
        return point
    raise ValueError(
        f"{shown(value)} is neither a number, 1 for the leftmost face, nor a point [x, y] in it"
    )


def point_of(value: object) -> tuple[float, float] | None:
    """Return the point that a user writes as [x, y]; None for what is none, such as [.inf, 2]."""
    match value:
        case [int() | float() as x, int() | float() as y] if bool not in (type(x), type(y)):
            with suppress(OverflowError):
                point = float(x), float(y)
                return point if all(map(math.isfinite, point)) else None
    return None


def from_left(found: Detections) -> list[int]:
    """Return the indices in the order in which users count: by the boxes' middle, from left."""
    middles = (found.boxes[:, 0] + found.boxes[:, 2]).tolist()
    return sorted(range(len(middles)), key=middles.__getitem__)


def meant(found: Detections, face: Face) -> int:
    """Return which detection a user means; around a point, the one whose middle is nearest.

    Raises:
        ValueError: there is none; the text says which there are.
    """
    boxes, order = found.boxes.tolist(), from_left(found)
    if isinstance(face, int):
        if face <= len(order):
            return order[face - 1]
        raise ValueError(f"there is no face {face}; {listed(found)}")
    x, y = face
    around = {
        i: math.dist(face, ((x0 + x1) / 2, (y0 + y1) / 2))
        for i, (x0, y0, x1, y1) in enumerate(boxes)
        if x0 <= x <= x1 and y0 <= y <= y1
    }
    if not around:
        raise ValueError(f"no face is at [{x:g}, {y:g}]; {listed(found)}")
    return min(around, key=around.__getitem__)


def listed(found: Detections) -> str:
    """Return where the detections are, numbered from the left, for a message."""
    middles = ((found.boxes[:, :2] + found.boxes[:, 2:]) / 2).tolist()
    places = [
        f"{number} at [{middles[index][0]:.0f}, {middles[index][1]:.0f}]"
        for number, index in enumerate(from_left(found)[:MOST_LISTED], 1)
    ]
    more = ", ..." if len(middles) > MOST_LISTED else ""
    return f"found here: {', '.join(places) or 'nothing'}{more}"


class Reference(BaseModel):
    """A photo that shows who somebody is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo: Annotated[str, Field(description="one of the photos, or another file", min_length=1)]
    face: Annotated[
        Face | None,
        BeforeValidator(
            lambda value: None if value is None else face_of(value),
            json_schema_input_type=int | tuple[float, float] | None,
        ),
        Field(description="who in it: 2, the second from the left, or [x, y], a point in the face"),
    ] = None


class IdentitySelector(SubjectSelector):
    """A subject selector that tells individuals apart, and can be shown who the subject is."""

    def references(self) -> Mapping[str, Sequence[Reference]]:
        """Return the photos by which options show who somebody is, by option.

        Each is one of the run's photos, or a file relative to the recipe.
        """
        return {}

    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose without references; see ``SubjectSelector.select``."""
        return self.select_with(observations, {})

    @abstractmethod
    def select_with(self, observations: Sequence[Observation], shown: Shown) -> list[Choice]:
        """Choose the subject in each photo, knowing whom the references show.

        Args:
            observations: as ``select`` takes them.
            shown: by option, what was found in its references, in their order.

        Returns:
            One ``Choice`` an observation.
        """

    @abstractmethod
    def individuals(self, observations: Sequence[Observation]) -> list[list[tuple[int, int]]]:
        """Return who appears in the photos, the most frequent first.

        Returns:
            Of each individual, the places of photos among the observations, each with the index
            of the detection there.
        """
