"""Google's MediaPipe for alignimation: bodies in under 0.1 s of one core, without a GPU, and faces.

Code and networks are by the MediaPipe authors (Apache-2.0); they run in `processes` of their own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from alignimation_core import Detections, Detector, Mask, hookimpl
from alignimation_core.api.stages import RecipePath
from alignimation_core.api.weights import Weights, fetch
from alignimation_mediapipe.processes import Processes

if TYPE_CHECKING:
    from torch import Tensor

_MODELS = "https://storage.googleapis.com/mediapipe-models"
_LICENCE = "Apache-2.0, by the MediaPipe authors; https://ai.google.dev/edge/mediapipe"

_LIMBS = "shoulder elbow wrist pinky index thumb hip knee ankle heel foot_index".split()
_BODY = (
    "nose",
    *(f"{side}_eye{part}" for side in ("left", "right") for part in ("_inner", "", "_outer")),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(f"{side}_{limb}" for limb in _LIMBS for side in ("left", "right")),
)
_OUTLINES = {  # in dlib's order, by which the gates know shut eyes and an open mouth
    "left_eye": (362, 385, 387, 263, 373, 380),
    "right_eye": (33, 160, 158, 133, 153, 144),
    "inner_lip": (78, 81, 13, 311, 308, 402, 14, 178),
}
BODY: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(_BODY)}
HEAD: dict[str, tuple[int, ...]] = {
    "left_eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    "right_eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    "nose": (1,),
    "mouth_left": (291,),
    "mouth_right": (61,),
    "left_iris": (473,),
    "right_iris": (468,),
    "jaw_8": (152,),
    **{f"{part}_{i}": (n,) for part, ring in _OUTLINES.items() for i, n in enumerate(ring)},
}
MESH = {f"mesh_{i}": (i,) for i in range(478)}
"""Keypoints: each is the mean of these landmarks of the network. COCO's 17 are in `BODY`."""


