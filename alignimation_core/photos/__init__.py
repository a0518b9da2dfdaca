"""Photo files: found, dated, ordered, decoded."""

from alignimation_core.photos.decoder import load

__all__ = ["load"]
