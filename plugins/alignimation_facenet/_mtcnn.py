"""The cascade of facenet-pytorch, and its last network asked again for exact points.

The points of the cascade carry an error that changes from photo to photo: it rounds every crop to
whole pixels and cuts crops at the border of the image, but reckons with the box as it was. On
portraits moved and resized by known amounts that is 0.8 pixels downwards and 0.2 to the right
whatever the scale, a scatter of the eyes by 1.5 to 3 % of their distance, and half that distance
where the border cuts the face. Crops at exact places have no such shift (below 0.15 pixels on
average). Once they stand upright, are sized by the points of a first look, and are averaged over
small shifts and the mirror image, the scatter is 0.3 to 0.4 %, and the error under 9 %
at the border unless it runs right beside an eye.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import geometry

_INPUT = 48
"""Side of the last network's input."""

_OVERSAMPLED = 2 * _INPUT
"""Pixels across a crop before its last halving, which keeps it free of aliasing."""

_PATCH = 112
"""Pixels across the part of the photo that holds all crops of one look, at the same scale."""

_ONCE = ((1.0, 0.0, 0.0),)
_FIVE_TIMES = (
    (1.0, 0.0, 0.0),
    (0.92, 0.0, 0.0),
    (1.08, 0.0, 0.0),
    (1.0, 0.04, 0.04),
    (1.0, -0.04, -0.04),
)
"""Crops to average over: size and shift, as multiples of the square looked at."""

_SQUARE = 2.4
"""Side of the square of the second look: this many eye distances, or eye-to-mouth distances."""

# The networks answer from the image's left to its right; names go by the subject's own left.
_SUBJECTS_LEFT_FIRST = [1, 0, 2, 4, 3]


class Cascade:
    """MTCNN's three networks with the weights of facenet-pytorch's wheel.

    Args:
        min_face: longer side of the smallest box given, in pixels of the reduced image.
        score_threshold: of the last network, in [0, 1).
        device: where to compute; Apple's MPS lacks operators that the cascade needs and has
            crashed on it, so that the CPU takes its place.
    """

    def __init__(self, min_face: int, score_threshold: float, device: torch.device) -> None:
        from facenet_pytorch import MTCNN

        self.min_face = min_face
        self.device = torch.device("cpu") if device.type == "mps" else device
        self.networks: Any = MTCNN(
            min_face_size=min_face,
            thresholds=[0.6, 0.7, score_threshold],
            select_largest=False,
            device=self.device,
        ).eval()

    @torch.no_grad()
    def detect(self, image: Tensor, max_side: int) -> tuple[Tensor, Tensor, Tensor] | None:
        """Find faces.

        Args:
            image: (3, h, w) uint8 RGB.
            max_side: longer side to which a larger image is reduced first, pixels.

        Returns:
            (N, 4) boxes, (N,) scores and (N, 5, 2) points, left eye first, best face first, float32
            in the image's continuous pixels; None where there is no face.
        """
        height, width = image.shape[-2:]
        scale = min(1.0, max_side / max(height, width))
        small = (round(height * scale), round(width * scale))
        # The cascade raises where the image is no larger than the smallest face.
        if min(small) <= self.min_face:
            return None
        reduced = image
        if scale < 1:
            reduced = functional.interpolate(image[None], small, mode="bilinear", antialias=True)[0]
        boxes, scores, points = self.networks.detect(reduced.permute(1, 2, 0), landmarks=True)
        if boxes is None:
            return None
        # The cascade also finds faces of half the size that it was told to begin with.
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
        boxes, scores, points = (
            torch.from_numpy(part[sides >= self.min_face].astype("float32"))
            for part in (boxes, scores, points)
        )
        if not len(boxes):
            return None
        back = torch.tensor([width / small[1], height / small[0]])
        corners = boxes.reshape(-1, 2, 2) * back
        rough = points[:, _SUBJECTS_LEFT_FIRST] * back
        exact = [self._points(image, *face) for face in zip(corners, rough, strict=True)]
        return corners.flatten(1), scores, torch.stack(exact)

    def _points(self, image: Tensor, corners: Tensor, rough: Tensor) -> Tensor:
        """Return (5, 2) exact points of the face in a box of (2, 2) corners."""
        side = float((corners[1] - corners[0]).max())
        first = self._look(image, corners.mean(0), side, rough, _ONCE)
        eyes, mouth = first[:2].mean(0), first[3:].mean(0)
        reach = max(float((first[0] - first[1]).norm()), float((eyes - mouth).norm()), side / 8)
        return self._look(image, (eyes + mouth) / 2, _SQUARE * reach, first, _FIVE_TIMES).float()

    def _look(
        self,
        image: Tensor,
        centre: Tensor,
        side: float,
        points: Tensor,
        crops: tuple[tuple[float, float, float], ...],
    ) -> Tensor:
        """Return (5, 2) points seen in a square that is turned as the eyes of `points`."""
        left_eye, right_eye = points[:2]
        across, down = (left_eye - right_eye).tolist()
        cx, cy = centre.tolist()
        patch_from_image = (
            geometry.translation(_PATCH / 2, _PATCH / 2)
            @ geometry.scaling(_OVERSAMPLED / side, _OVERSAMPLED / side)
            @ geometry.rotation(-math.atan2(down, across))
            @ geometry.translation(-cx, -cy)
        )
        patch = geometry.warp_photo(image, patch_from_image, (_PATCH, _PATCH))[:3]
        crops_from_patch = torch.stack(
            [
                geometry.translation(_INPUT, _INPUT)
                @ geometry.scaling(1 / size, 1 / size)
                @ geometry.translation(
                    -_PATCH / 2 - x * _OVERSAMPLED, -_PATCH / 2 - y * _OVERSAMPLED
                )
                for size, x, y in crops
            ]
        )
        ample = geometry.warp(patch, crops_from_patch, (_OVERSAMPLED, _OVERSAMPLED))
        seen = functional.avg_pool2d(ample, 2) * 255
        inputs = torch.cat([seen, seen.flip(-1)])
        _, answers, _ = self.networks.onet(((inputs - 127.5) / 128).to(self.device))
        plain, flipped = (answers.cpu().double().unflatten(1, (2, 5)).mT * _OVERSAMPLED).chunk(2)
        mirrored = torch.stack([_OVERSAMPLED - flipped[..., 0], flipped[..., 1]], dim=-1)
        # What the network calls left in the mirror is the subject's left.
        both = (plain[:, _SUBJECTS_LEFT_FIRST] + mirrored) / 2
        image_from_crops = torch.linalg.inv(crops_from_patch @ patch_from_image)
        return geometry.apply(image_from_crops, both).mean(0)
