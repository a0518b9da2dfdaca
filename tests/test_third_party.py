"""The example plugin `alignimation-dlib`, installed as a user installs it, on real faces."""

import importlib
import json
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import matplotlib.cbook
import pytest
import skimage.data
import torch
from pydantic import ValidationError

from alignimation_core import Detections, WeightsError
from alignimation_core.api import geometry
from alignimation_core.scoring.folder import frames_in, score_frames
from alignimation_core.scoring.judges import Judge

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"
FIVE = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

# Set by hand on enlarged pictures, in continuous pixels; left is the subject's left.
ASTRONAUT = torch.tensor(
    [[246.6, 103.3], [203.2, 101.3], [223.0, 127.5], [245.5, 141.0], [202.8, 139.8]]
)
HOPPER = torch.tensor(
    [[304.5, 187.0], [221.0, 190.5], [267.5, 237.5], [306.0, 277.0], [228.5, 281.0]]
)


@pytest.fixture(scope="module")
def site(pip_installed):
    """The folder of the plugin, installed."""
    return pip_installed("alignimation-dlib")


@pytest.fixture(scope="module")
def plugin(site):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        patch.delitem(sys.modules, "alignimation_dlib", raising=False)
        yield importlib.import_module("alignimation_dlib")
        del sys.modules["alignimation_dlib"]


@pytest.fixture(scope="module")
def detector(plugin):
    return plugin.DlibDetector()


@pytest.fixture(scope="module")
def embedder(plugin):
    return plugin.DlibEmbedder()


def astronaut():
    return torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).contiguous()


def hopper():
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return torch.from_numpy(iio.imread(file, extension=".jpg")).permute(2, 0, 1).contiguous()


def drawn(image, matrix, light=1.0):
    """The image moved onto 400 x 400 pixels, uint8, in other light."""
    picture = geometry.warp_photo(image, matrix, (400, 400))
    return (255 * picture**light).round().byte()


def warped(image, truth, *, degrees, eyes, light=1.0):
    """The face turned, its eyes so many pixels apart, in other light; and its points there."""
    centre, scale = truth.mean(0).tolist(), eyes / float((truth[0] - truth[1]).norm())
    matrix = (
        geometry.translation(200, 200)
        @ geometry.rotation(math.radians(degrees))
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-centre[0], -centre[1])
    )
    return drawn(image, matrix, light), geometry.apply(matrix, truth.double()).float()


def error(points, truth):
    """Mean distance, in percent of the distance between the eyes."""
    return float((points - truth).norm(dim=-1).mean() / (truth[0] - truth[1]).norm() * 100)


def five(found, index=0):
    subject = found.subject(index)
    return torch.tensor([subject.keypoints[name] for name in FIVE])


# the detector


@pytest.mark.parametrize(("portrait", "truth"), [(astronaut, ASTRONAUT), (hopper, HOPPER)])
def test_the_face_of_a_portrait_is_found_with_mtcnns_five_keypoints(detector, portrait, truth):
    (found,) = detector.detect([portrait()])
    assert len(found) == 1
    assert 0.8 < float(found.scores[0]) < 0.85  # a margin of about 1.5
    x0, y0, x1, y1 = found.boxes[0].tolist()
    assert ((truth > torch.tensor([x0, y0])) & (truth < torch.tensor([x1, y1]))).all()
    assert error(five(found), truth) < 5
    assert {part.dtype for part in (found.boxes, found.scores, found.keypoints)} == {torch.float32}


@pytest.mark.parametrize("degrees", [-20, 0, 20])
@pytest.mark.parametrize("eyes", [35, 50, 90])
def test_the_landmarks_follow_the_face(detector, degrees, eyes):
    picture, truth = warped(astronaut(), ASTRONAUT, degrees=degrees, eyes=eyes)
    (found,) = detector.detect([picture])
    assert error(five(found), truth) < 6


def test_the_landmarks_are_finer_than_a_pixel(detector):
    """dlib itself rounds to whole pixels, an error of 1 / sqrt(12) pixel."""
    large, _ = warped(astronaut(), ASTRONAUT, degrees=0, eyes=43)
    points = []
    for step in range(6):
        moved = geometry.translation(step / 6, step / 6)
        (found,) = detector.detect([drawn(large, moved)])
        points.append(found.keypoints[0] - step / 6)
    assert float(torch.stack(points).std(0).mean()) < 0.6 / math.sqrt(12)


