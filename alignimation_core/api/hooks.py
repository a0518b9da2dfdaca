"""The hooks: one a kind of stage, without arguments, each returning classes.

A plugin is any installed distribution with an entry point in the group ``alignimation`` that
names a module; the module implements one or more of these functions, marked with ``hookimpl``::

    [project.entry-points.alignimation]
    my-plugin = "my_package"
"""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from alignimation_core.api.stages import (
    Detector,
    Embedder,
    Renderer,
    SubjectSelector,
    TargetBuilder,
    TransformModel,
)
from alignimation_core.api.stages.renderers import Effect
from alignimation_core.api.stages.sources import PhotoSource

PROJECT = "alignimation"
"""Name of the pluggy project and of the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin as its implementation of the hook of that name."""


@hookspec
def alignimation_photo_sources() -> Sequence[type[PhotoSource]]:
    """Return classes that list photos, and open them.

    A complete plugin, for photos in a table of an SQLite file::

        import sqlite3
        from datetime import datetime
        from typing import Annotated, ClassVar

        from alignimation_core import Listing, PhotoSource, SourcePhoto, hookimpl
        from alignimation_core.api.stages import RecipePath
        from pydantic import Field


        class Booth(PhotoSource):
            \"\"\"Photos of a photo booth, which keeps them in a table.\"\"\"

            name: ClassVar[str] = "booth"
            path: Annotated[RecipePath, Field(description="the SQLite file")]

            def find(self):
                rows = self._ask("SELECT rowid, taken FROM photos")
                photos = [
                    SourcePhoto(
                        self,
                        key=str(row),
                        place=f"{self.path}/{row}.jpg",
                        taken=datetime.fromisoformat(taken),
                        taken_from="booth",
                        version="1",  # a photo in the table never changes
                    )
                    for row, taken in rows
                ]
                return Listing(photos, why=f"{self.path} holds no photos")

            def open(self, key):
                ((picture,),) = self._ask("SELECT picture FROM photos WHERE rowid = ?", key)
                return picture

            def _ask(self, query, *values):
                booth = sqlite3.connect(self.path)
                try:
                    return booth.execute(query, values).fetchall()
                finally:
                    booth.close()


        @hookimpl
        def alignimation_photo_sources():
            return [Booth]

    In a recipe: ``photos: {use: booth, path: booth.sqlite3}``. What a source knows of the time at
    which a photo was taken counts where the photo itself does not say.
    """
    return ()


