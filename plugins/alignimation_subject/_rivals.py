"""Others who look so much like a person that a threshold does not keep them apart."""

from __future__ import annotations

import torch
from torch import Tensor

from alignimation_core.api.sampling import spread
from alignimation_subject import _tracks
from alignimation_subject._timeline import Timeline
from alignimation_subject._tracks import Track

MOST = 2  # rivals of one person
CANDIDATES = 1024  # faces from which a rival is looked for
FEW = 4  # least photos of a rival
TOGETHER = 3  # photos that show both: two persons
TIMES = 4  # times at which both are found, to be told apart by looks alone
APART = 6.0  # deviations between two who are told apart by looks alone
NEAREST = 8  # faces whose similarity says how dense it is about one


def rivals(line: Timeline, person: Track, needed: float) -> list[Track]:
    """Find those who are similar enough to be taken for a person, and are somebody else.

    Two groups of faces that look alike may be one person, with glasses and without. They are two
    where both are in the same photos, or where both are found at the same times and nobody is
    between them.
    """
    faces = line.faces
    beside = faces.others(person.core.nonzero()[:, 0])
    free = faces.usable & ~person.core & beside & (person.scores >= needed)
    found: list[Track] = []
    while len(found) < MOST:
        inside = free.nonzero()[:, 0]
        if faces.distinct(inside) < FEW:
            break
        seed = _densest(line, inside)
        at = int(line.bins[seed])
        start = _tracks.nucleus(line, faces.vectors[seed], at, needed, free)
        track = _tracks.follow(line, start, _tracks.nothing(faces), needed, free)
        if not _differ(line, person, track):
            break
        found.append(track)
        free &= ~track.core & (track.scores < person.scores)
    return found


def _densest(line: Timeline, inside: Tensor) -> int:
    """Return the one of some faces whose nearest ones in other photos are nearest."""
    faces = line.faces
    some = inside[spread(len(inside), CANDIDATES)]
    similar = faces.vectors[some] @ faces.vectors[some].T
    contents = faces.contents[faces.photos[some]]
    similar[contents[:, None] == contents] = -1.0
    nearest = similar.topk(min(NEAREST, len(some)), dim=1).values
    return int(some[nearest.mean(1).argmax()])


def _differ(line: Timeline, person: Track, other: Track) -> bool:
    faces = line.faces
    theirs = other.core.nonzero()[:, 0]
    if faces.distinct(theirs) < FEW:
        return False
    with_both = theirs[(faces.beside(person.core.nonzero()[:, 0]) >= 0)[theirs]]
    if faces.distinct(with_both) >= TOGETHER:
        return True
    both = (line.counts(person.core) > 0) & (line.counts(other.core) > 0)
    if int(both.sum()) < TIMES:
        return False
    lead = _lead(line, person, other), -_lead(line, other, person)
    middles = [each.median() for each in lead]
    deviation = torch.cat([(a - b).abs() for a, b in zip(lead, middles, strict=True)]).median()
    return float(middles[0] - middles[1]) >= APART * 1.4826 * float(deviation)


def _lead(line: Timeline, own: Track, other: Track) -> Tensor:
    """Return how much more similar the core of one is to its others than to the other person."""
    mine = line.without_itself(own.scores, own.core, own.sums)
    return mine - other.scores[own.core]
