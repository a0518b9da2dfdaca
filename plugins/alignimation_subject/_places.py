"""Selectors that go by where things are, how large they are, and how sure the detector is."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Annotated, ClassVar

from pydantic import Field

from alignimation_core import Choice, Observation
from alignimation_core.api.stages.selectors import distinct
from alignimation_subject._facing import FacingSelector


class _EachPhoto(FacingSelector):
    """A selector that chooses in each photo for itself.

    When a gate refuses the one chosen, the photo is rejected: the next is somebody else.
    """

    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose in each photo for itself."""
        return self.facing(observations, [self._choose(each) for each in observations])

    def _choose(self, observation: Observation) -> Choice:
        count = len(observation.detections)
        if not count:
            return Choice(None, reason=observation.nothing_found)
        ranks = self._ranks(observation)
        return Choice(max(range(count), key=lambda i: (ranks[i], -i)))

    def _ranks(self, observation: Observation) -> Sequence[tuple[float, ...]]:
        """Return what each detection is ranked by: the highest is taken, then the first."""
        raise NotImplementedError


class Largest(_EachPhoto):
    """Takes the largest detection of each photo: right where the subject is alone or in front.

    Of boxes of equal area the one with the higher score is taken, then the first. When the gate
    refuses the largest, the photo is rejected: the second largest is somebody else.
    """

    name: ClassVar[str] = "largest"

    def _ranks(self, observation: Observation) -> Sequence[tuple[float, ...]]:
        found = observation.detections
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in found.boxes.tolist()]
        return list(zip(areas, found.scores.tolist(), strict=True))


class MostConfident(_EachPhoto):
    """Takes the detection of each photo of which the detector is surest; of equals the first."""

    name: ClassVar[str] = "most-confident"

    def _ranks(self, observation: Observation) -> Sequence[tuple[float, ...]]:
        return [(score,) for score in observation.detections.scores.tolist()]


class Centre(_EachPhoto):
    """Takes the detection whose middle is nearest to the middle of its photo; of equals the first.

    Distances are in parts of the photo's width and height.
    """

    name: ClassVar[str] = "centre"

    def _ranks(self, observation: Observation) -> Sequence[tuple[float, ...]]:
        photo = observation.photo
        return [
            (-hypot((x0 + x1) / photo.width - 1, (y0 + y1) / photo.height - 1),)
            for x0, y0, x1, y1 in observation.detections.boxes.tolist()
        ]


class Track(FacingSelector):
    """Follows one detection from photo to photo, by where it is: for what has no embedding.

    Boxes are compared as parts of their photos, by the share that two have in common, and
    embeddings too, where there is an embedder, which count twice as much. Of all paths through the
    photos in their order, the one is taken on which neighbours agree the most; it may skip up to
    four photos at once.
    """

    name: ClassVar[str] = "track"

    min_overlap: Annotated[
        float,
        Field(
            description="least intersection over union with the subject in a photo before or "
            "after, boxes taken as parts of their photos",
            ge=0,
            le=1,
        ),
    ] = 0.1

    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose along the best path."""
        from alignimation_subject import _path

        path, overlaps = _path.best_path(observations, self.min_overlap)
        alone = sum(len(each.detections) > 0 for each in observations) < 2
        choices = []
        for observation, index, overlap in zip(observations, path, overlaps, strict=True):
            if not len(observation.detections):
                choices.append(Choice(None, observation.nothing_found))
            elif index is not None and (
                alone or overlap >= self.min_overlap or observation.embeddings is not None
            ):
                choices.append(Choice(index))
            else:
                found, asked = distinct(overlap, self.min_overlap)
                reason = f"nothing is where the subject is in the photos before and after ({found}"
                reason += f"; at least {asked} asked)" if overlap < self.min_overlap else ")"
                choices.append(Choice(None, reason, candidate=index))
        return self.facing(observations, choices)
