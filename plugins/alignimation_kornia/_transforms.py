"""Families of transforms, and their differentiable parametrisation.

Convention: a family is the set of matrices ``exp(sum of params * generators)``, written in the
*unit frame* of a target: the origin is the target's centre and the unit of length is the root mean
square distance of its pixels from there. So a unit step of any parameter moves the target's
points by about the same distance: a shift by one unit, a turn by one radian, a growth by a factor
of e. Every family is a group: products and inverses stay in it, in pixels, at any aspect ratio.

The generators are those of the homographies' Lie algebra; see Szeliski and Shum, "Creating full
view panoramic image mosaics and environment maps", SIGGRAPH 1997, for the parametrisation by an
exponential, and Eade, "Lie groups for 2D and 3D transformations", 2013, for the tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alignimation_core.api import geometry

_GENERATORS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "x": ((0, 0, 1), (0, 0, 0), (0, 0, 0)),
    "y": ((0, 0, 0), (0, 0, 1), (0, 0, 0)),
    "angle": ((0, -1, 0), (1, 0, 0), (0, 0, 0)),
    "log_scale": ((1, 0, 0), (0, 1, 0), (0, 0, 0)),
    "log_stretch": ((1, 0, 0), (0, -1, 0), (0, 0, 0)),
    "shear": ((0, 1, 0), (1, 0, 0), (0, 0, 0)),
    "tilt_x": ((0, 0, 0), (0, 0, 0), (1, 0, 0)),
    "tilt_y": ((0, 0, 0), (0, 0, 0), (0, 1, 0)),
}

_SQUARINGS = 6
_TERMS = 8


@dataclass(frozen=True, slots=True)
class Family:
    """One family of transforms.

    Attributes:
        name: what a recipe calls it.
        parameters: the names of its P parameters, in order. ``x`` and ``y`` are in units of the
            target's root mean square radius, ``angle`` in radians from x towards y, ``log_scale``
            in natural logarithms; ``log_stretch`` and ``shear`` complete the affine maps,
            ``tilt_x`` and ``tilt_y`` the homographies.
    """

    name: str
    parameters: tuple[str, ...]

    @property
    def turns(self) -> bool:
        """Whether the family contains rotations."""
        return "angle" in self.parameters

    def nearest(self, matrices: Tensor, centres: Tensor) -> Tensor:
        """Return the members of the family nearest to given transforms.

        What is kept first is where the subject's centre goes, then how large it becomes, then how
        it is turned: ``translation`` moves the centre as the given matrix does, ``rigid`` also
        turns as it does, ``crop`` also scales as it does.

        Args:
            matrices: (B, 3, 3) float64, finite and not singular at the centres.
            centres: (B, 2), the subject's centre in the frame that the matrices start from.

        Returns:
            (B, 3, 3) float64.
        """
        if self.name == "homography":
            return matrices / matrices[:, 2:, 2:]
        centres = centres.to(matrices)
        goal = geometry.apply(matrices, centres[:, None])[:, 0]
        weight = matrices[:, 2, 0] * centres[:, 0] + matrices[:, 2, 1] * centres[:, 1]
        weight = (weight + matrices[:, 2, 2])[:, None, None]
        linear = (matrices[:, :2, :2] - goal[:, :, None] * matrices[:, None, 2, :2]) / weight
        if self.name != "affine":
            a = (linear[:, 0, 0] + linear[:, 1, 1]) / 2
            b = (linear[:, 1, 0] - linear[:, 0, 1]) / 2
            size = (a * a + b * b).sqrt()
            scale = size if "log_scale" in self.parameters else torch.ones_like(size)
            known = size > 0
            cosine = torch.where(known, a / size, 1.0) if self.turns else torch.ones_like(a)
            sine = torch.where(known, b / size, 0.0) if self.turns else torch.zeros_like(b)
            linear = (
                torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
                * (scale[:, None, None])
            )
        nearest = torch.eye(3, dtype=matrices.dtype, device=matrices.device).repeat(len(goal), 1, 1)
        nearest[:, :2, :2] = linear
        nearest[:, :2, 2] = goal - (linear @ centres[:, :, None])[:, :, 0]
        return nearest


_SHIFT = ("x", "y")
_SIMILARITY = (*_SHIFT, "angle", "log_scale")
_AFFINE = (*_SIMILARITY, "log_stretch", "shear")
FAMILIES = {
    family.name: family
    for family in (
        Family("translation", _SHIFT),
        Family("rigid", (*_SHIFT, "angle")),
        Family("crop", (*_SHIFT, "log_scale")),
        Family("similarity", _SIMILARITY),
        Family("affine", _AFFINE),
        Family("homography", (*_AFFINE, "tilt_x", "tilt_y")),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Chart:
    """A family's parameters on targets of one size; its constants lie ready on one device.

    Attributes:
        family: the family.
        size: (height, width) of the targets.
        radius: the unit of length: root mean square distance of a target's pixels from its
            centre, pixels.
        generators: (P, 3, 3) float64, the derivatives of the matrix by the parameters at 0, in
            the unit frame.
        unit_from_pixels: (3, 3) float64, from continuous pixels to the unit frame.
        pixels_from_unit: its inverse.
        grid_from_pixels: (3, 3) float64, from continuous pixels to torch's normalised frame.
        pixels_from_grid: its inverse.
    """

    family: Family
    size: tuple[int, int]
    radius: float
    generators: Tensor
    unit_from_pixels: Tensor
    pixels_from_unit: Tensor
    grid_from_pixels: Tensor
    pixels_from_grid: Tensor

    @classmethod
    def of(cls, family: Family, size: tuple[int, int], device: torch.device | str = "cpu") -> Chart:
        """Return the chart of a family on targets of (height, width) on a device."""
        height, width = size
        radius = ((height**2 + width**2) / 12) ** 0.5
        generators = torch.tensor(
            [_GENERATORS[name] for name in family.parameters], dtype=torch.float64
        )
        centre = geometry.translation(width / 2, height / 2)
        pixels_from_unit = centre @ geometry.scaling(radius, radius)
        grid_from_pixels = geometry.normalised_from_pixels(size)
        return cls(
            family,
            size,
            radius,
            generators.to(device),
            geometry.inverse(pixels_from_unit).to(device),
            pixels_from_unit.to(device),
            grid_from_pixels.to(device),
            geometry.inverse(grid_from_pixels).to(device),
        )

    def matrices(self, params: Tensor) -> Tensor:
        """Return the transforms of some parameters; differentiable.

        Args:
            params: (..., P) on the chart's device; zeros give the identity.

        Returns:
            (..., 3, 3) of the dtype of ``params``, in the target's continuous pixels.
        """
        kind = params.dtype
        tangent = (params[..., None, None] * self.generators.to(kind)).sum(-3)
        return (
            self.pixels_from_unit.to(kind) @ _exponential(tangent) @ self.unit_from_pixels.to(kind)
        )


class Transform(nn.Module):
    """A batch of transforms of one family as a ``torch.nn`` module.

    Its parameter ``params`` is (B, P), zeros at first; ``forward()`` returns the (B, 3, 3)
    ``fixed_from_moving`` = member of the family @ initial, in the target's continuous pixels.

    Args:
        chart: the family on targets of some size.
        initial: (B, 3, 3) floating point, where the parameters are zero.
        unit: how far a unit of the parameters reaches, in units of the target's radius.
    """

    initial: Tensor

    def __init__(self, chart: Chart, initial: Tensor, unit: float = 1.0) -> None:
        super().__init__()
        self.chart, self.unit = chart, unit
        self.register_buffer("initial", initial.detach().clone())
        self.params = nn.Parameter(initial.new_zeros(len(initial), len(chart.generators)))

    def forward(self) -> Tensor:
        """Return (B, 3, 3)."""
        return self.chart.matrices(self.unit * self.params) @ self.initial


def _exponential(tangent: Tensor) -> Tensor:
    """Return the exponential of (..., 3, 3) by a Taylor series, scaled and squared.

    ``torch.linalg.matrix_exp`` chooses its series by the norm, for which it waits on the device.
    """
    scaled = tangent / 2**_SQUARINGS
    term = torch.eye(3, dtype=tangent.dtype, device=tangent.device).expand_as(tangent)
    total = term
    for n in range(1, _TERMS + 1):
        term = term @ scaled / n
        total = total + term
    for _ in range(_SQUARINGS):
        total = total @ total
    return total
