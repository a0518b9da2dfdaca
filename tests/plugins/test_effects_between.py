"""Frames between two photos, and how long each is shown."""

import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from alignimation_core import Canvas, Film, Frame, Photo, Subject
from alignimation_effects import CrossFade, Morph, Pace
from alignimation_effects._light import DECODED, ENCODED

CANVAS = Canvas(height=96, width=128)


def photos(count, days=1.0):
    return [
        Photo(
            Path(f"/{i}"),
            f"{i}",
            f"{i}",
            96,
            128,
            datetime(2020, 1, 1) + timedelta(days * i),
            "exif",
        )
        for i in range(count)
    ]


def plain(levels, canvas=CANVAS, seconds=None):
    images = [
        torch.full((3, canvas.height, canvas.width), level, dtype=torch.uint8) for level in levels
    ]
    some = photos(len(levels))
    return [Frame(image, i, some[i], seconds) for i, image in enumerate(images)]


def applied(effect, frames, fps=10.0, canvas=CANVAS, subjects=None):
    shown = list(dict.fromkeys(frame.photo for frame in frames))
    return list(effect.apply(iter(frames), Film(canvas, fps, shown, subjects or {})))


def values(frames):
    return [int(frame.image[0, 5, 5]) for frame in frames]


def test_every_value_of_srgb_comes_back_from_linear_light():
    assert np.array_equal(ENCODED[np.round(DECODED).astype(int)], np.arange(256))


def test_halfway_a_fade_has_half_the_light_of_both():
    frames = applied(CrossFade(frames=1), plain([0, 255]))
    assert values(frames) == [0, 188, 255]  # sRGB of half the light; 128 would be too dark


def test_a_fade_takes_so_many_seconds_and_begins_slowly():
    frames = applied(CrossFade(seconds=0.9), plain([0, 255, 0]))
    assert len(frames) == 3 + 2 * 9
    light = DECODED[values(frames)[:11]] / DECODED[255]
    steps = np.arange(11) / 10
    assert light == pytest.approx(steps**2 * (3 - 2 * steps), abs=0.01)
    straight = applied(CrossFade(seconds=0.9, ease=False), plain([0, 255]))
    assert DECODED[values(straight)] / DECODED[255] == pytest.approx(steps, abs=0.01)
    assert [frame.photo.name for frame in straight] == ["0"] * 5 + ["1"] * 6


def test_a_photo_with_a_time_of_its_own_gives_the_fade_its_time():
    frames = applied(CrossFade(seconds=0.5), plain([0, 255, 0], seconds=2.0))
    shown = [0.1 if frame.seconds is None else frame.seconds for frame in frames]
    assert sum(shown) == pytest.approx(6.0)
    assert frames[0].seconds == pytest.approx(1.5)
    assert frames[-1].seconds == 2.0
    short = applied(CrossFade(seconds=5), plain([0, 255], seconds=0.4))
    assert [frame.seconds for frame in short] == [pytest.approx(0.1), None, None, None, 0.4]


def test_changes_shorter_than_a_frame_are_told_once(caplog):
    frames = applied(CrossFade(seconds=0.04), plain([0, 100, 0, 100, 0]))
    assert len(frames) == 5
    (told,) = caplog.messages
    assert told == (
        "cross-fade: 4 of 4 changes are shorter than a frame, 1/10 second, and are left out; "
        "give them and the photos more time, or a higher fps"
    )
    caplog.clear()
    some = [*plain([0, 100], seconds=0.1), *plain([0, 100], seconds=1.0)]
    applied(Morph(seconds=0.5), some)
    assert caplog.messages[0].startswith("morph: 2 of 3 changes are shorter than a frame")
    caplog.clear()
    applied(CrossFade(seconds=0), plain([0, 100]))
    applied(CrossFade(seconds=0.06), plain([0, 100]))
    assert not caplog.messages


def test_transparent_frames_fade_without_a_dark_edge():
    canvas = Canvas(96, 128, alpha=True)
    first = torch.zeros(4, 96, 128, dtype=torch.uint8)
    second = torch.full((4, 96, 128), 255, dtype=torch.uint8)
    some = photos(2)
    frames = [Frame(first, 0, some[0]), Frame(second, 1, some[1])]
    _, half, _ = applied(CrossFade(frames=1), frames, canvas=canvas)
    assert half.image[:, 5, 5].tolist() == [255, 255, 255, 128]


def dots(places, canvas):
    """A picture of soft white dots, and its subject."""
    ys, xs = np.mgrid[: canvas.height, : canvas.width] + 0.5
    light = sum(np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 30) for x, y in places)
    plane = ENCODED[np.round(np.clip(light, 0, 1) * 65535).astype(int)]
    names = [f"dot{i}" for i in range(len(places))]
    subject = Subject((0, 0, 1, 1), 1.0, dict(zip(names, places, strict=True)))
    return torch.from_numpy(np.stack([plane] * 3)), subject


def centres(image, near, radius=16):
    """Centroids of the light around places."""
    light = DECODED[image[0].numpy()].astype(float)
    ys, xs = np.mgrid[: light.shape[0], : light.shape[1]] + 0.5
    found = []
    for x, y in near:
        part = light * ((xs - x) ** 2 + (ys - y) ** 2 < radius**2)
        found.append((float((part * xs).sum() / part.sum()), float((part * ys).sum() / part.sum())))
    return found


