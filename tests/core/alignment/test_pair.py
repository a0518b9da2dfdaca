"""Photos aligned on one other, from Python."""

import math
import re
from pathlib import Path

import pytest
import torch

from alignimation_core import AlignedPhoto, AlignimationError, RecipeError, align, load, order
from alignimation_core import geometry as g
from alignimation_core.api.stages.selectors import Gates
from alignimation_subject import Largest
from alignimation_targets import GaussianKeypoints, Pixels

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart" / "photos"


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.fixture
def files(discs, tmp_path, monkeypatch):
    discs.series(tmp_path / "photos", discs.WARPS)
    monkeypatch.chdir(tmp_path)
    return order("photos")


@pytest.fixture
def stages(discs):
    return {"detector": discs.Blobs(), "subject_selector": discs.First()}


def truths(discs):
    fixed = torch.from_numpy(discs.WARPS[0])
    return [fixed @ g.inverse(torch.from_numpy(warp)) for warp in discs.WARPS]


def test_photos_are_aligned_as_they_were_made(discs, files, stages):
    aligned = align(files, files[0], **stages)
    for photo, found, true in zip(files, aligned, truths(discs), strict=True):
        assert isinstance(found, AlignedPhoto)
        assert found.failure is None
        assert found.converged
        corners = torch.tensor([[20.0, 10.0], [44, 10], [44, 38], [20, 38]], dtype=torch.float64)
        off = g.apply(found.matrix, corners) - g.apply(true, corners)
        assert off.norm(dim=1).max() < 0.1, photo.name
        warped = found.warp(photo)
        assert (warped.dtype, warped.shape) == (torch.uint8, (3, 48, 64))
        inner = (warped.float() - load(files[0]).float())[:, 12:36, 20:44]
        assert inner.abs().mean() < 2.5
    torch.testing.assert_close(aligned[0].matrix, torch.eye(3, dtype=torch.float64))
    assert aligned[1].residual <= aligned[1].residual_before


def test_a_photo_is_its_file_its_facts_or_its_pixels(files, stages):
    wanted = align(files[1], files[0], **stages)
    pixels = [load(photo) for photo in files]
    for moving, fixed in [
        (files[1].path, str(files[0].path)),
        (pixels[1], pixels[0]),
        (pixels[1] / 255, pixels[0].double() / 255),
    ]:
        found = align(moving, fixed, **stages)
        assert torch.equal(found.matrix, wanted.matrix)
    (first, second) = align(torch.stack(pixels[1:3]), files[0], **stages)
    torch.testing.assert_close(first.matrix, wanted.matrix, rtol=0, atol=1e-4)
    assert not torch.equal(second.matrix, wanted.matrix)
    floats = wanted.warp(pixels[1] / 255)
    assert floats.dtype == torch.float32
    assert torch.equal((floats * 255).round().byte(), wanted.warp(pixels[1]))
    assert align([], files[0], **stages) == []


def test_photos_of_a_list_fail_alone(files, stages, tmp_path):
    black = torch.zeros(3, 48, 64)
    (tmp_path / "text.jpg").write_text("no photo")
    aligned = align([files[1], black, "text.jpg", files[2]], files[0], **stages)
    assert [found.failure for found in aligned] == [
        None,
        "moving[1]: nothing here: 0 blobs",
        "text.jpg: this is a text file, no photo; replace or remove it",
        None,
    ]
    assert aligned[1].matrix.isnan().all()
    assert math.isnan(aligned[1].residual)
    with pytest.raises(AlignimationError, match=exactly("moving[1]: nothing here: 0 blobs")):
        aligned[1].warp(black)
    both = align([files[1], files[2]], files[0], **stages)
    torch.testing.assert_close(both[1].matrix, aligned[3].matrix, rtol=0, atol=1e-4)


