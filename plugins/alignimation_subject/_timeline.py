"""What one person looks like at each time: the mean of the photos nearest in time."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from alignimation_subject._faces import Faces

YEAR = 365.25 * 86400.0  # seconds
BIN = 0.25  # years that are taken for one time
BINS = 256  # most of them
BANDWIDTHS = 0.5, 1.0, 2.0, 4.0, 8.0  # years over which weights fall to 1 / e
ENOUGH = 8.0  # photos for a mean
REACH = 8  # bins with faces in them over which a person is followed without being seen
AGES = 16  # most times at which a photo without a date is compared


class Timeline:
    """The faces in bins of time: a single one where dates are missing or within a year.

    A face is compared with the faces nearest in time, a face without a date with those of any time.
    ``bins`` is (F,) int64, -1 for a face without a date.
    """

    def __init__(self, faces: Faces) -> None:
        self.faces = faces
        years = (faces.seconds / YEAR)[faces.photos]
        dated = years.isfinite()
        start, end = (
            (float(years[dated].min()), float(years[dated].max())) if dated.any() else (0, 0)
        )
        self._start, self._width, count = start, 1.0, 1
        self.bins = torch.zeros(len(faces), dtype=torch.int64)
        if end - start > 1:
            self._width = max(BIN, float(end - start) / (BINS - 1))
            self.bins = torch.where(dated, (years - start).nan_to_num() / self._width, -1).long()
            count = int(self.bins.max()) + 1
        self.count = count
        self._order = self.bins.argsort(stable=True)
        in_order = self._order.equal(torch.arange(len(faces)))
        self._vectors = faces.vectors if in_order else faces.vectors[self._order]
        ends = torch.searchsorted(self.bins[self._order], torch.arange(-1, count), right=True)
        self._slices = [slice(a, b) for a, b in pairwise([0, *ends.tolist()])]
        counts = faces.first.diff()[faces.photos].double()
        self._alone = 1 / counts  # the weight of a face and of its copies
        self._photos = faces.weights * counts  # how many photos a face stands for
        at = torch.arange(count).double() * self._width
        self._apart = (at[:, None] - at).abs()
        self._filled = torch.bincount(self.bins[faces.usable].clamp(min=0), minlength=count) > 0

    def bin_of(self, seconds: Tensor, vectors: Tensor) -> Tensor:
        """Return the bins of other faces: those without a date where the most similar face is."""
        nearest = self.bins[(vectors @ self.faces.vectors.T).argmax(1)].clamp(min=0)
        years = (seconds / YEAR - self._start) / self._width
        return (
            torch.where(years.isfinite(), years.nan_to_num(), nearest)
            .long()
            .clamp(0, self.count - 1)
        )

    def counts(self, own: Tensor) -> Tensor:
        """Return the photos of (F,) some faces in each bin, (B,) float64, copies counted once."""
        some = own & (self.bins >= 0)
        return torch.bincount(self.bins[some], self._photos[some], minlength=self.count)

    def near(self, at: int) -> Tensor:
        """Return which faces are of about the same time as a bin, (F,) bool."""
        rank = self._filled.cumsum(0)
        near = (rank - rank[at]).abs() <= REACH
        return near[self.bins] & (self.bins >= 0)

    def unseen(self, own: Tensor, others: Tensor) -> Tensor:
        """Return how many years each bin is from those of a person, (B,) float64."""
        occupied = self.counts(own) > 0
        occupied[others] = True
        return self._apart[:, occupied].amin(1) if occupied.any() else self._apart.amax(1)

    def within_reach(self, own: Tensor, others: Tensor) -> Tensor:
        """Return (B,) bool: the bins that few others with faces lie between it and a person's.

        Args:
            own: (F,) bool, the faces of the person.
            others: (A,) int64, further bins in which the person is.
        """
        occupied = self.counts(own) > 0
        occupied[others] = True
        rank = (self._filled | occupied).cumsum(0)
        return ((rank[:, None] - rank[occupied]).abs() <= REACH).any(1)

    def total(self, own: Tensor, bins: Tensor) -> Tensor:
        """Return the weighted sum of a person's (F,) own faces in each of N bins, (N, D)."""
        weights = torch.where(own, self.faces.weights, 0.0).float()[self._order]
        total = torch.zeros(len(bins), self._vectors.shape[1], dtype=torch.float64)
        for row, place in enumerate(bins.tolist()):
            part = self._slices[place + 1]
            parts = torch.split(weights[part], 512), torch.split(self._vectors[part], 512)
            for some, faces in zip(*parts, strict=True):
                total[row] += some @ faces  # few enough for float32
        return total

    def smoothed(self, total: Tensor, photos: Tensor) -> Tensor:
        """Return sums at each time, those near in time weighted most, (B, D) float64.

        Args:
            total: (B, D) float64, the sum of a person's faces in each bin.
            photos: (B,) float64, how many photos there are in each.
        """
        occupied = photos > 0
        if self.count == 1 or not occupied.any():
            return total
        farther = (self._apart - self._apart[:, occupied].amin(1, keepdim=True)).clamp(min=0)
        kernel = torch.zeros_like(farther)
        left = torch.ones(self.count, dtype=torch.bool)
        for years in BANDWIDTHS:
            wide = torch.exp(-farther / years)
            kernel[left] = wide[left]
            left &= wide @ photos < ENOUGH
        return kernel @ total

    def score(self, scores: Tensor, centres: Tensor, bins: Tensor) -> None:
        """Write the similarity of every face in N bins to a person at its time.

        Args:
            scores: (F,) float32, in which it is written.
            centres: (B, D) float32 of unit length, the person at each time.
            bins: (N,) int64.
        """
        for place in bins.tolist():
            part = self._slices[place + 1]
            scores[self._order[part]] = self._vectors[part] @ centres[place]
        undated = self._slices[0]
        if undated.stop:
            some = centres[:: -(-self.count // AGES)]
            scores[self._order[undated]] = (self._vectors[undated] @ some.T).amax(1)

    def without_itself(self, scores: Tensor, own: Tensor, sums: Tensor) -> Tensor:
        """Return the similarity of each of the (F,) own faces to the others of them, (N,).

        A face that is alone keeps the similarity to itself.
        """
        inside = own.nonzero()[:, 0]
        bins = self.bins[inside]
        length = sums.norm(dim=1)[bins.clamp(min=0)]
        weight = torch.where(bins >= 0, self._alone[inside], 0.0)
        dot = scores[inside].double() * length
        rest = (length**2 - 2 * weight * dot + weight**2).clamp(min=0).sqrt()
        alone = rest < 1e-6 * length
        return torch.where(alone, scores[inside].double(), (dot - weight) / rest.clamp(min=1e-12))


class Mean:
    """A person's mean at each time, kept up to date as faces come and go.

    Args:
        line: all faces.
        vectors: (A, D) float32, faces of the person beside those.
        at: (A,) int64, their bins.

    Attributes:
        sums: (B, D) float64, the person at each time.
        scores: (F,) float32, the cosine similarity of every face to the person at its time.
    """

    def __init__(self, line: Timeline, vectors: Tensor, at: Tensor) -> None:
        self._line = line
        self._every = torch.arange(line.count)
        self._own = torch.zeros(len(line.faces), dtype=torch.bool)
        self._total = torch.zeros(line.count, line.faces.vectors.shape[1], dtype=torch.float64)
        self._given = self._total.index_add(0, at, vectors.double())
        ones = torch.ones(len(at), dtype=torch.float64)
        self._photos = torch.zeros(line.count, dtype=torch.float64).index_add(0, at, ones)
        self._centres = torch.zeros_like(self._total, dtype=torch.float32)
        self.sums, self.scores = self._total, torch.zeros(len(line.faces))

    def update(self, own: Tensor, tolerance: float = 0.0) -> None:
        """Take other faces, (F,) bool; what moves less than the tolerance is left as it is."""
        line = self._line
        bins = line.bins[(own != self._own) & (line.bins >= 0)]
        changed = torch.bincount(bins, minlength=line.count).nonzero()[:, 0]
        self._total[changed] = line.total(own, changed)
        self._own = own
        self.sums = line.smoothed(self._total + self._given, line.counts(own) + self._photos)
        centres = torch.nn.functional.normalize(self.sums, dim=1).float()
        moved = (centres - self._centres).norm(dim=1) >= tolerance
        self._centres[moved] = centres[moved]
        line.score(self.scores, self._centres, self._every[moved])
