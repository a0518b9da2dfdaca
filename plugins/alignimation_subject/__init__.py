"""Subject selectors: who, of all that was found in a photo, the animation is about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import hypot
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignimation_core import Choice, Observation, SubjectSelector, hookimpl
from alignimation_core.api.gates import distinct
from alignimation_core.api.individuals import Shown
from alignimation_subject._facing import FacingForward, FacingSelector, Gate
from alignimation_subject._shown import ShownSelector

if TYPE_CHECKING:
    from torch import Tensor

    from alignimation_subject import _identity

__all__ = ["Centre", "FacingForward", "Identity", "Largest", "MostConfident", "Track"]

logger = logging.getLogger(__name__)


class _EachPhoto(FacingSelector):
    """A selector that chooses in each photo for itself.

    When a gate refuses the one chosen, the photo is rejected: the next is somebody else.
    """

    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose in each photo for itself."""
        return [self._choose(observation) for observation in observations]

    def _choose(self, observation: Observation) -> Choice:
        count = len(observation.detections)
        if not count:
            return Choice(None, reason=observation.nothing_found)
        ranks = self._ranks(observation)
        return self.chosen(observation, max(range(count), key=lambda i: (ranks[i], -i)))

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
    embeddings too, where there is an embedder. Of all paths through the photos in their order, the
    one is taken on which neighbours agree the most; it may skip up to four photos at once.
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
            elif index is not None and (alone or overlap >= self.min_overlap):
                choices.append(self.chosen(observation, index))
            else:
                found, asked = distinct(overlap, self.min_overlap)
                reason = f"nothing is where the subject is in the photos before and after ({found}"
                reason += f"; at least {asked} asked)" if overlap < self.min_overlap else ")"
                choices.append(Choice(None, reason, candidate=index))
        return choices


