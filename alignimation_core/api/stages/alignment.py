"""Base classes of what aligns: target builders and transform models."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    Field,
)

from alignimation_core.api.data import Subject
from alignimation_core.api.registration import Registration, Target
from alignimation_core.api.stages.base import ComputeStage, Stage, wrap_own

if TYPE_CHECKING:
    from torch import Tensor


class TargetBuilder(Stage):
    """Draws what must coincide: Gaussians on keypoints, the mask, their product, the pixels."""

    @abstractmethod
    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        """Build the target of one subject.

        Args:
            subject: its coordinates are continuous pixels of the target to draw. Its similarity is
                left out, which changes with the other photos.
            size: (height, width) of the target.

        Returns:
            A target whose image is (C, height, width) float32 in [0, 1]. C, and P of its points,
            must not depend on the subject: an absent keypoint has weight 0. Where it has a
            ``width``, it is that of the subject, if that has one.
        """


def _fitting(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Take one target, a list or a batch, and find a start where none is given; hand on a batch."""

    @wraps(fit)
    def of_targets(self: TransformModel, moving: Any, fixed: Target, initial: Any = None) -> Any:
        if not isinstance(moving, Target):
            moving = Target.stack(moving)
        elif moving.image.ndim == 3:
            moving = Target.stack([moving])
        if initial is None:
            from alignimation_core.api.registration import procrustes

            initial = procrustes.closed_form(moving, fixed)
        return fit(self, moving, fixed, initial)

    return of_targets


class TransformModel(ComputeStage):
    """Fits the transform that brings each target onto the reference's.

    Whoever calls ``fit`` may leave ``initial`` out, and give one target or a list of them instead
    of a batch; of one, the ``Registration`` is a batch of one.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Let ``fit`` take what targets there are."""
        super().__init_subclass__(**options)
        wrap_own(cls, "fit", _fitting)

    working_side: Annotated[
        int, Field(description="side of the square targets that are registered, pixels", ge=16)
    ] = 128

    changes_scale: ClassVar[bool] = True
    """Whether the transform may change the subject's size."""

    turns: ClassVar[bool] = True
    """Whether the transform may turn the subject."""

    @abstractmethod
    def fit(self, moving: Target, fixed: Target, initial: Tensor) -> Registration:
        """Register a batch against one reference.

        Args:
            moving: a stacked batch; its image is (B, C, h, w).
            fixed: the reference; its image is (C, h, w).
            initial: (B, 3, 3) float64 ``fixed_from_moving`` to start from, in the targets'
                continuous pixels: the closed form on the targets' points, or on the moments of
                their images where there are too few points.

        Returns:
            ``fixed_from_moving`` of each photo; what else a ``Registration`` holds may be left out.
        """
