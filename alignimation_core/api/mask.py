"""Compressed masks, and plain matrices that place them."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Matrix = tuple[tuple[float, float, float], ...]
"""A 3x3 matrix as rows of plain floats, where numbers are kept rather than computed with."""


@dataclass(frozen=True, slots=True)
class Mask:
    """A soft mask, compressed, with the matrix that places it in its image.

    Attributes:
        data: ``height * width`` bytes, 0 outside to 255 inside, row by row, zlib-compressed.
        height: rows of the mask's own grid.
        width: columns of the mask's own grid.
        image_from_mask: from the grid's continuous pixels to the image's; outside the grid the
            mask is 0.
    """

    data: bytes
    height: int
    width: int
    image_from_mask: Matrix

    @classmethod
    def of(cls, mask: Tensor, box: tuple[float, float, float, float]) -> Mask:
        """Compress a mask that fills a box of the image.

        Args:
            mask: (h, w), bool or float in [0, 1].
            box: ``(x0, y0, x1, y1)`` that the grid covers, in the image's continuous pixels.

        Raises:
            ValueError: ``mask`` is not two-dimensional or the box is empty.
        """
        if mask.ndim != 2:
            raise ValueError(f"mask: expected shape (n, n), got {tuple(mask.shape)}")
        x0, y0, x1, y1 = box
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"mask: its box {box} is empty")
        height, width = mask.shape
        bytes_ = (mask.detach().cpu().float().clamp(0, 1) * 255).round().byte().contiguous()
        matrix = (((x1 - x0) / width, 0.0, x0), (0.0, (y1 - y0) / height, y0), (0.0, 0.0, 1.0))
        return cls(zlib.compress(bytes_.numpy().tobytes(), 1), height, width, matrix)

    def tensor(self) -> Tensor:
        """Return the mask on its own grid, (height, width) float32 in [0, 1]."""
        import torch

        flat = torch.frombuffer(bytearray(zlib.decompress(self.data)), dtype=torch.uint8)
        return flat.reshape(self.height, self.width).float() / 255

    def on(self, size: tuple[int, int]) -> Tensor:
        """Return the mask drawn on its image of (height, width): float32 in [0, 1]."""
        from alignimation_core.api import geometry

        return geometry.draw(self.tensor(), geometry.as_tensor(self.image_from_mask), size)

    def transformed(self, new_from_image: Matrix) -> Mask:
        """Return the same mask placed in another image by ``new_from_image``."""
        return replace(self, image_from_mask=multiply(new_from_image, self.image_from_mask))


def multiply(left: Matrix, right: Matrix) -> Matrix:
    """Return the matrix product ``left @ right``."""
    return tuple(
        (
            sum(row[k] * right[k][0] for k in range(3)),
            sum(row[k] * right[k][1] for k in range(3)),
            sum(row[k] * right[k][2] for k in range(3)),
        )
        for row in left
    )


def scaling(x: float, y: float) -> Matrix:
    """Return the matrix that multiplies coordinates by ``x`` and ``y``."""
    return ((x, 0.0, 0.0), (0.0, y, 0.0), (0.0, 0.0, 1.0))
