"""Selection of one subject in each photo."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alignimation_core.api.data import Choice, Damage, Observation, Photo, Subject
from alignimation_core.api.sampling import row_of_each
from alignimation_core.api.stages import SubjectSelector
from alignimation_core.api.stages.individuals import Shown
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.detection import gates
from alignimation_core.failure import Failure
from alignimation_core.plugin import contract


@dataclass(frozen=True, slots=True)
class Selected:
    """What was chosen in photos.

    Attributes:
        chosen: the photos with a subject.
        rejected: the others.
        values: what gates limit, by photo.
        least: the similarity that was asked for, rounded down; None where none was compared.
    """

    chosen: list[tuple[Photo, Subject]]
    rejected: list[Failure]
    values: dict[str, gates.Values]
    least: float | None


def select(
    observations: Sequence[Observation],
    selector: SubjectSelector,
    step: Callable[[], None],
    corrections: Corrections,
    shown: Shown | None = None,
) -> Selected:
    """Run the selector on all photos at once, and hold its gates against what it picks.

    Corrections have the last word. A selector that tells individuals apart is told who is ``shown``
    by its references.

    Raises:
        StageError: the selector raised, or returned what its hook does not allow.
        RecipeError: corrections cannot be applied.
    """
    chosen: list[tuple[Photo, Subject]] = []
    rejected: list[Failure] = []
    choices = contract.select(selector, observations, shown or {})
    values = gates.values(observations, choices)
    choices = [gates.held(selector.gates, *each) for each in zip(choices, values, strict=True)]
    subjects = _subjects(observations, choices)
    rows = enumerate(zip(observations, choices, subjects, strict=True))
    for place, (observation, choice, subject) in rows:
        decided, index = corrections.decide(observation, choice, subject)
        if isinstance(decided, Failure):
            rejected.append(decided)
        else:
            chosen.append((observation.photo, decided))
            if index not in (choice.index, choice.candidate):
                meant = [] if index is None else [Choice(index)]
                values[place] = next(iter(gates.values([observation][: len(meant)], meant)), {})
        step()
    corrections.raise_faults()
    names = (observation.photo.name for observation in observations)
    known = {name: each for name, each in zip(names, values, strict=True) if each}
    asked = [choice.least for choice in choices if choice.least is not None]
    least = math.floor(min(asked) * 1e5) / 1e5 if asked else None
    return Selected(chosen, rejected, known, least)


def _subjects(
    observations: Sequence[Observation], choices: Sequence[Choice]
) -> list[Subject | None]:
    """Return what is chosen in each photo; of all those with the same keypoints at once."""
    groups: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for place, choice in enumerate(choices):
        if choice.index is not None:
            names = observations[place].detections.keypoint_names
            groups.setdefault(names, []).append((place, choice.index))
    subjects: list[Subject | None] = [None] * len(choices)
    for names, group in groups.items():
        found = [observations[place].detections for place, _ in group]
        indices = [index for _, index in group]
        tables = [[each.boxes for each in found], [each.scores for each in found]]
        if names:
            tables.append([each.keypoints for each in found if each.keypoints is not None])
            scores = (each.keypoint_scores for each in found)
            tables.append([each for each in scores if each is not None])
        columns = [column.tolist() for column in row_of_each(indices, *tables)]
        columns += [[()] * len(group)] * (4 - len(columns))
        for (place, index), each, *row in zip(group, found, *columns, strict=True):
            similarity = choices[place].similarity
            subjects[place] = each.subject_of(index, row, similarity=similarity)
    return subjects


def with_masks(
    subjects: Sequence[tuple[Photo, Subject]],
) -> tuple[list[tuple[Photo, Subject]], list[Failure]]:
    """Return the photos whose subjects have a usable mask, and the others, failed."""
    usable: list[tuple[Photo, Subject]] = []
    failures: list[Failure] = []
    for photo, subject in subjects:
        if reason := _unusable(subject):
            failures.append(Failure(photo.name, "detector", reason))
        else:
            usable.append((photo, subject))
    return usable, failures


def undamaged(
    subjects: Sequence[tuple[Photo, Subject]], damaged: Mapping[str, Damage]
) -> tuple[list[tuple[Photo, Subject]], list[Failure]]:
    """Return the photos of whose subjects no part is lost, and the others, failed.

    ``damaged``: what is wrong with files, by the photos' names.
    """
    usable: list[tuple[Photo, Subject]] = []
    failures: list[Failure] = []
    for photo, subject in subjects:
        damage = damaged.get(photo.name)
        reason = None if damage is None else damage.reason_against(subject.box)
        if reason is not None:
            failures.append(Failure(photo.name, "photos", reason))
        else:
            usable.append((photo, subject))
    return usable, failures


def _unusable(subject: Subject) -> str | None:
    """Return why a subject cannot be told from its background; None when it can."""
    if subject.mask is None:
        return "the detector found no mask of the subject, which `canvas.background` needs"
    if float(subject.mask.tensor().max()) < 0.5:
        return "the subject's mask is empty, and `canvas.background` needs it"
    return None
