"""Framing: the rectangle of the aligned photos that the canvas shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from alignimation_core.alignment.subjects import AlignedSubject, keypoints_of
from alignimation_core.api import geometry
from alignimation_core.api.data import EYES, TORSO
from alignimation_core.api.frame import Canvas
from alignimation_core.api.sampling import spread
from alignimation_core.recipe.options import PHOTO, CanvasOptions, SubjectFraming

LONG_SIDE = 1080
LARGEST = 16384
"""Pixels along the long side of a canvas at most."""
MARGIN = 0.12
"""Room around the subject's boxes at the tightest, as a share of their extent."""
CUT = 0.01
"""How near to a photo's border a box is cut by it, as a share of the photo's size."""
FURTHEST = 64.0
"""Largest crop considered, in units of the smallest that shows the subject."""
SAMPLE = 400
"""Most photos of which it is asked what they cover, where a little may be invented."""
SOME = 1024
"""Places looked at together: few enough that what is computed of them stays in the cache."""
SLACK = 0.01
"""Pixels beyond a photo that count as covered, lest rounding uncover its very border."""
MAP = 256
"""Side of the map of the coverage, pixels."""


def frame(
    aligned: Sequence[AlignedSubject], options: CanvasOptions, *, level: bool, turn: float = 0.0
) -> tuple[Canvas, Tensor]:
    """Choose the canvas, level as the photos are on average, or else turned by ``turn`` radians.

    Returns:
        The canvas and ``canvas_from_reference``, (3, 3) float64.
    """
    to_reference = torch.stack([item.reference_from_photo for item in aligned])
    photos = [item.photo for item in aligned]
    sizes = geometry.table([(photo.width, photo.height) for photo in photos], 2).float()
    height, width = options.shape() or _usual_shape(sizes, whole=options.size == PHOTO)
    level_from_reference = geometry.rotation(upright(aligned) if level else turn)
    to_level = level_from_reference @ to_reference

    canvas = Canvas(height, width, options.background == "remove")
    boxes = geometry.table([item.subject.box for item in aligned], 4).float()
    if isinstance(options.framing, SubjectFraming):
        canvas_from_level = _about_subject(aligned, to_level, boxes, options.framing, canvas)
        return canvas, canvas_from_level @ level_from_reference
    low, high = _extent(to_level, sizes, boxes)
    aspect = width / height
    if options.framing == "whole":
        whole = _bounds(to_level, torch.cat([torch.zeros_like(sizes), sizes], dim=1))
        low, high = whole[:, :2].amin(0), whole[:, 2:].amax(0)
        centre, half = (low + high) / 2, _half_height(low, high, (low + high) / 2, aspect)
    else:
        crops = CropCoverage(to_level, sizes, aspect, options.allowed_border())
        centre = (low + high) / 2
        if options.framing == "auto":
            centre = crops.best_centre(low, high)
        half = crops.widest(centre, _half_height(low, high, centre, aspect))
    scale = height / (2 * half)
    canvas_from_level = (
        geometry.translation(width / 2, height / 2)
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-float(centre[0]), -float(centre[1]))
    )
    return canvas, canvas_from_level @ level_from_reference


def _about_subject(
    aligned: Sequence[AlignedSubject],
    to_level: Tensor,
    boxes: Tensor,
    wanted: SubjectFraming,
    canvas: Canvas,
) -> Tensor:
    """Return ``canvas_from_level``, on which the subject is as large, and where, as is wanted."""
    sides = _ellipse_bounds(to_level, boxes)
    scale = wanted.subject * canvas.height / float((sides[:, 3] - sides[:, 1]).median())
    subjects = [item.subject for item in aligned]
    middles = geometry.apply(to_level, (boxes.double()[:, None, :2] + boxes[:, None, 2:]) / 2)[:, 0]
    for names in (TORSO, EYES):
        points = geometry.apply(to_level, keypoints_of(subjects, names)).mean(1)
        found = ~points.isnan().any(1)
        if 2 * int(found.sum()) > len(found):
            middles = points[found]
            break
    x, y = middles.median(0).values.tolist()
    return (
        geometry.translation(wanted.at[0] * canvas.width, wanted.at[1] * canvas.height)
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-x, -y)
    )


