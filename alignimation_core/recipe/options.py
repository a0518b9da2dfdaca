"""The groups of a recipe's settings: canvas, refine, executor."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
    model_validator,
)

from alignimation_core.api.errors import shown


def _colour_or(*words: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in words:
            from PIL import ImageColor

            try:
                ImageColor.getrgb(value)
            except ValueError:
                what = f"neither {', '.join(words)} nor a colour such as '#102030'"
                raise ValueError(f"{value!r} is {what}") from None
        return value

    return AfterValidator(check)


SHORT = 1080
"""The short side of a canvas of which only the shape is given."""
NAMED = {
    "story": "1080x1920",
    "portrait": "1080x1350",
    "square": "1080x1080",
    "1080p": "1920x1080",
    "4k": "3840x2160",
}
"""Sizes by the names that people have for them."""
PHOTO = "photo"
"""The size of a canvas as large as the photos."""
_SIDES = r"\s*([0-9]{1,9})\s*[xX\u00d7]\s*([0-9]{1,9})\s*"
_SHAPE = r"\s*([0-9]{1,4})\s*:\s*([0-9]{1,4})\s*"
_NAMES = "|".join([*NAMED, PHOTO])
_Size: TypeAlias = (
    Annotated[str, Field(pattern=f"^({_SIDES}|{_SHAPE}|{_NAMES})$")] | tuple[int, int] | None
)
_Framing: TypeAlias = Literal["tight", "balanced", "whole", "auto"]


class SubjectFraming(BaseModel):
    """How large the subject is on the canvas, and where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: Annotated[
        float,
        Field(description="height of its box, as a share of the canvas's: 0.3", gt=0, le=4),
    ] = 0.4
    at: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], Annotated[float, Field(ge=0, le=1)]],
        Field(
            description="where its torso, else its eyes, else its middle are, in shares of the "
            "canvas from the left and from the top: [0.5, 0.4]"
        ),
    ] = (0.5, 0.4)


def _framing_of(given: object, name: ValidatorFunctionWrapHandler) -> object:
    if isinstance(given, Mapping):
        return SubjectFraming.model_validate(given)
    return given if isinstance(given, SubjectFraming) else name(given)


_FRAMING = Annotated[
    _Framing,
    WrapValidator(_framing_of, json_schema_input_type=_Framing | SubjectFraming),
    PlainSerializer(lambda given: given if isinstance(given, str) else given.model_dump()),
]


