"""Initialisation of a fit: the subject's centre, and the rotation of a photo without keypoints."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alignimation_core import Target
from alignimation_core.api import geometry
from alignimation_core.api.registration import shared_weights
from alignimation_kornia._gauss_newton import minimise
from alignimation_kornia._losses import Loss
from alignimation_kornia._pyramid_level import Level, Pixels
from alignimation_kornia._transforms import Chart

_TURNS = 24  # starts over the full circle
_ITERATIONS = 10  # for each of them
_FEWER = 6  # of as many starts, one goes on to the next level
_CLEARLY = 0.8  # of the squared difference without a turn may be left for a turn to be taken
_TOLERANCE = 0.02  # pixels of the level
_COST_SIDE = 64  # pixels: what is left is compared on a lattice of at most so many rows


def centres(moving: Target, fixed: Target, images: Tensor) -> Tensor:
    """Return the (B, 2) float64 centre of each subject.

    The weighted mean of the points it has in common with the reference; without any, the centre
    of mass of its image.
    """
    shared = shared_weights(moving.point_weights, fixed.point_weights).to(images.device).double()
    total = shared.sum(1, keepdim=True)
    points = moving.points.to(images.device).double().nan_to_num(0, 0, 0)
    centres = (shared[..., None] * points).sum(1) / total
    for i in (total[:, 0] == 0).nonzero()[:, 0].tolist():
        centres[i] = _centre_of_mass(images[i], (images.shape[-2], images.shape[-1]))
    return centres


def _centre_of_mass(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the centre of mass of a (C, h, w) image in a frame of some size, (2,) float64."""
    mass = image.sum(0).double()
    height, width = mass.shape
    y = (torch.arange(height, device=mass.device) + 0.5) * (size[0] / height)
    x = (torch.arange(width, device=mass.device) + 0.5) * (size[1] / width)
    centre = torch.stack([(mass.sum(0) * x).sum(), (mass.sum(1) * y).sum()]) / mass.sum()
    return torch.where(centre.isfinite(), centre, centre.new_tensor([size[1] / 2, size[0] / 2]))


def best_turn(
    photos: list[Tensor],
    references: list[Tensor],
    weights: Tensor,
    start: Tensor,
    chart: Chart,
) -> Tensor:
    """Search better starts, (B, 3, 3), for photos whose rotation is unknown; levels finest first.

    On the coarsest level every photo starts from many turns of its start about the reference's
    centre of mass; the one without a turn and the best few others go on to the next level. A turn
    is only taken where it is clearly better than none, so that what is round stays upright.
    """
    count = len(start)
    x, y = _centre_of_mass(references[-1], chart.size).tolist()
    to_centre = geometry.translation(-x, -y)
    turns = torch.stack([geometry.rotation(2 * math.pi * k / _TURNS) for k in range(_TURNS)])
    about = (geometry.inverse(to_centre) @ turns @ to_centre).to(start.device)
    matrices = about @ start[:, None]  # (B, turns, 3, 3)
    for photo, reference in zip(reversed(photos), reversed(references), strict=True):
        tried = matrices.shape[1]
        images = photo.repeat_interleave(tried, 0)
        repeated = weights.repeat_interleave(tried, 0)
        level = Level(reference, chart, Loss("l2"))
        tolerance = _TOLERANCE * chart.size[0] / reference.shape[1]
        starts = matrices.flatten(0, 1)
        ends, _, _ = minimise(level, images, repeated, starts, _ITERATIONS, tolerance)
        lattice = Pixels.lattice(reference, _COST_SIDE, chart)
        sampled, inside, _ = lattice.sample(images, ends)
        difference = (sampled * inside - lattice.values).square().mean(2)
        cost = (repeated * difference).sum(1).reshape(count, tried)
        cost[:, 0] *= _CLEARLY
        kept = cost[:, 1:].topk(max(1, tried // _FEWER), largest=False).indices + 1
        kept = torch.cat([torch.zeros_like(kept[:, :1]), kept], 1)
        ends = ends.reshape(count, tried, 3, 3)
        matrices = ends.gather(1, kept[:, :, None, None].expand(-1, -1, 3, 3))
    turn = cost.argmin(1)
    best: Tensor = ends[torch.arange(count, device=turn.device), turn]
    return best
