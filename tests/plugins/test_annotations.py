import json
import math
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pydantic import ValidationError

from alignimation_annotations import CocoAnnotations
from alignimation_core import Photo, PhotoError
from alignimation_core.api import geometry

SQUARE = [[10.0, 20.0, 50.0, 20.0, 50.0, 80.0, 10.0, 80.0]]


def coco(annotations, *, images=None, categories=None):
    return {
        "images": images or [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 120}],
        "categories": categories
        or [
            {"id": 7, "name": "person", "keypoints": ["nose", "left_hip"]},
            {"id": 2, "name": "cat"},
        ],
        "annotations": [
            {"id": 10 + i, "image_id": 1, "category_id": 7} | annotation
            for i, annotation in enumerate(annotations)
        ],
    }


def written(folder, data, name="coco.json"):
    path = folder / name
    path.write_text(json.dumps(data))
    return str(path)


def detector_of(folder, data, **options):
    return CocoAnnotations(file=written(folder, data), **options)


def photo(path="/photos/a.jpg", width=100, height=120):
    at = Path(path)
    return Photo(at, at.name, "0" * 64, height, width, datetime(2020, 1, 1), "file")


def drawn(mask, size=(120, 100)):
    matrix = geometry.as_tensor(mask.image_from_mask)
    return geometry.warp(mask.tensor()[None], matrix, size)[0]


def run_lengths(mask, *, compressed):
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    if compressed:
        return {"size": list(mask.shape), "counts": packed["counts"].decode()}
    flat = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    return {"size": list(mask.shape), "counts": np.diff(np.concatenate([[0], edges])).tolist()}


# what comes out


def test_two_categories_of_one_name_are_one(tmp_path):
    persons = [{"id": 1, "name": "person"}, {"id": 2, "name": "person"}]
    boxes = [{"bbox": [1, 2, 10 * kind, 20], "category_id": kind} for kind in (1, 2)]
    found = detector_of(tmp_path, coco(boxes, categories=persons)).annotate(photo())
    assert found.boxes.tolist() == [[1, 2, 21, 22], [1, 2, 11, 22]]


def test_boxes_scores_and_keypoints_in_continuous_pixels_best_first(tmp_path):
    detector = detector_of(
        tmp_path,
        coco(
            [
                {"bbox": [1, 2, 10, 20], "keypoints": [3, 4, 2, 5, 6, 1]},
                {"bbox": [1, 2, 30, 40], "keypoints": [7, 8, 2, 0, 0, 0]},
                {"bbox": [0, 0, 9, 9], "score": 0.5},
                {"bbox": [0, 0, 99, 99], "category_id": 2},
            ]
        ),
    )

    found = detector.annotate(photo())

    assert found.boxes.tolist() == [[1, 2, 31, 42], [1, 2, 11, 22], [0, 0, 9, 9]]
    assert found.scores.tolist() == [1, 1, 0.5]
    assert found.keypoint_names == ("nose", "left_hip")
    assert found.keypoints[0, 0].tolist() == [7.5, 8.5]  # pixel (7, 8) has its centre there
    assert found.keypoint_scores.tolist() == [[1, 0], [1, 0.5], [0, 0]]
    assert found.masks is None
    assert found.subject(0).keypoints == {"nose": (7.5, 8.5)}


def test_keypoints_with_fractions_are_continuous_already(tmp_path):
    detector = detector_of(
        tmp_path, coco([{"bbox": [1, 2, 10, 20], "keypoints": [3.25, 4, 2, 5, 6, 2]}])
    )

    assert detector.annotate(photo()).keypoints[0].tolist() == [[3.25, 4], [5, 6]]


def test_polygons_become_masks_and_the_missing_box(tmp_path):
    found = detector_of(tmp_path, coco([{"segmentation": SQUARE}])).annotate(photo())

    assert found.boxes.tolist() == [[10, 20, 50, 80]]
    image = drawn(found.masks[0])
    assert float(image.sum()) == pytest.approx(40 * 60, rel=0.01)
    assert float(image[21:79, 11:49].min()) > 0.99
    assert float(image[:19].max()) == 0
    assert max(found.masks[0].height, found.masks[0].width) == 480


def test_several_polygons_are_one_mask(tmp_path):
    parts = [[5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0], [60.0, 60.0, 80.0, 60.0, 60.0, 80.0]]

    found = detector_of(tmp_path, coco([{"segmentation": parts}])).annotate(photo())

    assert found.boxes.tolist() == [[5, 5, 80, 80]]
    assert float(drawn(found.masks[0]).sum()) == pytest.approx(100 + 200, rel=0.02)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("touching", [False, True])
