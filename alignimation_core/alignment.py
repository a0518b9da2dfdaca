"""Subjects -> the transform that brings each photo onto the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core import geometry, photos, procrustes
from alignimation_core.data import Subject
from alignimation_core.errors import AlignimationError, PhotoError, StageError
from alignimation_core.observations import Entry, ask
from alignimation_core.reference import typical
from alignimation_core.registration import Registration, Target
from alignimation_core.stages import TargetBuilder, TransformModel

BATCH = 32
FILL = 0.5
"""Share of a working frame's side that the subject's box takes: the rest is room to move."""
SKETCH = 16
"""Side of the thumbnails by which targets without points are compared."""
SMALLEST_AREA = 1e-6
"""Share of a subject's area that a transform may leave of it; it may grow by the inverse."""
MEAN_PASSES = 2


@dataclass(slots=True, eq=False)
class Chosen:
    """A photo with its subject, on its way to the canvas.

    Attributes:
        entry: the photo and its record.
        subject: in the photo's full-size upright pixels.
        working_from_photo: (3, 3) float64, into the square frame in which targets are drawn.
        reference_from_photo: (3, 3) float64, into the reference photo's full-size pixels; NaN
            until fitted.
    """

    entry: Entry
    subject: Subject
    working_from_photo: Tensor
    reference_from_photo: Tensor


