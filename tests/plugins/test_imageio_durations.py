"""Frames that are shown for a time of their own: repeated in films, held in animations."""

from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import av
import pytest
import torch
from PIL import Image

from alignimation_core import Canvas, Frame, OutputError, Photo
from alignimation_imageio import APNG, GIF, Video, WebP

CANVAS = Canvas(48, 64)
PHOTO = Photo(Path("/a.jpg"), "a.jpg", "0" * 64, 48, 64, datetime(2020, 1, 1), "exif")


def frames(*seconds):
    generator = torch.Generator().manual_seed(1)
    for i, each in enumerate(seconds):
        image = torch.randint(0, 255, (3, 48, 64), dtype=torch.uint8, generator=generator)
        yield Frame(image, i, PHOTO, each)


def write(renderer, folder, given):
    with renderer.open(CANVAS, 3, folder) as writer:
        for frame in given:
            writer.write(frame)
    return folder / renderer.path


def durations(path):
    with Image.open(path) as image:
        found = []
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            found.append(round(image.info["duration"]))
    return found


@pytest.mark.parametrize("renderer", [GIF(fps=10), WebP(fps=10, lossless=True), APNG(fps=10)])
@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        ((0.5, None, 1.2), [500, 100, 1200]),
        ((0.5, 0.2, None), [500, 200, 100]),
        ((0.04, 0.26, 0.3), [300, 300]),
        ((0.1, 0.1, 0.1), [100, 100, 100]),
    ],
)
def test_animations_hold_a_frame_as_long_as_it_says(tmp_path, renderer, seconds, shown):
    found = durations(write(renderer, tmp_path, frames(*seconds)))
    if isinstance(renderer, GIF) and shown[-1] > 100:
        *others, last, end = found  # the last frame is there twice
        found = [*others, last + end]
    assert found == shown


@pytest.mark.parametrize("path", ["a.mp4", "a.webm"])
def test_films_repeat_a_frame_at_their_constant_rate(tmp_path, path):
    written = write(Video(path=path, fps=10), tmp_path, frames(0.5, None, 0.14, 0.14, 0.14))
    with av.open(str(written)) as film:
        (stream,) = film.streams.video
        decoded = [frame.to_ndarray(format="gray").astype(int) for frame in film.decode(stream)]
        assert stream.average_rate == 10
    assert len(decoded) == 5 + 1 + 4
    same = [abs(a - b).mean() < 8 for a, b in pairwise(decoded)]
    assert same == [True] * 4 + [False] * 2 + [False, True, False]


@pytest.mark.parametrize("renderer", [Video(), GIF(), WebP(), APNG()])
def test_without_times_of_their_own_nothing_changes(tmp_path, renderer):
    bare = [replace(frame, seconds=None) for frame in frames(1, 1, 1)]
    timed = [replace(frame, seconds=1 / renderer.frame_rate(3)) for frame in bare]
    first = write(renderer, tmp_path, bare).read_bytes()
    second = write(renderer, tmp_path, timed).read_bytes()
    assert first == second


def test_a_film_of_no_time_is_refused(tmp_path):
    with pytest.raises(OutputError, match="every frame is shown for less than half a frame"):
        write(Video(), tmp_path, frames(0.0, 0.0))
