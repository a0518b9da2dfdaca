"""The detector ``mtcnn`` on two real portraits, with its bundled weights."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import facenet_pytorch
import imageio.v3 as iio
import matplotlib.cbook
import pytest
import skimage.data
import torch
from facenet_pytorch.models.utils.detect_face import nms_numpy
from pydantic import ValidationError
from torch.nn import functional
from torchvision.ops import nms

from alignimation_facenet import MTCNN
from alignimation_facenet._detection import _nms

NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

# Set by hand on enlarged pictures, in continuous pixels: pupils, tip of the nose, corners of the
# mouth; left is the subject's left.
ASTRONAUT = torch.tensor(
    [[246.6, 103.3], [203.2, 101.3], [223.0, 127.5], [245.5, 141.0], [202.8, 139.8]]
)
HOPPER = torch.tensor(
    [[304.5, 187.0], [221.0, 190.5], [267.5, 237.5], [306.0, 277.0], [228.5, 281.0]]
)


def astronaut() -> torch.Tensor:
    return torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).contiguous()


def hopper() -> torch.Tensor:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return torch.from_numpy(iio.imread(file, extension=".jpg")).permute(2, 0, 1).contiguous()


def resized(image: torch.Tensor, factor: float) -> torch.Tensor:
    size = [round(side * factor) for side in image.shape[-2:]]
    return functional.interpolate(image[None], size, mode="bilinear", antialias=True)[0]


def error(points: torch.Tensor, truth: torch.Tensor) -> float:
    """Return the largest distance in percent of the eye distance."""
    return float((points - truth).norm(dim=-1).max() / (truth[0] - truth[1]).norm() * 100)


def assert_same_to_the_bit(found, wanted):
    for name in ("boxes", "scores", "keypoints"):
        assert torch.equal(getattr(found, name), getattr(wanted, name))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Let torch compute in one thread; on a busy machine more of them only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def detector() -> MTCNN:
    return MTCNN()


@pytest.mark.parametrize(("portrait", "truth"), [(astronaut, ASTRONAUT), (hopper, HOPPER)])
def test_the_face_is_found_with_its_points_by_the_subjects_own_side(detector, portrait, truth):
    (found,) = detector.detect([portrait()])
    assert len(found) == 1
    assert found.keypoint_names == NAMES
    assert error(found.keypoints[0], truth) < 7
    assert error(found.keypoints[0, :2], truth[:2]) < 4.5
    assert found.scores[0] > 0.99
    assert found.keypoint_scores.tolist() == [[1.0] * 5]
    assert {part.dtype for part in (found.boxes, found.scores, found.keypoints)} == {torch.float32}
    assert not found.keypoints.requires_grad
    assert not found.keypoints.is_inference()  # those cannot take part in a gradient


def test_the_box_holds_the_face_from_brow_to_chin(detector):
    (found,) = detector.detect([astronaut()])
    x0, y0, x1, y1 = found.boxes[0].tolist()
    assert 165 < x0 < 195
    assert 45 < y0 < 90
    assert 255 < x1 < 285
    assert 155 < y1 < 185


def test_coordinates_are_those_of_the_image_given_though_it_is_reduced(detector):
    portrait = astronaut()
    (small,), (large,) = detector.detect([portrait]), detector.detect([resized(portrait, 4)])
    assert error(large.keypoints[0] / 4, small.keypoints[0]) < 1.5
    assert (large.boxes[0] / 4 - small.boxes[0]).abs().max() < 6


@pytest.mark.parametrize(("portrait", "truth"), [(astronaut, ASTRONAUT), (hopper, HOPPER)])
def test_points_follow_the_photo_to_a_fraction_of_a_pixel(detector, portrait, truth):
    # One portrait at many scales and places. The points of the cascade alone are off by 0.8 pixels
    # in y at any scale, which a fit against 1 / scale brings to light, and scatter by 2 to 3 %;
    # those of one crop, not the mean of five, by 0.55 %.
    from alignimation_core.api import geometry

    image, scales, points = portrait(), torch.linspace(0.4, 1.3, 16), []
    for i, scale in enumerate(scales.tolist()):
        new_from_old = geometry.translation(0.37 * i, 5 - 0.61 * i) @ geometry.scaling(scale, scale)
        size = [round(side * scale) for side in image.shape[-2:]]
        moved = geometry.warp_photo(image, new_from_old, size)
        (found,) = detector.detect([(moved * 255).round().byte()])
        points.append(geometry.apply(new_from_old.inverse(), found.keypoints[0].double()))
    seen = torch.stack(points)
    scatter = seen.std(0).norm(dim=-1) / (truth[0] - truth[1]).norm() * 100
    assert scatter.max() < 0.4
    against = torch.stack([torch.ones(16), 1 / scales], 1).double()
    offsets = torch.linalg.lstsq(against, seen.flatten(1)).solution[1].reshape(5, 2)
    assert offsets.mean(0).abs().max() < 0.25


def test_a_mirrored_photo_gives_mirrored_points_with_sides_exchanged(detector):
    portrait = astronaut()
    (plain,), (mirrored,) = detector.detect([portrait]), detector.detect([portrait.flip(-1)])
    back = mirrored.keypoints[0, [1, 0, 2, 4, 3]]
    back[:, 0] = 512 - back[:, 0]
    assert error(back, plain.keypoints[0]) < 2


def test_a_face_cut_by_the_border_keeps_its_points(detector):
    cut = 192  # the box begins at 180
    (whole,), (part,) = detector.detect([astronaut()]), detector.detect([astronaut()[..., cut:]])
    assert len(part) == 1
    shift = torch.tensor([cut, 0.0])
    assert error(part.keypoints[0] + shift, whole.keypoints[0]) < 8


def test_images_of_different_sizes_in_one_call_equal_one_by_one(detector):
    images = [astronaut(), hopper(), resized(astronaut(), 0.5), torch.zeros(3, 60, 90).byte()]
    together = detector.detect(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        assert_same_to_the_bit(found, alone)
    assert [len(found) for found in together] == [1, 1, 1, 0]
    assert detector.detect([]) == []


@pytest.mark.parametrize("portrait", [astronaut, hopper])
@pytest.mark.parametrize("factor", [0.4, 1.0])
def test_boxes_and_scores_are_those_of_facenet_pytorch(portrait, factor):
    image = resized(portrait(), factor)
    (found,) = MTCNN(min_face=20, score_threshold=0.5).detect([image])
    wheel = facenet_pytorch.MTCNN(
        min_face_size=20, thresholds=[0.6, 0.7, 0.5], select_largest=False, device="cpu"
    )
    boxes, scores = wheel.detect(image.permute(1, 2, 0))
    large = (boxes[:, 2:] - boxes[:, :2]).max(1) >= 20
    assert len(found) == large.sum() > 0
    boxes = torch.from_numpy(boxes[large].astype("float32"))
    scores = torch.from_numpy(scores[large].astype("float32"))
    assert torch.allclose(found.boxes, boxes, atol=0.01)
    assert torch.allclose(found.scores, scores, atol=1e-4)


def crowd(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return boxes of whole pixels, many of them much alike, and scores, many of them equal."""
    dice = torch.Generator().manual_seed(count)
    corners = torch.randint(0, 150, (count, 2), generator=dice)
    sides = torch.randint(0, 60, (count, 2), generator=dice)
    scores = torch.randint(0, 99, (count,), generator=dice) / 99
    return torch.cat([corners, corners + sides], 1).float(), scores


