"""Pixel targets: colour, luminance or gradient magnitude."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api.data import LUMA


def appearance(image: Tensor, channels: Literal["colour", "grey", "gradient"]) -> Tensor:
    """Return the channels of a (3, h, w) image in [0, 1]: (3, h, w) or (1, h, w) in [0, 1]."""
    if channels == "colour":
        return image
    grey = (image * image.new_tensor(LUMA)[:, None, None]).sum(0, keepdim=True)
    return grey if channels == "grey" else _edges(grey)


def _edges(grey: Tensor) -> Tensor:
    """Return the gradient magnitude, relative to the picture's own: its root mean square is 1/2.

    Smoothed central differences (Sobel). Their length, unlike their direction, turns with the
    picture; dividing by the picture's own takes gain and offset of the light out of it.
    """
    smooth, slope = grey.new_tensor([1.0, 2.0, 1.0]) / 4, grey.new_tensor([-1.0, 0.0, 1.0]) / 2
    across = smooth[:, None] * slope
    kernels = torch.stack([across, across.T])[:, None]
    padded = functional.pad(grey[None], (1, 1, 1, 1), mode="replicate")
    length = functional.conv2d(padded, kernels)[0].square().sum(0, keepdim=True)
    typical = length.mean()
    return (length / (length + typical).clamp(min=1e-12)).sqrt()
