"""Face detection by MTCNN: windows of all sizes, through a cascade of three networks.

Zhang et al., *Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks*,
IEEE Signal Processing Letters 2016. It gives what facenet-pytorch's ``detect_face`` gives (MIT
licence): the same windows, rounded in the same way, at the same thresholds. The mean colours that
the networks look at, in the levels of the pyramid and in the crops, are all read off one integral
image (Crow, *Summed-Area Tables for Texture Mapping*, SIGGRAPH 1984).
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from alignimation_facenet._networks import Network, Outputs

_WINDOW = 12  # side of the window that P-Net sees, pixels of a level of the pyramid
_STRIDE = 2  # pixels from one window of P-Net to the next
_FACTOR = 0.709  # size of a level of the pyramid relative to the one before it
_PROPOSED = math.log(0.6 / 0.4)  # least odds of P-Net: only what is above is made a score
_REFINED = 0.7  # least score of R-Net
_BLOCK = 256  # boxes compared with each other at once, which bounds the memory that it takes


def find(
    image: Tensor,
    networks: tuple[Network, ...],
    min_face: int,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (N, 4) boxes, (N,) scores and (N, 5, 2) points, the image's left eye first.

    The image is (3, h, w) uint8, both sides more than ``min_face``, that of the smallest windows.
    Pixels are rounded to whole ones on the way, so that they are exact to about one.
    """
    p_net, r_net, o_net = networks
    sums = _integral_image(image)
    boxes = _squares(_proposals(sums, p_net, min_face))

    boxes, scores, outputs = _passing(r_net, sums, boxes, 24, _REFINED)
    best = _nms(boxes, scores, 0.7)
    boxes = _squares(_shifted(boxes[best], outputs.shifts[best]))

    boxes, scores, outputs = _passing(o_net, sums, boxes, 48, score_threshold)
    sides = boxes[:, 2:] - boxes[:, :2] + 1
    points = outputs.points.reshape(-1, 2, 5).mT * sides[:, None] + boxes[:, None, :2] - 1
    boxes = _shifted(boxes, outputs.shifts)
    best = _nms(boxes, scores, 0.7, of_smaller=True)
    return boxes[best], scores[best], points[best]


def _integral_image(image: Tensor) -> Tensor:
    """Return the (h + 1, w + 1, 3) integral image, sums of pixels above and left of a corner."""
    _, height, width = image.shape
    exact = torch.int32 if height * width * 255 < 2**31 else torch.int64
    sums = image.new_empty(height + 1, width + 1, 3, dtype=exact)
    sums[0] = 0
    sums[:, 0] = 0
    for colour, table in zip(image, sums.unbind(-1), strict=True):
        table[1:, 1:] = colour.cumsum(-1, dtype=exact)
    if image.device.type != "cpu":  # where a row at a time is a thousand launches
        sums[1:, 1:] = sums[1:, 1:].cumsum(0, dtype=exact)
        return sums
    # Sums down columns by torch or numpy take several times as long, and so do torch's single rows.
    for above, row in pairwise(sums.numpy()):
        np.add(row, above, out=row)
    return sums


