"""Coordinates, transforms and warping.

Convention: continuous pixel coordinates (an image spans ``[0, w] x [0, h]``, the centre of its
top-left pixel is ``(0.5, 0.5)``), 3x3 matrices on column vectors ``(x, y, 1)`` named by where they
go, and ``align_corners=False`` without exception, so that normalised coordinates are
``2 x / w - 1``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import images

Padding = Literal["zeros", "border", "reflection"]

SPARSE = 0.8  # scale from which a photo that shrinks is sampled as it is
STRIP = 65536  # pixels of a strip of the canvas


def table(rows: Sequence[float] | Sequence[Sequence[float]], columns: int) -> Tensor:
    """Return (N, columns) float64 of N rows, or of their numbers one after another.

    Through numpy: of many rows, in a third of the time of ``torch.tensor``.
    """
    return torch.from_numpy(np.array(rows, dtype=np.float64)).reshape(-1, columns)


def as_tensor(matrix: Sequence[Sequence[float]]) -> Tensor:
    """Return a (3, 3) float64 tensor."""
    return torch.tensor(matrix, dtype=torch.float64)


def as_rows(matrix: Tensor) -> tuple[tuple[float, float, float], ...]:
    """Return a (3, 3) tensor as rows of plain floats."""
    a, b, c = matrix.detach().cpu().double().tolist()
    return (tuple(a), tuple(b), tuple(c))


def apply(matrices: Tensor, points: Tensor) -> Tensor:
    """Map points through matrices.

    Args:
        matrices: (..., 3, 3).
        points: (..., P, 2).

    Returns:
        (..., P, 2), divided by the homogeneous coordinate.
    """
    mapped = points @ matrices[..., :2, :2].mT + matrices[..., None, :2, 2]
    weight = points @ matrices[..., 2:, :2].mT + matrices[..., None, 2:, 2]
    return mapped / weight


def inverse(matrices: Tensor) -> Tensor:
    """Return the inverses of (..., 3, 3) matrices; differentiable.

    The inverse of an affine matrix is affine to the bit, which torch's own is with some LAPACKs
    and not with others: these leave 1e-19 in its last row.

    Raises:
        torch.linalg.LinAlgError: a matrix has none.
    """
    inverted: Tensor = torch.linalg.inv(matrices)
    last, found = matrices[..., 2:, :], inverted[..., 2:, :]
    affine = (last == last.new_tensor([0.0, 0.0, 1.0])).all(-1, keepdim=True)
    amiss = torch.where(affine, last - found, 0.0).detach()  # gradients are right as they are
    return torch.cat([inverted[..., :2, :], found + amiss], -2)


def translation(x: float, y: float) -> Tensor:
    """Return the (3, 3) float64 matrix that shifts by ``(x, y)``."""
    return torch.tensor([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]], dtype=torch.float64)


def scaling(x: float, y: float) -> Tensor:
    """Return the (3, 3) float64 matrix that multiplies by ``(x, y)``."""
    return torch.diag(torch.tensor([x, y, 1.0], dtype=torch.float64))


def rotation(angle: float) -> Tensor:
    """Return the (3, 3) float64 matrix that turns by ``angle`` radians, from x towards y."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)


def normalised_from_pixels(size: tuple[int, int]) -> Tensor:
    """Return the (3, 3) float64 matrix to torch's ``[-1, 1]`` frame, ``align_corners=False``."""
    height, width = size
    return translation(-1.0, -1.0) @ scaling(2.0 / width, 2.0 / height)


def warp(
    image: Tensor,
    dst_from_src: Tensor,
    size: tuple[int, int],
    *,
    padding: Padding = "zeros",
    mode: Literal["bilinear", "bicubic"] = "bilinear",
) -> Tensor:
    """Warp images by backward sampling; differentiable in the images and in the matrices.

    It does not low-pass: for a picture that shrinks by more than a factor of two use
    ``warp_photo`` or resize first.

    Args:
        image: ([B,] C, h, w) floating point, or uint8.
        dst_from_src: ([B,] 3, 3), in the continuous pixels of both images. One matrix with a
            batch of images, or one image with a batch of matrices, is repeated.
        size: (height, width) of the result.
        padding: what lies outside the image: ``zeros``, its ``border`` or its ``reflection``.
        mode: how to interpolate.

    Returns:
        ([B,] C, height, width) of the image's dtype; B is there when either argument had it.

    Raises:
        TypeError, ValueError: the image is something else.
    """
    images.expect_numbers(image)
    if image.dtype == torch.uint8:
        return _as_bytes(warp(image.float(), dst_from_src, size, padding=padding, mode=mode))
    batched = image.ndim == 4 or dst_from_src.ndim == 3
    sources = image if image.ndim == 4 else image[None]
    matrices = dst_from_src if dst_from_src.ndim == 3 else dst_from_src[None]
    count = max(len(sources), len(matrices))
    exact = matrices.double()
    to_src = normalised_from_pixels((sources.shape[-2], sources.shape[-1])).to(exact.device)
    from_dst = inverse(normalised_from_pixels(size)).to(exact.device)
    src_from_dst = to_src @ inverse(exact) @ from_dst
    grid = _grid(src_from_dst, size).to(sources.dtype).expand(count, -1, -1, -1)
    warped = functional.grid_sample(
        sources.expand(count, -1, -1, -1),
        grid,
        mode=mode,
        padding_mode=padding,
        align_corners=False,
    )
    return warped if batched else warped[0]


