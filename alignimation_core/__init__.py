"""Aligns photos of one subject, taken over years by hand, into an animation where only time moves.

::

    from alignimation_core import Recipe, run

    record = run(Recipe.load("recipe.yaml"))

Every public name is here, and is imported when it is first asked for: importing this package is
quick, and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignimation_core.api import geometry
    from alignimation_core.api.data import (
        Canvas,
        Choice,
        Detections,
        Frame,
        Observation,
        Photo,
        Subject,
    )
    from alignimation_core.api.errors import (
        AlignimationError,
        OutputError,
        PhotoError,
        PluginError,
        RecipeError,
        StageError,
        WeightsError,
    )
    from alignimation_core.api.hooks import hookimpl
    from alignimation_core.api.mask import Mask
    from alignimation_core.api.registration import Registration, Target
    from alignimation_core.api.stages import (
        AnnotationDetector,
        Detector,
        Embedder,
        Renderer,
        SubjectSelector,
        TargetBuilder,
        TransformModel,
        Writer,
    )
    from alignimation_core.pipeline import run
    from alignimation_core.recipe.recipe import Recipe
    from alignimation_core.record import Record

__all__ = [
    "AlignimationError",
    "AnnotationDetector",
    "Canvas",
    "Choice",
    "Detections",
    "Detector",
    "Embedder",
    "Frame",
    "Mask",
    "Observation",
    "OutputError",
    "Photo",
    "PhotoError",
    "PluginError",
    "Recipe",
    "RecipeError",
    "Record",
    "Registration",
    "Renderer",
    "StageError",
    "Subject",
    "SubjectSelector",
    "Target",
    "TargetBuilder",
    "TransformModel",
    "WeightsError",
    "Writer",
    "geometry",
    "hookimpl",
    "run",
]

_HOMES = (
    "alignimation_core.api.data",
    "alignimation_core.api.mask",
    "alignimation_core.api.registration",
    "alignimation_core.api.errors",
    "alignimation_core.api.stages",
    "alignimation_core.api.hooks",
    "alignimation_core.recipe.recipe",
    "alignimation_core.record",
    "alignimation_core.pipeline",
)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for; the last of its homes imports torch."""
    if name == "geometry":
        return import_module("alignimation_core.api.geometry")
    for home in _HOMES if name in __all__ else ():
        module = import_module(home)
        if hasattr(module, name):
            globals()[name] = getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names too that were not asked for yet."""
    return sorted({*globals(), *__all__})
