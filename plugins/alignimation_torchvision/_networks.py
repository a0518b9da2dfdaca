"""torchvision's networks: built for their weights, optimised for inference, run in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval
from torchvision.models.detection import KeypointRCNN, MaskRCNN, maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.ops import FrozenBatchNorm2d

from alignimation_core.api.errors import WeightsError
from alignimation_core.api.precision import exact, mixed

# Images a pass. On the CPU one: half the memory, and bit for bit the same in any company.
_ON_CPU, _ON_ACCELERATOR = 1, 4

Size = tuple[int, int]
"""Pixels of the short side to which images are brought, and the most that the long one may have."""


def mask_rcnn(version: str, size: Size, score_threshold: float) -> GeneralizedRCNN:
    """Return Mask R-CNN with COCO's 91 labels and random weights."""
    if version == "v2":
        return maskrcnn_resnet50_fpn_v2(
            weights=None,
            weights_backbone=None,
            min_size=size[0],
            max_size=size[1],
            box_score_thresh=score_threshold,
        )
    return _as_published(MaskRCNN, size, score_threshold, num_classes=91)


def keypoint_rcnn(size: Size, score_threshold: float) -> GeneralizedRCNN:
    """Return Keypoint R-CNN for persons and COCO's 17 keypoints, with random weights."""
    return _as_published(KeypointRCNN, size, score_threshold, num_classes=2, num_keypoints=17)


def _as_published(
    kind: type[GeneralizedRCNN], size: Size, score_threshold: float, **outputs: int
) -> GeneralizedRCNN:
    """Build for published weights as torchvision does: frozen normalisation whose epsilon is 0."""
    network = kind(
        resnet_fpn_backbone(backbone_name="resnet50", weights=None),
        min_size=size[0],
        max_size=size[1],
        box_score_thresh=score_threshold,
        **outputs,
    )
    for module in network.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0
    return network


def load_state(
    network: GeneralizedRCNN, state: dict[str, Tensor], origin: Path | str, needed: str
) -> None:
    """Load a state dict; ``needed``, for the message, is torchvision's constructor that it fits."""
    expected = network.state_dict()
    # Frozen batch normalisation has no count of batches; files trained without freezing do.
    given = {name for name in state if name in expected or not name.endswith("num_batches_tracked")}
    faults = [f"lacks {name}" for name in expected if name not in given]
    faults += [f"has {name}" for name in sorted(given - expected.keys())]
    faults += [
        f"{name} is {tuple(state[name].shape)}, needed {tuple(value.shape)}"
        for name, value in expected.items()
        if name in given and state[name].shape != value.shape
    ]
    if faults:
        more = f" and {len(faults) - 1} more differences" if len(faults) > 1 else ""
        raise WeightsError(
            f"{origin}: these are weights of another network ({faults[0]}{more}); name the state "
            f"dict of torchvision's {needed}"
        )
    network.load_state_dict({name: state[name] for name in given})


def optimised(network: GeneralizedRCNN, device: torch.device) -> GeneralizedRCNN:
    """Optimise a network with its weights for inference on a device, by nothing but ``predict``.

    Each batch normalisation becomes part of the convolution before it, which changes what is found
    by rounding alone; on a CPU, the channels of a pixel lie side by side. Together these take a
    quarter off the time of the backbone on one core.
    """
    network.eval()
    for module in network.modules():
        for (before, conv), (after, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
                setattr(module, before, fuse_conv_bn_eval(conv, norm))
                setattr(module, after, nn.Identity())
    network.to(device)
    return network.to(memory_format=torch.channels_last) if device.type == "cpu" else network


@dataclass(frozen=True, slots=True)
class Prediction:
    """The prediction of a network for one image, best first, on the CPU.

    ``boxes`` (N, 4) and ``keypoints`` (N, 17, 2) are in the image's continuous pixels; ``labels``
    and ``scores`` are (N,); ``masks`` (N, 28, 28) in [0, 1] fill their boxes; ``keypoint_logits``
    (N, 17) are the heat maps' heights. All are float32 but the labels, int64.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None
    keypoints: Tensor | None = None
    keypoint_logits: Tensor | None = None


@torch.inference_mode()
def predict(network: GeneralizedRCNN, images: Sequence[Tensor], size: Size) -> list[Prediction]:
    """Run a network on images of any sizes.

    Images of one size go through together, those of different sizes do not: the padding that they
    would need changes what the network finds, and a photo must not depend on its neighbours.
    Images are (3, h, w) uint8, and ``size`` is what the network was built with.
    """
    device = next(network.parameters()).device
    inputs = [_reduced(image, size) for image in images]
    results: dict[int, Prediction] = {}
    for batch in _of_one_size(inputs, _ON_CPU if device.type == "cpu" else _ON_ACCELERATOR):
        outputs = _forward(network, [inputs[i].to(device).float() / 255 for i in batch])
        for i, (output, (height, width)) in zip(batch, outputs, strict=True):
            there_h, there_w = images[i].shape[-2:]
            results[i] = _placed(output, there_w / width, there_h / height)
    return [results[i] for i in range(len(images))]


def _reduced(image: Tensor, size: Size) -> Tensor:
    """Low-pass and reduce an image that is larger than the network's input."""
    height, width = image.shape[-2:]
    scale = min(size[0] / min(height, width), size[1] / max(height, width))
    if scale >= 1:
        return image
    small = (max(1, round(height * scale)), max(1, round(width * scale)))
    return functional.interpolate(image[None], small, mode="bilinear", antialias=True)[0]


def _of_one_size(images: Sequence[Tensor], at_once: int) -> Iterator[list[int]]:
    by_size: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(i)
    for same in by_size.values():
        for start in range(0, len(same), at_once):
            yield same[start : start + at_once]


def _forward(
    network: GeneralizedRCNN, images: list[Tensor]
) -> list[tuple[dict[str, Tensor], tuple[int, int]]]:
    """Run ``GeneralizedRCNN.forward``, except for pasting masks into images.

    Features may come from float16; boxes, masks and heat maps are float32 throughout. An output is
    in the pixels of the network's own input, whose height and width come with it.
    """
    batch, _ = network.transform(images)
    tensors = batch.tensors
    if tensors.device.type == "cpu":
        tensors = tensors.contiguous(memory_format=torch.channels_last)
    features = mixed(network.backbone, tensors)
    with exact(tensors.device):
        proposals, _ = network.rpn(batch, features)
        outputs, _ = network.roi_heads(features, proposals, batch.image_sizes)
    return list(zip(outputs, batch.image_sizes, strict=True))


def _placed(output: dict[str, Tensor], x: float, y: float) -> Prediction:
    """Bring an output to the CPU and into the image's pixels, by what is between the two sizes."""
    here = {name: value.cpu() for name, value in output.items()}
    both = torch.tensor([x, y])
    return Prediction(
        boxes=here["boxes"] * both.repeat(2),
        labels=here["labels"],
        scores=here["scores"],
        masks=here["masks"][:, 0] if "masks" in here else None,
        keypoints=here["keypoints"][..., :2] * both if "keypoints" in here else None,
        keypoint_logits=here.get("keypoints_scores"),
    )
