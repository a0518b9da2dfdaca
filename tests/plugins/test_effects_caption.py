"""Captions: what they say of every photo, in which language, and that it can be read."""

from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from alignimation_core import Canvas, Film, Frame, Photo
from alignimation_effects import Caption
from alignimation_effects._caption import Texts, age, locale_of

CANVAS = Canvas(height=450, width=360)
GREY = torch.full((3, 450, 360), 128, dtype=torch.uint8)


def photo(name, taken="2020-03-04", source="exif"):
    when = datetime.fromisoformat(taken)
    return Photo(Path("/", name), name, name, 450, 360, when, source)


def frames_of(effect, photos, image=GREY, canvas=CANVAS):
    frames = [Frame(image, i, each) for i, each in enumerate(photos)]
    return list(effect.apply(iter(frames), Film(canvas, 12.0, photos)))


@pytest.mark.parametrize(
    ("day", "english", "german"),
    [
        ("2020-01-31", "0 days", "0 Tage"),
        ("2020-02-01", "1 day", "1 Tag"),
        ("2020-02-13", "13 days", "13 Tage"),
        ("2020-02-14", "2 weeks", "2 Wochen"),
        ("2020-04-30", "12 weeks", "12 Wochen"),
        ("2020-05-01", "3 months", "3 Monate"),
        ("2020-05-31", "4 months", "4 Monate"),
        ("2022-01-30", "23 months", "23 Monate"),
        ("2022-01-31", "2 years", "2 Jahre"),
        ("2022-05-01", "2 years 3 months", "2 Jahre 3 Monate"),
    ],
)
def test_ages_are_said_as_people_say_them(day, english, german):
    taken, born = date.fromisoformat(day), date(2020, 1, 31)
    assert age(taken, born, locale_of("en")) == english
    assert age(taken, born, locale_of("de")) == german


def test_before_birth_there_is_no_age():
    assert age(date(2019, 1, 1), date(2020, 1, 1), locale_of("en")) is None


@pytest.mark.parametrize(
    ("options", "taken", "text"),
    [
        ({"template": "{date}"}, "2020-03-04", "March 4, 2020"),
        ({"template": "{date:long}", "language": "de"}, "2020-03-04", "4. März 2020"),
        ({"template": "{date:MMM yyyy}", "language": "fr"}, "2020-03-04", "mars 2020"),
        ({"template": "week {week}", "born": date(2020, 3, 1)}, "2020-03-08", "week 2"),
        ({"template": "week {week}", "due": date(2020, 10, 7)}, "2020-03-18", "week 11"),
        ({"template": "{age}", "due": date(2020, 10, 7)}, "2020-03-18", "11 weeks"),
        ({"template": "{age}", "due": date(2020, 10, 7)}, "2020-10-10", "3 days"),
        ({"template": "{name}: {index} of {count}"}, "2020-03-04", "a: 1 of 9"),
        ({"template": "Anna\n{age}", "born": date(2021, 1, 1)}, "2020-03-04", "Anna"),
        ({"template": "{{braces}}"}, "2020-03-04", "{braces}"),
    ],
)
def test_a_template_says_what_is_known_of_a_photo(options, taken, text):
    given = {"language": "en", "born": None, "due": None, **options}
    plain = {"name": "a", "index": "1", "count": "9"}
    assert Texts(**given).of(datetime.fromisoformat(taken), plain) == text


def test_a_line_without_its_date_is_left_out():
    texts = Texts("{name}\n{date}", "en", None, None)
    assert texts.of(None, {"name": "a"}) == "a"


def test_photos_with_the_files_time_alone_are_shown_without_a_date():
    photos = [photo("a"), photo("b", source="file")]
    first, second = frames_of(Caption(), photos)
    assert (first.image != GREY).any()
    assert (second.image == GREY).all()
    _, second = frames_of(Caption(file_dates=True), photos)
    assert (second.image != GREY).any()


def test_dates_that_no_photo_has_are_refused():
    with pytest.raises(ValueError, match="set file_dates: true") as error:
        frames_of(Caption(), [photo("a", source="file")])
    assert str(error.value) == (
        "'{date:long}' needs dates, and no photo has one but its file's time; "
        "put dates into their names, or set file_dates: true"
    )