class _Landmarker(Detector):
    task: ClassVar[str]
    published: ClassVar[Weights]
    device: ClassVar[str] = "cpu"  # MediaPipe's wheels know no CUDA, so it is no option
    parallel: ClassVar[bool] = True

    weights: Annotated[
        RecipePath | None,
        Field(description="your own file: a .task bundle of the same task; relative to the recipe"),
    ] = None
    score_threshold: Annotated[
        float, Field(description="those of whom the network is less sure are dropped", ge=0, lt=1)
    ] = 0.5
    most: Annotated[int, Field(description="most that are looked for in a photo", ge=1, le=20)] = 5
    max_side: Annotated[
        int, Field(description="longest side of the image that is searched, pixels", ge=64, le=4096)
    ] = 1000  # a 12 MP photo is decoded at a quarter, 1008 pixels

    @field_validator("weights")
    @classmethod
    def _bundle(cls, path: Path | None) -> Path | None:
        network = f"{cls.task.lower()}_landmarks_detector.tflite"
        if path is None or network in _files_in(path):
            return path
        fault = f"no .task bundle with {network} in it" if path.is_file() else "no such file"
        raise ValueError(f"{path}: {fault}; leave this out to use {cls.published.filename}")

    @model_validator(mode="after")
    def _mediapipe_is_there(self) -> Self:
        found = next((each.version for each in metadata.distributions(name="mediapipe")), "none")
        if found.startswith(("none", "0.")):
            raise ValueError(f"needs MediaPipe 1, found {found}; pip install 'mediapipe>=1'")
        return self

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the one bundle."""
        return ((self.published, self.weights),)

    def input_side(self) -> int:
        """Return ``max_side``."""
        return self.max_side

    def finds(self) -> str:
        """Return ``person`` or ``face``."""
        return "person" if self.task == "Pose" else "face"

    def provides(self) -> frozenset[str]:
        """Return ``keypoints``, each by its name, and ``masks`` of persons."""
        masks = {"masks"} if self.task == "Pose" else set()
        return frozenset({"keypoints", *masks, *(f"keypoints.{name}" for name in self.points)})

    def hint(self) -> str:
        """Return that there may be some of whom it is less sure."""
        return f"try a lower `score_threshold` than {self.score_threshold:g}, or another detector"

    @property
    def points(self) -> dict[str, tuple[int, ...]]:
        """The landmarks that each keypoint is the mean of."""
        return BODY

    @cached_property
    def network(self) -> Processes:
        """The network, whose processes are started when first used."""
        path = self.weights or fetch(self.published)
        return Processes(self.task, str(path), self.most, self.score_threshold)

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect; see ``Detector.detect``.

        Raises:
            WeightsError: the bundle is missing or cannot be used.
            RuntimeError: MediaPipe failed on an image.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        import numpy as np
        import torch
        from PIL import Image

        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        if max(picture.size) > 1.1 * self.max_side:  # to shrink by less costs more than it saves
            picture.thumbnail((self.max_side, self.max_side), Image.Resampling.BILINEAR)
        found = []
        for landmarks, box, mask in self.network(np.asarray(picture)):
            points = np.stack([landmarks[list(some)].mean(0) for some in self.points.values()])
            points[((points < 0) | (points > 1)).any(1), 2] = 0  # beyond the border
            seen = points[points[:, 2] > 0, 2]
            if len(seen):
                drawn = mask if mask is None else torch.from_numpy(mask) / 255
                found.append((float(seen.mean()), box, torch.from_numpy(points), drawn))
        names, masked = tuple(self.points), self.task == "Pose"
        if not found:
            return Detections.empty(names, masks=masked)
        found.sort(key=lambda one: (-one[0], -np.prod(np.subtract(one[1][2:], one[1][:2]))))
        scores, boxes, keypoints, masks = zip(*found, strict=True)
        places = torch.stack(keypoints)
        return Detections(
            boxes=torch.tensor(boxes),
            scores=torch.tensor(scores),
            keypoints=places[..., :2],
            keypoint_scores=places[..., 2],
            keypoint_names=names,
            masks=tuple(map(Mask.of, masks, boxes)) if masked else None,
        ).scaled(image.shape[2], image.shape[1])


class MediaPipePose(_Landmarker):
    """Finds persons with mask and 33 keypoints by MediaPipe's pose landmarker, without a GPU.

    BlazePose (Bazarevsky et al., 2020, https://arxiv.org/abs/2006.10204), the full model. Among the
    33 are COCO's 17; a keypoint's score is its visibility, 0 beyond the border. A person's score is
    the mean of those within, the box that of the mask. The network looks for persons in the photo
    shrunk to 224 pixels: of a crowd it finds those in front.
    """

    name: ClassVar[str] = "mediapipe-pose"
    task: ClassVar[str] = "Pose"
    published: ClassVar[Weights] = Weights(
        filename="pose_landmarker_full.task",
        url=f"{_MODELS}/pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
        sha256="5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
        size=9_398_198,
        licence=_LICENCE,
    )


class MediaPipeFace(_Landmarker):
    """Finds faces with up to 478 keypoints by MediaPipe's face landmarker, without a GPU.

    Attention Mesh (Grishchenko et al., 2020, https://arxiv.org/abs/2006.10962). An eye is the mean
    of the 16 points around it. The outlines of eyes and lips have the names of dlib's landmarks, so
    that the gates for shut eyes and open mouths know them. MediaPipe gives no scores of faces: they
    are 1 here, the largest first; a keypoint's is 0 beyond the border.
    """

    name: ClassVar[str] = "mediapipe-face"
    task: ClassVar[str] = "Face"
    published: ClassVar[Weights] = Weights(
        filename="face_landmarker.task",
        url=f"{_MODELS}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
        sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        size=3_758_596,
        licence=_LICENCE,
    )

    mesh: Annotated[bool, Field(description="give all 478, too, as mesh_0 to mesh_477")] = False

    @property
    def points(self) -> dict[str, tuple[int, ...]]:
        """The landmarks that each keypoint is the mean of."""
        return HEAD | MESH if self.mesh else HEAD


def _files_in(path: Path) -> list[str]:
    return zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the two detectors."""
    return [MediaPipePose, MediaPipeFace]
