"""P-, R- and O-Net with the weights of facenet-pytorch's wheel, computed several times faster.

They are so small that on a CPU the layout decides: with the channels of a pixel side by side
torch's pooling takes a tenth of the time, and its convolutions half. The first dense layer is a
convolution as large as what it looks at, since oneDNN adds up in one order whatever the number of
threads, which a BLAS does not do for sums of that length.

The wheel's files are read without importing it: it would bring in torchvision, and that takes
longer to load than these networks take for twenty photos.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# Pixels at once on a CPU, where what a network makes of so many stays in the cache of a core: of
# crops, 64 of R-Net's or 16 of O-Net's; and of P-Net's windows, twice as many across and down.
_CROPS, _STRIP = 36864, 24576

_POOLS = {
    "pnet": ((2, 2),),
    "rnet": ((3, 2), (3, 2)),
    "onet": ((3, 2), (3, 2), (2, 2)),
}
"""Side and stride of the pooling after the first layers, which the wheel's files do not tell."""


class Outputs(NamedTuple):
    """The outputs of a network for N images, or in P-Net's case for each of their windows.

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
            # in one order: how a BLAS adds up depends on the number of threads, and of crops
            return (maps.flatten(1)[:, None] * self.weight).sum(2) + self.bias
        maps = functional.conv2d(maps, self.weight, self.bias)
        if self.slopes is not None:
            maps = functional.prelu(maps, self.slopes)
        if self.pool == (2, 2):
            return _halved(_halved(maps, 2), 3)
        if self.pool is not None:
            return functional.max_pool2d(maps, *self.pool, ceil_mode=True)
        return maps

    def pad(self, step: int = 8) -> None:
        """Add channels that are always 0, for torch, which takes eight at once or one by one."""
        more = -len(self.bias) % step
        self.weight = functional.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, more))
        self.weight = self.weight.contiguous(memory_format=torch.channels_last)
        self.bias = functional.pad(self.bias, (0, more))
        if self.slopes is not None:
            self.slopes = functional.pad(self.slopes, (0, more))


class Network:
    """One of the three networks, from a state dict in the order of the layers."""

    def __init__(
        self, state: Mapping[str, Tensor], pools: tuple[tuple[int, int], ...], device: torch.device
    ) -> None:
        self._layers: list[_Layer] = []
        # conv4_1 and conv4_2 are both heads of P-Net, and computed at once.
        for part, names in groupby(state, lambda name: name.split(".")[0].split("_")[0]):
            tensors = [state[name].to(device) for name in names]
            if part.startswith("prelu"):
                self._layers[-1].slopes = tensors[0]
                if self._layers[-1].weight.ndim == 4:
                    self._layers[-1].pad()
            else:
                channels = len(self._layers[-1].bias) if self._layers else 3
                weight = torch.cat([_reshaped(part, channels) for part in tensors[::2]])
                self._layers.append(_Layer(weight, torch.cat(tensors[1::2])))
        for layer, pool in zip(self._layers, pools, strict=False):
            layer.pool = pool
        if self._layers[-1].weight.ndim == 4:
            self._layers[-1].pad(16)  # of fewer, oneDNN's sums depend on the number of threads
        first = self._layers[0]  # which takes pixels as they are, and not from -1 to 1
        first.bias = first.bias - first.weight.sum((1, 2, 3)) * (127.5 / 128)
        first.weight = first.weight / 128

    def everywhere(self, image: Tensor) -> Outputs:
        """Run over (1, 3, h, w) in [0, 255] in windows of 12 x 12 at a stride of 2, for P-Net."""
        width, windows = image.shape[3], (image.shape[2] - 11) // 2 + 1
        rows = max(1, _STRIP // width) if image.device.type == "cpu" else windows
        strips = [
            self._forward(image[:, :, 2 * first : 2 * (first + rows) + 10])
            for first in range(0, windows, rows)
        ]
        return _outputs(torch.cat(strips, 2))

    def __call__(self, crops: Tensor) -> Outputs:
        """Run on (N, 3, side, side) crops in [0, 255]: 24 for R-Net, 48 for O-Net."""
        seen = []
        at_once = max(1, len(crops))
        if crops.device.type == "cpu":
            at_once = _CROPS // crops.shape[-1] ** 2
        for batch in torch.split(crops, at_once):
            # Of a single crop torch would let a BLAS compute the convolutions.
            several = batch.repeat(2, 1, 1, 1) if len(batch) == 1 else batch
            seen.append(self._forward(several)[: len(batch)])
        return _outputs(torch.cat(seen))

    def _forward(self, images: Tensor) -> Tensor:
        maps = images.contiguous(memory_format=torch.channels_last)
        for layer in self._layers:
            maps = layer(maps)
        return maps


def load(device: torch.device) -> tuple[Network, ...]:
    """Return P-, R- and O-Net."""
    found = importlib.util.find_spec("facenet_pytorch")
    if found is None or found.origin is None:
        raise ImportError(
            "mtcnn reads its weights from facenet-pytorch, which is not installed; run "
            "pip install facenet-pytorch",
            name="facenet_pytorch",
        )
    folder = Path(found.origin).with_name("data")
    return tuple(
        Network(torch.load(folder / f"{name}.pt", weights_only=True), pools, device)
        for name, pools in _POOLS.items()
    )


def _outputs(maps: Tensor) -> Outputs:
    return Outputs(maps[:, 1] - maps[:, 0], maps[:, 2:6], maps[:, 6:])


def _halved(maps: Tensor, side: int) -> Tensor:
    """Max pooling by two along one side; the last value stays if it is single."""
    along = maps.transpose(0, side)
    first, second = along[::2], along[1::2]
    halved = torch.empty_like(first)
    torch.maximum(first[: len(second)], second, out=halved[: len(second)])
    halved[len(second) :] = first[len(second) :]
    return halved.transpose(0, side)


def _reshaped(weight: Tensor, channels: int) -> Tensor:
    """Return the first dense layer's weight as a convolution's, any other as it is.

    Channels that were added to the layer before take none.
    """
    if weight.ndim == 4:
        return functional.pad(weight, (0, 0, 0, 0, 0, channels - weight.shape[1]))
    if weight.shape[1] == channels:
        return weight
    # It takes a map column by column, and the channels of a pixel side by side.
    side = math.isqrt(weight.shape[1] // channels)
    return weight.reshape(-1, side, side, channels).permute(0, 3, 2, 1)
