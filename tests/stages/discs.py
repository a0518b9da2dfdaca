"""Small stages for tests: photos of a red, a green and a blue blob, whose places are known."""

import math
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from alignimation_core import (
    Choice,
    Detections,
    Detector,
    Registration,
    Renderer,
    SubjectSelector,
    Target,
    TargetBuilder,
    TransformModel,
    Writer,
    hookimpl,
)

NAMES = ("red", "green", "blue")
BLOBS = np.array([[-9.0, -5.0], [9.0, -5.0], [0.0, 9.0]])
"""Where the blobs lie about the subject's centre, in the subject's own frame."""
SIZE = (48, 64)


def placed(x, y, angle=0.0, scale=1.0):
    """Return the (3, 3) matrix from the subject's own frame to the photo."""
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1.0]])


def paint(path, photo_from_subject, size=SIZE):
    """Write a photo: one Gaussian blob a colour channel, on black."""
    from PIL import Image

    scale = math.sqrt(np.linalg.det(photo_from_subject[:2, :2]))
    centres = BLOBS @ photo_from_subject[:2, :2].T + photo_from_subject[:2, 2]
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    planes = [
        np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * (2.0 * scale) ** 2)) for x, y in centres
    ]
    Image.fromarray((np.stack(planes, -1) * 255).round().astype(np.uint8)).save(path)


def series(folder, warps, size=SIZE):
    """Paint a photo a warp, one a day; return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"{date(2020, 1, 1) + timedelta(days=i)}.png" for i in range(len(warps))]
    for name, warp in zip(names, warps, strict=True):
        paint(folder / name, warp, size)
    return names


WARPS = (
    placed(32, 24),
    placed(35, 22, math.radians(8), 1.1),
    placed(29, 26, math.radians(-6), 0.9),
    placed(33, 25, math.radians(3), 1.05),
)


class Blobs(Detector):
    """The centroid of each colour."""

    name: ClassVar[str] = "blobs"
    least: Annotated[float, Field(description="least brightness of a blob", ge=0, le=1)] = 0.2

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in NAMES)})

    def detect(self, images):
        import torch

        found = []
        for image in images:
            brightness = image.float() / 255
            if brightness.amax((1, 2)).min() < self.least:
                found.append(Detections.empty(NAMES))
                continue
            mass = brightness.sum((1, 2))
            x = (brightness.sum(1) * (torch.arange(image.shape[2]) + 0.5)).sum(1) / mass
            y = (brightness.sum(2) * (torch.arange(image.shape[1]) + 0.5)).sum(1) / mass
            points = torch.stack([x, y], 1)
            box = torch.cat([points.amin(0) - 4, points.amax(0) + 4])
            found.append(
                Detections(
                    boxes=box[None],
                    scores=torch.ones(1),
                    keypoints=points[None],
                    keypoint_names=NAMES,
                )
            )
        return found


class First(SubjectSelector):
    """The first detection."""

    name: ClassVar[str] = "first"

    def select(self, observations):
        return [
            Choice(0) if len(seen.detections) else Choice(None, "nothing here: 0 blobs")
            for seen in observations
        ]


class Points(TargetBuilder):
    """The keypoints alone, with an empty picture."""

    name: ClassVar[str] = "points"

    def requires(self):
        return frozenset({"keypoints"})

    def build(self, subject, size):
        import torch

        points = torch.tensor([subject.keypoints[name] for name in subject.keypoint_names])
        return Target.of(torch.zeros(1, *size), points=points)


class ClosedForm(TransformModel):
    """The closed form as it is."""

    name: ClassVar[str] = "closed-form"

    def fit(self, moving, fixed, initial):
        import torch

        zeros = torch.zeros(len(initial))
        return Registration(initial, zeros, zeros, zeros.long(), zeros == 0)


class ArrayWriter(Writer):
    """Keeps all frames, and saves them as one NumPy array."""

    def __init__(self, path):
        self.path, self.frames = path, []
        self.part = path.with_name(f".{path.name}.part")
        self.part.write_bytes(b"")

    def write(self, frame):
        self.frames.append(frame.image.numpy())

    def close(self):
        with self.part.open("wb") as stream:
            np.save(stream, np.stack(self.frames) if self.frames else np.zeros(0))
        return self.part.replace(self.path)

    def abort(self):
        self.part.unlink(missing_ok=True)


class Array(Renderer):
    """All frames as one NumPy array."""

    name: ClassVar[str] = "array"
    path: Annotated[str, Field(description="file")] = "frames.npy"

    def open(self, canvas, count, folder):
        return ArrayWriter(Path(folder, self.path))


@hookimpl
def alignimation_detectors():
    return [Blobs]


@hookimpl
def alignimation_subject_selectors():
    return [First]


@hookimpl
def alignimation_target_builders():
    return [Points]


@hookimpl
def alignimation_transform_models():
    return [ClosedForm]


@hookimpl
def alignimation_renderers():
    return [Array]
