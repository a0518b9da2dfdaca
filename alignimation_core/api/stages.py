"""The base classes of the stages, but of photo sources (``sources``).

A stage *is* its options: a frozen pydantic model whose fields are what a recipe may set. It *has*
a network, as a ``cached_property``; it never is one. ``MTCNN(min_face=60).detect(images)`` works
in plain Python as it does in a recipe.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from alignimation_core.api.data import (
    Canvas,
    Choice,
    Detections,
    Frame,
    Observation,
    Photo,
    Subject,
)
from alignimation_core.api.gates import Gates
from alignimation_core.api.registration import Registration, Target

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from alignimation_core.api.weights import Weights

Ability = Literal["keypoints", "masks", "embeddings", "pixels"] | str
"""What one stage gives and another needs; a keypoint by name is ``keypoints.left_eye``."""


class Stage(BaseModel, ABC):
    """One step of the pipeline, and its options.

    The first line of the class docstring is what ``alignimation-run --list`` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    """What a recipe says after ``use``."""

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling, as options, without a network."""
        options = {name: getattr(self, name) for name in type(self).model_fields}
        return partial(type(self), **options), ()

    def requires(self) -> frozenset[Ability]:
        """Return what the stages before this one must give, under the options set."""
        return frozenset()

    def provides(self) -> frozenset[Ability]:
        """Return what this stage gives to the stages after it, under the options set."""
        return frozenset()

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the files of weights that the stage loads, each with the user's own file if any.

        ``--check`` and ``--list`` say with it whether they are present.
        """
        return ()


def _in_recipes_folder(path: Path, info: ValidationInfo) -> Path:
    path = Path(info.context["folder"], path) if info.context else path
    kinds = (os.path.isfile, os.path.isdir)  # which never raise
    if os.path.exists(path) and not any(kind(path) for kind in kinds):  # noqa: PTH110
        raise ValueError(f"{path}: this is a pipe or a device; give a file")
    return path


RecipePath = Annotated[Path, AfterValidator(_in_recipes_folder)]
"""A file named in an option: relative to the recipe, in plain Python to the working directory.

What is neither a file nor a folder is refused: a pipe or a device may never end.
"""


def known_device(device: str) -> str:
    """Validate the name of a device.

    Raises:
        ValueError: torch knows no such kind of device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise ValueError(f"{device!r} is not one of auto, cpu, cuda, cuda:N, mps")
    return device


class ComputeStage(Stage):
    """A stage that computes with torch, on a device."""

    device: Annotated[
        str,
        AfterValidator(known_device),
        Field(description="cpu, cuda, cuda:1, mps, or auto: CUDA where there is one, else CPU"),
    ] = "auto"

    def torch_device(self) -> torch.device:
        """Return the device to compute on.

        Raises:
            ValueError: the device asked for is not on this machine.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(self.device)
        if (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
            device.type == "mps" and not torch.backends.mps.is_available()
        ):
            raise ValueError(f"this machine has no device {self.device!r}; use auto or cpu")
        return device


class Detector(ComputeStage):
    """Finds everything in an image that could be the subject."""

    parallel: ClassVar[bool] = False
    """Whether several threads may call ``detect`` at once, each on one core of the CPU.

    It must draw nothing at random then. Otherwise one call at a time has all cores, and random
    numbers seeded anew.
    """

    def input_side(self) -> int | None:
        """Return the longest side, in pixels, that the detector makes use of; None for all of it.

        The pipeline may decode a photo at a smaller scale, but no smaller than this, and scales
        the coordinates of what is found back to the full-size photo.
        """
        return None

    def finds(self) -> str:
        """Return what it finds, in a word, to tell of photos in which there is none."""
        return "subject"

    def hint(self) -> str:
        """Return what to try where it finds nothing."""
        return "try another detector"

    @abstractmethod
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect what could be the subject.

        Args:
            images: (3, h, w) uint8 RGB, upright, each of its own size, on the CPU.

        Returns:
            One ``Detections`` an image, in that image's continuous pixels, on the CPU, best
            first; ``Detections.empty(...)`` where nothing is found.
        """


class AnnotationDetector(Detector):
    """Looks detections up by the photo's file, such as in annotations made by another tool.

    Its pixels are not decoded, and its detections not cached: they change with the annotations.
    """

    device: ClassVar[str] = "cpu"  # type: ignore[misc]  # computes nothing, so it is no option

    def strangers(self, photos: Sequence[Photo]) -> str | None:  # noqa: ARG002
        """Return that the annotations are of none of the photos; None where they are of some."""
        return None

    @abstractmethod
    def annotate(self, photo: Photo) -> Detections:
        """Return the detections of one photo.

        Returns:
            In the full-size upright photo's continuous pixels, on the CPU, best first;
            ``Detections.empty(...)`` where there are none.

        Raises:
            PhotoError: the annotations do not fit the photo.
        """

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:  # noqa: ARG002
        """Refuse: pixels do not tell which photo they are of.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} goes by the photo's file: call annotate(photo)")


