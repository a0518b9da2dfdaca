"""How still the eyes stand by other means, on the quickstart's photos."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from alignimation_core import Choice, Recipe, SubjectSelector, photos, run
from alignimation_core.api.data import EYES

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"
SHOTS = json.loads((QUICKSTART / "truth.json").read_text(encoding="utf-8"))["photos"]
TRUTH = {Path(shot["file"]).name: shot["subject"] for shot in SHOTS if shot["subject"]}

MOUTH = ("mouth_left", "mouth_right")


class Her(SubjectSelector):
    """The one whose left eye is where hers is known to be."""

    name: ClassVar[str] = "her"

    def select(self, observations):
        choices = []
        for seen in observations:
            if (subject := TRUTH.get(Path(seen.photo.name).name)) is None:
                choices.append(Choice(None, "she is not there"))
                continue
            eye = torch.tensor(subject["keypoints"]["left_eye"])
            eyes = seen.detections.keypoints[:, seen.detections.keypoint_names.index("left_eye")]
            choices.append(Choice(int((eyes - eye).norm(dim=1).argmin())))
        return choices


@pytest.fixture(scope="module")
def faces():
    """The benchmark, which knows how to ask the usual detector and how to judge."""
    spec = importlib.util.spec_from_file_location("faces", ROOT / "benchmarks" / "faces.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def detector(faces):
    """The usual detector, which is asked once about each photo."""
    known = {}

    class Once(faces.PlainMTCNN):
        def detect(self, images):
            keys = [bytes(image.contiguous().numpy().data) for image in images]
            for key, image in zip(keys, images, strict=True):
                if key not in known:
                    (known[key],) = super().detect([image])
            return [known[key] for key in keys]

    return Once()


@pytest.mark.slow
@pytest.mark.parametrize(("model", "percent"), [("similarity", 1.8), ("kornia-registrator", 10.5)])
def test_the_usual_detector_and_kornias_registrator_leave_what_the_readme_says(
    faces, detector, tmp_path, model, percent
):
    data = {
        "photos": str(QUICKSTART / "photos"),
        "output": "out",
        "detector": "mtcnn",
        "transform_model": model,
        "refine": {"photos": False},
        "canvas": {"size": "64x64"},
        "renderers": ["gif"],
    }
    recipe = Recipe.of(data, folder=tmp_path)
    record = run(replace(recipe, detector=detector, subject_selector=Her())).as_json()
    used = [photo for photo in record["photos"] if photo["status"] == "used"]
    assert len(used) == 19
    assert faces.known(used, TRUTH) == pytest.approx(percent, rel=0.05)


@pytest.mark.slow
def test_halfway_a_morph_eyes_and_mouth_are_where_the_detector_expects_them_between(tmp_path):
    data = {
        "photos": str(QUICKSTART / "photos"),
        "output": "out",
        "detector": "mtcnn",
        "canvas": {"size": "720x720"},
        "renderers": [
            {"use": "frames", "path": "photos"},
            {"use": "frames", "path": "morphs", "effects": [{"use": "morph", "frames": 1}]},
        ],
    }
    recipe = replace(Recipe.of(data, folder=tmp_path), subject_selector=Her())
    run(recipe)

    def points(folder):
        found = []
        for file in sorted((tmp_path / "out" / folder).iterdir()):
            (seen,) = recipe.detector.detect([photos.load(file)])
            sides = seen.boxes[:, 2:] - seen.boxes[:, :2]
            names = [seen.keypoint_names.index(name) for name in (*EYES, *MOUTH)]
            found.append(seen.keypoints[int(sides.prod(1).argmax()), names])
        return torch.stack(found)

    plain, between = points("photos"), points("morphs")[1::2]
    assert len(between) == 18
    eyes = (plain[:, 0] - plain[:, 1]).norm(dim=1).mean()
    apart = (between - (plain[1:] + plain[:-1]) / 2).norm(dim=2)
    assert float(apart.max() / eyes) < 0.01
