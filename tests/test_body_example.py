"""examples/body, run offline against its ground truth: the belly grows, the torso stands still."""

import json
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from alignimation_core import Recipe, run
from alignimation_core.api import geometry
from alignimation_core.cli import main
from alignimation_core.photos import decoder

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "body"
TRUTH = json.loads((EXAMPLE / "truth.json").read_text(encoding="utf-8"))
SHOWN = {photo["file"]: photo["subject"] for photo in TRUTH["photos"] if photo["subject"]}

MIDDLE = slice(225, 675), slice(180, 540)
"""The part of the canvas that no photo leaves open."""


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The output folder of a whole run by the command."""
    folder = tmp_path_factory.mktemp("body")
    assert main([str(EXAMPLE / "offline.yaml"), "--set", f"output={folder}"]) == 0
    return folder


@pytest.fixture(scope="module")
def record(out):
    return json.loads((out / "run.json").read_text(encoding="utf-8"))


def bones_on_canvas(photos):
    """Return the true places of the torso's bones, (N, P, 2) pixels of the canvas."""
    placed = []
    for photo in photos:
        bones = SHOWN[photo["path"]]["keypoints"]
        places = np.array([[*bones[name], 1.0] for name in TRUTH["source"]["torso"]])
        mapped = places @ np.array(photo["canvas_from_photo"]).T
        placed.append(mapped[:, :2] / mapped[:, 2:])
    return np.array(placed)


def on_canvas(photo):
    """Return a photo where the record says that it lies on the canvas, (900, 720, 3) levels."""
    matrix = geometry.as_tensor(photo["canvas_from_photo"])
    picture = decoder.load(str(EXAMPLE / photo["path"]))
    return geometry.warp_photo(picture, matrix, (900, 720)).permute(1, 2, 0).numpy() * 255


def torso_length(bones):
    """Return the mean length from between the shoulders to between the hips, canvas pixels."""
    at = dict(zip(TRUTH["source"]["torso"], bones.transpose(1, 0, 2), strict=True))
    shoulders, hips = (at[f"left_{part}"] + at[f"right_{part}"] for part in ("shoulder", "hip"))
    return np.linalg.norm(hips - shoulders, axis=1).mean() / 2


def scatter(photos):
    """Return the RMS distance of the torso's bones from their mean places, in torso lengths."""
    bones = bones_on_canvas(photos)
    return np.sqrt(np.square(bones - bones.mean(0)).sum(-1).mean()) / torso_length(bones)


def used(record):
    return [photo for photo in record["photos"] if photo["status"] == "used"]


def test_every_photo_with_her_is_used_and_the_empty_one_says_why(record):
    status = {photo["path"]: photo["status"] for photo in record["photos"]}
    assert status == {
        photo["file"]: "used" if photo["subject"] else "rejected" for photo in TRUTH["photos"]
    }
    (empty,) = (photo for photo in record["photos"] if photo["status"] == "rejected")
    assert empty["reason"] == "no person was found: the annotations of this photo have none"


def test_photos_come_in_the_order_of_the_weeks(record):
    weeks = {photo["file"]: photo["week"] for photo in TRUTH["photos"]}
    order = [weeks[photo["path"]] for photo in record["photos"]]
    assert order == sorted(order)


def test_torso_scatters_by_a_thousandth_of_its_length(record):
    assert scatter(used(record)) < 0.001


def test_growing_belly_pulls_the_mask_but_not_its_rigid_parts(record, tmp_path):
    def drift(photos):
        """How far the torso moves while the belly grows from flat to term, in torso lengths."""
        bones = bones_on_canvas(photos)
        growth = [SHOWN[photo["path"]]["belly"] for photo in photos]
        return np.linalg.norm(np.polyfit(growth, bones.mean(1), 1)[0]) / torso_length(bones)

    def masks_alone(*settings):
        recipe = Recipe.load(
            EXAMPLE / "offline.yaml",
            settings=["target_builder=mask", "canvas.size=180x226", *settings],
        )
        return used(run(replace(recipe, renderers=(), output=tmp_path / "out")).as_json())

    pulled, rigid = masks_alone("refine.rigid_parts=false"), masks_alone()
    assert drift(pulled) > 0.09
    assert drift(used(record)) < 0.001
    assert drift(rigid) < 0.001
    assert scatter(rigid) < 0.001


def test_nothing_is_stretched(record):
    for photo in used(record):
        turn = np.array(photo["canvas_from_photo"])[:2, :2]
        (a, b), (c, d) = turn
        assert (a, b) == pytest.approx((d, -c), rel=1e-9, abs=1e-12)
        assert photo["canvas_from_photo"][2] == [0.0, 0.0, 1.0]


def test_scale_and_turn_are_those_of_the_known_warps(record):
    measured = []
    for photo in used(record):
        warp = np.array(SHOWN[photo["path"]]["photo_from_source"])
        canvas_from_source = np.array(photo["canvas_from_photo"]) @ warp
        a, b = canvas_from_source[:2, 0]
        measured.append((np.hypot(a, b), np.arctan2(b, a)))
    scale, turn = np.array(measured).T
    assert scale / scale.mean() == pytest.approx(1, abs=0.02)
    assert turn - turn.mean() == pytest.approx(0, abs=np.radians(1))


def test_outputs_show_every_photo_used(out, record):
    assert record["outputs"] == ["belly.mp4", "belly.gif"]
    with Image.open(out / "belly.gif") as gif:
        assert (gif.n_frames, gif.width) == (len(used(record)), 360)
    with av.open(str(out / "belly.mp4")) as film:
        assert film.streams.video[0].average_rate == 3
        frames = [frame.to_image() for frame in film.decode(video=0)]
    assert [frame.size for frame in frames] == [(720, 900)] * len(used(record))
    shown = [np.asarray(frame, float)[MIDDLE] for frame in frames]
    warped = [on_canvas(photo)[MIDDLE] for photo in used(record)]
    apart = np.array([[np.abs(one - other).mean() for other in warped] for one in shown])
    assert apart.diagonal().max() < 4
    assert apart.argmin(1).tolist() == list(range(len(warped)))


def test_the_second_person_is_smaller_and_is_not_the_subject(record):
    accompanied = {photo["file"] for photo in TRUTH["photos"] if photo["others"]}
    assert len(accompanied) == 2
    for photo in used(record):
        if photo["path"] in accompanied:
            nose = photo["subject"]["keypoints"]["nose"]
            true = SHOWN[photo["path"]]["keypoints"]["nose"]
            assert np.linalg.norm(np.subtract(nose, true)) < 10


def test_annotations_name_a_photo_that_is_not_there():
    images = json.loads((EXAMPLE / "annotations.json").read_text(encoding="utf-8"))["images"]
    missing = [
        image["file_name"] for image in images if not (EXAMPLE / image["file_name"]).exists()
    ]
    assert missing == ["photos/IMG_0477.jpg"]


def test_recipe_for_the_networks_differs_in_the_detector_alone():
    offline, networks = (
        Recipe.load(EXAMPLE / name).dump() for name in ("offline.yaml", "recipe.yaml")
    )
    assert offline.pop("detector")["use"] == "coco-annotations"
    assert networks.pop("detector")["use"] == "body"
    assert networks == offline
