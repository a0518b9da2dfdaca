"""Closed forms: the similarity between two sets of points, or between two pictures' moments."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.registration import Target, shared_weights


def similarity_from_points(moving: Tensor, fixed: Tensor, weights: Tensor) -> Tensor:
    """Return the similarity that brings points onto others, by weighted least squares.

    Closed form of Umeyama (PAMI 1991) in two dimensions, where the rotation and scale together
    are one complex number; never a reflection.

    Of (..., P, 2) points with (..., P) weights >= 0; returns (..., 3, 3) float64
    ``fixed_from_moving``, NaN without at least two points of weight that are apart.
    """
    m, f, w = moving.double(), fixed.double(), weights.double()[..., None]
    total = w.sum(-2, keepdim=True)
    m_mean, f_mean = (w * m).sum(-2, keepdim=True) / total, (w * f).sum(-2, keepdim=True) / total
    dm, df = m - m_mean, f - f_mean
    spread = (w * dm * dm).sum((-1, -2))
    spread = torch.where(spread > 1e-12, spread, torch.full_like(spread, math.nan))
    a = (w * dm * df).sum((-1, -2)) / spread
    b = (w[..., 0] * (dm[..., 0] * df[..., 1] - dm[..., 1] * df[..., 0])).sum(-1) / spread
    turn = torch.stack([torch.stack([a, -b], -1), torch.stack([b, a], -1)], -2)
    shift = f_mean - m_mean @ turn.mT
    top = torch.cat([turn, shift.mT], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 2] = 1
    return torch.cat([top, bottom], -2)


def closed_form(moving: Target, fixed: Target) -> Tensor:
    """Return where a registration of a batch of targets starts.

    (B, 3, 3) float64 ``fixed_from_moving``, on the CPU: the similarity on the points that both
    have; with one common point the shift between the two; without points, the shift and the scale
    between the first two moments of the images. Where none of these is determined, identity.
    """
    there, here = moving.points.cpu(), fixed.points.cpu()
    shared = shared_weights(moving.point_weights.double(), fixed.point_weights.double()).cpu()
    found = (shared > 0).sum(-1)
    matrices = torch.eye(3, dtype=torch.float64).repeat(len(moving.image), 1, 1)
    for i in range(len(matrices)):
        if found[i] >= 2:
            fitted = similarity_from_points(there[i], here, shared[i])
        elif found[i] == 1:
            at = int(shared[i].argmax())
            shift = (here[at] - there[i, at]).double().tolist()
            fitted = geometry.translation(*shift)
        else:
            fitted = _similarity_from_moments(moving.image[i].cpu(), fixed.image.cpu())
        if fitted.isfinite().all() and float(torch.linalg.det(fitted)) > 1e-9:
            matrices[i] = fitted
    return matrices


def _similarity_from_moments(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return the shift and scale between two (C, h, w) images by their first two moments."""

    def moments(image: Tensor) -> tuple[float, float, float]:
        mass = image.double().sum(0)
        total = mass.sum()
        y = torch.arange(mass.shape[0], dtype=torch.float64) + 0.5
        x = torch.arange(mass.shape[1], dtype=torch.float64) + 0.5
        mx, my = (mass.sum(0) * x).sum() / total, (mass.sum(1) * y).sum() / total
        spread = ((x - mx) ** 2 * mass.sum(0)).sum() + ((y - my) ** 2 * mass.sum(1)).sum()
        return float(mx), float(my), float((spread / total).sqrt())

    mx, my, m_spread = moments(moving)
    fx, fy, f_spread = moments(fixed)
    scale = f_spread / m_spread if m_spread else math.nan
    return (
        geometry.translation(fx, fy)
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-mx, -my)
    )
