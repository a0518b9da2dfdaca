"""Facial landmarks: MTCNN's cascade, and its last network again for subpixel precision.

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

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.precision import exact
from alignimation_facenet._detection import find
from alignimation_facenet._networks import load

_INPUT = 48  # side of the last network's input
_OVERSAMPLED = 2 * _INPUT  # before the last halving of a crop, which keeps it free of aliasing
_PATCH = 112  # pixels across the part of the photo that holds all crops of one look


def _crop_from_patch(size: float, x: float, y: float) -> Tensor:
    """Return the (3, 3) matrix to a crop; size and shift are multiples of the square looked at."""
    return (
        geometry.translation(_INPUT, _INPUT)
        @ geometry.scaling(1 / size, 1 / size)
        @ geometry.translation(-_PATCH / 2 - x * _OVERSAMPLED, -_PATCH / 2 - y * _OVERSAMPLED)
    )


_ONCE = _crop_from_patch(1.0, 0.0, 0.0)[None]
_FIVE_TIMES = torch.stack(
    [
        _crop_from_patch(1.0, 0.0, 0.0),
        _crop_from_patch(0.92, 0.0, 0.0),
        _crop_from_patch(1.08, 0.0, 0.0),
        _crop_from_patch(1.0, 0.04, 0.04),
        _crop_from_patch(1.0, -0.04, -0.04),
    ]
)
"""Crops to average over."""

# Side of the square of the second look: this many eye distances, or eye-to-mouth distances.
_SQUARE = 2.4

# The networks list points from the image's left to its right; names go by the subject's own left.
_SUBJECTS_LEFT_FIRST = [1, 0, 2, 4, 3]

_NO_FACES = torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, 5, 2)


class Cascade:
    """MTCNN's three networks with the weights of facenet-pytorch's wheel.

    Nothing of it changes once it is made, so that threads may share it. What it finds in an image
    is the same to the bit whatever the number of threads.
    Boxes whose longer side is below ``min_face``, pixels of the reduced image, are left out.
    """

    def __init__(self, min_face: int, score_threshold: float, device: torch.device) -> None:
        self.min_face = min_face
        self.score_threshold = score_threshold
        # Apple's MPS lacks operators that the cascade needs, and has crashed on it.
        self.device = torch.device("cpu") if device.type == "mps" else device
        self.networks = load(self.device)

    @torch.no_grad()
    def detect(self, image: Tensor, max_side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, 4) boxes, (N,) scores and (N, 5, 2) points of faces.

        The (3, h, w) uint8 image is reduced to a longer side of ``max_side`` first. All are float32
        in its continuous pixels, the best face first, the subject's left eye first.
        """
        height, width = image.shape[-2:]
        scale = min(1.0, max_side / max(height, width))
        small = (round(height * scale), round(width * scale))
        if min(small) <= self.min_face:
            return _NO_FACES
        reduced = image
        if scale < 1:
            reduced = functional.interpolate(image[None], small, mode="bilinear", antialias=True)[0]
        with exact(self.device):
            found = find(
                reduced.to(self.device), self.networks, self.min_face, self.score_threshold
            )
        boxes, scores, points = (part.cpu() for part in found)
        # The cascade also finds faces of half the size that it was told to begin with.
        large = (boxes[:, 2:] - boxes[:, :2]).amax(1) >= self.min_face
        if not large.any():
            return _NO_FACES
        back = torch.tensor([width / small[1], height / small[0]])
        corners = boxes[large].reshape(-1, 2, 2) * back
        rough = points[large][:, _SUBJECTS_LEFT_FIRST] * back
        return corners.flatten(1), scores[large], self._points(image, corners, rough)

    def _points(self, image: Tensor, corners: Tensor, rough: Tensor) -> Tensor:
        """Return the (N, 5, 2) refined landmarks of faces in boxes of (N, 2, 2) corners."""
        sides = (corners[:, 1] - corners[:, 0]).amax(1)
        first = self._look(image, corners.mean(1), sides, rough, _ONCE)
        eyes, mouths = first[:, :2].mean(1), first[:, 3:].mean(1)
        eye_distances = (first[:, 0] - first[:, 1]).norm(dim=1)
        reach = torch.maximum(eye_distances, (eyes - mouths).norm(dim=1)).maximum(sides / 8)
        return self._look(image, (eyes + mouths) / 2, _SQUARE * reach, first, _FIVE_TIMES).float()

    def _look(
        self,
        image: Tensor,
        centres: Tensor,
        sides: Tensor,
        points: Tensor,
        crop_from_patch: Tensor,
    ) -> Tensor:
        """Return (N, 5, 2) landmarks from squares that are turned as the eyes of `points`."""
        squares = torch.cat([centres, sides[:, None], points[:, 0] - points[:, 1]], 1)
        patch_from_image = torch.stack(
            [
                _upright(x, y, side, math.atan2(down, across))
                for x, y, side, across, down in squares.tolist()
            ]
        )
        seen = torch.cat([_seen(image, matrix, crop_from_patch) for matrix in patch_from_image])
        with exact(self.device):
            answers = self.networks[2](torch.cat([seen, seen.flip(-1)]).to(self.device)).points
        plain, flipped = (answers.cpu().double().reshape(-1, 2, 5).mT * _OVERSAMPLED).chunk(2)
        mirrored = torch.stack([_OVERSAMPLED - flipped[..., 0], flipped[..., 1]], dim=-1)
        # What the network calls left in the mirror is the subject's left.
        both = (plain[:, _SUBJECTS_LEFT_FIRST] + mirrored) / 2
        image_from_crop = geometry.inverse(crop_from_patch @ patch_from_image[:, None])
        return geometry.apply(image_from_crop, both.reshape(-1, len(crop_from_patch), 5, 2)).mean(1)


def _upright(x: float, y: float, side: float, angle: float) -> Tensor:
    """Return ``patch_from_image`` of the square about (x, y) that is turned by an angle."""
    return (
        geometry.translation(_PATCH / 2, _PATCH / 2)
        @ geometry.scaling(_OVERSAMPLED / side, _OVERSAMPLED / side)
        @ geometry.rotation(-angle)
        @ geometry.translation(-x, -y)
    )


def _seen(image: Tensor, patch_from_image: Tensor, crop_from_patch: Tensor) -> Tensor:
    """Return the (C, 3, 48, 48) crops of a patch, in [0, 255]."""
    patch = geometry.warp_photo(image, patch_from_image, (_PATCH, _PATCH))
    ample = geometry.warp(patch, crop_from_patch, (_OVERSAMPLED, _OVERSAMPLED))
    return functional.avg_pool2d(ample, 2) * 255
