"""What becomes of photos whose files are damaged."""

import json
from datetime import datetime
from pathlib import Path

from PIL import Image

from alignimation_core import Photo, Recipe, run
from alignimation_core.api.data import Damage, Subject
from alignimation_core.detection.selection import undamaged
from alignimation_core.record import Record

NOWHERE = Path("/nowhere")


def photo(name):
    return Photo(Path("/", name), name, name, 100, 200, datetime(2020, 1, 1), "exif")


def test_a_photo_of_whose_subject_a_part_is_lost_fails():
    subject = Subject((10, 10, 50, 60), 1.0)
    subjects = [(photo(name), subject) for name in ("whole", "below", "touched")]
    damaged = {
        "below": Damage("the end of the file is missing", ((0, 60, 200, 100),)),
        "touched": Damage("a part of the file is damaged", ((0, 59, 200, 100),)),
    }
    kept, failures = undamaged(subjects, damaged)
    assert [each.name for each, _ in kept] == ["whole", "below"]
    (failure,) = failures
    assert (failure.photo, failure.stage, failure.status) == ("touched", "photos", "failed")
    assert failure.reason == (
        "a part of the file is damaged, and with it a part of the subject; replace or remove it"
    )


def test_the_record_says_how_much_is_missing():
    record = Record("1", {}, 0, "cpu", NOWHERE)
    record.add([photo("a"), photo("b"), photo("c")])
    record.remark_damage(
        {"a": Damage("cut", ((0, 60, 200, 100), (100, 58, 200, 60))), "b": Damage("cut")}
    )
    assert [each.remarks for each in record.photos] == [
        ["cut, and with it 41 % of the picture"],
        ["cut"],
        [],
    ]


def test_damage_is_told_and_told_again_when_everything_comes_from_the_store(
    discs, discs_recipe, tmp_path
):
    names = discs.series(tmp_path / "photos", discs.WARPS[:6])
    for name, end in ((names[1], -2), (names[3], None)):
        path = tmp_path / "photos" / name
        Image.open(path).save(path, "JPEG", quality=98)
        data = path.read_bytes()
        cut = data[:end] if end else data[: len(data) * 8 // 10] + b"\xff\xd9"
        path.write_bytes(cut)
    said = []
    for _ in range(2):
        run(discs_recipe())
        (written,) = tmp_path.rglob("run.json")
        photos = json.loads(written.read_text())["photos"]
        said.append({each["path"].removeprefix("photos/"): each for each in photos})
    first, second = said
    assert first[names[1]]["remarks"] == ["the end of the file is missing"]
    assert first[names[1]]["status"] == "used"
    (remark,) = first[names[3]]["remarks"]
    assert remark.startswith("a part of the file is damaged, and with it ")
    assert first[names[3]]["status"] == "failed"
    for name in names:
        assert second[name] == first[name]


def test_a_damaged_photo_fails_though_annotations_ask_for_no_pixels(tmp_path):
    (tmp_path / "photos").mkdir()
    picture = Image.effect_noise((160, 120), 60).convert("RGB")
    names = [f"2020-01-0{day}.jpg" for day in (1, 2, 3, 4)]
    for name in names:
        picture.save(tmp_path / "photos" / name, quality=95)
    path = tmp_path / "photos" / names[2]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    points = ["left_eye", "right_eye", "nose"]
    annotations = {
        "images": [{"id": i, "file_name": each} for i, each in enumerate(names)],
        "categories": [{"id": 1, "name": "person", "keypoints": points}],
        "annotations": [
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "bbox": [40, 60, 70, 50],
                "keypoints": [90, 70, 2, 60, 70, 2, 75, 90, 2],
            }
            for i in range(len(names))
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(annotations))
    recipe = Recipe.of(
        {
            "photos": "photos/",
            "detector": {"use": "coco-annotations", "file": "coco.json"},
            "canvas": {"size": "80x60"},
            "refine": {"photos": False},
            "report": False,
            "score": False,
            "renderers": [{"use": "frames", "path": "f"}],
        },
        folder=tmp_path,
    )
    record = run(recipe)
    assert record.summary == {"used": 3, "rejected": 0, "failed": 1}
    (failed,) = [each for each in record.photos if each.status == "failed"]
    assert (failed.path, failed.stage) == (f"photos/{names[2]}", "photos")
    assert failed.reason.endswith(", and with it a part of the subject; replace or remove it")
    assert len(list((record.folder / "f").iterdir())) == 3
