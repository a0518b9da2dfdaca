from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alignimation_core import Recipe, RecipeError
from alignimation_core.recipe.timeline import Sample, bounds, seconds_of, zone_of

SMALLEST = {"photos": "a/", "detector": "mtcnn"}


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2018", datetime(2018, 1, 1), datetime(2019, 1, 1)),
        ("2018-02", datetime(2018, 2, 1), datetime(2018, 3, 1)),
        ("2018-12", datetime(2018, 12, 1), datetime(2019, 1, 1)),
        ("2018-7-4", datetime(2018, 7, 4), datetime(2018, 7, 5)),
        ("2018-07-04 10:15", datetime(2018, 7, 4, 10, 15), datetime(2018, 7, 4, 10, 16)),
        ("2018-07-04T10:15:30", datetime(2018, 7, 4, 10, 15, 30), datetime(2018, 7, 4, 10, 15, 31)),
    ],
)
def test_a_time_begins_and_ends(text, start, end):
    assert bounds(text) == (start, end)


@pytest.mark.parametrize("text", ["18", "2018-13", "2018-00", "2018-02-30", "2018-07-04 25:00", ""])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="is no time; write one such as 2018"):
        bounds(text)


def test_times_are_read_as_yaml_has_them(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("photos: a/\ndetector: mtcnn\nfrom: 2018\nto: 2019-07-04\n")
    recipe = Recipe.load(path)
    assert (recipe.since, recipe.until) == ("2018", "2019-07-04")
    path.write_text("photos: a/\ndetector: mtcnn\nfrom: 2018-07\nto: 2019-07-04 10:15:30\n")
    recipe = Recipe.load(path)
    assert (recipe.since, recipe.until) == ("2018-07", "2019-07-04 10:15:30")
    assert (recipe.dump()["from"], recipe.dump()["to"]) == (recipe.since, recipe.until)
    assert Recipe.of(recipe.dump()) == Recipe.of({**recipe.dump(), "seed": 0})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12 hours", 43200), ("day", 86400), ("1.5 minutes", 90), ("2weeks", 1209600)],
)
def test_a_length_of_time_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("every", "days"),
    [
        ("day", range(1)),
        ("2 days", range(2)),
        ("week", range(7)),
        ("month", range(31)),
        ("2 months", range(31 + 28)),
        ("year", range(365)),
        ("10 years", range(-8 * 365 - 2, 2 * 365)),
    ],
)
def test_a_stretch_of_time_is_whole(every, days):
    start = datetime(2018, 1, 1)  # a Monday
    sample = Sample(every=every)
    first = sample.bucket(start)
    inside = [day for day in range(-4000, 4000) if sample.bucket(start + timedelta(day)) == first]
    assert inside == [*days]
    assert sample.bucket(start.replace(hour=23, minute=59)) == first


def test_hours_of_two_days_are_not_the_same():
    sample = Sample(every="6 hours")
    hours = [sample.bucket(datetime(2018, 7, 4, hour)) for hour in (0, 5, 6, 23)]
    assert [hour - hours[0] for hour in hours] == [0, 0, 1, 3]
    assert sample.bucket(datetime(2018, 7, 5)) == hours[0] + 4


@pytest.mark.parametrize("keep", ["best", "first", "middle", 3])
def test_what_is_kept_of_it_is_a_word_or_a_number(keep):
    assert Recipe.of({**SMALLEST, "sample": {"every": "month", "keep": keep}}).sample.keep == keep


def test_what_keeps_nothing_is_one_line():
    with pytest.raises(RecipeError) as error:
        Recipe.of(
            {"photos": "a", "detector": "mtcnn", "sample": {"every": "day", "keep": "bst"}},
            folder=Path(),
        )
    assert str(error.value).endswith(
        "sample.keep: 'bst' is none of best, first, middle and whole numbers from 1"
    )


def test_a_sample_may_be_one_word():
    assert Recipe.of({**SMALLEST, "sample": "10 days"}).sample == Sample(every="10 days")


def test_a_zone_is_a_name_or_an_offset():
    assert zone_of("Europe/Berlin") == ZoneInfo("Europe/Berlin")
    summer = datetime(2018, 7, 4)
    assert zone_of("-03:30").utcoffset(summer) == timedelta(hours=-3, minutes=-30)
    assert zone_of("UTC").utcoffset(summer) == timedelta(0)
