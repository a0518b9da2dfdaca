"""Build targets; cache the points and a 16x16 thumbnail of each."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from alignimation_core.alignment.subjects import FramedSubject
from alignimation_core.api import geometry
from alignimation_core.api.errors import PhotoError, StageError
from alignimation_core.api.registration import Target, procrustes
from alignimation_core.api.stages import TargetBuilder
from alignimation_core.failure import Failure as PhotoFailure
from alignimation_core.photos import decoder
from alignimation_core.plugin import contract
from alignimation_core.store.fits import Fits, TargetSummary

SUMMARIES_A_BATCH = 32
"""Target summaries that are kept at once."""
THUMBNAIL = 16
"""Side of the thumbnails by which targets without points are compared."""

SAME_WIDTH = 1e-6
"""Relative difference below which widths are the same."""

Shape = tuple[int, int]
"""Channels and points of a target."""
Failure = tuple[str, str]
"""What failed (``photos`` or a kind of stage), and why."""


class Targets:
    """The targets of photos, as one target builder builds them in frames of ``side`` pixels.

    Args:
        builder: what builds them.
        side: of the square frames.
        load: returns the pixels of a photo, and the matrix from them to its working frame.

    Attributes:
        failed: why targets could not be built, by key: they are not tried again.
    """

    def __init__(
        self,
        builder: TargetBuilder,
        side: int,
        load: Callable[[FramedSubject], tuple[Tensor, Tensor]] = lambda item: decoder.load_onto(
            item.photo, item.working_from_photo
        ),
    ) -> None:
        self.builder, self.side, self._load = builder, side, load
        self.failed: dict[str, Failure] = {}
        self._sees_pixels = "pixels" in builder.requires()
        self._keys: dict[FramedSubject, str] = {}

    def keys(self, items: Sequence[FramedSubject]) -> list[str]:
        """Return the digests, hex, of everything that targets depend on, but the builder."""
        if new := [item for item in items if item not in self._keys]:
            frames = torch.stack([item.working_from_photo for item in new]).numpy()
            digests = map(self._digest, new, map(np.ndarray.tobytes, frames))
            self._keys.update(zip(new, digests, strict=True))
        return [self._keys[item] for item in items]

    def _digest(self, item: FramedSubject, frame: bytes) -> str:
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
            words += [None, item.photo.sha256]
        told = names + repr(words).encode() + struct.pack(f"<{len(numbers)}d", *numbers) + frame
        return sha256(told).hexdigest()

    def build(self, item: FramedSubject, fixed: Target | None = None) -> Target:
        """Build one target in its working frame; to be fitted to ``fixed``, as wide as that is.

        The subject's similarity is left out: it depends on the other photos.

        Raises:
            StageError: the builder raised, or built something of another size.
            PhotoError: the builder needs pixels, and the photo can no longer be read.
        """
        subject = replace(item.subject, similarity=None).transformed(
            geometry.as_rows(item.working_from_photo), self._pixels(item)
        )
        size = self.side, self.side
        target = contract.build(self.builder, subject, size, item.photo.name)
        if fixed is None or fixed.width is None or target.width is None:
            return target
        start = procrustes.closed_form(Target.stack([target]), fixed)
        width = float(fixed.width) / float(geometry.scale_of(start[0]))
        if abs(width / float(target.width) - 1) < SAME_WIDTH:
            return target
        return contract.build(self.builder, replace(subject, width=width), size, item.photo.name)

    def attempt(
        self, item: FramedSubject, shape: Shape | None, fixed: Target | None = None
    ) -> Target | Failure:
        """Build one target of so many channels and points, or say why it fails; see ``build``."""
        try:
            target = self.build(item, fixed)
        except PhotoError as error:
            return "photos", error.reason
        except StageError as error:
            return "target_builder", f"{self.builder.name}: {error.reason}"
        return self._misshapen(shape_of(target), shape) or target

    def summarise(
        self, items: Sequence[FramedSubject], kept: Fits
    ) -> tuple[list[FramedSubject], list[TargetSummary], list[PhotoFailure]]:
        """Build every target once and keep its summary: its points and a thumbnail.

        Returns:
            Those whose targets could be built; their summaries; and the failures of the others.
        """
        keys = self.keys(items)
        known = kept.recall_summaries(keys)
        fresh: dict[str, TargetSummary] = {}
        built: list[FramedSubject] = []
        summaries: list[TargetSummary] = []
        failures: list[PhotoFailure] = []
        shape: Shape | None = None
        for item, key in zip(items, keys, strict=True):
            found = known.get(key) or self.attempt(item, shape)
            if isinstance(found, Target):
                found = fresh[key] = known[key] = _summary(found)
            if isinstance(found, TargetSummary):
                got = found.channels, len(found.point_weights) // 4
                shape = shape or got
                found = self._misshapen(got, shape) or found
            if isinstance(found, TargetSummary):
                built.append(item)
                summaries.append(found)
            else:
                self.failed[key] = found
                failures.append(PhotoFailure(item.photo.name, *found))
            if len(fresh) == SUMMARIES_A_BATCH:
                kept.keep_summaries(fresh)
                fresh = {}
        kept.keep_summaries(fresh)
        return built, summaries, failures

    def _misshapen(self, got: Shape, expected: Shape | None) -> Failure | None:
        if expected in (None, got):
            return None
        reason = f"it drew {got} channels and points here, but {expected} before"
        return "target_builder", f"{self.builder.name}: {reason}"

    def _pixels(self, item: FramedSubject) -> Tensor | None:
        """Return the (3, side, side) float32 pixels of the working frame, where they are asked."""
        if not self._sees_pixels:
            return None
        picture, frame_from_picture = self._load(item)
        return geometry.warp_photo(picture, frame_from_picture, (self.side, self.side))


@lru_cache
def _names(side: int, known: tuple[str, ...], found: tuple[str, ...]) -> bytes:
    """Return what the digests of most subjects begin with."""
    return repr((side, known, found)).encode()


def shape_of(target: Target) -> Shape:
    """Return how many channels and points one target has."""
    return len(target.image), len(target.points)


def _summary(target: Target) -> TargetSummary:
    small = functional.adaptive_avg_pool2d(target.image.mean(0, keepdim=True), THUMBNAIL)
    parts = (
        part.detach().cpu().numpy().astype("<f4").tobytes()
        for part in (small, target.points, target.point_weights)
    )
    return TargetSummary(len(target.image), *parts)


def stacked(summaries: Sequence[TargetSummary]) -> Target:
    """Return summaries, one at least, as N stacked targets with (N, 1, 16, 16) images."""
    count = len(summaries)
    columns = zip(*((s.thumbnail, s.points, s.point_weights) for s in summaries), strict=True)
    thumbnails, points, weights = (
        torch.from_numpy(
            np.frombuffer(bytearray().join(parts), "<f4").astype(np.float32, copy=False)
        ).reshape(count, -1)
        for parts in columns
    )
    return Target.of(
        thumbnails.reshape(count, 1, THUMBNAIL, THUMBNAIL),
        points=points.reshape(count, weights.shape[1], 2),
        point_weights=weights,
    )
