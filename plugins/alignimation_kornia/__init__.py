"""Transform models: six families fitted by one method, and kornia's registrator to compare with.

Convention: ``fixed_from_moving`` in the targets' continuous pixels, true to pixels at any aspect
ratio; see ``alignimation_core.TransformModel``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignimation_core import Registration, Target, TransformModel, hookimpl

if TYPE_CHECKING:
    from torch import Tensor


class FamilyModel(TransformModel):
    """Fits a transform of one family by Gauss-Newton over a pyramid, all photos at once.

    From ``initial``, or, for a photo whose points leave the turn open, from the best of many
    turns of it, Levenberg-Marquardt steps of the inverse-compositional kind (Baker and Matthews,
    IJCV 2004) go from coarse to fine. A photo never ends with a higher loss than it began with.

    Residuals are root mean square differences, weighted by channel, on an even lattice of the
    reference's pixels, those that the photo reaches at the start and at the end; with ``ncc``
    after brightness and contrast are matched. ``residuals_before`` is that of ``initial``, brought
    into the family. A photo that cannot be fitted has its reason in ``failures``, and a finite
    matrix all the same.
    """

    loss: Annotated[
        Literal["l2", "l1", "huber", "tukey", "ncc"],
        Field(
            description="l2: least squares; l1, huber, tukey: less, and less again, for what "
            "differs much; ncc: whatever the brightness and contrast"
        ),
    ] = "l2"
    optimizer: Annotated[
        Literal["gauss-newton", "adam", "lbfgs"],
        Field(description="gauss-newton is fast; adam and lbfgs take any differentiable loss"),
    ] = "gauss-newton"
    iterations: Annotated[
        int, Field(description="at most so many on each level of the pyramid", ge=1)
    ] = 50

    @model_validator(mode="after")
    def _own_criterion_needs_autograd(self) -> Self:
        own = type(self).criterion is not FamilyModel.criterion
        if own and self.optimizer == "gauss-newton":
            raise ValueError(
                f"{self.name} has a criterion of its own, which gauss-newton cannot minimise; "
                "set optimizer to adam or lbfgs"
            )
        return self

    def criterion(self, warped: Tensor, fixed: Tensor, weights: Tensor) -> Tensor:
        """Return what ``adam`` and ``lbfgs`` minimise; override it for a loss of your own.

        Args:
            warped: (B, C, h, w) float32, the photos' targets in the reference's frame.
            fixed: (C, h, w) float32, the reference's.
            weights: (B, C, h, w) float32, 0 where the photo does not reach.

        Returns:
            (B,), differentiable in ``warped``.
        """
        from alignimation_kornia._losses import Loss

        return Loss(self.loss).criterion(warped, fixed, weights)

    def fit(self, moving: Target, fixed: Target, initial: Tensor) -> Registration:
        """Register a batch against one reference; see the base class."""
        import torch

        from alignimation_kornia._registration import register

        device = self.torch_device()
        if device.type == "mps":  # has no float64, which the matrices need
            device = torch.device("cpu")
        return register(self, moving, fixed, initial, device)

    family: ClassVar[str]
    """Which family of transforms."""


class Translation(FamilyModel):
    """Shifts: the subject's centre is held, its size and turn are not."""

    name: ClassVar[str] = "translation"
    family: ClassVar[str] = "translation"
    changes_scale: ClassVar[bool] = False
    turns: ClassVar[bool] = False


class Rigid(FamilyModel):
    """Shifts and turns: the subject keeps its size in pixels."""

    name: ClassVar[str] = "rigid"
    family: ClassVar[str] = "rigid"
    changes_scale: ClassVar[bool] = False


class Crop(FamilyModel):
    """Shifts and scales: what a pair of scissors and a zoom can do, without any turn."""

    name: ClassVar[str] = "crop"
    family: ClassVar[str] = "crop"
    turns: ClassVar[bool] = False


class Similarity(FamilyModel):
    """Shifts, turns and scales: the subject is never distorted. The usual choice."""

    name: ClassVar[str] = "similarity"
    family: ClassVar[str] = "similarity"


class Affine(FamilyModel):
    """A similarity that may also stretch and shear."""

    name: ClassVar[str] = "affine"
    family: ClassVar[str] = "affine"


class Homography(FamilyModel):
    """An affine map that may also tilt: a flat subject seen from another side."""

    name: ClassVar[str] = "homography"
    family: ClassVar[str] = "homography"


class KorniaRegistrator(TransformModel):
    """kornia's ImageRegistrator as it is, for comparison only: slow, and it hardly turns.

    Set up as in the first alignimation (Ethan Rosenthal, 2021, MIT): a similarity, mean squared
    error, tolerance 1e-8, kornia's defaults for the rest (five levels, Adam with one learning rate
    of 1e-3). It shares that rate between degrees and shifts, so that 500 steps turn by some half
    a degree in all; it takes photos one by one, and its loss is the mean over the overlap, which
    rewards a small one. The other models of this package are faster by orders of magnitude and
    find what it misses.
    """

    name: ClassVar[str] = "kornia-registrator"

    start: Annotated[
        Literal["identity", "closed-form"],
        Field(description="where kornia begins: identity, as it is, or closed-form, as ours do"),
    ] = "identity"
    levels: Annotated[int, Field(description="of the pyramid; fewer on small targets", ge=1)] = 5
    iterations: Annotated[int, Field(description="at most so many on each level", ge=1)] = 100

    def fit(self, moving: Target, fixed: Target, initial: Tensor) -> Registration:
        """Register a batch against one reference, one photo at a time; see the base class."""
        import torch

        from alignimation_kornia._kornia_registrator import register

        start = initial.double().cpu()
        if self.start == "identity":
            start = torch.eye(3, dtype=torch.float64).expand_as(start)
        return register(moving, fixed, start, self.levels, self.iterations, self.torch_device())


@hookimpl
def alignimation_transform_models() -> Sequence[type[TransformModel]]:
    """Return the transform models of this package."""
    return [Translation, Rigid, Crop, Similarity, Affine, Homography, KorniaRegistrator]