def test_run_lengths_become_masks_pixel_by_pixel(tmp_path, compressed, touching):
    y, x = np.mgrid[0:120, 0:100]
    disc = ((x - 40) / 20) ** 2 + ((y - 70) / 30) ** 2 < 1
    disc[0, 0] = touching

    rle = run_lengths(disc, compressed=compressed)
    found = detector_of(tmp_path, coco([{"segmentation": rle, "iscrowd": 1}]), include_crowd=True)

    mask = found.annotate(photo()).masks[0]
    assert torch.equal(drawn(mask) > 0.5, torch.from_numpy(disc))


def test_a_large_run_length_mask_is_kept_small_and_in_place(tmp_path):
    y, x = np.mgrid[0:1500, 0:2000]
    disc = (x - 1000) ** 2 + (y - 700) ** 2 < 600**2
    images = [{"id": 1, "file_name": "a.jpg", "width": 2000, "height": 1500}]
    data = coco([{"segmentation": run_lengths(disc, compressed=True)}], images=images)

    mask = detector_of(tmp_path, data).annotate(photo(width=2000, height=1500)).masks[0]

    image = drawn(mask, (1500, 2000))
    at = torch.arange(2000) + 0.5
    assert max(mask.height, mask.width) == 512
    assert float(image.sum()) == pytest.approx(math.pi * 600**2, rel=2e-3)
    assert float((image.sum(0) * at).sum() / image.sum()) == pytest.approx(1000.5, abs=0.1)


@pytest.mark.parametrize("runs", [False, True])
def test_masks_are_as_coarse_as_the_recipe_says_they_are(tmp_path, runs):
    square = np.zeros((120, 100), bool)
    square[20:80, 10:50] = True
    outline = run_lengths(square, compressed=True) if runs else SQUARE
    data = coco([{"segmentation": outline, "bbox": [10, 20, 40, 60]}])
    mask = detector_of(tmp_path, data, mask_cell=10).annotate(photo()).masks[0]
    assert (mask.height, mask.width) == (6, 4)
    assert float(drawn(mask).sum()) == pytest.approx(60 * 40, rel=0.01)
    larger = detector_of(tmp_path, data, mask_cell=100).annotate(photo()).masks[0]
    assert (larger.height, larger.width) == (1, 1)
    same = detector_of(tmp_path, data, mask_cell=0.1).annotate(photo()).masks[0]
    assert same == detector_of(tmp_path, data).annotate(photo()).masks[0]


def test_masks_and_keypoints_of_two_files_are_joined_by_annotation(tmp_path):
    instances = written(
        tmp_path, coco([{"segmentation": SQUARE, "bbox": [10, 20, 40, 60]}]), "i.json"
    )
    keypoints = written(
        tmp_path, coco([{"keypoints": [3, 4, 2, 5, 6, 2], "num_keypoints": 2}]), "k.json"
    )

    detector = CocoAnnotations(file=[instances, keypoints])
    found = detector.annotate(photo())

    assert len(found) == 1
    assert found.keypoints[0].tolist() == [[3.5, 4.5], [5.5, 6.5]]
    assert found.masks[0] is not None
    assert detector.provides() == {"masks", "keypoints", "keypoints.nose", "keypoints.left_hip"}


@pytest.mark.parametrize(
    ("of_masks", "of_keypoints", "least"),
    [(0.9, 0.25, 0.25), (0.25, 0.9, 0.25), (None, 0.5, 0.5), (0.5, None, 0.5), (None, None, 1)],
)
def test_the_lesser_of_two_files_scores_counts(tmp_path, of_masks, of_keypoints, least):
    def scored(annotation, score):
        return coco([annotation if score is None else annotation | {"score": score}])

    masks = written(tmp_path, scored({"segmentation": SQUARE}, of_masks), "i.json")
    points = written(tmp_path, scored({"keypoints": [3, 4, 2, 5, 6, 2]}, of_keypoints), "k.json")

    found = CocoAnnotations(file=[masks, points]).annotate(photo())

    assert found.scores.tolist() == [least]


