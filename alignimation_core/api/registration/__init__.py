"""Data types of registration: targets in, transforms out; conventions as in ``data``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Any

from alignimation_core.api.data import expect_shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """An image of what must coincide, and the points behind it; a batch when stacked.

    Attributes:
        image: ([B,] C, h, w) float32 in [0, 1].
        weights: ([B,] C) float32 >= 0: how much each channel counts. 0 for a channel that says
            nothing about this photo, such as that of a keypoint that was not found.
        points: ([B,] P, 2) float32, points of the same frame for a closed-form start; P may be 0.
        point_weights: ([B,] P) float32 >= 0, 0 for a point that was not found.
        width: ([B]) float32, standard deviation of the Gaussians that are drawn on the points,
            pixels: it must agree between two targets (see ``Subject.width``). None where the image
            has no such width.
        points_only: the image shows nothing but the points, one a channel.

    What two targets have in common weighs what ``shared_weights`` says.
    """

    image: Tensor
    weights: Tensor
    points: Tensor
    point_weights: Tensor
    width: Tensor | None = None
    points_only: bool = False

    def __post_init__(self) -> None:
        """Check that shapes agree."""
        if self.image.ndim not in (3, 4):
            raise ValueError(f"image: expected shape (C, h, w), got {tuple(self.image.shape)}")
        lead = tuple(self.image.shape[:-3])
        expect_shape("weights", self.weights, (*lead, self.image.shape[-3]))
        expect_shape("points", self.points, (*lead, None, 2))
        expect_shape("point_weights", self.point_weights, tuple(self.points.shape[:-1]))
        if self.width is not None:
            expect_shape("width", self.width, lead)
        elif self.points_only:
            raise ValueError("points_only: the points need a width")

    @classmethod
    def of(
        cls,
        image: Tensor,
        *,
        weights: Tensor | None = None,
        points: Tensor | None = None,
        point_weights: Tensor | None = None,
        width: Tensor | None = None,
        points_only: bool = False,
    ) -> Target:
        """Return a target; channels and points that are not weighed count 1, points may be none."""
        if weights is None:
            weights = image.new_ones(image.shape[:-2])
        if points is None:
            points = image.new_zeros(*image.shape[:-3], 0, 2)
        if point_weights is None:
            point_weights = points.new_ones(points.shape[:-1])
        return cls(image, weights, points, point_weights, width, points_only)

    @classmethod
    def stack(cls, targets: Sequence[Target]) -> Target:
        """Return targets of one size as a batch."""
        import torch

        widths = [target.width for target in targets if target.width is not None]
        width = torch.stack(widths) if len(widths) == len(targets) else None
        only = width is not None and all(target.points_only for target in targets)
        return cls(
            torch.stack([target.image for target in targets]),
            torch.stack([target.weights for target in targets]),
            torch.stack([target.points for target in targets]),
            torch.stack([target.point_weights for target in targets]),
            width,
            only,
        )


def shared_weights(moving: Tensor, fixed: Tensor) -> Tensor:
    """Return how much channels or points count that two targets have in common.

    The harmonic mean, 0 where either is: a weight that both have counts once; of scores that stand
    for inverse variances, it is in proportion to that of the distance between the two.
    """
    both = moving * fixed
    return (2 * both / (moving + fixed)).where(both > 0, 0.0)


_LEFT_OUT: Any = None
_UNKNOWN = {"residuals_before": nan, "residuals": nan, "iterations": 0, "converged": True}


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """The transforms that a model fits to a batch of B photos.

    Attributes:
        matrices: (B, 3, 3) float64, ``fixed_from_moving`` in the targets' continuous pixels.
        residuals_before: (B,) root mean square difference of the targets at ``initial``; NaN when
            left out.
        residuals: (B,) the same at the end; NaN when left out.
        iterations: (B,) int, for the run record; 0 when left out.
        converged: (B,) bool; True when left out.
        failures: why each photo's fit failed; None for a fit that is good to use.

    Raises:
        TypeError: something that should be a tensor is none.
        ValueError: shapes disagree; the message shows both sides.
    """

    matrices: Tensor
    residuals_before: Tensor = _LEFT_OUT
    residuals: Tensor = _LEFT_OUT
    iterations: Tensor = _LEFT_OUT
    converged: Tensor = _LEFT_OUT
    failures: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        """Fill in what was left out; check that all parts speak of the same B photos."""
        import torch

        expect_shape("matrices", self.matrices, (None, 3, 3))
        count = len(self.matrices)
        for name, unknown in _UNKNOWN.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, torch.full((count,), unknown))
            expect_shape(name, getattr(self, name), (count,))
        if not self.failures:
            object.__setattr__(self, "failures", (None,) * count)
        if len(self.failures) != count:
            raise ValueError(f"failures: expected {count}, got {len(self.failures)}")
