"""Calls to the stages of plugins, and the validation of what they return.

Every call raises ``StageError`` where the stage raised, or returned what its hook does not allow;
errors of this package's own, which say more than that, pass.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from alignimation_core.api.data import Choice, Detections, Observation, Photo, Subject
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.registration import Registration, Target
from alignimation_core.api.stages import (
    AnnotationDetector,
    Detector,
    Embedder,
    Renderer,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
    Writer,
)
from alignimation_core.api.stages.individuals import IdentitySelector, Shown
from alignimation_core.api.stages.renderers import Effect, Film
from alignimation_core.plugin.guard import call, stage_errors

T = TypeVar("T")

ROUNDING = 1e-4  # how far beyond [0, 1] a score, or a pixel of a target, may be
LENGTH_ROUNDING = 0.01  # how far from 1 an embedding's length may be: of float16, too
LEAST_SIDE = 8  # pixels, of an image in which nothing is as small as one pixel


def detect(detector: Detector, images: Sequence[Tensor]) -> list[Detections]:
    """Run a detector on a batch of (3, h, w) uint8 RGB images, upright.

    Returns:
        One ``Detections`` an image, float32, the precision in which the store keeps them.
    """
    with stage_errors("detector", detector):
        found = _list_of(Detections, detector.detect(images), len(images))
        for detections, image in zip(found, images, strict=True):
            _check_detections(detector, detections, image.shape[-1], image.shape[-2])
        return [_in_float32(detections) for detections in found]


def score_detector(detector: Detector) -> Detector:
    """Return what looks for the subject in finished frames in a detector's place."""
    with stage_errors("detector", detector):
        light: object = detector.score_detector()
        if not isinstance(light, Detector):
            raise TypeError(f"score_detector: expected a Detector, got {type(light).__name__}")
        return light


def annotate(detector: AnnotationDetector, photo: Photo) -> Detections:
    """Look up the annotations of one photo."""
    with stage_errors("detector", detector):
        (found,) = _list_of(Detections, [detector.annotate(photo)], 1)
        _check_detections(detector, found, photo.width, photo.height)
        return found


def embed(
    embedder: Embedder, images: Sequence[Tensor], detections: Sequence[Detections]
) -> list[Tensor]:
    """Embed what was found in each of several (3, h, w) uint8 images; (N, D) float32 an image."""
    with stage_errors("embedder", embedder):
        vectors = _list_of(Tensor, embedder.embed(images, detections), len(images))
        for rows, found in zip(vectors, detections, strict=True):
            if rows.ndim != 2 or len(rows) != len(found):
                got = tuple(rows.shape)
                raise ValueError(f"embeddings: expected shape ({len(found)}, n), got {got}")
            _check_finite("embeddings", rows)
            lengths = rows.norm(dim=1)
            wrong = ((lengths - 1).abs() > LENGTH_ROUNDING) & (lengths > 0)
            if wrong.any():
                raise ValueError(
                    f"embeddings: expected rows of length 1, got {float(lengths[wrong][0]):.4g}; "
                    "torch.nn.functional.normalize(rows, dim=1) makes them so"
                )
        return [rows.detach().float() for rows in vectors]


def select(
    selector: SubjectSelector, observations: Sequence[Observation], shown: Shown
) -> list[Choice]:
    """Run a subject selector on all photos; it is told whom its references show, if it can be."""
    with stage_errors("subject_selector", selector):
        if isinstance(selector, IdentitySelector):
            answers = selector.select_with(observations, shown)
        else:
            answers = selector.select(observations)
        choices = _list_of(Choice, answers, len(observations))
        for choice, observation in zip(choices, observations, strict=True):
            name, count = observation.photo.name, len(observation.detections)
            for index in (choice.index, choice.candidate):
                if index is not None and not 0 <= index < count:
                    raise IndexError(f"{name}: chose detection {index} of {count}")
            if choice.similarity is not None and not math.isfinite(choice.similarity):
                raise ValueError(f"{name}: the similarity is {choice.similarity}")
        return choices


