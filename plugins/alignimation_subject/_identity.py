"""Who the subject is, and in which photos: the arithmetic behind the selector `identity`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from alignimation_core.api.errors import OptionError
from alignimation_core.api.sampling import spread
from alignimation_subject import _tracks
from alignimation_subject._faces import Faces, gather
from alignimation_subject._rivals import rivals
from alignimation_subject._timeline import Mean, Timeline
from alignimation_subject._tracks import ROUNDING, USUAL, Anchors, Spread, Track

__all__ = ["Faces", "Given", "Person", "Rule", "Verdict", "decide", "gather", "individuals"]

CANDIDATES = 1024  # most faces from which a search for a person starts
CROWD = 2048  # most faces among which the neighbours of a candidate are counted
PERSONS = 8  # most persons that are compared with each other
LESS = 0.25  # of the first one's neighbours: the least of another who is compared
EVERYONE = 40  # most persons that are numbered
ALIKE = 0.9  # of the most frequent person's weight: as frequent for all we know
FORWARD = 3  # least faces that face forward, to be a mean of their own
DEVIATIONS = 4.5  # from the median, beyond which a face is no longer beyond doubt
CEILING = 0.4  # of the way from the similarity needed to 1: the threshold is never higher
LEAD = 0.1  # of the distance between two persons: the least lead of the one over the other


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What is said of the subject beforehand.

    Attributes:
        like: (A, D) float32 of unit length: the subject, in photos of the pile or others; (0, 0)
            where nobody said who it is.
        seconds: (A,) float64, when these were taken, since 1970; NaN where that is not known.
        unlike: (B, D) float32 of unit length: who the subject is not; (0, 0) for nobody.
        number: which of ``individuals``, from 1; None for whoever appears most often.
    """

    like: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    seconds: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    unlike: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    number: int | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """When a face is the subject's.

    Attributes:
        needed: least cosine similarity to the subject.
        margin: least lead in it over the next most similar face of the same photo.
        adapts: whether the subject's own spread may ask for more than ``needed``.
    """

    needed: float
    margin: float
    adapts: bool


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One individual of the pile.

    Attributes:
        track: the individual at all times.
        members: (M,) int64, its faces, at most one in each photo.
        support: the sum of their weights.
        size: the sum of the shares of their photos that they cover.
    """

    track: Track
    members: Tensor
    support: float
    size: float


class Verdict(NamedTuple):
    """The face of one photo that is most like the subject.

    Attributes:
        detection: which one of the photo's it is.
        similarity: to the subject at the photo's time.
        runner_up: the next best similarity in the photo; None without another.
        rival: the similarity to somebody else who is more like it, or as much; None without one.
        unlike: whether it is more like one of those who the subject is not.
    """

    detection: int
    similarity: float
    runner_up: float | None
    rival: float | None
    unlike: bool


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What is known of all photos.

    Attributes:
        persons: the subject, then those who appear about as often.
        threshold: the similarity from which a face is the subject's.
        usual: the least and the greatest similarity of the subject's faces.
        verdicts: one a photo; None in one without a face that can be compared.
    """

    persons: list[Person]
    threshold: float
    usual: tuple[float, float]
    verdicts: list[Verdict | None]


def decide(faces: Faces, given: Given, rule: Rule, facing: Callable[[Tensor], Tensor]) -> Decision:
    """Find the subject, and the face in each photo that is most like it.

    Args:
        faces: of all photos, at least one usable.
        given: what is said of the subject.
        rule: when a face is the subject's.
        facing: of (N,) faces, which look into the camera, (N,) bool.

    Raises:
        OptionError: there is no person of the number given, or nobody but those excluded.
    """
    line = Timeline(faces)
    if len(given.like):
        anchors = Anchors(given.like, line.bin_of(given.seconds, given.like))
        persons = [_from_anchors(line, anchors, rule.needed)]
    else:
        anchors = _tracks.nothing(faces)
        persons = _chosen(line, given, rule.needed)
    subject = persons[0].track
    others = rivals(line, subject, rule.needed)
    inside = subject.core.nonzero()[:, 0]
    forward = inside[facing(inside)]
    scores = subject.scores
    if FORWARD <= len(forward) < len(inside):
        own = torch.zeros_like(subject.core)
        own[forward] = True
        mean = Mean(line, anchors.vectors, anchors.bins)
        mean.update(own)
        scores = mean.scores
    return _judge(line, scores, subject, others, persons, given, rule)


