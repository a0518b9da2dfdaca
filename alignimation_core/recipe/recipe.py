"""The recipe: everything that a run needs, and whether its parts can work together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from alignimation_core.api.errors import (
    Fault,
    OptionError,
    RecipeError,
    StageError,
    in_one_line,
)
from alignimation_core.api.stages import Renderer, SubjectSelector, known_device
from alignimation_core.api.stages.individuals import IdentitySelector, Reference
from alignimation_core.recipe.compatibility import mismatches
from alignimation_core.recipe.document import Location, Source
from alignimation_core.recipe.schema import CONFIG, SETTINGS, Settings, defaults
from alignimation_core.recipe.validation import bind, faults


def _blamed(fault: Fault, path: Path, settings: Sequence[str]) -> Fault:
    """Return a fault as one of the first setting with which there is one, if there is none before.

    What a setting changes may be wrong only beside what stands in the file.
    """
    if fault.line is None or not settings:
        return fault
    for count in range(len(settings) + 1):
        source = Source.read(path)
        source.override(settings[:count], defaults())
        try:
            Recipe._bound(source)  # noqa: SLF001
        except RecipeError as error:
            found = {(each.field, each.message) for each in error.faults}
            if (fault.field, fault.message) in found:
                if not count:
                    break
                return replace(fault, where=f"--set {settings[count - 1]}", line=None)
    return fault


IN_PYTHON = Source("recipe", Path(), {})


@dataclass(frozen=True, kw_only=True, config={**CONFIG, "arbitrary_types_allowed": True})
class Recipe(Settings):
    """Everything that a run needs, checked: what the keys of a recipe say, as stages and values.

    Relative paths are relative to ``folder``; ``source`` names the lines in later errors.

    Raises:
        RecipeError: with every fault by field.
    """

    folder: Annotated[Path, AfterValidator(lambda folder: folder.resolve())] = field(
        default_factory=Path
    )
    source: Source = field(default=IN_PYTHON, compare=False, repr=False)

    @classmethod
    def load(cls, path: str | Path, *, settings: Sequence[str] = ()) -> Recipe:
        """Read and check a YAML recipe, overridden by ``key=value`` settings.

        Raises:
            RecipeError: with every fault by file, line and field.
        """
        source = Source.read(Path(path))
        source.override(settings, defaults())
        try:
            return cls._bound(source)
        except RecipeError as error:
            raise RecipeError(
                [_blamed(fault, Path(path), settings) for fault in error.faults]
            ) from error

    @classmethod
    def of(cls, data: Mapping[str, Any], *, folder: str | Path = ".") -> Recipe:
        """Check a recipe given as plain values, as YAML would give them.

        Raises:
            RecipeError: with every fault by field.
        """
        return cls._bound(Source("recipe", Path(folder).resolve(), dict(data)))

    @classmethod
    def _bound(cls, source: Source) -> Recipe:
        return cls(**vars(bind(source)), folder=source.folder, source=source)

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, given: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(given)
        except ValidationError as error:
            raise RecipeError(list(faults(IN_PYTHON, error))) from error

    def __post_init__(self) -> None:
        """Refuse stages that cannot work together."""
        if found := [self.fault(location, text) for location, text in mismatches(self)]:
            raise RecipeError(found)

    def fault(self, location: Location, message: str) -> Fault:
        """Return a fault at a location in the recipe, with its line where there is one."""
        return self.source.fault(location, message)

    @contextmanager
    def blamed(self, key: str) -> Iterator[None]:
        """Raise what a stage says of one of its options as a fault of the recipe there.

        Raises:
            RecipeError: the stage at the key raised an ``OptionError``.
        """
        try:
            yield
        except StageError as error:
            if not isinstance(error.__cause__, OptionError):
                raise
            cause = error.__cause__
            raise RecipeError([self.fault((key, cause.option), cause.reason)]) from error

    def photos_named(self) -> dict[Location, str]:
        """Return the photos that the recipe names, by their locations in it.

        Raises:
            RecipeError: a stage failed to say.
        """
        naming: list[tuple[Location, SubjectSelector | Renderer]] = [
            (("subject_selector",), self.subject_selector),
            *((("renderers", i), renderer) for i, renderer in enumerate(self.renderers)),
        ]
        named: dict[Location, str] = {}
        for place, stage in naming:
            try:
                named |= {(*place, key): name for key, name in stage.photos_named().items()}
            except Exception as error:  # any failure of a plugin's own code
                what = f"{stage.name!r} failed to say which photos it names: {in_one_line(error)}"
                raise RecipeError([self.fault(place, what)]) from error
        if self.reference not in ("medoid", "mean", "first"):
            named["reference",] = self.reference
        return named

    def references(self) -> Iterator[tuple[Location, Reference]]:
        """Yield the photos by which the subject selector is shown who somebody is.

        Raises:
            RecipeError: the selector failed to say.
        """
        selector = self.subject_selector
        if not isinstance(selector, IdentitySelector):
            return
        try:
            every = {option: [*given] for option, given in selector.references().items()}
        except Exception as error:  # any failure of a plugin's own code
            what = f"{selector.name!r} failed to say who is shown to it: {in_one_line(error)}"
            raise RecipeError([self.fault(("subject_selector",), what)]) from error
        for option, given in every.items():
            for i, reference in enumerate(given):
                yield ("subject_selector", option, i), reference

    def on(self, device: str) -> Recipe:
        """Return the same recipe with every stage that computes on another device.

        Raises:
            RecipeError: there is no such device.
        """
        origin = f"--device {device}"
        try:
            known_device(device)
        except ValueError as error:
            raise RecipeError([Fault(origin, None, "", str(error))]) from None
        moved: dict[Location, Any] = {}
        for _, place, stage in self.stages():
            fields = type(stage).model_fields
            if "device" in fields:  # made anew: a copy would keep its networks where they are
                options = {known.alias or n: getattr(stage, n) for n, known in fields.items()}
                moved[place] = type(stage)(**{**options, "device": device})
        changed: dict[str, Any] = {
            str(kind): stage for (kind, *rest), stage in moved.items() if not rest
        }
        for key in ("photos", "effects"):
            listed = enumerate(getattr(self, key))
            changed[key] = [moved.get((key, i), each) for i, each in listed]
        changed["renderers"] = renderers = []
        for i, renderer in enumerate(self.renderers):
            effects = renderer.effects and [
                moved.get(("renderers", i, "effects", j), each)
                for j, each in enumerate(renderer.effects)
            ]
            there = moved.get(("renderers", i), renderer)
            renderers.append(there.model_copy(update={"effects": effects}) if effects else there)
        source = self.source.overridden(((*place, "device") for place in moved), origin)
        return replace(self, **changed, source=source)

    def dump(self) -> dict[str, Any]:
        """Return the recipe as plain values, every default filled in, for the run record."""
        values: dict[str, Any] = SETTINGS.dump_python(self, mode="json", by_alias=True)
        return values
