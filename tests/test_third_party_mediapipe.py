"""The example plugin `alignimation-mediapipe`: around its networks, and with one of them."""

import ast
import importlib
import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from alignimation_core import Recipe, WeightsError
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_core.cli import verbs

ROOT = Path(__file__).parents[1]
PLACES = (parent / "shared" / "data" for parent in Path(__file__).parents[2:])
DATA = next((place for place in PLACES if (place / "mediapipe" / "pose.task").exists()), None)
needs_networks = pytest.mark.skipif(
    DATA is None or importlib.util.find_spec("mediapipe") is None,
    reason="needs ../shared/data/mediapipe/pose.task and the package mediapipe",
)

MEDIAPIPE = """
import types

Image = lambda image_format, data: data
ImageFormat = types.SimpleNamespace(SRGB=1)
"""
VISION = """
import os, types
import numpy as np

def point(x, y, visibility=None):
    return types.SimpleNamespace(x=x, y=y, visibility=visibility)

class Mask:
    def __init__(self, array):
        self.array = array
    def numpy_view(self):
        return self.array[..., None]

class Landmarker:
    def __init__(self, options):
        if "broken" in options.base_options.model_asset_path:
            raise RuntimeError("no such\\nmodel")
        self.options = options

    @classmethod
    def create_from_options(cls, options):
        return cls(options)

    def detect(self, image):
        print("noise on stdout")
        if image[0, 0, 0] == 1:
            raise ValueError("an image that it does not like")
        if image[0, 0, 0] == 2:
            os._exit(7)
        if image[0, 0, 0] == 3:
            proxies = ("https_proxy", "no_proxy")
            raise ValueError({n: v for n, v in os.environ.items() if n.lower() in proxies})
        return self.result(image)

class PoseLandmarker(Landmarker):
    def result(self, image):
        if not image.any():
            return types.SimpleNamespace(pose_landmarks=[], segmentation_masks=None)
        mask = np.zeros(image.shape[:2], "f4")
        mask[10:30, 20:40] = 1
        people = [[point(0.5, 0.25, 0.75) for _ in range(33)] for _ in range(2)]
        people[0][23] = point(0.5, 1.5, 0.9)
        people[1] = [point(0.5, 0.25, 0.5) for _ in range(33)]
        return types.SimpleNamespace(
            pose_landmarks=people[::-1], segmentation_masks=[Mask(mask), Mask(mask)]
        )

class FaceLandmarker(Landmarker):
    def result(self, image):
        small = [point(0.5 + i / 10000, 0.5 + i / 5000) for i in range(478)]
        large = [point(0.1 + i / 1000, 0.1 + i / 2000) for i in range(478)]
        return types.SimpleNamespace(face_landmarks=[small, large])

class Options:
    def __init__(self, **given):
        self.__dict__.update(given)

PoseLandmarkerOptions = FaceLandmarkerOptions = Options
"""


