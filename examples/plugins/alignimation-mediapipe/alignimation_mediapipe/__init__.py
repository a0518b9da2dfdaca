"""Google's MediaPipe for alignimation: bodies in under 0.1 s of one core, without a GPU, and faces.

Code and networks are by the MediaPipe authors (Apache-2.0). They run in processes of their own, as
many as threads ask at once: MediaPipe 1 reports to Google how it is used and has no switch for it,
so these processes are given a proxy that is not there; it runs one image at a time; and it writes
to stderr, where progress is shown.

Places come from it in units of the picture's sides, continuous, as everywhere here.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
import zipfile
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from alignimation_core import Detections, Detector, Mask, WeightsError, hookimpl
from alignimation_core.api.stages import RecipePath
from alignimation_core.api.weights import Weights, fetch

if TYPE_CHECKING:
    from torch import Tensor

_MODELS = "https://storage.googleapis.com/mediapipe-models"
_LICENCE = "Apache-2.0, by the MediaPipe authors; https://ai.google.dev/edge/mediapipe"

POSE = Weights(
    filename="pose_landmarker_full.task",
    url=f"{_MODELS}/pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
    sha256="5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
    size=9_398_198,
    licence=_LICENCE,
)
FACE = Weights(
    filename="face_landmarker.task",
    url=f"{_MODELS}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3_758_596,
    licence=_LICENCE,
)

_SIDES = ("left", "right")
_LIMBS = "shoulder elbow wrist pinky index thumb hip knee ankle heel foot_index".split()
BODY = (
    "nose",
    *(f"{side}_eye{part}" for side in _SIDES for part in ("_inner", "", "_outer")),
    *("left_ear", "right_ear", "mouth_left", "mouth_right"),
    *(f"{side}_{limb}" for limb in _LIMBS for side in _SIDES),
)
"""The 33 landmarks of a body in the network's order; COCO's 17 names are among them."""

_OUTLINES = {  # in dlib's order, by which the gates know shut eyes and an open mouth
    "left_eye": (362, 385, 387, 263, 373, 380),
    "right_eye": (33, 160, 158, 133, 153, 144),
    "inner_lip": (78, 81, 13, 311, 308, 402, 14, 178),
}
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
"""Named points of a face: each is the mean of these of the 478."""

_MASK_SIDE = 160  # most pixels along a mask; the network draws 256 about the whole person
_NOWHERE = "http://127.0.0.1:9"  # a port of this machine at which nobody listens


class _Landmarker(Detector):
    task: ClassVar[str]
    subject: ClassVar[str]
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
        if path is not None:
            advice = f"leave this out to use {cls.published.filename}"
            if not path.is_file():
                raise ValueError(f"{path}: no such file; {advice}")
            network = f"{cls.task.lower()}_landmarks_detector.tflite"
            if not zipfile.is_zipfile(path) or network not in zipfile.ZipFile(path).namelist():
                raise ValueError(f"{path}: no .task bundle with {network} in it; {advice}")
        return path

    @model_validator(mode="after")
    def _mediapipe_is_there(self) -> Self:
        try:
            version = metadata.version("mediapipe")
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or version.startswith("0."):
            raise ValueError(f"needs MediaPipe 1, found {version}; pip install 'mediapipe>=1'")
        return self

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the one bundle."""
        return ((self.published, self.weights),)

    def input_side(self) -> int:
        """Return ``max_side``."""
        return self.max_side

    def finds(self) -> str:
        """Return ``person`` or ``face``."""
        return self.subject

    def provides(self) -> frozenset[str]:
        """Return ``keypoints``, each by its name, and ``masks`` of persons."""
        masks = {"masks"} if self.task == "Pose" else set()
        return frozenset({"keypoints", *masks, *(f"keypoints.{name}" for name in self.names)})

    def hint(self) -> str:
        """Return that there may be some of whom it is less sure."""
        return f"try a lower `score_threshold` than {self.score_threshold:g}, or another detector"

    @cached_property
    def network(self) -> Network:
        """The network, whose processes are started when first used."""
        path = self.weights or fetch(self.published)
        return Network(self.task, str(path), self.most, self.score_threshold)

    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Detect; see ``Detector.detect``.

        Raises:
            WeightsError: the bundle is missing or cannot be used.
        """
        return [self._detect(image) for image in images]

    def _detect(self, image: Tensor) -> Detections:
        import torch

        height, width = image.shape[1:]
        small = _reduced(image, self.max_side)
        found = []
        for landmarks, mask in self.network(small.permute(1, 2, 0).contiguous().numpy()):
            points = torch.from_numpy(landmarks) * torch.tensor([width, height, 1.0])
            found += self._read(points, mask, (height, width))
        if not found:
            return Detections.empty(self.names, masks=self.task == "Pose")
        found.sort(key=lambda one: (-one[0], -float((one[1][2:] - one[1][:2]).prod())))
        scores, boxes, places, seen, masks = zip(*found, strict=True)
        return Detections(
            boxes=torch.stack(boxes),
            scores=torch.tensor(scores),
            keypoints=torch.stack(places),
            keypoint_scores=torch.stack(seen),
            keypoint_names=self.names,
            masks=masks if self.task == "Pose" else None,
        )


class MediaPipePose(_Landmarker):
    """Finds persons with mask and 33 keypoints by MediaPipe's pose landmarker, without a GPU.

    BlazePose (Bazarevsky et al., 2020, https://arxiv.org/abs/2006.10204), the full model. Among the
    33 are COCO's 17; a keypoint's score is its visibility, 0 beyond the border. A person's score is
    the mean of those within, the box that of the mask. The network looks for persons in the photo
    shrunk to 224 pixels: of a crowd it finds those in front.
    """

    name: ClassVar[str] = "mediapipe-pose"
    task: ClassVar[str] = "Pose"
    subject: ClassVar[str] = "person"
    published: ClassVar[Weights] = POSE

    @property
    def names(self) -> tuple[str, ...]:
        """The keypoints' names."""
        return BODY

    def _read(self, points: Tensor, mask: Any, size: tuple[int, int]) -> list[tuple[Any, ...]]:
        import torch

        height, width = size
        body = torch.from_numpy(mask)
        rows, columns = ((body > 127).any(axis).nonzero().flatten().tolist() for axis in (1, 0))
        inside = ((points >= 0) & (points <= torch.tensor([width, height, 1.0]))).all(1)
        if not rows or not inside.any():
            return []
        x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
        box = torch.tensor([x0, y0, x1, y1]) * torch.tensor(
            [width / body.shape[1], height / body.shape[0]]
        ).repeat(2)
        own = _reduced(body[None, y0:y1, x0:x1], _MASK_SIDE)[0].float() / 255
        seen = points[:, 2] * inside
        score = float(seen[inside].mean())
        return [(score, box, points[:, :2], seen, Mask.of(own, tuple(box.tolist())))]


class MediaPipeFace(_Landmarker):
    """Finds faces with up to 478 keypoints by MediaPipe's face landmarker, without a GPU.

    Attention Mesh (Grishchenko et al., 2020, https://arxiv.org/abs/2006.10962). An eye is the mean
    of the 16 points around it. The outlines of eyes and lips have the names of dlib's landmarks, so
    that the gates for shut eyes and open mouths know them. MediaPipe gives no scores of faces: they
    are 1 here, the largest first.
    """

    name: ClassVar[str] = "mediapipe-face"
    task: ClassVar[str] = "Face"
    subject: ClassVar[str] = "face"
    published: ClassVar[Weights] = FACE

    mesh: Annotated[bool, Field(description="give all 478, too, as mesh_0 to mesh_477")] = False

    @property
    def names(self) -> tuple[str, ...]:
        """The keypoints' names."""
        return (*HEAD, *(f"mesh_{i}" for i in range(478 if self.mesh else 0)))

    def _read(self, points: Tensor, _: Any, size: tuple[int, int]) -> list[tuple[Any, ...]]:  # noqa: ARG002
        import torch

        places = points[:, :2]
        box = torch.cat([places.amin(0), places.amax(0)])
        named = torch.stack([places[list(some)].mean(0) for some in HEAD.values()])
        every = torch.cat([named, places if self.mesh else places[:0]])
        return [(1.0, box, every, torch.ones(len(every)), None)]


class Network:
    """A task of MediaPipe at work in other processes; ``serve`` has the arguments."""

    def __init__(self, *task: object) -> None:
        self._code = f"import {__name__} as this; this.serve(*{task!r})"
        self._idle: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _stop, self._idle)

    def __call__(self, image: Any) -> list[tuple[Any, Any]]:
        """Answer as ``serve`` does.

        Raises:
            WeightsError: the bundle cannot be used.
            RuntimeError: MediaPipe failed on the image.
        """
        process = self._idle.pop() if self._idle else self._started()
        try:
            pickle.dump(image, process.stdin, protocol=5)  # type: ignore[arg-type]
            process.stdin.flush()  # type: ignore[union-attr]
            found = pickle.load(process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError) as error:
            _stop([process])
            raise RuntimeError(f"MediaPipe's process died (code {process.returncode})") from error
        self._idle.append(process)
        if isinstance(found, Exception):
            raise found
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        given = {name: text for name, text in os.environ.items() if name.lower() != "no_proxy"}
        given |= {"https_proxy": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
        return subprocess.Popen(
            [sys.executable, "-c", self._code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which ends its processes
            env=given | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def serve(task: str, path: str, most: int, confidence: float) -> None:
    """Answer on stdout for each (h, w, 3) uint8 numpy image on stdin, until there are no more.

    Args:
        task: ``Pose`` or ``Face``.
        path: its bundle.
        most: how many to find.
        confidence: the least that they must score, when found and by their landmarks.

    An answer lists, of each, (P, 3) float32 landmarks: x and y in sides of the image, visibility in
    [0, 1]; and its (h, w) uint8 mask, None for a face. Or it is an exception.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    find: Callable[[Any], Any] | None = None
    while True:
        try:
            image = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            find = find or _finder(task, path, most, confidence)
            answer = find(image)
        except Exception as error:
            line = " ".join(str(error).split())
            advice = "delete it to fetch it again, or name another as `weights`"
            failed = WeightsError(f"{path}: MediaPipe cannot use it ({line}); {advice}")
            answer = RuntimeError(line) if find else failed
        pickle.dump(answer, answers, protocol=5)
        answers.flush()


def _finder(task: str, path: str, most: int, confidence: float) -> Callable[[Any], Any]:
    import mediapipe
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    kind = task.lower()
    options: dict[str, Any] = {
        "base_options": BaseOptions(model_asset_path=path),
        f"num_{kind}s": most,
        f"min_{kind}_detection_confidence": confidence,
        f"min_{kind}_presence_confidence": confidence,
    }
    if task == "Pose":
        options["output_segmentation_masks"] = True
    landmarker = getattr(vision, f"{task}Landmarker").create_from_options(
        getattr(vision, f"{task}LandmarkerOptions")(**options)
    )

    def find(image: Any) -> list[tuple[Any, Any]]:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        result = landmarker.detect(picture)
        found = getattr(result, f"{kind}_landmarks")
        landmarks = [np.array([(p.x, p.y, p.visibility or 0) for p in one], "f4") for one in found]
        masks = getattr(result, "segmentation_masks", None) or [None] * len(found)
        views = [mask and (mask.numpy_view()[..., 0] * 255).round().astype("u1") for mask in masks]
        return list(zip(landmarks, views, strict=True))

    return find


def _reduced(image: Tensor, side: int) -> Tensor:
    """Return a (C, h, w) uint8 image hardly longer than ``side``, averaged to get smaller."""
    import torch

    shrink = side / max(image.shape[1:])
    if shrink > 0.9:
        return image
    size = [max(round(length * shrink), 1) for length in image.shape[1:]]
    return torch.nn.functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


@hookimpl
def alignimation_detectors() -> Sequence[type[Detector]]:
    """Return the two detectors."""
    return [MediaPipePose, MediaPipeFace]