def test_letters_stand_where_they_should_and_the_frame_that_came_stays():
    (frame,) = frames_of(Caption(size=6), [photo("a")])
    changed = (frame.image != GREY).any(0).numpy()
    rows, columns = np.where(changed)
    assert 0.88 * 450 < rows.min() < rows.max() < 450 * (1 - 0.03)
    assert abs((columns.min() + columns.max()) / 2 - 180) < 2
    assert 0.05 < (rows.max() - rows.min()) / 450 < 0.09
    assert (GREY == 128).all()
    (frame,) = frames_of(Caption(place="top-left"), [photo("a")])
    rows, columns = np.where((frame.image != GREY).any(0).numpy())
    assert rows.max() < 0.12 * 450
    assert columns.min() < 0.05 * 450


def test_captions_of_other_letters_stand_on_the_same_line():
    words = ["11 xxxx", "Ágy"]
    frames = [frames_of(Caption(text=word, outline=None), [photo("a")])[0] for word in words]
    lines = [np.where((frame.image != GREY).any(0).any(1).numpy())[0] for frame in frames]
    assert lines[0].max() + 3 < lines[1].max()  # the descender of y reaches further down
    assert lines[1].max() >= 450 * (1 - 0.05)


@pytest.mark.parametrize("level", [0, 255, 128])
def test_letters_are_readable_on_any_picture(level):
    image = torch.full((3, 450, 360), level, dtype=torch.uint8)
    (frame,) = frames_of(Caption(), [photo("a")], image)
    values = frame.image.float().mean(0)
    assert values.max() - values.min() > 200


def test_a_long_line_is_made_smaller_rather_than_cut():
    (frame,) = frames_of(Caption(text="word " * 20, size=10), [photo("a")])
    columns = np.where((frame.image != GREY).any(0).any(0).numpy())[0]
    assert columns.min() > 4
    assert columns.max() < 356


WRITING = ["שלום עולם", "مرحبا بالعالم", "👶🏽 hello 👩‍👩‍👧", "日本", "\u202e\u0301", "\x07"]


@pytest.mark.parametrize("text", WRITING)
def test_no_writing_breaks_it(text):
    (frame,) = frames_of(Caption(text=text, box="navy"), [photo("a")])
    assert frame.image.shape == GREY.shape


def test_transparent_frames_become_opaque_where_letters_are():
    image = torch.zeros(4, 450, 360, dtype=torch.uint8)
    (frame,) = frames_of(Caption(), [photo("a")], image, Canvas(450, 360, alpha=True))
    assert frame.image[3].max() == 255
    assert frame.image[3, 0, 0] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"text": "{when}"},
            "{when} is not known; the fields are age, count, date, index, name, week",
        ),
        ({"text": "{index:03}"}, "{index:03}: only {date} has a format"),
        (
            {"text": "{date:QQQQQQ}"},
            "{date:QQQQQQ} is no pattern of a date; write one such as {date:d MMMM yyyy}",
        ),
        (
            {"text": "{date:HH}"},
            "{date:HH} is no pattern of a date; write one such as {date:d MMMM yyyy}",
        ),
        ({"text": "{"}, "'{': a brace has no other; write {{ and }} for braces themselves"),
        ({"text": "{age}"}, "{age} needs the day it counts from: born, due or from"),
        (
            {"born": "2020-01-01", "from": "2020-01-01"},
            "born and from cannot both be given; keep one",
        ),
        (
            {"language": "xx-yy"},
            "'xx-yy' is no language that Babel knows; write de, pt-BR or the like",
        ),
        ({"colour": "blurple"}, "'blurple' is no colour; write a name or '#rrggbb'"),
        (
            {"font": __file__},
            f"{__file__} is no font that can be read; give a .ttf or .otf file",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(options, message):
    with pytest.raises(ValidationError) as error:
        Caption(**options)
    (fault,) = error.value.errors()
    assert str(fault["ctx"]["error"]) == message
