"""dlib's face detectors, its 5 and 68 landmarks and its face embedding, for alignimation.

Code and networks are by Davis King (dlib, Boost licence; networks CC0, from dlib-models). The
networks come with the package `face_recognition_models`, so nothing is downloaded at run time. One
caveat: the 68-point network was trained on iBUG 300-W, whose licence excludes commercial use.

dlib counts pixels by their centres (the top-left pixel is (0, 0)) and rounds landmarks to whole
pixels. Both are undone here: half a pixel is added, and landmarks are found on the face enlarged or
shrunk to `CROP` pixels, where rounding no longer matters. They change with the box and with the
face's tilt; so the detector averages them over several boxes about the upright face and its mirror
image.
"""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from alignimation_core import (
    Detections,
    Detector,
    Embedder,
    FaceEmbedder,
    WeightsError,
    hookimpl,
)

if TYPE_CHECKING:
    from torch import Tensor

CROP = 256
"""Pixels across a face while its landmarks are looked for."""

FRAME = 384
"""Side of the square in which that face stands upright, pixels."""

CROPS = (
    (1.0, 0.0, 0.0),
    (0.92, 0.0, 0.0),
    (1.08, 0.0, 0.0),
    (1.0, 0.04, 0.04),
    (1.0, -0.04, -0.04),
)
"""Boxes to average over: size and shift, as multiples of the one that dlib would draw."""

FRONTAL_FACES = Path(__file__).with_name("frontal_faces.svm")
"""What `dlib.get_frontal_face_detector` unpacks from its own code in 0.9 s, saved unpacked."""

RESNET = "dlib_face_recognition_resnet_model_v1.dat"
"""The network of the embedder."""

PARTS_68 = {
    "jaw": 17,
    "right_eyebrow": 5,
    "left_eyebrow": 5,
    "nose_bridge": 4,
    "nose_base": 5,
    "right_eye": 6,
    "left_eye": 6,
    "outer_lip": 12,
    "inner_lip": 8,
}
"""The parts of iBUG's numbering, from 0 on; the sides are the subject's own."""

POINTS = {
    5: ("left_eye_outer", "left_eye_inner", "right_eye_outer", "right_eye_inner", "nose"),
    68: tuple(f"{part}_{i}" for part, count in PARTS_68.items() for i in range(count)),
}
"""What the networks find, in their order."""

DERIVED: dict[int, dict[str, tuple[int, ...]]] = {
    5: {"left_eye": (0, 1), "right_eye": (2, 3)},
    68: {
        "left_eye": tuple(range(42, 48)),
        "right_eye": tuple(range(36, 42)),
        "nose": (30,),
        "mouth_left": (54,),
        "mouth_right": (48,),
    },
}
"""COCO's and MTCNN's names: each is the mean of these points."""

MIRRORED = {
    5: (2, 3, 0, 1, 4),
    68: (
        *range(16, -1, -1),
        *range(26, 16, -1),
        *range(27, 31),
        *range(35, 30, -1),
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
        *range(54, 47, -1),
        *range(59, 54, -1),
        *range(64, 59, -1),
        *range(67, 64, -1),
    ),
}
"""Which point of the mirror image is each of the face's."""

BOX_OF = {5: ((0, 1), (2, 3), (4,)), 68: ((42, 45), (36, 39), (33,))}
"""Points whose means are the left eye, the right eye and the base of the nose."""


def model(filename: str) -> str:
    """Return the path of a network, without importing the package that brings it.

    Importing `face_recognition_models` needs `pkg_resources`, which setuptools no longer has.

    Raises:
        WeightsError: the package or the file is missing.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "models" / filename
        if path.is_file():
            return str(path)
    raise WeightsError(
        f"{filename} is missing; it comes with a package: pip install face_recognition_models"
    )


OF_THREAD = threading.local()
"""The networks that find faces, by name: each remembers the image that it works on."""


@cache
def shape_predictor(path: str) -> Any:
    """Return dlib's predictor of landmarks in a file; detectors and embedders share it."""
    import dlib

    return dlib.shape_predictor(path)


