"""The keys of a recipe: types, defaults, descriptions, and the JSON Schema made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticKnownError

from alignimation_core.api import urls
from alignimation_core.api.stages import (
    Detector,
    Embedder,
    Renderer,
    Stage,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
)
from alignimation_core.api.stages.renderers import Effect
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin.registry import KINDS
from alignimation_core.recipe.choice import (
    SOURCE,
    Effects,
    StageChoice,
    listed_stage,
    stage,
    validated_as,
)
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.options import (
    CanvasOptions,
    ExecutorOptions,
    RefineOptions,
    ReportOptions,
)
from alignimation_core.recipe.timeline import Gap, Moment, Order, Sample, Zone

CONFIG = ConfigDict(extra="forbid", validate_default=True, validate_by_name=True)


def _place_or_source(
    given: object, place: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> Any:
    """Make a source of ``{use: name, option: value}``; text stays, for whichever recognises it."""
    if isinstance(given, PhotoSource):
        return given
    if isinstance(given, Mapping):
        return SOURCE.validate_python(given, context=info.context)
    return place(given)


def _written(entry: str | PhotoSource) -> object:
    return entry if isinstance(entry, str) else SOURCE.dump_python(entry)


def _default(name: str) -> Any:
    return StageChoice(use=name)


def _usable(text: str) -> str:
    """Return a path, or an address that can be used, in its plain form.

    Between the folders of a path a backslash is what a slash is, on every system.
    """
    text = urls.plain(text)
    if urls.is_address(text):
        urls.at(text)
        return text
    return text.replace("\\", "/")


def _output(text: str) -> Path | str:
    """Return an output folder, with the home that its ``~`` stands for, or an address."""
    if "\0" in text:
        raise ValueError(f"{text!r} is no name of a folder")
    text = _usable(text)
    try:
        return text if urls.is_address(text) else Path(text).expanduser()
    except RuntimeError:
        raise ValueError(f"{text!r}: there is no such user; write the folder out") from None


def _text(given: object) -> object:
    """Return a ``Path`` or ``UPath`` of Python as a recipe writes it."""
    return str(given) if hasattr(given, "parts") else given


def _listed(given: object) -> object:
    """Return a list of what stands alone; an empty mapping is no source."""
    alone = isinstance(_text(given), str | PhotoSource) or (isinstance(given, Mapping) and given)
    return [given] if alone else given


def _not_empty(given: Sized, info: ValidationInfo) -> Sized:
    """Refuse a recipe without photos or outputs; Python may want the run record alone."""
    if info.context is not None and not given:
        sizes = {"field_type": "List", "min_length": 1, "actual_length": 0}
        raise PydanticKnownError("too_short", sizes)
    return given


Text = Annotated[str, BeforeValidator(_text)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Settings:
    """The settings of a recipe."""

    photos: Annotated[
        Sequence[str | PhotoSource],
        validated_as(
            tuple[
                Annotated[
                    Text,
                    AfterValidator(_usable),
                    WrapValidator(_place_or_source),
                    PlainSerializer(_written),
                ],
                ...,
            ]
        ),
        BeforeValidator(_listed, json_schema_input_type=str | dict[str, Any] | list[Any]),
        AfterValidator(_not_empty),
        Field(
            description="folder, glob, address (s3://...) or list of them, relative to the recipe",
            json_schema_extra={"minItems": 1},
        ),
    ]
    order: Annotated[
        Order,
        Field(
            description="of the photos: taken (when they were taken), name (2 before 10), modified "
            "(the files' time), given (as photos names them)"
        ),
    ] = "taken"
    time_zone: Annotated[
        Zone | None,
        Field(
            description="where photos were taken that do not say, such as Europe/Berlin or +02:00; "
            "if absent, where this computer is"
        ),
    ] = None
    without: Annotated[
        Sequence[str],
        validated_as(tuple[str, ...]),
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
        Field(description="photos to leave out unread: names, or globs such as 'scans/*'"),
    ] = ()
    corrections: Annotated[
        str,
        Field(
            description="file of corrections to single photos, relative to the recipe; it need "
            "not be there",
            min_length=1,
        ),
    ] = "corrections.yaml"
    output: Annotated[
        Path | str,
        validated_as(Annotated[Text, Field(min_length=1)]),
        AfterValidator(_output),
        PlainSerializer(str),
        Field(description="folder or address (s3://...) for all results"),
    ] = "out/"
    since: Annotated[
        Moment | None,
        Field(alias="from", description="leave out what was taken before: 2018, 2018-07-04"),
    ] = None
    until: Annotated[
        Moment | None,
        Field(alias="to", description="leave out what was taken after: 2020 is until its end"),
    ] = None
    duplicates: Annotated[
        Literal["keep", "drop"],
        Field(
            description="keep, or drop: of the same file, of nearly the same picture and of a "
            "burst the best is used"
        ),
    ] = "keep"
    sample: Annotated[
        Sample | None,
        BeforeValidator(
            lambda given: {"every": given} if isinstance(given, str) else given,
            json_schema_input_type=str | Sample | None,
        ),
        Field(description="use so many photos of every stretch of time, such as month"),
    ] = None
    min_gap: Annotated[
        Gap | None,
        Field(description="least time between photos, such as 12 hours; of closer ones the better"),
    ] = None
    max: Annotated[
        int | None,
        Field(description="use so many photos at most, spread over time", ge=1),
    ] = None
    detector: Annotated[
        Detector, stage("detector"), Field(description="finds what could be the subject")
    ]
    embedder: Annotated[
        Annotated[Embedder, stage("embedder")] | None,
        Field(description="tells individuals apart; needed for identity"),
    ] = None
    subject_selector: Annotated[
        SubjectSelector,
        stage("subject_selector"),
        Field(description="picks one subject in each photo, or rejects the photo"),
    ] = _default("largest")
    target_builder: Annotated[
        TargetBuilder, stage("target_builder"), Field(description="draws what must coincide")
    ] = _default("gaussian-keypoints")
    transform_model: Annotated[
        TransformModel, stage("transform_model"), Field(description="fits the transform")
    ] = _default("similarity")
    effects: Annotated[
        Sequence[Effect],
        validated_as(Effects),
        Field(description="what changes, adds or holds frames, one after the other"),
    ] = ()
    renderers: Annotated[
        Sequence[Renderer],
        validated_as(tuple[Annotated[Renderer, stage("renderer")], ...]),
        BeforeValidator(listed_stage),
        AfterValidator(_not_empty),
        Field(description="the outputs to write", json_schema_extra={"minItems": 1}),
    ] = (_default("video"),)
    reference: Annotated[
        str,
        Field(
            description="what the photos are aligned on: medoid (the most typical photo), mean "
            "(the mean shape of all), first, or the name of a photo",
            min_length=1,
        ),
    ] = "medoid"
    refine: Annotated[
        RefineOptions, Field(description="correct the keypoints that were detected")
    ] = RefineOptions()
    max_residual: Annotated[
        float | Literal["auto"] | None,
        validated_as(
            Annotated[
                Positive | None,
                WrapValidator(
                    lambda given, number: given if given == "auto" else number(given),
                    json_schema_input_type=Positive | Literal["auto"] | None,
                ),
                PlainSerializer(lambda limit: limit),
            ]
        ),
        Field(
            description="leave out photos whose keypoints stay further from the reference's, "
            "percent of the canvas height; auto: much further than is usual in the series; null: "
            "none"
        ),
    ] = "auto"
    canvas: Annotated[CanvasOptions, Field(description="what every frame shows")] = CanvasOptions()
    report: Annotated[
        bool | ReportOptions,
        Field(
            description="write report.html, what became of every photo, beside run.json; {embed: "
            "true}: as one file"
        ),
    ] = True
    executor: Annotated[
        ExecutorOptions,
        BeforeValidator(
            lambda given: {"use": given} if isinstance(given, str) else given,
            json_schema_input_type=Literal["local", "ray"] | ExecutorOptions,
        ),
        Field(description="where photos are worked on: local (threads) or ray (a cluster)"),
    ] = ExecutorOptions()
    score: Annotated[
        bool,
        Field(description="look at some finished frames again: how still does the subject stand?"),
    ] = True
    seed: Annotated[int, Field(description="seed of all randomness", ge=0, lt=2**32)] = 0

    def stages(self) -> Iterator[tuple[str, Location, Stage]]:
        """Yield kind, location in the recipe and stage, in the order of the pipeline."""
        for kind in KINDS:
            if kind == "photo_source":
                for i, entry in enumerate(self.photos):
                    if not isinstance(entry, str):
                        yield kind, ("photos", i), entry
            elif kind == "effect":
                yield from ((kind, ("effects", i), s) for i, s in enumerate(self.effects))
                for i, renderer in enumerate(self.renderers):
                    for j, effect in enumerate(renderer.effects or ()):
                        yield kind, ("renderers", i, "effects", j), effect
            elif kind == "renderer":
                yield from ((kind, ("renderers", i), s) for i, s in enumerate(self.renderers))
            elif (stage := getattr(self, kind)) is not None:
                yield kind, (kind,), stage


SETTINGS = TypeAdapter(Settings)


def defaults() -> dict[str, object]:
    """Return the stages that a recipe has where it says nothing, as it would write them."""
    found: dict[str, object] = {}
    for setting in fields(Settings):
        given = setting.default
        if isinstance(given, StageChoice):
            found[setting.name] = given.use
        elif setting.name == "renderers" and isinstance(given, tuple):
            found[setting.name] = [each.use for each in given]
    return found