def individuals(
    selector: IdentitySelector, observations: Sequence[Observation]
) -> list[list[tuple[int, int]]]:
    """Ask a selector who appears in the photos."""
    with stage_errors("subject_selector", selector):
        people = selector.individuals(observations)
        for place, index in (face for faces in people for face in faces):
            observations[place].detections.boxes[index]
        return [faces for faces in people if faces]


def build(builder: TargetBuilder, subject: Subject, size: tuple[int, int], photo: str) -> Target:
    """Build the target, (height, width), of a subject in its continuous pixels.

    Torch's random numbers are as at the run's start.
    """
    with stage_errors("target_builder", builder, photo):
        torch.default_generator.manual_seed(torch.initial_seed())  # however many were built before
        target = _one(Target, builder.build(subject, size))
        if target.image.ndim != 3 or target.image.shape[-2:] != size:
            got = tuple(target.image.shape)
            raise ValueError(f"image: expected shape (C, {size[0]}, {size[1]}), got {got}")
        if not target.image.is_floating_point():
            raise TypeError(f"image: expected float32 in [0, 1], got {target.image.dtype}")
        for name in ("image", "weights", "points", "point_weights", "width"):
            numbers = getattr(target, name)
            if numbers is not None and not numbers.isfinite().all():
                raise ValueError(f"{name}: not all numbers are finite")
        for name in ("weights", "point_weights"):
            if (getattr(target, name) < 0).any():
                raise ValueError(f"{name}: expected 0 or more, got {getattr(target, name).min():g}")
        low, high = (float(each) for each in target.image.aminmax())
        if low < -ROUNDING or high > 1 + ROUNDING:
            bad = high if high > 1 + ROUNDING else low
            hint = "; divide by 255" if 2 < high <= 255 else ""
            raise ValueError(f"image: expected 0 to 1, got {bad:g}{hint}")
        return target


def fit(model: TransformModel, moving: Target, fixed: Target, initial: Tensor) -> Registration:
    """Fit a transform model to B stacked targets, from (B, 3, 3) ``fixed_from_moving``."""
    with stage_errors("transform_model", model):
        found = _one(Registration, model.fit(moving, fixed, initial))
        if len(found.matrices) != len(initial):
            raise ValueError(f"expected {len(initial)} matrices, got {len(found.matrices)}")
        return found


