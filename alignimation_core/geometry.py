"""The one place that knows pixels, matrices and warping.

Convention: continuous pixel coordinates (an image spans ``[0, w] x [0, h]``, the centre of its
top-left pixel is ``(0.5, 0.5)``), 3x3 matrices on column vectors ``(x, y, 1)`` named by where they
go, and ``align_corners=False`` without exception, so that normalised coordinates are
``2 x / w - 1``.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.data import Target
from alignimation_core.mask import Matrix

Padding = Literal["zeros", "border", "reflection"]


def as_tensor(matrix: Matrix) -> Tensor:
    """Return a (3, 3) float64 tensor."""
    return torch.tensor(matrix, dtype=torch.float64)


def as_rows(matrix: Tensor) -> Matrix:
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
        image: ([B,] C, h, w) floating point.
        dst_from_src: ([B,] 3, 3), in the continuous pixels of both images. One matrix with a
            batch of images, or one image with a batch of matrices, is repeated.
        size: (height, width) of the result.
        padding: what lies outside the image: ``zeros``, its ``border`` or its ``reflection``.
        mode: how to interpolate.

    Returns:
        ([B,] C, height, width) of the image's dtype; B is there when either argument had it.
    """
    batched = image.ndim == 4 or dst_from_src.ndim == 3
    images = image if image.ndim == 4 else image[None]
    matrices = dst_from_src if dst_from_src.ndim == 3 else dst_from_src[None]
    count = max(len(images), len(matrices))
    exact = matrices.double()
    to_src = normalised_from_pixels((images.shape[-2], images.shape[-1])).to(exact.device)
    from_dst = normalised_from_pixels(size).inverse().to(exact.device)
    src_from_dst = to_src @ torch.linalg.inv(exact) @ from_dst
    grid = _grid(src_from_dst, size).to(images.dtype).expand(count, -1, -1, -1)
    warped = functional.grid_sample(
        images.expand(count, -1, -1, -1),
        grid,
        mode=mode,
        padding_mode=padding,
        align_corners=False,
    )
    return warped if batched else warped[0]