class Embedder(ComputeStage):
    """Turns each detection into a vector that tells individuals apart."""

    parallel: ClassVar[bool] = False
    """Whether several threads may call ``embed`` at once; see ``Detector.parallel``."""

    same_above: ClassVar[float]
    """Cosine similarity above which two vectors are likely of the same individual."""

    box_side: ClassVar[int] = 160
    """Pixels across a detection's box that the embedding makes use of; photos may come smaller."""

    def side_for(self, found: Detections) -> int:  # noqa: ARG002
        """Return how many pixels across their boxes the embedding of detections makes use of."""
        return self.box_side

    @abstractmethod
    def embed(self, images: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Embed every detection of every image.

        Args:
            images: (3, h, w) uint8 RGB, upright, each of its own size, on the CPU.
            detections: as many, each in its image's continuous pixels.

        Returns:
            One (N, D) float32 tensor an image, rows of unit length, on the CPU; (0, D) for an
            image without detections.
        """

    def provides(self) -> frozenset[Ability]:
        """Return ``embeddings``."""
        return frozenset({"embeddings"})


class SubjectSelector(Stage):
    """Picks one detection in each photo, or rejects the photo with a reason."""

    gates: Annotated[
        Gates, Field(description="limits on what a photo's subject must be like, of any selector")
    ] = Gates()

    @abstractmethod
    def select(self, observations: Sequence[Observation]) -> list[Choice]:
        """Choose the subject in each photo, with all photos in view.

        Args:
            observations: the numbers of every photo, in the order in which they were taken; pixels
                are not needed, so that choosing again with another threshold costs nothing.

        Returns:
            One ``Choice`` an observation.
        """

    def remarks(self, embedder: Embedder | None) -> Sequence[str]:  # noqa: ARG002
        """Return lines for ``--check`` on options that can hardly be meant with the embedder."""
        return ()

    def photos_named(self) -> Mapping[str, str]:
        """Return the photos that options name, by option: with or without folders, as users write.

        Each must be one of the run's photos, and a trial run (``--limit``) looks at it, too.
        """
        return {}


class TargetBuilder(Stage):
    """Draws what must coincide: Gaussians on keypoints, the mask, their product, the pixels."""

    @abstractmethod
    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        """Build the target of one subject.

        Args:
            subject: its coordinates are continuous pixels of the target to draw. Its similarity is
                left out, which changes with the other photos.
            size: (height, width) of the target.

        Returns:
            A target whose image is (C, height, width) float32 in [0, 1]. C, and P of its points,
            must not depend on the subject: an absent keypoint has weight 0. Where it has a
            ``width``, it is that of the subject, if that has one.
        """


class TransformModel(ComputeStage):
    """Fits the transform that brings each target onto the reference's."""

    working_side: Annotated[
        int, Field(description="side of the square targets that are registered, pixels", ge=16)
    ] = 128

    changes_scale: ClassVar[bool] = True
    """Whether the transform may change the subject's size."""

    @abstractmethod
    def fit(self, moving: Target, fixed: Target, initial: Tensor) -> Registration:
        """Register a batch against one reference.

        Args:
            moving: a stacked batch; its image is (B, C, h, w).
            fixed: the reference; its image is (C, h, w).
            initial: (B, 3, 3) float64 ``fixed_from_moving`` to start from, in the targets'
                continuous pixels: the closed form on the targets' points, or on the moments of
                their images where there are too few points.

        Returns:
            ``fixed_from_moving`` of each photo; what else a ``Registration`` holds may be left out.
        """


class Writer(ABC):
    """Writes the frames of one output one by one; a context manager that closes or aborts."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Write the next frame, in order."""

    @abstractmethod
    def close(self) -> Path:
        """Finish, put the result under its name in the folder, and return that path."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written so far; what stood under the final name stays."""

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close after success; abort after any exception, Ctrl-C included."""
        if kind is None:
            self.close()
        else:
            self.abort()


def _own_effects(given: object, info: ValidationInfo) -> object:
    """Make stages of what a recipe says, by the means that the recipe brings."""
    return info.context["effects"](given) if info.context and given is not None else given


def _written_effects(effects: Sequence[Stage] | None) -> list[dict[str, Any]] | None:
    if effects is None:
        return None
    return [{"use": each.name, **each.model_dump(mode="json")} for each in effects]


class Renderer(Stage):
    """Writes the aligned frames as a file or a folder."""

    path: Annotated[str, Field(description="where to write, relative to the output folder")]
    """With ``/`` between folders, whatever was given."""
    effects: Annotated[
        Sequence[Stage] | None,
        BeforeValidator(_own_effects, json_schema_input_type=Any),
        PlainSerializer(_written_effects),
        Field(description="of this output, in place of the recipe's"),
    ] = None

    @field_validator("path")
    @classmethod
    def _inside_output(cls, path: str) -> str:
        plain = path.replace("\\", "/")
        parts = PurePosixPath(plain)
        if not parts.name or parts.is_absolute() or ".." in parts.parts or ":" in path:
            raise ValueError(f"{path!r} is not a name inside the output folder")
        return plain

    def refuses(self, canvas: Canvas) -> str | None:  # noqa: ARG002
        """Return why frames of a canvas cannot be written, and what to do; None where they can.

        Asked before a run, of a canvas whose size the recipe gives.
        """
        return None

    def frame_rate(self, count: int) -> float:  # noqa: ARG002
        """Return how many frames a second show ``count`` photos; effects go by it.

        12 where the output is no film, or has none.
        """
        return 12.0

    @abstractmethod
    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Open the writer of an output.

        Args:
            canvas: the size that every frame will have.
            count: how many photos will come; one that fails on the way does not, and effects may
                make more frames of them.
            folder: where to write, under ``path``; it exists. In a run it is a hidden folder, out
                of which all outputs get into the output folder together once they are finished.

        Returns:
            A writer. Until it is closed, nothing stands under the final name but what stood there.

        Raises:
            OutputError: the path cannot be written, or holds something that is not an output.
        """
