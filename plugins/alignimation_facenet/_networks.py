"""P-, R- and O-Net with the weights of facenet-pytorch's wheel, computed several times faster.

They are so small that on a CPU the layout decides: with the channels of a pixel side by side
torch's pooling takes a tenth of the time, and its convolutions half. The first dense layer is a
convolution as large as what it looks at, since oneDNN adds up in one order whatever the number of
threads, which a BLAS does not do for sums of that length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_BATCH = 16
"""Images at once: what a network makes of so many stays in the cache of a core."""


class Answers(NamedTuple):
    """What a network says of N images, or in P-Net's case of each of their windows.

    ``odds`` is (N, ...), the logarithm of how much likelier a face is than none; ``shifts`` is
    (N, 4, ...), to add to the sides of the window, as fractions of it; ``points``, which O-Net
    alone gives, is (N, 10): five x, then five y, as fractions of the window.
    """

    odds: Tensor
    shifts: Tensor
    points: Tensor


@dataclass
class _Layer:
    """A convolution or a dense layer, and what follows it."""

    weight: Tensor
    bias: Tensor
    slopes: Tensor | None = None
    pool: tuple[int, int] | None = None

    def __call__(self, maps: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            return functional.linear(maps.flatten(1), self.weight, self.bias)
        maps = functional.conv2d(maps, self.weight, self.bias)
        if self.slopes is not None:
            maps = functional.prelu(maps, self.slopes)
        if self.pool is not None:
            maps = functional.max_pool2d(maps, *self.pool, ceil_mode=True)
        return maps


class Network:
    """One of the three networks; it does not change once it is made.

    Args:
        module: facenet-pytorch's, of which the layers are taken in their order.
        device: where to compute.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        self._device = device
        self._layers: list[_Layer] = []
        heads = []
        for name, part in module.named_children():
            match part:
                case nn.Conv2d() | nn.Linear() if "_" in name:
                    heads.append(part)
                case nn.Conv2d() | nn.Linear():
                    self._append([part])
                case nn.PReLU():
                    self._layers[-1].slopes = part.weight.detach().to(device)
                case nn.MaxPool2d():
                    self._layers[-1].pool = (
                        cast("int", part.kernel_size),
                        cast("int", part.stride),
                    )
        self._append(heads)

    def _append(self, parts: list[nn.Conv2d | nn.Linear]) -> None:
        """Append one layer that gives what all the parts give."""
        channels = len(self._layers[-1].bias) if self._layers else 3
        weight = torch.cat([_reshaped(part.weight.detach(), channels) for part in parts])
        if weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        bias = torch.cat([part.bias.detach() for part in parts if part.bias is not None])
        self._layers.append(_Layer(weight.to(self._device), bias.to(self._device)))

    def __call__(self, images: Tensor) -> Answers:
        """Look at images.

        Args:
            images: (N, 3, h, w) float32 in [0, 255]. R-Net wants 24 x 24, O-Net 48 x 48; P-Net
                takes any from 12 x 12 on, and answers for windows of 12 x 12 two pixels apart.
        """
        answers = torch.cat([self._seen(some) for some in torch.split(images, _BATCH)])
        return Answers(answers[:, 1] - answers[:, 0], answers[:, 2:6], answers[:, 6:])

    def _seen(self, images: Tensor) -> Tensor:
        maps = (images.contiguous(memory_format=torch.channels_last) - 127.5) / 128
        # Of a single crop torch would let a BLAS compute the convolutions.
        alone = len(images) == 1 and self._layers[-1].weight.ndim == 2
        maps = maps.repeat(2, 1, 1, 1) if alone else maps
        for layer in self._layers:
            maps = layer(maps)
        return maps[:1] if alone else maps


def _reshaped(weight: Tensor, channels: int) -> Tensor:
    """Return the first dense layer's weight as a convolution's, any other as it is."""
    if weight.ndim == 4 or weight.shape[1] == channels:
        return weight
    # It takes a map column by column, and the channels of a pixel side by side.
    side = math.isqrt(weight.shape[1] // channels)
    return weight.reshape(-1, side, side, channels).permute(0, 3, 2, 1)