def test_one_photo_that_cannot_be_aligned_is_an_error(files, stages):
    black = torch.zeros(3, 48, 64)
    with pytest.raises(AlignimationError, match=exactly("moving: nothing here: 0 blobs")):
        align(black, files[0], **stages)
    with pytest.raises(AlignimationError, match=exactly("fixed: nothing here: 0 blobs")):
        align(files, black, **stages)
    with pytest.raises(AlignimationError, match=exactly("none.png: the file is gone")):
        align(files, "none.png", **stages)
    with pytest.raises(TypeError, match=r"^moving: expected \(3, h, w\) RGB, .* got int"):
        align(7, files[0], **stages)
    with pytest.raises(ValueError, match=r"^moving\[1\]: expected .* divide it by 255$"):
        align([files[1], load(files[1]).float()], files[0], **stages)


def test_another_picture_of_the_same_size_can_be_warped(files, stages):
    found = align(files[1], files[0], **stages)
    assert found.warp(torch.ones(3, 48, 64)).amin() == 0
    assert found.warp(torch.ones(3, 48, 64), padding="border").amin() > 0.999
    message = "photo: expected shape (3, 48, 64), got (3, 24, 32)"
    with pytest.raises(ValueError, match=exactly(message)):
        found.warp(torch.zeros(3, 24, 32))
    with pytest.raises(TypeError, match=r"^photo: expected \(3, h, w\)"):
        found.warp(load(files[1]).numpy())


def test_stages_are_chosen_by_name_or_given(files, stages):
    identity = torch.eye(2, dtype=torch.float64)
    moved = align(files[1], files[0], **stages, transform_model="translation").matrix
    assert torch.equal(moved[:2, :2], identity)
    drawn = align(
        files[1],
        load(files[0]),
        **stages,
        target_builder=Pixels(channels="colour"),
        transform_model="similarity",
    )
    wanted = align(files[1], files[0], **stages).matrix
    assert (drawn.matrix - wanted)[:2, :2].abs().max() < 0.01
    with pytest.raises(RecipeError, match="there is no detector 'mtccn'; did you mean 'mtcnn'"):
        align(files[1], files[0], detector="mtccn")
    with pytest.raises(RecipeError, match="'mask' needs masks, which the detector 'blobs' does"):
        align(files[1], files[0], **stages, target_builder="mask")


def test_gates_of_the_selector_count(files, discs):
    blobs = discs.Blobs()
    selector = Largest(gates=Gates(min_size=500))
    with pytest.raises(AlignimationError, match=r"^photos/2020-01-01\.png: the subject is too sma"):
        align(files[1], files[0], detector=blobs, subject_selector=selector)
    dark = Largest(gates=Gates(min_exposure=0.9))
    with pytest.raises(AlignimationError, match="the subject is too dark"):
        align(files[1], files[0], detector=blobs, subject_selector=dark)


def test_faces_are_found_by_default_on_their_side_too():
    photos = order([QUICKSTART / "DSC01377.jpg", QUICKSTART / "IMG_2041.jpg"])
    moving, fixed = map(load, photos)
    upright = align(moving, fixed)
    lying = align(torch.rot90(moving, 1, (1, 2)), fixed)
    eyes = torch.tensor([[500.0, 300.0], [560, 310]], dtype=torch.float64)
    width = moving.shape[2]
    turned = torch.stack([eyes[:, 1], width - eyes[:, 0]], 1)
    off = g.apply(upright.matrix, eyes) - g.apply(lying.matrix, turned)
    assert off.norm(dim=1).max() < 3


def test_annotations_go_by_the_file(files):
    from alignimation_annotations import CocoAnnotations

    body = ROOT / "examples" / "body"
    detector = CocoAnnotations(file=body / "annotations.json")
    photos = [body / "photos" / name for name in ("IMG_0108.jpg", "IMG_0131.jpg", "IMG_0301.jpg")]
    aligned = align(
        photos, photos[0], detector=detector, target_builder=GaussianKeypoints(mask=True)
    )
    assert [found.failure is None for found in aligned] == [True, True, False]
    assert aligned[2].failure.endswith("the annotations of this photo have none")
    with pytest.raises(TypeError, match=r"expected a file, got its pixels; coco-annotations goes "):
        align(load(photos[0]), photos[0], detector=detector)
