"""How sharp, bright and rich in contrast each detection is in its photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from alignimation_core.api.data import LUMA, Observation, Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.stages import AnnotationDetector, Detector
from alignimation_core.execution.executor import Executor
from alignimation_core.photos import decoder
from alignimation_core.store.store import Known

BATCH = 8  # photos that are measured together
SIDE = 96  # pixels to which the longer side of a detection is reduced
BLUR = 9  # pixels of the box filter that it is compared with
FLAT = 1e-4  # mean difference between neighbours, below which there is none but of rounding


class Measuring:
    """Decode photos, and measure what was found in them; None of a photo that cannot be read."""

    def __init__(self, side: int | None) -> None:
        self._side = side

    def __call__(self, queries: list[tuple[Photo, Tensor]]) -> list[Tensor | None]:
        """Measure boxes in full-size pixels, photo by photo."""
        return [self._measured(photo, boxes) for photo, boxes in queries]

    def _measured(self, photo: Photo, boxes: Tensor) -> Tensor | None:
        try:
            return measure(decoder.load(photo, self._side), photo, boxes)
        except PhotoError:
            return None


def complete(
    observations: Sequence[Observation],
    detector: Detector,
    executor: Executor,
    keep: Callable[[Mapping[str, Known]], None],
    step: Callable[[], None],
) -> list[Observation]:
    """Measure the photos that were not: the annotated ones, and those whose measures were lost.

    ``keep`` is called with what is measured now, by the content of photos, batch by batch;
    ``step`` after each photo.
    """
    missing = unmeasured(observations)
    completed = list(observations)
    starts = range(0, len(missing), BATCH)
    batches = [missing[start : start + BATCH] for start in starts]
    queries = (
        [(observations[place].photo, observations[place].detections.boxes) for place in batch]
        for batch in batches
    )
    measuring = Measuring(detector.input_side())
    for batch, results in zip(batches, executor.map(measuring, queries), strict=True):
        fresh: dict[str, Known] = {}
        for place, measures in zip(batch, results, strict=True):
            if isinstance(measures, Tensor):
                seen = completed[place] = replace(observations[place], measures=measures)
                fresh[seen.photo.content] = Known(seen.detections, measures=measures)
            step()
        if not isinstance(detector, AnnotationDetector):
            keep(fresh)
    return completed


def unmeasured(observations: Sequence[Observation]) -> list[int]:
    """Return the places of the photos whose detections were not measured."""
    return [place for place, each in enumerate(observations) if each.measures is None]


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
