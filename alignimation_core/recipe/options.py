"""The static part of a recipe: all but the stages' own options."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from alignimation_core.api.errors import shown


def _use(value: object) -> object:
    return {"use": value} if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class StageChoice(BaseModel):
    """Which stage is used, and its options, flat beside ``use``."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: Annotated[str, Field(description="the stage's name")]

    def options(self) -> dict[str, Any]:
        """Return the stage's own options."""
        return dict(self.__pydantic_extra__ or {})


Choice = Annotated[StageChoice, BeforeValidator(_use)]


def _word_or_colour(value: str, words: tuple[str, ...]) -> str:
    if value not in words:
        from PIL import ImageColor

        try:
            ImageColor.getrgb(value)
        except ValueError:
            known = ", ".join(words)
            raise ValueError(
                f"{value!r} is neither {known} nor a colour such as '#102030'"
            ) from None
    return value


class CanvasOptions(BaseModel):
    """What every frame shows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: Annotated[
        str | None,
        Field(
            description="WIDTHxHEIGHT in pixels, such as 1080x1350; left out, the photos' usual "
            "shape with a long side of 1080",
            json_schema_extra={"pattern": "^[0-9]{2,5}x[0-9]{2,5}$"},
        ),
    ] = None
    framing: Annotated[
        Literal["tight", "balanced", "whole", "auto"],
        Field(
            description="how much around the subject: tight (no border is invented), balanced "
            "(a twentieth of all pixels may be), whole (every photo fully), auto (as much as "
            "max_border allows, wherever the photos reach furthest)"
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
        Field(
            description="what fills the canvas beyond a photo: blur, mirror, edge, or a colour "
            "such as black or '#102030'"
        ),
    ] = "blur"
    background: Annotated[
        str,
        Field(
            description="what becomes of what is behind the subject: keep, remove (transparent), "
            "blur, or a colour such as white or '#102030'; all but keep need a detector of masks"
        ),
    ] = "keep"

    @field_validator("size", mode="before")
    @classmethod
    def _sane(cls, size: object) -> object:
        if size is None:
            return None
        if not isinstance(size, str) or not re.fullmatch("[0-9]{1,9}x[0-9]{1,9}", size):
            raise ValueError(f"{shown(size)} is no size; write WIDTHxHEIGHT, such as 1080x1350")
        if not all(16 <= int(side) <= 16384 for side in size.split("x")):
            raise ValueError(f"{size}: each side must be 16 to 16384 pixels")
        return size

    @field_validator("border")
    @classmethod
    def _known_border(cls, border: str) -> str:
        return _word_or_colour(border, ("blur", "mirror", "edge"))

    @field_validator("background")
    @classmethod
    def _known_background(cls, background: str) -> str:
        return _word_or_colour(background, ("keep", "remove", "blur"))

    def allowed_border(self) -> float:
        """Return the share of all frames' pixels that may lie beyond their photos."""
        return {"tight": 0.0, "balanced": 0.05, "auto": self.max_border, "whole": 1.0}[self.framing]

    def shape(self) -> tuple[int, int] | None:
        """Return (height, width), made even as video needs; None when left to the photos."""
        if self.size is None:
            return None
        width, height = (int(side) // 2 * 2 for side in self.size.split("x"))
        return height, width


class RefineOptions(BaseModel):
    """Detecting again on the aligned photos, where the subject is upright and large."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    passes: Annotated[int, Field(description="how often; 0 is not at all", ge=0, le=5)] = 0


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


def _at_home(folder: str) -> str:
    """Return a folder with the home that its ``~`` stands for.

    Raises:
        ValueError: nobody is called so, or no file system takes such a name.
    """
    if "\0" in folder:
        raise ValueError(f"{folder!r} is no name of a folder")
    try:
        return str(Path(folder).expanduser()) if folder.startswith("~") else folder
    except RuntimeError:
        raise ValueError(f"{folder!r}: there is no such user; write the folder out") from None


class Settings(BaseModel):
    """The static part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    photos: Annotated[
        list[str],
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
        Field(
            description="folder, glob, address (s3://...) or list of them, relative to the recipe",
            min_length=1,
        ),
    ]
    output: Annotated[
        str,
        AfterValidator(_at_home),
        Field(description="folder or address (s3://...) for all results", min_length=1),
    ] = "out/"
    detector: Annotated[Choice, Field(description="finds what could be the subject")]
    embedder: Annotated[
        Choice | None, Field(description="tells individuals apart; needed for identity")
    ] = None
    subject_selector: Annotated[
        Choice, Field(description="picks one subject in each photo, or rejects the photo")
    ] = StageChoice(use="largest")
    target_builder: Annotated[Choice, Field(description="draws what must coincide")] = StageChoice(
        use="gaussian-keypoints"
    )
    transform_model: Annotated[Choice, Field(description="fits the transform")] = StageChoice(
        use="similarity"
    )
    reference: Annotated[
        str,
        Field(
            description="what the photos are aligned on: medoid (the most typical photo), mean "
            "(the mean shape of all), first, or the name of a photo",
            min_length=1,
        ),
    ] = "medoid"
    refine: Annotated[
        RefineOptions, Field(description="detect again on the aligned photos, and correct")
    ] = RefineOptions()
    max_residual: Annotated[
        float | None,
        Field(
            description="leave out photos whose keypoints stay further from the reference's, "
            "percent of the canvas height",
            gt=0,
            allow_inf_nan=False,
        ),
    ] = None
    canvas: Annotated[CanvasOptions, Field(description="what every frame shows")] = CanvasOptions()
    renderers: Annotated[list[Choice], Field(description="the outputs to write", min_length=1)] = [
        StageChoice(use="video")
    ]
    executor: Annotated[
        ExecutorOptions,
        BeforeValidator(_use, json_schema_input_type=Literal["local", "ray"] | ExecutorOptions),
        Field(description="where photos are worked on: local (threads) or ray (a cluster)"),
    ] = ExecutorOptions()
    seed: Annotated[int, Field(description="seed of all randomness", ge=0, lt=2**32)] = 0
