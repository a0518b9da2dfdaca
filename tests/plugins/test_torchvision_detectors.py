"""torchvision's architectures with seeded random weights, through the whole contract.

The references are torchvision's own constructors and their own ``forward``, given the same weights
as its published ones would be.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import detection as zoo
from torchvision.models.detection.roi_heads import project_masks_on_boxes
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou

import alignimation_torchvision
from alignimation_core import WeightsError
from alignimation_core.api import geometry, precision
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_torchvision import Body, KeypointRCNN, MaskRCNN
from alignimation_torchvision._networks import Prediction
from alignimation_torchvision._published import KEYPOINT_RCNN, LABELS, MASK_RCNN

SHORT, LONG = 64, 107
PROPOSALS_OVERLAP = 0.2  # of 0.7: a tenth of the proposals, and of the time
PUBLISHED = {
    "v1": (zoo.maskrcnn_resnet50_fpn, zoo.MaskRCNN_ResNet50_FPN_Weights),
    "v2": (zoo.maskrcnn_resnet50_fpn_v2, zoo.MaskRCNN_ResNet50_FPN_V2_Weights),
    "keypoints": (zoo.keypointrcnn_resnet50_fpn, zoo.KeypointRCNN_ResNet50_FPN_Weights),
}
THRESHOLDS = {"v1": 0.85, "v2": 0.5, "keypoints": 0.4}


def random_network(kind: str) -> nn.Module:
    """Random, but with statistics so small in places that the epsilon added to them counts."""
    torch.manual_seed(1)
    network = PUBLISHED[kind][0](weights=None, weights_backbone=None)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var[::7] = 1e-5
                module.weight[::7] = 1e-5**0.5
        if kind != "keypoints":
            likely = LABELS["person" if kind == "v1" else "dog"]
            network.roi_heads.box_predictor.cls_score.bias[likely] += 6
            network.roi_heads.mask_predictor.mask_fcn_logits.weight *= 0.1
    return network


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {kind: folder / f"{kind}.pth" for kind in PUBLISHED}
    for kind, path in paths.items():
        torch.save(random_network(kind).state_dict(), path)
    yield paths
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def detectors(files: dict[str, Path]) -> dict[str, Any]:
    """One detector a network, so that each is loaded once."""
    common: dict[str, Any] = {"short_side": SHORT, "device": "cpu"}
    made = {
        "v1": MaskRCNN(weights=files["v1"], score_threshold=THRESHOLDS["v1"], **common),
        "v2": MaskRCNN(
            version="v2", weights=files["v2"], score_threshold=THRESHOLDS["v2"], **common
        ),
        "keypoints": KeypointRCNN(
            weights=files["keypoints"], score_threshold=THRESHOLDS["keypoints"], **common
        ),
    }
    for detector in made.values():
        detector.network.rpn.nms_thresh = PROPOSALS_OVERLAP
    return made


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 16, generator=rng) * 255
    smooth = functional.interpolate(coarse, (height, width), mode="bicubic")
    return smooth[0].clamp(0, 255).byte()


@pytest.fixture
def reference(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], nn.Module]:
    """torchvision's network, built as for its published weights, which are replaced by ours."""

    def build(kind: str) -> nn.Module:
        constructor, enum = PUBLISHED[kind]
        state = torch.load(files[kind], weights_only=True)
        monkeypatch.setattr(enum, "get_state_dict", lambda *_, **__: state)
        options = {
            "min_size": SHORT,
            "max_size": LONG,
            "box_score_thresh": THRESHOLDS[kind],
            "rpn_nms_thresh": PROPOSALS_OVERLAP,
        }
        return constructor(weights=enum.COCO_V1, **options).eval()

    return build


# What torchvision publishes


@pytest.mark.parametrize(
    ("kind", "weights"), [*MASK_RCNN.items(), ("keypoints", KEYPOINT_RCNN)], ids=str
)
def test_the_weights_are_torchvisions(kind: str, weights: Any) -> None:
    published = PUBLISHED[kind][1].COCO_V1
    assert weights.url == published.url
    assert weights.url.endswith(f"/{weights.filename}")
    assert weights.filename.endswith(f"-{weights.sha256[:8]}.pth")
    assert weights.size / 2**20 == pytest.approx(published.meta["_file_size"], abs=0.001)


def test_labels_and_keypoints_are_torchvisions() -> None:
    for kind in ("v1", "v2"):
        names = PUBLISHED[kind][1].COCO_V1.meta["categories"]
        assert {name: i for i, name in enumerate(names) if name[0] not in "_N"} == LABELS
    assert len(LABELS) == 80
    assert list(COCO_KEYPOINTS) == PUBLISHED["keypoints"][1].COCO_V1.meta["keypoint_names"]


