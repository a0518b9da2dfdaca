"""Subject selectors: `largest`, for photos of one individual, and `identity`, for a library."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import dist
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alignimation_core import Choice, Observation, Subject, SubjectSelector, hookimpl
from alignimation_core.api.individuals import Shown
from alignimation_subject._shown import ShownSelector

if TYPE_CHECKING:
    from torch import Tensor

    from alignimation_subject import _identity

logger = logging.getLogger(__name__)

NOTHING_FOUND = "nothing was found in this photo"


class FacingForward(BaseModel):
    """Refuses a face that is turned aside, by how evenly its features lie about the nose.

    The nose of a face that is turned aside comes nearer to one eye, and to one corner of the
    mouth, than to the other. This sees turning left and right, not looking up or down.

    The test is that of the original alignimation, which compares *squared* distances: its
    threshold of 0.7 is a ratio of 0.84 here.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    min_ratio: Annotated[
        float,
        Field(
            description="least ratio, shorter to longer, of the distances from the nose to the "
            "two eyes, and to the two corners of the mouth where they were found",
            ge=0,
            le=1,
        ),
    ] = 0.7

    def reason_against(self, subject: Subject) -> str | None:
        """Return why the subject does not face forward; None when it does.

        Both corners of the mouth count where they were found; the nose and both eyes must be.
        """
        points = subject.keypoints
        for name in ("nose", "left_eye", "right_eye"):
            if name not in points:
                return f"the subject may look away: its {name} was not found"
        for feature, ends in (
            ("eye", ("left_eye", "right_eye")),
            ("mouth", ("mouth_left", "mouth_right")),
        ):
            if any(end not in points for end in ends):
                continue
            shorter, longer = sorted(dist(points["nose"], points[end]) for end in ends)
            ratio = shorter / longer if longer > 0 else 0.0
            if not ratio >= self.min_ratio:
                ratio_text, needed = _distinct(ratio, self.min_ratio)
                return (
                    f"the subject looks away: nose-to-{feature} distance ratio {ratio_text}, "
                    f"needed {needed}"
                )
        return None


def _gate(value: object) -> object:
    return {True: FacingForward(), False: None}[value] if isinstance(value, bool) else value


Gate = Annotated[
    FacingForward | None,
    BeforeValidator(_gate, json_schema_input_type=FacingForward | bool | None),
    Field(
        description="refuse photos in which the subject looks aside: true, false or "
        "{min_ratio: 0.7}; needs a detector that finds the nose and both eyes"
    ),
]


class _GatedSelector(SubjectSelector):
    facing_forward: Gate = None

    def requires(self) -> frozenset[str]:
        """Return the keypoints that the gate reads; set ``facing_forward: false`` to need none."""
        if self.facing_forward is None:
            return frozenset()
        return frozenset({"keypoints.nose", "keypoints.left_eye", "keypoints.right_eye"})

    def _reason_against(self, observation: Observation, index: int) -> str | None:
        if self.facing_forward is None:
            return None
        return self.facing_forward.reason_against(observation.detections.subject(index))