def test_coordinates_do_not_depend_on_the_size_of_the_image(plugin):
    image = hopper()
    (whole,) = plugin.DlibDetector().detect([image])
    twice = torch.nn.functional.interpolate(image[None], scale_factor=2, mode="bilinear")[0]
    (doubled,) = plugin.DlibDetector(max_side=600).detect([twice])
    assert (doubled.boxes / 2 - whole.boxes).abs().max() < 1
    assert (doubled.keypoints / 2 - whole.keypoints).abs().mean() < 1.0  # of 84 between the eyes


def test_five_landmarks_have_their_own_names(plugin):
    detector = plugin.DlibDetector(landmarks=5)
    (found,) = detector.detect([astronaut()])
    points = found.subject(0).keypoints
    assert list(points) == [
        "left_eye_outer",
        "left_eye_inner",
        "right_eye_outer",
        "right_eye_inner",
        "nose",
        "left_eye",
        "right_eye",
    ]
    assert detector.provides() == {"keypoints", *(f"keypoints.{name}" for name in points)}
    assert points["left_eye_outer"][0] > points["left_eye_inner"][0] > points["nose"][0]
    assert points["right_eye_outer"][0] < points["right_eye_inner"][0] < points["nose"][0]
    eyes = torch.tensor([points["left_eye"], points["right_eye"]])
    assert float((eyes - ASTRONAUT[:2]).norm(dim=1).max()) < 2.5


def test_the_68_landmarks_lie_where_their_names_say(detector):
    (found,) = detector.detect([astronaut()])
    assert len(found.keypoint_names) == 68 + 5
    assert detector.provides() == {"keypoints", *(f"keypoints.{n}" for n in found.keypoint_names)}
    points = found.subject(0).keypoints
    assert points["nose"] == points["nose_bridge_3"]
    assert points["mouth_left"] == points["outer_lip_6"]
    assert points["mouth_right"] == points["outer_lip_0"]
    lids = torch.tensor([points[f"left_eye_{i}"] for i in range(6)])
    assert torch.allclose(lids.mean(0), torch.tensor(points["left_eye"]))
    assert points["jaw_0"][0] < points["right_eyebrow_0"][0] < points["left_eyebrow_4"][0]
    assert points["left_eyebrow_4"][0] < points["jaw_16"][0]
    assert points["jaw_8"][1] > points["inner_lip_0"][1] > points["nose_base_2"][1]


def test_faces_come_best_first_and_obey_the_threshold(plugin):
    both = torch.zeros(3, 600, 1024, dtype=torch.uint8)
    both[:, :512, :512], both[:, :, 512:] = astronaut(), hopper()
    (found,) = plugin.DlibDetector(score_threshold=0.3).detect([both])
    assert len(found) >= 2
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    assert float(found.scores.min()) >= 0.3
    (strict,) = plugin.DlibDetector(score_threshold=0.9).detect([both])
    assert len(strict) == 0
    assert strict.keypoint_names == found.keypoint_names


def test_upsampling_finds_smaller_faces(plugin):
    small, truth = warped(astronaut(), ASTRONAUT, degrees=0, eyes=24)
    assert [len(found) for found in plugin.DlibDetector().detect([small])] == [0]
    (found,) = plugin.DlibDetector(upsample=1).detect([small])
    assert error(five(found), truth) < 7


def test_the_cnn_finds_the_face_too(plugin):
    picture, truth = warped(astronaut(), ASTRONAUT, degrees=0, eyes=43)
    (found,) = plugin.DlibDetector(model="cnn").detect([picture[:, 100:300, 100:300].contiguous()])
    assert len(found) == 1
    assert 0.5 < float(found.scores[0]) < 1
    assert error(five(found), truth - 100) < 5


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": "cnn", "score_threshold": 0.4}, "model cnn gives no face below 0.5"),
        ({"landmarks": 6}, "landmarks"),
        ({"upsampel": 1}, "upsampel"),
    ],
)
def test_options_that_cannot_work_are_refused(plugin, options, text):
    with pytest.raises(ValidationError, match=text):
        plugin.DlibDetector(**options)


# the embedder


