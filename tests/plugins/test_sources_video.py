"""Films: which frames are photos, when they were taken, upright and of true colours."""

import pickle
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from alignimation_core import PhotoError, Recipe, RecipeError, preflight, run
from alignimation_core.photos import decoder, metadata, order
from alignimation_sources import _video

SMALLEST = {"detector": "mtcnn"}
FPS = 10


def film(path: Path, shades: list[int], *, size=(48, 64), created=None, paint=None) -> Path:
    """Write a film of grey frames, or of painted ones, with one key frame in ten."""
    with av.open(str(path), "w") as container:
        if created:
            container.metadata["creation_time"] = created
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width = size
        stream.pix_fmt, stream.gop_size = "yuv444p", 10
        stream.options = {"qp": "0" if paint is None else "4"}
        for shade in shades:
            pixels = np.full((*size, 3), shade, np.uint8) if paint is None else paint
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames(folder: Path, photos: object):
    recipe = Recipe.of({**SMALLEST, "photos": photos}, folder=folder)
    return [metadata.facts(photo, folder) for photo in preflight.find_photos(recipe).photos]


def shade(photo) -> float:
    return float(decoder.load(photo).float().mean())


RAMP = [20 + 2 * i for i in range(95)]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "mov", "mts"])
def test_a_film_gives_a_frame_a_second(tmp_path, ending):
    film(tmp_path / f"a.{ending}", RAMP)
    photos = frames(tmp_path, f"a.{ending}")
    ordered = order.order(photos)
    assert [photo.name for photo in ordered] == [f"a.{ending}#t={i}.000" for i in range(10)]
    assert [shade(photo) for photo in ordered] == pytest.approx(RAMP[::10], abs=1)
    ordered.reverse()
    assert [shade(photo) for photo in ordered] == pytest.approx(RAMP[90::-10], abs=1)


def test_a_film_may_begin_late_and_ends_with_its_last_frame(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv444p"
        for i, each in enumerate(RAMP[:25]):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), each, np.uint8), "rgb24")
            frame.pts = 100 + i  # ten seconds
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    photos = order.order(frames(tmp_path, "a.mkv"))
    assert [shade(photo) for photo in photos] == pytest.approx(RAMP[:25:10], abs=1)


def test_frames_that_another_ffmpeg_decodes_are_read_anew(tmp_path, monkeypatch):
    film(tmp_path / "a.mp4", RAMP[:12])
    recipe = Recipe.of({**SMALLEST, "photos": "a.mp4"}, folder=tmp_path)

    def stamps():
        _video.fingerprint.cache_clear()
        return [metadata.stamp(photo) for photo in preflight.find_photos(recipe).photos]

    before = stamps()
    assert stamps() == before
    monkeypatch.setattr(av, "library_versions", {"libavcodec": (99, 0, 0)})
    assert not {*stamps()} & {*before}
    monkeypatch.undo()
    assert stamps() == before


def test_frames_are_taken_by_seconds_or_by_number(tmp_path):
    film(tmp_path / "a.mp4", RAMP)
    by_number = order.order(frames(tmp_path, {"use": "video", "path": "a.mp4", "every": 7}))
    assert [shade(photo) for photo in by_number] == pytest.approx(RAMP[::7], abs=1)
    assert by_number[1].name == "a.mp4#t=0.700"
    by_seconds = order.order(frames(tmp_path, {"use": "video", "path": "a.mp4", "seconds": 2.5}))
    assert [shade(photo) for photo in by_seconds] == pytest.approx(RAMP[::25], abs=1)


def test_no_frame_comes_twice_where_more_are_asked_for_than_there_are(tmp_path):
    film(tmp_path / "a.mp4", RAMP[:12])
    asked = {"use": "video", "path": "a.mp4", "seconds": 0.03}
    assert [shade(photo) for photo in order.order(frames(tmp_path, asked))] == pytest.approx(
        RAMP[:12], abs=1
    )


def test_a_frame_is_dated_by_the_container_and_its_place_in_the_film(tmp_path):
    film(tmp_path / "a.mp4", RAMP[:25], created="2018-07-04T10:15:30.000000Z")
    start = datetime(2018, 7, 4, 10, 15, 30, tzinfo=UTC)
    photos = order.order(frames(tmp_path, "a.mp4"))
    assert [photo.path.taken for photo in photos] == [
        start + timedelta(seconds=i) for i in range(3)
    ]
    assert {photo.taken_from for photo in photos} == {"video"}