def _cells(starts: Tensor, lengths: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the (..., count) first and last edges of cells, which overlap to be whole pixels."""
    steps = torch.arange(count + 1, device=starts.device) * lengths[..., None]
    first, last = steps[..., :-1] // count, -(-steps[..., 1:] // count)
    return starts[..., None] + first, starts[..., None] + last


def _level(sums: Tensor, height: int, width: int) -> Tensor:
    """Return the (1, 3, height, width) image whose pixels are means over the image's."""
    zero = torch.zeros((), dtype=torch.int64, device=sums.device)
    top, bottom = _cells(zero, zero + sums.shape[0] - 1, height)
    left, right = _cells(zero, zero + sums.shape[1] - 1, width)
    rows = sums.index_select(0, bottom).sub_(sums.index_select(0, top))
    total = rows.index_select(1, right).sub_(rows.index_select(1, left)).flatten(1)
    # Whole rows of numbers of one kind go several times as fast as three colours after three.
    across = (right - left).float().repeat_interleave(3)
    means = total.float().div_(across).div_((bottom - top).float()[:, None])
    return means.reshape(1, height, width, 3).permute(0, 3, 1, 2)


def _crops(sums: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Return (N, 3, side, side) means over cells of (N, 4) boxes of whole pixels."""
    left, right = _cells(boxes[:, 0], boxes[:, 2] - boxes[:, 0], side)
    top, bottom = _cells(boxes[:, 1], boxes[:, 3] - boxes[:, 1], side)
    flat, across = sums.flatten(0, 1), sums.shape[1]

    def upto(y: Tensor, x: Tensor) -> Tensor:
        places = (y * across)[:, :, None] + x[:, None, :]
        return flat.index_select(0, places.flatten()).reshape(*places.shape, 3)

    total = upto(bottom, right) - upto(bottom, left) - upto(top, right) + upto(top, left)
    areas = (bottom - top)[:, :, None] * (right - left)[:, None, :]
    return (total / areas[..., None]).permute(0, 3, 1, 2)


def _proposals(sums: Tensor, p_net: Network, min_face: int) -> Tensor:
    """Return (N, 4) boxes that P-Net takes for faces in some level of the pyramid."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    scale = _WINDOW / min_face
    shortest = min(height, width) * scale
    found: list[Tensor] = []
    while shortest >= _WINDOW:
        outputs = p_net.everywhere(_level(sums, int(height * scale + 1), int(width * scale + 1)))
        passed = (outputs.odds[0] >= _PROPOSED).nonzero()
        rows, columns = passed.unbind(1)
        windows = passed.flip(1).float() * _STRIDE + 1
        corners = torch.cat([windows / scale, (windows + _WINDOW - 1) / scale], 1).floor()
        odds, shifts = outputs.odds[0, rows, columns], outputs.shifts[0, :, rows, columns].mT
        level = odds.new_full((len(odds), 1), len(found))
        found.append(torch.cat([corners, shifts, odds[:, None], level], 1))
        scale, shortest = scale * _FACTOR, shortest * _FACTOR
    proposed = torch.cat(found)
    scores = proposed[:, 8].sigmoid()
    # So far from each other, boxes of different levels do not overlap; they are whole numbers.
    aside = proposed[:, 9:] * (2 * max(height, width))
    best = _nms(proposed[:, :4] + aside, scores, 0.5)
    proposed = proposed[best][_nms(proposed[best, :4], scores[best], 0.7)]
    boxes, shifts = proposed[:, :4], proposed[:, 4:8]
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)


def _passing(
    network: Network, sums: Tensor, boxes: Tensor, side: int, threshold: float
) -> tuple[Tensor, Tensor, Outputs]:
    """Return the boxes that pass a network, with their scores and its outputs."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    # Where a box begins is counted from 1, as in the authors' MATLAB.
    x0, y0 = (boxes[:, :2].trunc().long().clamp(1) - 1).unbind(1)
    x1, y1 = boxes[:, 2:].trunc().long().unbind(1)
    whole = torch.stack([x0, y0, x1.clamp(max=width), y1.clamp(max=height)], 1)
    inside = (whole[:, 2:] > whole[:, :2]).all(1)
    outputs = network(_crops(sums, whole[inside], side))
    scores = outputs.odds.sigmoid()
    passed = scores > threshold
    return boxes[inside][passed], scores[passed], Outputs(*(part[passed] for part in outputs))


def _shifted(boxes: Tensor, shifts: Tensor) -> Tensor:
    return boxes + shifts * (boxes[:, 2:] - boxes[:, :2] + 1).repeat(1, 2)


def _squares(boxes: Tensor) -> Tensor:
    """Return the smallest squares about the boxes' middles that hold them."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.amax(1, keepdim=True)
    corners = boxes[:, :2] + sides * 0.5 - longer * 0.5
    return torch.cat([corners, corners + longer], 1)


def _nms(boxes: Tensor, scores: Tensor, overlap: float, *, of_smaller: bool = False) -> Tensor:
    """Non-maximum suppression: return the indices of the boxes kept, best first.

    None overlaps a better one by more than `overlap`: the intersection over union, or with
    `of_smaller` over the smaller of the two, whose sides then count a pixel more. Of equal scores
    the first box is the better.
    """
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    if of_smaller:
        ranked = torch.cat([ranked[:, :2], ranked[:, 2:] + 1], 1)
    kept = order[:0]
    for block in torch.split(torch.arange(len(order), device=order.device), _BLOCK):
        free = block[~_overlapping(ranked[block], ranked[kept], overlap, of_smaller).any(1)]
        covered = _overlapping(ranked[free], ranked[free], overlap, of_smaller).tril_(-1)
        # Every round settles at least one more box, and all of them after a few.
        keep, before = ~covered.any(1), torch.ones_like(free, dtype=torch.bool)
        while not torch.equal(keep, before):
            keep, before = ~(covered & keep).any(1), keep
        kept = torch.cat([kept, free[keep]])
    return order[kept]


def _overlapping(boxes: Tensor, others: Tensor, threshold: float, of_smaller: bool) -> Tensor:
    """Return (N, M) bool: whether (N, 4) boxes and (M, 4) others overlap beyond a threshold."""
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    u0, v0, u1, v1 = others.unbind(1)
    across = (torch.minimum(x1, u1) - torch.maximum(x0, u0)).clamp_(0)
    down = (torch.minimum(y1, v1) - torch.maximum(y0, v0)).clamp_(0)
    shared = across.mul_(down)
    areas, sizes = (x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0)
    whole = torch.minimum(areas, sizes) if of_smaller else areas + sizes - shared
    return shared.div_(whole) > threshold
