"""Subjects -> targets, drawn in their working frames; of each, a sketch is kept."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.registration import Target
from alignimation_core.api.stages import TargetBuilder
from alignimation_core.detection.inference import ask
from alignimation_core.photos import decoder
from alignimation_core.store.fits import Fits, Sketch

if TYPE_CHECKING:
    from alignimation_core.alignment.alignment import Chosen

BATCH = 32
"""Sketches that are kept at once."""
THUMBNAIL = 16
"""Side of the thumbnails by which targets without points are compared."""

Shape = tuple[int, int]
"""Channels and points of a target."""
Failure = tuple[str, str]
"""What failed (``photos`` or a kind of stage), and why."""


class Drawing:
    """A target builder at work.

    Args:
        builder: draws the targets.
        side: of the square working frames, pixels.

    Attributes:
        failed: why targets could not be sketched, by key: they are not drawn again.
    """

    def __init__(self, builder: TargetBuilder, side: int) -> None:
        self.builder, self.side = builder, side
        self.failed: dict[str, Failure] = {}
        self._sees_pixels = "pixels" in builder.requires()
        self._keys: dict[Chosen, str] = {}

    def key(self, item: Chosen) -> str:
        """Return the digest, hex, of everything that a target depends on, but the builder."""
        if item not in self._keys:
            self._keys[item] = self._digest(item)
        return self._keys[item]

    def _digest(self, item: Chosen) -> str:
        subject, mask = item.subject, item.subject.mask
        names = _names(self.side, tuple(subject.keypoint_names), tuple(subject.keypoints))
        words: list[object] = []
        numbers = [*subject.box, subject.score, *subject.keypoint_scores.values()]
        for point in subject.keypoints.values():
            numbers += point
        if [*subject.keypoint_scores] != [*subject.keypoints]:
            words += subject.keypoint_scores
        if mask is not None:
            words += [None, mask.height, mask.width, sha256(mask.data).digest()]
            numbers += [value for row in mask.image_from_mask for value in row]
        if self._sees_pixels:
            words += [None, item.entry.photo.sha256]
        frame = item.working_from_photo.numpy().tobytes()
        told = names + repr(words).encode() + struct.pack(f"<{len(numbers)}d", *numbers) + frame
        return sha256(told).hexdigest()

    def draw(self, item: Chosen) -> Target:
        """Draw one target in its working frame.

        The subject's similarity is left out: it depends on the other photos.

        Raises:
            StageError: the builder raised, or drew something of another size.
            PhotoError: the builder needs pixels, and the photo can no longer be read.
        """
        size = self.side, self.side
        seen = replace(item.subject, similarity=None)
        subject = seen.transformed(geometry.as_rows(item.working_from_photo), self._pixels(item))

        def verb() -> Target:
            torch.default_generator.manual_seed(torch.initial_seed())  # however many are known
            target = self.builder.build(subject, size)
            _check(target, size)
            return target

        return ask("target_builder", self.builder, item.entry.photo.name, verb)

    def attempt(self, item: Chosen, shape: Shape | None) -> Target | Failure:
        """Draw one target of so many channels and points, or say why it fails."""
        try:
            target = self.draw(item)
        except PhotoError as error:
            return "photos", error.reason
        except StageError as error:
            return "target_builder", f"{self.builder.name}: {error.reason}"
        return self._misshapen(shape_of(target), shape) or target

    def sketch(self, chosen: Sequence[Chosen], kept: Fits) -> tuple[list[Chosen], Target]:
        """Draw every target once and keep of each its points and a thumbnail.

        What fails is noted in the photo's record, and left out.

        Returns:
            The N that could be drawn; and stacked, with (N, 1, 16, 16) images, their sketches.
        """
        keys = [self.key(item) for item in chosen]
        known = kept.recall_sketches(keys)
        fresh: dict[str, Sketch] = {}
        drawn: list[Chosen] = []
        sketches: list[Sketch] = []
        shape: Shape | None = None
        for item, key in zip(chosen, keys, strict=True):
            sketch = known.get(key)
            failure: Failure | None = None
            if sketch is None:
                target = self.attempt(item, shape)
                if isinstance(target, Target):
                    sketch = fresh[key] = known[key] = _sketch(target)
                else:
                    failure = target
            if sketch is not None:
                got = sketch.channels, len(sketch.point_weights) // 4
                failure = self._misshapen(got, shape)
                shape = shape or got
            if failure is not None:
                self.failed[key] = failure
                item.entry.record.fail(*failure)
            elif sketch is not None:
                drawn.append(item)
                sketches.append(sketch)
            if len(fresh) == BATCH:
                kept.keep_sketches(fresh)
                fresh = {}
        kept.keep_sketches(fresh)
        return drawn, _stacked(sketches)

    def _misshapen(self, got: Shape, expected: Shape | None) -> Failure | None:
        if expected in (None, got):
            return None
        reason = f"it drew {got} channels and points here, but {expected} before"
        return "target_builder", f"{self.builder.name}: {reason}"

    def _pixels(self, item: Chosen) -> Tensor | None:
        """Return the (3, side, side) float32 pixels of the working frame, where they are asked."""
        if not self._sees_pixels:
            return None
        picture, frame_from_picture = decoder.load_onto(item.entry.photo, item.working_from_photo)
        return geometry.warp_photo(picture, frame_from_picture, (self.side, self.side))


@lru_cache
def _names(side: int, known: tuple[str, ...], found: tuple[str, ...]) -> bytes:
    """Return what the digests of most subjects begin with."""
    return repr((side, known, found)).encode()


def shape_of(target: Target) -> Shape:
    """Return how many channels and points one target has."""
    return len(target.image), len(target.points)


def _check(target: object, size: tuple[int, int]) -> None:
    """Refuse what is no target of this size, or not all finite."""
    if not isinstance(target, Target):
        raise TypeError(f"expected a Target, got {type(target).__name__}")
    if target.image.ndim != 3 or target.image.shape[-2:] != size:
        got = tuple(target.image.shape)
        raise ValueError(f"image: expected shape (C, {size[0]}, {size[1]}), got {got}")
    if not target.image.is_floating_point():
        raise TypeError(f"image: expected float32 in [0, 1], got {target.image.dtype}")
    for name in ("image", "weights", "points", "point_weights"):
        if not getattr(target, name).isfinite().all():
            raise ValueError(f"{name}: not all numbers are finite")


def _sketch(target: Target) -> Sketch:
    small = functional.adaptive_avg_pool2d(target.image.mean(0, keepdim=True), THUMBNAIL)
    parts = (
        part.detach().cpu().numpy().astype("<f4").tobytes()
        for part in (small, target.points, target.point_weights)
    )
    return Sketch(len(target.image), *parts)


def _stacked(sketches: Sequence[Sketch]) -> Target:
    count = len(sketches)
    thumbnails, points, weights = (
        torch.from_numpy(
            np.frombuffer(bytearray().join(parts), "<f4").astype(np.float32, copy=False)
        ).reshape(count, -1)
        if count
        else torch.zeros(0, 0)
        for parts in (
            [sketch.thumbnail for sketch in sketches],
            [sketch.points for sketch in sketches],
            [sketch.point_weights for sketch in sketches],
        )
    )
    side = THUMBNAIL if count else 0
    return Target.of(
        thumbnails.reshape(count, 1, side, side),
        points=points.reshape(count, weights.shape[1], 2),
        point_weights=weights,
    )
