"""All detections of all photos as one table of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC

import torch
from torch import Tensor

from alignimation_core import Observation, Photo


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """F detections of P photos, in the order of the photos.

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

    def __len__(self) -> int:
        """Return F."""
        return len(self.vectors)

    def usable_in(self, place: int) -> list[int]:
        """Return the usable faces of one photo."""
        first, end = self.first[place : place + 2].tolist()
        return [face for face in range(first, end) if self.usable[face]]

    def beside(self, face: Tensor) -> Tensor:
        """Return (F,), the one of some (N,) faces that is in the photo of each; -1 for none."""
        of_photo = torch.full((len(self.first) - 1,), -1)
        of_photo[self.photos[face]] = face
        return of_photo[self.photos]

    def others(self, face: Tensor) -> Tensor:
        """Return (F,) bool: usable, and not the one of (N,) faces that is in the same photo.

        Nor is it another picture of that face: boxes that share half of their area.
        """
        beside = self.beside(face)
        others = self.usable & (beside != torch.arange(len(self)))
        return others & ((beside < 0) | (_iou(self.boxes, self.boxes[beside]) < 0.5))

    def best(self, score: Tensor) -> Tensor:
        """Return the usable face of the highest (F,) score of each photo that has one."""
        score = torch.where(self.usable, score, -torch.inf)
        is_best = self.usable & (score == self.highest(score)[self.photos])
        place = torch.where(is_best, torch.arange(len(self)), len(self))
        count = torch.full((len(self.first) - 1,), len(self))
        best = count.scatter_reduce(0, self.photos, place, "amin")
        return best[best < len(self)]

    def highest(self, score: Tensor) -> Tensor:
        """Return the highest (F,) score in each photo, (P,); -inf in one without faces."""
        nothing = score.new_full((len(self.first) - 1,), -torch.inf)
        return nothing.scatter_reduce(0, self.photos, score, "amax")

    def distinct(self, members: Tensor) -> int:
        """Return how many photos some faces are in, of which copies count once."""
        return len({*self.contents[self.photos[members]].tolist()})


def gather(observations: Sequence[Observation]) -> Faces:
    """Join the detections of all photos, at least one in all, into one table.

    Raises:
        ValueError: a photo has no embeddings, or ones of another length.
    """
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
        seconds=torch.tensor([seconds_of(each.photo) for each in observations]).double(),
    )


def seconds_of(photo: Photo) -> float:
    """Return when a photo was taken, since 1970, as on the clock there; NaN if nobody knows."""
    return math.nan if photo.taken_from == "file" else photo.taken.replace(tzinfo=UTC).timestamp()


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _iou(left: Tensor, right: Tensor) -> Tensor:
    """Return the intersection over union, pair by pair; 0 for two empty boxes."""
    corners = torch.maximum(left[:, :2], right[:, :2]), torch.minimum(left[:, 2:], right[:, 2:])
    intersection = _areas(torch.cat(corners, 1))
    union = _areas(left) + _areas(right) - intersection
    return torch.where(union > 0, intersection / union, 0.0)
