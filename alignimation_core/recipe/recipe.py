"""The recipe: everything that a run needs, and whether its parts can work together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignimation_core import urls
from alignimation_core.api.data import File, named
from alignimation_core.api.errors import Fault, RecipeError, in_one_line
from alignimation_core.api.stages import (
    ComputeStage,
    Detector,
    Embedder,
    Renderer,
    Stage,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
    known_device,
)
from alignimation_core.output import folder as outputs
from alignimation_core.output.remote import Remote
from alignimation_core.photos import order, search
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

    def remote(self) -> Remote | None:
        """Return what stands for the output folder at its address; None where it is local."""
        return Remote(self.output) if isinstance(self.output, str) else None

    def output_folder(self) -> Path:
        """Return the folder in which a run writes: ``output``, or its address's working folder."""
        remote = self.remote()
        return self.folder / self.output if remote is None else remote.folder

    def find_photos(self) -> list[File]:
        """Return the files that the recipe names, each once.

        Raises:
            RecipeError: a folder, glob or file of the recipe gives no photo, or the reference
                named is not among the photos.
        """
        output = self.output_folder().resolve()
        files: dict[str, File] = {}
        faults: list[Fault] = []
        for i, pattern in enumerate(self.photos):
            found: Sequence[File] = ()
            try:
                found, reason = search.find(pattern, self.folder, self.output)
                if reason and not is_address(pattern):
                    place = (self.folder / pattern).resolve()
                    if output in (place, *place.parents):
                        reason = search.INSIDE.format(output)
            except urls.AddressError as error:
                reason = f"{pattern}: {error}"
            except (OSError, ValueError, RuntimeError) as error:
                reason = f"{pattern!r} cannot be looked for: {in_one_line(error)}"
            files.update((str(path), path) for path in found)
            if reason:
                faults.append(self.fault(("photos", i), reason))
        if not faults:
            names = [order.relative_name(path, self.folder) for path in files.values()]
            faults += self._unknown_photos(names)
        if faults:
            raise RecipeError(faults)
        return list(files.values())

    def _unknown_photos(self, names: Sequence[str]) -> Iterator[Fault]:
        """Yield what is wrong with the photos that the recipe names, of those that there are."""
        for place, wanted in self.photos_named().items():
            meant = named(wanted, names)
            if not meant:
                hint = "use medoid, mean or first" if place == ("reference",) else "correct it"
                yield self.fault(place, f"{wanted!r} is not among the photos; {hint}")
            elif len(meant) > 1:
                what = f"{len(meant)} photos are named {wanted!r}; write {meant[0]} or {meant[1]}"
                yield self.fault(place, what)

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

    def check_outputs(self) -> None:
        """Refuse outputs that would take the place of something that no run wrote.

        Raises:
            RecipeError: what stands in the way, by the path of the renderer.
        """
        paths = [renderer.path for renderer in self.renderers]
        remote = self.remote()
        if remote is None:
            found = list(outputs.obstacles(self.folder / self.output, paths))
        else:
            found = remote.obstacles(paths)
        if faults := [self.fault(place, text) for place, text in found]:
            raise RecipeError(faults)

    def check_weights(self) -> None:
        """Refuse files of weights that the recipe names and that are not there.

        Raises:
            RecipeError: with each of them.
        """
        from alignimation_core.api import weights

        faults: list[Fault] = []
        for _, place, stage in self.stages():
            try:
                missing = [
                    local
                    for needed, local in stage.weights_needed()
                    if local is not None and weights.find(needed, local) is None
                ]
            except Exception as error:  # any failure of a plugin's own code
                what = f"{stage.name!r} failed to say which weights it needs: {in_one_line(error)}"
                faults.append(self.fault(place, what))
                continue
            for local in missing:
                options = [n for n in type(stage).model_fields if getattr(stage, n) == local]
                what = f"{local} is no file; give another, or leave this out for the published one"
                faults.append(self.fault((*place, *options[:1]), what))
        if faults:
            raise RecipeError(faults)

    def check_devices(self) -> None:
        """Refuse devices that this machine does not have; imports torch.

        Raises:
            RecipeError: with each of them.
        """
        faults: list[Fault] = []
        for _, place, stage in self.stages():
            if isinstance(stage, ComputeStage):
                try:
                    stage.torch_device()
                except ValueError as error:
                    faults.append(self.fault((*place, "device"), str(error)))
        if faults:
            raise RecipeError(faults)

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
