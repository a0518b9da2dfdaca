"""The gate that refuses a face turned aside, as the original alignimation does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from alignimation_core import Choice, Observation, Subject, SubjectSelector
from alignimation_core.api.data import EYES
from alignimation_core.api.stages.faces import (
    as_table,
    evenness,
    facing_forward,
    of_each,
)
from alignimation_core.api.stages.selectors import distinct

if TYPE_CHECKING:
    from torch import Tensor


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

    def reasons_against(self, subjects: Sequence[Subject]) -> list[str | None]:
        """Return why each of M subjects does not face forward; None where it does.

        Both corners of the mouth count where they were found; the nose and both eyes must be.
        """
        found = evenness(*as_table(subjects))
        ratios = zip(*(column.tolist() for column in found.values()), strict=True)
        return [
            self._reason_against(subject, dict(zip(found, each, strict=True)))
            for subject, each in zip(subjects, ratios, strict=True)
        ]

    def _reason_against(self, subject: Subject, evenness: Mapping[str, float]) -> str | None:
        for name in ("nose", *EYES):
            if name not in subject.keypoints:
                return (
                    f"the subject may look away (its {name} was not found); "
                    "`facing_forward: false` keeps it"
                )
        for feature, ratio in evenness.items():
            if ratio < self.min_ratio:
                told, needed = distinct(ratio, self.min_ratio)
                return (
                    f"the subject looks away (nose to {feature} {told}, needed {needed}); "
                    "`facing_forward: false` keeps it"
                )
        return None

    def passes(self, observations: Sequence[Observation], indices: Sequence[int]) -> Tensor:
        """Return (N,) bool, whether one detection of each of N photos faces forward."""
        import torch

        forward = torch.zeros(len(indices), dtype=torch.bool)
        groups: dict[tuple[str, ...], list[int]] = {}
        for place, observation in enumerate(observations):
            if observation.detections.keypoints is not None:
                groups.setdefault(observation.detections.keypoint_names, []).append(place)
        for names, places in groups.items():
            some = [observations[place].detections for place in places]
            points, there = of_each(some, [indices[place] for place in places])
            forward[places] = facing_forward(names, points, there) >= self.min_ratio
        return forward


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


class FacingSelector(SubjectSelector):
    """A selector that refuses photos in which the subject looks aside, if it is asked to."""

    facing_forward: Gate = None

    def requires(self) -> frozenset[str]:
        """Return the keypoints that the gate reads; set ``facing_forward: false`` to need none."""
        if self.facing_forward is None:
            return frozenset()
        return frozenset({"keypoints.nose", *(f"keypoints.{eye}" for eye in EYES)})

    def facing(
        self, observations: Sequence[Observation], choices: Sequence[Choice]
    ) -> list[Choice]:
        """Return the choices in N photos, but rejections of those that look aside."""
        held = [*choices]
        if self.facing_forward is None:
            return held
        chosen = [(p, each.index) for p, each in enumerate(choices) if each.index is not None]
        forward = self.facing_forward.passes(
            [observations[place] for place, _ in chosen], [index for _, index in chosen]
        )
        aside = [each for each, passes in zip(chosen, forward.tolist(), strict=True) if not passes]
        subjects = [observations[place].detections.subject(index) for place, index in aside]
        reasons = self.facing_forward.reasons_against(subjects)
        for (place, index), reason in zip(aside, reasons, strict=True):
            if reason is not None:
                held[place] = replace(
                    choices[place],
                    index=None,
                    reason=reason,
                    candidate=index,
                    gate="facing_forward.min_ratio",
                )
        return held
