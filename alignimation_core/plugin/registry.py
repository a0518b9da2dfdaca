"""Discovery of plugins: entry points to stages by kind and name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import pluggy

from alignimation_core.api import hooks
from alignimation_core.api.errors import PluginError, in_one_line
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

KINDS: Mapping[str, type[Stage]] = {
    "photo_source": PhotoSource,
    "detector": Detector,
    "embedder": Embedder,
    "subject_selector": SubjectSelector,
    "target_builder": TargetBuilder,
    "transform_model": TransformModel,
    "effect": Effect,
    "renderer": Renderer,
}
"""The kinds of stage in the order of the pipeline; kind ``x`` has the hook ``alignimation_xs``."""


@dataclass(frozen=True, slots=True)
class Registered:
    """One stage, of one of ``KINDS``, and the installed distribution that it comes from."""

    kind: str
    name: str
    stage: type[Stage]
    distribution: str
    version: str

    @property
    def summary(self) -> str:
        """Return the first line of the class docstring."""
        return (inspect.getdoc(self.stage) or "").partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin by its entry point, or one of its stages, that cannot be used; why, in one line."""

    plugin: str
    distribution: str
    reason: str

    def __str__(self) -> str:
        """Return one line for ``--list`` and for the error about an unknown stage."""
        return f"{self.plugin} (of {self.distribution}) cannot be used: {self.reason}"


@dataclass(slots=True)
class Registry:
    """Every stage of every plugin, by kind, then by name; and the plugins that cannot be used."""

    stages: dict[str, dict[str, Registered]] = field(
        default_factory=lambda: {kind: {} for kind in KINDS}
    )
    broken: list[Broken] = field(default_factory=list)

    @classmethod
    def of(cls, points: Iterable[EntryPoint]) -> Registry:
        """Load plugins; one that fails is listed in ``broken`` and harms no other.

        Raises:
            PluginError: a hook is misspelt, or two plugins claim the same name of a kind.
        """
        registry = cls()
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        for point in points:
            registry._load(manager, point)
        return registry

    def _load(self, manager: pluggy.PluginManager, point: EntryPoint) -> None:
        distribution = point.dist.name if point.dist else point.value
        try:
            plugin = point.load()
            manager.register(plugin, name=f"{distribution}: {point.name}")
        except (Exception, SystemExit) as error:  # any failure of a plugin's own code
            self.broken.append(Broken(point.name, distribution, in_one_line(error)))
            return
        try:
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(
                f"plugin {point.name} (of {distribution}): {in_one_line(error)}; the hooks are "
                + ", ".join(f"alignimation_{kind}s" for kind in KINDS)
            ) from None
        if not manager.get_hookcallers(plugin):
            reason = "it has no hook; mark its functions with @hookimpl"
            self.broken.append(Broken(point.name, distribution, reason))
        for kind in KINDS:
            for call in getattr(manager.hook, f"alignimation_{kind}s").get_hookimpls():
                if call.plugin is plugin:
                    self._register(kind, point, distribution, call.function)

    def _register(
        self,
        kind: str,
        point: EntryPoint,
        distribution: str,
        hook: Callable[[], Iterable[object]],
    ) -> None:
        try:
            classes = list(hook())
        except Exception as error:  # any failure of a plugin's own code
            reason = f"alignimation_{kind}s: {in_one_line(error)}"
            self.broken.append(Broken(point.name, distribution, reason))
            return
        version = point.dist.version if point.dist else ""
        for stage in classes:
            fault = _fault_of(kind, stage)
            if fault:
                self.broken.append(Broken(point.name, distribution, fault))
                continue
            assert isinstance(stage, type)
            assert issubclass(stage, Stage)
            other = self.stages[kind].get(stage.name)
            if other is not None and other.stage is not stage:
                raise PluginError(
                    f"{kind} {stage.name!r} is claimed by both {other.distribution} and "
                    f"{distribution}: uninstall one of them"
                )
            found = Registered(kind, stage.name, stage, distribution, version)
            self.stages[kind][stage.name] = found

    def explain_unknown(self, kind: str, name: str) -> str:
        """Return the message for a recipe that names an unknown stage."""
        names = sorted(self.stages[kind])
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        text = f"there is no {kind.replace('_', ' ')} {name!r}"
        text += f"; did you mean {near[0]!r}?" if near else ";"
        text += f" available: {', '.join(names) or 'none'}"
        for broken in self.broken:
            text += f"; plugin {broken}"
        return text


def _fault_of(kind: str, stage: object) -> str | None:
    """Return why an object cannot be a stage of a kind; None if it can."""
    base = KINDS[kind]
    label = getattr(stage, "__qualname__", repr(stage))
    if not (isinstance(stage, type) and issubclass(stage, base)):
        return f"alignimation_{kind}s returned {label}, which is no subclass of {base.__name__}"
    if inspect.isabstract(stage):
        missing = ", ".join(sorted(stage.__abstractmethods__))
        return f"{label} does not define {missing}"
    if not isinstance(getattr(stage, "name", None), str):
        return f'{label} has no name: add `name: ClassVar[str] = "..."`'
    if not inspect.getdoc(stage) or inspect.getdoc(stage) == inspect.getdoc(base):
        return f"{label} has no docstring, whose first line is shown by --list"
    if issubclass(stage, Embedder) and not isinstance(getattr(stage, "same_above", None), float):
        return f"{label} has no same_above: add `same_above: ClassVar[float] = ...`"
    try:
        stage.model_rebuild()
    except Exception as error:  # such as an annotation that was imported for type checkers only
        return f"{label} has options that cannot be read: {in_one_line(error)}"
    return None


@cache
def registry() -> Registry:
    """Return every stage of every installed plugin; discovered once.

    Raises:
        PluginError: a hook is misspelt, or two distributions claim the same name of a kind.
    """
    points = entry_points(group=hooks.PROJECT)
    return Registry.of(sorted(points, key=lambda point: point.name))