def _extent(to_level: Tensor, sizes: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the canvas must show: the subject in nearly every photo, with some room.

    On a side where a photo's border cuts the subject, that photo does not tell how far the subject
    goes. Where most photos are cut, half of them are to reach the canvas's border.

    Of (N, 3, 3) ``level_from_photo``, (N, 2) width and height, and (N, 4) boxes of the subjects;
    returns (2,) upper left and (2,) lower right corner, float64.
    """
    edges = torch.cat([torch.zeros_like(sizes), sizes], dim=1)
    cut = (boxes - edges).abs() < CUT * sizes.repeat(1, 2)
    room = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    roomy = boxes + torch.cat([-room, room], dim=1)
    within = torch.cat([roomy[:, :2].clamp(min=0), torch.minimum(roomy[:, 2:], sizes)], dim=1)
    sides = _ellipse_bounds(to_level, within)
    reach = [
        torch.quantile(sides[~cut[:, i], i], (0.02, 0.02, 0.98, 0.98)[i])
        if 2 * int(cut[:, i].sum()) <= len(cut)
        else sides[:, i].median()
        for i in range(4)
    ]
    return torch.stack(reach[:2]), torch.stack(reach[2:])


def upright(aligned: Sequence[AlignedSubject]) -> float:
    """Return by how many radians to turn the reference so that photos are upright on average."""
    angles = geometry.angle_of(torch.stack([item.reference_from_photo for item in aligned]))
    angles = angles - geometry.table([math.radians(item.subject.turn) for item in aligned], 1)[:, 0]
    return -math.atan2(float(angles.sin().mean()), float(angles.cos().mean()))


def _usual_shape(sizes: Tensor, *, whole: bool) -> tuple[int, int]:
    """Return an even (height, width) of the photos' median shape, and ``whole``, of their size."""
    aspect = float((sizes[:, 0] / sizes[:, 1]).median())
    long = min(LARGEST, int(sizes.amax(1).median()) // 2 * 2) if whole else LONG_SIDE
    short = round(long * min(aspect, 1 / aspect) / 2) * 2
    return (short, long) if aspect >= 1 else (long, short)


def _bounds(matrices: Tensor, boxes: Tensor) -> Tensor:
    """Return the (N, 4) boxes around mapped (N, 4) boxes."""
    x0, y0, x1, y1 = boxes.double().unbind(1)
    corners = torch.stack([x0, y0, x1, y0, x1, y1, x0, y1], dim=1).reshape(-1, 4, 2)
    mapped = geometry.apply(matrices, corners)
    return torch.cat([mapped.amin(1), mapped.amax(1)], dim=1)


def _half_height(low: Tensor, high: Tensor, centre: Tensor, aspect: float) -> float:
    """Return half the height of the least crop about a centre that shows a whole box."""
    reach = torch.maximum(centre - low, high - centre)
    return max(float(reach[0]) / aspect, float(reach[1]))


def _ellipse_bounds(matrices: Tensor, boxes: Tensor) -> Tensor:
    """Return the (N, 4) boxes around the mapped ellipses inside (N, 4) boxes.

    A subject fills its box as an ellipse does rather than to the corners, which matters when the
    photo is turned.
    """
    corners = boxes.double().reshape(-1, 2, 2)
    steps = torch.tensor([[0.5, 0.5], [1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    points = corners[:, :1] + steps * (corners[:, 1:] - corners[:, :1])
    centre, right, below = geometry.apply(matrices, points).unbind(1)
    reach = ((right - centre).square() + (below - centre).square()).sqrt()
    return torch.cat([centre - reach, centre + reach], dim=1)


class CropCoverage:
    """Coverage of crops by the photos, and the largest crop that they cover.

    Of (N, 3, 3) ``level_from_photo`` and (N, 2) width and height of the photos. ``aspect`` is the
    crop's width by height, ``allowed`` the share of it, on average, that may lie beyond the photos.
    """

    def __init__(self, to_level: Tensor, sizes: Tensor, aspect: float, allowed: float) -> None:
        # where nothing may be invented every photo counts; being convex, by a crop's corners alone
        exact = allowed == 0
        self._ticks = torch.linspace(-1, 1, 2 if exact else 41, dtype=torch.float64)
        some = spread(len(to_level), len(to_level) if exact else SAMPLE)
        self._photo_from_level = geometry.inverse(to_level[some])
        self._limits = sizes[some][:, None].double()
        self._reach = torch.split((self._limits[:, 0] / 2 + SLACK).float(), 1, dim=1)
        self._aspect, self._allowed = aspect, allowed
        middle_from_photo = torch.eye(3, dtype=torch.float64).repeat(len(some), 1, 1)
        middle_from_photo[:, :2, 2] = -self._limits[:, 0] / 2
        self._middle_from_level = (middle_from_photo @ self._photo_from_level).float()
        bottom = self._middle_from_level[:, 2]
        self._affine = bool((bottom == torch.tensor([0.0, 0, 1])).all())

    def at(self, places: Tensor) -> Tensor:
        """Return which share of the photos covers each of (P, 2) places, (P,) float64."""
        return torch.cat([self._shares(some) for some in torch.split(places, SOME)])

    def _shares(self, places: Tensor) -> Tensor:
        points = torch.cat([places, places.new_ones(len(places), 1)], dim=1).float().mT
        u, v = (self._middle_from_level[:, row] @ points for row in range(2))
        if not self._affine:
            w = self._middle_from_level[:, 2] @ points
            u, v = u / w, v / w
        # ones and zeros in place: four times as fast as truth values of their own
        across, down = self._reach
        seen: Tensor = u.abs_().le_(across).mul_(v.abs_().le_(down))
        return seen.mean(0).double()

    def widest(self, centre: Tensor, least: float) -> float:
        """Return half the height of the largest crop about a (2,) centre that is allowed.

        No less than ``least``, half the height that shows the subject.
        """
        ticks = self._ticks
        grid = torch.cartesian_prod(ticks * self._aspect, ticks)
        ends = torch.where(ticks.abs() == 1, 0.5, 1.0).double() / (len(ticks) - 1)  # trapezoids
        area = torch.outer(ends, ends).flatten()

        def fits(half: float) -> bool:
            invented = float((1 - self.at(centre + grid * half)) @ area)
            return invented <= self._allowed

        most = least
        while fits(most) and most < FURTHEST * least:
            most *= 1.5
        if most == least:
            return least
        good = most / 1.5
        for _ in range(14):  # to a ten-thousandth
            middle = (good + most) / 2
            good, most = (middle, most) if fits(middle) else (good, middle)
        return good

    def best_centre(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the centre about which the largest crop fits, found by gradient.

        The share that is covered is the mean of a differentiable crop out of a map of the coverage,
        so its gradient with respect to the crop's place and size says where to move. What must stay
        inside lies between the corners (2,) ``low`` and (2,) ``high``.
        """
        start = (low + high) / 2
        least = _half_height(low, high, start, self._aspect)
        unit = self.widest(start, least)  # so that steps are as large as the crop
        if unit == least:
            return start  # the subject needs it all: about any other centre the crop is larger
        reach = torch.stack([start - low, high - start]) / unit
        far = 1 + float((self._bounds() - start).abs().max()) / unit
        ticks = ((torch.arange(MAP, dtype=torch.float64) + 0.5) / MAP * 2 - 1) * far * unit
        cover = self.at(start + torch.cartesian_prod(ticks, ticks).flip(1)).reshape(1, MAP, MAP)
        place = torch.zeros(3, dtype=torch.float64, requires_grad=True)  # centre, log of half
        descent = torch.optim.Adam([place], lr=0.03)
        for _ in range(300):
            half = torch.stack([place[2].exp() * self._aspect, place[2].exp()])
            box = (torch.cat([place[:2] - half, place[:2] + half]) + far) * (MAP / (2 * far))
            invented = 1 - geometry.crop(cover, box, (48, 48)).mean()
            cut = torch.relu(reach - (half + torch.stack([place[:2], -place[:2]])))
            loss = 100 * torch.relu(invented - self._allowed) + 20 * cut.sum() - place[2]
            (place.grad,) = torch.autograd.grad(loss, place)
            descent.step()
        return start + place[:2].detach() * unit

    def _bounds(self) -> Tensor:
        """Return the (2, 2) corners of what all photos cover, without the furthest twentieth."""
        boxes = torch.cat([torch.zeros_like(self._limits), self._limits], dim=-1)[:, 0]
        bounds = _bounds(geometry.inverse(self._photo_from_level), boxes)
        low = torch.quantile(bounds[:, :2], 0.05, dim=0)
        return torch.stack([low, torch.quantile(bounds[:, 2:], 0.95, dim=0)])
