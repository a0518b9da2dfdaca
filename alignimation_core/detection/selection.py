"""Observations -> one subject a photo, or the reason why not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from alignimation_core.api.data import Choice, Observation, Subject
from alignimation_core.api.stages import SubjectSelector
from alignimation_core.detection.inference import ask
from alignimation_core.detection.observations import Entry
from alignimation_core.rendering import background


def select(
    observations: Sequence[tuple[Entry, Observation]],
    selector: SubjectSelector,
    step: Callable[[], None],
    *,
    needs_mask: bool,
) -> list[tuple[Entry, Subject]]:
    """Ask a selector about all photos at once; note in each photo's record what it said.

    Args:
        observations: the photos, with what was found in them.
        selector: picks one detection in each, or rejects the photo.
        step: called after each photo.
        needs_mask: whether a subject without a usable mask fails.

    Returns:
        The photos that have a subject.

    Raises:
        StageError: the selector raised, or answered with what its hook does not allow.
    """
    seen = [observation for _, observation in observations]
    choices = ask("subject_selector", selector, None, lambda: _choices(selector, seen))
    chosen: list[tuple[Entry, Subject]] = []
    for (entry, observation), choice in zip(observations, choices, strict=True):
        if choice.index is None:
            entry.record.reject(choice.reason or "")
        else:
            subject = observation.detections.subject(choice.index, similarity=choice.similarity)
            entry.record.seen = subject
            if needs_mask and (reason := background.unusable(subject)):
                entry.record.fail("detector", reason)
            else:
                chosen.append((entry, subject))
        step()
    return chosen


def _choices(selector: SubjectSelector, seen: Sequence[Observation]) -> list[Choice]:
    choices = selector.select(seen)
    if not isinstance(choices, list) or len(choices) != len(seen):
        got = len(choices) if isinstance(choices, list) else type(choices).__name__
        raise TypeError(f"expected a list of {len(seen)} Choice, got {got}")
    for choice, observation in zip(choices, seen, strict=True):
        if not isinstance(choice, Choice):
            raise TypeError(f"expected Choice, got {type(choice).__name__}")
        count = len(observation.detections)
        if choice.index is not None and not 0 <= choice.index < count:
            name = observation.photo.name
            raise IndexError(f"{name}: chose detection {choice.index} of {count}")
        if choice.similarity is not None and not math.isfinite(choice.similarity):
            raise ValueError(f"{observation.photo.name}: the similarity is {choice.similarity}")
    return choices
