"""The recipe: everything that a run needs, and whether its parts can work together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignimation_core import urls
from alignimation_core.api.errors import Fault, RecipeError, in_one_line
from alignimation_core.api.stages import (
    Detector,
    Embedder,
    Renderer,
    Stage,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
    known_device,
)
from alignimation_core.plugin.registry import KINDS
from alignimation_core.recipe.compatibility import mismatches
from alignimation_core.recipe.document import Place, Source
from alignimation_core.recipe.loader import bind
from alignimation_core.recipe.options import CanvasOptions, ExecutorOptions, RefineOptions
from alignimation_core.urls import is_address


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a run needs, checked.

    Attributes:
        photos: folders, globs or files, relative to ``folder`` or at addresses.
        output: the output folder, absolute or relative to ``folder``; a text where it is an
            address.
        detector: the stage that finds candidates.
        subject_selector: the stage that picks the subject.
        target_builder: the stage that draws what must coincide.
        transform_model: the stage that fits the transform.
        renderers: the stages that write the outputs.
        embedder: the stage that tells individuals apart, if any.
        reference: ``medoid``, ``mean``, ``first`` or the name of a photo.
        refine: how often to detect again on the aligned photos.
        max_residual: percent of the canvas height beyond which a photo is left out.
        canvas: what every frame shows.
        executor: where the work on single photos is done.
        seed: seed of all randomness.
        folder: what relative paths are relative to: the recipe's folder.
        source: where the settings came from, to name the line in later errors.
    """

    photos: Sequence[str]
    output: Path | str
    detector: Detector
    subject_selector: SubjectSelector
    target_builder: TargetBuilder
    transform_model: TransformModel
    renderers: Sequence[Renderer]
    embedder: Embedder | None = None
    reference: str = "medoid"
    refine: RefineOptions = RefineOptions()
    max_residual: float | None = None
    canvas: CanvasOptions = CanvasOptions()
    executor: ExecutorOptions = ExecutorOptions()
    seed: int = 0
    folder: Path = field(default_factory=Path.cwd)
    source: Source | None = field(default=None, compare=False, repr=False)

    @classmethod
    def load(cls, path: str | Path, *, settings: Sequence[str] = ()) -> Recipe:
        """Read and check a YAML recipe.

        Args:
            path: the file.
            settings: ``key=value`` overrides, such as ``renderers[0].fps=24``.

        Raises:
            RecipeError: with every fault by file, line and field.
            PluginError: a plugin breaks the rules of discovery.
        """
        source = Source.read(Path(path))
        source.override(settings)
        return cls(**bind(source))

    @classmethod
    def of(cls, data: Mapping[str, Any], *, folder: str | Path = ".") -> Recipe:
        """Check a recipe given as plain values, as YAML would give them.

        Args:
            data: what a recipe file would hold.
            folder: what relative paths are relative to.

        Raises:
            RecipeError: with every fault by field.
            PluginError: a plugin breaks the rules of discovery.
        """
        return cls(**bind(Source("recipe", Path(folder).resolve(), dict(data))))

    def __post_init__(self) -> None:
        """Refuse stages that cannot work together."""
        many = isinstance(self.photos, Iterable) and not isinstance(self.photos, str)
        given = self.photos if many else [self.photos]
        object.__setattr__(self, "photos", tuple(urls.plain(str(each)) for each in given))
        output = urls.plain(str(self.output))
        object.__setattr__(self, "output", output if is_address(output) else Path(output))
        object.__setattr__(self, "renderers", tuple(self.renderers))
        object.__setattr__(self, "folder", Path(self.folder).resolve())
        faults = [self.fault(place, text) for place, text in mismatches(self)]
        faults += self._unusable_addresses()
        if faults:
            raise RecipeError(faults)

    def _unusable_addresses(self) -> Iterator[Fault]:
        written: list[tuple[Place, str]] = [(("output",), str(self.output))]
        written += [(("photos", i), pattern) for i, pattern in enumerate(self.photos)]
        for place, text in written:
            if is_address(text):
                try:
                    urls.at(text)
                except urls.AddressError as error:
                    yield self.fault(place, str(error))

    def fault(self, place: Place, message: str) -> Fault:
        """Return a fault at a place of the recipe, with its line where there is one."""
        return (self.source or Source("recipe", self.folder, {})).fault(place, message)

    def stages(self) -> Iterator[tuple[str, Place, Stage]]:
        """Yield kind, place in the recipe and stage, in the order of the pipeline."""
        for kind in KINDS:
            if kind == "renderer":
                yield from ((kind, ("renderers", i), s) for i, s in enumerate(self.renderers))
            elif (stage := getattr(self, kind)) is not None:
                yield kind, (kind,), stage

    def photos_named(self) -> dict[Place, str]:
        """Return the photos that the recipe names, by their places in it.

        Raises:
            RecipeError: the subject selector failed to say.
        """
        selector = self.subject_selector
        try:
            named: dict[Place, str] = {
                ("subject_selector", key): name for key, name in selector.photos_named().items()
            }
        except Exception as error:  # any failure of a plugin's own code
            what = f"{selector.name!r} failed to say which photos it names: {in_one_line(error)}"
            raise RecipeError([self.fault(("subject_selector",), what)]) from error
        if self.reference not in ("medoid", "mean", "first"):
            named["reference",] = self.reference
        return named

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
        moved: dict[str, Any] = {}
        for kind, _, stage in self.stages():
            fields = type(stage).model_fields
            if "device" in fields:  # made anew: a copy would keep its networks where they are
                options = {name: getattr(stage, name) for name in fields}
                moved[kind] = type(stage)(**{**options, "device": device})
        source = self.source or Source("recipe", self.folder, {})
        source = source.overridden(((kind, "device") for kind in moved), origin)
        return replace(self, **moved, source=source)

    def dump(self) -> dict[str, Any]:
        """Return the recipe as plain values, every default filled in, for the run record."""

        def written(stage: Stage) -> dict[str, Any]:
            return {"use": stage.name, **stage.model_dump(mode="json")}

        stages: dict[str, Any] = {}
        for kind, place, stage in self.stages():
            if kind == "renderer":
                stages.setdefault("renderers", []).append(written(stage))
            else:
                stages[str(place[0])] = written(stage)
        return {
            "photos": list(self.photos),
            "output": str(self.output),
            **stages,
            "reference": self.reference,
            "refine": self.refine.model_dump(mode="json"),
            "max_residual": self.max_residual,
            "canvas": self.canvas.model_dump(mode="json"),
            "executor": self.executor.model_dump(mode="json"),
            "seed": self.seed,
        }
