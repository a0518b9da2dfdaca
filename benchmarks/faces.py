"""How still the eyes stand, by method: ``python benchmarks/faces.py [FOLDER]``.

FOLDER holds photos of one person (default: the quickstart's, where other people are in some). The
judge is independent of what is judged: dlib's 68 landmarks on the aligned frames, averaged over
seven jittered boxes; its own noise is part of every figure. For the quickstart the known truth
judges as well. Scatter is the mean distance of an eye from its mean place, in percent of the mean
eye distance. Needs alignimation-dlib.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from alignimation_core import Detections, Detector, Recipe, run
from alignimation_core.api import geometry
from alignimation_core.photos import decoder

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart"
SIDE = 640
FIVE = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")


class PlainMTCNN(Detector):
    """facenet-pytorch's MTCNN as it is, on the photo reduced to 1024 pixels."""

    name: ClassVar[str] = "plain-mtcnn"

    def input_side(self) -> int:
        """Return what the engine's own detector is given."""
        return 1024

    def provides(self) -> frozenset[str]:
        """Return the five keypoints."""
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in FIVE)})

    def detect(self, images: Any) -> list[Detections]:
        """Ask the network."""
        from facenet_pytorch import MTCNN

        network = MTCNN(keep_all=True, min_face_size=40)
        found = []
        for image in images:
            boxes, scores, points = network.detect(image.permute(1, 2, 0).numpy(), landmarks=True)
            if boxes is None:
                found.append(Detections.empty(FIVE))
                continue
            numbers = [torch.tensor(part.astype("float32")) for part in (boxes, scores, points)]
            keep = numbers[1] > 0.9
            boxes, scores, points = (part[keep] for part in numbers)
            found.append(Detections(boxes, scores, points, keypoint_names=FIVE))
        return found


def aligned(folder: Path, output: Path, **changes: Any) -> tuple[list[dict[str, Any]], float]:
    """Run the engine; return the photos used and the seconds a photo."""
    settings: dict[str, Any] = {
        "photos": str(folder),
        "output": str(output),
        "detector": "mtcnn",
        "embedder": "dlib",
        "subject_selector": {"use": "identity", "facing_forward": False},
        "refine": {"photos": False},
        "canvas": {"size": f"{SIDE}x{SIDE}"},
        "renderers": [{"use": "gif", "path": "small.gif", "width": 32}],
    }
    detector = changes.pop("plain", None)
    recipe = Recipe.of(settings | changes, folder=folder)
    if detector:
        import dataclasses

        recipe = dataclasses.replace(recipe, detector=PlainMTCNN())
    begun = time.perf_counter()
    record = run(recipe)
    seconds = time.perf_counter() - begun
    used = [photo for photo in record.as_json()["photos"] if photo["status"] == "used"]
    return used, seconds / len(record.photos)


def scatter(eyes: Tensor) -> float:
    """Return the scatter of (N, 2, 2) eye places, percent of the mean eye distance."""
    mean = eyes.mean(0)
    return 100 * float((eyes - mean).norm(dim=-1).mean() / (mean[0] - mean[1]).norm())


class Judge:
    """dlib's eyes on an aligned frame, averaged over jittered boxes."""

    def __init__(self) -> None:
        import importlib.util

        import dlib

        spec = importlib.util.find_spec("face_recognition_models")
        assert spec is not None
        models = Path(str(spec.origin)).parent / "models"
        self._dlib = dlib
        self._shape = dlib.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))

    def eyes(self, frame: Tensor, expected: Tensor) -> Tensor:
        """Return (2, 2) places of the subject's right and left eye.

        Args:
            frame: (3, h, w) uint8.
            expected: (5, 2) roughly where the five keypoints are, to know which face is meant.
        """
        pixels = frame.permute(1, 2, 0).contiguous().numpy()
        low, high = expected.amin(0), expected.amax(0)
        centre, side = (low + high) / 2, float((high - low).max()) * 1.9
        jitter = [
            (0, 0, 1),
            (3, 0, 1),
            (-3, 0, 1),
            (0, 3, 1),
            (0, -3, 1),
            (0, 0, 1.04),
            (0, 0, 0.96),
        ]
        places = []
        for x, y, scale in jitter:
            half = side * scale / 2
            cx, cy = float(centre[0]) + side * x / 100, float(centre[1]) + side * y / 100
            box = self._dlib.rectangle(
                round(cx - half), round(cy - half), round(cx + half), round(cy + half)
            )
            shape = self._shape(pixels, box)
            points = torch.tensor([[p.x + 0.5, p.y + 0.5] for p in shape.parts()])
            places.append(torch.stack([points[36:42].mean(0), points[42:48].mean(0)]))
        return torch.stack(places).mean(0)


def judged(folder: Path, used: list[dict[str, Any]], judge: Judge) -> Tensor:
    """Return the (N, 2, 2) eyes that the judge sees on the aligned frames."""
    eyes = []
    for photo in used:
        picture = decoder.load(Path(folder, photo["path"]))
        matrix = torch.tensor(photo["canvas_from_photo"], dtype=torch.float64)
        frame = geometry.warp_photo(picture, matrix, (SIDE, SIDE))
        points = torch.tensor([photo["subject"]["keypoints"][name] for name in FIVE])
        expected = geometry.apply(matrix, points.double())
        eyes.append(judge.eyes((frame * 255).round().byte(), expected))
    return torch.stack(eyes)


def known(used: list[dict[str, Any]], truth: dict[str, Any]) -> float:
    """Return the scatter by the known places of the eyes."""
    eyes = []
    for photo in used:
        points = truth[Path(photo["path"]).name]["keypoints"]
        matrix = torch.tensor(photo["canvas_from_photo"], dtype=torch.float64)
        places = torch.tensor([points["right_eye"], points["left_eye"]], dtype=torch.float64)
        eyes.append(geometry.apply(matrix, places))
    return scatter(torch.stack(eyes))


PASS = {"photos": False, "passes": 1}
ROWS: dict[str, dict[str, Any]] = {
    "kornia's registrator, plain MTCNN": {"plain": True, "transform_model": "kornia-registrator"},
    "similarity, plain MTCNN": {"plain": True},
    "similarity, plain MTCNN, refine 1": {"plain": True, "refine": PASS},
    "similarity, mtcnn (default)": {},
    "similarity, mtcnn, reference mean": {"reference": "mean"},
    "similarity, mtcnn, refine 1": {"refine": PASS},
    "similarity, dlib": {"detector": "dlib"},
    "similarity, dlib, refine 1": {"detector": "dlib", "refine": PASS},
}


def main() -> None:
    """Print the table."""
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else QUICKSTART / "photos"
    truth_file = folder.parent / "truth.json"
    truth = {}
    if truth_file.exists():
        shots = json.loads(truth_file.read_text())["photos"]
        truth = {Path(s["file"]).name: s["subject"] for s in shots if s["subject"]}
    judge = Judge()
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'method':<36}{'used':>5}{'judge %':>9}{'truth %':>9}{'s/photo':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, changes in ROWS.items():
            used, seconds = aligned(folder, Path(scratch, name), **changes)
            by_judge = scatter(judged(folder, used, judge))
            by_truth = f"{known(used, truth):9.2f}" if truth else f"{'-':>9}"
            print(f"{name:<36}{len(used):>5}{by_judge:9.2f}{by_truth}{seconds:9.2f}", flush=True)


if __name__ == "__main__":
    main()
