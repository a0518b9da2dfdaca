"""Loss functions, summed over the pixels' differences.

``l2`` squares it; ``l1`` takes its magnitude; ``huber`` (1964) and ``tukey`` (Beaton and
Tukey 1974) square small differences and count large ones less, or not at all, with the usual
constants that keep 95 % of least squares' precision on normal noise; ``ncc`` squares it after each
channel's brightness and contrast are matched to the reference's, which is normalised
cross-correlation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_HUBER, _TUKEY = 1.345, 4.685
_LEAST_SCALE = 0.01  # differences below a hundredth of the range are never outliers
_L1_SMOOTH = 1e-3
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss for iteratively reweighted least squares.

    Residuals are (B, C, N) float; ``scale`` is (B,), the size of a typical difference.
    """

    name: str

    def residual(self, moving: Tensor, valid: Tensor, fixed: Tensor) -> Tensor:
        """Return ``moving - fixed``, for ``ncc`` matched over (B, C, N) ``valid``, 1 or 0."""
        if self.name == "ncc":
            total = valid.sum(-1, keepdim=True).clamp(min=1)
            m_mean = (moving * valid).sum(-1, keepdim=True) / total
            f_mean = (fixed * valid).sum(-1, keepdim=True) / total
            m, f = (moving - m_mean) * valid, (fixed - f_mean) * valid
            contrast = f.square().sum(-1, keepdim=True) / (m.square().sum(-1, keepdim=True) + _TINY)
            return m * contrast.sqrt() - f
        return moving - fixed

    def project(self, jacobian: Tensor, fixed: Tensor, counts: Tensor) -> Tensor:
        """Project brightness and contrast out of a (C, N, P) Jacobian.

        "Project out" of Baker, Gross and Matthews, "Lucas-Kanade 20 years on: part 3", 2003.
        """
        if self.name != "ncc":
            return jacobian
        one = counts / counts.sum(1, keepdim=True).clamp(min=1).sqrt()
        rest = fixed - one * (one * fixed).sum(1, keepdim=True)
        rest = rest / (rest.square().sum(1, keepdim=True) + _TINY).sqrt()
        for direction in (one, rest):
            along = torch.einsum("cn,cnp->cp", direction, jacobian)
            jacobian = jacobian - direction[..., None] * along[:, None]
        return jacobian

    def scale(self, residual: Tensor, valid: Tensor) -> Tensor:
        """Return the (B,) standard deviation of the residuals by their median magnitude."""
        if self.name not in ("huber", "tukey"):
            return residual.new_ones(len(residual))
        known = torch.where(valid > 0, residual.abs(), torch.nan).reshape(len(residual), -1)
        return (1.4826 * known.nanmedian(1).values).nan_to_num(1.0).clamp(min=_LEAST_SCALE)

    def value(self, residual: Tensor, scale: Tensor) -> Tensor:
        """Return the loss of each pixel."""
        if self.name == "l1":
            return (residual.square() + _L1_SMOOTH**2).sqrt()
        if self.name == "huber":
            k = _HUBER * scale[:, None, None]
            size = residual.abs()
            return torch.where(size < k, size * size, 2 * k * size - k * k)
        if self.name == "tukey":
            c = _TUKEY * scale[:, None, None]
            return c * c / 3 * (1 - (1 - (residual / c).square()).clamp(min=0) ** 3)
        return residual.square()

    def weight(self, residual: Tensor, scale: Tensor) -> Tensor:
        """Return the weight of each pixel in the reweighted least squares."""
        if self.name == "l1":
            return (residual.square() + _L1_SMOOTH**2).rsqrt()
        if self.name == "huber":
            k = _HUBER * scale[:, None, None]
            return (k / residual.abs().clamp(min=_TINY)).clamp(max=1)
        if self.name == "tukey":
            c = _TUKEY * scale[:, None, None]
            return (1 - (residual / c).square()).clamp(min=0).square()
        return torch.ones_like(residual)

    def criterion(self, warped: Tensor, fixed: Tensor, weights: Tensor) -> Tensor:
        """Return the (B,) mean loss of (B, C, h, w) images, differentiable in ``warped``."""
        flat = weights.flatten(2)
        residual = self.residual(warped.flatten(2), (flat > 0).to(flat), fixed.flatten(1))
        scale = self.scale(residual.detach(), flat)
        return (flat * self.value(residual, scale)).sum((1, 2)) / flat.sum((1, 2)).clamp(min=_TINY)