def individuals(faces: Faces, needed: float) -> list[Person]:
    """Find the persons who recur, the most frequent first: their numbers are from 1.

    Args:
        faces: of all photos, at least one usable.
        needed: the least similarity of a person's faces to that person.
    """
    return _individuals(Timeline(faces), needed, EVERYONE, 0.0)


def _chosen(line: Timeline, given: Given, needed: float) -> list[Person]:
    """Return the person of the number given, or those who appear about as often as the first."""
    if given.number is not None:
        persons = _individuals(line, needed, EVERYONE, 0.0)
        if given.number > len(persons):
            raise OptionError(
                "person",
                f"there is no {given.number}; {len(persons)} were found: "
                "`alignimation people` shows them",
            )
        return [persons[given.number - 1]]
    if len(given.unlike):
        found = _individuals(line, needed, EVERYONE, 0.0)
        persons = [each for each in found if not _is_unlike(line.faces, each, given, needed)]
        if not persons:
            what = "nobody else is found here; leave it out, or add photos"
            raise OptionError("not_person", what)
    else:
        persons = _individuals(line, needed, PERSONS, LESS)
    frequent = [each for each in persons if each.support >= ALIKE * persons[0].support]
    return sorted(frequent, key=lambda person: -person.size)


def _is_unlike(faces: Faces, person: Person, given: Given, needed: float) -> bool:
    """Return whether a person's faces are, on the whole, of one whom the subject is not."""
    similarity = faces.vectors[person.members] @ given.unlike.T
    return float(similarity.mean(0).max()) >= needed


def _individuals(line: Timeline, needed: float, most: int, share: float) -> list[Person]:
    """Find at most so many persons: while one has that share of the first one's neighbours."""
    faces = line.faces
    every = faces.usable.nonzero()[:, 0]
    # by weight: of portraits among photos of crowds, there are few by number
    candidates = every[spread(len(every), CANDIDATES, faces.weights[every])]
    crowd = every[spread(len(every), CROWD)]
    neighbours = _neighbours(faces, candidates, crowd, needed)
    left = torch.ones(len(candidates), dtype=torch.bool)
    free = faces.usable.clone()
    persons: list[Person] = []
    for _ in range(most):
        if not left.any() or neighbours[left].max() < share * neighbours.max():
            break
        if persons and neighbours[left].max() == 0:
            break
        densest = left & (neighbours >= neighbours[left].max() - ROUNDING)
        seed = int(candidates[densest.nonzero()[:, 0]][faces.sizes[candidates[densest]].argmax()])
        at = int(line.bins[seed])
        start = _tracks.nucleus(line, faces.vectors[seed], at, needed, free)
        track = _tracks.follow(line, start, _tracks.nothing(faces), needed, free)
        found = _most_frequent_first(line, track, needed)
        persons += _persons(line, found, needed)
        claimed = torch.stack([each.near(line) for each in found]).amax(0) >= needed
        claimed[seed] = True
        free &= ~torch.stack([each.core for each in found]).any(0)
        left &= ~claimed[candidates]
    return sorted(persons, key=lambda person: -person.support)


def _most_frequent_first(line: Timeline, track: Track, needed: float) -> list[Track]:
    """Return a person and those who look alike, the one found in more photos first.

    What was found first may be one of two at one time, and the other at another: then the other,
    followed by itself, is found in more photos.
    """
    faces = line.faces
    others = rivals(line, track, needed)
    for other in others:
        whole = _tracks.follow(line, other.core, _tracks.nothing(faces), needed, faces.usable)
        if faces.weights[whole.core].sum() > faces.weights[track.core].sum():
            return [whole, *rivals(line, whole, needed)]
    return [track, *others]


