"""Faces by facenet-pytorch: the detector ``mtcnn`` and the embedder ``facenet``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignimation_core import Detections, Detector, Embedder, FaceEmbedder, hookimpl
from alignimation_core.api.stages import RecipePath
from alignimation_core.api.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from alignimation_facenet._facenet import Network
    from alignimation_facenet._landmarks import Cascade

_RELEASE = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"

PRETRAINED = {
    "vggface2": Weights(
        filename="20180402-114759-vggface2.pt",
        url=f"{_RELEASE}20180402-114759-vggface2.pt",
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        size=111_898_327,
        licence="code MIT; trained on VGGFace2 (CC BY-SA 4.0, no longer offered)",
    ),
    "casia-webface": Weights(
        filename="20180408-102900-casia-webface.pt",
        url=f"{_RELEASE}20180408-102900-casia-webface.pt",
        sha256="7a67afdbbc995fce5e10128675e318799a70698c2f433ba75dd7eb9a2f096e7d",
        size=115_887_415,
        licence="code MIT; trained on CASIA-WebFace (research use only)",
    ),
}
"""The published weights of `FaceNet`, by the name that a recipe gives them."""


_BUILDING = Lock()
"""Held by the thread that builds a network; ``cached_property`` lets others build one more."""


class MTCNN(Detector):
    """Faces with five points each: eyes, nose, corners of the mouth.

    Three small networks look for faces in an image pyramid; the last one is then asked again, over
    six upright crops of each face and their mirror images, for points that are exact to a fraction
    of a pixel. The weights are inside facenet-pytorch: nothing is downloaded.

    Keypoints are ``left_eye``, ``right_eye``, ``nose``, ``mouth_left``, ``mouth_right``, where left
    is the subject's; the networks give no score for a single point, so all are 1. A box may reach
    beyond the image where a face is cut by its border.

    Source: Zhang et al., *Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
    Networks*, IEEE Signal Processing Letters 2016; networks and weights of facenet-pytorch (MIT).
    """

    name: ClassVar[str] = "mtcnn"
    parallel: ClassVar[bool] = True

    max_side: Annotated[
        int,
        Field(description="images are reduced so that their longer side is this, pixels", ge=48),
    ] = 1024
    min_face: Annotated[
        int,
        Field(
            description="faces whose longer side is less are left out, pixels of the reduced "
            "image: 40 of 1024 is 1/25 of the photo's longer side (1/24 where a photo is decoded "
            "a little below max_side)",
            ge=20,
        ),
    ] = 40
    score_threshold: Annotated[
        float, Field(description="faces of a lower score are left out", ge=0, lt=1)
    ] = 0.9

    keypoint_names: ClassVar[tuple[str, ...]] = (
        "left_eye",
        "right_eye",
        "nose",
        "mouth_left",
        "mouth_right",
    )

    @model_validator(mode="after")
    def _room_for_a_face(self) -> Self:
        if self.min_face >= self.max_side:
            raise ValueError(
                f"min_face {self.min_face} leaves no face to find in images of max_side "
                f"{self.max_side}; make it smaller"
            )
        return self

    def finds(self) -> str:
        """Return ``face``."""
        return "face"

    def hint(self) -> str:
        """Return that there may be smaller faces."""
        return f"try a smaller `min_face` than {self.min_face}, or another detector"

    def provides(self) -> frozenset[str]:
        """Return ``keypoints`` and each of them by name."""
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in self.keypoint_names)})

    def input_side(self) -> int:
        """Return 19/20 of ``max_side``.

        A quarter of a 12-megapixel photo is 1000 or 1008 pixels across: at the default of 1024
        that is near enough, and decoding at one half would take twice as long.
        """
        return round(0.95 * self.max_side)

    @cached_property
    def network(self) -> Cascade:
        """The three networks, built at first use."""
        from alignimation_facenet._landmarks import Cascade

        return Cascade(self.min_face, self.score_threshold, self.torch_device())

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Find the faces of each image; the base class tells of shapes and coordinates.

        Several threads may call it at once. On a CPU with oneDNN an image gets the same result to
        the bit whatever the number of threads, and whatever other images are given with it.
        """
        with _BUILDING:
            network = self.network
        return [
            Detections(*network.detect(image, self.max_side), keypoint_names=self.keypoint_names)
            for image in images
        ]


class FaceNet(FaceEmbedder):
    """512 numbers that tell faces apart, by InceptionResnetV1.

    Made for boxes around faces, such as `MTCNN` gives; in those of bodies, `MTCNN` looks for the
    face. The crop is the one that the weights were trained on: the box and 7 pixels of 160
    around it, brought to a square. What a box has outside of the image repeats the border.

    Source: Schroff et al., *FaceNet: A Unified Embedding for Face Recognition and Clustering*, CVPR
    2015; Szegedy et al., *Inception-v4, Inception-ResNet and the Impact of Residual Connections on
    Learning*, 2016. Network of facenet-pytorch (MIT), weights ported from David Sandberg's facenet
    (MIT): 99.65 % (``vggface2``) and 99.05 % (``casia-webface``) on Labeled Faces in the Wild.
    VGGFace2 was published under CC BY-SA 4.0 and is no longer offered, CASIA-WebFace is for
    research: whether that binds the weights is for their user to judge.
    """

    name: ClassVar[str] = "facenet"
    parallel: ClassVar[bool] = True

    # A distance of 1.1 between unit vectors, which Schroff et al. show as telling individuals apart
    # (figure 1), is a cosine of 1 - 1.1^2 / 2 = 0.395. For vggface2's weights DeepFace settled on
    # a distance of 1.04, a cosine of 0.46.
    same_above: ClassVar[float] = 0.4

    pretrained: Annotated[
        Literal["vggface2", "casia-webface"],
        Field(description="the faces that the weights were trained on; vggface2 is the better"),
    ] = "vggface2"
    weights: Annotated[
        RecipePath | None,
        Field(description="a file with a state dict, instead of the published weights"),
    ] = None

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the published file, or the user's own."""
        return ((PRETRAINED[self.pretrained], self.weights),)

    @cached_property
    def network(self) -> Network:
        """The network with its weights, built at first use.

        Raises:
            WeightsError: the weights are missing, cannot be fetched, or are not this network's.
        """
        from alignimation_facenet._facenet import Network

        return Network(PRETRAINED[self.pretrained], self.weights, self.torch_device())

    @cached_property
    def _faces_by(self) -> MTCNN:
        return MTCNN(device=self.device)

    def face_detector(self) -> MTCNN:
        """Return `MTCNN`."""
        return self._faces_by

    def embed_faces(
        self, images: Sequence[Tensor], detections: Sequence[Detections]
    ) -> list[Tensor]:
        """Embed every box of every image; the base class tells of shapes and coordinates."""
        with _BUILDING:
            network = self.network
        return network.embed(images, [found.boxes for found in detections])


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return `MTCNN`."""
    return [MTCNN]


@hookimpl
def alignimation_embedders() -> Sequence[type[Embedder]]:
    """Return `FaceNet`."""
    return [FaceNet]
