"""Google's MediaPipe for alignimation: bodies in under 0.1 s of one core, without a GPU, and faces.

Code and networks are by the MediaPipe authors (Apache-2.0). They run in processes of their own:
MediaPipe 1 reports to Google how it is used and has no switch for it, so these are given a proxy
that is not there; it looks at one image at a time; and it writes where progress is shown.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from alignimation_core import Detections, Detector, Mask, WeightsError, hookimpl
from alignimation_core.api.errors import in_one_line
from alignimation_core.api.processes import Processes
from alignimation_core.api.stages import RecipePath
from alignimation_core.api.weights import Weights, fetch

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

_MODELS = "https://storage.googleapis.com/mediapipe-models"
_LICENCE = "Apache-2.0, by the MediaPipe authors; https://ai.google.dev/edge/mediapipe"
_NOWHERE = "http://127.0.0.1:9"  # a port of this machine at which nobody listens
_UNREPORTED = {"https_proxy": _NOWHERE, "HTTPS_PROXY": _NOWHERE, "no_proxy": None, "NO_PROXY": None}

# Keypoints by name: each is the mean of these landmarks of the network.
_BODY = """
    nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer
    left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow
    left_wrist right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb
    left_hip right_hip left_knee right_knee left_ankle right_ankle left_heel right_heel
    left_foot_index right_foot_index
