"""The outline of a mask, as polygons in its photo."""

from __future__ import annotations

import numpy as np

from alignimation_core.api.mask import Mask

CELLS = 64
"""Steps along a mask's longer side: finer than a small picture shows."""

Polygon = list[list[float]]


def outline(mask: Mask) -> list[Polygon]:
    """Return the edges of what a mask covers, as closed polygons of (x, y) in the photo."""
    step = max(1, -(-max(mask.height, mask.width) // CELLS))
    inside = np.pad(mask.tensor().numpy()[::step, ::step] >= 0.5, 1)
    turns: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(inside).tolist():  # clockwise around each cell, where it has no other
        sides = (
            ((y - 1, x), (x, y), (x + 1, y)),
            ((y, x + 1), (x + 1, y), (x + 1, y + 1)),
            ((y + 1, x), (x + 1, y + 1), (x, y + 1)),
            ((y, x - 1), (x, y + 1), (x, y)),
        )
        for beside, start, end in sides:
            if not inside[beside]:
                turns.setdefault(start, []).append(end)
    polygons: list[Polygon] = []
    while turns:
        place = first = next(iter(turns))
        corners = []
        while place in turns:
            corners.append(place)
            ends = turns[place]
            following = ends.pop()
            if not ends:
                del turns[place]
            place = following
            if place == first:
                break
        polygons.append([_placed(mask, x, y, step) for x, y in corners])
    return polygons


def _placed(mask: Mask, x: int, y: int, step: int) -> list[float]:
    across, down = min((x - 1) * step, mask.width), min((y - 1) * step, mask.height)
    u, v, w = (a * across + b * down + c for a, b, c in mask.image_from_mask)
    return [round(u / w, 1), round(v / w, 1)]