def choose(pairs: Sequence[tuple[Entry, Subject]], model: TransformModel) -> list[Chosen]:
    """Give each subject its working frame: centred on its box, which fills half of the side.

    A model that keeps sizes gets one scale for all photos, so that its transform in the working
    frames is the same kind of transform between the photos.
    """
    side = model.working_side
    sizes = [max(s.box[2] - s.box[0], s.box[3] - s.box[1], 1.0) for _, s in pairs]
    if not model.changes_scale:
        sizes = [sorted(sizes)[len(sizes) // 2]] * len(sizes)
    chosen = []
    for (entry, subject), size in zip(pairs, sizes, strict=True):
        x0, y0, x1, y1 = subject.box
        scale = FILL * side / size
        frame = (
            geometry.translation(side / 2, side / 2)
            @ geometry.scaling(scale, scale)
            @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
        )
        chosen.append(Chosen(entry, subject, frame, torch.full((3, 3), torch.nan)))
    return chosen


def draw(chosen: Chosen, builder: TargetBuilder, side: int) -> Target:
    """Draw one target in its working frame.

    Raises:
        StageError: the builder raised, or drew something of another size.
        PhotoError: the builder needs pixels, and the photo can no longer be read.
    """
    photo, frame = chosen.entry.photo, chosen.working_from_photo
    image = None
    if "pixels" in builder.requires():
        full = photos.load(photo.path, round(max(photo.height, photo.width) * frame[0, 0].item()))
        reduced = geometry.scaling(photo.width / full.shape[-1], photo.height / full.shape[-2])
        image = geometry.warp_photo(full, frame @ reduced, (side, side))[:3]
    subject = chosen.subject.transformed(geometry.as_rows(frame), image)

    def verb() -> Target:
        target = builder.build(subject, (side, side))
        if not isinstance(target, Target):
            raise TypeError(f"expected a Target, got {type(target).__name__}")
        if target.image.ndim != 3 or target.image.shape[-2:] != (side, side):
            got = tuple(target.image.shape)
            raise ValueError(f"image: expected shape (C, {side}, {side}), got {got}")
        if not target.image.is_floating_point():
            raise TypeError(f"image: expected float32 in [0, 1], got {target.image.dtype}")
        for name in ("image", "weights", "points", "point_weights"):
            if not getattr(target, name).isfinite().all():
                raise ValueError(f"{name}: not all numbers are finite")
        return target

    return ask("target_builder", builder, photo.name, verb)


def align(
    chosen: Sequence[Chosen],
    builder: TargetBuilder,
    model: TransformModel,
    reference: str,
    step: Callable[[], None],
) -> tuple[list[Chosen], Chosen]:
    """Bring every photo onto the reference.

    A photo whose target or fit fails is noted in its record and left out.

    Args:
        chosen: photos with their subjects, in order.
        builder: draws the targets.
        model: fits the transforms.
        reference: ``medoid``, ``mean``, ``first`` or the name of a photo.
        step: called after each photo.

    Returns:
        The photos that were aligned, and what they were aligned on: one of them, or for ``mean``
        the most typical one with the mean shape for its keypoints.

    Raises:
        AlignimationError: no photo is left, or the reference named is not among them.
    """
    drawn, sketches = _sketch(chosen, builder, model.working_side)
    if not drawn:
        raise AlignimationError("no photo is left to align; see the reasons in run.json")
    fixed = drawn[_reference(drawn, sketches, reference)]
    aligned = _fit(drawn, fixed, builder, model, step)
    if fixed not in aligned:
        raise AlignimationError(
            f"{fixed.entry.photo.name}: the reference could not be aligned with itself: "
            f"{fixed.entry.record.reason}; set `reference` to another photo"
        )
    if reference == "mean":
        for _ in range(MEAN_PASSES):
            fixed = replace(fixed, subject=mean_subject(aligned, fixed.subject))
            aligned = _fit(aligned, fixed, builder, model, lambda: None)
    return aligned, fixed


def _fit(
    drawn: Sequence[Chosen],
    reference: Chosen,
    builder: TargetBuilder,
    model: TransformModel,
    step: Callable[[], None],
) -> list[Chosen]:
    """Fit every photo to one reference; return those that could be fitted."""
    fixed = draw(reference, builder, model.working_side)
    reference_from_working = torch.linalg.inv(reference.working_from_photo)
    aligned: list[Chosen] = []
    for start in range(0, len(drawn), BATCH):
        pairs = [
            (item, target)
            for item in drawn[start : start + BATCH]
            if (target := _try_draw(item, builder, model.working_side, _shape(fixed)))
        ]
        batch, targets = [item for item, _ in pairs], [target for _, target in pairs]
        for item, matrix, registration, i in _fit_each(batch, targets, fixed, model):
            reason = registration.failures[i] or _unusable(matrix)
            if reason:
                item.entry.record.fail("transform_model", f"{model.name}: {reason}")
            else:
                item.reference_from_photo = (
                    reference_from_working @ matrix.double() @ item.working_from_photo
                )
                item.entry.record.iterations = int(registration.iterations[i])
                aligned.append(item)
        for _ in drawn[start : start + BATCH]:
            step()
    return aligned


def mean_subject(aligned: Sequence[Chosen], reference: Subject) -> Subject:
    """Return the reference with the mean of all photos' aligned keypoints for its own.

    A photo whose keypoints lie far from the mean (three times the median distance) has no say.

    Args:
        aligned: the photos, with their transforms to the reference.
        reference: the subject aligned on, in the pixels that the transforms lead to.
    """
    names = [name for name in reference.keypoint_names if name in reference.keypoints]
    if not names:
        return reference
    places = torch.full((len(aligned), len(names), 2), torch.nan, dtype=torch.float64)
    for row, item in zip(places, aligned, strict=True):
        for place, name in zip(row, names, strict=True):
            if name in item.subject.keypoints:
                place[:] = torch.tensor(item.subject.keypoints[name], dtype=torch.float64)
    places = geometry.apply(torch.stack([a.reference_from_photo for a in aligned]), places)
    middle = places.nanmedian(0).values
    distance = (places - middle).square().sum(-1).nanmean(1)
    trusted = places[distance <= 9 * distance.nanmedian()]
    mean = torch.where(trusted.isnan().all(0), middle, trusted.nanmean(0))
    keypoints = {name: (x, y) for name, (x, y) in zip(names, mean.tolist(), strict=True)}
    return replace(reference, keypoints=keypoints)


def _sketch(
    chosen: Sequence[Chosen], builder: TargetBuilder, side: int
) -> tuple[list[Chosen], Target]:
    """Draw every target once and keep of each its points and a thumbnail."""
    drawn: list[Chosen] = []
    sketches: list[Target] = []
    shape: tuple[int, int] | None = None
    for item in chosen:
        target = _try_draw(item, builder, side, shape)
        if target is None:
            continue
        shape = _shape(target)
        small = functional.adaptive_avg_pool2d(target.image.mean(0, keepdim=True), SKETCH)
        sketches.append(Target.of(small, points=target.points, point_weights=target.point_weights))
        drawn.append(item)
    return drawn, Target.stack(sketches) if sketches else Target.of(torch.zeros(1, 1, 1, 1))


def _shape(target: Target) -> tuple[int, int]:
    return len(target.image), len(target.points)


def _try_draw(
    item: Chosen, builder: TargetBuilder, side: int, shape: tuple[int, int] | None
) -> Target | None:
    """Draw one target of so many channels and points; note in the photo's record why it fails."""
    try:
        target = draw(item, builder, side)
    except PhotoError as error:
        item.entry.record.fail("photos", error.reason)
        return None
    except StageError as error:
        item.entry.record.fail("target_builder", f"{builder.name}: {error.reason}")
        return None
    if shape not in (None, _shape(target)):
        reason = f"it drew {_shape(target)} channels and points here, but {shape} before"
        item.entry.record.fail("target_builder", f"{builder.name}: {reason}")
        return None
    return target


def _reference(drawn: Sequence[Chosen], sketches: Target, wanted: str) -> int:
    if wanted in ("medoid", "mean"):
        return typical(sketches)
    if wanted == "first":
        return 0
    names = [item.entry.photo.name for item in drawn]
    for at, name in enumerate(names):
        if wanted in (name, name.rpartition("/")[2]):
            return at
    raise AlignimationError(
        f"the reference {wanted!r} is not among the photos used; name one that is, "
        f"such as {names[0]}, or set `reference: medoid`"
    )


def _fit_each(
    batch: Sequence[Chosen], targets: Sequence[Target], fixed: Target, model: TransformModel
) -> list[tuple[Chosen, Tensor, Registration, int]]:
    """Fit a batch; when the model raises, each photo alone, to lose only that one."""
    if not batch:
        return []

    def verb() -> Registration:
        moving = Target.stack(targets)
        answer = model.fit(moving, fixed, procrustes.closed_form(moving, fixed))
        if not isinstance(answer, Registration):
            raise TypeError(f"expected a Registration, got {type(answer).__name__}")
        if len(answer.matrices) != len(batch):
            raise ValueError(f"expected {len(batch)} matrices, got {len(answer.matrices)}")
        return answer

    try:
        registration = ask("transform_model", model, None, verb)
    except StageError as error:
        if len(batch) == 1:
            batch[0].entry.record.fail("transform_model", f"{model.name}: {error.reason}")
            return []
        alone = zip(batch, targets, strict=True)
        return [row for item, one in alone for row in _fit_each([item], [one], fixed, model)]
    matrices = registration.matrices.detach().cpu()
    return [(item, matrices[i], registration, i) for i, item in enumerate(batch)]


def _unusable(matrix: Tensor) -> str | None:
    if not matrix.isfinite().all():
        return "it gave a transform with numbers that are not finite"
    if not SMALLEST_AREA < float(torch.linalg.det(matrix.double())) < 1 / SMALLEST_AREA:
        return "it gave a transform that mirrors, flattens or explodes the photo"
    return None
