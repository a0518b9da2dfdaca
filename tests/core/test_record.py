import json
import os

import pytest

from alignimation_core import Subject
from alignimation_core.failure import Failure
from alignimation_core.record import PhotoRecord, Record


@pytest.fixture
def record(tmp_path):
    used = PhotoRecord(
        'photos/Zoë "1".jpg',
        "0" * 64,
        640,
        480,
        "2020-01-01T12:00:00",
        "exif",
        "+02:00",
        canvas_from_photo=((1.0, 0.1, -3e-17), (0.0, 1 / 3, 2.0), (0.0, 0.0, 1.0)),
        residual=0.25,
        iterations=3,
        gates={"yaw": -3.5},
    )
    used.seen = Subject((0, 1, 2, 3.00049), 0.5, {"nose": (1.23456, 2)}, similarity=1 / 3)
    used.use()
    record = Record("0.1.0", {"seed": 0}, 0, "cpu", tmp_path, photos=[used])
    lost = os.fsdecode(b"photos/caf\xe9.jpg")
    record.fail([Failure(lost, "photos", "the file is\nempty")])
    return record


def test_the_file_holds_the_record_with_every_photo_on_a_line_of_its_own(record, tmp_path):
    record.write()
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    photos = [line for line in text.splitlines() if line.lstrip().startswith('{"path"')]
    assert [json.loads(line.rstrip(","))["path"] for line in photos] == [
        'photos/Zoë "1".jpg',
        os.fsdecode(b"photos/caf\xe9.jpg"),
    ]
    written = json.loads(text)
    assert list(written) == [
        "alignimation", "recipe", "seed", "device", "canvas", "reference", "photos", "outputs",
        "kept", "written", "report", "passed_over", "score",
        "min_similarity", "seconds", "summary", "error",
    ]  # fmt: skip
    assert written["summary"] == {"used": 1, "rejected": 0, "failed": 1}
    assert written["photos"][0] == {
        "path": 'photos/Zoë "1".jpg',
        "sha256": "0" * 64,
        "width": 640,
        "height": 480,
        "taken": "2020-01-01T12:00:00",
        "taken_from": "exif",
        "taken_zone": "+02:00",
        "status": "used",
        "stage": None,
        "reason": None,
        "subject": {
            "box": [0, 1, 2, 3.0],
            "score": 0.5,
            "similarity": 0.33333,
            "keypoints": {"nose": [1.2346, 2]},
        },
        "canvas_from_photo": [[1.0, 0.1, -3e-17], [0.0, 1 / 3, 2.0], [0.0, 0.0, 1.0]],
        "residual": 0.25,
        "residual_before": None,
        "iterations": 3,
        "remarks": [],
        "turn": None,
        "corrected": [],
        "gates": {"yaw": -3.5},
        "frame": 0,
        "moved": None,
        "found": [],
        "picture": None,
        "gate": None,
        "albums": [],
        "persons": [],
    }
    assert written["photos"][1]["reason"] == "the file is\nempty"
    assert written["photos"][1]["frame"] is None
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]


def test_reasons_that_are_alike_count_together_the_most_frequent_first(record):
    def rejected(path, reason):
        return Failure(path, "subject_selector", reason, "rejected")

    def failed(path, reason):
        return Failure(path, "detector", reason)

    record.photos = record.photos[:1]
    record.fail(
        [
            rejected("a", "too small: 12 pixels"),
            failed("b", "box 3 of 12: lies outside"),
            failed("c", "box 40 of 41: lies outside"),
            rejected("d", "too small: 9 pixels"),
            rejected("e", "too small: 7 pixels"),
            failed("f", "box 3 of 12: is empty"),
            rejected("h", "residual 0.52 %: over the limit"),
            rejected("i", "residual 0.7 %: over the limit"),
            *(failed(f"g{byte}", f"no header (b'\\x{byte:02x}it\\'s{byte}')") for byte in range(4)),
        ]
    )
    assert record.reasons() == [
        ("failed: no header (…)", 4, "g0"),
        ("rejected: too small", 3, "a"),
        ("failed: box … of …: lies outside", 2, "b"),
        ("rejected: residual … %", 2, "h"),
        ("failed: box 3 of 12: is empty", 1, "f"),
    ]
    assert record.summary == {"used": 1, "rejected": 5, "failed": 7}


def test_a_record_without_photos_is_valid_too(record, tmp_path):
    record.photos = []
    record.write()
    assert json.loads((tmp_path / "run.json").read_text())["photos"] == []


def test_a_number_that_is_none_is_refused_and_the_old_record_stays(record, tmp_path):
    record.write()
    before = (tmp_path / "run.json").read_bytes()
    record.photos[0].residual = float("nan")
    with pytest.raises(ValueError, match="Out of range"):
        record.write()
    assert (tmp_path / "run.json").read_bytes() == before
    assert list(tmp_path.iterdir()) == [tmp_path / "run.json"]