def _as_bytes(values: Tensor) -> Tensor:
    return values.detach().round().clamp(0, 255).byte()


def _grid(src_from_dst: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (B, h, w, 2) sampling grid, both frames normalised."""
    height, width = size
    kind, device = src_from_dst.dtype, src_from_dst.device
    x = (torch.arange(width, dtype=kind, device=device) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, dtype=kind, device=device) + 0.5) * (2 / height) - 1
    m = src_from_dst[:, :, :, None, None]
    u, v, w = (m[:, i, 0] * x + (m[:, i, 1] * y[:, None] + m[:, i, 2]) for i in range(3))
    return torch.stack([u / w, v / w], dim=-1)


def warp_photo(
    image: Tensor,
    canvas_from_photo: Tensor,
    size: tuple[int, int],
    *,
    padding: Padding = "border",
) -> Tensor:
    """Warp one full-size photo onto the canvas without aliasing.

    Only the part of the photo that the canvas shows is touched, but for ``reflection`` all of it.
    Where it shrinks to less than ``SPARSE``, it is reduced with a low-pass first.

    Args:
        image: (3, h, w) uint8 or floating point in [0, 1], on any device.
        canvas_from_photo: (3, 3), affine or homography, on the CPU.
        size: (height, width) of the canvas.
        padding: what lies outside the photo: ``zeros``, its ``border`` or its ``reflection``.

    Returns:
        (3, height, width) float32 in [0, 1], on the image's device.

    Raises:
        TypeError, ValueError: the image is something else; the message says what to do.
    """
    if image.dtype != torch.uint8:
        image = images.as_floats(image) * 255
    return torch.cat([*strips(image, canvas_from_photo, size, padding=padding)], 1).div_(255)


def strips(
    image: Tensor,
    canvas_from_photo: Tensor,
    size: tuple[int, int],
    *,
    padding: Padding = "border",
) -> Iterator[Tensor]:
    """Warp one full-size photo as ``warp_photo`` does, one strip of the canvas after the other.

    What is done to a strip before the next one is taken is done in the cache of a core; elsewhere
    than on the CPU there is one strip. Its arguments are those of ``warp_photo``.

    Yields:
        (3, some, width) float32 in [0, 255], from the top of the canvas down.
    """
    height, width = image.shape[-2:]
    x0, y0, x1, y1 = 0, 0, width, height
    if padding != "reflection":
        x0, y0, x1, y1 = part_shown((height, width), canvas_from_photo, size)
    part = image[:, y0:y1, x0:x1]
    canvas_from_part = canvas_from_photo.double() @ translation(x0, y0)

    scale = max(stretch(canvas_from_part, (y1 - y0, x1 - x0)))
    if scale < SPARSE:
        # Sampling smooths, too. Reduced to its scale on the canvas first, the photo would be 6 to
        # 11 dB farther from the mean colours of the canvas's pixels.
        ratio = scale / max(0.5, scale + 0.1)
        small = (max(1, round((y1 - y0) * ratio)), max(1, round((x1 - x0) * ratio)))
        canvas_from_part = canvas_from_part @ scaling((x1 - x0) / small[1], (y1 - y0) / small[0])
        if part.device.type == "cpu":
            # torch reduces bytes several times faster with the channels of a pixel side by side
            whole = part[None].contiguous(memory_format=torch.channels_last)
        else:  # where torch reduces no bytes
            whole = part[None].float()
        part = functional.interpolate(
            whole, small, mode="bilinear", antialias=True, align_corners=False
        )[0]
    mode: Literal["bilinear", "bicubic"] = "bicubic" if scale > 1.25 else "bilinear"
    yield from _sampled(part.float(), canvas_from_part, size, padding, mode)


def part_shown(
    photo_size: tuple[int, int], canvas_from_photo: Tensor, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return ``x0, y0, x1, y1``: the pixels of a photo that ``warp_photo`` touches."""
    height, width = photo_size
    corners = torch.tensor([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]])
    shown = apply(inverse(canvas_from_photo.double()), corners.double())
    margin = 4.0 + 0.02 * float((shown.amax(0) - shown.amin(0)).max())
    x0, y0 = (shown.amin(0) - margin).floor().int().tolist()
    x1, y1 = (shown.amax(0) + margin).ceil().int().tolist()
    x0, x1 = min(max(x0, 0), width - 1), min(max(x1, 1), width)
    y0, y1 = min(max(y0, 0), height - 1), min(max(y1, 1), height)
    return x0, y0, x1, y1


