"""The base classes of the stages.

A stage *is* its options: a frozen pydantic model whose fields are what a recipe may set. It *has*
a network, as a ``cached_property``; it never is one. ``MTCNN(min_face=60).detect(images)`` works
in plain Python as it does in a recipe.
"""

from alignimation_core.api.stages.alignment import TargetBuilder, TransformModel
from alignimation_core.api.stages.base import (
    Ability,
    ComputeStage,
    RecipePath,
    Stage,
    known_device,
)
from alignimation_core.api.stages.networks import AnnotationDetector, Detector, Embedder
from alignimation_core.api.stages.renderers import Effect, Film, OwnEffects, Renderer, Writer
from alignimation_core.api.stages.selectors import SubjectSelector

__all__ = [
    "Ability",
    "AnnotationDetector",
    "ComputeStage",
    "Detector",
    "Effect",
    "Embedder",
    "Film",
    "OwnEffects",
    "RecipePath",
    "Renderer",
    "Stage",
    "SubjectSelector",
    "TargetBuilder",
    "TransformModel",
    "Writer",
    "known_device",
]
