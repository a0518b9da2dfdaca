"""Coverage: the share of each pixel of the canvas that a photo covers."""

from __future__ import annotations

import torch
from torch import Tensor

from alignimation_core.api import geometry

Lines = list[list[float]]


def coverage(photo_size: tuple[int, int], dst_from_photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much of each pixel a photo covers; exact along upright and level edges.

    The photo's edges are lines; a pixel's coverage is its centre's distance from the nearest of
    them, plus one half. Sizes are (height, width); ``dst_from_photo`` is (3, 3), affine or
    homography.

    Returns:
        (height, width) float32 in [0, 1].
    """
    covered = of_rows(range(size[0]), size[1], edges(photo_size, dst_from_photo))
    return torch.ones(size) if covered is None else covered


def edges(photo_size: tuple[int, int], dst_from_photo: Tensor) -> Lines:
    """Return the four edges of a photo; see ``coverage``.

    (a, b, c) of each: the distance from it, inwards, of (x, y) is ``a x + b y + c``.
    """
    height, width = photo_size
    sides = torch.tensor([[1.0, 0, 0], [-1, 0, width], [0, 1, 0], [0, -1, height]]).double()
    lines = sides @ geometry.inverse(dst_from_photo.double())
    found: Lines = (lines / lines[:, :2].norm(dim=1, keepdim=True)).float().tolist()
    return found


def of_rows(rows: range, width: int, lines: Lines) -> Tensor | None:
    """Return how much a photo with these edges covers of some rows' pixels; see ``coverage``.

    (len(rows), width) float32 in [0, 1]; None where the photo covers them all.
    """
    least: Tensor | None = None
    x, y = torch.arange(width) + 0.5, torch.arange(rows.start, rows.stop)[:, None] + 0.5
    for a, b, c in lines:
        farthest = min(0.0, a * width) + min(b * rows.start, b * rows.stop) + c
        if farthest < 0.5:  # otherwise none of these pixels lies beyond this edge
            inside = (a * x + (b * y + c)) + 0.5
            least = inside if least is None else torch.minimum(least, inside)
    return None if least is None else least.clamp_(0, 1)