@pytest.fixture
def plugin(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugins" / "alignimation-mediapipe"))
    monkeypatch.delitem(sys.modules, "alignimation_mediapipe", raising=False)
    yield importlib.import_module("alignimation_mediapipe")
    del sys.modules["alignimation_mediapipe"]


@pytest.fixture
def stand_in(plugin, install, site):
    """A package in MediaPipe's place that finds what the test knows; its version is 1.0."""
    install("mediapipe", "")
    (site / "mediapipe.py").unlink()
    tasks = site / "mediapipe" / "tasks" / "python"
    (tasks / "vision").mkdir(parents=True)
    (site / "mediapipe" / "__init__.py").write_text(MEDIAPIPE)
    (tasks / "__init__.py").write_text(
        "import types\n\nclass BaseOptions(types.SimpleNamespace): pass\n"
    )
    (tasks / "vision" / "__init__.py").write_text(VISION)
    return plugin


@pytest.fixture
def bundle(tmp_path):
    """Make a bundle by the name of its network, which holds nothing."""

    def bundle(task, name="own.task"):
        import zipfile

        with zipfile.ZipFile(tmp_path / name, "w") as file:
            file.writestr(f"{task}_landmarks_detector.tflite", b"")
        return tmp_path / name

    return bundle


def grey(first=9, size=(50, 100)):
    image = torch.full((3, *size), 9, dtype=torch.uint8)
    image[:, 0, 0] = first
    return image


def test_persons_come_with_mask_and_keypoints_best_first(stand_in, bundle):
    detector = stand_in.MediaPipePose(weights=bundle("pose"))
    (found,) = detector.detect([grey()])
    assert found.scores.tolist() == pytest.approx([0.75, 0.5])
    np.testing.assert_allclose(found.boxes, [[20, 10, 40, 30]] * 2, rtol=1e-6)
    assert set(COCO_KEYPOINTS) < set(found.keypoint_names)
    assert detector.provides() >= {"masks", "keypoints", "keypoints.left_hip"}
    assert found.keypoints[0, 0].tolist() == pytest.approx([50, 12.5])
    seen = dict(zip(found.keypoint_names, found.keypoint_scores[0].tolist(), strict=True))
    assert (seen["left_hip"], seen["right_hip"]) == pytest.approx((0, 0.75))  # beyond the border
    assert found.masks[0].tensor().min() == 1
    assert found.masks[0].image_from_mask[0][2] == pytest.approx(20)


def test_coordinates_are_those_of_the_image_that_was_given(stand_in, bundle):
    (found,) = stand_in.MediaPipePose(weights=bundle("pose"), max_side=100).detect(
        [grey(size=(200, 400))]
    )
    assert found.keypoints[0, 0].tolist() == pytest.approx([200, 50])
    assert found.boxes[0].tolist() == pytest.approx([80, 40, 160, 120])


def test_nobody_is_an_empty_answer(stand_in, bundle):
    detector = stand_in.MediaPipePose(weights=bundle("pose"))
    (found,) = detector.detect([torch.zeros(3, 1, 1, dtype=torch.uint8)])
    assert (len(found), found.masks, len(found.keypoint_names)) == (0, (), 33)


def test_a_face_has_eyes_irises_and_outlines_and_the_largest_comes_first(stand_in, bundle):
    detector = stand_in.MediaPipeFace(weights=bundle("face"), mesh=True)
    (found,) = detector.detect([grey()])
    assert len(found) == 2
    assert found.masks is None
    points = found.subject(0).keypoints
    assert detector.provides() == {"keypoints", *(f"keypoints.{name}" for name in points)}
    assert points["mesh_477"] == pytest.approx((57.7, 16.925), abs=1e-3)
    assert points["left_eye_3"] == points["mesh_263"]  # its outer corner
    assert points["inner_lip_2"] == points["mesh_13"]
    ring = [points[f"mesh_{i}"] for i in stand_in.HEAD["right_eye"]]
    assert points["right_eye"] == pytest.approx(tuple(np.mean(ring, 0)), abs=1e-3)
    (few,) = stand_in.MediaPipeFace(weights=bundle("face")).detect([grey()])
    assert len(few.keypoint_names) == 28


def test_what_fails_costs_that_image_alone(stand_in, bundle):
    detector = stand_in.MediaPipePose(weights=bundle("pose"))
    with pytest.raises(ValueError, match=r"^an image that it does not like"):
        detector.detect([grey(1)])
    with pytest.raises(RuntimeError, match=r"_look died \(exit status 7\)$"):
        detector.detect([grey(2)])
    assert len(detector.detect([grey()])[0]) == 2


def test_a_bundle_that_mediapipe_refuses_is_named(stand_in, bundle):
    own = bundle("pose", "broken.task")
    with pytest.raises(WeightsError) as caught:
        stand_in.MediaPipePose(weights=own).detect([grey()])
    assert str(caught.value) == (
        f"{own}: MediaPipe cannot use it (RuntimeError: no such model); delete it to fetch it "
        "again, or name another as `weights`"
    )


def test_reports_of_use_go_nowhere(stand_in, bundle, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with pytest.raises(ValueError, match="https_proxy") as caught:
        stand_in.MediaPipePose(weights=bundle("pose")).detect([grey(3)])
    given = ast.literal_eval(str(caught.value))
    assert given == dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    assert "https_proxy" not in os.environ


def test_wrong_files_and_versions_are_refused_in_a_line(stand_in, bundle, tmp_path, monkeypatch):
    (tmp_path / "text.task").write_text("no bundle")
    (tmp_path / "torn.task").write_bytes(bundle("pose").read_bytes().replace(b"PK\1\2", b"    "))
    for path, text in (
        (tmp_path / "none.task", "no such file"),
        (tmp_path / "text.task", "no .task bundle with pose_landmarks_detector.tflite in it"),
        (tmp_path / "torn.task", "no .task bundle with pose_landmarks_detector.tflite in it"),
        (bundle("face"), "no .task bundle with pose_landmarks_detector.tflite in it"),
    ):
        with pytest.raises(ValidationError) as caught:
            stand_in.MediaPipePose(weights=path)
        said = caught.value.errors()[0]["msg"]
        assert said.endswith(f"{path}: {text}; leave this out to use pose_landmarker_full.task")
    found = [types.SimpleNamespace(version="0.10.21")]
    monkeypatch.setattr(stand_in.metadata, "distributions", lambda name: found)
    with pytest.raises(ValidationError, match=r"found 0\.10\.21; pip install 'mediapipe>=1'"):
        stand_in.MediaPipePose()
    found.clear()
    with pytest.raises(ValidationError, match="found none; pip install 'mediapipe>=1'"):
        stand_in.MediaPipeFace()


def test_a_first_run_of_bodies_takes_it_where_it_is_installed(
    stand_in, install, site, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "a.png")
    assert verbs.main(["init", "photos", "--body"]) == 0
    recipe = tmp_path / "out" / "recipe.yaml"
    assert "mediapipe-pose" in recipe.read_text()  # as advice
    assert Recipe.load(recipe).detector.name == "keypoint-rcnn"
    recipe.unlink()
    install("alignimation-mediapipe", "", points=["mediapipe = alignimation_mediapipe"])
    (site / "alignimation_mediapipe.py").unlink()
    assert verbs.main(["init", "photos", "--body"]) == 0
    assert isinstance(Recipe.load(recipe).detector, stand_in.MediaPipePose)


@pytest.mark.mediapipe
@needs_networks
def test_each_person_that_the_network_finds_is_one_of_those_annotated(plugin):
    detector = plugin.MediaPipePose(weights=DATA / "mediapipe" / "pose.task")
    everybody = json.loads((DATA / "bodies" / "persons.json").read_text())
    count = 0
    for name, photo in everybody.items():
        pixels = np.array(Image.open(DATA / "bodies" / name).convert("RGB"))
        (found,) = detector.detect([torch.from_numpy(pixels).permute(2, 0, 1).contiguous()])
        for index in range(len(found)):
            ours = found.subject(index)
            errors = {}
            for person in photo["persons"]:
                x0, y0, x1, y1 = person["box"]
                known = {n: p for n, p in person["keypoints"].items() if p[2] > 0}
                if not known:
                    continue
                off = [np.hypot(*np.subtract(ours.keypoints[n], p[:2])) for n, p in known.items()]
                errors[person["id"]] = np.median(off) / np.sqrt((x1 - x0) * (y1 - y0))
            best = min(errors, key=errors.get)
            assert errors[best] < 0.1
            assert overlap(ours.mask, name, best) > 0.6
            count += 1
    assert count == 4


def overlap(mask, name, person):
    """Intersection over union with the annotated mask."""
    true = np.array(Image.open(DATA / "bodies" / "masks" / f"{name[:-4]}_{person}.png")) > 127
    (sx, _, left), (_, sy, top), _ = mask.image_from_mask
    drawn = Image.fromarray((mask.tensor().numpy() * 255).astype("u1"))
    drawn = drawn.resize((round(sx * mask.width), round(sy * mask.height)))
    whole = Image.new("L", true.shape[::-1])
    whole.paste(drawn, (round(left), round(top)))
    ours = np.array(whole) > 127
    return (ours & true).sum() / (ours | true).sum()