def face_boxes(points, factor=1.0):
    """Boxes as MTCNN draws them: higher than wide, and by a factor larger."""
    eyes = float((points[0] - points[1]).norm())
    centre = points.mean(0) - torch.tensor([0.0, 0.1 * eyes])
    half = torch.tensor([1.06, 1.31]) * eyes * factor
    return torch.cat([centre - half, centre + half])[None]


def embedded(embedder, image, points, factor=1.0):
    found = Detections(face_boxes(points, factor), torch.ones(1))
    return embedder.embed([image], [found])[0][0]


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.4])
def test_two_people_are_told_apart_in_boxes_of_any_kind(embedder, factor):
    views = [(0, 80, 1.0), (15, 55, 0.6), (-15, 70, 1.7)]
    vectors = torch.stack(
        [
            embedded(embedder, *warped(image, truth, degrees=d, eyes=e, light=g), factor)
            for image, truth in ((astronaut(), ASTRONAUT), (hopper(), HOPPER))
            for d, e, g in views
        ]
    )
    similarity = vectors @ vectors.T
    same = torch.block_diag(torch.ones(3, 3), torch.ones(3, 3)).bool()
    assert float(similarity[same].min()) > 0.96
    assert float(similarity[~same].max()) < embedder.same_above


def test_same_above_is_dlibs_distance_of_six_tenths(plugin, embedder):
    import dlib

    network = dlib.face_recognition_model_v1(plugin.model(plugin.RESNET))
    landmarks = plugin.Landmarks(5)
    lengths = []
    for image, truth in ((astronaut(), ASTRONAUT), (hopper(), HOPPER)):
        face, shape, _ = landmarks.find(image, face_boxes(truth)[0].tolist())
        chip = dlib.get_face_chip(face, shape, 150, 0.25)
        vector = torch.tensor(list(network.compute_face_descriptor(chip)))
        lengths.append(float(vector.norm()))
        assert torch.allclose(vector / vector.norm(), embedded(embedder, image, truth), atol=1e-4)
    length = sum(lengths) / 2
    assert embedder.same_above == pytest.approx(1 - 0.6**2 / (2 * length**2), abs=0.01)


def test_rows_are_of_unit_length_and_belong_to_their_boxes(embedder):
    image = astronaut()
    good = face_boxes(ASTRONAUT)
    outside = torch.tensor([[900.0, 900.0, 950.0, 950.0]])
    empty = torch.tensor([[10.0, 10.0, 10.0, 30.0]])
    found = Detections(torch.cat([outside, good, empty]), torch.ones(3))
    rows, none = embedder.embed([image, image], [found, Detections.empty()])
    assert rows.dtype == torch.float32
    assert rows.norm(dim=1).tolist() == pytest.approx([0, 1, 0], abs=1e-5)
    assert torch.allclose(rows[1], embedded(embedder, image, ASTRONAUT), atol=1e-5)
    assert tuple(none.shape) == (0, 128)


def test_a_face_cut_by_the_border_is_still_embedded(embedder):
    whole = embedded(embedder, astronaut(), ASTRONAUT)
    cut = astronaut()[:, 75:, 195:].contiguous()
    shifted = ASTRONAUT - torch.tensor([195.0, 75.0])
    assert float(embedded(embedder, cut, shifted) @ whole) > embedder.same_above


def test_the_finder_of_frontal_faces_is_dlibs_own(plugin, tmp_path):
    import dlib

    dlib.get_frontal_face_detector().save(str(tmp_path / "own.svm"))
    assert plugin.FRONTAL_FACES.read_bytes() == (tmp_path / "own.svm").read_bytes()


def test_five_landmarks_look_at_frames_with_the_other_options_as_they_are(plugin, detector):
    detector.detect([hopper()])
    light = detector.score_detector()
    assert light == plugin.DlibDetector(landmarks=5)
    assert light.detect([hopper()])[0].keypoint_names == (*plugin.POINTS[5], *plugin.DERIVED[5])
    given = {"model": "cnn", "max_side": 300, "upsample": 1, "score_threshold": 0.6}
    assert plugin.DlibDetector(**given).score_detector() == plugin.DlibDetector(
        **given, landmarks=5
    )


