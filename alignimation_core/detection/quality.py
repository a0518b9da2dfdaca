"""How sharp, bright and rich in contrast each detection is in its photo."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from alignimation_core.api.data import Photo

SIDE = 96  # pixels to which the longer side of a detection is reduced
BLUR = 9  # pixels of the box filter that it is compared with
FLAT = 1e-4  # mean difference between neighbours, below which there is none but of rounding
LUMA = 0.299, 0.587, 0.114


def measure(image: Tensor, photo: Photo, boxes: Tensor) -> Tensor:
    """Measure what is inside each box.

    Sharpness is 1 minus the blur of Crété et al. (The blur effect, SPIE 6492, 2007): the share of
    the differences between neighbouring pixels that a box filter takes away. 0 is wholly blurred.

    Args:
        image: (3, h, w) uint8 RGB, the photo at any size.
        photo: the photo.
        boxes: (N, 4) in the full-size photo's continuous pixels.

    Returns:
        (N, 3) float32 in [0, 1]: sharpness, mean brightness, standard deviation of the brightness;
        NaN where a box holds too few pixels of the image.
    """
    height, width = image.shape[-2:]
    scale = boxes.new_tensor([width / photo.width, height / photo.height] * 2)
    rows = []
    for x0, y0, x1, y1 in (boxes * scale).tolist():
        left, top = max(0, round(x0)), max(0, round(y0))
        right, bottom = min(width, round(x1)), min(height, round(y1))
        if right <= left or bottom <= top:
            rows.append([torch.nan] * 3)
            continue
        crop = image[:, top:bottom, left:right].float()
        grey = (crop * crop.new_tensor(LUMA)[:, None, None]).sum(0) / 255
        shrink = SIDE / max(grey.shape)
        if shrink < 1:
            size = [max(1, round(side * shrink)) for side in grey.shape]
            grey = interpolate(grey[None, None], size, mode="bilinear", antialias=True)[0, 0]
        spread = float(grey.std(correction=0))
        rows.append([_sharpness(grey), float(grey.mean()), spread])
    return torch.tensor(rows).reshape(len(boxes), 3)


def _sharpness(grey: Tensor) -> float:
    """Return the sharpness of an (h, w) picture along the axis along which it is blurred more."""
    if min(grey.shape) <= BLUR:
        return torch.nan
    sharpest = []
    for picture in (grey, grey.T):
        half = BLUR // 2
        flat = avg_pool2d(picture[None], (BLUR, 1), 1, (half, 0), count_include_pad=False)[0]
        before, after = picture.diff(dim=0).abs(), flat.diff(dim=0).abs()
        total = float(before.sum())
        is_flat = total < FLAT * before.numel()
        gone = float((before - after).clamp(min=0).sum())
        sharpest.append(0.0 if is_flat else gone / total)
    return min(sharpest)