def test_a_detection_may_have_only_a_mask_or_only_keypoints(tmp_path):
    found = detector_of(
        tmp_path,
        coco([{"segmentation": SQUARE}, {"bbox": [0, 0, 9, 9], "keypoints": [3, 4, 2, 5, 6, 2]}]),
    ).annotate(photo(width=50, height=60))

    assert found.subject(0).keypoints == {}
    assert found.subject(0).mask is not None
    assert found.subject(1).mask is None
    assert found.subject(1).keypoints == {"nose": (1.75, 2.25), "left_hip": (2.75, 3.25)}


def test_cocos_seventeen_names_are_taken_where_the_category_gives_none(tmp_path):
    categories = [{"id": 7, "name": "person"}]
    data = coco([{"bbox": [0, 0, 9, 9], "keypoints": [1, 1, 2] * 17}], categories=categories)

    names = detector_of(tmp_path, data).annotate(photo()).keypoint_names

    assert (len(names), names[0], names[5], names[16]) == (
        17,
        "nose",
        "left_shoulder",
        "right_ankle",
    )


def test_crowds_are_left_out_unless_asked_for(tmp_path):
    data = coco([{"bbox": [0, 0, 9, 9], "iscrowd": 1}, {"bbox": [0, 0, 5, 5]}])

    assert detector_of(tmp_path, data).annotate(photo()).boxes.tolist() == [[0, 0, 5, 5]]
    assert len(detector_of(tmp_path, data, include_crowd=True).annotate(photo())) == 2


def test_another_category(tmp_path):
    data = coco([{"bbox": [0, 0, 9, 9]}, {"bbox": [0, 0, 5, 5], "category_id": 2}])

    detector = detector_of(tmp_path, data, category="cat")

    assert detector.annotate(photo()).boxes.tolist() == [[0, 0, 5, 5]]
    assert detector.provides() == frozenset()


# which photo


def test_a_photo_without_annotations_is_empty_but_of_the_same_kind(tmp_path):
    data = coco([{"segmentation": SQUARE, "keypoints": [3, 4, 2, 5, 6, 2]}])

    found = detector_of(tmp_path, data).annotate(photo("/photos/b.jpg"))

    assert len(found) == 0
    assert found.keypoint_names == ("nose", "left_hip")
    assert found.masks == ()


def test_photos_are_found_by_their_path_before_their_name(tmp_path):
    images = [
        {"id": 1, "file_name": "2008/a.jpg", "width": 100, "height": 120},
        {"id": 2, "file_name": "2009\\a.jpg", "width": 100, "height": 120},
    ]
    data = coco([{"bbox": [0, 0, 8, 8]}, {"bbox": [0, 0, 9, 9], "image_id": 2}], images=images)
    detector = detector_of(tmp_path, data)

    assert detector.annotate(photo("/home/2008/a.jpg")).boxes[0, 2] == 8
    assert detector.annotate(photo("/home/2009/a.jpg")).boxes[0, 2] == 9
    with pytest.raises(
        PhotoError,
        match=r"images 2008/a\.jpg and 2009\\a\.jpg could both be it; give their folders",
    ):
        detector.annotate(photo("/home/a.jpg"))


def test_coordinates_follow_a_resized_photo(tmp_path):
    data = coco([{"segmentation": SQUARE, "keypoints": [3.5, 4, 2, 5, 6, 2]}])

    found = detector_of(tmp_path, data).annotate(photo(width=300, height=361))  # a side was rounded

    assert found.boxes[0, [0, 2]].tolist() == [30, 150]
    assert found.keypoints[0, 0, 0] == 10.5
    assert float(drawn(found.masks[0], (361, 300)).sum()) == pytest.approx(9 * 2400, rel=0.02)


@pytest.mark.parametrize(
    ("width", "height", "why"),
    [
        (120, 100, "annotated before turning upright"),
        (100, 90, "cropped since"),
    ],
)
def test_a_photo_of_another_shape_is_refused(tmp_path, width, height, why):
    detector = detector_of(tmp_path, coco([{"bbox": [0, 0, 9, 9]}]))
    with pytest.raises(PhotoError) as refused:
        detector.annotate(photo(width=width, height=height))
    assert refused.value.reason == (
        f"its annotations are for 100x120 pixels, the upright photo has {width}x{height}; it seems "
        f"to have been {why}: annotate it as it is now"
    )


def test_it_does_not_look_at_pixels(tmp_path):
    detector = detector_of(tmp_path, coco([]))
    with pytest.raises(TypeError, match=r"goes by the photo's file: call annotate\(photo\)"):
        detector.detect([torch.zeros(3, 9, 9, dtype=torch.uint8)])
    assert "device" not in CocoAnnotations.model_fields


