import json
from pathlib import Path

import pytest
from PIL import Image

from alignimation_core import Recipe, preflight, summary
from alignimation_core.api.weights import cache_folder
from alignimation_core.record import PhotoRecord, Record

DATA = {"photos": "photos/", "detector": "mtcnn", "embedder": "facenet"}


def photo(path, status, reason):
    return PhotoRecord(path, status=status, stage="x", reason=reason)


def test_the_schema_refers_to_nothing_that_is_not_there():
    text = summary.schema()
    definitions = json.loads(text)["$defs"]
    references = {part.partition('"')[0] for part in text.split('"$ref": "#/$defs/')[1:]}
    assert references
    assert references <= definitions.keys()


def test_check_tells_where_weights_are(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "a.jpg")
    recipe = Recipe.of(DATA, folder=tmp_path)
    name = "20180402-114759-vggface2.pt"
    before = preflight.check(recipe).splitlines()
    assert before[0] == "1 photo"
    assert before[1].startswith(f"weights {name} not yet here, will be fetched: https://")
    assert before[2] == "the recipe is fine"
    assert cache_folder().is_relative_to(tmp_path)
    cache_folder().mkdir(parents=True)
    (cache_folder() / name).touch()
    assert preflight.check(recipe).splitlines()[1] == (
        f"weights {name} present: {cache_folder() / name}"
    )


def test_the_summary_counts_alike_reasons_together_most_frequent_first():
    record = Record("1", {}, 0, "cpu", Path("/out"), seconds={"photos": 0.26, "detector": 1.5})
    record.photos = [
        photo("a", "used", None),
        photo("b", "rejected", "nobody here is the subject: best similarity 0.10, needed 0.50"),
        photo("c", "failed", "the file is empty; replace or remove it"),
        photo("e", "failed", "blobs: ValueError: row 3 of 12 is bad"),
        photo("f", "failed", "blobs: ValueError: row 4 of 9 is bad"),
        photo("d", "rejected", "nobody here is the subject: best similarity 0.20, needed 0.50"),
    ]
    assert summary.summary(record).splitlines() == [
        "1 of 6 photos used",
        "  2 rejected: nobody here is the subject (such as b)",
        "  2 failed: blobs: ValueError: row … of … is bad (such as e)",
        "  1 failed: the file is empty; replace or remove it (such as c)",
        "1.8 s: photos 0.3 s, detector 1.5 s",
        f"every photo's reason is in {Path('/out/run.json')}",
    ]


def test_outputs_of_earlier_runs_that_stay_are_told_of():
    record = Record("1", {}, 0, "cpu", Path("/out"), kept=["old.mp4"])
    assert "1 older output kept beside: old.mp4" in summary.summary(record).splitlines()
    record.kept = [f"{i}.mp4" for i in range(12)]
    (line,) = [each for each in summary.summary(record).splitlines() if "older" in each]
    assert line.startswith("12 older outputs kept beside: 0.mp4, 1.mp4, ")
    assert line.endswith(", 9.mp4 and 2 more")


def dated(path, taken, taken_from):
    return PhotoRecord(path, taken=taken, taken_from=taken_from, status="used", reason=None)


def test_photos_that_may_be_in_the_wrong_place_are_warned_of():
    record = Record("1", {}, 0, "cpu", Path("/out"))
    record.photos = [
        dated("IMG_1.jpg", "2024-05-06T07:08:09", "file"),
        dated("2018-07-04.jpg", "2019-01-02T03:04:05", "exif"),
        dated("2018-07-05.jpg", "2018-07-06T03:04:05", "exif"),
        dated("2002.jpg", "2002-09-30T03:04:05", "exif"),
        dated("2003-01-01.jpg", "2003-01-01T00:00:00", "name"),
        PhotoRecord("IMG_2.jpg", taken="2024-05-06T07:08:09", taken_from="file"),
    ]
    undated, apart = summary.summary(record).splitlines()[2:4]
    assert undated == (
        "warning: 1 of 5 photos used have no date but their file's (such as IMG_1.jpg); put one "
        "into their names, such as 2018-07-04.jpg"
    )
    assert apart == (
        "warning: 1 of 5 photos used have dates in EXIF and in their names that are more than a "
        "day apart (such as 2018-07-04.jpg: 2019-01-02 and 2018-07-04); EXIF was believed"
    )
    record.recipe = {"order": "name"}
    assert "warning" not in summary.summary(record)