@pytest.mark.parametrize("overlap", [0.5, 0.7])
@pytest.mark.parametrize("count", [0, 1, 100, 1700])
def test_the_boxes_kept_are_those_that_torchvision_keeps_in_its_order(count, overlap):
    boxes, scores = crowd(count)
    kept = _nms(boxes, scores, overlap)
    assert torch.equal(kept, nms(boxes, scores, overlap))
    assert len(kept) < count or count < 2


def test_the_last_boxes_kept_are_those_that_facenet_pytorch_keeps():
    boxes, _ = crowd(1100)
    scores = torch.linspace(0.3, 0.9, len(boxes))
    kept = _nms(boxes, scores, 0.7, of_smaller=True)
    wanted = nms_numpy(boxes.numpy(), scores.numpy(), 0.7, "Min")
    assert kept.tolist() == wanted.tolist()
    assert len(kept) < len(boxes)


def test_detecting_imports_neither_torchvision_nor_facenet_pytorch():
    code = """
import sys, torch
from alignimation_facenet import MTCNN
(found,) = MTCNN().detect([torch.full((3, 90, 120), 90, dtype=torch.uint8)])
print(len(found), sorted({"torchvision", "facenet_pytorch", "torch._dynamo"} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "0 []\n"


def test_without_facenet_pytorch_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "facenet_pytorch", None)
    with pytest.raises(ImportError) as error:
        MTCNN().detect([hopper()])
    assert str(error.value) == (
        "mtcnn reads its weights from facenet-pytorch, which is not installed; run "
        "pip install facenet-pytorch"
    )


def test_the_number_of_threads_changes_no_bit(detector):
    images = [astronaut(), hopper(), resized(hopper(), 0.4)]
    answers = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            answers.append(detector.detect(images))
    finally:
        torch.set_num_threads(1)
    for others in answers[1:]:
        for found, wanted in zip(others, answers[0], strict=True):
            assert_same_to_the_bit(found, wanted)


def test_four_threads_at_once_find_what_one_finds_after_the_other(detector):
    images = [resized(portrait(), size) for size in (0.6, 0.9) for portrait in (astronaut, hopper)]
    wanted = [detector.detect([image])[0] for image in images]
    shared, together = MTCNN(), threading.Barrier(4)

    def detect(image):
        together.wait()
        return shared.detect([image]), shared.network

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(detect, images))
    for (found, network), alone in zip(answers, wanted, strict=True):
        assert network is shared.network
        for each in found:
            assert_same_to_the_bit(each, alone)


def test_a_second_detector_answers_the_same(detector):
    (one,), (other,) = detector.detect([hopper()]), MTCNN().detect([hopper()])
    assert torch.equal(one.keypoints, other.keypoints)
    assert torch.equal(one.boxes, other.boxes)


def test_two_faces_come_best_first(detector):
    both = torch.zeros(3, 600, 1024, dtype=torch.uint8)
    both[:, :512, :512], both[:, :, 512:] = astronaut(), hopper()
    (found,) = detector.detect([both])
    assert len(found) == 2
    assert found.scores[0] >= found.scores[1]
    nearest = sorted(found.keypoints[:, 2, 0].tolist())
    assert nearest == pytest.approx([223, 512 + 267.5], abs=6)


@pytest.mark.parametrize("shape", [(3, 240, 320), (3, 40, 500), (3, 41, 500), (3, 1, 1)])
def test_without_a_face_the_answer_is_empty_and_keeps_the_names(detector, shape):
    (found,) = detector.detect([torch.full(shape, 90, dtype=torch.uint8)])
    assert len(found) == 0
    assert found.keypoints.shape == (0, 5, 2)
    assert found.keypoint_names == NAMES


def test_noise_holds_no_face(detector):
    noise = torch.randint(0, 256, (3, 300, 400), generator=torch.manual_seed(3)).byte()
    assert len(detector.detect([noise])[0]) == 0


def test_min_face_counts_pixels_of_the_reduced_image():
    portrait = hopper()  # 600 pixels high
    (found,) = MTCNN(min_face=100).detect([portrait])
    longer = float((found.boxes[0, 2:] - found.boxes[0, :2]).max())
    assert 200 < longer < 260
    assert len(MTCNN(min_face=round(longer * 1.2)).detect([portrait])[0]) == 0
    # Reduced to a third the face is some 77 pixels high.
    assert len(MTCNN(max_side=200, min_face=55).detect([portrait])[0]) == 1
    assert len(MTCNN(max_side=200, min_face=100).detect([portrait])[0]) == 0


def test_score_threshold_leaves_out_doubtful_faces():
    blurred = resized(resized(astronaut(), 0.12), 4)
    (all_found,) = MTCNN(score_threshold=0.5, min_face=20).detect([blurred])
    threshold = float(all_found.scores[0]) + 1e-4
    assert len(all_found)
    assert len(MTCNN(score_threshold=threshold, min_face=20).detect([blurred])[0]) == 0


def test_it_says_what_it_gives_and_what_it_looks_at():
    assert MTCNN().provides() == {"keypoints", *(f"keypoints.{name}" for name in NAMES)}
    assert MTCNN(max_side=800).input_side() == 760
    assert MTCNN().input_side() <= 1000  # a quarter of 4000 pixels
    assert MTCNN.parallel
    assert MTCNN().weights_needed() == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_face": 19}, "Input should be greater than or equal to 20"),
        ({"max_side": 47}, "Input should be greater than or equal to 48"),
        ({"score_threshold": 1}, "Input should be less than 1"),
        ({"score_treshold": 0.5}, "Extra inputs are not permitted"),
        ({"device": "gpu"}, "Value error, 'gpu' is not one of auto, cpu, cuda, cuda:N, mps"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValidationError) as error:
        MTCNN(**options)
    assert [fault["msg"] for fault in error.value.errors()] == [message]
    assert [fault["loc"] for fault in error.value.errors()] == [tuple(options)]


def test_a_smallest_face_as_large_as_the_image_is_refused():
    with pytest.raises(ValidationError) as error:
        MTCNN(min_face=300, max_side=300)
    (fault,) = error.value.errors()
    assert fault["msg"] == (
        "Value error, min_face 300 leaves no face to find in images of max_side 300; make it "
        "smaller"
    )