# where the file is


def test_files_are_relative_to_the_recipe(tmp_path):
    written(tmp_path, coco([{"bbox": [0, 0, 9, 9]}]))

    detector = CocoAnnotations.model_validate({"file": "coco.json"}, context={"folder": tmp_path})

    assert len(detector.annotate(photo())) == 1


# bad files


def refusal_of(path, **options):
    with pytest.raises(ValidationError) as refused:
        CocoAnnotations(file=str(path), **options)
    return str(refused.value.errors()[0]["ctx"]["error"])


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.json"
    assert refusal_of(path) == f"{path}: cannot be read: No such file or directory"


def test_no_json_is_named(tmp_path):
    path = tmp_path / "coco.json"
    path.write_text('{"images": [}')
    assert refusal_of(path).startswith(f"{path}: is no JSON: Expecting value: line 1")


@pytest.mark.parametrize("data", [[], {"images": [], "categories": []}])
def test_json_without_annotations_is_named(tmp_path, data):
    assert "is no COCO file of annotations: it needs the lists" in refusal_of(
        written(tmp_path, data)
    )


def test_a_misspelt_category_is_offered_the_right_one(tmp_path):
    path = written(tmp_path, coco([]))
    assert refusal_of(path, category="persn") == (
        f"{path}: there is no category 'persn'; did you mean 'person'? there are: cat, person"
    )


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "segmentation[0] should be a polygon, x, y of three"),
        ({"segmentation": [[1, 2, 3, 4]]}, "corners or more as numbers, got 4 of them"),
        ({"segmentation": [[1, 2, 3, 4, 5, "x"]]}, "segmentation[0] should be a polygon"),
        ({"segmentation": [[1, 2, 3, 4, 5, math.nan]]}, "segmentation[0] should be a polygon"),
        ({"segmentation": "x"}, "`segmentation` should be polygons or run lengths"),
        (
            {"segmentation": {"size": [10, 10], "counts": [100]}},
            "its run lengths are for 10x10 pixels, its image has 100x120",
        ),
        ({"segmentation": {"size": [120], "counts": []}}, "`size` of its run lengths should be"),
        ({"segmentation": {"size": [120, 100], "counts": [5, 7]}}, "should add up to 120 x 100"),
        ({"segmentation": {"size": [120, 100], "counts": "zz"}}, "should add up to 120 x 100"),
        ({"segmentation": {"size": [120, 100], "counts": "0"}}, "should add up to 120 x 100"),
        ({"bbox": [1, 2, 3]}, "`bbox` should be x, y, width, height of some area, got [1, 2, 3]"),
        ({"bbox": [1, 2, 0, 3]}, "`bbox` should be x, y, width, height of some area"),
        ({}, "has neither `bbox` nor `segmentation`"),
        (
            {"bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2]},
            "`keypoints` should be 6 numbers, x, y, v of each of the category's 2 keypoints, got 3",
        ),
        (
            {"bbox": [0, 0, 9, 9], "keypoints": [1, 2, 3, 1, 2, 2]},
            "visibility in `keypoints` should be 0, 1 or 2, got 3; confidences are from 0 to 1",
        ),
        (
            {"bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2, 1, 2, 2], "keypoint_scores": [0.5]},
            "`keypoint_scores` should be 2 numbers from 0 to 1, got [0.5]",
        ),
        ({"bbox": [0, 0, 9, 9], "score": 7}, "`score` should be a number from 0 to 1, got 7"),
        ({"image_id": 99}, "there is no image with the id 99 in `images`"),
        ({"image_id": "1"}, "`image_id` should be a whole number, got '1'"),
        ({"category_id": None}, "`category_id` should be a whole number, got None"),
    ],
)
def test_a_bad_annotation_is_named_with_its_file_and_id(tmp_path, annotation, message):
    path = written(tmp_path, coco([{"bbox": [0, 0, 9, 9]}, annotation]))

    said = refusal_of(path)

    assert said.startswith(f"{path}: annotation 11")
    assert message in said


def test_an_annotation_that_is_there_twice_is_named(tmp_path):
    path = written(
        tmp_path, coco([{"bbox": [0, 0, 9, 9], "id": 3}, {"bbox": [0, 0, 9, 9], "id": 3}])
    )
    assert refusal_of(path) == f"{path}: annotation 3 is there twice; give each its own `id`"


