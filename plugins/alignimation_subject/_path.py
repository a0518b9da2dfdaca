"""The best path through the detections of photos in order, by overlap and appearance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignimation_core import Observation

BACK = 5  # photos over which a path may skip
BREAK = -0.25  # worth of a link between two that do not overlap: less than that of a few skips
APPEARANCE = 2.0  # worth of embeddings that are the same: more than that of a full overlap
SKIP = -0.05  # worth of each photo that is skipped


def best_path(
    observations: Sequence[Observation], least: float
) -> tuple[list[int | None], list[float]]:
    """Return the detection of each photo that is on the path, and the best overlap of each photo.

    Boxes are compared as parts of their photos, by intersection over union, and embeddings, where
    there are any, by cosine similarity; the path is the one of the greatest sum.

    Args:
        observations: photos in order.
        least: overlap from which two are linked without a break.

    Returns:
        An index, or None for a photo that the path skips; and the greatest overlap of its
        detections with those on the path before and after, 0 without detections.
    """
    boxes = [_parts(each) for each in observations]
    vectors = [None if o.embeddings is None else o.embeddings.numpy() for o in observations]
    worth = [_own(each, part) for each, part in zip(observations, boxes, strict=True)]
    best = [each.copy() for each in worth]
    origin: list[list[tuple[int, int] | None]] = [[None] * len(part) for part in boxes]
    for place, part in enumerate(boxes):
        for back in range(1, min(BACK, place) + 1):
            before = place - back
            if not len(part) or not len(boxes[before]):
                continue
            link = _link(boxes[before], part, vectors[before], vectors[place], least)
            total = best[before][:, None] + link + SKIP * (back - 1)
            index = total.argmax(0)
            for i, j in enumerate(index.tolist()):
                if (value := worth[place][i] + total[j, i]) > best[place][i]:
                    best[place][i], origin[place][i] = value, (before, j)
    ends = [(float(values.max()), place) for place, values in enumerate(best) if len(values)]
    chosen: list[int | None] = [None] * len(observations)
    if ends:
        at: tuple[int, int] | None = (place := max(ends)[1], int(best[place].argmax()))
        while at is not None:
            chosen[at[0]] = at[1]
            at = origin[at[0]][at[1]]
    return chosen, _overlaps(boxes, chosen)


def _parts(observation: Observation) -> np.ndarray:
    """Return (N, 4) boxes as parts of the photo."""
    photo = observation.photo
    sides = np.array([photo.width, photo.height] * 2, dtype=np.float64)
    return np.asarray(observation.detections.boxes.numpy(), dtype=np.float64) / sides


def _own(observation: Observation, boxes: np.ndarray) -> np.ndarray:
    """Return what each detection is worth by itself, (N,): its score, and the side it covers."""
    sides = np.sqrt(np.prod((boxes[:, 2:] - boxes[:, :2]).clip(min=0), axis=1))
    scores = np.asarray(observation.detections.scores.numpy(), dtype=np.float64)
    worth: np.ndarray = 0.25 * sides.clip(max=1) + 0.1 * scores
    return worth


def _link(
    left: np.ndarray,
    right: np.ndarray,
    left_vectors: np.ndarray | None,
    right_vectors: np.ndarray | None,
    least: float,
) -> np.ndarray:
    overlap = iou(left, right)
    link: np.ndarray = np.where(overlap >= least, overlap, BREAK)
    if left_vectors is not None and right_vectors is not None:
        link = link + APPEARANCE * left_vectors @ right_vectors.T
    return link


def iou(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the intersection over union of (N, 4) with (M, 4) boxes, (N, M); 0 for empty ones."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    areas = [(each[:, 2:] - each[:, :2]).clip(min=0).prod(1) for each in (left, right)]
    union = areas[0][:, None] + areas[1] - shared
    ratio: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def _overlaps(boxes: Sequence[np.ndarray], chosen: Sequence[int | None]) -> list[float]:
    """Return the best overlap of each photo's detections with the path just before and after."""
    nearest: list[float] = [0.0] * len(boxes)
    for order in (range(len(boxes)), range(len(boxes) - 1, -1, -1)):
        last: np.ndarray | None = None
        for place in order:
            if last is not None and len(boxes[place]):
                index = chosen[place]
                here = boxes[place] if index is None else boxes[place][index : index + 1]
                nearest[place] = max(nearest[place], float(iou(here, last).max()))
            if (index := chosen[place]) is not None:
                last = boxes[place][index : index + 1]
    return nearest
