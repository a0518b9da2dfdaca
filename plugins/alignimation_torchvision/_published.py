"""Weights and labels that torchvision publishes, for a listing without torch and torchvision.

A test holds it equal to torchvision's own enums.
"""

from __future__ import annotations

from alignimation_core.api.weights import Weights

_LICENCE = (
    "published with torchvision (BSD-3-Clause); trained on COCO, whose photos have terms of their "
    "own; see https://github.com/pytorch/vision#pre-trained-model-license"
)
_FOLDER = "https://download.pytorch.org/models/"

MASK_RCNN = {
    "v1": Weights(
        filename="maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        url=f"{_FOLDER}maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        sha256="bf2d0c1efbc936eeee2bc95a48e80ebc86b891f61b0106485937fc29f9315fc0",
        size=178_090_079,
        licence=_LICENCE,
    ),
    "v2": Weights(
        filename="maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        url=f"{_FOLDER}maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        sha256="73cbd0190fcbe3ba339921fbce2c3a0b6bb9126c9a133c85e43a2a8e060a109e",
        size=185_828_065,
        licence=_LICENCE,
    ),
}
"""Weights of Mask R-CNN by version."""

KEYPOINT_RCNN = Weights(
    filename="keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
    url=f"{_FOLDER}keypointrcnn_resnet50_fpn_coco-fc266e95.pth",
    sha256="fc266e953d2b302cdcbb9ae66f71f6b0d4649928bf02dc573961e361e4918926",
    size=237_034_793,
    licence=_LICENCE,
)

_NO_CATEGORY = ("__background__", "N/A")
_OUTPUTS = (
    "__background__, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, "
    "traffic light, fire hydrant, N/A, stop sign, parking meter, bench, bird, cat, dog, horse, "
    "sheep, cow, elephant, bear, zebra, giraffe, N/A, backpack, umbrella, N/A, N/A, handbag, "
    "tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, "
    "skateboard, surfboard, tennis racket, bottle, N/A, wine glass, cup, fork, knife, spoon, "
    "bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, "
    "chair, couch, potted plant, bed, N/A, dining table, N/A, N/A, toilet, N/A, tv, laptop, "
    "mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, N/A, "
    "book, clock, vase, scissors, teddy bear, hair drier, toothbrush"
).split(", ")

LABELS = {name: label for label, name in enumerate(_OUTPUTS) if name not in _NO_CATEGORY}
"""The network's label of each of COCO's 80 categories."""