def test_files_whose_ids_do_not_agree_are_refused(tmp_path):
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 120},
        {"id": 2, "file_name": "b.jpg", "width": 100, "height": 120},
    ]
    one = written(tmp_path, coco([{"bbox": [0, 0, 9, 9]}], images=images), "one.json")
    two = written(
        tmp_path, coco([{"bbox": [0, 0, 9, 9], "image_id": 2}], images=images), "two.json"
    )
    other = [{"id": 1, "file_name": "c.jpg", "width": 100, "height": 120}]
    three = written(tmp_path, coco([], images=other), "three.json")

    with pytest.raises(ValidationError, match=r"two\.json: annotation 10 is of image 2, but in "):
        CocoAnnotations(file=[one, two])
    with pytest.raises(ValidationError, match=r"image 1 is 'c\.jpg' \(100x120\) and also 'a\.jpg'"):
        CocoAnnotations(file=[one, three])


def test_a_segmentation_without_area_fails_that_photo_alone(tmp_path):
    flat = {"segmentation": [[5, 5, 9, 5, 7, 5]]}
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 100, "height": 120},
        {"id": 2, "file_name": "b.jpg", "width": 100, "height": 120},
    ]
    data = coco([flat, {"bbox": [0, 0, 9, 9], "image_id": 2}], images=images)
    detector = detector_of(tmp_path, data)

    with pytest.raises(PhotoError, match="annotation 10: its segmentation has no area"):
        detector.annotate(photo())
    assert len(detector.annotate(photo("/photos/b.jpg"))) == 1


# what networks and other tools write


def test_a_list_of_results_is_joined_to_the_images_of_another_file(tmp_path):
    images = written(tmp_path, coco([]), "images.json")
    rows = [
        {"image_id": 1, "category_id": 7, "bbox": [10, 20, 40, 60], "score": 0.25},
        {"image_id": 1, "category_id": 7, "score": 0.75, "keypoints": [3.5, 4, 0.9, 8, 9.5, 0.2]},
        {"image_id": 1, "category_id": 2, "score": 0.9, "bbox": [1, 2, 3, 4]},
    ]
    results = written(tmp_path, rows, "results.json")

    found = CocoAnnotations(file=(images, results)).annotate(photo())

    assert found.scores.tolist() == [0.75, 0.25]
    assert found.boxes.tolist() == [[3.5, 4, 8, 9.5], [10, 20, 50, 80]]
    torch.testing.assert_close(found.keypoint_scores, torch.tensor([[0.9, 0.2], [0, 0]]))


def test_a_list_of_results_alone_is_refused(tmp_path):
    path = written(tmp_path, [{"image_id": 1, "category_id": 7, "score": 0.2}])
    assert refusal_of(path).startswith(f"{path}: is a list of results, which names no photos; list")


def test_confidences_stand_beside_the_visibility_of_keypoints(tmp_path):
    one = {"bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2, 0, 0, 0], "keypoint_scores": [0.75, 0.5]}
    found = detector_of(tmp_path, coco([one])).annotate(photo())
    assert found.keypoint_scores.tolist() == [[0.75, 0]]


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        ({"a.jpg12": {"filename": "a.jpg", "regions": []}}, "it is VIA's: there, export the"),
        ({"_via_img_metadata": {}}, "it is VIA's: there, export the annotations in COCO format"),
        ({"shapes": [], "imagePath": "a.jpg"}, "it is labelme's: its `labelme2coco.py` makes"),
        ({"version": 1.3, "people": []}, "it is OpenPose's: write each `pose_keypoints_2d` as"),
    ],
)
def test_files_of_other_tools_are_known_and_how_to_convert_them(tmp_path, data, hint):
    assert f"and `images` is none; {hint}" in refusal_of(written(tmp_path, data))


def test_files_that_speak_of_other_photos_say_of_which(tmp_path):
    names = "b.jpg", "c.jpg", "d.jpg"
    images = [{"id": i, "file_name": f"photos/{name}"} for i, name in enumerate(names, 1)]
    path = written(tmp_path, coco([], images=images))
    detector = CocoAnnotations(file=path)

    assert detector.strangers([photo()]) == (
        f"{path}: speaks of b.jpg, c.jpg, ...; none of them is here"
    )
    assert detector.strangers([photo(), photo("/elsewhere/d.jpg")]) is None
