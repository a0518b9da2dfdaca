"""Coverage: the share of each pixel of the canvas that a photo covers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignimation_core.api import geometry


def coverage(photo_size: tuple[int, int], dst_from_photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much of each pixel a photo covers; exact along upright and level edges.

    The photo's edges are lines; a pixel's coverage is its centre's distance from the nearest of
    them, plus one half.

    Args:
        photo_size: (height, width) of the photo.
        dst_from_photo: (3, 3), affine or homography.
        size: (height, width) of the result.

    Returns:
        (height, width) float32 in [0, 1].
    """
    covered = Edges.of(photo_size, dst_from_photo).coverage(range(size[0]), size[1])
    return torch.ones(size) if covered is None else covered


@dataclass(frozen=True, slots=True)
class Edges:
    """The four edges of a photo.

    Attributes:
        lines: (a, b, c) of each: the distance from it, inwards, of (x, y) is ``a x + b y + c``.
    """

    lines: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, photo_size: tuple[int, int], dst_from_photo: Tensor) -> Edges:
        """Return where the edges of a photo lie.

        Args:
            photo_size: (height, width) of the photo.
            dst_from_photo: (3, 3), affine or homography.
        """
        height, width = photo_size
        sides = torch.tensor([[1.0, 0, 0], [-1, 0, width], [0, 1, 0], [0, -1, height]]).double()
        lines = sides @ geometry.inverse(dst_from_photo.double())
        a, b, c, d = (lines / lines[:, :2].norm(dim=1, keepdim=True)).float().tolist()
        return cls((tuple(a), tuple(b), tuple(c), tuple(d)))

    def coverage(self, rows: range, width: int) -> Tensor | None:
        """Return how much the photo covers of some rows' pixels; see the function ``coverage``.

        Returns:
            (len(rows), width) float32 in [0, 1]; None where the photo covers them all.
        """
        least: Tensor | None = None
        x, y = torch.arange(width) + 0.5, torch.arange(rows.start, rows.stop)[:, None] + 0.5
        for a, b, c in self.lines:
            farthest = min(0.0, a * width) + min(b * rows.start, b * rows.stop) + c
            if farthest < 0.5:  # otherwise none of these pixels lies beyond this edge
                inside = (a * x + (b * y + c)) + 0.5
                least = inside if least is None else torch.minimum(least, inside)
        return None if least is None else least.clamp_(0, 1)