@pytest.mark.parametrize("portrait", [astronaut, hopper])
@pytest.mark.parametrize("pixels", [0.4, 1.6])
def test_the_score_follows_a_known_motion(detector, tmp_path, portrait, pixels):
    """A face that goes round in a circle lies its radius from its mean place."""
    for step in range(12):
        across, down = (pixels * f(step * math.tau / 12) for f in (math.cos, math.sin))
        frame = drawn(portrait(), geometry.translation(across - 20, down - 20))
        iio.imwrite(tmp_path / f"{step:02}.png", frame.permute(1, 2, 0).numpy())
    judge = Judge(detector.score_detector(), ("left_eye", "right_eye"), independent=True)
    score = score_frames(frames_in(tmp_path), judge, lambda: None)
    assert score["seen"] == 12
    assert score["percent_of_height"]["mean"] == pytest.approx(100 * pixels / 400, rel=0.15)


def test_a_missing_network_is_named_with_what_brings_it(plugin, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    text = "^.*landmarks.dat is missing; it comes with a package: pip install face_recognition_mode"
    with pytest.raises(WeightsError, match=text):
        plugin.DlibDetector().detect([astronaut()])


def test_stages_can_be_sent_to_another_process(plugin):
    detector = plugin.DlibDetector(landmarks=5)
    assert pickle.loads(pickle.dumps(detector)) == detector


# in a recipe


def alignimation(site, folder, *arguments):
    """Run the command in a folder, with the plugin installed where Python looks."""
    environment = os.environ | {
        "PYTHONPATH": str(site),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "2",
    }
    code = "import sys; from alignimation_core.cli import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_is_found_by_its_entry_point(site, tmp_path):
    done = alignimation(site, tmp_path, "--list")
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "alignimation-dlib" in line]
    assert len(lines) == 2  # the detector and the embedder
    assert not any("cannot be used" in line for line in lines)


def test_importing_the_plugin_imports_neither_torch_nor_dlib(site):
    code = "import sys, alignimation_dlib; sys.exit(bool({'torch', 'dlib'} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(site)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


@pytest.mark.parametrize(("detector", "still"), [("mtcnn", 0.0005), ("dlib", 0.0013)])
def test_the_subject_of_the_quickstart_is_chosen_in_every_photo_that_shows_her(
    site, tmp_path, detector, still
):
    """The two recipes differ in one line; her eyes stand as still as the README says."""
    (tmp_path / "recipe.yaml").write_text(
        f"photos: {json.dumps(str(QUICKSTART / 'photos'))}\n"
        "output: out\n"
        f"detector: {detector}\n"
        "embedder: dlib\n"
        "subject_selector: identity\n"
        "canvas: {size: 64x64}\n"
        "renderers: [{use: gif, path: aging.gif}]\n"
    )
    done = alignimation(site, tmp_path, "recipe.yaml")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    photos = {Path(photo["path"]).name: photo for photo in record["photos"]}
    truth = json.loads((QUICKSTART / "truth.json").read_text())["photos"]
    assert len(photos) == len(truth) == 20
    for shot in truth:
        photo = photos[Path(shot["file"]).name]
        if shot["subject"] is None:
            assert photo["status"] == "rejected"
            assert photo["reason"].startswith("no face here is like the subject's (0.")
            continue
        assert photo["status"] == "used", photo
        assert photo["subject"]["similarity"] > 0.95
        points = torch.tensor([shot["subject"]["keypoints"][name] for name in FIVE])
        found = torch.tensor([photo["subject"]["keypoints"][name] for name in FIVE])
        assert error(found, points) < 12, photo["path"]
    assert scatter(photos, truth) < still


def scatter(photos, truth):
    """Mean distance of the true eyes from their mean place on the canvas, by the eye distance."""
    eyes = []
    for shot in truth:
        if shot["subject"] is not None:
            matrix = torch.tensor(photos[Path(shot["file"]).name]["canvas_from_photo"])
            scale = torch.linalg.det(matrix[:2, :2]).sqrt()
            turn = matrix[:2, :2] / scale
            assert torch.allclose(turn @ turn.T, torch.eye(2), atol=1e-5)  # nothing is stretched
            true = torch.tensor([shot["subject"]["keypoints"][name] for name in FIVE[:2]])
            eyes.append(true @ matrix[:2, :2].T + matrix[:2, 2])
    places = torch.stack(eyes)
    mean = places.mean(0)
    return float((places - mean).norm(dim=-1).mean() / (mean[0] - mean[1]).norm())