def shown(path, scale, right=0.0, size=(100, 100)):
    """A photo of a width and a height that is shown enlarged, and moved to the right."""
    matrix = ((scale, 0.0, right), (0.0, scale, 0.0), (0.0, 0.0, 1.0))
    return PhotoRecord(path, width=size[0], height=size[1], status="used", canvas_from_photo=matrix)


def warnings(framing, *photos):
    record = Record("1", {"canvas": {"framing": framing}}, 0, "cpu", Path("/out"))
    record.canvas, record.photos = {"width": 100, "height": 100}, [*photos]
    return [line for line in summary.summary(record).splitlines() if line.startswith("warning")]


def test_photos_with_a_border_that_was_not_to_be_are_named():
    photos = [shown("a", 1.0), shown("b", 1.0, 0.4), shown("c", 1.0, 0.6), shown("d", 0.9)]
    (line,) = warnings("tight", *photos)
    assert line == (
        "warning: framing: tight, but 2 of 4 photos used are too narrow around the subject to "
        "fill the canvas: c, d; part of it is filled as `border` says"
    )
    assert warnings("balanced", *photos) == []
    assert warnings("tight", shown("e", 1.0, size=(1000, 1000))) == []
    many = [shown(f"{i}", 0.9) for i in range(12)]
    assert (
        "the canvas: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more; part" in warnings("tight", *many)[0]
    )


def test_the_record_remarks_on_the_photos_themselves():
    record = Record("1", {"canvas": {"framing": "tight"}}, 0, "cpu", Path("/out"))
    record.canvas = {"width": 100, "height": 100}
    record.photos = [shown("a", 2.5, size=(40, 20)), shown("b", 1.0)]
    summary.remark(record)
    assert record.photos[1].remarks == []
    assert record.photos[0].remarks == [
        "too narrow to fill the canvas: part of it is filled as `border` says",
        "enlarged 2.5 times",
    ]


def test_photos_that_are_enlarged_more_than_twice_are_told():
    photos = [shown("a", 2.0), shown("b", 2.1), shown("c", 3.26)]
    assert warnings("balanced", *photos) == [
        (
            "warning: 2 of 3 photos used are enlarged more than twice (c 3.3 times); a smaller "
            "canvas.size is sharper"
        )
    ]


@pytest.fixture
def trial(tmp_path):
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


def test_every_step_is_taken_as_often_as_the_whole_needs_it(trial):
    assert summary.projection(trial, 1000, 10, 1000) == (
        "all 1000 photos: about 11 min (detecting 7 min, aligning 50 s, rendering 3 min) and 5 MB"
    )


def test_what_is_stored_is_not_detected_again(trial):
    trial.seconds["detector"] = 0.5
    trial.seconds["embedder"] = 0.5
    assert summary.projection(trial, 100, 5, 20) == (
        "all 100 photos: about 29 s (detecting 4 s, aligning 5 s, rendering 20 s) and 500 kB"
    )


def test_detecting_is_not_guessed(trial):
    assert summary.projection(trial, 10_000, 0, 9_990) == (
        "all 10000 photos: about 42 min (aligning 8 min, rendering 33 min) and 50 MB; without "
        "detecting 9990 photos, which was not measured: the trial's photos were stored"
    )


def test_hours(trial):
    line = summary.projection(trial, 100_000, 10, 100_000)
    assert line.startswith("all 100000 photos: about 18 h 3 min (detecting 11 h 7 min, ")
