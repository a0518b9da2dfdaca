from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core.photos.dates.names import in_folders, in_name
from alignimation_core.photos.dates.taken import INSTANT, Taken, choose

NOW = datetime(2026, 11, 28)
DAY = timedelta(days=1)


def named(name: str) -> Taken | None:
    return choose(in_name(name), NOW)


def when(name: str) -> datetime | None:
    taken = named(name)
    return taken and taken.at


@pytest.mark.parametrize(
    ("name", "date"),
    [
        # cameras and phones
        ("IMG_20180704_101530.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("IMG20230101123456.jpg", datetime(2023, 1, 1, 12, 34, 56)),
        ("20180704101530.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("20180704101530123.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("201807040915.jpg", datetime(2018, 7, 4, 9, 15)),
        ("BURST20180704101530.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("00000IMG_00000_BURST20180704101530123_COVER.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("20180704_101530_001.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("20180704_101530(1).jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("IMG-20180704-WA0003.jpg", datetime(2018, 7, 4)),
        ("Screenshot_2018-07-04-10-15-30.png", datetime(2018, 7, 4, 10, 15, 30)),
        ("Screenshot_2018-07-04-10-15-30-123_app.png", datetime(2018, 7, 4, 10, 15, 30)),
        ("Screen Shot 2018-07-04 at 10.15.30\u202fPM.png", datetime(2018, 7, 4, 22, 15, 30)),
        # messengers
        ("WhatsApp Image 2018-07-04 at 10.15.30.jpeg", datetime(2018, 7, 4, 10, 15, 30)),
        ("WhatsApp Image 2018-07-04 at 10.15.30 PM.jpeg", datetime(2018, 7, 4, 22, 15, 30)),
        ("WhatsApp Image 2018-07-04 at 9.05.30 PM.jpeg", datetime(2018, 7, 4, 21, 5, 30)),
        ("WhatsApp Image 2018-07-04 at 9.05.30 AM (1).jpeg", datetime(2018, 7, 4, 9, 5, 30)),
        ("WhatsApp Image 2018-07-04 at 12.00.01 AM.jpeg", datetime(2018, 7, 4, 0, 0, 1)),
        ("WhatsApp Image 2018-07-04 at 12.00.01 PM.jpeg", datetime(2018, 7, 4, 12, 0, 1)),
        ("WhatsApp Image 2018-07-04 at 22.15.30 PM.jpeg", datetime(2018, 7, 4, 22, 15, 30)),
        ("WhatsApp Bild 2018-07-04 um 10.15.30.jpeg", datetime(2018, 7, 4, 10, 15, 30)),
        ("Imagen de WhatsApp 2018-07-04 a las 10.15.30.jpeg", datetime(2018, 7, 4, 10, 15, 30)),
        ("photo_2018-07-04_10-15-30.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("signal-2018-07-04-101530.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("FB_IMG_1530692130123.jpg", datetime(2018, 7, 4, 8, 15, 30, 123000)),
        ("1530692130.jpg", datetime(2018, 7, 4, 8, 15, 30)),
        # people
        ("2008-04-12 (1).jpg", datetime(2008, 4, 12)),
        ("1899.12.31.tif", datetime(1899, 12, 31)),
        ("20180704_1015.jpg", datetime(2018, 7, 4, 10, 15)),
        ("2018-07-04 10h15.jpg", datetime(2018, 7, 4, 10, 15)),
        ("2018-07-04T10:15:30+02:00.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("2018-7-4.jpg", datetime(2018, 7, 4)),
        ("2018 07 04.jpg", datetime(2018, 7, 4)),
        ("4.7.2018.jpg", datetime(2018, 7, 4)),
        ("04-07-2018 10.15.jpg", datetime(2018, 7, 4, 10, 15)),
        ("07-13-2018.jpg", datetime(2018, 7, 13)),
        ("2018-07.jpg", datetime(2018, 7, 1)),
        ("2018_7 beach.jpg", datetime(2018, 7, 1)),
        ("scan_1987-05.jpg", datetime(1987, 5, 1)),
        ("2002.jpg", datetime(2002, 1, 1)),
        ("2002 (3).jpg", datetime(2002, 1, 1)),
        ("Summer 2002.jpg", datetime(2002, 1, 1)),
        ("1862-04-12.jpg", datetime(1862, 4, 12)),
        # the first that can be one
        ("2018-02-30 scanned 2019-01-31.jpg", datetime(2019, 1, 31)),
        ("2018-03-01 and 2019-04-05.jpg", datetime(2018, 3, 1)),
        ("2018-03-01 to 2019.jpg", datetime(2018, 3, 1)),
        ("2099-01-01 of 2019-01-31.jpg", datetime(2019, 1, 31)),
        ("1970-01-01 of 2019-01-31.jpg", datetime(2019, 1, 31)),
        ("1970.jpg", datetime(1970, 1, 1)),
        ("1826_01_01.jpg", datetime(1826, 1, 1)),
        # half of it
        ("2018-07-04-235959.jpg", datetime(2018, 7, 4, 23, 59, 59)),
        ("2018-07-04-245959.jpg", datetime(2018, 7, 4)),
        ("20180704_0060.jpg", datetime(2018, 7, 4)),
        ("20180704_0059.jpg", datetime(2018, 7, 4)),
        ("20180704_0159.jpg", datetime(2018, 7, 4)),
        ("20180704_2460.jpg", datetime(2018, 7, 4)),
        ("2018-07-04-3-12.jpg", datetime(2018, 7, 4)),
    ],
)
def test_a_date_in_a_name_is_read(name: str, date: datetime) -> None:
    assert when(name) == date


@pytest.mark.parametrize(
    "name",
    [
        "1825_12_31.jpg",
        "2018-07.04.jpg",
        "2018-13-04.jpg",
        "2018-02-30.jpg",
        "1970-01-01.jpg",
        "IMG_2041.jpg",
        "IMG_2002.jpg",
        "DSC02002.jpg",
        "photo 2002.jpg",
        "IMG_1999_2.jpg",
        "DSC20180704123.jpg",
        "18620412.jpg",
        "186204121530.jpg",
        "18623098.jpg",
        "1862.jpg",
        "2099.jpg",
        "45234567890_abc.jpg",
        "4523456789.jpg",
        "201807041015301234.jpg",
        "0001530692.jpg",
        "holiday.jpg",
        "",
    ],
)
def test_numbers_that_are_no_date_are_none(name: str) -> None:
    assert when(name) is None


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("PXL_20190612_101530123~2.jpg", INSTANT),
        ("PXL_20190612_101530123.MP.jpg", INSTANT),
        ("1530692130.jpg", INSTANT),
        ("IMG_20190612_101530.jpg", None),
        ("2018-07-04T10-15-30Z.jpg", "+00:00"),
        ("2018-07-04T10:15:30-0530.jpg", "-05:30"),
        ("2018-07-04-10-15-30-0530.jpg", None),
    ],
)
def test_a_name_says_its_zone_or_none(name: str, zone: str | None) -> None:
    taken = named(name)
    assert taken is not None
    assert taken.zone == zone


@pytest.mark.parametrize(
    ("name", "span"),
    [
        ("20180704_101530.jpg", timedelta(0)),
        ("2018-07-04.jpg", DAY),
        ("2018-02.jpg", 28 * DAY),
        ("2018-12.jpg", 31 * DAY),
        ("2020.jpg", 366 * DAY),
    ],
)
def test_a_name_leaves_as_much_open_as_it_does_not_say(name: str, span: timedelta) -> None:
    taken = named(name)
    assert taken is not None
    assert taken.span == span


@pytest.mark.parametrize(
    ("path", "date"),
    [
        ("2021-03-04 Birthday/IMG_1.jpg", datetime(2021, 3, 4)),
        ("photos/2021-03-04/more/IMG_1.jpg", datetime(2021, 3, 4)),
        ("photos/2018/07/04/IMG_1.jpg", datetime(2018, 7, 4)),
        ("photos/2018/07 - July/IMG_1.jpg", datetime(2018, 7, 1)),
        ("photos/2018/IMG_1.jpg", datetime(2018, 1, 1)),
        ("2018/2018-07 Norway/IMG_1.jpg", datetime(2018, 7, 1)),
        ("s3://box/4.7.2018/IMG_1.jpg", datetime(2018, 7, 4)),
        ("2019-01-01/2018-07-04/IMG_1.jpg", datetime(2018, 7, 4)),
        ("Backup 2023/IMG_1.jpg", None),
        ("photos/2018-02-30/IMG_1.jpg", None),
        ("IMG_1.jpg", None),
        ("photos/2018-07-04.jpg", None),
    ],
)
def test_a_date_in_the_name_of_a_folder_is_read(path: str, date: datetime | None) -> None:
    taken = choose(in_folders(path), NOW)
    assert (taken and taken.at) == date
    assert taken is None or taken.origin == "folder"


def test_a_folders_name_is_none_of_the_files() -> None:
    assert named("2021-03-04 Birthday/IMG_1.jpg") is None


COMPUTERS = (datetime(1904, 1, 1), datetime(1969, 12, 31), datetime(1970, 1, 1))
"""Days that clocks begin to count from; no photo is of these."""
FORMS = (
    "%Y%m%d_%H%M%S",
    "%Y%m%d%H%M%S",
    "%Y-%m-%d %H.%M.%S",
    "%Y-%m-%d-%H-%M-%S",
    "%Y-%m-%d at %I.%M.%S %p",
    "%d.%m.%Y %H.%M.%S",
    "%Y-%m-%dT%H:%M:%SZ",
)


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(FORMS),
    st.sampled_from(["IMG_", "", "photo ", "me"]),
    st.sampled_from(["", " (1)", "~2", "_edited", "-WA0001"]),
)
def test_every_date_written_into_a_name_is_read_back(
    date: datetime, form: str, prefix: str, suffix: str
) -> None:
    date = date.replace(microsecond=0)
    of_a_computer = date.date() in map(datetime.date, COMPUTERS)
    taken = choose(in_name(f"{prefix}{date.strftime(form)}{suffix}.jpg"), datetime(2100, 1, 1))
    assert (taken and taken.at) == date or of_a_computer


@given(st.integers(1_000_000_000, 1_790_000_000), st.booleans())
def test_unix_time_is_read_back(seconds: int, thousandths: bool) -> None:
    name = f"{seconds * 1000 + 7 if thousandths else seconds}.jpg"
    wanted = datetime(1970, 1, 1) + timedelta(seconds=seconds, milliseconds=7 * thousandths)
    assert when(name) == wanted


@given(st.text(st.sampled_from("0123456789-_. :hTZ/aPM()"), max_size=40))
def test_any_name_gives_dates_that_can_be_or_none(name: str) -> None:
    taken = choose([*in_name(name), *in_folders(name)], NOW)
    assert taken is None or datetime(1826, 1, 1) <= taken.at <= NOW + DAY
