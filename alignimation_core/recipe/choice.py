"""A stage in a recipe: its name, with its options beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    PlainValidator,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError

from alignimation_core.api.errors import in_one_line
from alignimation_core.api.stages import (
    Renderer,
    Stage,
)
from alignimation_core.api.stages.renderers import Effect
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin.registry import KINDS, registry


def validated_as(form: Any) -> GetPydanticSchema:
    """Validate a field as another type than the one that code sees."""
    return GetPydanticSchema(lambda _, handler: handler(form))


class StageChoice(BaseModel):
    """Which stage is used; its options stand beside ``use``."""

    model_config = ConfigDict(frozen=True)

    use: Annotated[str, Field(description="the stage's name")]


def stage(kind: str) -> GetPydanticSchema:
    """Make a stage of its name or of ``{use: name, option: value}``, and write it as the latter.

    In Python, where the validation has no context, the recipe's folder, a stage is given as such.
    """
    base = KINDS[kind]

    def make(given: Any, info: ValidationInfo) -> object:
        if isinstance(given, base):
            return given
        if info.context is None and not isinstance(given, StageChoice):
            raise ValueError(f"expected {base.__name__}, got {type(given).__name__}")
        written = {"use": given} if isinstance(given, str) else given
        name = StageChoice.model_validate(written).use
        found = registry().stages[kind].get(name)
        if found is None:
            unknown = registry().explain_unknown(kind, name)
            if written is not given:
                raise ValueError(unknown)
            error = PydanticCustomError("value_error", "{error}", {"error": unknown})
            raise ValidationError.from_exception_data(
                name, [{"type": error, "loc": ("use",), "input": name}]
            )
        options = {key: value for key, value in dict(written).items() if key != "use"}
        context = {**(info.context or {}), "effects": partial(_own_effects, context=info.context)}
        try:
            return found.stage.model_validate(options, context=context)
        except ValidationError:
            raise  # pydantic puts the stage's location before those of its options
        except Exception as error:  # any failure of a plugin's own code
            what = f"{name!r} of {found.distribution} failed on its options: {in_one_line(error)}"
            raise ValueError(what) from error

    def write(stage: Stage) -> dict[str, Any]:
        return {"use": stage.name, **stage.model_dump(mode="json")}

    form = Annotated[Any, PlainValidator(make, json_schema_input_type=Any), PlainSerializer(write)]
    return validated_as(form)


def _own_effects(given: object, context: Any) -> Any:
    """Make the effects that a renderer has for itself."""
    return EFFECTS.validate_python(given, context=context)


def listed_stage(given: object) -> object:
    """Return a list of a stage that stands alone."""
    return [given] if isinstance(given, str | Mapping | Renderer | Effect) else given


Effects = Annotated[tuple[Annotated[Effect, stage("effect")], ...], BeforeValidator(listed_stage)]
EFFECTS: TypeAdapter[tuple[Effect, ...]] = TypeAdapter(Effects)
SOURCE: TypeAdapter[PhotoSource] = TypeAdapter(Annotated[PhotoSource, stage("photo_source")])
