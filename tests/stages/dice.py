"""Stages that draw at random, one of each kind, from torch's own generator."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import alignimation_discs as discs
import torch

from alignimation_core import Choice, Embedder, hookimpl


class DicingBlobs(discs.Blobs):
    """The same, a little off."""

    name: ClassVar[str] = "dicing-blobs"

    def detect(self, images):
        return [
            replace(seen, keypoints=seen.keypoints + 0.3 * torch.randn(1, 3, 2))
            for seen in super().detect(images)
        ]


class DicingVectors(Embedder):
    """Any direction."""

    name: ClassVar[str] = "dicing-vectors"
    same_above: ClassVar[float] = 0.5

    def embed(self, images, detections):
        return [torch.nn.functional.normalize(torch.randn(len(seen), 4)) for seen in detections]


class Nearness(discs.First):
    """How near to the first photo's vector; without vectors, any similarity."""

    name: ClassVar[str] = "nearness"

    def select(self, observations):
        vectors = [seen.embeddings for seen in observations]
        if vectors[0] is None:
            return [Choice(0, similarity=float(torch.rand(()))) for _ in observations]
        return [Choice(0, similarity=float(rows[0] @ vectors[0][0])) for rows in vectors]


class DicingPoints(discs.Points):
    """The same, a little off."""

    name: ClassVar[str] = "dicing-points"

    def build(self, subject, size):
        target = super().build(subject, size)
        return replace(target, points=target.points + 0.5 * torch.randn(target.points.shape))


class DicingForm(discs.ClosedForm):
    """The same, a little off."""

    name: ClassVar[str] = "dicing-form"

    def fit(self, moving, fixed, initial):
        moved = initial.clone()
        moved[:, :2, 2] += torch.randn(len(initial), 2)
        return super().fit(moving, fixed, moved)


class DicingWriter(discs.ArrayWriter):
    def write(self, frame):
        super().write(
            replace(frame, image=frame.image // 2 + torch.randint(0, 9, (3, 1, 1)).byte())
        )


class DicingArray(discs.Array):
    """The same in another light."""

    name: ClassVar[str] = "dicing-array"

    def open(self, canvas, count, folder):
        return DicingWriter(Path(folder, self.path))


@hookimpl
def alignimation_detectors():
    return [DicingBlobs]


@hookimpl
def alignimation_embedders():
    return [DicingVectors]


@hookimpl
def alignimation_subject_selectors():
    return [Nearness]


@hookimpl
def alignimation_target_builders():
    return [DicingPoints]


@hookimpl
def alignimation_transform_models():
    return [DicingForm]


@hookimpl
def alignimation_renderers():
    return [DicingArray]
