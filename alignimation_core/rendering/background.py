"""What becomes of what is behind the subject: kept, removed, blurred, or a colour."""

from __future__ import annotations

import math

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.mask import Mask
from alignimation_core.rendering import matting
from alignimation_core.rendering.coverage import coverage

CELL = 9.0
"""Pixels of the reduced picture that a mask's cell takes while its edge is refined."""
PIXELS = 120_000
"""Most pixels of the reduced picture."""
REACH = 4.5
"""Half the side of the guided filter's window, pixels of the canvas; at least one reduced pixel."""
BLUR = 0.025
"""Reach of the blurred background, as a share of the canvas's long side."""


def replaced(
    image: Tensor,
    mask: Mask,
    photo_size: tuple[int, int],
    canvas_from_photo: Tensor,
    background: str,
) -> Tensor:
    """Replace what is behind the subject: with a colour, or as ``remove`` and ``blur`` say.

    The image is the canvas, filled to its borders; the other arguments are ``matte_of``'s.

    Returns:
        (4, h, w) float32 RGBA, not premultiplied, for ``remove``; (3, h, w) RGB otherwise. What
        lies beyond the photo is background.
    """
    matte, cell = matte_of(image, mask, photo_size, canvas_from_photo)
    subject = matting.foreground(image, matte, max(12, math.ceil(cell / 3)))
    if background == "remove":
        return torch.cat([subject, matte[None]])
    if background == "blur":
        real = coverage(photo_size, canvas_from_photo, (image.shape[-2], image.shape[-1]))
        behind = _blurred(image, matte, real)
    else:
        rgb = ImageColor.getrgb(background)[:3]
        behind = torch.tensor(rgb, dtype=torch.float32)[:, None, None] / 255
    return matte * subject + (1 - matte) * behind


def matte_of(
    image: Tensor, mask: Mask, photo_size: tuple[int, int], canvas_from_photo: Tensor
) -> tuple[Tensor, float]:
    """Draw the subject's mask on the canvas, its edge where the picture has it.

    Args:
        image: (3, h, w) float32 in [0, 1]: the canvas.
        mask: the subject's, in full-size photo pixels.
        photo_size: (height, width) of the full-size photo.
        canvas_from_photo: (3, 3).

    Returns:
        The matte, (h, w) float32 in [0, 1], 0 beyond the photo; and the side of the mask's cells
        in pixels of the canvas.
    """
    height, width = image.shape[-2:]
    canvas_from_mask = canvas_from_photo.double() @ geometry.as_tensor(mask.image_from_mask)
    cell = max(geometry.stretch(canvas_from_mask, (mask.height, mask.width)))
    more = 1 + math.ceil(2 * REACH / cell)
    grid = _extended(mask, photo_size, more)
    canvas_from_grid = canvas_from_mask @ geometry.translation(-more, -more)
    shrink = max(1.0, cell / CELL, math.sqrt(height * width / PIXELS))
    size = (max(1, round(height / shrink)), max(1, round(width / shrink)))
    reduced_from_canvas = geometry.scaling(size[1] / width, size[0] / height)
    reduced = functional.interpolate(
        image[None], size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    silhouette = geometry.draw(grid, reduced_from_canvas @ canvas_from_grid, size)
    real = coverage(photo_size, reduced_from_canvas @ canvas_from_photo, size)
    matte = matting.refine(reduced, silhouette, cell / shrink, real)
    fine = matting.guided(image, reduced, matte, max(1, round(REACH / shrink)))
    if float(real.min()) < 1:
        fine = fine * coverage(photo_size, canvas_from_photo, (height, width))
    return fine, cell


def _extended(mask: Mask, photo_size: tuple[int, int], more: int) -> Tensor:
    """Return the mask's grid with some cells more on each side.

    Repeated where the photo ends there, lest a subject cut off by it is eroded; empty elsewhere.
    """
    photo_from_mask = geometry.as_tensor(mask.image_from_mask)
    height, width = mask.height, mask.width
    middles = [[0, height / 2], [width, height / 2], [width / 2, 0], [width / 2, height]]
    places = geometry.apply(photo_from_mask, torch.tensor(middles, dtype=torch.float64))
    beyond = torch.minimum(places, torch.tensor(photo_size[::-1]) - places).amin(1)
    across, down = geometry.stretch(photo_from_mask, (height, width))
    near = torch.tensor([across, across, down, down]) * 0.5
    ends = (beyond < near).float()
    grid = functional.pad(mask.tensor()[None, None], (more,) * 4, mode="replicate")[0, 0]
    grid[:, :more] *= ends[0]
    grid[:, -more:] *= ends[1]
    grid[:more] *= ends[2]
    grid[-more:] *= ends[3]
    return grid


def _blurred(image: Tensor, matte: Tensor, real: Tensor) -> Tensor:
    """Return the background alone, blurred, (3, h, w).

    The subject's colours are left out of it, and so is what lies beyond the photo, where the
    canvas's border repeats them; there, the background around is continued.
    """
    height, width = matte.shape
    reach = max(1, round(BLUR * max(height, width)))
    step = max(1, reach // 6)
    few, share = matting.sampled(image, step), matting.sampled(matte[None], step)
    # a little more than the subject, whose edge the matte may miss by a pixel
    free = 1 - functional.max_pool2d(share, 3, stride=1, padding=1)
    there = free * (matting.sampled(real[None], step) > 1 - 1e-4)
    behind = _filled(few, there)
    for _ in range(3):
        behind = matting.box(behind, max(1, reach // step // 2))
    return functional.interpolate(
        behind[None], scale_factor=float(step), mode="bilinear", align_corners=False
    )[0, :, :height, :width]


def _filled(image: Tensor, known: Tensor) -> Tensor:
    """Return (3, h, w) whose unknown pixels have the colours of the known ones around them.

    Pull-push (Gortler et al., The Lumigraph, SIGGRAPH 1996): what a picture lacks it takes from the
    same picture at half its size, which lacks less.
    """
    size = image.shape[-2:]
    sums = torch.cat([known * image, known])
    if max(size) == 1:
        return sums[:3] / sums[3:].clamp(min=1e-9)
    half = functional.avg_pool2d(sums[None], 2, ceil_mode=True)[0]
    coarse = _filled(half[:3] / half[3:].clamp(min=1e-9), (4 * half[3:]).clamp(max=1))
    larger = functional.interpolate(coarse[None], size, mode="bilinear", align_corners=False)[0]
    return known * image + (1 - known) * larger