def _sampled(
    image: Tensor,
    dst_from_src: Tensor,
    size: tuple[int, int],
    padding: Padding,
    mode: Literal["bilinear", "bicubic"],
) -> Iterator[Tensor]:
    """Yield what ``warp`` gives for one image in strips; without gradients, but faster."""
    height, width = size
    some = max(1, STRIP // width) if image.device.type == "cpu" else height
    to_src = normalised_from_pixels((image.shape[-2], image.shape[-1]))
    affine = dst_from_src[2].tolist() == [0.0, 0.0, 1.0]
    if affine:
        (a, b, c), (d, e, f), _ = (to_src @ inverse(dst_from_src)).tolist()
        x = torch.arange(width, dtype=torch.float64) + 0.5
        across = [(a * x).float().to(image.device), (d * x).float().to(image.device)]
    for top in range(0, height, some):
        rows = min(some, height - top)
        if affine:
            y = torch.arange(top, top + rows, dtype=torch.float64)[:, None] + 0.5
            grid = torch.empty(1, rows, width, 2, device=image.device)
            torch.add(across[0], (b * y + c).float().to(image.device), out=grid[0, ..., 0])
            torch.add(across[1], (e * y + f).float().to(image.device), out=grid[0, ..., 1])
            strip = functional.grid_sample(
                image[None], grid, mode=mode, padding_mode=padding, align_corners=False
            )[0]
        else:
            strip_from_src = (translation(0, -top) @ dst_from_src).to(image.device)
            strip = warp(image, strip_from_src, (rows, width), padding=padding, mode=mode)
        yield strip.clamp_(0, 255) if mode == "bicubic" else strip


def stretch(matrix: Tensor, size: tuple[int, int]) -> tuple[float, float]:
    """Return how long a pixel at the middle of a source becomes, across and down.

    ``matrix`` is (3, 3) ``dst_from_src``, ``size`` the source's (height, width).
    """
    middle = torch.tensor([[size[1] / 2, size[0] / 2]], dtype=torch.float64)
    steps = torch.cat([middle, middle + torch.eye(2, dtype=torch.float64)])
    moved = apply(matrix.double(), steps)
    across, down = (moved[1:] - moved[0]).norm(dim=1).tolist()
    return across, down


def draw(grid: Tensor, dst_from_grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Warp a (h, w) grid, such as a mask's, reduced with a low-pass first where it is finer.

    Returns:
        (height, width) ``size``, 0 outside the grid.
    """
    height, width = grid.shape
    across, down = (min(1.0, side) for side in stretch(dst_from_grid, (height, width)))
    small = (max(1, math.ceil(height * down)), max(1, math.ceil(width * across)))
    if small != (height, width):
        grid = functional.interpolate(
            grid[None, None], small, mode="bilinear", antialias=True, align_corners=False
        )[0, 0]
        dst_from_grid = dst_from_grid @ scaling(width / small[1], height / small[0])
    return warp(grid[None], dst_from_grid, size)[0]


def crop(
    image: Tensor, box: Tensor, size: tuple[int, int], *, padding: Padding = "zeros"
) -> Tensor:
    """Cut a box out of images and resize it; differentiable in the images and in the box.

    Sampled bilinearly and without a low-pass, as ``warp``. It computes in float64, so that of
    a float32 image a box of whole pixels at its own size is to the bit what slicing gives.

    Args:
        image: ([B,] C, h, w) floating point, or uint8.
        box: ([B,] 4) ``x0, y0, x1, y1`` in the image's continuous pixels, each of any real value,
            ``x0 < x1`` and ``y0 < y1``. One box with a batch of images, or one image with a batch
            of boxes, is repeated.
        size: (height, width) of the result.
        padding: what lies outside the image: ``zeros``, its ``border`` or its ``reflection``.

    Returns:
        ([B,] C, height, width) of the image's dtype; B is there when either argument had it.

    Raises:
        TypeError, ValueError: the image is something else.
    """
    images.expect_numbers(image)
    x0, y0, x1, y1 = box.double().unbind(-1)
    across, down = size[1] / (x1 - x0), size[0] / (y1 - y0)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    rows = [across, zero, -x0 * across, zero, down, -y0 * down, zero, zero, one]
    crop_from_image = torch.stack(rows, -1).reshape(*box.shape[:-1], 3, 3)
    cut = warp(image.double(), crop_from_image, size, padding=padding)
    return _as_bytes(cut) if image.dtype == torch.uint8 else cut.to(image.dtype)


def angle_of(matrices: Tensor) -> Tensor:
    """Return the rotation of the x axis by (..., 3, 3) matrices, radians from x towards y."""
    return torch.atan2(matrices[..., 1, 0], matrices[..., 0, 0])


def scale_of(matrices: Tensor) -> Tensor:
    """Return the square root of the area ratio of (..., 3, 3) affine matrices."""
    area: Tensor = torch.linalg.det(matrices[..., :2, :2])
    return area.abs().sqrt()
