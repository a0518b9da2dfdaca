"""Mask targets: resampling and softening of the subject's mask."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alignimation_core import Subject
from alignimation_targets._gaussians import profile


def draw_mask(subject: Subject, size: tuple[int, int]) -> Tensor:
    """Draw the subject's mask, (height, width) float32 in [0, 1]."""
    if subject.mask is None:
        raise ValueError("the detector found no mask for this subject")
    return subject.mask.on(size)


def soften(mask: Tensor, width: float) -> Tensor:
    """Blur a (h, w) mask by a Gaussian of standard deviation ``width`` pixels; 0 lies around it."""
    if width <= 0:
        return mask
    height, across = mask.shape
    return _blur(height, width) @ mask @ _blur(across, width)


def _blur(count: int, width: float) -> Tensor:
    """Return the (count, count) matrix that blurs a row; at these sizes faster than convolving."""
    reach = profile(torch.arange(-math.ceil(6 * width), math.ceil(6 * width) + 1.0), width)
    at = torch.arange(count)
    return profile(at - at[:, None], width) / reach.sum()
