"""What a CUDA device answers beside what the CPU does; skipped where there is none."""

import pytest
import torch
from torch.nn import functional
from torchvision.ops import box_iou

from alignimation_core import Detections, Target
from alignimation_core.api import geometry, precision
from alignimation_core.api.precision import exact, mixed
from alignimation_core.api.registration import procrustes
from alignimation_core.photos import decoder
from alignimation_facenet import MTCNN, FaceNet
from alignimation_kornia import Similarity
from alignimation_torchvision import KeypointRCNN, MaskRCNN
from alignimation_torchvision._networks import keypoint_rcnn, mask_rcnn

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def faces(request):
    folder = request.config.rootpath / "examples" / "quickstart" / "photos"
    return [decoder.load(path, 973) for path in sorted(folder.iterdir())[:6]]


def smooth(height, width, seed=0):
    coarse = torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(seed)) * 255
    return functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 255).byte()


def apart(one, other):
    return float((one.cpu() - other).norm() / other.norm())


def detectors_of(kind, tmp_path):
    torch.manual_seed(0)
    stage, build = {
        "mask": (MaskRCNN, lambda: mask_rcnn("v1", (400, 667), 0.5)),
        "keypoint": (KeypointRCNN, lambda: keypoint_rcnn((400, 667), 0.5)),
    }[kind]
    network = build()
    heads = network.roi_heads.box_predictor
    with torch.no_grad():  # likely persons, in boxes of a person's shape
        heads.cls_score.bias[1] += 6
        for layer in (heads.cls_score, heads.bbox_pred, network.rpn.head.bbox_pred):
            layer.weight *= 0.1
    torch.save(network.state_dict(), tmp_path / "random.pth")
    return [
        stage(weights=tmp_path / "random.pth", short_side=400, score_threshold=0.5, device=device)
        for device in ("cpu", "cuda")
    ]


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_float16_features_are_those_of_float32(kind, tmp_path):
    here, there = (detector.network.backbone for detector in detectors_of(kind, tmp_path))
    batch = smooth(416, 544)[None].float() / 255 - 0.45
    with torch.inference_mode():
        wanted = mixed(here, batch)
        found = mixed(there, batch.cuda())
    for name, values in wanted.items():
        assert apart(found[name], values) < 0.01, name


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_regions_found_are_those_of_the_cpu(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "_kind", lambda _: None)  # random weights find near ties
    here, there = detectors_of(kind, tmp_path)
    [wanted] = here.detect([smooth(400, 533)])
    with exact(torch.device("cuda")):
        [found] = there.detect([smooth(400, 533)])
    assert len(wanted) > 5
    overlap, nearest = box_iou(wanted.boxes, found.boxes).max(1)
    same = overlap > 0.9
    assert same.float().mean() > 0.8
    assert (wanted.scores - found.scores[nearest])[same].abs().max() < 0.02
    if kind == "mask":
        pairs = zip(wanted.masks, (found.masks[at] for at in nearest.tolist()), strict=True)
        off = torch.stack([(one.tensor() - other.tensor()).abs().mean() for one, other in pairs])
        assert off[same].max() < 0.02
    else:
        off = (wanted.keypoints - found.keypoints[nearest]).norm(dim=-1)[same]
        assert (off < 2).float().mean() > 0.9


def test_exact_convolutions_are_float32_throughout():
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(1, 256, 64, 64, generator=generator)
    weight = torch.randn(256, 256, 3, 3, generator=generator)
    wanted = functional.conv2d(maps.double(), weight.double())
    with exact(torch.device("cuda")):
        found = functional.conv2d(maps.cuda(), weight.cuda())
    assert apart(found.double(), wanted) < 1e-5


def test_faces_found_are_those_of_the_cpu(faces):
    wanted, found = (MTCNN(device=device).detect(faces) for device in ("cpu", "cuda"))
    assert sum(len(one) for one in wanted) >= len(faces)
    for one, other in zip(wanted, found, strict=True):
        assert len(one) == len(other)
        side = (one.boxes[:, 2:] - one.boxes[:, :2]).amax()
        assert (one.keypoints - other.keypoints).abs().max() < 1e-3 * side
        assert (one.scores - other.scores).abs().max() < 1e-3


def test_faces_are_described_as_on_the_cpu(faces, tmp_path):
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    torch.save(InceptionResnetV1().state_dict(), tmp_path / "random.pt")
    boxes = torch.tensor([[200.0, 150.0, 420.0, 400.0]])
    seen = [Detections(boxes=boxes, scores=torch.ones(1)) for _ in faces]
    wanted, found = (
        torch.cat(FaceNet(weights=tmp_path / "random.pt", device=device).embed(faces, seen))
        for device in ("cpu", "cuda")
    )
    assert (wanted * found).sum(1).min() > 0.9995


def targets(count):
    """Return discs moved by known similarities, their reference and where fits begin."""
    y, x = torch.meshgrid(torch.arange(64) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(5, 2, generator=generator) * 24 + 20

    def draw(places):
        off = (x - places[:, 0, None, None]) ** 2 + (y - places[:, 1, None, None]) ** 2
        return Target.of((-off / 18).exp(), points=places)

    moved = []
    for _ in range(count):
        turn, shift = torch.randn(1, generator=generator), torch.randn(2, generator=generator)
        matrix = geometry.translation(32, 32) @ geometry.rotation(0.1 * float(turn))
        matrix = matrix @ geometry.translation(*(2 * shift - 32).tolist())
        moved.append(draw(geometry.apply(matrix, points.double()).float()))
    moving, fixed = Target.stack(moved), draw(points)
    start = procrustes.closed_form(moving, fixed)
    start[:, :2, 2] += 1.5
    return moving, fixed, start


@pytest.mark.parametrize("loss", ["l2", "huber"])
def test_fits_are_those_of_the_cpu(loss):
    moving, fixed, start = targets(48)
    wanted, found = (
        Similarity(loss=loss, device=device).fit(moving, fixed, start) for device in ("cpu", "cuda")
    )
    assert found.failures == wanted.failures == (None,) * 48
    assert found.converged.all()
    corners = torch.tensor([[0.0, 0.0], [64.0, 0.0], [64.0, 64.0], [0.0, 64.0]]).double()
    off = geometry.apply(found.matrices, corners) - geometry.apply(wanted.matrices, corners)
    assert off.abs().max() < 0.01
    torch.testing.assert_close(found.residuals, wanted.residuals, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("scale", [0.27, 0.7, 1.0, 1.6])
@pytest.mark.parametrize("padding", ["border", "reflection"])
@pytest.mark.parametrize("tilt", [0.0, 1e-4], ids=["affine", "homography"])
def test_photos_are_warped_as_on_the_cpu(scale, padding, tilt):
    photo = smooth(600, 800)
    matrix = geometry.scaling(scale, scale) @ geometry.rotation(0.1)
    matrix[2, 0] = tilt
    size = round(600 * scale), round(800 * scale)
    wanted = geometry.warp_photo(photo, matrix, size, padding=padding)
    found = geometry.warp_photo(photo.cuda(), matrix, size, padding=padding)
    assert found.device.type == "cuda"
    assert (found.cpu() - wanted).abs().max() < 2 / 255