"""
_POINTS = {"nose": 1, "mouth_left": 291, "mouth_right": 61, "left_iris": 473, "right_iris": 468}
_OUTLINES = {  # in dlib's order, by which the gates know shut eyes and an open mouth
    "left_eye": (362, 385, 387, 263, 373, 380),
    "right_eye": (33, 160, 158, 133, 153, 144),
    "inner_lip": (78, 81, 13, 311, 308, 402, 14, 178),
}
BODY: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(_BODY.split())}
HEAD: dict[str, tuple[int, ...]] = {
    "left_eye": (263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    "right_eye": (33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    **{name: (i,) for name, i in _POINTS.items()},
    "jaw_8": (152,),
    **{f"{part}_{i}": (n,) for part, ring in _OUTLINES.items() for i, n in enumerate(ring)},
}
MESH = {f"mesh_{i}": (i,) for i in range(478)}


class _Landmarker(Detector):
    task: ClassVar[str]
    published: ClassVar[Weights]
    device: ClassVar[str] = "cpu"  # MediaPipe's wheels know no CUDA, so it is no option
    parallel: ClassVar[bool] = True

    weights: Annotated[
        RecipePath | None, Field(description="your own .task bundle; relative to the recipe")
    ] = None
    score_threshold: Annotated[
        float, Field(description="those of whom the network is less sure are dropped", ge=0, lt=1)
    ] = 0.5
    most: Annotated[int, Field(description="most that are looked for in a photo", ge=1, le=20)] = 5
    # A photo of 12 megapixels is decoded at a quarter then, at 1008 pixels.
    max_side: Annotated[int, Field(description="longest side used, pixels", ge=64, le=4096)] = 1000

    @field_validator("weights")
    @classmethod
    def _is_bundle(cls, path: Path | None) -> Path | None:
        network = f"{cls.task}_landmarks_detector.tflite"
        with suppress(OSError, zipfile.BadZipFile):
            if path is None or network in zipfile.ZipFile(path).namelist():
                return path
        fault = f"no .task bundle with {network} in it" if path.is_file() else "no such file"
        raise ValueError(f"{path}: {fault}; leave this out to use {cls.published.filename}")

    @model_validator(mode="after")
    def _has_mediapipe(self) -> Self:
        found = next((each.version for each in metadata.distributions(name="mediapipe")), "none")
        if found.startswith(("none", "0.")):
            raise ValueError(f"needs MediaPipe 1, found {found}; pip install 'mediapipe>=1'")
        return self

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        return ((self.published, self.weights),)

    def input_side(self) -> int:
        return self.max_side

    def finds(self) -> str:
        return "person" if self.task == "pose" else "face"

    def provides(self) -> frozenset[str]:
        masks = {"masks"} if self.task == "pose" else set()
        return frozenset({"keypoints", *masks, *(f"keypoints.{name}" for name in self.points)})

    def hint(self) -> str:
        return f"try a lower `score_threshold` than {self.score_threshold:g}, or another detector"

    @property
    def points(self) -> dict[str, tuple[int, ...]]:
        """The landmarks that each keypoint is the mean of."""
        return BODY

    @cached_property
    def network(self) -> partial[list[tuple[Any, ...]]]:
        """``_look`` for one image, in processes that start when they are needed."""
        path = str(self.weights or fetch(self.published))
        processes = Processes(_look, env=_UNREPORTED)
        return partial(processes, self.task, path, self.most, self.score_threshold)

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        import numpy as np
        import torch
        from PIL import Image

        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        if max(picture.size) > 1.1 * self.max_side:  # to shrink by less costs more than it saves
            picture.thumbnail((self.max_side, self.max_side), Image.Resampling.BILINEAR)
        names, masked = tuple(self.points), self.task == "pose"
        found = self.network(np.asarray(picture))
        if not found:
            return Detections.empty(names, masks=masked)
        boxes, landmarks, masks = zip(*found, strict=True)
        every = torch.from_numpy(np.stack(landmarks))
        points = torch.stack([every[:, list(some)].mean(1) for some in self.points.values()], 1)
        places, sure = points[..., :2], points[..., 2]
        sure[((places < 0) | (places > 1)).any(-1)] = 0  # beyond the border
        scores = sure.sum(1) / (sure > 0).sum(1).clamp(min=1)
        best = [i for i in scores.argsort(descending=True, stable=True).tolist() if scores[i] > 0]
        cut = tuple(Mask.of(torch.from_numpy(masks[i]) / 255, boxes[i]) for i in best if masked)
        return Detections(
            boxes=torch.tensor(boxes)[best],
            scores=scores[best],
            keypoints=places[best],
            keypoint_scores=sure[best],
            keypoint_names=names,
            masks=cut if masked else None,
        ).scaled(image.shape[2], image.shape[1])


class MediaPipePose(_Landmarker):
    """Finds persons with mask and 33 keypoints by MediaPipe's pose landmarker, without a GPU.

    BlazePose (Bazarevsky et al., 2020, https://arxiv.org/abs/2006.10204), the full model. Among the
    33 are COCO's 17; a keypoint's score is its visibility, 0 beyond the border. A person's score is
    the mean of those within, the box that of the mask. The network looks for persons in the photo
    shrunk to 224 pixels: of a crowd it finds those in front.
    """

    name: ClassVar[str] = "mediapipe-pose"
    task: ClassVar[str] = "pose"
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
    task: ClassVar[str] = "face"
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
        """Those of the head, and all 478 if wanted."""
        return HEAD | MESH if self.mesh else HEAD


def _look(task: str, path: str, most: int, confidence: float, image: ndarray) -> list[Any]:
    """Find persons or faces in an (h, w, 3) uint8 image; called in processes of its own.

    Of each, the largest first, it returns the box ``x0, y0, x1, y1``; (P, 3) float32 landmarks, x,
    y and how sure it is that they are to be seen; and the (h, w) uint8 mask in the box, None for a
    face. Coordinates are in sides of the image.
    """
    import mediapipe
    import numpy as np
    from PIL import Image

    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
    result = _landmarker(task, path, most, confidence).detect(picture)
    found: list[tuple[Any, ...]] = []
    if task == "face":
        for one in result.face_landmarks:
            points = np.array([(p.x, p.y, 1) for p in one], "f4")
            found.append(((*points.min(0)[:2].tolist(), *points.max(0)[:2].tolist()), points, None))
    else:
        for one, soft in zip(result.pose_landmarks, result.segmentation_masks or (), strict=True):
            points = np.array([(p.x, p.y, p.visibility) for p in one], "f4")
            whole = Image.fromarray((soft.numpy_view()[..., 0] * 255).round().astype("u1"))
            if box := whole.point(lambda value: 255 * (value > 127)).getbbox():
                mask = whole.crop(box)
                mask.thumbnail((160, 160), Image.Resampling.BILINEAR)  # the network drew 256
                found.append((np.divide(box, 2 * whole.size).tolist(), points, np.array(mask)))
    return sorted(found, key=lambda one: -np.prod(np.subtract(one[0][2:], one[0][:2])))


@cache
def _landmarker(task: str, path: str, most: int, confidence: float) -> Any:
    from mediapipe.tasks.python import BaseOptions, vision

    name = f"{task.title()}Landmarker"
    options = {f"min_{task}_{step}_confidence": confidence for step in ("detection", "presence")}
    options |= {"output_segmentation_masks": True} if task == "pose" else {}
    try:
        options |= {"base_options": BaseOptions(model_asset_path=path), f"num_{task}s": most}
        kind, its_options = getattr(vision, name), getattr(vision, f"{name}Options")
        return kind.create_from_options(its_options(**options))
    except Exception as error:
        why = f"MediaPipe cannot use it ({in_one_line(error)})"
        advice = "delete it to fetch it again, or name another as `weights`"
        raise WeightsError(f"{path}: {why}; {advice}") from error


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the two detectors."""
    return [MediaPipePose, MediaPipeFace]
