"""Which of several dates is believed."""

from datetime import datetime, timedelta

import pytest

from alignimation_core.photos.dates.taken import Taken, choose, delta_of, offset_of

NOW = datetime(2026, 11, 28)
GOOD = Taken(datetime(2018, 7, 4), "name")


@pytest.mark.parametrize(
    "impossible",
    [
        datetime(1970, 1, 1),
        datetime(1970, 1, 1, 1),
        datetime(1969, 12, 31, 19),
        datetime(1904, 1, 1),
        datetime(1825, 12, 31, 23, 59, 59),
        datetime(2026, 11, 29, 0, 0, 1),
        datetime(2099, 1, 1),
    ],
)
def test_a_date_that_cannot_be_falls_through(impossible: datetime) -> None:
    assert choose([Taken(impossible, "exif"), GOOD], NOW) == GOOD
    assert choose([Taken(impossible, "exif")], NOW) is None


@pytest.mark.parametrize(
    "possible",
    [
        datetime(1826, 1, 1),
        datetime(1969, 12, 31, 19, 0, 1),
        datetime(1970, 1, 2),
        datetime(2026, 11, 29),
    ],
)
def test_a_date_that_can_be_is_believed(possible: datetime) -> None:
    first = Taken(possible, "exif")
    assert choose([first, GOOD], NOW) == first


@pytest.mark.parametrize(
    "default",
    [datetime(1980, 1, 1, 0, 12), datetime(2002, 12, 8, 12, 0, 7), datetime(2000, 1, 1)],
)
def test_a_clock_that_was_never_set_is_believed_only_where_nothing_knows_better(
    default: datetime,
) -> None:
    unset = Taken(default, "exif")
    assert choose([unset, GOOD], NOW) == GOOD
    assert choose([unset], NOW) == unset
    day = Taken(default.replace(hour=0, minute=0, second=0), "name", None, timedelta(days=1))
    assert choose([day, GOOD], NOW) == day


def test_a_date_disagrees_with_what_is_more_than_a_day_from_all_that_it_may_mean() -> None:
    month = Taken(datetime(2018, 7, 1), "name", None, timedelta(days=31))
    assert not month.disagrees(datetime(2018, 6, 30))
    assert not month.disagrees(datetime(2018, 8, 2))
    assert month.disagrees(datetime(2018, 6, 29, 23))
    assert month.disagrees(datetime(2018, 8, 2, 0, 1))


@pytest.mark.parametrize("minutes", [-720, -210, -1, 0, 60, 345, 840])
def test_an_offset_is_written_and_read_back(minutes: int) -> None:
    delta = timedelta(minutes=minutes)
    assert delta_of(offset_of(delta)) == delta