class Landmarks:
    """A shape predictor that bears any detector's boxes.

    dlib's predictors were trained on dlib's own boxes, squares of 2.27 eye distances, and go wrong
    in a box 1.4 times as large. So they run twice: first in a square of the box's area, then in the
    box that dlib would have drawn about what was found.

    Args:
        count: 5 or 68.
    """

    def __init__(self, count: Literal[5, 68]) -> None:
        self.count = count
        self.predictor = shape_predictor(model(f"shape_predictor_{count}_face_landmarks.dat"))

    def find(self, image: Tensor, box: Sequence[float]) -> tuple[Any, Any, Tensor] | None:
        """Find the landmarks of one face.

        Args:
            image: (3, h, w) uint8.
            box: ``x0, y0, x1, y1`` in continuous pixels.

        Returns:
            The face enlarged or shrunk, (h, w, 3) uint8 numpy; dlib's shape in it; and the points
            (count, 2) float32 in the continuous pixels of ``image``. None for a box that holds
            no pixel of the image.
        """
        import torch

        x0, y0, x1, y1 = box
        side = math.sqrt(max(x1 - x0, 0) * max(y1 - y0, 0))
        height, width = image.shape[1:]
        left, top = (max(math.floor(value - side / 2), 0) for value in (x0, y0))
        right, bottom = math.ceil(min(x1 + side / 2, width)), math.ceil(min(y1 + side / 2, height))
        if side == 0 or right <= left or bottom <= top:
            return None
        crop = image[None, :, top:bottom, left:right]
        size = [max(round(length * CROP / side), 1) for length in crop.shape[2:]]
        face = as_numpy(resized(crop[0], size[0], size[1]))
        origin = torch.tensor([float(left), float(top)])
        scale = torch.tensor([size[1] / (right - left), size[0] / (bottom - top)])
        centre = (torch.tensor([x0 + x1, y0 + y1]) / 2 - origin) * scale
        shape = self.predictor(face, rectangle(centre, CROP))
        shape = self.predictor(face, rectangle(*self._own_box(points_of(shape))))
        return face, shape, points_of(shape) / scale + origin

    def average(self, image: Tensor, points: Tensor) -> Tensor:
        """Find the landmarks again, upright, and average them over `CROPS` and the mirror image.

        Args:
            image: (3, h, w) uint8.
            points: (count, 2) float32, roughly where they are in its continuous pixels.

        Returns:
            (count, 2) float32 in the continuous pixels of ``image``.
        """
        import torch

        from alignimation_core import geometry

        left, right = (points[list(some)].mean(0) for some in BOX_OF[self.count][:2])
        across, down = (left - right).tolist()
        upright_from_image = geometry.rotation(-math.atan2(down, across))
        centre, side = self._own_box(geometry.apply(upright_from_image, points.double()))
        if side == 0:
            return points
        frame_from_image = (
            geometry.translation(FRAME / 2, FRAME / 2)
            @ geometry.scaling(CROP / side, CROP / side)
            @ geometry.translation(*(-centre).tolist())
            @ upright_from_image
        )
        frame = (geometry.warp_photo(image, frame_from_image, (FRAME, FRAME)) * 255).round().byte()
        faces = as_numpy(frame), as_numpy(frame.flip(2))
        middle = torch.tensor([FRAME / 2, FRAME / 2])
        found = []
        for size, x, y in CROPS:
            box = rectangle(middle + CROP * torch.tensor([x, y]), CROP * size)
            plain, mirrored = (points_of(self.predictor(face, box)) for face in faces)
            mirrored = mirrored[list(MIRRORED[self.count])]
            found += [plain, torch.stack([FRAME - mirrored[:, 0], mirrored[:, 1]], 1)]
        mean = torch.stack(found).double().mean(0)
        return geometry.apply(geometry.inverse(frame_from_image), mean).float()

    def _own_box(self, points: Tensor) -> tuple[Tensor, float]:
        """Return centre and side of the square that dlib's detector draws about these points."""
        left, right, nose = (points[list(some)].mean(0) for some in BOX_OF[self.count])
        eyes = float((left - right).norm())
        centre = (left + right + 2 * nose) / 4
        centre[1] += 0.14 * eyes
        return centre, 2.27 * eyes

    def named(self, points: Tensor) -> Tensor:
        """Return the points that are found, then those derived, (count + D, 2)."""
        import torch

        derived = [points[list(some)].mean(0) for some in DERIVED[self.count].values()]
        return torch.cat([points, torch.stack(derived)])