class Largest(_GatedSelector):
    """Takes the largest detection of each photo: right where the subject is alone or in front.

    Of boxes of equal area the one with the higher score is taken, then the first. When the gate
    refuses the largest, the photo is rejected: the second largest is somebody else.
    """

    name: ClassVar[str] = "largest"

    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose in each photo for itself."""
        return [self._choose(observation) for observation in observations]

    def _choose(self, observation: Observation) -> Choice:
        found = observation.detections
        boxes, scores = found.boxes.tolist(), found.scores.tolist()
        if not boxes:
            return Choice(None, reason=NOTHING_FOUND)
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]
        index = max(range(len(boxes)), key=lambda i: (areas[i], scores[i], -i))
        reason = self._reason_against(observation, index)
        return Choice(None if reason else index, reason=reason)


class Identity(_GatedSelector, ShownSelector):
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
        found: list[list[tuple[int, int]]] = []
        for person in _identity.individuals(faces, self._threshold(observations)):
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
            return [Choice(None, reason=NOTHING_FOUND) for _ in observations]
        needed = self._threshold(observations)
        faces = _identity.gather(observations)
        ranking: list[_identity.Best | None] = [None] * len(observations)
        if faces.usable.any():
            given = self._given(observations, faces, shown)
            person = self._find(observations, faces, given, needed)
            centre = self._centre(observations, faces, _identity.core(faces, person, needed))
            ranking = _identity.rank(_identity.without(faces, given, centre), centre)
        return [
            self._choose(observation, best, needed)
            for observation, best in zip(observations, ranking, strict=True)
        ]

    def _find(
        self,
        observations: Sequence[Observation],
        faces: _identity.Faces,
        given: _identity.Given,
        needed: float,
    ) -> _identity.Person:
        from alignimation_subject import _identity

        persons = _identity.subject(faces, given, needed)
        if len(given.like) or given.number is not None:
            return persons[0]
        shown = observations[int(faces.photos[persons[0].members[0]])].photo.name
        if len(persons[0].members) == 1 and len(observations) > 1:
            logger.warning(
                "identity: nobody is found in two photos at a similarity of %.2f; the subject is "
                "taken to be in %s alone: lower `min_similarity`, or name another photo as `like`",
                needed,
                shown,
            )
        elif len(persons) > 1:
            logger.warning(
                "identity: %d persons appear about equally often (in %s photos); the subject is "
                "taken to be the one larger in them, such as in %s: to choose another, name a "
                "photo in which that one is the largest as `like`",
                len(persons),
                " and ".join(str(len(person.members)) for person in persons),
                shown,
            )
        return persons[0]

    def _centre(
        self, observations: Sequence[Observation], faces: _identity.Faces, person: _identity.Person
    ) -> Tensor:
        """Return the mean of the person's faces, of those facing forward if there are enough."""
        from alignimation_subject import _identity

        photos = faces.photos[person.members]
        columns = (person.members, photos, person.members - faces.first[photos])
        forward = [
            face
            for face, photo, index in zip(*(c.tolist() for c in columns), strict=True)
            if self._reason_against(observations[photo], index) is None
        ]
        if len(forward) < 3 or len(forward) == len(person.members):
            return person.centre
        return _identity.mean(faces, forward)

    def _choose(
        self, observation: Observation, best: _identity.Best | None, needed: float
    ) -> Choice:
        if best is None:
            without_vector = "the embedder gave no vector to compare"
            return Choice(None, without_vector if len(observation.detections) else NOTHING_FOUND)
        margin = (1 - needed) / 10 if self.min_margin is None else self.min_margin
        reason: str | None
        if best.similarity < needed:
            similarity, wanted = _distinct(best.similarity, needed)
            reason = f"nobody here is the subject: best similarity {similarity}, needed {wanted}"
        elif best.runner_up is not None and best.similarity - best.runner_up < margin:
            texts = _distinct(best.similarity, best.runner_up)
            reason = f"two here are too alike to tell: similarity {texts[0]} and {texts[1]}"
        else:
            reason = self._reason_against(observation, best.index)
        return Choice(None if reason else best.index, reason, best.similarity)

    def _threshold(self, observations: Sequence[Observation]) -> float:
        if self.min_similarity is not None:
            return self.min_similarity
        for observation in observations:
            if observation.same_above is not None:
                return observation.same_above
        raise ValueError("no similarity is known above which two are the same: set min_similarity")


def _distinct(left: float, right: float) -> tuple[str, str]:
    """Format two numbers with two decimals, or as many as it takes to tell them apart."""
    for digits in (2, 3, 4, 5):
        texts = f"{left:.{digits}f}", f"{right:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


@hookimpl
def alignimation_subject_selectors() -> Sequence[type[SubjectSelector]]:
    """Return the two selectors."""
    return [Largest, Identity]
