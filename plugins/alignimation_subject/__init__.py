"""Subject selectors: who, of all that was found in a photo, the animation is about."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignimation_core import Choice, Embedder, Observation, SubjectSelector, hookimpl
from alignimation_core.api.stages.individuals import Shown
from alignimation_core.api.stages.selectors import distinct
from alignimation_subject._facing import FacingForward, FacingSelector, Gate
from alignimation_subject._places import Centre, Largest, MostConfident, Track
from alignimation_subject._shown import ShownSelector

if TYPE_CHECKING:
    from torch import Tensor

    from alignimation_subject import _identity

__all__ = ["Centre", "FacingForward", "Identity", "Largest", "MostConfident", "Track"]

logger = logging.getLogger(__name__)


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
            "own value for the same individual, or more where the subject's photos are alike",
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

    def remarks(self, embedder: Embedder | None) -> list[str]:
        """Return whether ``min_similarity`` is far from what the embedder takes for the same."""
        if embedder is None or self.min_similarity is None:
            return []
        return self._far(self.min_similarity, embedder.same_above)

    @staticmethod
    def _far(asked: float, same: float) -> list[str]:
        """Return a line where a threshold is as far below the embedder's own as that is below 1.

        Or where it is most of the way from there to 1.
        """
        what = (
            f"min_similarity: {asked:g} is far {{}} the embedder's own {same:g}: {{}}; leave it out"
        )
        if asked < same - (1 - same):
            return [what.format("below", "strangers may be taken for the subject")]
        if asked > same + 0.75 * (1 - same):
            return [what.format("above", "many photos of the subject may be left out")]
        return []

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
        choices = [
            self._choose(observation, verdict, decision, rule)
            for observation, verdict in zip(observations, decision.verdicts, strict=True)
        ]
        return self.facing(observations, choices)

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
            return Choice(verdict.detection, similarity=similarity, least=decision.threshold)
        return Choice(None, reason, similarity, verdict.detection, least=decision.threshold)

    def _rule(self, observations: Sequence[Observation]) -> _identity.Rule:
        from alignimation_subject import _identity

        known = (each.same_above for each in observations if each.same_above is not None)
        same = next(known, None)
        needed = same if self.min_similarity is None else self.min_similarity
        if needed is None:
            raise ValueError(
                "no similarity is known above which two are the same: set min_similarity"
            )
        for remark in [] if same is None else self._far(needed, same):
            logger.warning("identity: %s", remark)
        margin = (1 - needed) / 10 if self.min_margin is None else self.min_margin
        return _identity.Rule(needed, margin, adapts=self.min_similarity is None)


@hookimpl
def alignimation_subject_selectors() -> Sequence[type[SubjectSelector]]:
    """Return the selectors."""
    return [Largest, Centre, MostConfident, Track, Identity]
