"""The embedder ``facenet``, with random weights in a file such as the published ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import skimage.data
import torch
from pydantic import ValidationError
from torch.nn import functional

import alignimation_facenet
from alignimation_core import Detections, WeightsError
from alignimation_core.api import precision
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_facenet import MTCNN, FaceNet


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A state dict with the classifier of a training in it, as the published ones have."""
    from facenet_pytorch import InceptionResnetV1

    with torch.random.fork_rng():
        torch.manual_seed(1)
        return InceptionResnetV1(classify=True, num_classes=7).state_dict()


@pytest.fixture(scope="module")
def file(state, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def embedder(file) -> FaceNet:
    return FaceNet(weights=file, device="cpu")


@pytest.fixture(scope="module")
def images() -> list[torch.Tensor]:
    pictures = (skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea())
    return [torch.from_numpy(picture).permute(2, 0, 1).contiguous() for picture in pictures]


def boxes(*rows: tuple[float, float, float, float]) -> Detections:
    return Detections(torch.tensor(rows), torch.ones(len(rows)))


@pytest.fixture(scope="module")
def found() -> list[Detections]:
    return [
        boxes((180, 61, 268, 172), (300.5, 20.25, 420, 190)),
        Detections.empty(),
        boxes((130, 60, 260, 200)),
    ]


@pytest.fixture(scope="module")
def vectors(embedder, images, found) -> list[torch.Tensor]:
    return embedder.embed(images, found)


def test_each_box_gives_512_numbers_of_unit_length(vectors):
    assert [tuple(rows.shape) for rows in vectors] == [(2, 512), (0, 512), (1, 512)]
    assert {rows.dtype for rows in vectors} == {torch.float32}
    assert torch.cat(vectors).norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_all_at_once_equals_one_by_one_in_order(embedder, images, found, vectors):
    for image, detections, rows in zip(images, found, vectors, strict=True):
        for i in range(len(detections)):
            ((alone,),) = embedder.embed([image], [boxes(tuple(detections.boxes[i].tolist()))])
            torch.testing.assert_close(alone, rows[i], atol=1e-5, rtol=0)
    a, b, c = torch.cat(vectors)
    assert max((a - b).norm(), (b - c).norm(), (a - c).norm()) > 1e-2


def test_float16_hardly_changes_a_vector(embedder, images, found, vectors, monkeypatch):
    monkeypatch.setattr(precision, "_kind", lambda _: torch.float16)
    halves = torch.cat(embedder.embed(images, found))
    full = torch.cat(vectors)
    assert halves.dtype == torch.float32
    assert not torch.equal(halves, full)
    assert (halves - full).norm(dim=1).max() < 0.05 * torch.pdist(full).min()


def test_the_size_of_the_photo_hardly_matters(embedder, images, found, vectors):
    large = functional.interpolate(images[0][None], scale_factor=2, mode="bicubic")[0]
    (rows,) = embedder.embed([large], [found[0].scaled(2, 2)])
    same = (rows * vectors[0]).sum(1)
    other = vectors[0][0] @ vectors[0][1]
    assert (1 - same).max() < 0.02 * (1 - other)


def test_a_box_beyond_the_border_is_not_stretched(embedder, images):
    padded = functional.pad(images[0].float()[None], (60, 60, 60, 60), mode="replicate")[0].byte()
    outside = (-30.0, 440.0, 90.0, 560.0)
    ((cut,),) = embedder.embed([images[0]], [boxes(outside)])
    ((whole,),) = embedder.embed([padded], [boxes(tuple(v + 60 for v in outside))])
    torch.testing.assert_close(cut, whole, atol=1e-4, rtol=0)


def test_the_network_sees_the_box_with_its_margin_about_zero_by_128(embedder):
    # Red is the column, green the row; at 146 pixels across the box a crop is not resampled.
    image = torch.zeros(3, 256, 256, dtype=torch.uint8)
    image[0], image[1] = torch.arange(256), torch.arange(256)[:, None]
    seen = []
    hook = embedder.network.module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    embedder.embed([image], [boxes((40, 50, 186, 196))])
    hook.remove()
    ((crop,),) = seen
    assert crop.shape == (3, 160, 160)
    columns = (torch.arange(160) + 40 - 7 - 127.5) / 128
    rows = (torch.arange(160) + 50 - 7 - 127.5) / 128
    torch.testing.assert_close(crop[0], columns.expand(160, 160), atol=1e-4, rtol=0)
    torch.testing.assert_close(crop[1], rows[:, None].expand(160, 160), atol=1e-4, rtol=0)


def body(box: tuple[float, float, float, float], nose: tuple[float, float]) -> Detections:
    """One body of which only the nose was found."""
    points, scores = torch.zeros(1, 17, 2), torch.zeros(1, 17)
    points[0, 0], scores[0, 0] = torch.tensor(nose), 1.0
    return Detections(torch.tensor([box]), torch.ones(1), points, scores, COCO_KEYPOINTS)


def test_of_a_body_the_face_inside_is_embedded(embedder, images):
    (face,) = MTCNN(device="cpu").detect(images[:1])
    ((wanted,),) = embedder.embed(images[:1], [boxes(tuple(face.boxes[0].tolist()))])
    whole, nose = (20.0, 0.0, 500.0, 512.0), (223.0, 127.0)
    astronaut, coffee, elsewhere = embedder.embed(
        [images[0], images[1], images[0]],
        [body(whole, nose), body((0, 0, 600, 400), (300, 200)), body(whole, (400, 400))],
    )
    ((bust,),) = embedder.embed(images[:1], [boxes(whole)])
    assert (astronaut[0] - wanted).norm() < 0.2 * (bust - wanted).norm()
    assert not coffee.any()
    assert not elsewhere.any()
    assert embedder.side_for(body(whole, nose)) == embedder.body_side
    assert embedder.side_for(face) == embedder.box_side


def test_in_boxes_that_do_not_say_what_they_are_a_face_is_looked_for_where_asked(file, images):
    embedder = FaceNet(weights=file, device="cpu", find_faces=True)
    (face,) = MTCNN(device="cpu").detect(images[:1])
    crowd = boxes((20, 0, 500, 512), (0, 300, 100, 500))
    (rows,) = embedder.embed(images[:1], [crowd])
    ((wanted,),) = FaceNet(weights=file, device="cpu").embed(
        images[:1], [boxes(tuple(face.boxes[0].tolist()))]
    )
    assert rows.shape == (2, 512)
    ((bust,),) = FaceNet(weights=file, device="cpu").embed(images[:1], [boxes((20, 0, 500, 512))])
    assert (rows[0] - wanted).norm() < 0.2 * (bust - wanted).norm()
    assert not rows[1].any()


def test_many_faces_go_through_in_batches(embedder, images):
    sizes = []
    hook = embedder.network.module.register_forward_pre_hook(
        lambda _, args: sizes.append(len(args[0]))
    )
    crowd = boxes(*((10.0 * i, 20, 10.0 * i + 60, 90) for i in range(20)))
    rows = embedder.embed([images[0]] * 2, [crowd, crowd])
    hook.remove()
    assert sizes == [32, 8]
    torch.testing.assert_close(rows[0], rows[1], atol=1e-5, rtol=0)


def test_nothing_to_embed_costs_nothing(embedder, images):
    (rows,) = embedder.embed(images[:1], [Detections.empty()])
    assert rows.shape == (0, 512)
    assert embedder.embed([], []) == []


def test_weights_of_another_network_are_named_with_what_is_missing(tmp_path, state):
    def message(weights: dict[str, torch.Tensor]) -> str:
        torch.save(weights, path)
        with pytest.raises(WeightsError) as error:
            _ = FaceNet(weights=path).network
        return str(error.value)

    path = tmp_path / "wrong.pt"
    advice = (
        "; name the state dict of facenet-pytorch's network as `weights:`, or leave `weights:` out"
    )
    without = {name: value for name, value in state.items() if not name.startswith("last_")}
    assert message(without) == (
        f"{path}: no weights of InceptionResnetV1 (6 tensors are missing, the first is "
        f"last_linear.weight){advice}"
    )
    assert message({**state, "fc.bias": torch.zeros(2)}) == (
        f"{path}: no weights of InceptionResnetV1 (1 tensors are foreign, the first is "
        f"fc.bias){advice}"
    )
    assert message({**state, "last_bn.bias": torch.zeros(128)}) == (
        f"{path}: no weights of InceptionResnetV1 (last_bn.bias: expected (512,), got (128,))"
        f"{advice}"
    )


def test_offline_without_weights_one_line_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    unreachable = replace(
        alignimation_facenet.PRETRAINED["vggface2"], url="http://127.0.0.1:1/vggface2.pt"
    )
    monkeypatch.setitem(alignimation_facenet.PRETRAINED, "vggface2", unreachable)
    image = torch.zeros(3, 64, 64, dtype=torch.uint8)
    with pytest.raises(WeightsError) as error:
        FaceNet().embed([image], [boxes((10, 10, 50, 50))])
    place = tmp_path / "hub" / "checkpoints" / "20180402-114759-vggface2.pt"
    line = str(error.value)
    assert line.startswith("20180402-114759-vggface2.pt cannot be fetched from http://127.0.0.1:1/")
    assert f"save the file as {place}" in line
    assert "\n" not in line


def test_each_pretraining_needs_its_own_weights(file):
    ((published, local),) = FaceNet(pretrained="casia-webface").weights_needed()
    assert published.filename == "20180408-102900-casia-webface.pt"
    assert published.url.endswith(f"/v2.2.9/{published.filename}")
    assert len(published.sha256) == 64
    assert local is None
    assert FaceNet(weights=file).weights_needed()[0][1] == file
    assert FaceNet().provides() == {"embeddings"}
    assert FaceNet().requires() == frozenset()


def test_unknown_pretraining_is_refused():
    with pytest.raises(ValidationError) as error:
        FaceNet(pretrained="vggface3")
    (fault,) = error.value.errors()
    assert fault["loc"] == ("pretrained",)
    assert fault["msg"] == "Input should be 'vggface2' or 'casia-webface'"