class DlibDetector(Detector):
    """Faces by dlib: box and 68 (or 5) landmarks, with MTCNN's five among their names.

    ``hog`` (a histogram of gradients and a linear classifier) finds faces of 80 pixels and more
    that look into the camera; ``cnn`` also finds turned ones, and takes a hundred times as long
    (3 s for 512 x 512 pixels on two cores). Their score is an unbounded margin m around the
    threshold they were trained for; given here is 1 / (1 + exp(-m)), 0.5 at that threshold.

    With 68 landmarks (Kazemi and Sullivan 2014; iBUG's order) the keypoints are ``jaw_0`` to
    ``jaw_16``, ``right_eyebrow_0`` ... ``inner_lip_7``, and ``left_eye``, ``right_eye`` (the means
    of the lids), ``nose`` (its tip), ``mouth_left``, ``mouth_right``. With 5: the corners of the
    eyes, such as ``left_eye_outer``, ``nose`` (its base), and the eyes as means of their corners.
    """

    name: ClassVar[str] = "dlib"
    device: ClassVar[str] = "cpu"  # the wheel of dlib has no CUDA, so it is no option
    parallel: ClassVar[bool] = True

    model: Annotated[
        Literal["hog", "cnn"], Field(description="hog: fast, frontal faces; cnn: slow, thorough")
    ] = "hog"
    landmarks: Annotated[
        Literal[5, 68],
        Field(description="points in a face; the training data of 68 is for non-commercial use"),
    ] = 68
    max_side: Annotated[
        int, Field(description="longest side of the image that is searched, pixels", ge=64)
    ] = 1024
    upsample: Annotated[
        int, Field(description="times to double that image, to find smaller faces", ge=0, le=3)
    ] = 0
    score_threshold: Annotated[
        float, Field(description="least score; 0.5 is the one dlib was made for", gt=0, lt=1)
    ] = 0.5

    @model_validator(mode="after")
    def _threshold_has_an_effect(self) -> Self:
        if self.model == "cnn" and self.score_threshold < 0.5:
            raise ValueError("score_threshold: model cnn gives no face below 0.5; use 0.5 or more")
        return self

    def finds(self) -> str:
        """Return ``face``."""
        return "face"

    def hint(self) -> str:
        """Return that there may be smaller faces, or turned ones."""
        more = f"`upsample: {self.upsample + 1}`" if self.upsample < 3 else "a larger `max_side`"
        return f"try {more} for smaller faces, or another detector"

    def provides(self) -> frozenset[str]:
        """Return ``keypoints`` and the name of each."""
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in self._names)})

    def input_side(self) -> int:
        """Return ``max_side``."""
        return self.max_side

    def score_detector(self) -> DlibDetector:
        """Return itself with 5 landmarks: they find the eyes, and load in a tenth of the time."""
        return DlibDetector(**{**self.model_dump(), "landmarks": 5})

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Find faces.

        Raises:
            WeightsError: a network is missing.
        """
        return [self._detect(image) for image in images]

    @property
    def _names(self) -> tuple[str, ...]:
        return (*POINTS[self.landmarks], *DERIVED[self.landmarks])

    @cached_property
    def _landmarks(self) -> Landmarks:
        return Landmarks(self.landmarks)

    @property
    def _network(self) -> Any:
        import dlib

        networks = OF_THREAD.__dict__
        if self.model not in networks:
            networks[self.model] = (
                dlib.fhog_object_detector(str(FRONTAL_FACES))
                if self.model == "hog"
                else dlib.cnn_face_detection_model_v1(model("mmod_human_face_detector.dat"))
            )
        return networks[self.model]

    def _detect(self, image: Tensor) -> Detections:
        import torch

        height, width = image.shape[1:]
        shrink = min(1.0, self.max_side / max(height, width))
        small = resized(image, max(round(height * shrink), 1), max(round(width * shrink), 1))
        scale = torch.tensor([width / small.shape[2], height / small.shape[1]]).repeat(2)
        faces = []
        for rectangle_, margin in self._margins(as_numpy(small)):
            corners = [rectangle_.left(), rectangle_.top()]
            corners += [rectangle_.right() + 1, rectangle_.bottom() + 1]  # dlib's is the last pixel
            box = torch.tensor(corners).float() * scale
            score = 1 / (1 + math.exp(-margin))
            landmarks = self._landmarks.find(image, box.tolist())
            if landmarks and score >= self.score_threshold:
                points = self._landmarks.average(image, landmarks[2])
                faces.append((score, box, self._landmarks.named(points)))
        if not faces:
            return Detections.empty(self._names)
        faces.sort(key=lambda face: -face[0])
        scores, boxes, points = zip(*faces, strict=True)
        return Detections(
            boxes=torch.stack(boxes),
            scores=torch.tensor(scores),
            keypoints=torch.stack(points),
            keypoint_names=self._names,
        )

    def _margins(self, image: Any) -> list[tuple[Any, float]]:
        if self.model == "cnn":
            found = self._network(image, self.upsample)
            return [(face.rect, face.confidence) for face in found]
        threshold = math.log(self.score_threshold / (1 - self.score_threshold))
        rectangles, margins, _ = self._network.run(image, self.upsample, threshold)
        return list(zip(rectangles, margins, strict=True))


class DlibEmbedder(FaceEmbedder):
    """Faces told apart by dlib's ResNet: 128 numbers, 99.38 % right on LFW.

    It finds five landmarks in each box by itself, so it works with any detector of faces, and in
    the boxes of bodies it looks for the face. dlib
    takes two vectors less than 0.6 apart for the same person; as its vectors are some 1.43 long,
    this is a cosine similarity of 1 - 0.6² / (2 · 1.43²) = 0.91. Strangers are at 0.8 to 0.9.
    """

    name: ClassVar[str] = "dlib"
    device: ClassVar[str] = "cpu"
    same_above: ClassVar[float] = 0.91

    @cached_property
    def _landmarks(self) -> Landmarks:
        return Landmarks(5)

    @cached_property
    def _network(self) -> Any:
        import dlib

        return dlib.face_recognition_model_v1(model(RESNET))

    @cached_property
    def _faces_by(self) -> DlibDetector:
        return DlibDetector(landmarks=5)

    def face_detector(self) -> DlibDetector:
        """Return the detector `dlib`."""
        return self._faces_by

    def embed_faces(
        self, images: Sequence[Tensor], detections: Sequence[Detections]
    ) -> list[Tensor]:
        """Embed each face; zeros for a box that holds no pixel of its image.

        Raises:
            WeightsError: a network is missing.
        """
        import dlib
        import torch

        embeddings = []
        for image, found in zip(images, detections, strict=True):
            vectors = torch.zeros(len(found), 128)
            faces = [self._landmarks.find(image, box) for box in found.boxes.tolist()]
            chips = [dlib.get_face_chip(face[0], face[1], 150, 0.25) for face in faces if face]
            if chips:
                rows = self._network.compute_face_descriptor(chips)
                some = torch.tensor([face is not None for face in faces])
                vectors[some] = torch.tensor([list(row) for row in rows])
            embeddings.append(torch.nn.functional.normalize(vectors, dim=1))
        return embeddings


def resized(image: Tensor, height: int, width: int) -> Tensor:
    """Return a (3, h, w) uint8 image at another size, averaged where it gets smaller."""
    import torch

    if tuple(image.shape[1:]) == (height, width):
        return image
    return torch.nn.functional.interpolate(
        image[None], (height, width), mode="bilinear", antialias=True
    )[0]


def as_numpy(image: Tensor) -> Any:
    """Return a (3, h, w) image as dlib wants it: (h, w, 3) numpy, contiguous."""
    return image.permute(1, 2, 0).contiguous().numpy()


def rectangle(centre: Tensor, side: float) -> Any:
    """Return dlib's rectangle for a square in continuous pixels."""
    import dlib

    x, y = centre.tolist()
    left, top = round(x - side / 2), round(y - side / 2)
    return dlib.rectangle(left, top, left + round(side) - 1, top + round(side) - 1)


def points_of(shape: Any) -> Tensor:
    """Return the points of dlib's shape, (n, 2) float32 in continuous pixels."""
    import torch

    return torch.tensor([(part.x + 0.5, part.y + 0.5) for part in shape.parts()])


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the detector `dlib`."""
    return [DlibDetector]


@hookimpl
def alignimation_embedders() -> Sequence[type[Embedder]]:
    """Return the embedder `dlib`."""
    return [DlibEmbedder]