class CanvasOptions(BaseModel):
    """What every frame shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[
        str | None,
        Field(
            description="WIDTHxHEIGHT in pixels, such as 1080x1350; a shape such as 9:16, whose "
            "short side is 1080; story, portrait, square, 1080p, 4k; photo (as large as most "
            "photos); left out, the photos' usual shape with a long side of 1080"
        ),
    ] = None
    framing: Annotated[
        _Framing | SubjectFraming,
        GetPydanticSchema(lambda _, handler: handler(_FRAMING)),
        Field(
            description="how much around the subject: tight (no border is invented, unless the "
            "subject needs it), balanced "
            "(a twentieth of all pixels may be), whole (every photo fully), auto (as much as "
            "max_border allows, wherever the photos reach furthest), or {subject: 0.3, at: "
            "[0.5, 0.4]} (how large the subject is and where)"
        ),
    ] = "balanced"
    max_border: Annotated[
        float,
        Field(
            description="for framing: auto, the share of all pixels that may be invented",
            ge=0,
            lt=1,
        ),
    ] = 0.05
    border: Annotated[
        str,
        _colour_or("blur", "mirror", "edge"),
        Field(
            description="what fills the canvas beyond a photo: blur, mirror, edge, or a colour "
            "such as black or '#102030'"
        ),
    ] = "blur"
    background: Annotated[
        str,
        _colour_or("keep", "remove", "blur"),
        Field(
            description="what becomes of what is behind the subject: keep, remove (transparent), "
            "blur, or a colour such as white or '#102030'; all but keep need a detector of masks"
        ),
    ] = "keep"

    @field_validator("size", mode="before", json_schema_input_type=_Size)
    @classmethod
    def _sane(cls, size: object) -> object:
        if size is None or size == PHOTO:
            return size
        size = NAMED.get(size, size) if isinstance(size, str) else size
        sides = re.fullmatch(_SIDES, size) if isinstance(size, str) else None
        shape = re.fullmatch(_SHAPE, size) if isinstance(size, str) else None
        if sides:
            width, height = (int(side) for side in sides.groups())
        elif shape and all(int(side) for side in shape.groups()):
            across, down = (int(side) for side in shape.groups())
            width, height = (round(SHORT * side / min(across, down)) for side in (across, down))
        elif isinstance(size, list | tuple) and [type(side) for side in size] == [int, int]:
            width, height = size
        else:
            raise ValueError(f"{shown(size)} is no size; write WIDTHxHEIGHT, such as 1080x1350")
        if not all(16 <= side <= 16384 for side in (width, height)):
            raise ValueError(f"{width}x{height}: each side must be 16 to 16384 pixels")
        return f"{width}x{height}"

    def allowed_border(self) -> float:
        """Return the share of all frames' pixels that may lie beyond their photos."""
        shares = {"tight": 0.0, "balanced": 0.05, "auto": self.max_border}
        return shares.get(self.framing, 1.0) if isinstance(self.framing, str) else 1.0

    def shape(self) -> tuple[int, int] | None:
        """Return (height, width), made even as video needs; None when left to the photos."""
        if self.size in (None, PHOTO):
            return None
        width, height = (int(side) // 2 * 2 for side in str(self.size).split("x"))
        return height, width


class RefineOptions(BaseModel):
    """Better than by the detector's keypoints of each photo alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: Annotated[
        bool | Literal["eyes"],
        Field(
            description="let the photos correct each other's keypoints, which go to where the "
            "patches around them agree: eyes (they alone, where they count most), true (whichever "
            "count most), false"
        ),
    ] = "eyes"
    rigid_parts: Annotated[
        bool,
        Field(
            description="align bodies by those of their keypoints, and of the outlines of masks, "
            "that keep together over the series"
        ),
    ] = True
    passes: Annotated[
        int,
        Field(
            description="how often to detect again on the aligned photos, where the subject is "
            "upright and large; 0 is not at all",
            ge=0,
            le=5,
        ),
    ] = 0


class ReportOptions(BaseModel):
    """How the report is written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    embed: Annotated[
        bool, Field(description="pictures in the page itself, in place of a folder beside it")
    ] = False


class ExecutorOptions(BaseModel):
    """Where the work on single photos is done."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    use: Annotated[
        Literal["local", "ray"],
        Field(description="local: threads of this process; ray: the workers of a Ray cluster"),
    ] = "local"
    workers: Annotated[
        int | None,
        Field(description="at most so many at once; as many as there are cores if absent", ge=1),
    ] = None
    address: Annotated[
        str | None,
        Field(
            description="of the Ray cluster, such as 10.0.0.1:6379; if absent, the one that runs "
            "on this machine, else one made for this run"
        ),
    ] = None
    gpus: Annotated[
        float, Field(description="GPUs that each Ray worker takes; 0.5: two share one", ge=0)
    ] = 0.0

    @field_validator("use")
    @classmethod
    def _installed(cls, use: str) -> str:
        if use == "ray" and importlib.util.find_spec("ray") is None:
            raise ValueError("ray is not installed: pip install 'alignimation[ray]'")
        return use

    @field_validator("gpus")
    @classmethod
    def _whole_beyond_one(cls, gpus: float) -> float:
        if gpus > 1 and not gpus.is_integer():
            raise ValueError(f"{gpus:g} is neither a share of one GPU nor a whole number of them")
        return gpus

    @model_validator(mode="after")
    def _for_ray(self) -> Self:
        if self.use == "local" and (self.address is not None or self.gpus):
            raise ValueError("address and gpus are for `use: ray`; leave them out")
        return self