def _persons(line: Timeline, tracks: list[Track], needed: float) -> list[Person]:
    """Give each face to the one of several who look alike to whom it is most similar."""
    faces = line.faces
    scores = torch.stack([each.near(line) for each in tracks])
    nearest = scores.argmax(0)
    persons = []
    for number, track in enumerate(tracks):
        mine = torch.where(nearest == number, scores[number], -torch.inf)
        best = faces.best(mine)
        members = best[mine[best] >= needed - ROUNDING]
        support, size = (float(each[members].sum()) for each in (faces.weights, faces.sizes))
        persons.append(Person(track, members, support, size))
    return persons


def _from_anchors(line: Timeline, anchors: Anchors, needed: float) -> Person:
    faces = line.faces
    start = torch.zeros(len(faces), dtype=torch.bool)
    for vector, at in zip(anchors.vectors, anchors.bins.tolist(), strict=True):
        start |= _tracks.nucleus(line, vector, at, needed, faces.usable)
    track = _tracks.follow(line, start, anchors, needed, faces.usable)
    return _persons(line, [track], needed)[0]


def _judge(
    line: Timeline,
    scores: Tensor,
    subject: Track,
    others: list[Track],
    persons: list[Person],
    given: Given,
    rule: Rule,
) -> Decision:
    faces = line.faces
    against = torch.full_like(scores, -torch.inf)
    for other in others:
        against = torch.maximum(against, _claims(line, subject, other))
    refused = torch.zeros_like(faces.usable)
    if len(given.unlike):
        refused = (faces.vectors @ given.unlike.T).amax(1) >= scores
    theirs = (against > scores) | refused
    best = faces.best(torch.where(theirs, scores - 4, scores))  # somebody else only for want of it
    others_there = faces.others(best) & ~theirs
    following = faces.highest(torch.where(others_there, scores, -torch.inf))
    accepted = best[(scores[best] >= rule.needed - ROUNDING) & ~theirs[best]]
    usual = scores[accepted]
    threshold = rule.needed
    if rule.adapts and len(usual):
        ceiling = rule.needed + CEILING * (1 - rule.needed)
        spread_of = Spread.of(usual, USUAL * (1 - rule.needed))
        threshold = spread_of.threshold(DEVIATIONS, rule.needed, ceiling)
        usual = usual[usual >= threshold]
    verdicts: list[Verdict | None] = [None] * (len(faces.first) - 1)
    places = faces.photos[best]
    similarity, after, rival = (
        (column.double() * 1e6).round() / 1e6
        for column in (scores[best].clamp(-1, 1), following[places], against[best])
    )
    columns = places, best - faces.first[places], similarity, after, rival, refused[best]
    for place, index, value, second, other, unlike in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        verdicts[place] = Verdict(
            index,
            value,
            second if second > -torch.inf else None,
            other if other > value - 2 else None,
            unlike,
        )
    ends = (float(usual.min()), float(usual.max())) if len(usual) else (threshold, 1.0)
    return Decision(persons, threshold, ends, verdicts)


def _claims(line: Timeline, subject: Track, other: Track) -> Tensor:
    """Return how similar each face would have to be to the subject to be no rival's, (F,).

    A rival counts only at times at which it was found.
    """
    bins = line.bins.clamp(min=0)
    mine, theirs = (torch.nn.functional.normalize(each.sums, dim=1) for each in (subject, other))
    lead = LEAD * (1 - (mine * theirs).sum(1)).float()
    return other.near(line) + lead[bins]


def _neighbours(faces: Faces, candidates: Tensor, crowd: Tensor, needed: float) -> Tensor:
    """Weighted neighbour count of the candidates, in a crowd of other photos, (C,) float32."""
    similar = faces.vectors[candidates] @ faces.vectors[crowd].T >= needed
    similar &= faces.photos[candidates, None] != faces.photos[crowd]
    return similar.float() @ faces.weights[crowd].float()