def apply(effect: Effect, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
    """Apply an effect to a stream of frames; what it yields is checked, and numbered anew."""
    with stage_errors("effect", effect):
        made = effect.apply(frames, film)
        if not isinstance(made, Iterator):
            raise TypeError(f"apply: expected an iterator of frames, got {type(made).__name__}")
    for index in itertools.count():
        with stage_errors("effect", effect):
            frame: object = next(made, None)
            if frame is None:
                return
            checked = _frame_of(frame, film.canvas)
        yield replace(checked, index=index)


def _frame_of(frame: object, canvas: Canvas) -> Frame:
    found = _one(Frame, frame)
    wanted = (4 if canvas.alpha else 3, canvas.height, canvas.width)
    if tuple(found.image.shape) != wanted or found.image.dtype != torch.uint8:
        got = f"{tuple(found.image.shape)} {str(found.image.dtype).removeprefix('torch.')}"
        raise ValueError(f"expected frames {wanted} uint8, got {got}")
    if found.seconds is not None and not 0 <= found.seconds < math.inf:
        raise ValueError(f"a frame cannot be shown for {found.seconds} seconds")
    return found


def open_writer(renderer: Renderer, canvas: Canvas, count: int, folder: Path) -> Writer:
    """Open the writer of one output."""
    writer = call("renderer", renderer, lambda: renderer.open(canvas, count, folder))
    if not isinstance(writer, Writer):
        raise _unexpected(renderer, "open: expected a Writer", writer)
    return writer


def close_writer(renderer: Renderer, writer: Writer, folder: Path) -> str:
    """Finish one output; return the path of the file or folder in the folder it was opened in."""
    path = call("renderer", renderer, writer.close)
    if not isinstance(path, Path):
        raise _unexpected(renderer, "close: expected a Path", path)
    inside = path.is_relative_to(folder) and path != folder and ".." not in path.parts
    if not (inside and path.exists()):
        text = f"close: expected a file or folder that stands in {folder}, got {path}"
        raise StageError("renderer", renderer.name, text)
    return path.relative_to(folder).as_posix()


def _unexpected(renderer: Renderer, expected: str, answer: object) -> StageError:
    return StageError("renderer", renderer.name, f"{expected}, got {type(answer).__name__}")


def _one(kind: type[T], answer: object) -> T:
    if not isinstance(answer, kind):
        raise TypeError(f"expected a {kind.__name__}, got {type(answer).__name__}")
    return answer


def _list_of(kind: type[T], answers: object, count: int) -> list[T]:
    """Return a stage's answers, one a photo."""
    if not isinstance(answers, list) or len(answers) != count:
        got = f"{len(answers)}" if isinstance(answers, list) else type(answers).__name__
        raise TypeError(f"expected a list of {count} {kind.__name__}, got {got}")
    for answer in answers:
        if not isinstance(answer, kind):
            raise TypeError(f"expected {kind.__name__}, got {type(answer).__name__}")
    return answers


def _in_float32(found: Detections) -> Detections:
    points, scores = found.keypoints, found.keypoint_scores
    return replace(
        found,
        boxes=found.boxes.detach().float(),
        scores=found.scores.detach().float(),
        keypoints=None if points is None else points.detach().float(),
        keypoint_scores=None if scores is None else scores.detach().float(),
    )


def only_alone(error: StageError | PhotoError) -> str:
    """Return what to tell of a stage that failed on a batch, and on none of its photos alone."""
    return (
        f"{error}; this was said of several photos together, and of none of them alone: they were "
        "given to the stage one by one, which takes longer"
    )


def _check_detections(detector: Detector, found: Detections, width: int, height: int) -> None:
    """Check that a detector gives what it promises, in numbers that make sense."""
    promised = detector.provides() - {"keypoints"}
    given = {f"keypoints.{name}" for name in found.keypoint_names}
    if found.masks is not None:
        given.add("masks")
    if not given >= promised:
        missing = ", ".join(sorted(promised - given))
        raise ValueError(f"it says that it provides {missing}, but did not")
    points = found.keypoints
    if points is not None and found.keypoint_scores is not None:
        points = points[found.keypoint_scores > 0]
    for name, values in (("boxes", found.boxes), ("scores", found.scores), ("keypoints", points)):
        if values is not None:
            _check_finite(name, values)
    for name, scores in (("scores", found.scores), ("keypoint_scores", found.keypoint_scores)):
        if scores is not None and not (within := (scores - 0.5).abs() <= 0.5 + ROUNDING).all():
            bad = float(scores[~within][0])
            raise ValueError(f"{name}: expected 0 to 1, got {bad}")
    if not (found.boxes[:, 2:] >= found.boxes[:, :2]).all():
        raise ValueError("boxes: expected (x0, y0, x1, y1) with x0 <= x1 and y0 <= y1")
    for name, places in (("boxes", found.boxes), ("keypoints", points)):
        if places is not None and _are_shares(places, width, height):
            raise ValueError(
                f"{name}: expected pixels of an image of {width} x {height}, got shares of its "
                "sides, 0 to 1; multiply x by the width and y by the height"
            )


def _are_shares(places: Tensor, width: int, height: int) -> bool:
    """Return whether all places lie within the first pixel, where no subject is."""
    if not places.numel() or min(width, height) < LEAST_SIDE:
        return False
    low, high = places.aminmax()
    return bool(low >= 0 and 0 < high <= 1)


def _check_finite(name: str, values: Tensor) -> None:
    if values.device.type != "cpu" or not values.is_floating_point():
        given = f"{values.dtype} on {values.device}"
        raise TypeError(f"{name}: expected torch.float32 on cpu, got {given}")
    if not values.isfinite().all():
        bad = float(values[~values.isfinite()][0])
        raise ValueError(f"{name}: expected finite numbers, got {bad}")
