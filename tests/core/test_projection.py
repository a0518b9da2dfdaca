import pytest

from alignimation_core.projection import projection
from alignimation_core.record import PhotoRecord, Record


@pytest.fixture
def record(tmp_path):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "0001.png").write_bytes(b"x" * 1_500)
    (tmp_path / "a.mp4").write_bytes(b"x" * 48_500)
    record = Record("0.1.0", {}, 0, "cpu", tmp_path)
    record.photos = [PhotoRecord(f"{i}.jpg", sha256=f"{i}") for i in range(10)]
    record.photos.append(PhotoRecord("broken.jpg"))
    record.outputs = ["a.mp4", "f"]
    record.seconds = {
        "photos": 50.0,
        "detector": 3.0,
        "embedder": 1.0,
        "subject_selector": 0.01,
        "transform_model": 0.5,
        "renderer": 2.0,
    }
    return record


def test_every_step_is_taken_as_often_as_the_whole_needs_it(record):
    assert projection(record, 1000, 10, 1000) == (
        "all 1000 photos: about 11 min (detecting 7 min, aligning 50 s, rendering 3 min) and 5 MB"
    )


def test_what_is_stored_is_not_detected_again(record):
    record.seconds["detector"] = 0.5
    record.seconds["embedder"] = 0.5
    assert projection(record, 100, 5, 20) == (
        "all 100 photos: about 29 s (detecting 4 s, aligning 5 s, rendering 20 s) and 500 kB"
    )


def test_detecting_is_not_guessed(record):
    assert projection(record, 10_000, 0, 9_990) == (
        "all 10000 photos: about 42 min (aligning 8 min, rendering 33 min) and 50 MB; without "
        "detecting 9990 photos, which was not measured: the trial's photos were stored"
    )


def test_hours(record):
    line = projection(record, 100_000, 10, 100_000)
    assert line.startswith("all 100000 photos: about 18 h 3 min (detecting 11 h 7 min, ")
