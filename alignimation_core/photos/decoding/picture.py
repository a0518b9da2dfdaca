"""What decoding a photo gives, and which part of a damaged one is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from alignimation_core.api.data import Damage
from alignimation_core.api.mask import Matrix, scaling

if TYPE_CHECKING:
    import numpy as np

LARGEST = 178_956_970
"""Pixels that are decoded at most: a gigabyte of them in four bytes each was Pillow's own limit."""

WHOLE = scaling(1.0, 1.0)


MOST = 64
"""Boxes that are told apart; more become the one around them."""

UNIT = 2
"""Rows of cells that a file writes together: of blocks, those of 4:2:0."""

Cells = tuple[int, int, int, int]


class Pixels(NamedTuple):
    """A decoded photo.

    Attributes:
        rgb: (h, w, 3) uint8 sRGB, upright.
        photo_from_picture: 3x3, from its continuous pixels to those of the full-size photo.
        damage: what is wrong with the file; None where nothing is.
    """

    rgb: np.ndarray
    photo_from_picture: Matrix = WHOLE
    damage: Damage | None = None


def lost_at_end(blank: np.ndarray, *, anywhere: bool = False) -> list[Cells]:
    """Return the boxes of cells that a file does not hold, given as it is stored.

    Args:
        blank: (rows, columns) bool: cells that look as if they were missing.
        anywhere: count all of them; else those alone from which on there is nothing else.

    Returns:
        ``(x0, y0, x1, y1)`` in cells.
    """
    if anywhere:
        boxes = [(x0, y, x1, y + 1) for y in range(len(blank)) for x0, x1 in _runs(blank[y])]
        if len(boxes) > MOST:
            x0, y0, x1, y1 = (list(sides) for sides in zip(*boxes, strict=True))
            return [(min(x0), min(y0), max(x1), max(y1))]
        return boxes
    rows, columns = blank.shape
    full = rows
    while full and blank[full - 1].all():
        full -= 1
    boxes = [(0, full, columns, rows)] if full < rows else []
    for row in range(max(0, full - UNIT), full):
        runs = _runs(blank[row])
        if runs and runs[-1][1] == columns:
            boxes.append((runs[-1][0], row, columns, row + 1))
    return boxes


def _runs(row: np.ndarray) -> list[tuple[int, int]]:
    """Return where the true values of a row begin and end."""
    import numpy as np

    steps = np.diff(np.concatenate([[0], row.astype(np.int8), [0]]))
    begins, ends = (np.flatnonzero(steps == step).tolist() for step in (1, -1))
    return [*zip(begins, ends, strict=True)]