def test_without_a_date_in_the_container_the_films_name_counts(tmp_path):
    film(tmp_path / "VID_20180704_101530.mp4", RAMP)
    photos = order.order(frames(tmp_path, "VID_20180704_101530.mp4"))
    assert {(photo.taken, photo.taken_from) for photo in photos} == {
        (datetime(2018, 7, 4, 10, 15, 30), "name")
    }
    assert [shade(photo) for photo in photos] == pytest.approx(RAMP[::10], abs=1)


def turn(path: Path, *matrix: int) -> None:
    """Write how a film is turned into the header of its track."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16
    whole = [
        matrix[0] << 16,
        matrix[1] << 16,
        0,
        matrix[2] << 16,
        matrix[3] << 16,
        0,
        0,
        0,
        1 << 30,
    ]
    data[at : at + 36] = struct.pack(">9i", *whole)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
)
def test_a_film_that_was_turned_comes_upright(tmp_path, matrix, quarters):
    """QuickTime: (x, y) is shown at (a x + c y, b x + d y), y down: (0, 1, -1, 0) is clockwise."""
    picture = np.full((48, 64, 3), 60, np.uint8)
    picture[:16, :16] = (220, 40, 40)
    picture[:16, -16:] = (40, 40, 220)
    turn(film(tmp_path / "a.mp4", [0] * 3, paint=picture), *matrix)
    (photo,) = frames(tmp_path, "a.mp4")
    truth = np.rot90(picture, quarters)
    assert (photo.height, photo.width) == truth.shape[:2]
    pixels = decoder.load(photo).permute(1, 2, 0).numpy()
    assert np.abs(pixels.astype(int) - truth).mean() < 6


def test_photos_of_a_film_travel_and_two_films_mix(tmp_path):
    film(tmp_path / "a.mp4", RAMP[:30])
    film(tmp_path / "b.mp4", RAMP[30:60])
    photos = frames(tmp_path, ["a.mp4", "b.mp4"])
    there = pickle.loads(pickle.dumps(photos))
    assert sorted(map(shade, there)) == pytest.approx([RAMP[i] for i in range(0, 60, 10)], abs=1)


def test_what_is_no_film_is_told_in_one_line(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(RecipeError) as error:
        frames(tmp_path, ["a.mp4", {"use": "video", "path": "no.mp4"}])
    damaged, gone = str(error.value).splitlines()
    assert damaged.startswith(f"recipe: photos[0]: {tmp_path}/a.mp4 cannot be read as a film: ")
    assert gone == (
        f"recipe: photos[1]: {tmp_path}/no.mp4 cannot be read as a film: No such file or directory"
    )


def test_a_film_that_is_gone_fails_its_frames_alone(tmp_path):
    photo = frames(tmp_path, str(film(tmp_path / "a.mp4", RAMP)))[3]
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(PhotoError, match="video cannot open it: FileNotFoundError"):
        decoder.load(photo)


def test_a_film_in_a_folder_is_passed_over(tmp_path):
    film(tmp_path / "a.mp4", RAMP[:3])
    (tmp_path / "b.jpg").touch()
    listing = preflight.find_photos(Recipe.of({**SMALLEST, "photos": "."}, folder=tmp_path))
    assert listing.passed_over == [str(tmp_path / "a.mp4")]


def test_a_film_becomes_an_animation(discs_recipe, discs, tmp_path):
    discs.series(tmp_path / "photos", discs.WARPS)
    pictures = [
        decoder.load(path).permute(1, 2, 0).contiguous().numpy()
        for path in sorted((tmp_path / "photos").iterdir())
    ]
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=1)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    of_film, of_photos = run(discs_recipe(photos=["a.mkv"])), run(discs_recipe())
    assert of_film.summary == of_photos.summary
    matrices = [
        torch.tensor([photo.canvas_from_photo for photo in record.photos])
        for record in (of_film, of_photos)
    ]
    assert torch.allclose(*matrices, atol=1e-6)
