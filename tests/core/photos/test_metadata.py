from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