@hookspec
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return classes that find everything in an image that could be the subject.

    A complete plugin, whose detector takes the brightest spot of a photo for the subject::

        from collections.abc import Sequence
        from typing import Annotated, ClassVar

        from alignimation_core import Detections, Detector, hookimpl
        from pydantic import Field


        class BrightestSpot(Detector):
            \"\"\"Finds the brightest pixel, for series of the moon.\"\"\"

            name: ClassVar[str] = "brightest-spot"
            radius: Annotated[float, Field(description="half the box, pixels", gt=0)] = 20.0

            def provides(self):
                return frozenset({"keypoints", "keypoints.spot"})

            def detect(self, images):
                import torch  # heavy imports belong inside the verb

                found = []
                for image in images:  # (3, h, w) uint8
                    brightness = image.float().mean(0)
                    y, x = divmod(int(brightness.argmax()), brightness.shape[1])
                    spot = torch.tensor([x + 0.5, y + 0.5])  # centre of the pixel
                    found.append(
                        Detections(
                            boxes=torch.cat([spot - self.radius, spot + self.radius])[None],
                            scores=brightness.max()[None] / 255,
                            keypoints=spot[None, None],
                            keypoint_names=("spot",),
                        )
                    )
                return found


        @hookimpl
        def alignimation_detectors():
            return [BrightestSpot]

    A detector that goes by the photo's file rather than by its pixels, such as one that reads
    another tool's annotations, is an ``AnnotationDetector``; its verb is ``annotate(photo)``.

    A detector that finds nothing returns ``Detections.empty(("spot",))`` for that image. It may
    also give masks (``Mask.of``); then ``provides`` names ``masks``. A single point gives a
    transform no size and no direction: with this detector, use ``transform_model: translation``.
    """
    return ()


@hookspec
def alignimation_embedders() -> Sequence[type[Embedder]]:
    """Return classes that turn each detection into a vector that tells individuals apart.

    A complete example, which tells individuals apart by the mean colour inside the box::

        class MeanColour(Embedder):
            \"\"\"Mean colour of the box: enough to tell a black cat from a white one.\"\"\"

            name: ClassVar[str] = "mean-colour"
            same_above: ClassVar[float] = 0.99

            def embed(self, images, detections):
                import torch

                rows = []
                for image, faces in zip(images, detections, strict=True):
                    vectors = torch.zeros(len(faces), 3)
                    for i, (x0, y0, x1, y1) in enumerate(faces.boxes.clamp(min=0).int().tolist()):
                        vectors[i] = image[:, y0 : y1 + 1, x0 : x1 + 1].float().mean((1, 2)) + 1
                    rows.append(torch.nn.functional.normalize(vectors, dim=1))
                return rows


        @hookimpl
        def alignimation_embedders():
            return [MeanColour]
    """
    return ()


@hookspec
def alignimation_subject_selectors() -> Sequence[type[SubjectSelector]]:
    """Return classes that pick one detection in each photo, or reject the photo with a reason.

    A complete example::

        class Leftmost(SubjectSelector):
            \"\"\"Takes the detection nearest to the left edge.\"\"\"

            name: ClassVar[str] = "leftmost"

            def select(self, observations):
                return [
                    Choice(int(observation.detections.boxes[:, 0].argmin()))
                    if len(observation.detections)
                    else Choice(None, reason="nobody in the photo")
                    for observation in observations
                ]


        @hookimpl
        def alignimation_subject_selectors():
            return [Leftmost]
    """
    return ()


@hookspec
def alignimation_target_builders() -> Sequence[type[TargetBuilder]]:
    """Return classes that draw what must coincide.

    A complete example, which draws the subject's box::

        class Box(TargetBuilder):
            \"\"\"The subject's box, filled.\"\"\"

            name: ClassVar[str] = "box"

            def build(self, subject, size):
                import torch

                x0, y0, x1, y1 = subject.box  # in pixels of the target
                ys = torch.arange(size[0])[:, None] + 0.5
                xs = torch.arange(size[1])[None, :] + 0.5
                inside = (xs > x0) & (xs < x1) & (ys > y0) & (ys < y1)
                corners = torch.tensor([[x0, y0], [x1, y0], [x0, y1], [x1, y1]])
                return Target.of(inside.float()[None], points=corners)


        @hookimpl
        def alignimation_target_builders():
            return [Box]
    """
    return ()


@hookspec
def alignimation_transform_models() -> Sequence[type[TransformModel]]:
    """Return classes that fit the transform between two targets.

    A complete example, which trusts the closed form that it is given::

        class ClosedForm(TransformModel):
            \"\"\"The closed form on the targets' points, as it is.\"\"\"

            name: ClassVar[str] = "closed-form"

            def fit(self, moving, fixed, initial):
                return Registration(initial)


        @hookimpl
        def alignimation_transform_models():
            return [ClosedForm]
    """
    return ()


@hookspec
def alignimation_effects() -> Sequence[type[Effect]]:
    """Return classes that change the film: frames in, frames out, in order, few at a time.

    A complete example, which shows the first frame longer, and all others paler and paler::

        from collections.abc import Iterator
        from dataclasses import replace

        class Fading(Effect):
            \"\"\"Lets the photos pale with time.\"\"\"

            name: ClassVar[str] = "fading"
            hold: Annotated[float, Field(description="seconds of the first photo", ge=0)] = 1.0

            def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
                for i, frame in enumerate(frames):
                    white = i / len(film.photos)
                    colours = frame.image[:3].float()  # a fourth channel is the opacity
                    image = frame.image.clone()  # others may show the frame as it was
                    image[:3] = (colours + white * (255 - colours)).round().byte()
                    yield replace(frame, image=image, seconds=None if i else self.hold)


        @hookimpl
        def alignimation_effects():
            return [Fading]

    In a recipe: ``effects: [{use: fading, hold: 2}]``.
    """
    return ()


@hookspec
def alignimation_renderers() -> Sequence[type[Renderer]]:
    """Return classes that write the aligned frames.

    A complete example, which averages all frames into one picture::

        class MeanWriter(Writer):
            def __init__(self, path):
                self.path, self.total, self.count = path, 0, 0

            def write(self, frame):  # frame.image: (3, h, w) uint8
                self.total, self.count = self.total + frame.image.double(), self.count + 1

            def close(self):
                import imageio.v3 as iio
                from alignimation_core.api.atomic import AtomicWrite

                mean = (self.total / self.count).round().byte()
                with AtomicWrite(self.path) as part:  # the name appears only when finished
                    iio.imwrite(part, mean.permute(1, 2, 0).numpy(), extension=self.path.suffix)
                return self.path

            def abort(self):
                pass  # nothing was written yet


        class Mean(Renderer):
            \"\"\"The average of all frames as one picture.\"\"\"

            name: ClassVar[str] = "mean"
            path: Annotated[str, Field(description="file, such as mean.png")] = "mean.png"

            def open(self, canvas, count, folder):
                return MeanWriter(folder / self.path)


        @hookimpl
        def alignimation_renderers():
            return [Mean]
    """
    return ()
