"""Which stages and settings of a recipe can work together."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pydantic import ValidationError

from alignimation_core.api.errors import AlignimationError, in_one_line
from alignimation_core.api.stages import Ability, AnnotationDetector
from alignimation_core.api.stages.renderers import Effect
from alignimation_core.plugin.registry import registry
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.schema import Settings
from alignimation_core.recipe.timeline import bounds

MOST_NAMES = 20
"""Keypoints that a message lists."""


def mismatches(recipe: Settings) -> Iterator[tuple[Location, str]]:
    """Yield what about the stages chosen cannot work together, each with its location."""
    there: frozenset[Ability] = frozenset({"pixels"})
    for kind, location, stage in recipe.stages():
        try:
            missing = stage.requires() - there
            if kind in ("detector", "embedder"):
                there |= stage.provides()
        except AlignimationError:
            raise
        except Exception as error:  # any failure of a plugin's own code
            yield location, f"{stage.name!r} failed to say what it needs: {in_one_line(error)}"
            return
        if missing:
            yield location, _explain(recipe, stage.name, missing)
    background = recipe.canvas.background
    if background != "keep" and "masks" not in there:
        yield ("canvas", "background"), _explain(recipe, background, frozenset({"masks"}))
    if recipe.refine.passes and isinstance(recipe.detector, AnnotationDetector):
        name = recipe.detector.name
        text = f"the detector {name!r} cannot look again at aligned photos; leave refine out"
        yield ("refine", "passes"), text
    if recipe.since and recipe.until and bounds(recipe.until)[1] <= bounds(recipe.since)[0]:
        yield ("to",), f"{recipe.until} is over before from: {recipe.since}; give a later one"
    yield from dict.fromkeys(_misplaced(recipe))
    paths: dict[PurePosixPath, int] = {}
    for i, renderer in enumerate(recipe.renderers):
        path = PurePosixPath(renderer.path)
        for other, first in paths.items():
            if path == other:
                clash = f"{renderer.path!r} is also the path of renderers[{first}]"
            elif path in other.parents or other in path.parents:
                clash = f"{renderer.path!r} and the path of renderers[{first}] lie in each other"
            else:
                continue
            yield ("renderers", i, "path"), f"{clash}; give each output its own"
        paths.setdefault(path, i)


def _misplaced(recipe: Settings) -> Iterator[tuple[Location, str]]:
    """Yield the effects that cannot come where they stand, of each output."""
    for i, renderer in enumerate(recipe.renderers):
        own = renderer.effects
        place: Location = ("effects",) if own is None else ("renderers", i, "effects")
        given = recipe.effects if own is None else own
        effects = [effect for effect in given if isinstance(effect, Effect)]
        for j, effect in enumerate(effects):
            try:
                reason = effect.refuses(effects[:j], renderer)
            except Exception as error:  # any failure of a plugin's own code
                what = f"{effect.name!r} failed to say what it can follow"
                reason = f"{what}: {in_one_line(error)}"
            if reason is not None:
                yield (*place, j), reason


def _explain(recipe: Settings, name: str, missing: frozenset[Ability]) -> str:
    if "embeddings" in missing:
        names = ", ".join(sorted(registry().stages["embedder"])) or "none is installed"
        return f"{name!r} needs an embedder; add `embedder: NAME` (available: {names})"
    plain = sorted(word for word in missing if "." not in word)
    words = plain or sorted(word.partition(".")[2] for word in missing)
    what = " and ".join(plain) if plain else f"the keypoints {', '.join(words)}"
    able = []
    for detector, found in sorted(registry().stages["detector"].items()):
        try:
            gives = found.stage().provides()
        except ValidationError:  # what it gives depends on options that it requires
            if detector != recipe.detector.name:
                able.append(f"{detector} (with its options)")
            continue
        except Exception:  # noqa: S112  # any failure of a plugin's own code
            continue
        if missing <= gives:
            able.append(detector)
    hint = f"detectors that do: {', '.join(able)}" if able else "no installed detector does"
    own = "" if plain else _keypoints_instead(recipe, words)
    if isinstance(recipe.detector, AnnotationDetector):
        return (
            f"{name!r} needs {what}: the file of the detector {recipe.detector.name!r} has no "
            f"{' and '.join(words)}; {own}{hint}"
        )
    return (
        f"{name!r} needs {what}, which the detector {recipe.detector.name!r} does not give; "
        f"{own}{hint}"
    )


def _keypoints_instead(recipe: Settings, missing: Sequence[str]) -> str:
    """Return which keypoints the detector does give, those like the missing ones first."""
    given = recipe.detector.provides()
    names = sorted(word.partition(".")[2] for word in given if word.startswith("keypoints."))
    near = [difflib.get_close_matches(name, names, n=1, cutoff=0.8) for name in missing]
    meant = " and ".join(repr(match) for (match,) in filter(None, near))
    more = ", ..." if len(names) > MOST_NAMES else ""
    listed = f"it gives {', '.join(names[:MOST_NAMES])}{more}; " if names else ""
    return f"did you mean {meant}? {listed}" if meant else listed
