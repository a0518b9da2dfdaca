"""Stages that break their contracts, each in one way; see test_kit.py, which runs these tests."""

from typing import Annotated, ClassVar

import torch
from pydantic import Field

from alignimation_core import (
    Choice,
    Detections,
    Detector,
    Effect,
    Embedder,
    Listing,
    PhotoSource,
    Registration,
    Renderer,
    SourcePhoto,
    SubjectSelector,
    Target,
    TargetBuilder,
    TransformModel,
    Writer,
)
from alignimation_core.testing import StageContract


class Brightest(Detector):
    """Finds the middle of all that is bright in an image."""

    name: ClassVar[str] = "brightest"
    names: ClassVar[tuple[str, ...]] = ("middle",)

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in self.names)})

    def detect(self, images):
        return [self.one(image) for image in images]

    def one(self, image):
        mass = image.float().mean(0)
        if not mass.any():
            return Detections.empty(self.names)
        ys, xs = torch.nonzero(mass > 128, as_tuple=True)
        middle = torch.stack([xs, ys], 1).float().mean(0) + 0.5
        size = len(xs) ** 0.5 / 4
        points = middle + torch.arange(len(self.names))[:, None] * 0
        return Detections(
            torch.cat([middle - size, middle + size])[None],
            torch.ones(1),
            points[None],
            keypoint_names=self.names,
        )


class TestSound(StageContract):
    stage = Brightest()


class Shares(Brightest):
    """Gives shares of the sides in the place of pixels."""

    def one(self, image):
        height, width = image.shape[1:]
        return super().one(image).scaled(1 / width, 1 / height)


class TestShares(StageContract):
    stage = Shares()


class Stacking(Brightest):
    """Can only look at images that are all of one size."""

    def detect(self, images):
        return super().detect(torch.stack(list(images)))


class TestStacking(StageContract):
    stage = Stacking()


class Swapped(Brightest):
    """Gives rows and columns in the place of x and y."""

    def one(self, image):
        found = super().one(image)
        return Detections(
            found.boxes[:, [1, 0, 3, 2]], found.scores, found.keypoints, None, ("middle",)
        )


class TestSwapped(StageContract):
    stage = Swapped()


class Mirrored(Brightest):
    """Takes left and right for those of the image."""

    names: ClassVar[tuple[str, ...]] = ("left_eye", "right_eye")

    def one(self, image):
        from alignimation_core.testing import samples

        found = super().one(image)
        for portrait, (left, right, *_) in zip(samples.images(), samples.FACES, strict=False):
            if torch.equal(portrait, image):
                points = torch.tensor([[right, left]])
                return Detections(found.boxes, found.scores, points, None, self.names)
        return found


class TestMirrored(StageContract):
    stage = Mirrored()


class Vandal(Brightest):
    """Writes into the images that it is given to look at."""

    def one(self, image):
        found = super().one(image)
        image[:] = image.clone().clamp(max=254)
        return found


class TestVandal(StageContract):
    stage = Vandal()


class Blind(Brightest):
    """Has another look at frames, which finds something else there."""

    def score_detector(self):
        return Mirrored()


class TestBlind(StageContract):
    stage = Blind()


class Raising(Brightest):
    """Raises an error of its own whatever it looks at."""

    def one(self, image):
        return image.no_such_thing


class TestRaising(StageContract):
    stage = Raising()


class Long(Embedder):
    """Gives rows that are not of unit length."""

    name: ClassVar[str] = "long"
    same_above: ClassVar[float] = 0.9

    def embed(self, images, detections):
        return [
            torch.ones(len(found), 1) * image.float().mean((1, 2))
            for image, found in zip(images, detections, strict=True)
        ]


class TestLong(StageContract):
    stage = Long()


class Alike(Embedder):
    """Takes everybody for the same person."""

    name: ClassVar[str] = "alike"
    same_above: ClassVar[float] = 1.5

    def embed(self, images, detections):
        return [torch.eye(1, 4).repeat(len(found), 1) for found in detections]


class TestAlike(StageContract):
    stage = Alike()


class Careless(SubjectSelector):
    """Takes the first detection, whether there is one or not."""

    name: ClassVar[str] = "careless"

    def select(self, observations):
        return [Choice(0) for _ in observations]


class TestCareless(StageContract):
    stage = Careless()


class Bytes(TargetBuilder):
    """Draws a target of bytes, 0 to 255."""

    name: ClassVar[str] = "bytes"

    def build(self, subject, size):
        return Target.of(torch.full((1, *size), 255.0))


class TestBytes(StageContract):
    stage = Bytes()


class Turned(TargetBuilder):
    """Draws the box with its rows and columns exchanged."""

    name: ClassVar[str] = "turned"

    def build(self, subject, size):
        x0, y0, x1, y1 = subject.box
        grid = torch.arange(size[0]) + 0.5
        inside = ((grid > x0) & (grid < x1))[:, None] & ((grid > y0) & (grid < y1))[None]
        return Target.of(inside.float()[None])


class TestTurned(StageContract):
    stage = Turned()


class Stubborn(TransformModel):
    """Never says that it has converged."""

    name: ClassVar[str] = "stubborn"

    def fit(self, moving, fixed, initial):
        return Registration(initial, converged=torch.zeros(len(initial), dtype=torch.bool))


class TestStubborn(StageContract):
    stage = Stubborn()


class Backwards(TransformModel):
    """Gives the inverse of what it is asked for."""

    name: ClassVar[str] = "backwards"

    def fit(self, moving, fixed, initial):
        found = torch.eye(3).double().repeat(len(initial), 1, 1)
        found[:, :2, 2] = moving.points.double().mean(1) - fixed.points.double().mean(0)
        return Registration(found)


class TestBackwards(StageContract):
    stage = Backwards()


class Hoarding(Effect):
    """Takes all frames before it gives one."""

    name: ClassVar[str] = "hoarding"

    def apply(self, frames, film):
        yield from list(frames)


class TestHoarding(StageContract):
    stage = Hoarding()


class Early(Renderer):
    """Writes under its final name from the beginning."""

    name: ClassVar[str] = "early"
    path: Annotated[str, Field(description="the file")] = "early.bin"

    def open(self, canvas, count, folder):
        return EarlyWriter(folder / self.path)


class EarlyWriter(Writer):
    def __init__(self, path):
        self.path = path

    def write(self, frame):
        with self.path.open("ab") as file:
            file.write(frame.image.numpy().tobytes())

    def close(self):
        return self.path

    def abort(self):
        self.path.unlink()


class TestEarly(StageContract):
    stage = Early()


class Doubling(PhotoSource):
    """Lists a photo twice, and opens no picture."""

    name: ClassVar[str] = "doubling"

    def find(self):
        return Listing([SourcePhoto(self, "a", "/a.jpg"), SourcePhoto(self, "a", "/a.jpg")])

    def open(self, key):
        return b"none"


class TestDoubling(StageContract):
    stage = Doubling()


class Untold(Brightest):
    name: ClassVar[str] = "Un told"
    use: int = 5


class TestUntold(StageContract):
    stage = Untold()
