"""Dates in picture files, as cameras and programs write them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from PIL.TiffImagePlugin import IFDRational

from alignimation_core.photos.dates import embedded
from alignimation_core.photos.dates.taken import INSTANT, Taken

ORIGINAL, DIGITIZED, MODIFIED = 0x9003, 0x9004, 0x0132
SUBSECONDS = {ORIGINAL: 0x9291, DIGITIZED: 0x9292, MODIFIED: 0x9290}
OFFSETS = {ORIGINAL: 0x9011, DIGITIZED: 0x9012, MODIFIED: 0x9010}


def image_with(
    tags: Mapping[int, Any], gps: Mapping[int, Any] | None = None, **info: object
) -> Image.Image:
    """A picture with tags; all but the time of its last change in the part that cameras write."""
    image = Image.new("L", (1, 1))
    exif = Image.Exif()
    exif[0x8769] = {tag: value for tag, value in tags.items() if tag != MODIFIED}
    if gps is not None:
        exif[0x8825] = dict(gps)
    if MODIFIED in tags:
        exif[MODIFIED] = tags[MODIFIED]
    image.info |= {"exif": exif.tobytes(), **info}
    return image


def dates(image: Image.Image) -> list[Taken]:
    return [*embedded.recorded(image), *embedded.modified(image)]


def only(image: Image.Image) -> Taken:
    (taken,) = dates(image)
    return taken


@pytest.mark.parametrize("tag", [ORIGINAL, DIGITIZED, MODIFIED])
def test_each_date_has_the_fraction_and_the_offset_that_were_written_for_it(tag: int) -> None:
    every: dict[int, object] = {tag: "2008:04:12 09:12:07"}
    every |= {other: "9" for date, other in SUBSECONDS.items() if date != tag}
    every |= {other: "+09:00" for date, other in OFFSETS.items() if date != tag}
    own = {SUBSECONDS[tag]: "25", OFFSETS[tag]: "+02:00"}
    found = only(image_with(every | own))
    assert (found.at, found.zone) == (datetime(2008, 4, 12, 9, 12, 7, 250_000), "+02:00")
    found = only(image_with({tag: "2008:04:12 09:12:07", SUBSECONDS[ORIGINAL]: ""}))
    assert (found.at, found.zone) == (datetime(2008, 4, 12, 9, 12, 7), None)


def test_the_offset_of_the_file_stands_for_one_that_is_missing() -> None:
    found = only(image_with({ORIGINAL: "2008:04:12 09:12:07", OFFSETS[MODIFIED]: "-05:30"}))
    assert found.zone == "-05:30"


@pytest.mark.parametrize(
    ("offset", "zone"),
    [("Z", "+00:00"), ("+0200", "+02:00"), ("   :  ", None), ("+25:00", None), ("2", None)],
)
def test_an_offset_is_one_or_none(offset: str, zone: str | None) -> None:
    found = only(image_with({ORIGINAL: "2008:04:12 09:12:07", OFFSETS[ORIGINAL]: offset}))
    assert found.zone == zone


@pytest.mark.parametrize(
    ("fraction", "micros"),
    [("5", 500_000), ("000001", 1), ("1234567", 123_456), ("070 ", 70_000), ("x", 0), ("", 0)],
)
def test_a_fraction_is_read_as_decimals(fraction: str, micros: int) -> None:
    found = only(image_with({ORIGINAL: "2008:04:12 09:12:07", 0x9291: fraction}))
    assert found.at == datetime(2008, 4, 12, 9, 12, 7, micros)


def test_the_dates_in_exif_come_in_order_of_trust() -> None:
    tags = {
        MODIFIED: "2010:01:01 00:00:00",
        DIGITIZED: "2009:01:01 00:00:00",
        ORIGINAL: "2008:01:01 00:00:00",
    }
    assert [found.at.year for found in dates(image_with(tags))] == [2008, 2009, 2010]
    assert {found.origin for found in dates(image_with(tags))} == {"exif"}
    assert dates(image_with({})) == []


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2008-04-12T09:12:07", datetime(2008, 4, 12, 9, 12, 7)),
        ("2008:04:12 09:12:07Z", datetime(2008, 4, 12, 9, 12, 7)),
        ("2008:04:12 09:12", datetime(2008, 4, 12, 9, 12)),
        ("2008:04:12 24:00:00", datetime(2008, 4, 12)),
        ("2008:04:12 24:12:07", datetime(2008, 4, 12, 0, 12, 7)),
        ("2008:04:12 09:12:60", datetime(2008, 4, 12, 9, 12, 59)),
        ("2008:4:2 9:2:7", datetime(2008, 4, 2, 9, 2, 7)),
        ("2008/04/12 09:12:07.5", datetime(2008, 4, 12, 9, 12, 7, 500_000)),
        ("2008:04:31 09:12:07", None),
        ("2008:04:12 25:12:07", None),
        ("2008:04:12", None),
        ("0000:00:00 00:00:00", None),
        ("    :  :     :  :  ", None),
        ("", None),
    ],
)
def test_a_date_in_exif_is_read_or_is_none(text: str, date: datetime | None) -> None:
    assert [found.at for found in dates(image_with({ORIGINAL: text}))] == ([date] if date else [])


def gps(at: datetime) -> dict[int, Any]:
    return {29: at.strftime("%Y:%m:%d"), 7: (at.hour, at.minute, IFDRational(at.second * 10, 10))}


def test_gps_gives_the_instant_where_no_clock_was_read() -> None:
    at = datetime(2018, 7, 4, 8, 15, 30)
    assert only(image_with({}, gps(at))) == Taken(at, "gps", INSTANT)


@pytest.mark.parametrize("hours", [-8, -3.5, 0, 2, 5.75, 14])
def test_gps_gives_the_offset_of_a_clock_that_does_not_say(hours: float) -> None:
    clock = datetime(2018, 7, 4, 10, 15, 30)
    fix = clock - timedelta(hours=hours, seconds=200)
    found, _ = dates(image_with({ORIGINAL: "2018:07:04 10:15:30"}, gps(fix)))
    assert (
        found.zone
        == f"{'-' if hours < 0 else '+'}{abs(int(hours)):02}:{int(abs(hours) % 1 * 60):02}"
    )


def test_a_fix_of_another_day_says_nothing_of_the_offset() -> None:
    fix = gps(datetime(1998, 11, 18, 8, 15, 30))
    assert dates(image_with({ORIGINAL: "2018:07:04 10:15:30"}, fix))[0].zone is None


@pytest.mark.parametrize(
    "broken",
    [
        {29: "2018:07:04"},
        {7: (8, 15, 30)},
        {29: "yesterday", 7: (8, 15, 30)},
        {29: "2018:07:04", 7: (IFDRational(8, 0), 15, 30)},
        {29: "2018:07:04", 7: (99, 99, 99)},
    ],
)
def test_a_broken_fix_is_none(broken: dict[int, Any]) -> None:
    assert dates(image_with({}, broken)) == []


def test_broken_exif_is_none() -> None:
    image = Image.new("L", (1, 1))
    image.info["exif"] = b"Exif\0\0garbage"
    assert dates(image) == []


@pytest.mark.parametrize(
    ("packet", "taken"),
    [
        (
            b"<x exif:DateTimeOriginal='2018-07-04T10:15:30.5+02:00'/>",
            Taken(datetime(2018, 7, 4, 10, 15, 30, 500_000), "xmp", "+02:00"),
        ),
        (
            b"<photoshop:DateCreated>2018-07-04</photoshop:DateCreated>",
            Taken(datetime(2018, 7, 4), "xmp", None, timedelta(days=1)),
        ),
        (
            b'<x xmp:CreateDate = "2018-07"/>',
            Taken(datetime(2018, 7, 1), "xmp", None, timedelta(31)),
        ),
        (
            b"<x photoshop:DateCreated='1987'/>",
            Taken(datetime(1987, 1, 1), "xmp", None, timedelta(365)),
        ),
    ],
)
def test_a_date_in_xmp_is_read(packet: bytes, taken: Taken) -> None:
    assert only(image_with({}, xmp=packet)) == taken


def test_xmp_says_last_what_it_says_of_the_file() -> None:
    packet = (
        b"<x xmp:CreateDate='2020-01-02' exif:DateTimeOriginal='2018-07-04' other='2000-01-01'/>"
    )
    assert [found.at.year for found in dates(image_with({}, xmp=packet))] == [2018, 2020]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_every_format_gives_its_exif_and_its_xmp(tmp_path: Path, suffix: str) -> None:
    tags = {ORIGINAL: "2018:07:04 10:15:30", OFFSETS[ORIGINAL]: "+02:00"}
    exif = Image.Exif()
    exif.load(image_with(tags).info["exif"])
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' exif:DateTimeOriginal='2019-01-02T03:04:05Z'/>"
    more: dict[str, Any] = {"xmp": packet}
    if suffix == ".png":
        more = {"pnginfo": PngImagePlugin.PngInfo()}
        more["pnginfo"].add_itxt("XML:com.adobe.xmp", packet.decode())
    if suffix == ".tif":
        exif[700] = packet
        more = {}
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif, **more)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert dates(image) == [
            Taken(datetime(2018, 7, 4, 10, 15, 30), "exif", "+02:00"),
            Taken(datetime(2019, 1, 2, 3, 4, 5), "xmp", "+00:00"),
        ]


@pytest.mark.parametrize(
    ("text", "at", "zone"),
    [
        ("Wed, 04 Jul 2018 10:15:30 +0200", datetime(2018, 7, 4, 10, 15, 30), "+02:00"),
        ("4 Jul 2018 10:15:30 GMT", datetime(2018, 7, 4, 10, 15, 30), "+00:00"),
        ("2018-07-04T10:15:30Z", datetime(2018, 7, 4, 10, 15, 30), "+00:00"),
        ("2018:07:04 10:15:30", datetime(2018, 7, 4, 10, 15, 30), None),
    ],
)
def test_the_creation_time_of_a_png_is_read(
    tmp_path: Path, text: str, at: datetime, zone: str | None
) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Creation Time", text)
    Image.new("L", (8, 8)).save(tmp_path / "a.png", pnginfo=texts)
    with Image.open(tmp_path / "a.png") as image:
        assert dates(image) == [Taken(at, "png", zone)]


@pytest.mark.parametrize(
    "text",
    ["long ago", "Thu, 01 Jan 2018 00:00:00 +99999999999999", f"Thu, 01 Jan {'9' * 20} 00:00:00"],
)
def test_a_creation_time_that_is_none_is_none(text: str) -> None:
    assert dates(image_with({}, **{"Creation Time": text})) == []


def test_the_last_year_that_there_is_costs_no_photo() -> None:
    packet = b"<x xmp:CreateDate='9999' photoshop:DateCreated='9999-12'/>"
    assert [(each.at.year, each.span.days) for each in dates(image_with({}, xmp=packet))] == [
        (9999, 31),
        (9999, 365),
    ]


@given(st.text(max_size=30), st.text(max_size=10), st.binary(max_size=60))
def test_whatever_stands_there_raises_nothing(text: str, offset: str, packet: bytes) -> None:
    tags = {ORIGINAL: text, DIGITIZED: packet, OFFSETS[ORIGINAL]: offset, 0x9291: text}
    image = Image.new("L", (1, 1))
    image.info = {"Creation Time": text, "xmp": b"xmp:CreateDate='" + packet, "exif": packet}
    assert all(isinstance(found.at, datetime) for found in dates(image))
    found = embedded._in_tags(embedded._ORIGINAL, tags, tags)
    assert found is None or isinstance(found.at, datetime)
