"""The score: how far the subject's keypoints lie from their mean places, over a film."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from alignimation_core.api.data import EYES, TORSO
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.sampling import spread
from alignimation_core.scoring.judges import Judge
from alignimation_core.scoring.looking import Item, Look, Looking, Pixels

MOST = 100
"""Frames that are looked at, at most."""
ONE_IN = 20
"""Frames of which a run has one looked at: two looks at each cost a tenth of detection."""
LEAST = 6
"""Frames that a run has looked at in any case, where there are so many."""

WORDS = ((0.03, "excellent"), (0.06, "good"), (0.1, "acceptable"))
"""Up to which mean distance, in percent of the frame's height, AgeLapse calls a film so."""

Places = npt.NDArray[np.float64]
Score = dict[str, Any]


class Scorer:
    """Has a sample of frames looked at, and makes the score of what was seen.

    Args:
        judge: who looks.
        count: how many frames there are.
        most: how many to look at, at most.
        seed: of what the judge draws at random.

    Attributes:
        sample: the 0-based numbers of the frames to look at, ascending.
    """

    def __init__(
        self,
        judge: Judge,
        count: int,
        most: int = MOST,
        seed: int = 0,
    ) -> None:
        self._judge, self._count, self._seed = judge, count, seed
        self.sample: list[int] = spread(count, most).tolist()
        self._looks: list[Look] = []

    @classmethod
    def of_run(cls, judge: Judge, count: int, seed: int) -> Scorer:
        """Return the scorer of a run's frames, of so many."""
        return cls(judge, count, min(MOST, max(LEAST, count // ONE_IN)), seed)

    def looking(
        self, make: Callable[[list[Item]], Sequence[Pixels | PhotoError]], cores: int
    ) -> Looking[Item]:
        """Return the work of making frames and looking at them; see ``Looking``."""
        return Looking(make, self._judge, self._seed, cores)

    def take(self, look: Look) -> None:
        """Take what was seen on a frame."""
        self._looks.append(look)

    def score(self) -> Score:
        """Return the score, as the run record holds it."""
        judge, looks = self._judge, self._looks
        seen = [look for look in looks if np.isfinite(look.places[0]).any()]
        base: Score = {
            "detector": judge.detector.name,
            "independent": judge.independent,
            "keypoints": [*judge.keypoints],
            "frames": len(looks),
            "seen": len(seen),
            "of": self._count,
        }
        if len(seen) < 2:
            fault = next((look.fault for look in looks if look.fault), None)
            what = f"{judge.detector.name} sees the subject in {len(seen)} of {len(looks)} frames"
            return {**base, "note": fault or f"{what}, and two are needed"}
        places = np.stack([look.places for look in seen])
        unseen = 1 - len(looks) / self._count
        return {**base, **_measured(places, judge.keypoints, seen[0].size[0], unseen)}


def _measured(places: Places, names: Sequence[str], height: int, unseen: float) -> Score:
    """Return what (F, 2, K, 2) places tell, where F frames have each keypoint looked at twice.

    ``unseen``: the share of the film's frames at which nobody looked.
    """
    means = _mean(places, 0)
    apart = places - means
    residuals = _mean(apart, 1)  # each look from its own mean: a shift that both share is none
    distances = _lengths(residuals)
    noise = _lengths((apart[:, 0] - apart[:, 1]) / 2)
    p95 = float(torch.from_numpy(distances).quantile(0.95))  # numpy's imports numpy.ma for it
    pixels = {"mean": float(distances.mean()), "p95": p95}
    pixels["noise"] = float(noise.mean()) if len(noise) else float("nan")
    lengths = np.hypot(residuals[..., 0], residuals[..., 1])
    of_frames = _mean(lengths, 1)
    pixels["error"] = float(of_frames.std(ddof=1) * math.sqrt(unseen / len(of_frames)))
    size = _size(dict(zip(names, _mean(means, 0).tolist(), strict=True)))
    mean = 100 * pixels["mean"] / height
    word = next((word for limit, word in WORDS if mean <= limit), "unsteady")
    return {
        "percent_of_size": _percent(pixels, size),
        "percent_of_height": _percent(pixels, height),
        "word": word,
    }


def _percent(pixels: Mapping[str, float], whole: float) -> dict[str, float | None]:
    return {
        name: round(100 * value / whole, 4) if np.isfinite(value) and whole > 0 else None
        for name, value in pixels.items()
    }


def _mean(values: Places, axis: int) -> Places:
    """Return the mean of what is known along an axis; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis, dtype=float)
    sums = np.where(known, values, 0).sum(axis)
    means: Places = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return means


def _lengths(vectors: Places) -> Places:
    """Return the lengths, flat, of those vectors that are known."""
    lengths = np.hypot(vectors[..., 0], vectors[..., 1]).ravel()
    return lengths[np.isfinite(lengths)]


def _size(points: Mapping[str, Sequence[float]]) -> float:
    """Return the subject's size: its torso's height, or how far its keypoints are apart at most."""
    known = {name: np.array(point) for name, point in points.items() if np.isfinite(point).all()}
    if known.keys() >= {*TORSO}:
        shoulders, hips = known[TORSO[0]] + known[TORSO[1]], known[TORSO[2]] + known[TORSO[3]]
        return float(np.hypot(*(shoulders - hips))) / 2
    every = known.values()
    return max((float(np.hypot(*(a - b))) for a in every for b in every), default=0.0)


def line(score: Mapping[str, Any]) -> str:
    """Return a score in one line."""
    if "note" in score:
        return f"no score: {score['note']}"
    size, height = score["percent_of_size"], score["percent_of_height"]
    error = f" (±{height['error']:.3f})" if height["error"] else ""
    parts = f"{height['mean']:.3f} %{error} of the height (95 %: {height['p95']:.3f} %)"
    if size["mean"] is not None:
        parts += f", {size['mean']:.2f} % of {_whose(score['keypoints'])}"
    told = f"score: {score['word']}; keypoints lie {parts} from their mean places"
    seen = f"seen by {score['detector']} on {score['seen']} of {score['of']} frames"
    own = "" if score["independent"] else ", which aligned them and does not see its own errors"
    noise = "" if size["noise"] is None else f"; its noise: {height['noise']:.3f} %"
    return f"{told}; {seen}{own}{noise}"


def _whose(names: Sequence[str]) -> str:
    whole = {EYES: "the eye distance", TORSO: "the torso"}
    return whole.get(tuple(names), "the subject's size")
