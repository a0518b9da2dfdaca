"""Anatomy of named keypoints: sides, rigid parts, mean proportions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from alignimation_core import Subject
from alignimation_core.api.data import EYES, TORSO

Point = tuple[float, float]
Box = tuple[float, float, float, float]

_OTHER_SIDE = {"left": "right", "right": "left"}

_CLEARLY = 1.25
"""How many times better the other side must be seen to be taken: frontal views stay as asked."""


def _pair(name: str, x: float, y: float) -> dict[str, Point]:
    return {f"left_{name}": (x, y), f"right_{name}": (-x, y)}


_MEAN_SHAPE: Mapping[str, Point] = {
    "nose": (0.0, 0.085),
    **_pair("eye", 0.0185, 0.064),
    "mouth_left": (0.0153, 0.107),
    "mouth_right": (-0.0153, 0.107),
    **_pair("ear", 0.043, 0.070),
    **_pair("shoulder", 0.129, 0.182),
    **_pair("elbow", 0.129, 0.370),
    **_pair("wrist", 0.129, 0.515),
    **_pair("hip", 0.0955, 0.470),
    **_pair("knee", 0.0955, 0.715),
    **_pair("ankle", 0.0955, 0.961),
}
"""A standing person from the front, in units of the stature, y down from the crown.

Body: Drillis and Contini, Body Segment Parameters, 1966, as in Winter, Biomechanics and Motor
Control of Human Movement, figure 4.1. Face: interpupillary distance of 63 mm at 1.70 m, the rest
in the proportions of the five-point template of ArcFace (Deng et al., CVPR 2019).
"""


def counterpart(name: str) -> str | None:
    """Return the same keypoint of the body's other side, ``right_hip`` for ``left_hip``."""
    swapped = "_".join(_OTHER_SIDE.get(word, word) for word in name.split("_"))
    return swapped if swapped != name else None


def shown_side(subject: Subject, chosen: Sequence[str], min_score: float) -> tuple[str, ...]:
    """Return the keypoints chosen, or their counterparts where those are clearly better seen.

    One decision for the whole subject, by the sum of the scores, so that never two sides are
    mixed. Keypoints that lie on no side, or that are chosen on both, stay as they are.
    """
    swapped = tuple(
        other if (other := counterpart(name)) and other not in chosen else name for name in chosen
    )

    def total(names: Sequence[str]) -> float:
        scores = (subject.keypoint_scores.get(name, 0.0) for name in names)
        return sum(score for score in scores if score >= min_score)

    one_sided = [i for i, name in enumerate(chosen) if swapped[i] != name]
    here, there = (total([names[i] for i in one_sided]) for names in (chosen, swapped))
    return swapped if there > _CLEARLY * here else tuple(chosen)


def rigidity(chosen: Sequence[str]) -> Mapping[str, float]:
    """Return the weights of the parts that move least: the trunk's, else the eyes'.

    Mouths smile, arms wave, and a head that turns moves the nose between the eyes: over real series
    of faces the eyes scatter by a sixth less when they alone decide than with nine times the
    weight of the rest. What else there is decides where an eye was not found.

    Of bodies, three times the weight on the trunk lies between equal weights, which are best while
    nothing moves, and none on the limbs, which do; of three photos or more, a run learns what to
    believe.
    """
    if any(name in TORSO for name in chosen):
        return dict.fromkeys(TORSO, 3.0)
    return dict.fromkeys(EYES, 400.0)


def spread_of(found: Mapping[str, Point], weights: Mapping[str, float], box: Box) -> float:
    """Return the size of the subject: the spread that all its chosen keypoints would have.

    The spread is the weighted root mean square distance from the weighted centre. That of the
    keypoints found is multiplied by how much wider the mean shape is spread over all chosen ones
    than over these, so that one lost wrist does not make the subject smaller. Keypoints unknown
    to the mean shape are not made up for. Where a single keypoint tells of no size, it is a
    quarter of the box's diagonal. Places and ``box`` are in one unit, any; ``weights`` are those of
    all keypoints chosen, the same for every photo.
    """
    spread = _rms(found, weights)
    diagonal = math.hypot(box[2] - box[0], box[3] - box[1])
    if spread <= 1e-3 * diagonal:
        return diagonal / 4
    if len(found) < len(weights) and all(name in _MEAN_SHAPE for name in weights):
        part = {name: _MEAN_SHAPE[name] for name in found}
        whole = {name: _MEAN_SHAPE[name] for name in weights}
        return spread * _rms(whole, weights) / _rms(part, weights)
    return spread


def _rms(points: Mapping[str, Point], weights: Mapping[str, float]) -> float:
    total = sum(weights[name] for name in points)
    if not total:
        return 0.0
    x, y = (sum(weights[n] * at[axis] for n, at in points.items()) / total for axis in (0, 1))
    squares = (weights[n] * ((u - x) ** 2 + (v - y) ** 2) for n, (u, v) in points.items())
    return math.sqrt(sum(squares) / total)