def test_what_is_known_without_torch() -> None:
    script = """
import sys
from alignimation_torchvision import Body, KeypointRCNN, MaskRCNN
for detector in (MaskRCNN(), MaskRCNN(version="v2", category="cat"), KeypointRCNN(), Body()):
    files = [weights.filename for weights, own in detector.weights_needed() if own is None]
    print(detector.name, detector.input_side(), *files, *sorted(detector.provides()))
assert not {"torch", "torchvision", "networkx"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    names = " ".join(sorted(f"keypoints.{name}" for name in COCO_KEYPOINTS))
    v1, v2, points = MASK_RCNN["v1"].filename, MASK_RCNN["v2"].filename, KEYPOINT_RCNN.filename
    assert done.stdout.splitlines() == [
        f"mask-rcnn 1333 {v1} masks",
        f"mask-rcnn 1333 {v2} masks",
        f"keypoint-rcnn 1333 {points} keypoints {names}",
        f"body 1333 {v1} {points} keypoints {names} masks",
    ], done.stderr


# Options


def fault(make: Callable[[], object]) -> str:
    with pytest.raises(ValidationError) as raised:
        make()
    [error] = raised.value.errors()
    return str(error["ctx"]["error"])


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("persn", "did you mean person?"),
        ("Cat", "did you mean cat?"),
        ("bananna", "did you mean banana?"),
        ("sheeps", "did you mean sheep?"),
        ("motorbike", "did you mean motorcycle?"),
        ("N/A", f"choose from {', '.join(LABELS)}"),
    ],
)
def test_a_misspelt_category_is_answered_with_near_ones(written: str, hint: str) -> None:
    message = f"{written!r} is not one of COCO's 80 categories; {hint}"
    assert fault(lambda: MaskRCNN(category=written)) == message


def test_editors_are_offered_the_categories() -> None:
    schema = MaskRCNN.model_json_schema()["properties"]["category"]
    assert schema["enum"][15:18] == ["cat", "dog", "horse"]


def test_own_weights_are_relative_to_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "mine.pth").touch()
    context = {"folder": tmp_path}
    options = {"mask_weights": "mine.pth", "keypoint_weights": str(tmp_path / "mine.pth")}
    detector = Body.model_validate(options, context=context)
    mine = tmp_path / "mine.pth"
    assert detector.weights_needed() == ((MASK_RCNN["v1"], mine), (KEYPOINT_RCNN, mine))
    assert fault(lambda: MaskRCNN.model_validate({"weights": "no.pth"}, context=context)) == (
        f"{tmp_path}/no.pth: no such file; leave this out to use torchvision's weights"
    )


def test_the_side_that_the_network_sees_follows_the_short_one() -> None:
    assert [Body(short_side=side).input_side() for side in (800, 400, 64)] == [1333, 666, 107]


# Weights


def test_weights_of_another_network_are_named(files: dict[str, Path]) -> None:
    with pytest.raises(WeightsError) as raised:
        _ = MaskRCNN(weights=files["keypoints"], device="cpu").network
    assert str(raised.value) == (
        f"{files['keypoints']}: these are weights of another network (lacks "
        "roi_heads.mask_head.0.0.weight and 33 more differences); name the state dict of "
        "torchvision's maskrcnn_resnet50_fpn"
    )


def test_a_network_of_other_categories_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    state = torch.load(files["v2"], weights_only=True)
    name = "roi_heads.box_predictor.cls_score.bias"
    torch.save(state | {name: state[name][:5].clone()}, tmp_path / "mine.pth")
    with pytest.raises(WeightsError) as raised:
        _ = MaskRCNN(version="v2", weights=tmp_path / "mine.pth", device="cpu").network
    (tmp_path / "mine.pth").unlink()
    assert str(raised.value) == (
        f"{tmp_path}/mine.pth: these are weights of another network ({name} is (5,), needed "
        "(91,)); name the state dict of torchvision's maskrcnn_resnet50_fpn_v2"
    )


def test_offline_the_file_to_fetch_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{KEYPOINT_RCNN.filename}"
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(alignimation_torchvision, "KEYPOINT_RCNN", replace(KEYPOINT_RCNN, url=url))
    with pytest.raises(WeightsError) as raised:
        KeypointRCNN(device="cpu").detect([picture(64, 64)])
    message = str(raised.value)
    assert message.startswith(f"{KEYPOINT_RCNN.filename} cannot be fetched from {url}: ")
    assert message.endswith("or name a copy in the recipe, in the stage's option for weights")


# What the networks find


def reference_forward(network: nn.Module, image: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        return network([image.float() / 255])[0]


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_masks_boxes_and_scores_are_torchvisions(
    kind: str, detectors: dict[str, Any], reference: Callable[[str], nn.Module]
) -> None:
    image = picture(48, 60)
    # torchvision rounds to whole pixels where it pastes a mask: let these be small.
    fine = 16
    network = reference(kind)
    network.transform.postprocess = _onto(network.transform.postprocess, fine)
    expected = reference_forward(network, image)
    labels = expected["labels"]
    category, label = max(LABELS.items(), key=lambda item: int((labels == item[1]).sum()))
    detector = detectors[kind].model_copy(update={"category": category})
    [found] = detector.detect([image])

    ours = labels == label
    assert len(found) == ours.sum() > 2
    assert torch.allclose(found.scores, expected["scores"][ours], atol=1e-5)
    assert torch.allclose(found.boxes * fine, expected["boxes"][ours], atol=1e-2)
    # Of narrow masks a cell is no wider than the pixel that is rounded away.
    wide = ((found.boxes[:, 2:] - found.boxes[:, :2]).amin(1) > 10).nonzero().flatten().tolist()
    assert len(wide) > 2
    for i in wide[:4]:
        mask, pasted = found.scaled(fine, fine).masks[i], expected["masks"][ours][i, 0]
        drawn = geometry.warp(
            mask.tensor()[None], geometry.as_tensor(mask.image_from_mask), pasted.shape
        )[0]
        difference = (drawn - pasted).abs()
        assert difference.max() < 0.15
        assert difference.sum() < 0.08 * pasted.sum()


def test_features_may_be_float16_but_nothing_is_measured_in_it(
    detectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, detector = picture(48, 60), detectors["v2"].model_copy(update={"category": "dog"})
    [full] = detector.detect([image])
    monkeypatch.setattr(precision, "_kind", lambda _: torch.float16)
    kinds: set[object] = set()
    hooks = [
        module.register_forward_hook(lambda *_: kinds.add(_[2].dtype))
        for part in (detector.network.rpn, detector.network.roi_heads)
        for module in part.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    inside = detector.network.backbone.body.layer4
    hooks.append(inside.register_forward_hook(lambda *_: kinds.add(("inside", _[2].dtype))))
    [found] = detector.detect([image])
    for hook in hooks:
        hook.remove()
    assert kinds == {torch.float32, ("inside", torch.float16)}
    assert len(found) == len(full) > 2
    assert torch.allclose(found.scores, full.scores, atol=0.005)
    overlaps = box_iou(found.boxes, full.boxes)
    assert overlaps.amax(1).min() > 0.95


def _onto(postprocess: Callable[..., Any], fine: int) -> Callable[..., Any]:
    return lambda result, sizes, there: postprocess(
        result, sizes, [(height * fine, width * fine) for height, width in there]
    )


def test_masks_lie_where_those_lay_that_the_network_was_trained_with() -> None:
    """An ellipse is made a target of training, placed, and must be where it was."""
    y, x = torch.arange(425)[:, None] + 0.5, torch.arange(640)[None, :] + 0.5
    for centre_x, centre_y, a, b in ((300.3, 200.4, 60.7, 150.2), (101.9, 99.1, 33.3, 25.8)):
        inside = ((x - centre_x) / a) ** 2 + ((y - centre_y) / b) ** 2 < 1
        box = torch.tensor([[centre_x - a, centre_y - b, centre_x + a, centre_y + b]])
        transform = GeneralizedRCNNTransform(800, 1333, [0.0] * 3, [1.0] * 3).eval()
        _, [target] = transform(
            [torch.zeros(3, 425, 640)], [{"masks": inside[None].byte(), "boxes": box}]
        )
        drawn = project_masks_on_boxes(target["masks"], target["boxes"], torch.tensor([0]), 28)
        one = torch.ones(1, dtype=torch.int64)
        [mask] = MaskRCNN()._detections(Prediction(box, one, torch.ones(1), masks=drawn)).masks
        again = geometry.warp(
            mask.tensor()[None], geometry.as_tensor(mask.image_from_mask), inside.shape
        )[0]
        assert float((again * x).sum() / again.sum()) == pytest.approx(centre_x, abs=0.15)
        assert float((again * y).sum() / again.sum()) == pytest.approx(centre_y, abs=0.15)
        assert float(again.sum()) == pytest.approx(torch.pi * a * b, rel=0.01)
        both, either = (again >= 0.5) & inside, (again >= 0.5) | inside
        assert both.sum() / either.sum() > 0.97


def test_keypoints_are_torchvisions_and_their_scores_within_bounds(
    detectors: dict[str, Any], reference: Callable[[str], nn.Module]
) -> None:
    image = picture(48, 60)
    expected = reference_forward(reference("keypoints"), image)
    [found] = detectors["keypoints"].detect([image])
    assert len(found) == len(expected["boxes"]) > 2
    assert torch.allclose(found.scores, expected["scores"], atol=1e-5)
    assert torch.allclose(found.boxes, expected["boxes"], atol=1e-2)
    assert torch.allclose(found.keypoints, expected["keypoints"][..., :2], atol=1e-2)
    logits = expected["keypoints_scores"]
    assert torch.allclose(found.keypoint_scores, (logits - 2).sigmoid(), atol=1e-4)
    assert logits.max() > 1, "these scores have no bound"
    assert found.keypoint_names == COCO_KEYPOINTS


def test_a_large_image_is_reduced_first_and_found_in_its_own_pixels(
    detectors: dict[str, Any], reference: Callable[[str], nn.Module]
) -> None:
    image = picture(1200, 1900)
    small = functional.interpolate(image[None], (64, 101), mode="bilinear", antialias=True)[0]
    expected = reference_forward(reference("keypoints"), small)
    [found] = detectors["keypoints"].detect([image])
    assert len(found) == len(expected["boxes"]) > 2
    back = torch.tensor([1900 / 101, 1200 / 64])
    assert torch.allclose(found.boxes, expected["boxes"] * back.repeat(2), atol=0.1)
    assert torch.allclose(found.keypoints, expected["keypoints"][..., :2] * back, atol=0.1)


def test_a_photo_does_not_depend_on_its_neighbours(detectors: dict[str, Any]) -> None:
    images = [picture(48, 60), picture(60, 48, 1), picture(48, 60, 2)]
    together = detectors["v1"].detect(images)
    assert [len(found) > 0 for found in together] == [True] * 3
    for image, found in zip(images, together, strict=True):
        [alone] = detectors["v1"].detect([image])
        assert torch.equal(alone.boxes, found.boxes)
        assert torch.equal(alone.scores, found.scores)
        assert alone.masks == found.masks
        height, width = image.shape[-2:]
        assert (found.boxes >= 0).all()
        assert (found.boxes <= torch.tensor([width, height, width, height])).all()
        assert (found.scores.diff() <= 0).all()


def test_masks_stay_small(detectors: dict[str, Any]) -> None:
    [found] = detectors["v1"].detect([picture(3000, 4000)])
    assert len(found) > 0
    assert all((mask.height, mask.width) == (28, 28) for mask in found.masks)
    assert all(len(mask.data) < 1024 for mask in found.masks)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (5, 3)])
def test_slivers_are_no_fault(detectors: dict[str, Any], size: tuple[int, int]) -> None:
    [found] = detectors["keypoints"].detect([picture(*size)])
    assert found.boxes.isfinite().all()


# Both networks


@pytest.fixture
def body(files: dict[str, Path], detectors: dict[str, Any]) -> Body:
    made = Body(
        mask_weights=files["v1"],
        keypoint_weights=files["keypoints"],
        score_threshold=0.6,
        short_side=SHORT,
        device="cpu",
    )
    # The networks with these very options are there already.
    vars(made)["silhouettes"] = detectors["v1"]
    vars(made)["skeletons"] = detectors["keypoints"]
    return made


def test_body_keeps_everybody_whom_either_network_finds(
    body: Body, detectors: dict[str, Any]
) -> None:
    images = [picture(48, 60)]
    for found, masked, skeletal in zip(
        body.detect(images),
        detectors["v1"].detect(images),
        detectors["keypoints"].detect(images),
        strict=True,
    ):
        assert sorted(mask.data for mask in found.masks if mask) == sorted(
            mask.data for mask in masked.masks
        )
        seen = found.keypoint_scores.sum(1) > 0
        assert sorted(found.keypoints[seen].flatten(1).tolist()) == sorted(
            skeletal.keypoints.flatten(1).tolist()
        )
        assert (found.scores.diff() <= 0).all()


def test_body_hands_its_options_on(files: dict[str, Path]) -> None:
    body = Body(
        version="v2",
        mask_weights=files["v2"],
        keypoint_weights=files["keypoints"],
        score_threshold=0.4,
        short_side=64,
        device="cpu",
    )
    common = {"score_threshold": 0.4, "short_side": 64, "device": "cpu"}
    assert body.silhouettes == MaskRCNN(version="v2", weights=files["v2"], **common)
    assert body.skeletons == KeypointRCNN(weights=files["keypoints"], **common)


@pytest.mark.parametrize("kind", ["v1", "keypoints"])
def test_an_image_without_anybody_is_empty(
    kind: str, detectors: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = detectors[kind]
    monkeypatch.setattr(detector.network.roi_heads, "score_thresh", 1.0)
    [found] = detector.detect([picture(48, 60)])
    assert found.boxes.shape == (0, 4)
    assert found.masks == (() if kind == "v1" else None)
    assert found.keypoints is None or found.keypoints.shape == (0, 17, 2)
    assert found.keypoint_names == (() if kind == "v1" else COCO_KEYPOINTS)


def test_no_images_are_no_answers(body: Body) -> None:
    assert body.detect([]) == []
