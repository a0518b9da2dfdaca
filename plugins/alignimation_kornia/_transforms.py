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
    """One family of transforms, with the names of its P parameters in order.

    ``x`` and ``y`` are in units of the target's root mean square radius, ``angle`` in radians from
    x towards y, ``log_scale`` in natural logarithms; ``log_stretch`` and ``shear`` complete the
    affine maps, ``tilt_x`` and ``tilt_y`` the homographies.
    """

    name: str
    parameters: tuple[str, ...]

    @property
    def turns(self) -> bool:
        """Whether the family contains rotations."""
        return "angle" in self.parameters

    def nearest(self, matrices: Tensor, centres: Tensor) -> Tensor:
        """Return the family's (B, 3, 3) members nearest to float64 matrices regular at (B, 2).

        What is kept first is where the subject's centre goes, then how large it becomes, then how
        it is turned: ``translation`` moves the centre as the given matrix does, ``rigid`` also
        turns as it does, ``crop`` also scales as it does.
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
            rows = [torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)]
            linear = torch.stack(rows, -2) * scale[:, None, None]
        nearest = torch.eye(3, dtype=matrices.dtype, device=matrices.device).repeat(len(goal), 1, 1)
        nearest[:, :2, :2] = linear
        nearest[:, :2, 2] = goal - (linear @ centres[:, :, None])[:, :, 0]
        return nearest


FAMILIES = {
    family.name: family
    for family in (
        Family("translation", ("x", "y")),
        Family("rigid", ("x", "y", "angle")),
        Family("crop", ("x", "y", "log_scale")),
        Family("similarity", ("x", "y", "angle", "log_scale")),
        Family("affine", ("x", "y", "angle", "log_scale", "log_stretch", "shear")),
        Family("homography", tuple(_GENERATORS)),
    )
}


class Chart:
    """A family's parameters on targets of one (height, width); its constants lie on one device.

    The unit frame's unit of length is ``radius`` pixels, the root mean square distance of a
    target's pixels from its centre. ``generators`` are (P, 3, 3) float64, the derivatives of the
    matrix by the parameters at 0, in the unit frame; the other matrices are (3, 3) float64 between
    continuous pixels, the unit frame, and ``grid``, torch's normalised frame.
    """

    def __init__(
        self, family: Family, size: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        height, width = size
        self.family, self.size = family, size
        self.radius = ((height**2 + width**2) / 12) ** 0.5
        generators = [_GENERATORS[name] for name in family.parameters]
        self.generators = torch.tensor(generators, dtype=torch.float64).to(device)
        centre = geometry.translation(width / 2, height / 2)
        pixels_from_unit = centre @ geometry.scaling(self.radius, self.radius)
        grid_from_pixels = geometry.normalised_from_pixels(size)
        self.pixels_from_unit = pixels_from_unit.to(device)
        self.unit_from_pixels = geometry.inverse(pixels_from_unit).to(device)
        self.grid_from_pixels = grid_from_pixels.to(device)
        self.pixels_from_grid = geometry.inverse(grid_from_pixels).to(device)

    def matrices(self, params: Tensor) -> Tensor:
        """Return (..., 3, 3) in continuous pixels of (..., P) parameters; differentiable."""
        kind = params.dtype
        tangent = (params[..., None, None] * self.generators.to(kind)).sum(-3)
        in_pixels = self.pixels_from_unit.to(kind) @ _exponential(tangent)
        return in_pixels @ self.unit_from_pixels.to(kind)


class Transform(nn.Module):
    """A batch of transforms: (B, 3, 3) ``fixed_from_moving`` = member of the family @ initial.

    Its parameter ``params`` is (B, P), zeros at first, each in ``unit`` radii of the target.
    """

    def __init__(self, chart: Chart, initial: Tensor, unit: float = 1.0) -> None:
        super().__init__()
        self.chart, self.initial, self.unit = chart, initial.detach().clone(), unit
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
