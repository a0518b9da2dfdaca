"""Patches of photos around keypoints, cut in a common frame."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.alignment.consensus.correlation import WINDOW, normalised
from alignimation_core.api import geometry
from alignimation_core.api.data import LUMA, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.mask import Mask
from alignimation_core.photos import decoder
from alignimation_core.photos.decoder import Part, Picture

ENOUGH = 0.6
"""Pixels along a side of a decoded photo for one of the frame: finer ones are blurred away."""
IN_MEMORY = 64 << 20
"""Bytes of patches that are kept in memory; more go to a temporary file."""

Bytes = npt.NDArray[np.uint8]
CutItem = tuple[Photo, Tensor, Mask | None, tuple[Part, ...]]
"""A photo, (3, 3) ``frame_from_photo``, its subject's mask if there is one, what is kept of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Decodes photos, no larger than needed, and cuts patches of ``size`` (height, width).

    ``corners`` are the K upper left corners (x, y) of the patches in the frame; ``min_side`` is
    ``Parts``'s.
    """

    corners: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    min_side: int = 0

    def __call__(self, items: list[CutItem]) -> list[Bytes]:
        """Return each photo's patches.

        Returns:
            (K, height, width) uint8: 1 to 255, black to white, and 0 where there is no photo or
            another thing than the subject; all 0 where the photo can no longer be read.
        """
        return [self._patches(*item) for item in items]

    def _patches(
        self, photo: Photo, frame_from_photo: Tensor, mask: Mask | None, kept: tuple[Part, ...]
    ) -> Bytes:
        height, width = self.size
        left, top = (min(corner[axis] for corner in self.corners) for axis in (0, 1))
        right = max(x for x, _ in self.corners) + width
        bottom = max(y for _, y in self.corners) + height
        part_from_photo = geometry.translation(-left, -top) @ frame_from_photo
        whole = bottom - top, right - left
        try:
            picture = self._picture(photo, part_from_photo, whole, kept)
        except PhotoError:
            return np.zeros((len(self.corners), height, width), np.uint8)
        part_from_picture = part_from_photo @ geometry.as_tensor(picture.photo_from_picture)
        pixels = geometry.warp_photo(picture.pixels, part_from_picture, whole)
        grey = (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(0)
        shown = _covered((photo.height, photo.width), part_from_photo, whole)
        if mask is not None:
            part_from_mask = part_from_photo @ geometry.as_tensor(mask.image_from_mask)
            shown &= geometry.draw(mask.tensor(), part_from_mask, whole) > 0.5
        part = torch.where(shown, (1 + 254 * grey).round(), 0.0).byte().numpy()
        return np.stack(
            [part[y - top : y - top + height, x - left : x - left + width] for x, y in self.corners]
        )

    def _picture(
        self, photo: Photo, part_from_photo: Tensor, size: tuple[int, int], kept: Sequence[Part]
    ) -> Picture:
        """Return a photo as it is decoded for a part of the frame, or what is kept of that.

        Raises:
            PhotoError: the photo cannot be read, or has changed.
        """
        side = max(self.min_side, decoder.side_onto(photo, part_from_photo, ENOUGH))
        for each in kept:
            if each.serves(photo, side, part_from_photo, size):
                return each.picture()
        return decoder.read(photo, side)


def _covered(size: tuple[int, int], part_from_photo: Tensor, whole: tuple[int, int]) -> Tensor:
    """Return which pixels of a part of the frame a photo of ``size`` covers, bool."""
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 for side in whole)
    (a, b, c), (d, e, f), _ = geometry.inverse(part_from_photo).tolist()
    u, v = a * x + b * y[:, None] + c, d * x + e * y[:, None] + f
    inside: Tensor = (u >= 0) & (u <= size[1]) & (v >= 0) & (v <= size[0])
    return inside


class Spool:
    """Patches of all photos, in order: few in memory, many in a temporary file.

    ``shape`` is that of one photo's.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self._bytes = int(np.prod(shape))
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed by __exit__

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget everything."""
        self._file.close()

    def append(self, patches: Bytes) -> None:
        """Add the patches of the next photo."""
        self._file.write(patches.tobytes())

    def read(self, some: Sequence[int]) -> Tensor:
        """Return the patches of some photos, (n, *shape) uint8."""
        data = bytearray()
        for photo in some:
            self._file.seek(photo * self._bytes)
            data += self._file.read(self._bytes)
        return torch.frombuffer(data, dtype=torch.uint8).reshape(-1, *self._shape)


class Sampler:
    """Samples the windows that are compared out of the patches that were cut.

    ``first_from_frame`` (N, 3, 3) leads from the frame of this pass to the one in which patches
    were cut, with their corners at (K, 2) ``corners``; ``centres`` (K, 2) are those of the windows.
    The patches are those from the ``first`` on.
    """

    def __init__(
        self,
        spool: Spool,
        first_from_frame: Tensor,
        corners: Tensor,
        centres: Tensor,
        first: int = 0,
    ) -> None:
        self._spool, self._first_from_frame = spool, first_from_frame
        self._some = slice(first, first + len(corners))
        self._corners = corners
        y, x = (torch.arange(side, dtype=torch.float64) + 0.5 - side / 2 for side in WINDOW)
        grid = torch.cartesian_prod(y, x).flip(1)
        self._grid = grid + centres[:, None]

    def windows(self, some: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalised (n, K, *WINDOW) windows of some photos; what of them is shown."""
        patches = self._spool.read(some.tolist())[:, self._some]
        count, points = patches.shape[:2]
        matrices = self._first_from_frame[some]
        at = geometry.apply(matrices[:, None], self._grid) - self._corners[:, None]
        height, width = patches.shape[-2:]
        at = 2 * at / at.new_tensor([width, height]) - 1
        grid = at.float().reshape(count * points, *WINDOW, 2)
        shown = (patches > 0).float()
        pixels = (patches.float() - 1).clamp(min=0) / 254
        both = torch.stack([pixels, shown], 2).flatten(0, 1)
        sampled = functional.grid_sample(both, grid, align_corners=False)
        light, shares = sampled.reshape(count, points, 2, *WINDOW).unbind(2)
        return normalised(light / shares.clamp(min=1e-3), shares), shares
