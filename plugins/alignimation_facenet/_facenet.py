"""InceptionResnetV1 with its weights, and the crops that it was trained on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import WeightsError
from alignimation_core.api import geometry
from alignimation_core.api.precision import mixed
from alignimation_core.api.weights import Weights, load

_INPUT = 160
_MARGIN = 14
"""Pixels of the input, in all, that the crop shows beyond the box.

The author of facenet-pytorch names it as the best for these weights (timesler/facenet-pytorch,
discussion 62). The box is brought to a square whatever its shape, as it was in training
(davidsandberg/facenet, ``align_dataset_mtcnn.py``).
"""

_BATCH = 32
_DIMENSIONS = 512


class Network:
    """The network on its device, with the user's ``local`` weights or the published ones."""

    def __init__(self, published: Weights, local: Path | None, device: torch.device) -> None:
        from facenet_pytorch import InceptionResnetV1

        state = load(published, local)
        network: Any = InceptionResnetV1()
        # The classifier of the training is in the file, and not in a network that embeds.
        kept = {name: value for name, value in state.items() if not name.startswith("logits.")}
        where = local or published.filename
        wanted = network.state_dict()
        if missing := [name for name in wanted if name not in kept]:
            raise _unfit(where, f"{len(missing)} tensors are missing, the first is {missing[0]}")
        if foreign := [name for name in kept if name not in wanted]:
            raise _unfit(where, f"{len(foreign)} tensors are foreign, the first is {foreign[0]}")
        for name, tensor in wanted.items():
            if kept[name].shape != tensor.shape:
                shapes = f"expected {tuple(tensor.shape)}, got {tuple(kept[name].shape)}"
                raise _unfit(where, f"{name}: {shapes}")
        network.load_state_dict(kept)
        self.device = device
        self.module = network.eval().to(device)

    @torch.no_grad()
    def embed(self, images: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Return (N, 512) float32 of unit length, on the CPU, of (N, 4) boxes of each image."""
        faces = (
            (image, box)
            for image, found in zip(images, boxes, strict=True)
            for box in found.tolist()
        )
        vectors = [torch.zeros(0, _DIMENSIONS)]
        while batch := [_crop(image, box) for image, box in itertools.islice(faces, _BATCH)]:
            # The network's own normalisation: 0 to 255 about 127.5, by 128.
            inputs = (torch.stack(batch) * 255 - 127.5) / 128
            output = mixed(lambda faces: {"": self.module(faces)}, inputs.to(self.device))
            vectors.append(functional.normalize(output[""].cpu()))
        counts = [len(found) for found in boxes]
        return list(torch.split_with_sizes(torch.cat(vectors), counts))


def _crop(image: Tensor, box: Sequence[float]) -> Tensor:
    """Return (3, 160, 160) float32 in [0, 1]: the box and its margin."""
    x0, y0, x1, y1 = box
    inner = _INPUT - _MARGIN
    crop_from_image = (
        geometry.translation(_MARGIN / 2, _MARGIN / 2)
        @ geometry.scaling(inner / (x1 - x0), inner / (y1 - y0))
        @ geometry.translation(-x0, -y0)
    )
    return geometry.warp_photo(image, crop_from_image, (_INPUT, _INPUT))


def _unfit(where: Path | str, reason: str) -> WeightsError:
    return WeightsError(
        f"{where}: no weights of InceptionResnetV1 ({reason}); name the state dict of "
        "facenet-pytorch's network as `weights:`, or leave `weights:` out"
    )
