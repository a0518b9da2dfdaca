"""Looks at finished frames: where a judge sees the subject's keypoints, twice on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.errors import AlignimationError, PhotoError
from alignimation_core.detection.inference import StageLock
from alignimation_core.plugin import contract
from alignimation_core.scoring.judges import Judge

SEARCHED = (400, 800)
"""Longest sides at which a frame is searched for the subject until it is found, pixels."""
CLOSER = 1.1
"""How much larger the subject is shown at the second look."""
AROUND = 0.5
"""What is shown around the subject's box then, as a share of its longer side."""
WHITE = 255
"""What shows through where a frame is transparent, as where frames are read from files."""

OTHER_SIDE = {"left": "right", "right": "left"}

Pixels = npt.NDArray[np.uint8]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What a judge saw on one frame.

    Attributes:
        places: (2, K, 2) float64 continuous pixels of the frame, of each look at each keypoint; NaN
            where it was not found.
        size: (height, width) of the frame.
        fault: why the judge failed; None where it did not.
    """

    places: npt.NDArray[np.float64]
    size: tuple[int, int]
    fault: str | None = None


class Looking(Generic[Item]):
    """Makes frames, and looks at them.

    Args:
        make: makes (h, w, 3 or 4) uint8 frames of items, or says why one cannot be made.
        judge: who looks at them.
        seed: of what the judge draws at random.
        cores: that the judge may use while the other workers wait for it.
    """

    def __init__(
        self,
        make: Callable[[list[Item]], Sequence[Pixels | PhotoError]],
        judge: Judge,
        seed: int,
        cores: int,
    ) -> None:
        self._given = make, judge, seed, cores
        self._make, self._judge = make, judge
        self._lock = StageLock(judge.detector, seed, cores, threading.Lock())

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling."""
        return Looking, self._given

    def __call__(self, items: list[Item]) -> list[Look | PhotoError]:
        """Return what is seen on the frame of each item, or why there is none."""
        frames = self._make(items)
        return [self._look(each) if isinstance(each, np.ndarray) else each for each in frames]

    def _look(self, frame: Pixels) -> Look:
        places = np.full((2, len(self._judge.keypoints), 2), np.nan)
        height, width = frame.shape[:2]
        try:
            image = _opaque(torch.from_numpy(frame).permute(2, 0, 1))
            found = self._search(image)
            if found is not None:
                scale, (box, places[0]) = found
                around = AROUND * max(box[2] - box[0], box[3] - box[1])
                x0, y0 = (max(side - around, 0.0) for side in box[:2])
                x1, y1 = min(box[2] + around, width), min(box[3] + around, height)
                again = self._view(image, (x0, y0, x1, y1), CLOSER * scale, mirrored=True)
                if again is not None:
                    places[1] = again[1]
        except AlignimationError as error:
            return Look(places * np.nan, (height, width), str(error))
        return Look(places, (height, width))

    def _search(
        self, image: Tensor
    ) -> tuple[float, tuple[list[float], npt.NDArray[np.float64]]] | None:
        """Return the scale at which the subject is found in a frame, and what ``_view`` does."""
        height, width = image.shape[-2:]
        for scale in sorted({min(1.0, side / max(height, width)) for side in SEARCHED}):
            found = self._view(image, (0.0, 0.0, float(width), float(height)), scale)
            if found is not None:
                return scale, found
        return None

    def _view(
        self,
        image: Tensor,
        shown: tuple[float, float, float, float],
        scale: float,
        *,
        mirrored: bool = False,
    ) -> tuple[list[float], npt.NDArray[np.float64]] | None:
        """Return the largest subject's box and its (K, 2) keypoints, in pixels of the frame.

        Of the frame, the box ``shown`` is looked at, in its mirror image if asked for.
        """
        x0, y0, x1, y1 = shown
        size = max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale))
        view_from_frame = geometry.scaling(scale, scale) @ geometry.translation(-x0, -y0)
        view = image
        if size != tuple(image.shape[-2:]) or scale != 1:
            view = (geometry.warp_photo(image, view_from_frame, size) * 255).round().byte()
        if mirrored:
            view = view.flip(-1)
            mirror = geometry.translation(size[1], 0) @ geometry.scaling(-1, 1)
            view_from_frame = mirror @ view_from_frame
        with self._lock.held():
            (found,) = contract.detect(self._judge.detector, [view])
        if not len(found):
            return None
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        subject = found.subject(int(sides.prod(1).argmax()))
        seen = subject.transformed(geometry.as_rows(geometry.inverse(view_from_frame)))
        names = (_mirrored(name) if mirrored else name for name in self._judge.keypoints)
        nowhere = (np.nan, np.nan)
        return [*seen.box], np.array([seen.keypoints.get(name, nowhere) for name in names])


def _mirrored(name: str) -> str:
    """Return what a keypoint is called in a mirror."""
    return "_".join(OTHER_SIDE.get(word, word) for word in name.split("_"))


def _opaque(frame: Tensor) -> Tensor:
    """Return (3, h, w) uint8 of a frame that may be transparent."""
    if frame.shape[0] == 3:
        return frame
    alpha = frame[3:].float() / 255
    return (frame[:3] * alpha + WHITE * (1 - alpha)).round().byte()
