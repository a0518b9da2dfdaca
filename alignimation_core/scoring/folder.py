"""The score of a folder of frames, whichever tool has made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from alignimation_core.api.data import EYES
from alignimation_core.api.errors import AlignimationError, Fault, PluginError, RecipeError
from alignimation_core.api.files import PHOTO_SUFFIXES
from alignimation_core.api.stages import AnnotationDetector, Detector
from alignimation_core.execution.executor import Threads, torch_threads
from alignimation_core.photos import decoder
from alignimation_core.photos.order import natural
from alignimation_core.plugin import contract
from alignimation_core.plugin.registry import registry
from alignimation_core.scoring.judges import Judge, installed, scored_by
from alignimation_core.scoring.looking import Look, Pixels
from alignimation_core.scoring.score import Score, Scorer


def score_frames(frames: Sequence[Path], judge: Judge, step: Callable[[], None]) -> Score:
    """Return the score of frames, given in order and all of one size.

    Args:
        frames: pictures, of which at most ``MOST`` are read.
        judge: who looks at them.
        step: called after each frame.

    Raises:
        PhotoError: a frame cannot be read.
        AlignimationError: they are of more than one size.
    """
    scorer = Scorer(judge, len(frames))
    chosen = [frames[i] for i in scorer.sample]
    sizes: dict[tuple[int, int], str] = {}
    with torch_threads(1):
        executor = Threads()
        work = scorer.looking(_load, executor.cores)
        answers = executor.map(work, ([path] for path in chosen))
        for path, (look,) in zip(chosen, answers, strict=True):
            assert isinstance(look, Look)  # threads lose nothing, and what cannot be read raises
            sizes.setdefault(look.size, path.name)
            scorer.take(look)
            step()
    if len(sizes) > 1:
        told = " and ".join(f"{name} has {w}x{h} pixels" for (h, w), name in [*sizes.items()][:2])
        raise AlignimationError(f"{told}; the frames of a film are all of one size")
    return scorer.score()


def frames_in(folder: Path) -> list[Path]:
    """Return the pictures in a folder, in the order of their names.

    Raises:
        RecipeError: there are none.
    """
    advice = "give a folder of frames"
    try:
        files = [each for each in folder.iterdir() if each.name[0] != "."]
    except OSError as error:
        what = f"{error.strerror}; {advice}"
        raise RecipeError([Fault(str(folder), None, "", what)]) from error
    frames = [each for each in files if each.suffix.lower() in PHOTO_SUFFIXES]
    if not frames:
        what = f"there is no picture in it; {advice}"
        raise RecipeError([Fault(str(folder), None, "", what)])
    return sorted(frames, key=lambda file: (natural(file.name), file.name))


def judge_named(name: str | None) -> Judge:
    """Return the judge of a name; without one, the installed detector of faces that costs least.

    Raises:
        PluginError: there is no such detector, or it cannot judge.
    """
    if name is None:
        able = (each for each in installed("auto") if scored_by(each) == EYES)
        if (lightest := next(able, None)) is None:
            raise PluginError("no installed detector finds eyes; give one: --detector NAME")
        return Judge(lightest, EYES, independent=True)
    found = registry().stages["detector"].get(name)
    if found is None:
        raise PluginError(registry().explain_unknown("detector", name))
    try:
        stage = found.stage()
    except ValueError as error:
        raise PluginError(f"{name} needs options, and cannot look at frames") from error
    assert isinstance(stage, Detector)
    detector = contract.score_detector(stage)
    points = scored_by(detector)
    if not points or isinstance(detector, AnnotationDetector):
        raise PluginError(f"{name} finds no keypoints in frames; give another detector")
    return Judge(detector, points, independent=True)


def _load(paths: list[Path]) -> list[Pixels]:
    return [np.ascontiguousarray(decoder.load(path).permute(1, 2, 0).numpy()) for path in paths]
