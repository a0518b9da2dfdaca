"""Base classes of what looks at pictures: detectors and embedders."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from alignimation_core.api import images as pictures
from alignimation_core.api.data import Detections, Photo
from alignimation_core.api.stages.base import Ability, ComputeStage, wrap_own

if TYPE_CHECKING:
    from torch import Tensor


def _detecting(detect: Callable[..., Any]) -> Callable[..., Any]:
    """Take images of either kind, or one alone; hand on a list of uint8."""

    @wraps(detect)
    def of_images(self: Detector, images: Any) -> Any:
        if not pictures.are_many(images):
            return detect(self, [pictures.as_bytes(images)])[0]
        return detect(
            self, [pictures.as_bytes(each, f"images[{i}]") for i, each in enumerate(images)]
        )

    return of_images


def _embedding(embed: Callable[..., Any]) -> Callable[..., Any]:
    """Take images of either kind, or one alone with its detections; hand on lists."""

    @wraps(embed)
    def of_images(self: Embedder, images: Any, detections: Any) -> Any:
        if not pictures.are_many(images):
            return embed(self, [pictures.as_bytes(images)], [detections])[0]
        if len(images) != len(detections):
            raise ValueError(
                f"detections: expected those of {len(images)} images, got {len(detections)}"
            )
        return embed(
            self,
            [pictures.as_bytes(each, f"images[{i}]") for i, each in enumerate(images)],
            detections,
        )

    return of_images


class Detector(ComputeStage):
    """Finds everything in an image that could be the subject.

    Whoever calls ``detect`` may give images of another kind than it is written for: on any device,
    as floating point in [0, 1], and one alone, which gives its ``Detections`` alone.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Let ``detect`` take what images there are."""
        super().__init_subclass__(**options)
        wrap_own(cls, "detect", _detecting)

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

    def score_detector(self) -> Detector:
        """Return what looks for the subject in finished frames in its place, for their score.

        Itself; or, where its keypoints cost more than a look at some frames is worth, the same
        class with options that cost less and give the keypoints that are scored: eyes or torso.
        """
        return self

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

    def strangers(self, photos: Sequence[Photo]) -> str | None:  # noqa: ARG002 - overrides use it
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

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:  # noqa: ARG002 - none is looked at
        """Refuse: pixels do not tell which photo they are of.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{self.name} goes by the photo's file: call annotate(photo)")


class Embedder(ComputeStage):
    """Turns each detection into a vector that tells individuals apart.

    Whoever calls ``embed`` may give images of another kind, as to a ``Detector``; one alone, with
    its ``Detections``, gives its (N, D) alone.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Let ``embed`` take what images there are."""
        super().__init_subclass__(**options)
        wrap_own(cls, "embed", _embedding)

    parallel: ClassVar[bool] = False
    """Whether several threads may call ``embed`` at once; see ``Detector.parallel``."""

    same_above: ClassVar[float]
    """Cosine similarity above which two vectors are likely of the same individual."""

    box_side: ClassVar[int] = 160
    """Pixels across a detection's box that the embedding makes use of; photos may come smaller."""

    def side_for(self, found: Detections) -> int:  # noqa: ARG002 - overrides use it
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
