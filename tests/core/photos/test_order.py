"""The order of photos, and what clocks showed where they were taken."""

import ntpath
import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core import Photo
from alignimation_core.photos import order

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2020, 7, 1, 12)


def photo(name, at=NOON, zone=None, modified=None):
    path = Path("/", name)
    return Photo(path, name, "", 24, 32, at, "exif", taken_zone=zone, modified=modified)


def taken(name, seconds=0):
    return photo(name, datetime(2020, 1, 1) + timedelta(seconds=seconds))


def names(photos, *how):
    return [each.name for each in order.order(photos, *how)]


def test_photos_come_by_time_and_those_of_one_time_by_name_as_people_count():
    taken_at = [taken("b9.jpg", 1), taken("b10.jpg"), taken("b9.jpg"), taken("z.jpg", -1)]
    assert order.order(taken_at) == taken_at[::-1]


def test_every_number_in_a_name_counts():
    names = ["trip2 day10 x2", "trip2 day9 x10", "trip2 day9 x9", "trip10 day1 x1", "trip2 day9"]
    assert sorted(names, key=order.natural) == [names[4], names[2], names[1], names[0], names[3]]


def test_names_that_count_the_same_come_the_same_every_time():
    photos = [taken(f"{zeros}{n}.jpg") for n in range(5) for zeros in ("", "0", "00")]
    first = names(photos)
    assert first[:4] == ["0.jpg", "00.jpg", "000.jpg", "001.jpg"]
    for seed in range(5):
        assert names(Random(seed).sample(photos, len(photos))) == first


def test_photos_come_by_the_instant_and_not_by_what_clocks_showed():
    tokyo = photo("tokyo", NOON, "+09:00")
    new_york = photo("new york", NOON - timedelta(hours=10), "-04:00")
    berlin = photo("berlin", NOON - timedelta(hours=5))
    assert names([new_york, berlin, tokyo], "taken", BERLIN) == ["tokyo", "berlin", "new york"]
    assert names([new_york, berlin, tokyo], "taken", ZoneInfo("Asia/Tokyo")) == [
        "berlin",
        "tokyo",
        "new york",
    ]


def test_without_a_zone_this_computers_is_meant(monkeypatch):
    photos = [photo("berlin", NOON, "+02:00"), photo("nobody knows", NOON)]
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert names(photos) == ["berlin", "nobody knows"]
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert names(photos) == ["nobody knows", "berlin"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_photos_come_by_name_by_their_files_time_or_as_given():
    late, early = datetime(2021, 1, 1), datetime(2019, 1, 1)
    photos = [
        photo("b10.jpg", early, modified=late),
        photo("b9.jpg", late, modified=early),
        photo("a.jpg", NOON, modified=late),
        photo("at an address.jpg", datetime(2020, 1, 1), "+00:00"),
    ]
    given = [each.name for each in photos]
    assert names(photos, "given") == given
    assert names(photos, "name") == ["a.jpg", "at an address.jpg", "b9.jpg", "b10.jpg"]
    assert names(photos, "modified") == ["b9.jpg", "at an address.jpg", "a.jpg", "b10.jpg"]
    assert names(photos, "taken") == ["b10.jpg", "at an address.jpg", "a.jpg", "b9.jpg"]


@pytest.mark.parametrize(
    ("zone", "at", "written"),
    [
        ("UTC", datetime(2020, 7, 1, 14), "+02:00"),
        (None, NOON, "+02:00"),
        ("-04:00", NOON, "-04:00"),
    ],
)
def test_an_instant_becomes_what_clocks_showed(zone, at, written):
    local = order.in_zone(photo("a", NOON, zone), BERLIN)
    assert (local.taken, local.taken_zone) == (at, written)


def test_a_time_of_which_nobody_says_the_zone_stays_as_it_is():
    assert order.in_zone(photo("a"), None) == photo("a")


def test_times_long_ago_have_an_order_too():
    photos = [photo("b", datetime(1850, 1, 2)), photo("a", datetime(1850, 1, 1))]
    for zone in (None, BERLIN):
        assert names([order.in_zone(each, zone) for each in photos], "taken", zone) == ["a", "b"]


ZONES = st.sampled_from([None, "UTC", "+02:00", "-03:30"])


@given(
    st.lists(
        st.tuples(st.datetimes(datetime(1826, 1, 1), datetime(2026, 1, 1)), ZONES), max_size=9
    ),
    st.sampled_from([None, BERLIN, ZoneInfo("America/St_Johns")]),
    st.sampled_from(["taken", "name", "modified"]),
    st.randoms(use_true_random=False),
)
def test_the_order_is_the_same_however_photos_come(moments, zone, by, random):
    photos = [
        order.in_zone(photo(f"{i}", at, written), zone) for i, (at, written) in enumerate(moments)
    ]
    first = order.order(photos, by, zone)
    random.shuffle(photos)
    assert order.order(photos, by, zone) == first


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/me/trip/a.jpg", "trip/a.jpg"),
        ("/home/me/a.jpg", "a.jpg"),
        ("/home/me2/a.jpg", "../me2/a.jpg"),
        ("/data/a.jpg", "../../data/a.jpg"),
        ("/opt/me/a.jpg", "../../opt/me/a.jpg"),
    ],
)
def test_names_are_relative_to_the_recipe(path, name):
    assert order.relative_name(Path(path), Path("/home/me")) == name


def test_a_photo_on_another_drive_of_windows_keeps_its_whole_name(monkeypatch):
    monkeypatch.setattr(os.path, "relpath", ntpath.relpath)
    assert order.relative_name(Path("D:/photos/a.jpg"), Path("C:/home/me")) == "D:/photos/a.jpg"
