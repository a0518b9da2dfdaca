"""Judges: which detector looks at finished frames, and which of its keypoints count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from alignimation_core.api import weights
from alignimation_core.api.data import EYES, TORSO
from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.stages import AnnotationDetector, Detector
from alignimation_core.plugin import contract
from alignimation_core.plugin.guard import stage_errors
from alignimation_core.plugin.registry import registry


@dataclass(frozen=True, slots=True)
class Judge:
    """A detector that looks at finished frames.

    Attributes:
        detector: finds the subject in them.
        keypoints: the names of those that count.
        independent: whether it is of another plugin than the one that the frames were aligned by,
            whose errors it would not see.
    """

    detector: Detector
    keypoints: tuple[str, ...]
    independent: bool


def judges_of(own: Detector) -> list[Judge]:
    """Return who judges frames that were aligned by a detector; the next where one sees nothing.

    First a detector of another plugin that finds the same keypoints, with all its weights on this
    machine; of several the one with the least weights, then the first by name. Then their own.

    Raises:
        AlignimationError: nobody can; the message says why.
    """
    wanted = scored_by(own)
    if not wanted:
        raise AlignimationError(f"{own.name} finds no keypoints to score by")
    others = (
        Judge(other, wanted, independent=True)
        for other in installed(own.device)
        if _plugin(other) != _plugin(own) and scored_by(other) == wanted
    )
    judges = [*islice(others, 1)]
    if not isinstance(own, AnnotationDetector):
        judges.append(Judge(contract.score_detector(own), wanted, independent=False))
    if not judges:
        names = ", ".join(wanted)
        what = f"{own.name} cannot look at frames, and no other detector here finds {names}"
        raise AlignimationError(what)
    return judges


def scored_by(detector: Detector) -> tuple[str, ...]:
    """Return the keypoints that count: those of the torso, else the eyes, else all there are.

    Raises:
        AlignimationError: the detector failed to say what it finds.
    """
    with stage_errors("detector", detector):
        gives = detector.provides()
    names = {each.removeprefix("keypoints.") for each in gives if each.startswith("keypoints.")}
    return next((some for some in (TORSO, EYES) if names.issuperset(some)), tuple(sorted(names)))


def installed(device: str) -> Iterator[Detector]:
    """Yield the installed detectors that could look at frames now, at the least that they cost.

    Those with the least weights come first, then by name; all weights are on this machine.
    """
    found: list[tuple[int, str, Detector]] = []
    for name, registered in registry().stages["detector"].items():
        stage = registered.stage
        if not issubclass(stage, Detector) or issubclass(stage, AnnotationDetector):
            continue
        try:
            options = {"device": device} if "device" in stage.model_fields else {}
            detector = contract.score_detector(stage(**options))
            needed = detector.weights_needed()
            scored_by(detector)
        except Exception:  # noqa: S112  # any failure of a plugin's own code: it judges nothing
            continue
        if all(weights.find(*each) for each in needed):
            found.append((sum(each.size or 0 for each, _ in needed), name, detector))
    yield from (detector for _, _, detector in sorted(found, key=lambda row: row[:2]))


def _plugin(detector: Detector) -> str:
    return type(detector).__module__.partition(".")[0]
