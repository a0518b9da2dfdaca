"""Even light, progress and titles."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from alignimation_core import Canvas, Film, Frame, Mask, Photo, Subject
from alignimation_effects import EvenLight, Progress, Title
from alignimation_effects._light import DECODED, ENCODED, FULL

CANVAS = Canvas(height=120, width=160)


def photo(i, days=100):
    when = datetime(2018, 3, 1) + timedelta(days * i)
    return Photo(Path(f"/{i}"), f"{i}", f"{i}", 120, 160, when, "exif")


def applied(effect, frames, canvas=CANVAS, subjects=None):
    photos = [frame.photo for frame in frames]
    return list(effect.apply(iter(frames), Film(canvas, 12.0, photos, subjects or {})))


@pytest.fixture(scope="module")
def series():
    """Thirty photos of one scene, with exposures of 0.5 to 2 and casts; the subject has a mask."""
    generator = np.random.default_rng(3)
    scene = generator.uniform(0.02, 0.4, (30, 40, 3)).repeat(4, 0).repeat(4, 1)
    scene[:20] = 1.0  # a window, clipped
    scene[-10:] = 0.0
    mask = torch.zeros(60, 80)
    mask[20:50, 20:60] = 1
    subject = Subject((40, 40, 120, 100), 1.0, mask=Mask.of(mask, (0, 0, 160, 120)))
    frames = []
    for i in range(30):
        exposure = 2 ** generator.uniform(-1, 1)
        cast = generator.uniform(0.8, 1.25, 3)
        light = np.clip(scene * exposure * cast, 0, 1)
        pixels = ENCODED[np.round(light * FULL).astype(int)]
        frames.append(Frame(torch.from_numpy(pixels).permute(2, 0, 1), i, photo(i)))
    return frames, {frame.photo.name: subject for frame in frames}


def subject_light(frames):
    """Mean linear light of the subject, (n, 3)."""
    return np.array([DECODED[f.image[:, 40:100, 40:120].numpy()].mean((1, 2)) for f in frames])


def test_the_subject_keeps_its_light_through_exposures_and_casts(series):
    frames, subjects = series
    evened = applied(EvenLight(), frames, subjects=subjects)
    assert [frame.photo for frame in evened] == [frame.photo for frame in frames]
    weights = np.array([0.2126, 0.7152, 0.0722])
    before, after = (subject_light(each) @ weights for each in (frames, evened))
    assert after.std() < before.std() / 5
    casts = [subject_light(each)[:, 0] / subject_light(each)[:, 2] for each in (frames, evened)]
    assert casts[1].std() < casts[0].std() / 5


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_nothing_clips_that_did_not(series, strength):
    frames, subjects = series
    evened = applied(EvenLight(strength=strength), frames, subjects=subjects)
    for before, after in zip(frames, evened, strict=True):
        for end in (0, 255):
            assert ((after.image == end) <= (before.image == end)).all()


def test_strength_is_the_share_of_the_way(series):
    frames, subjects = series
    none = applied(EvenLight(strength=0), frames, subjects=subjects)
    assert (
        max(
            int((a.image.int() - b.image.int()).abs().max())
            for a, b in zip(none, frames, strict=True)
        )
        <= 1
    )
    half = np.log(subject_light(applied(EvenLight(strength=0.5), frames, subjects=subjects)))
    whole = np.log(subject_light(applied(EvenLight(), frames, subjects=subjects)))
    plain = np.log(subject_light(frames))
    assert half == pytest.approx((plain + whole) / 2, abs=0.03)


def test_frames_of_which_no_subject_is_known_stay(series):
    frames, subjects = series
    without = {name: each for name, each in subjects.items() if name != "4"}
    evened = applied(EvenLight(), frames, subjects=without)
    assert torch.equal(evened[4].image, frames[4].image)
    boxes = {name: replace(each, mask=None) for name, each in subjects.items()}
    evened = applied(EvenLight(), frames, subjects=boxes)
    assert subject_light(evened)[:, 1].std() < subject_light(frames)[:, 1].std() / 4


def test_few_frames_wait_for_the_median(series):
    frames, subjects = series
    taken = []

    def coming():
        for frame in frames:
            taken.append(frame.index)
            yield frame

    film = Film(CANVAS, 12.0, [frame.photo for frame in frames], subjects)
    next(EvenLight().apply(coming(), film))
    assert len(taken) == 17


def greys(count, days=100):
    image = torch.full((3, 120, 160), 90, dtype=torch.uint8)
    return [Frame(image, i, photo(i, days)) for i in range(count)]


def test_the_bar_grows_with_the_film():
    frames = applied(Progress(size=5), greys(4))
    for i, frame in enumerate(frames):
        row = frame.image[:, -1].amin(0) == 255
        assert int(row.sum()) == (i + 1) * 40
        assert row[: (i + 1) * 40].all()
        assert (frame.image[:, :-6] == 90).all()
        assert (frame.image[:, -6:] != 90).all()
    (frame,) = applied(Progress(place="top", colour="red"), greys(1))
    assert frame.image[:, 0, 0].tolist() == [255, 0, 0]


def test_a_timeline_goes_by_dates_and_shows_years():
    frames = greys(3)
    frames = [
        replace(frame, photo=replace(frame.photo, taken=datetime(2018 + year, 1, 1)))
        for frame, year in zip(frames, (0, 1, 4), strict=True)
    ]
    shown = applied(Progress(years=True, size=5), frames)
    done = [int((frame.image[:, -1].amin(0) == 255).sum()) for frame in shown]
    assert done == [0, 40, 160]
    above = shown[0].image[:, -14:-6]
    assert (above != 90).any()
    assert (applied(Progress(size=5), frames)[0].image[:, -14:-6] == 90).all()
    one_day = applied(Progress(years=True), greys(2, days=0))
    assert len(one_day) == 2


def test_cards_stand_before_and_after_for_their_seconds():
    opening = Title(text="Anna", background="navy", seconds=1.5)
    end = Title(text="The\nEnd", at="end", background="navy", seconds=1.5)
    frames = applied(end, applied(opening, greys(3)))
    assert [frame.seconds for frame in frames] == [1.5, None, None, None, 1.5]
    assert frames[0].photo == frames[1].photo
    for card in (frames[0], frames[-1]):
        assert card.image[:, 0, 0].tolist() == [0, 0, 128]
        assert card.image.amin(0).max() == 255
    canvas = Canvas(120, 160, alpha=True)
    image = torch.zeros(4, 120, 160, dtype=torch.uint8)
    cards = applied(Title(text="x", at="end"), [Frame(image, 0, photo(0))], canvas)
    assert len(cards) == 2
    assert (cards[1].image[3] == 255).all()