class Identity(FacingSelector, ShownSelector):
    """Takes, in each photo, whoever appears most often in all of them.

    Every face counts 1 / (faces in its photo), as in the original alignimation, so that a crowd
    weighs no more than a portrait. The search starts at the face that resembles the most faces of
    other photos, and from there takes the weighted mean of the best face of each photo that is
    similar enough, until the same faces remain. The mean is then taken again over the faces that
    face forward, if these are three or more. So, unlike a mean over all faces, the identity is not
    pulled towards a second person, however often that one appears.

    Two persons who appear about equally often (within a tenth, by the same weights), as a couple
    does, cannot be told by counting: the one whose boxes cover more of the photos is taken, and a
    warning is logged that says so. ``like`` settles it.

    The facing-forward gate is on; with a detector that does not find the nose and the eyes, set
    ``facing_forward: false``.
    """

    name: ClassVar[str] = "identity"

    facing_forward: Gate = FacingForward()
    min_similarity: Annotated[
        float | None,
        Field(
            description="least cosine similarity to the subject's mean; left out, the embedder's "
            "own value for the same individual",
            ge=-1,
            le=1,
        ),
    ] = None
    min_margin: Annotated[
        float | None,
        Field(
            description="least lead in similarity over the next most similar in the same photo; "
            "left out, a tenth of the way from the least similarity to 1",
            ge=0,
            le=2,
        ),
    ] = None

    def requires(self) -> frozenset[str]:
        """Return ``embeddings``, and the keypoints that the gate reads."""
        return super().requires() | {"embeddings"}

    def individuals(self, observations: Sequence[Observation]) -> list[list[tuple[int, int]]]:
        """Return who appears in the photos; see ``IdentitySelector.individuals``.

        Raises:
            ValueError: as ``select``.
        """
        from alignimation_subject import _identity

        if not any(len(observation.detections) for observation in observations):
            return []
        faces = _identity.gather(observations)
        if not faces.usable.any():
            return []
        found: list[list[tuple[int, int]]] = []
        for person in _identity.individuals(faces, self._rule(observations).needed):
            photos = faces.photos[person.members]
            indices = person.members - faces.first[photos]
            found.append([*zip(photos.tolist(), indices.tolist(), strict=True)])
        return found

    def select_with(self, observations: Sequence[Observation], shown: Shown) -> list[Choice]:
        """Find the subject over all photos, then choose in each.

        Raises:
            ValueError: a photo has no embeddings or ones of another length, no threshold is known,
                or ``like`` names no photo in which something was found.
        """
        from alignimation_subject import _identity

        if not any(len(observation.detections) for observation in observations):
            return [Choice(None, each.nothing_found) for each in observations]
        rule = self._rule(observations)
        faces = _identity.gather(observations)
        if not faces.usable.any():
            return [Choice(None, self._without_vector(each)) for each in observations]
        given = self._given(observations, faces, shown)
        decision = _identity.decide(
            faces, given, rule, lambda some: self._facing(observations, faces, some)
        )
        if not len(given.like) and given.number is None:
            self._warn(observations, faces, decision, rule.needed)
        return [
            self._choose(observation, verdict, decision, rule)
            for observation, verdict in zip(observations, decision.verdicts, strict=True)
        ]

    def _facing(
        self, observations: Sequence[Observation], faces: _identity.Faces, some: Tensor
    ) -> Tensor:
        """Return which of (N,) faces face forward, (N,) bool."""
        photos = faces.photos[some]
        if self.facing_forward is None:
            return photos >= 0
        indices = (some - faces.first[photos]).tolist()
        return self.facing_forward.passes([observations[each] for each in photos.tolist()], indices)

    def _warn(
        self,
        observations: Sequence[Observation],
        faces: _identity.Faces,
        decision: _identity.Decision,
        needed: float,
    ) -> None:
        """Say where counting does not tell who the subject is, and what to write."""
        shown, alone = zip(
            *(self._shown(observations, faces, person) for person in decision.persons), strict=True
        )
        if len(decision.persons[0].members) == 1 and len(observations) > 1:
            logger.warning(
                "identity: nobody is found in two photos at a similarity of %.2f; the subject is "
                "taken to be in %s alone: lower `min_similarity`, or name another photo as `like`",
                needed,
                shown[0],
            )
        elif len(shown) > 1:
            logger.warning(
                "identity: %d persons appear about equally often: %s; the first is taken, who is "
                "the larger in them: to choose another, %s",
                len(shown),
                "; ".join(
                    f"one in {len(person.members)} photos, such as {photo}"
                    for person, photo in zip(decision.persons, shown, strict=True)
                ),
                f"write `like: {shown[1]}`"
                if alone[1]
                else "name a photo in which that one is the largest as `like`",
            )

    @staticmethod
    def _shown(
        observations: Sequence[Observation], faces: _identity.Faces, person: _identity.Person
    ) -> tuple[str, bool]:
        """Return a photo of the person, if there is one, in which nobody is larger, and whether."""
        largest = faces.highest(faces.sizes)
        photos = faces.photos[person.members]
        is_largest = faces.sizes[person.members] >= largest[photos]
        first = int(photos[is_largest.long().argmax()])
        return observations[first].photo.name, bool(is_largest.any())

    @staticmethod
    def _without_vector(observation: Observation) -> str:
        if len(observation.detections):
            return "the embedder gave no vector to compare"
        return observation.nothing_found

    def _choose(
        self,
        observation: Observation,
        verdict: _identity.Verdict | None,
        decision: _identity.Decision,
        rule: _identity.Rule,
    ) -> Choice:
        if verdict is None:
            return Choice(None, self._without_vector(observation))
        similarity = verdict.similarity
        if similarity < rule.needed:
            found, wanted = distinct(similarity, rule.needed)
            reason = f"no face here is like the subject's ({found}; at least {wanted} asked)"
        elif verdict.unlike:
            reason = f"this is who the subject is not ({similarity:.2f} to the subject)"
        elif verdict.rival is not None and verdict.rival > similarity:
            reason = (
                f"uncertain ({similarity:.2f}; as much like somebody else who looks like the "
                "subject)"
            )
        elif similarity < decision.threshold:
            low, high = decision.usual
            found, least = distinct(similarity, low)
            reason = (
                f"uncertain ({found}; this person's other photos lie between {least} and "
                f"{high:.2f})"
            )
        elif verdict.runner_up is not None and similarity - verdict.runner_up < rule.margin:
            texts = distinct(similarity, verdict.runner_up)
            reason = f"uncertain (two here are alike: {texts[0]} and {texts[1]})"
        else:
            return self.chosen(observation, verdict.index, similarity)
        return Choice(None, reason, similarity, candidate=verdict.index)

    def _rule(self, observations: Sequence[Observation]) -> _identity.Rule:
        from alignimation_subject import _identity

        known = (each.same_above for each in observations if each.same_above is not None)
        needed = next(known, None) if self.min_similarity is None else self.min_similarity
        if needed is None:
            raise ValueError(
                "no similarity is known above which two are the same: set min_similarity"
            )
        margin = (1 - needed) / 10 if self.min_margin is None else self.min_margin
        return _identity.Rule(needed, margin, adapts=self.min_similarity is None)


@hookimpl
def alignimation_subject_selectors() -> Sequence[type[SubjectSelector]]:
    """Return the selectors."""
    return [Largest, Centre, MostConfident, Track, Identity]
