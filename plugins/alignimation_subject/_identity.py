"""Clustering of embeddings by identity: the arithmetic behind the selector `identity`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC

import torch
from torch import Tensor

from alignimation_core import Observation, Photo
from alignimation_core.api.sampling import spread

CANDIDATES = 1024  # most faces from which a search for a person starts
CROWD = 2048  # most faces among which the neighbours of a candidate are counted
PERSONS = 8  # most persons that are compared with each other
EVERYONE = 40  # most persons that are numbered
STRICTER = 0.5, 0.375, 0.25, 0.125  # of the way from the similarity needed to 1, for a core
FEW = 3  # least faces of a core, in different photos
ALIKE = 0.9  # of the most frequent person's weight: as frequent for all we know
ROUNDING = 1e-6  # what float32 may take from the similarity of a vector to itself


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """All detections of all photos, in the order of the photos.

    Attributes:
        vectors: (F, D) float32 of unit length; zeros for a detection that is not usable.
        usable: (F,) bool, False where the embedder gave no finite direction.
        photos: (F,) int64, the place of each face's photo among P.
        weights: (F,) float64, 1 / (detections in the same photo), divided among its copies.
        sizes: (F,) float64, area of the box as a fraction of its photo.
        boxes: (F, 4) float32.
        first: (P + 1,) int64, place of each photo's first face.
        contents: (P,) int64, the same for copies of one photo.
        seconds: (P,) float64, when each photo was taken, since 1970; NaN where only the file's own
            time tells it.
    """

    vectors: Tensor
    usable: Tensor
    photos: Tensor
    weights: Tensor
    sizes: Tensor
    boxes: Tensor
    first: Tensor
    contents: Tensor
    seconds: Tensor

    def usable_in(self, place: int) -> list[int]:
        """Return the usable faces of one photo."""
        first, end = self.first[place : place + 2].tolist()
        return [face for face in range(first, end) if self.usable[face]]


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


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """Faces that are taken for one individual, found from the face ``seed``.

    ``centre`` is (D,) float32 of unit length; ``members`` are (M,) int64, at most one face a photo;
    ``support`` and ``size`` are the sums of their weights and sizes.
    """

    centre: Tensor
    members: Tensor
    support: float
    size: float
    seed: int


@dataclass(frozen=True, slots=True)
class Best:
    """The detection of one photo that is most similar to the subject, by its index there.

    ``runner_up`` is the next best similarity in the photo, another picture of the same face (boxes
    that share half of their area) left out; None without another.
    """

    index: int
    similarity: float
    runner_up: float | None


def gather(observations: Sequence[Observation]) -> Faces:
    """Join the detections of all photos, at least one in all, into one table."""
    vectors: list[Tensor] = []
    numbers = [len(observation.detections) for observation in observations]
    for observation, count in zip(observations, numbers, strict=True):
        if not count:
            continue
        rows = observation.embeddings
        if rows is None:
            raise ValueError(f"{observation.photo.name}: no embeddings to compare; set an embedder")
        width = vectors[0].shape[1] if vectors else rows.shape[-1]
        if rows.shape != (count, width):
            raise ValueError(
                f"{observation.photo.name}: expected embeddings of shape ({count}, {width}), "
                f"got {tuple(rows.shape)}"
            )
        vectors.append(rows)
    counts = torch.tensor(numbers)
    areas = torch.tensor([each.photo.height * each.photo.width for each in observations])
    boxes = torch.cat([observation.detections.boxes for observation in observations]).float()
    photos = torch.arange(len(counts)).repeat_interleave(counts)
    known: dict[str, int] = {}
    contents = torch.tensor([known.setdefault(o.photo.sha256, len(known)) for o in observations])
    copies = torch.bincount(contents)[contents]
    table = torch.cat(vectors).detach().cpu().float()
    lengths = table.norm(dim=1, keepdim=True)
    usable = (lengths > 0) & lengths.isfinite()
    table /= lengths
    if not usable.all():
        table = torch.where(usable, table, 0.0)
    return Faces(
        vectors=table,
        usable=usable[:, 0],
        photos=photos,
        weights=1 / (counts * copies)[photos].double(),
        sizes=_areas(boxes).double() / areas[photos],
        boxes=boxes,
        first=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        contents=contents,
        seconds=torch.tensor([seconds(each.photo) for each in observations]).double(),
    )


def seconds(photo: Photo) -> float:
    """Return when a photo was taken, since 1970, as on the clock there; NaN if nobody knows."""
    return math.nan if photo.taken_from == "file" else photo.taken.replace(tzinfo=UTC).timestamp()


def subject(faces: Faces, given: Given, needed: float) -> list[Person]:
    """Find the subject: the one who was given, or else those who appear about equally often.

    Returns:
        At least one person; where there are more, the largest first.

    Raises:
        ValueError: there is no person of the number given, or nobody but those excluded.
    """
    if len(given.like):
        centre = torch.nn.functional.normalize(given.like.sum(0), dim=0)
        return [grow(faces, int((faces.vectors @ centre).argmax()), needed)]
    if given.number is not None:
        persons = individuals(faces, needed)
        if given.number > len(persons):
            raise ValueError(
                f"person: there is no {given.number}; {len(persons)} were found: "
                "`alignimation people` shows them"
            )
        return [persons[given.number - 1]]
    every = _find(faces, needed, PERSONS, 0.25)
    persons = [person for person in every if not _is_unlike(faces, person.members, given, needed)]
    if not persons:
        raise ValueError("not_person: nobody else is found here; leave it out, or add photos")
    frequent = [each for each in persons if each.support >= ALIKE * persons[0].support]
    return sorted(frequent, key=lambda person: -person.size)


def _is_unlike(faces: Faces, members: Tensor, given: Given, needed: float) -> bool:
    """Return whether some faces are, on the whole, of one whom the subject is not."""
    if not len(given.unlike):
        return False
    return float((faces.vectors[members] @ given.unlike.T).mean(0).max()) >= needed


def individuals(faces: Faces, needed: float) -> list[Person]:
    """Find the persons who recur, the most frequent first: their numbers are from 1.

    A face is a person's from a cosine similarity of ``needed`` to that person's mean.
    """
    return _find(faces, needed, EVERYONE, 0.0)


def _find(faces: Faces, needed: float, most: int, share: float) -> list[Person]:
    """Find at most so many persons: while one has that share of the neighbours of the first."""
    every = faces.usable.nonzero()[:, 0]
    # by weight: of portraits among photos of crowds, there are few by number
    candidates = every[spread(len(every), CANDIDATES, faces.weights[every])]
    crowd = every[spread(len(every), CROWD)]
    neighbours = _neighbours(faces, candidates, crowd, needed)
    left = torch.ones(len(candidates), dtype=torch.bool)
    persons: list[Person] = []
    for _ in range(most):
        if not left.any() or neighbours[left].max() < share * neighbours.max():
            break
        if persons and neighbours[left].max() == 0:
            break
        densest = left & (neighbours >= neighbours[left].max() - ROUNDING)
        seed = int(candidates[densest.nonzero()[:, 0]][faces.sizes[candidates[densest]].argmax()])
        person = grow(faces, seed, needed)
        left &= (faces.vectors[candidates] @ person.centre < needed) & (candidates != seed)
        if all(float(other.centre @ person.centre) < needed for other in persons):
            persons.append(person)
    return sorted(persons, key=lambda person: -person.support)


def grow(faces: Faces, seed: int, needed: float) -> Person:
    """Grow the cluster of one face.

    The weighted mean is taken over the best face of each photo that is similar enough to the last
    mean, until the same faces remain.
    """
    members, centre = torch.tensor([seed]), faces.vectors[seed]
    for _ in range(100):
        best, similarity = _best(faces, faces.vectors @ centre)
        found = best[similarity >= needed - ROUNDING]
        if not len(found) or found.equal(members):
            break
        members, centre = found, mean(faces, found)
    support, size = (float(each[members].sum()) for each in (faces.weights, faces.sizes))
    return Person(centre, members, support, size, seed)


def core(faces: Faces, person: Person, needed: float) -> Person:
    """Return the core of a cluster, of faces that are alike beyond doubt.

    Where two who look alike appear often, such as sisters, the few faces of the one that are
    similar enough to the mean of the other pull it, and more of them follow, until it is the mean
    of both or has gone over. A stricter threshold keeps them apart.
    """
    for share in STRICTER:
        near = grow(faces, person.seed, needed + share * (1 - needed))
        if len({*faces.contents[faces.photos[near.members]].tolist()}) >= FEW:
            return near
    return person


def mean(faces: Faces, members: Tensor | list[int]) -> Tensor:
    """Return the weighted mean of some faces, (D,) float32 of unit length."""
    weights = torch.zeros(len(faces.vectors))
    weights[members] = faces.weights[members].float()
    total = torch.zeros(faces.vectors.shape[1], dtype=torch.float64)
    parts = torch.split(weights, 512), torch.split(faces.vectors, 512)
    for some, vectors in zip(*parts, strict=True):
        total += some @ vectors  # few enough for float32
    return torch.nn.functional.normalize(total, dim=0).float()


def without(faces: Faces, given: Given, centre: Tensor) -> Faces:
    """Return the faces, those not usable that are more like who the subject is not."""
    if not len(given.unlike):
        return faces
    others = (faces.vectors @ given.unlike.T).amax(1)
    return replace(faces, usable=faces.usable & (faces.vectors @ centre > others))


def rank(faces: Faces, centre: Tensor) -> list[Best | None]:
    """Return the face most similar to the centre in each of the P photos; None without faces."""
    similarity = faces.vectors @ centre
    best, top = _best(faces, similarity)
    of_best = torch.full((len(faces.first) - 1,), -1)
    of_best[faces.photos[best]] = best
    rival = of_best[faces.photos]  # the best face beside each face
    others = faces.usable & (rival != torch.arange(len(rival)))
    others &= _iou(faces.boxes, faces.boxes[rival]) < 0.5
    next_best = _highest(faces, torch.where(others, similarity, -torch.inf))
    ranked: list[Best | None] = [None] * (len(faces.first) - 1)
    places = faces.photos[best]
    columns = (places, best - faces.first[places], top.clamp(-1, 1), next_best[places])
    for place, index, value, following in zip(*(c.tolist() for c in columns), strict=True):
        runner_up = round(following, 6) if following > -torch.inf else None
        ranked[place] = Best(index, round(value, 6), runner_up)
    return ranked


def _neighbours(faces: Faces, candidates: Tensor, crowd: Tensor, needed: float) -> Tensor:
    """Weighted neighbour count of the candidates, in a crowd of other photos, (C,) float32."""
    similar = faces.vectors[candidates] @ faces.vectors[crowd].T >= needed
    similar &= faces.photos[candidates, None] != faces.photos[crowd]
    return similar.float() @ faces.weights[crowd].float()


def _best(faces: Faces, similarity: Tensor) -> tuple[Tensor, Tensor]:
    """Return the most similar usable face of each photo that has one, and its similarity."""
    similarity = torch.where(faces.usable, similarity, -torch.inf)
    highest = _highest(faces, similarity)
    is_best = faces.usable & (similarity == highest[faces.photos])
    count = len(similarity)
    place = torch.where(is_best, torch.arange(count), count)
    best = torch.full((len(highest),), count).scatter_reduce(0, faces.photos, place, "amin")
    best = best[best < count]
    return best, similarity[best]


def _highest(faces: Faces, similarity: Tensor) -> Tensor:
    nothing = similarity.new_full((len(faces.first) - 1,), -torch.inf)
    return nothing.scatter_reduce(0, faces.photos, similarity, "amax")


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _iou(left: Tensor, right: Tensor) -> Tensor:
    """Return the intersection over union, pair by pair; 0 for two empty boxes."""
    corners = torch.maximum(left[:, :2], right[:, :2]), torch.minimum(left[:, 2:], right[:, 2:])
    intersection = _areas(torch.cat(corners, 1))
    union = _areas(left) + _areas(right) - intersection
    return torch.where(union > 0, intersection / union, 0.0)
