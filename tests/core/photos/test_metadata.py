from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from alignimation_core.photos import metadata


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("IMG_20180704_101530.jpg", datetime(2018, 7, 4, 10, 15, 30)),
        ("IMG-20180704-WA0003.jpg", datetime(2018, 7, 4)),
        ("PXL_20190612_101530123~2.jpg", datetime(2019, 6, 12, 10, 15, 30)),
        ("Screenshot_2018-07-04-10-15-30.png", datetime(2018, 7, 4, 10, 15, 30)),
        ("WhatsApp Image 2018-07-04 at 10.15.30.jpeg", datetime(2018, 7, 4, 10, 15, 30)),
        ("2008-04-12 (1).jpg", datetime(2008, 4, 12)),
        ("1899.12.31.tif", datetime(1899, 12, 31)),
        ("20180704_1015.jpg", datetime(2018, 7, 4, 10, 15)),
        ("2018-07-04 10h15.jpg", datetime(2018, 7, 4, 10, 15)),
        ("2018-02-30 scanned 2019-01-31.jpg", datetime(2019, 1, 31)),
        ("1826_01_01.jpg", datetime(1826, 1, 1)),
        ("1825_12_31.jpg", None),
        ("2018-07.04.jpg", None),
        ("2018-07-04-235959.jpg", datetime(2018, 7, 4, 23, 59, 59)),
        ("2018-07-04-245959.jpg", datetime(2018, 7, 4)),
        ("IMG_2041.jpg", None),
        ("2018-13-04.jpg", None),
        ("2018-02-30.jpg", None),
        ("DSC20180704123.jpg", None),
    ],
)
def test_a_date_in_a_name_is_read(name: str, date: datetime | None) -> None:
    assert metadata.in_name(name) == date


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(["%Y%m%d_%H%M%S", "%Y-%m-%d %H.%M.%S", "%Y-%m-%d-%H-%M-%S"]),
    st.sampled_from(["IMG_", "", "photo "]),
)
def test_every_date_written_into_a_name_is_read_back(
    date: datetime, form: str, prefix: str
) -> None:
    assert metadata.in_name(f"{prefix}{date.strftime(form)}.jpg") == date.replace(microsecond=0)


ORIGINAL, DIGITIZED, MODIFIED = 0x9003, 0x9004, 0x0132
SUBSECONDS = {ORIGINAL: 0x9291, DIGITIZED: 0x9292, MODIFIED: 0x9290}


def exif(tags: dict[int, object]) -> Image.Exif:
    """The tags of a photo, all but the time of its last change in the part that cameras write."""
    written = Image.Exif()
    inner = {tag: value for tag, value in tags.items() if tag != MODIFIED}
    written[0x8769] = inner
    if MODIFIED in tags:
        written[MODIFIED] = tags[MODIFIED]
    read = Image.Exif()
    read.load(written.tobytes())
    return read


@pytest.mark.parametrize("tag", [ORIGINAL, DIGITIZED, MODIFIED])
def test_each_date_has_the_fraction_that_was_written_for_it(tag: int) -> None:
    fractions: dict[int, object] = {SUBSECONDS[tag]: "25"}
    fractions |= {other: "9" for date, other in SUBSECONDS.items() if date != tag}
    found = metadata.in_exif(exif({tag: "2008:04:12 09:12:07", **fractions}))
    assert found == datetime(2008, 4, 12, 9, 12, 7, 250_000)
    del fractions[SUBSECONDS[tag]]
    found = metadata.in_exif(exif({tag: "2008:04:12 09:12:07", **fractions}))
    assert found == datetime(2008, 4, 12, 9, 12, 7)


@pytest.mark.parametrize(
    ("fraction", "micros"),
    [("5", 500_000), ("000001", 1), ("1234567", 123_456), ("070 ", 70_000), ("x", 0), ("", 0)],
)
def test_a_fraction_is_read_as_decimals(fraction: str, micros: int) -> None:
    found = metadata.in_exif(exif({ORIGINAL: "2008:04:12 09:12:07", 0x9291: fraction}))
    assert found == datetime(2008, 4, 12, 9, 12, 7, micros)


def test_the_dates_in_exif_come_in_order_of_trust() -> None:
    tags: dict[int, object] = {
        ORIGINAL: "2008:01:01 00:00:00",
        DIGITIZED: "2009:01:01 00:00:00",
        MODIFIED: "2010:01:01 00:00:00",
    }
    years = []
    while tags:
        found = metadata.in_exif(exif(tags))
        years.append(found and found.year)
        tags.pop(next(iter(tags)))
    assert years == [2008, 2009, 2010]
    assert metadata.in_exif(exif({})) is None


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2008-04-12T09:12:07", datetime(2008, 4, 12, 9, 12, 7)),
        ("2008:04:12 09:12:07Z", datetime(2008, 4, 12, 9, 12, 7)),
        ("1826:01:01 00:00:00", datetime(1826, 1, 1)),
        ("1825:12:31 23:59:59", None),
        ("2008:04:31 09:12:07", None),
        ("2008:04:12 24:12:07", None),
        ("2008:04:12", None),
    ],
)
def test_a_date_in_exif_is_read_or_is_none(text: str, date: datetime | None) -> None:
    assert metadata.in_exif(exif({ORIGINAL: text})) == date


@pytest.mark.parametrize(
    ("name", "date"),
    [
        ("1825-12-31.jpg", None),
        ("1826-01-01.jpg", datetime(1826, 1, 1)),
        ("2018-02-30 to 2018-03-01.jpg", datetime(2018, 3, 1)),
        ("2018-03-01 and 2019-04-05.jpg", datetime(2018, 3, 1)),
    ],
)
def test_the_first_date_in_a_name_that_can_be_one_is_taken(
    name: str, date: datetime | None
) -> None:
    assert metadata.in_name(name) == date
