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

LABELS = {
    "person": 1,
    "bicycle": 2,
    "car": 3,
    "motorcycle": 4,
    "airplane": 5,
    "bus": 6,
    "train": 7,
    "truck": 8,
    "boat": 9,
    "traffic light": 10,
    "fire hydrant": 11,
    "stop sign": 13,
    "parking meter": 14,
    "bench": 15,
    "bird": 16,
    "cat": 17,
    "dog": 18,
    "horse": 19,
    "sheep": 20,
    "cow": 21,
    "elephant": 22,
    "bear": 23,
    "zebra": 24,
    "giraffe": 25,
    "backpack": 27,
    "umbrella": 28,
    "handbag": 31,
    "tie": 32,
    "suitcase": 33,
    "frisbee": 34,
    "skis": 35,
    "snowboard": 36,
    "sports ball": 37,
    "kite": 38,
    "baseball bat": 39,
    "baseball glove": 40,
    "skateboard": 41,
    "surfboard": 42,
    "tennis racket": 43,
    "bottle": 44,
    "wine glass": 46,
    "cup": 47,
    "fork": 48,
    "knife": 49,
    "spoon": 50,
    "bowl": 51,
    "banana": 52,
    "apple": 53,
    "sandwich": 54,
    "orange": 55,
    "broccoli": 56,
    "carrot": 57,
    "hot dog": 58,
    "pizza": 59,
    "donut": 60,
    "cake": 61,
    "chair": 62,
    "couch": 63,
    "potted plant": 64,
    "bed": 65,
    "dining table": 67,
    "toilet": 70,
    "tv": 72,
    "laptop": 73,
    "mouse": 74,
    "remote": 75,
    "keyboard": 76,
    "cell phone": 77,
    "microwave": 78,
    "oven": 79,
    "toaster": 80,
    "sink": 81,
    "refrigerator": 82,
    "book": 84,
    "clock": 85,
    "vase": 86,
    "scissors": 87,
    "teddy bear": 88,
    "hair drier": 89,
    "toothbrush": 90,
}
"""The network's label of each of COCO's 80 categories."""
