"""The run: from a recipe to its outputs and the run record."""

from alignimation_core.pipeline.runner import run

__all__ = ["run"]