def test_halfway_a_morph_has_every_keypoint_once_where_it_is_between():
    canvas = Canvas(300, 300)
    old = [(120.0, 120.0), (180.0, 120.0), (150.0, 150.0), (125.0, 185.0), (175.0, 185.0)]
    new = [(114.0, 126.0), (186.0, 118.0), (154.0, 156.0), (130.0, 179.0), (170.0, 191.0)]
    (first, before), (second, after) = dots(old, canvas), dots(new, canvas)
    some = photos(2)
    frames = [Frame(first, 0, some[0]), Frame(second, 1, some[1])]
    subjects = {"0": before, "1": after}
    _, half, _ = applied(Morph(frames=1), frames, canvas=canvas, subjects=subjects)
    middle = (np.array(old) + np.array(new)) / 2
    assert np.abs(np.array(centres(half.image, middle)) - middle).max() < 0.3
    one, _ = dots([tuple(point) for point in middle], canvas)
    _, ghost, _ = applied(CrossFade(frames=1), frames, canvas=canvas)
    single, double = (
        (frame.image.float() - one.float()).square().mean().sqrt() for frame in (half, ghost)
    )
    assert single < 0.3 * double
    edge = half.image.clone()
    edge[:, 1:-1, 1:-1] = 0
    ghost.image[:, 1:-1, 1:-1] = 0
    assert torch.equal(edge, ghost.image)


@pytest.mark.parametrize("missing", [1, 0])
def test_without_keypoints_a_morph_is_a_fade(missing):
    frames = plain([10, 200])
    canvas = CANVAS
    _, subject = dots([(30.0, 30.0), (60.0, 30.0), (40.0, 60.0)], canvas)
    subjects = {f"{missing}": subject}
    morph = applied(Morph(frames=3), frames, subjects=subjects)
    fade = applied(CrossFade(frames=3), frames)
    assert all(torch.equal(a.image, b.image) for a, b in zip(morph, fade, strict=True))


def test_the_whole_film_takes_so_many_seconds():
    frames = applied(Pace(seconds=30, hold=3), plain([1] * 10))
    assert sum(frame.seconds for frame in frames) == pytest.approx(30)
    assert frames[0].seconds == pytest.approx(5.4)
    assert frames[4].seconds == pytest.approx(2.4)


def test_a_year_is_always_as_long_and_gaps_are_capped():
    from alignimation_effects._pace import gaps

    some = photos(6)
    days = [0, 1, 2, 4, 400, 401]
    some = [
        Photo(p.path, p.name, p.sha256, 96, 128, datetime(2020, 1, 1) + timedelta(d), "exif")
        for p, d in zip(some, days, strict=True)
    ]
    assert [gap / 86400 for gap in gaps(some)] == [1, 1, 2, 12, 1, 1]


def test_how_long_a_photo_stands_is_the_same_on_every_computer(monkeypatch):
    from alignimation_effects._pace import gaps

    some = [
        Photo(p.path, p.name, p.sha256, 96, 128, datetime(2021, 3, 13, 12) + timedelta(i), "exif")
        for i, p in enumerate(photos(3))
    ]
    monkeypatch.setenv("TZ", "America/New_York")  # summer time begins on the 14th
    time.tzset()
    try:
        assert gaps(some) == [86400] * 3
    finally:
        monkeypatch.undo()
        time.tzset()


def test_slow_ends_and_no_photo_shorter_than_a_frame():
    frames = applied(Pace(seconds=10, ease=True), plain([1] * 21))
    shown = [frame.seconds for frame in frames]
    assert sum(shown) == pytest.approx(10)
    assert shown == pytest.approx(shown[::-1])
    assert 3 < shown[0] / shown[10] < 4
    from alignimation_effects._pace import spread

    assert spread([0, 1, 3], 10, 2) == [2, 2, 6]


def test_back_again_in_a_boomerang():
    frames = applied(Pace(boomerang=True), plain([1, 2, 3, 4]))
    assert values(frames) == [1, 2, 3, 4, 3, 2]
    assert [frame.photo.name for frame in frames] == ["0", "1", "2", "3", "2", "1"]
    assert all(frame.seconds == pytest.approx(0.1) for frame in frames)


def test_the_length_of_the_output_is_that_of_the_pace():
    frames = plain([1] * 10)
    film = Film(CANVAS, 10.0, [frame.photo for frame in frames], seconds=30.0)
    for pace in (Pace(hold=3), Pace(hold=3, seconds=30)):
        assert sum(frame.seconds for frame in pace.apply(iter(frames), film)) == pytest.approx(30)
    with pytest.raises(ValueError, match="leave one") as error:
        list(Pace(seconds=20).apply(iter(frames), film))
    assert str(error.value) == (
        "the output shall last 30 seconds, and pace says 20; leave one of them out"
    )


def test_frames_that_are_no_photos_get_no_time():
    some = plain([1, 2, 3])
    between = [some[0], replace(some[0], made=True), *some[1:]]
    with pytest.raises(ValueError, match="no photos") as error:
        applied(Pace(), between)
    assert str(error.value) == (
        "an effect before pace makes frames that are no photos; put pace before it"
    )


def test_seconds_shorter_than_a_frame_a_photo_are_refused():
    with pytest.raises(ValueError, match="shorter") as error:
        applied(Pace(seconds=1), plain([1] * 20))
    assert str(error.value) == (
        "1 seconds are shorter than one frame a photo: 20 at 10 frames a second need 2; "
        "give more, or a higher fps"
    )