def _grid(src_from_dst: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the (B, h, w, 2) places to sample, both frames normalised."""
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
    padding: Padding = "zeros",
) -> Tensor:
    """Warp one full-size photo onto the canvas without aliasing.

    Only the part of the photo that the canvas shows is touched; where it shrinks, it is reduced
    with a low-pass first.

    Args:
        image: (3, h, w) uint8.
        canvas_from_photo: (3, 3), affine or homography.
        size: (height, width) of the canvas.
        padding: what lies outside the photo.

    Returns:
        (4, height, width) float32 in [0, 1]: RGB and, last, how much of each pixel the photo
        covers.
    """
    height, width = image.shape[-2:]
    corners = torch.tensor([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]])
    seen = apply(torch.linalg.inv(canvas_from_photo.double()), corners.double())
    margin = 4.0 + 0.02 * float((seen.amax(0) - seen.amin(0)).max())
    x0, y0 = (seen.amin(0) - margin).floor().int().tolist()
    x1, y1 = (seen.amax(0) + margin).ceil().int().tolist()
    x0, x1 = min(max(x0, 0), width - 1), min(max(x1, 1), width)
    y0, y1 = min(max(y0, 0), height - 1), min(max(y1, 1), height)
    if padding != "zeros":
        x0, y0, x1, y1 = 0, 0, width, height
    part = image[:, y0:y1, x0:x1]
    canvas_from_part = canvas_from_photo.double() @ translation(x0, y0)

    centre = torch.tensor([[(x1 - x0) / 2, (y1 - y0) / 2]], dtype=torch.float64)
    steps = torch.cat([centre, centre + torch.eye(2, dtype=torch.float64)])
    moved = apply(canvas_from_part, steps)
    scale = float((moved[1:] - moved[0]).norm(dim=1).max())
    if scale < 1:
        small = (max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale)))
        canvas_from_part = canvas_from_part @ scaling((x1 - x0) / small[1], (y1 - y0) / small[0])
        part = functional.interpolate(
            part[None], small, mode="bilinear", antialias=True, align_corners=False
        )[0]
    mode: Literal["bilinear", "bicubic"] = "bicubic" if scale > 1.25 else "bilinear"
    beyond: Padding = "border" if padding == "zeros" else padding
    colour = _sample(part.float() / 255, canvas_from_part, size, beyond, mode).clamp_(0, 1)
    if bool(((seen > 0.5) & (seen < torch.tensor([width - 0.5, height - 0.5]))).all()):
        return torch.cat([colour, colour.new_ones(1, *size)])
    whole = colour.new_ones(1, height, width)
    return torch.cat(
        [colour, _sample(whole, canvas_from_photo.double(), size, "zeros", "bilinear")]
    )


def _sample(
    image: Tensor,
    dst_from_src: Tensor,
    size: tuple[int, int],
    padding: Padding,
    mode: Literal["bilinear", "bicubic"],
) -> Tensor:
    """Return what ``warp`` does for one image; in float32 and without gradients, but faster."""
    if dst_from_src[2].tolist() != [0.0, 0.0, 1.0]:
        return warp(image, dst_from_src, size, padding=padding, mode=mode)
    to_src = normalised_from_pixels((image.shape[-2], image.shape[-1]))
    from_dst = normalised_from_pixels(size).inverse()
    src_from_dst = (to_src @ torch.linalg.inv(dst_from_src) @ from_dst)[None, :2].float()
    grid = functional.affine_grid(src_from_dst, [1, 1, *size], align_corners=False)
    return functional.grid_sample(
        image[None], grid, mode=mode, padding_mode=padding, align_corners=False
    )[0]


def crop(
    image: Tensor, box: Tensor, size: tuple[int, int], *, padding: Padding = "zeros"
) -> Tensor:
    """Cut a box out of images and resize it; differentiable in the images and in the box.

    Sampled bilinearly and without a low-pass, as ``warp``. It computes in float64, so that of
    a float32 image a box of whole pixels at its own size is to the bit what slicing gives.

    Args:
        image: ([B,] C, h, w) floating point.
        box: ([B,] 4) ``x0, y0, x1, y1`` in the image's continuous pixels, each of any real value,
            ``x0 < x1`` and ``y0 < y1``. One box with a batch of images, or one image with a batch
            of boxes, is repeated.
        size: (height, width) of the result.
        padding: what lies outside the image: ``zeros``, its ``border`` or its ``reflection``.

    Returns:
        ([B,] C, height, width) of the image's dtype; B is there when either argument had it.
    """
    x0, y0, x1, y1 = box.double().unbind(-1)
    across, down = size[1] / (x1 - x0), size[0] / (y1 - y0)
    zero, one = torch.zeros_like(x0), torch.ones_like(x0)
    rows = [across, zero, -x0 * across, zero, down, -y0 * down, zero, zero, one]
    crop_from_image = torch.stack(rows, -1).reshape(*box.shape[:-1], 3, 3)
    return warp(image.double(), crop_from_image, size, padding=padding).to(image.dtype)


def similarity_from_points(moving: Tensor, fixed: Tensor, weights: Tensor) -> Tensor:
    """Return the similarity that brings points onto others, by weighted least squares.

    Closed form of Umeyama (PAMI 1991) in two dimensions, where the rotation and scale together
    are one complex number; never a reflection.

    Args:
        moving: (..., P, 2).
        fixed: (..., P, 2).
        weights: (..., P) >= 0; at least two points of weight, apart from each other, are needed.

    Returns:
        (..., 3, 3) float64 ``fixed_from_moving``; NaN where the points do not determine it.
    """
    m, f, w = moving.double(), fixed.double(), weights.double()[..., None]
    total = w.sum(-2, keepdim=True)
    m_mean, f_mean = (w * m).sum(-2, keepdim=True) / total, (w * f).sum(-2, keepdim=True) / total
    dm, df = m - m_mean, f - f_mean
    spread = (w * dm * dm).sum((-1, -2))
    spread = torch.where(spread > 1e-12, spread, torch.full_like(spread, math.nan))
    a = (w * dm * df).sum((-1, -2)) / spread
    b = (w[..., 0] * (dm[..., 0] * df[..., 1] - dm[..., 1] * df[..., 0])).sum(-1) / spread
    turn = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
    shift = f_mean - m_mean @ turn.mT
    top = torch.cat([turn, shift.mT], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 2] = 1
    return torch.cat([top, bottom], -2)


def closed_form(moving: Target, fixed: Target) -> Tensor:
    """Return where a registration of targets starts.

    Args:
        moving: a batch.
        fixed: the reference.

    Returns:
        (B, 3, 3) float64 ``fixed_from_moving``: the similarity on the points that both have; with
        one common point the shift between the two; without points, the shift and the scale
        between the first two moments of the images. Where none of these is determined, identity.
    """
    count = len(moving.image)
    shared = moving.point_weights.double() * fixed.point_weights.double()
    found = (shared > 0).sum(-1)
    matrices = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    for i in range(count):
        if found[i] >= 2:
            fitted = similarity_from_points(moving.points[i], fixed.points, shared[i])
        elif found[i] == 1:
            at = int(shared[i].argmax())
            shift = (fixed.points[at] - moving.points[i, at]).double().tolist()
            fitted = translation(*shift)
        else:
            fitted = _similarity_from_moments(moving.image[i], fixed.image)
        if fitted.isfinite().all() and float(torch.linalg.det(fitted)) > 1e-9:
            matrices[i] = fitted
    return matrices


def _similarity_from_moments(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return the shift and scale between two (C, h, w) images by their first two moments."""

    def moments(image: Tensor) -> tuple[float, float, float]:
        mass = image.double().sum(0)
        total = mass.sum()
        y = torch.arange(mass.shape[0], dtype=torch.float64) + 0.5
        x = torch.arange(mass.shape[1], dtype=torch.float64) + 0.5
        mx, my = (mass.sum(0) * x).sum() / total, (mass.sum(1) * y).sum() / total
        spread = ((x - mx) ** 2 * mass.sum(0)).sum() + ((y - my) ** 2 * mass.sum(1)).sum()
        return float(mx), float(my), float((spread / total).sqrt())

    mx, my, m_spread = moments(moving)
    fx, fy, f_spread = moments(fixed)
    scale = f_spread / m_spread if m_spread else math.nan
    return translation(fx, fy) @ scaling(scale, scale) @ translation(-mx, -my)


def angle_of(matrices: Tensor) -> Tensor:
    """Return how far (..., 3, 3) matrices turn the x axis, (...) radians from x towards y."""
    return torch.atan2(matrices[..., 1, 0], matrices[..., 0, 0])


def scale_of(matrices: Tensor) -> Tensor:
    """Return the square root of the area ratio of (..., 3, 3) affine matrices."""
    area: Tensor = torch.linalg.det(matrices[..., :2, :2])
    return area.abs().sqrt()
