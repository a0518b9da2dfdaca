"""Gates: what a photo of the subject must be like to be used, as limits on measured values."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from alignimation_core.api.data import Choice, Observation
from alignimation_core.api.stages.base import Stage
from alignimation_core.api.stages.networks import Embedder


class Limit(NamedTuple):
    """How one option limits one value: its name, whether it is the least, and words on a miss."""

    value: str
    least: bool
    words: str


LIMITS = {
    "max_yaw": Limit("yaw", False, "the subject looks to the side"),
    "max_pitch": Limit("pitch", False, "the subject looks up or down"),
    "max_roll": Limit("roll", False, "the subject's head is tilted"),
    "min_size": Limit("size", True, "the subject is too small in pixels"),
    "min_share": Limit("share", True, "the subject is too small in its photo"),
    "min_border": Limit("border", True, "the subject is cut by the border, or too near to it"),
    "min_sharpness": Limit("sharpness", True, "the subject is not sharp"),
    "min_exposure": Limit("exposure", True, "the subject is too dark"),
    "max_exposure": Limit("exposure", False, "the subject is too bright"),
    "min_contrast": Limit("contrast", True, "the subject has too little contrast"),
    "min_eyes_open": Limit("eyes_open", True, "the subject's eyes are closed"),
    "max_mouth_open": Limit("mouth_open", False, "the subject's mouth is open"),
}
"""What each option of ``Gates`` limits; of angles, it is the size that counts, not the sign."""

PIXELS = ("sharpness", "exposure", "contrast")
"""Values that need the photo's pixels, in the order in which they are stored."""


def _at_most(what: str, most: float | None = None) -> object:
    return Field(description=what, ge=0, le=most)


class Gates(BaseModel):
    """Limits on what the subject of a photo is like; a value that is not known passes.

    Only a head that is nearly in profile, or one of a few pixels, is refused unless the recipe
    says otherwise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_yaw: Annotated[
        float | None, _at_most("most degrees that the head is turned to a side", 90)
    ] = 75.0
    max_pitch: Annotated[
        float | None, _at_most("most degrees that the head is turned up or down", 90)
    ] = 60.0
    max_roll: Annotated[float | None, _at_most("most degrees that the head is tilted", 180)] = None
    min_size: Annotated[
        float | None, _at_most("least side of the square as large as the subject's box, pixels")
    ] = 4.0
    min_share: Annotated[
        float | None, _at_most("least share of the photo that the subject's box covers", 1)
    ] = None
    min_border: Annotated[
        float | None,
        Field(
            description="least distance of the subject's box from the photo's border, in sides of "
            "the box; 0 refuses what is cut, below 0 allows it"
        ),
    ] = None
    min_sharpness: Annotated[
        float | None, _at_most("least sharpness: 0 is wholly blurred, above 0.6 is sharp", 1)
    ] = None
    min_exposure: Annotated[
        float | None, _at_most("least mean brightness of the subject: 0 is black, 1 white", 1)
    ] = None
    max_exposure: Annotated[
        float | None, _at_most("greatest mean brightness of the subject: 0 is black, 1 white", 1)
    ] = None
    min_contrast: Annotated[
        float | None, _at_most("least standard deviation of the subject's brightness", 1)
    ] = None
    min_eyes_open: Annotated[
        float | None,
        _at_most(
            "least height of the eyes by their width: closed below 0.2; needs the outlines of "
            "the eyes, as dlib's 68 landmarks have them",
            1,
        ),
    ] = None
    max_mouth_open: Annotated[
        float | None,
        _at_most(
            "most height of the open mouth by its width; needs the outline of the lips, as dlib's "
            "68 landmarks have it"
        ),
    ] = None

    def missed(self, values: Mapping[str, float]) -> tuple[str, str] | None:
        """Return which option the values of a photo's subject miss first, and why; None for none.

        Args:
            values: by the names in ``LIMITS``.
        """
        for option, limit, asked in self.asked:
            value = values.get(limit.value)
            if value is not None and misses(limit, value, asked):
                found, wanted = distinct(shown(limit, value), asked)
                bound = "at least" if limit.least else "at most"
                return option, (
                    f"{limit.words} ({limit.value} {found}, {bound} {wanted} asked); "
                    f"`gates: {{{option}: null}}` keeps it"
                )
        return None

    @cached_property
    def asked(self) -> list[tuple[str, Limit, float]]:
        """The options that are set: name, what it limits, and the number."""
        every = ((option, limit, getattr(self, option)) for option, limit in LIMITS.items())
        return [each for each in every if each[2] is not None]

    def needs_pixels(self) -> bool:
        """Return whether a limit is set on a value that needs the photo's pixels."""
        return any(limit.value in PIXELS for _, limit, _ in self.asked)


def shown(limit: Limit, value: float) -> float:
    """Return the number that is compared with a limit."""
    return abs(value) if limit.value in ("yaw", "pitch", "roll") else value


def misses(limit: Limit, value: float, asked: float) -> bool:
    """Return whether a value is beyond a limit."""
    value = shown(limit, value)
    return value < asked if limit.least else value > asked


def distinct(left: float, right: float) -> tuple[str, str]:
    """Format two numbers with two decimals, or as many as it takes to tell them apart."""
    for digits in (2, 3, 4, 5):
        texts = f"{left:.{digits}f}", f"{right:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


class SubjectSelector(Stage):
    """Picks one detection in each photo, or rejects the photo with a reason."""

    gates: Annotated[
        Gates, Field(description="limits on what a photo's subject must be like, of any selector")
    ] = Gates()

    @abstractmethod
    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose the subject in each photo, with all photos in view.

        Args:
            observations: the numbers of every photo, in the order in which they were taken; pixels
                are not needed, so that choosing again with another threshold costs nothing.

        Returns:
            One ``Choice`` an observation.
        """

    def remarks(self, embedder: Embedder | None) -> Sequence[str]:  # noqa: ARG002
        """Return lines for ``--check`` on options that can hardly be meant with the embedder."""
        return ()

    def photos_named(self) -> Mapping[str, str]:
        """Return the photos that options name, by option: with or without folders, as users write.

        Each must be one of the run's photos, and a trial run (``--limit``) looks at it, too.
        """
        return {}
