"""Aligns photos of one subject, taken over years by hand, into an animation where only time moves.

::

    from alignimation_core import Recipe, run

    record = run(Recipe.load("recipe.yaml"))

Every public name is here, and is imported when it is first asked for: importing this package is
quick, and does not import torch. Where the names come from is told to type checkers by the stub
beside this file.
"""

from importlib import import_module

__all__ = [
    "AlignedPhoto",
    "AlignimationError",
    "AnnotationDetector",
    "Canvas",
    "Choice",
    "Detections",
    "Detector",
    "Effect",
    "Embedder",
    "FaceEmbedder",
    "Film",
    "Frame",
    "Listing",
    "Mask",
    "Observation",
    "OutputError",
    "Photo",
    "PhotoError",
    "PhotoSource",
    "PluginError",
    "Recipe",
    "RecipeError",
    "Record",
    "Registration",
    "Renderer",
    "SourcePhoto",
    "StageError",
    "Subject",
    "SubjectSelector",
    "Target",
    "TargetBuilder",
    "TransformModel",
    "WeightsError",
    "Writer",
    "align",
    "geometry",
    "hookimpl",
    "load",
    "order",
    "run",
]

_HOMES = (
    "alignimation_core.api.data",
    "alignimation_core.api.frame",
    "alignimation_core.api.mask",
    "alignimation_core.api.registration",
    "alignimation_core.api.errors",
    "alignimation_core.api.stages",
    "alignimation_core.api.stages.faces",
    "alignimation_core.api.files",
    "alignimation_core.api.stages.sources",
    "alignimation_core.api.stages.renderers",
    "alignimation_core.api.hooks",
    "alignimation_core.recipe.recipe",
    "alignimation_core.record",
    "alignimation_core.photos.decoder",
    "alignimation_core.photos.listing",
    "alignimation_core.alignment.pair",
    "alignimation_core.pipeline",
)


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for; the last two of its homes import torch."""
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
