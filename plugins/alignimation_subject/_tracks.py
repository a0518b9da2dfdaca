"""One individual's faces, followed through time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from alignimation_subject._faces import Faces
from alignimation_subject._timeline import Mean, Timeline

NUCLEUS = 8  # faces from which a person is followed
ROUNDS = 100
AGEING = math.radians(5)  # what a person changes in a year at most, for the core
SOON, LONGEST = 0.25, 0.75  # years out of sight from and up to which that is allowed for
NEGLIGIBLE = 1e-4  # movement of a mean that is not followed at once
STRICT = 0.95  # of the way from the similarity needed to 1: no core is stricter
DEVIATIONS = 3.5  # from the median, within which a face is beyond doubt
PRIOR = 5.0  # photos that what is known of all persons counts as much as
USUAL = 0.2  # of the way from the similarity needed to 1: the deviation of most persons
WITHIN = 0.05  # the same, of faces that are alike beyond doubt
ROUNDING = 1e-6  # what float32 may take from the similarity of a vector to itself


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """Faces that are known to be of one person: (A, D) vectors of unit length, (A,) their bins."""

    vectors: Tensor
    bins: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One person at all times.

    Attributes:
        core: (F,) bool, the faces that are alike beyond doubt.
        sums: (B, D) float64, their sums at each time.
        scores: (F,) float32, similarity of every face to the person at its time.
        reached: (B,) bool, the bins in or near which the person was found.
    """

    core: Tensor
    sums: Tensor
    scores: Tensor
    reached: Tensor

    def near(self, line: Timeline) -> Tensor:
        """Return the scores, (F,), -inf at times at which the person was not found."""
        near = self.reached[line.bins] | (line.bins < 0)
        return torch.where(near, self.scores, -torch.inf)


@dataclass(frozen=True, slots=True)
class Spread:
    """How similar one person's faces are to their mean: median, and deviation below it."""

    median: float
    deviation: float

    @classmethod
    def of(cls, similarity: Tensor, usual: float) -> Spread:
        """Estimate it; of few faces, the deviation is nearly the ``usual`` one."""
        middle = similarity.double().median()
        below = middle - similarity[similarity <= middle].double()
        robust = 1.4826 * float(below.median())
        count = len(similarity)
        variance = (PRIOR * usual**2 + count * robust**2) / (PRIOR + count)
        return cls(float(middle), variance**0.5)

    def threshold(self, deviations: float, floor: float, ceiling: float) -> float:
        """Return what is so many deviations below the median, between two bounds."""
        return min(max(self.median - deviations * self.deviation, floor), ceiling)


def nothing(faces: Faces) -> Anchors:
    """Return no anchors."""
    return Anchors(faces.vectors[:0], torch.zeros(0, dtype=torch.int64))


def nucleus(line: Timeline, vector: Tensor, at: int, needed: float, usable: Tensor) -> Tensor:
    """Return the few faces that are most similar to one, in different photos, (F,) bool.

    Args:
        line: all faces.
        vector: (D,) of unit length.
        at: its bin, near which the photos are; -1 for any.
        needed: the least similarity.
        usable: (F,) bool, the faces among which they are.
    """
    faces = line.faces
    if at >= 0:
        usable = usable & line.near(at)
    similarity = torch.where(usable, faces.vectors @ vector, -torch.inf)
    best = faces.best(similarity)
    best = best[similarity[best] >= needed - ROUNDING]
    nearest = best[similarity[best].argsort(descending=True, stable=True)]
    chosen: dict[int, int] = {}
    for face, content in zip(
        nearest.tolist(), faces.contents[faces.photos[nearest]].tolist(), strict=True
    ):
        chosen.setdefault(content, face)
        if len(chosen) > NUCLEUS:
            break
    own = torch.zeros(len(faces), dtype=torch.bool)
    own[list(chosen.values())] = True
    return own


def follow(line: Timeline, start: Tensor, anchors: Anchors, needed: float, usable: Tensor) -> Track:
    """Follow a person from a few faces to all that are alike beyond doubt.

    Each round takes the best face of each photo that is as similar to the person, at its time, as
    the person's own faces are, until the same faces remain. A photo farther in time comes later,
    when the person is known from photos nearer to it.

    Args:
        line: all faces.
        start: (F,) bool, the faces to start from.
        anchors: faces of the person that stay whatever is found.
        needed: the least similarity.
        usable: (F,) bool, the faces that may be the person's.
    """
    faces = line.faces
    own = start
    ceiling = needed + STRICT * (1 - needed)
    mean = Mean(line, anchors.vectors, anchors.bins)
    for _ in range(ROUNDS):
        mean.update(own, NEGLIGIBLE)
        scores = mean.scores
        reached = line.within_reach(own, anchors.bins)
        alike = line.without_itself(scores, own, mean.sums)
        strict = needed
        if len(alike):
            spread = Spread.of(alike, WITHIN * (1 - needed))
            strict = spread.threshold(DEVIATIONS, needed, ceiling)
        allowed = AGEING * (line.unseen(own, anchors.bins).clamp(SOON, LONGEST) - SOON)
        least = (math.acos(min(strict, 1.0)) + allowed).cos().clamp(min=needed).float()[line.bins]
        near = reached[line.bins] | (line.bins < 0)
        best = faces.best(torch.where(usable & near, scores, -torch.inf))
        found = torch.zeros_like(own)
        found[best[scores[best] >= least[best] - ROUNDING]] = True
        found &= usable & near
        if found.equal(own) or not (found.any() or len(anchors.bins)):
            break
        own = found
    mean.update(own)
    return Track(own, mean.sums, mean.scores, line.within_reach(own, anchors.bins))
