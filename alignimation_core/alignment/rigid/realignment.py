"""Bodies aligned by their rigid parts: by what of keypoints and outlines agrees over the series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

import torch
from torch import Tensor

from alignimation_core.alignment.alignment import Alignment
from alignimation_core.alignment.consensus.agreement import Keypoints, keypoints_that_count
from alignimation_core.alignment.rigid.outlines import Masked, Masks, Outlines
from alignimation_core.alignment.rigid.settlement import Parts, settle
from alignimation_core.alignment.subjects import FramedSubject
from alignimation_core.api import geometry
from alignimation_core.api.data import TORSO
from alignimation_core.api.sampling import spread
from alignimation_core.api.stages import TargetBuilder, TransformModel
from alignimation_core.store.fits import Fits

FEWEST = 3
"""Photos of which something can be learned."""
INDEPENDENT = 100.0
"""Places that a whole outline counts as."""
HALVES = ((0, -1), (0, 1), (-1, 0), (1, 0))
"""Directions in which the half of the outlines lies by which an alignment may begin."""
OF_TRIALS = 24
"""Photos by which it is chosen how to begin, at most."""
FIRST_REACHES = (0.1, 0.05, 0.05)
REACHES = (0.05, 0.025)
"""How far outlines are looked for about their mean, in units, one pass after the other."""

Half = tuple[float, float]


def series_of(
    alignment: Alignment, builder: TargetBuilder, model: TransformModel, kept: Fits
) -> Series | None:
    """Return the parts of a body in photos that are aligned.

    They are the keypoints that count in the target, shoulders or hips among them, and the masks'
    outlines. None where there are too few photos, or the target is made of anything else.
    """
    aligned = alignment.aligned
    needed = builder.requires()
    if len(aligned) < FEWEST or "pixels" in needed:
        return None
    found = {name for item in aligned for name in item.subject.keypoints}
    if "masks" not in needed and found.isdisjoint(TORSO):
        return None
    subjects = [(item.photo, item.subject) for item in aligned]
    keypoints = keypoints_that_count(subjects, builder, model, kept)
    of_mask = keypoints is None and "masks" in needed
    if not of_mask and (keypoints is None or set(TORSO).isdisjoint(keypoints.names)):
        return None
    photos = [(item.photo, item.subject.mask) for item in aligned]
    return Series(photos, keypoints, _parameters(model))


def realign(
    alignment: Alignment, series: Series, kept: Fits, step: Callable[[], None]
) -> Alignment:
    """Move aligned photos of a body so that its rigid parts lie on each other.

    The moves are similarities, without turns and scales where the transform model knows none, and
    the reference stays where it is. They are kept in the store. ``step`` is called for each photo.
    """
    aligned = alignment.aligned
    unit_from_reference = _unit_from_photo(alignment.reference)
    start = unit_from_reference @ torch.stack([item.reference_from_photo for item in aligned])
    key = series.digest(start)
    unit_from_photo = kept.recall_series("rigid", key)
    if unit_from_photo is None:
        unit_from_photo = series.settled(start)
        kept.keep_series("rigid", key, unit_from_photo)
    # a mean may have outlived the photo that it was drawn on: then the first stays
    photo = alignment.reference.photo
    own = next((i for i, item in enumerate(aligned) if item.photo is photo), 0)
    matrices = aligned[own].reference_from_photo @ geometry.inverse(unit_from_photo[own])
    moved = zip(aligned, (matrices @ unit_from_photo).unbind(), strict=True)
    for _ in aligned:
        step()
    return replace(
        alignment, aligned=[replace(item, reference_from_photo=matrix) for item, matrix in moved]
    )


def _parameters(model: TransformModel) -> list[int]:
    """Return which of ``_moves`` a model allows."""
    return [0, 1, *([2] if model.turns else []), *([3] if model.changes_scale else [])]


def _unit_from_photo(reference: FramedSubject) -> Tensor:
    x0, y0, x1, y1 = reference.subject.box
    scale = 1 / max(x1 - x0, y1 - y0, 1.0)
    return geometry.scaling(scale, scale) @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)


class Series:
    """The parts of a body in all photos; ``parameters`` are those of ``_moves`` that may change."""

    def __init__(
        self, photos: Sequence[Masked], keypoints: Keypoints | None, parameters: list[int]
    ) -> None:
        self.photos, self._masks = photos, Masks(photos)
        self._keypoints, self._parameters = keypoints, parameters

    def digest(self, unit_from_photo: Tensor) -> str:
        """Return the digest, hex, of everything that ``settled`` depends on, but the code."""
        told = sha256(repr(self._parameters).encode() + unit_from_photo.numpy().tobytes())
        if self._keypoints is not None:
            for tensor in (self._keypoints.points, self._keypoints.weights):
                told.update(repr(tensor.shape).encode() + tensor.numpy().tobytes())
        for photo, mask in self.photos:
            told.update(repr((photo.width, photo.height)).encode())
            if mask is not None:
                told.update(repr((mask.height, mask.width, mask.image_from_mask)).encode())
                told.update(sha256(mask.data).digest())
        return told.hexdigest()

    def settled(self, unit_from_photo: Tensor) -> Tensor:
        """Return where photos lie, (N, 3, 3), once all parts have a say by how rigid they are.

        What grows may pull all else with it, and then all parts seem a little loose. So the
        alignment begins as it is, or by the half of the outlines by which parts end up the most
        rigid; a sample of the photos tells which.
        """
        if not self._masks:
            unit_from_photo = self.passes(unit_from_photo)[0]
        else:
            some = spread(len(self.photos), OF_TRIALS)
            whole = len(some) == len(self.photos)
            trial = self if whole else self._of(some)
            ends = trial.trials(unit_from_photo[some])
            begun = min(ends, key=lambda half: ends[half][1])
            unit_from_photo, _ = ends[begun] if whole else self.passes(unit_from_photo, begun)
        return self._pass(unit_from_photo, REACHES[-1])[0]

    def trials(self, unit_from_photo: Tensor) -> dict[Half | None, tuple[Tensor, float]]:
        """Return what ``passes`` gives without and with each half."""
        first = self._masks.outlines(unit_from_photo, FIRST_REACHES[0])
        return {half: self.passes(unit_from_photo, half, first) for half in (None, *HALVES)}

    def _of(self, some: Tensor) -> Series:
        if (keypoints := self._keypoints) is not None:
            points, weights = keypoints.points[some], keypoints.weights[some]
            seen = (weights > 0).any(0)  # nothing is known of where the others lie
            names = [
                name for name, each in zip(keypoints.names, seen.tolist(), strict=True) if each
            ]
            keypoints = Keypoints(names, points[:, seen], weights[:, seen], keypoints.firm[seen])
        return Series([self.photos[i] for i in some.tolist()], keypoints, self._parameters)

    def passes(
        self, unit_from_photo: Tensor, half: Half | None = None, first: Outlines | None = None
    ) -> tuple[Tensor, float]:
        """Return where photos lie once settled from coarse to fine, and what that costs.

        With a ``half``, the outlines' alone begins; then all parts have a say. ``first`` are the
        outlines before any pass, where they are known.
        """
        cost = 0.0
        for reach in FIRST_REACHES:
            unit_from_photo, _ = self._pass(unit_from_photo, reach, half, first)
            first = None
        for reach in REACHES:
            unit_from_photo, cost = self._pass(unit_from_photo, reach)
        return unit_from_photo, cost

    def _pass(
        self,
        unit_from_photo: Tensor,
        reach: float,
        half: Half | None = None,
        known: Outlines | None = None,
    ) -> tuple[Tensor, float]:
        """Settle once, by a ``half`` of the outlines alone if one is given."""
        kinds = []
        if self._keypoints is not None and half is None:
            kinds.append(self._of_keypoints(self._keypoints, unit_from_photo))
        outlines = known or self._masks.outlines(unit_from_photo, reach)
        if outlines is not None:
            kinds.append(self._of_outlines(outlines if half is None else outlines.towards(*half)))
        kinds = [kind for kind in kinds if kind.weights.any()]
        if not kinds:
            return unit_from_photo, 0.0
        some, deviations = settle(kinds)
        cost = sum(kind.cost(each, reach) for kind, each in zip(kinds, deviations, strict=True))
        moves = torch.zeros(len(some), 4, dtype=torch.float64)
        moves[:, self._parameters] = some
        return _similarities(moves) @ unit_from_photo, cost

    def _of_keypoints(self, keypoints: Keypoints, unit_from_photo: Tensor) -> Parts:
        """Return keypoints as parts: by name a say for all photos, by score one in each."""
        places = geometry.apply(unit_from_photo, keypoints.points)
        found = keypoints.weights > 0
        usual = torch.where(found, keypoints.weights, torch.nan).nanmedian(0).values
        weights = (keypoints.weights / usual).clamp(max=1.0)
        mean = (weights[..., None] * places).sum(0) / weights.sum(0)[:, None]
        off = torch.where(found[..., None], places - mean, 0.0)
        firmness = usual / usual.median()
        return Parts(off, weights, self._moves(mean), firmness, float(len(mean)))

    def _of_outlines(self, outlines: Outlines) -> Parts:
        """Return outlines as parts; what is often not within reach is not to be relied on."""
        mean, off = outlines.mean, outlines.off
        found = off.isfinite().double()
        moves = torch.einsum("pd,pdm->pm", mean.outwards, self._moves(mean.places))
        firmness = torch.ones(len(moves), dtype=torch.float64)
        off = off.nan_to_num(0.0)[..., None]
        return Parts(off, found * found.mean(0), moves[:, None], firmness, INDEPENDENT)

    def _moves(self, places: Tensor) -> Tensor:
        return _moves(places)[..., self._parameters]


def _moves(places: Tensor) -> Tensor:
    """Return how shifts, a turn and a log scale about (0, 0) move (P, 2) places, (P, 2, 4)."""
    x, y = places.unbind(1)
    one, none = torch.ones_like(x), torch.zeros_like(x)
    return torch.stack([torch.stack([one, none, -y, x], 1), torch.stack([none, one, x, y], 1)], 1)


def _similarities(moves: Tensor) -> Tensor:
    """Return (N, 3, 3) similarities by (N, 4) shifts, turns and log scales."""
    scale = moves[:, 3].exp()
    along, across = scale * moves[:, 2].cos(), scale * moves[:, 2].sin()
    matrices = torch.eye(3, dtype=torch.float64).repeat(len(moves), 1, 1)
    matrices[:, 0, 0] = matrices[:, 1, 1] = along
    matrices[:, 0, 1], matrices[:, 1, 0] = -across, across
    matrices[:, :2, 2] = moves[:, :2]
    return matrices
