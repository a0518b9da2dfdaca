"""Discovery of plugins: entry points to stages by kind and name."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points, version

import pluggy

from alignimation_core.api import hooks
from alignimation_core.api.errors import in_one_line
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

LOG = logging.getLogger(__name__)

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
    _claimed: dict[tuple[str, str], str] = field(default_factory=dict)

    @classmethod
    def of(cls, points: Iterable[EntryPoint]) -> Registry:
        """Load plugins; what cannot be used is listed in ``broken`` and harms no other.

        That is a plugin that fails or has an unknown hook, a stage that is none, and every stage
        whose name another distribution has given to one of the same kind; this package's own stay.
        """
        registry = cls()
        manager = pluggy.PluginManager(hooks.PROJECT)
        manager.add_hookspecs(hooks)
        for point in points:
            registry._load(manager, point)
        for kind, name in registry._claimed:
            del registry.stages[kind][name]
        return registry

    def _load(self, manager: pluggy.PluginManager, point: EntryPoint) -> None:
        distribution = _distribution(point)
        try:
            plugin = point.load()
            if unknown := _unknown_hooks(plugin):
                self.broken.append(Broken(point.name, distribution, unknown + _asked(point)))
                return
            manager.register(plugin, name=f"{distribution}: {point.name}")
        except (Exception, SystemExit) as error:  # any failure of a plugin's own code
            LOG.debug("plugin %s", point.name, exc_info=True)
            self.broken.append(Broken(point.name, distribution, in_one_line(error) + _asked(point)))
            return
        if not manager.get_hookcallers(plugin):
            reason = "it has no hook; mark its functions with @hookimpl"
            self.broken.append(Broken(point.name, distribution, reason))
        for kind in KINDS:
            for call in getattr(manager.hook, f"alignimation_{kind}s").get_hookimpls():
                if call.plugin is plugin:
                    self._register(kind, point, distribution, call.function)

    def _register(
        self, kind: str, point: EntryPoint, distribution: str, hook: Callable[[], object]
    ) -> None:
        try:
            classes = _listed(hook(), KINDS[kind])
        except (Exception, SystemExit) as error:  # any failure of a plugin's own code
            LOG.debug("plugin %s: alignimation_%ss", point.name, kind, exc_info=True)
            reason = f"alignimation_{kind}s: {in_one_line(error)}"
            self.broken.append(Broken(point.name, distribution, reason))
            return
        version = point.dist.version if point.dist else ""
        for stage in classes:
            fault = fault_of(kind, stage)
            if fault:
                self.broken.append(Broken(point.name, distribution, fault))
                continue
            assert isinstance(stage, type)
            assert issubclass(stage, Stage)
            other = self.stages[kind].get(stage.name)
            found = Registered(kind, stage.name, stage, distribution, version)
            if other is None:
                self.stages[kind][stage.name] = found
            elif other.stage is not stage:
                self._clash(point.name, found, other)

    def _clash(self, plugin: str, found: Registered, other: Registered) -> None:
        """Note that two distributions have a stage of the same kind and name."""
        what = (
            f"the {found.kind.replace('_', ' ')} {found.name!r} is in both {other.distribution} "
            f"and {found.distribution}; uninstall one of the two, or rename it"
        )
        self.broken.append(Broken(plugin, found.distribution, what))
        if other.distribution != hooks.PROJECT:
            self._claimed[found.kind, found.name] = what

    def explain_unknown(self, kind: str, name: str) -> str:
        """Return the message for a recipe that names an unknown stage."""
        if (kind, name) in self._claimed:
            return self._claimed[kind, name]
        names = sorted(self.stages[kind])
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        text = f"there is no {kind.replace('_', ' ')} {name!r}"
        text += f"; did you mean {near[0]!r}?" if near else ";"
        text += f" available: {', '.join(names) or 'none'}"
        for broken in self.broken:
            text += f"; plugin {broken}"
        return text


def is_name(text: str) -> bool:
    """Return whether a recipe can name a stage so: YAML takes it for a text, and nothing else."""
    words = ("null", "true", "false", "yes", "no", "on", "off")
    return re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", text) is not None and text not in words


def fault_of(kind: str, stage: object) -> str | None:
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
    if not stage.__doc__:
        return f"{label} has no docstring, whose first line is shown by --list"
    if issubclass(stage, Embedder) and not isinstance(getattr(stage, "same_above", None), float):
        return f"{label} has no same_above: add `same_above: ClassVar[float] = ...`"
    try:
        stage.model_rebuild()
    except Exception as error:  # such as an annotation that was imported for type checkers only
        return f"{label} has options that cannot be read: {in_one_line(error)}"
    if "use" in {field.alias or name for name, field in stage.model_fields.items()}:
        return f"{label} has an option `use`, which in a recipe names the stage; rename the option"
    return None


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _unknown_hooks(plugin: object) -> str | None:
    """Return which hooks of a plugin this version does not have; None where it has all."""
    known = [f"alignimation_{kind}s" for kind in KINDS]
    marked = [
        name
        for name, member in inspect.getmembers(plugin, inspect.isroutine)
        if getattr(member, f"{hooks.PROJECT}_impl", None) and name not in known
    ]
    if not marked:
        return None
    near = difflib.get_close_matches(marked[0], known, n=1, cutoff=0.9)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"unknown hook {marked[0]!r}; {hint}the hooks are {', '.join(known)}"


def _asked(point: EntryPoint) -> str:
    """Return which versions of this package a plugin that cannot be used asks for, if any."""
    for line in (point.dist.requires or ()) if point.dist else ():
        asked = re.match(rf"{hooks.PROJECT}(?![\w.-])[^<>=!~;]*([<>=!~][^;)]*)", line)
        if asked:
            wanted = f"{hooks.PROJECT} {asked[1].strip()}"
            return f"; it asks for {wanted}, and this is {version(hooks.PROJECT)}"
    return ""


def _listed(given: object, base: type[Stage]) -> list[object]:
    if isinstance(given, type | str) or not isinstance(given, Iterable):
        what = f"the class {given.__name__}" if isinstance(given, type) else repr(given)
        example = given.__name__ if isinstance(given, type) else f"My{base.__name__}"
        raise TypeError(f"expected a list of classes, such as [{example}], got {what}")
    return list(given)


@cache
def registry() -> Registry:
    """Return every stage of every installed plugin; discovered once.

    What plugins print meanwhile goes to stderr.
    """
    points = entry_points(group=hooks.PROJECT)
    with redirect_stdout(sys.stderr):
        return Registry.of(sorted(points, key=_order))


def _order(point: EntryPoint) -> tuple[bool, str, str]:
    """Return what plugins are sorted by: this package's own first."""
    distribution = _distribution(point)
    return distribution != hooks.PROJECT, point.name, distribution
