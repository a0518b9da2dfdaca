"""Matching of masks with keypoints, person by person.

How well a mask and a skeleton agree is the overlap of their boxes (intersection over union) times
the share of the keypoints that lie in the mask, each counted by its score. The boxes tell persons
apart who stand side by side, since within either network no two boxes overlap by more than half;
the share tells apart those who embrace, whose boxes nearly coincide.

Each mask goes with at most one skeleton, so that the sum of agreement is greatest. A pair is only
made where it agrees well, and where it is no toss-up: if undoing it would cost hardly anything,
because two persons could as well be joined crosswise, neither way is taken.
"""

from __future__ import annotations

import networkx as nx
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from alignimation_core import Detections, Mask
from alignimation_core.api import geometry

# Of the same person, half of whose keypoints are hidden behind another: about 0.5. Of two persons
# who embrace, one found by one network alone, the other by the other: below 0.3.
MIN_AGREEMENT = 0.35

MIN_LEAD = 0.1
"""What the best pairing must lose in agreement when one of its pairs is forbidden."""


def join(silhouettes: Detections, skeletons: Detections) -> Detections:
    """Return every person once, with the mask, its box, and the keypoints.

    Who was found by one network alone stays, as a selector that did not see this person would
    choose another: a mask without keypoints has keypoint scores of 0, keypoints without a mask
    have None for it. The score is the mean of both networks', 0 for the one without the person.
    """
    pairs = pair(agreement(silhouettes, skeletons))
    alone = [k for k in range(len(skeletons)) if k not in pairs.values()]
    of_mask = torch.tensor([*range(len(silhouettes)), *(-1 for _ in alone)], dtype=torch.int64)
    of_points = torch.tensor(
        [*(pairs.get(i, -1) for i in range(len(silhouettes))), *alone], dtype=torch.int64
    )
    scores = (_rows(silhouettes.scores, of_mask) + _rows(skeletons.scores, of_points)) / 2
    order = scores.argsort(descending=True, stable=True)
    of_mask, of_points = of_mask[order], of_points[order]

    points, point_scores = _keypoints(skeletons)
    masks = (*_masks(silhouettes), None)
    return Detections(
        boxes=torch.where(
            (of_mask >= 0)[:, None],
            _rows(silhouettes.boxes, of_mask),
            _rows(skeletons.boxes, of_points),
        ),
        scores=scores[order],
        keypoints=_rows(points, of_points),
        keypoint_scores=_rows(point_scores, of_points),
        keypoint_names=skeletons.keypoint_names,
        masks=tuple(masks[i] for i in of_mask.tolist()),
    )


def agreement(silhouettes: Detections, skeletons: Detections) -> Tensor:
    """Return how well each of M masks agrees with each of K skeletons, (M, K) in [0, 1]."""
    points, weights = _keypoints(skeletons)
    if not len(silhouettes) or not len(skeletons):
        return torch.zeros(len(silhouettes), len(skeletons))
    inside = torch.stack([_sampled(mask, points) for mask in _masks(silhouettes)])
    share = (inside * weights).sum(-1) / weights.sum(-1).clamp(min=1e-6)
    overlap: Tensor = box_iou(silhouettes.boxes, skeletons.boxes)
    return overlap * share


def pair(agreement: Tensor) -> dict[int, int]:
    """Return the skeleton of each mask that has one, from (M, K) agreements."""
    likely = [
        (i, k, float(agreement[i, k])) for i, k in (agreement >= MIN_AGREEMENT).nonzero().tolist()
    ]
    best, total = _matching(likely)
    return {
        i: k
        for i, k in best
        if total - _matching([edge for edge in likely if edge[:2] != (i, k)])[1] >= MIN_LEAD
    }


def _matching(edges: list[tuple[int, int, float]]) -> tuple[list[tuple[int, int]], float]:
    """Return the maximum weight matching, and its weight."""
    graph = nx.Graph()
    graph.add_weighted_edges_from((("mask", i), ("skeleton", k), w) for i, k, w in edges)
    matched = nx.max_weight_matching(graph)
    pairs = sorted((mask[1], skeleton[1]) for mask, skeleton in map(sorted, matched))
    weights = {(i, k): weight for i, k, weight in edges}
    return pairs, sum(weights[found] for found in pairs)


def _sampled(mask: Mask, points: Tensor) -> Tensor:
    """Return the mask at (K, P, 2) points of the image, (K, P) in [0, 1]."""
    grid = mask.tensor()
    mask_from_image = geometry.inverse(geometry.as_tensor(mask.image_from_mask))
    to_sample = geometry.normalised_from_pixels((mask.height, mask.width)) @ mask_from_image
    places = geometry.apply(to_sample.float(), points)
    return functional.grid_sample(grid[None, None], places[None], align_corners=False)[0, 0]


def _rows(values: Tensor, indices: Tensor) -> Tensor:
    """Gather rows; zeros for an index of -1."""
    return torch.cat([values, values.new_zeros(1, *values.shape[1:])])[indices]


def _keypoints(skeletons: Detections) -> tuple[Tensor, Tensor]:
    assert skeletons.keypoints is not None
    assert skeletons.keypoint_scores is not None
    return skeletons.keypoints, skeletons.keypoint_scores


def _masks(silhouettes: Detections) -> tuple[Mask, ...]:
    return tuple(mask for mask in silhouettes.masks or () if mask is not None)
