"""Alignment of one photo, or of some, on another, without a run."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, overload

import torch
from torch import Tensor

from alignimation_core.alignment.fits import FITS_A_BATCH, fit_each, onto_reference
from alignimation_core.alignment.subjects import in_working_frames
from alignimation_core.alignment.targets import Targets, shape_of
from alignimation_core.api import geometry, images
from alignimation_core.api.data import File, Observation, Photo, Subject
from alignimation_core.api.errors import AlignimationError, PhotoError, RecipeError, StageError
from alignimation_core.api.registration import Target
from alignimation_core.api.stages import (
    AnnotationDetector,
    Detector,
    Embedder,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
)
from alignimation_core.detection import gates, inference, quality
from alignimation_core.detection.turns import in_turned, turned
from alignimation_core.photos import decoder, listing
from alignimation_core.plugin import contract
from alignimation_core.recipe.recipe import Recipe

logger = logging.getLogger(__name__)

Picture: TypeAlias = "Tensor | str | File | Photo"
"""A photo: its pixels, its file, or its facts as ``order`` lists them."""


@dataclass(frozen=True, slots=True, eq=False)
class AlignedPhoto:
    """A photo aligned on another; as one row of a ``Registration``, but between whole photos.

    Attributes:
        matrix: (3, 3) float64 ``fixed_from_moving``, in the continuous pixels of both upright
            photos; NaN where it failed.
        moving_size: (height, width) of the moving photo.
        size: (height, width) of the fixed photo.
        residual_before: root mean square difference of the two targets at the start of the fit.
        residual: the same at its end.
        iterations: of the fit.
        converged: whether it ended by itself.
        failure: why the photo cannot be aligned; None where it is.
    """

    matrix: Tensor
    moving_size: tuple[int, int]
    size: tuple[int, int]
    residual_before: float = math.nan
    residual: float = math.nan
    iterations: int = 0
    converged: bool = False
    failure: str | None = None

    def warp(self, photo: Picture, *, padding: geometry.Padding = "zeros") -> Tensor:
        """Return the moving photo, or another picture of its size, as it lies on the fixed one.

        Args:
            photo: (3, h, w) uint8 or floating point in [0, 1], on any device; or its file.
            padding: what lies outside the photo: ``zeros``, its ``border`` or its ``reflection``.

        Returns:
            (3, height, width) of the fixed photo's size: uint8 for uint8 and for files, else
            float32 in [0, 1]. It is free of aliasing.

        Raises:
            AlignimationError: the photo could not be aligned; or its file cannot be read.
            TypeError, ValueError: it is no such image, or of another size than the moving photo.
        """
        if self.failure is not None:
            raise AlignimationError(self.failure)
        given: Any = photo
        image = decoder.load(given) if _is_file(given) else given
        images.check(image, "photo")
        if tuple(image.shape[1:]) != self.moving_size:
            wanted = (3, *self.moving_size)
            raise ValueError(f"photo: expected shape {wanted}, got {tuple(image.shape)}")
        warped = geometry.warp_photo(image, self.matrix, self.size, padding=padding)
        return (warped * 255).round().byte() if image.dtype == torch.uint8 else warped


@overload
def align(  # type: ignore[overload-overlap]  # a text is one file, and no sequence of texts
    moving: Picture,
    fixed: Picture,
    *,
    detector: Detector | str = ...,
    embedder: Embedder | str | None = ...,
    subject_selector: SubjectSelector | str | None = ...,
    target_builder: TargetBuilder | str | None = ...,
    transform_model: TransformModel | str | None = ...,
) -> AlignedPhoto: ...


@overload
def align(
    moving: Sequence[Picture],
    fixed: Picture,
    *,
    detector: Detector | str = ...,
    embedder: Embedder | str | None = ...,
    subject_selector: SubjectSelector | str | None = ...,
    target_builder: TargetBuilder | str | None = ...,
    transform_model: TransformModel | str | None = ...,
) -> list[AlignedPhoto]: ...


def align(
    moving: Picture | Sequence[Picture],
    fixed: Picture,
    *,
    detector: Detector | str = "mtcnn",
    embedder: Embedder | str | None = None,
    subject_selector: SubjectSelector | str | None = None,
    target_builder: TargetBuilder | str | None = None,
    transform_model: TransformModel | str | None = None,
) -> AlignedPhoto | list[AlignedPhoto]:
    """Align one photo, or each of a list, on another: its subject onto the other's subject.

    Each stage is one, or the name of one with its defaults; what is left out is what a recipe has
    by default. Photos are what ``load`` returns, floating point in [0, 1], or files; of files of a
    list, one at a time is in memory.

    Args:
        moving: the photo to align, or a list of them, or a stacked (B, 3, h, w).
        fixed: the photo to align on.
        detector: finds what could be the subject.
        embedder: tells individuals apart, for a selector that needs it.
        subject_selector: picks the subject in each photo, with all of them in view.
        target_builder: draws what must coincide.
        transform_model: fits the transform.

    Returns:
        The photo aligned. Of a list, one each: what cannot be aligned has its ``failure``.

    Raises:
        AlignimationError: of one photo, why it cannot be aligned; of the fixed one, always.
        RecipeError: the stages cannot work together, or there is none of such a name.
        TypeError, ValueError: a photo is no image; the message says what to do.
    """
    chosen = {
        "detector": detector,
        "embedder": embedder,
        "subject_selector": subject_selector,
        "target_builder": target_builder,
        "transform_model": transform_model,
    }
    given = {kind: stage for kind, stage in chosen.items() if stage is not None}
    stages = Recipe.of({"photos": ["."], **given})
    for location, _ in stages.references():
        text = "it names photos, which only a run looks at; leave it out"
        raise RecipeError([stages.fault(location, text)])
    many = images.are_many(moving)
    listed: list[Any] = list(moving) if many else [moving]  # type: ignore[arg-type]  # told by are_many
    candidates = [_Candidate.of(fixed, "fixed")]
    candidates += [
        _Candidate.of(each, f"moving[{i}]" if many else "moving") for i, each in enumerate(listed)
    ]
    for candidate in candidates:
        candidate.look(stages)
        candidates[0].raise_failure()
    _select(candidates, stages.subject_selector)
    candidates[0].raise_failure()
    aligned = _fitted(candidates[0], candidates[1:], stages)
    if many:
        return aligned
    candidates[1].raise_failure()
    return aligned[0]


@dataclass(slots=True, eq=False)
class _Candidate:
    """A photo on its way; ``failure``: why it does not get further."""

    photo: Photo
    image: Tensor | None = None
    observation: Observation | None = None
    subject: Subject | None = None
    failure: str | None = None

    @classmethod
    def of(cls, picture: Any, label: str) -> _Candidate:
        """Read what is known of a photo without its pixels."""
        if isinstance(picture, Photo):
            return cls(picture)
        if _is_file(picture):
            try:
                return cls(listing.facts_of(picture))
            except PhotoError as error:
                return cls(_facts_of(str(picture), (0, 0)), failure=error.reason)
        image = images.as_bytes(picture, label)
        return cls(_facts_of(label, (image.shape[1], image.shape[2])), image)

    @property
    def size(self) -> tuple[int, int]:
        return self.photo.height, self.photo.width

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise AlignimationError(f"{self.photo.name}: {self.failure}")

    def load_onto(self, frame_from_photo: Tensor) -> tuple[Tensor, Tensor]:
        """Return its pixels and the matrix from them, as ``decoder.load_onto``."""
        if self.image is not None:
            return self.image, frame_from_photo
        return decoder.load_onto(self.photo, frame_from_photo)

    def look(self, stages: Recipe) -> None:
        """Find what could be the subject, and measure what the stages need of it."""
        if self.failure is not None:
            return
        try:
            self.observation = self._observed(stages)
        except (PhotoError, StageError) as error:
            self.failure = error.reason

    def _observed(self, stages: Recipe) -> Observation:
        detector, embedder = stages.detector, stages.embedder
        pixels: Tensor | None = self.image
        if isinstance(detector, AnnotationDetector):
            if pixels is not None:
                what = f"{self.photo.name}: expected a file, got its pixels"
                raise TypeError(f"{what}; {detector.name} goes by the photo's file")
            found = contract.annotate(detector, self.photo)
            nothing = detector.strangers([self.photo]) or detector.hint()
        else:
            pixels = decoder.load(self.photo) if pixels is None else pixels
            found = inference.find(detector, pixels)
            nothing = detector.hint()
        observation = Observation(
            self.photo, found, nothing_found=f"no {detector.finds()} was found: {nothing}"
        )
        measured = stages.subject_selector.gates.needs_pixels()
        if pixels is None and (embedder or measured):
            pixels = decoder.load(self.photo)
        if pixels is not None and measured:
            measures = quality.measure(pixels, self.photo, found.boxes)
            observation = replace(observation, measures=measures)
        if pixels is not None and embedder is not None:
            upright = turned(pixels, found.turn)
            (rows,) = contract.embed(embedder, [upright], [in_turned(found, self.size)])
            observation = replace(observation, embeddings=rows, same_above=embedder.same_above)
        return observation


def _is_file(picture: object) -> bool:
    return isinstance(picture, str | Photo) or hasattr(picture, "as_posix")


def _facts_of(label: str, size: tuple[int, int]) -> Photo:
    return Photo(Path(label), label, "", *size, datetime(1970, 1, 1), "file")


def _select(candidates: Sequence[_Candidate], selector: SubjectSelector) -> None:
    """Pick the subject of each photo in which something could be seen."""
    seen = [(each, each.observation) for each in candidates if each.observation is not None]
    observations = [observation for _, observation in seen]
    choices = contract.select(selector, observations, {})
    values = gates.values(observations, choices)
    for (candidate, observation), choice, value in zip(seen, choices, values, strict=True):
        held = gates.held(selector.gates, choice, value)
        if held.index is None:
            candidate.failure = held.reason
        else:
            candidate.subject = observation.detections.subject(
                held.index, similarity=held.similarity
            )


def _fitted(fixed: _Candidate, moving: Sequence[_Candidate], stages: Recipe) -> list[AlignedPhoto]:
    """Fit what was found; photos that fail on the way say why."""
    model = stages.transform_model
    good = [fixed, *(each for each in moving if each.failure is None)]
    subjects = [(each.photo, each.subject) for each in good if each.subject is not None]
    frames = dict(zip(good, in_working_frames(subjects, model), strict=True))
    owner = {frame: each for each, frame in frames.items()}
    targets = Targets(
        stages.target_builder,
        model.working_side,
        lambda item: owner[item].load_onto(item.working_from_photo),
    )
    reference = targets.build(frames[fixed])
    built: dict[_Candidate, Target] = {}
    for each in good[1:]:
        target = targets.attempt(frames[each], shape_of(reference), reference)
        if isinstance(target, Target):
            built[each] = target
        else:
            each.failure = target[1]
    aligned: dict[_Candidate, AlignedPhoto] = {}
    for start in range(0, len(built), FITS_A_BATCH):
        batch = list(built)[start : start + FITS_A_BATCH]
        fits = fit_each({each: built[each] for each in batch}, reference, model, logger.warning)
        for each, found in fits.items():
            each.failure = found.failure
            if found.failure is None:
                aligned_subjects, failures = onto_reference(
                    [(frames[each], found)], frames[fixed], model
                )
                if failures:
                    each.failure = failures[0].reason
                else:
                    matrix = aligned_subjects[0].reference_from_photo
                    aligned[each] = AlignedPhoto(
                        matrix,
                        each.size,
                        fixed.size,
                        residual_before=found.residual_before,
                        residual=found.residual,
                        iterations=found.iterations,
                        converged=found.converged,
                    )
    nowhere = torch.full((3, 3), math.nan, dtype=torch.float64)
    return [
        aligned.get(each)
        or AlignedPhoto(
            nowhere, each.size, fixed.size, failure=f"{each.photo.name}: {each.failure}"
        )
        for each in moving
    ]
