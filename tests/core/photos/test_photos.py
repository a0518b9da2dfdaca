import os
import struct
import warnings
import zlib
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from alignimation_core import PhotoError
from alignimation_core.photos import decoder, metadata, order, search

EXIF_POINTER, MODIFIED, ORIENTATION = 0x8769, 0x0132, 0x0112
INNER = {
    "original": 0x9003,
    "digitized": 0x9004,
    "subsecond": 0x9291,
    "digitized_subsecond": 0x9292,
    "modified_subsecond": 0x9290,
}


def picture(height: int = 24, width: int = 32) -> Image.Image:
    """A smooth picture in which every place has its own colour."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1)
    return Image.fromarray(rgb.astype(np.uint8))


def save(path: Path, image: Image.Image | None = None, **dates: str) -> Path:
    image = image or picture()
    exif = image.getexif()
    for name, value in dates.items():
        if name == "modified":
            exif[MODIFIED] = value
        else:
            exif.get_ifd(EXIF_POINTER)[INNER[name]] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif)
    return path


def test_facts_are_size_hash_and_date(tmp_path: Path) -> None:
    path = save(tmp_path / "a" / "one.jpg", original="2008:04:12 09:12:00")
    photo = metadata.facts(path, tmp_path)
    assert (photo.name, photo.height, photo.width) == ("a/one.jpg", 24, 32)
    assert (photo.taken, photo.taken_from) == (datetime(2008, 4, 12, 9, 12), "exif")
    assert len(photo.sha256) == 64


def test_exif_dates_come_in_order_of_trust(tmp_path: Path) -> None:
    every = {
        "original": "2008:01:01 00:00:00",
        "digitized": "2009:01:01 00:00:00",
        "modified": "2010:01:01 00:00:00",
    }
    years = []
    while every:
        photo = metadata.facts(save(tmp_path / "20110101.jpg", **every), tmp_path)
        years.append((photo.taken.year, photo.taken_from))
        every.pop(next(iter(every)))
    photo = metadata.facts(save(tmp_path / "20110101.jpg"), tmp_path)
    years.append((photo.taken.year, photo.taken_from))
    assert years == [(2008, "exif"), (2009, "exif"), (2010, "exif"), (2011, "name")]


@pytest.mark.parametrize(
    "date",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "2008:13:01 00:00:00",
        "1825:12:31 23:59:59",  # before the first photograph
        "2008:04:12",
    ],
)
def test_an_exif_date_that_is_none_falls_through_to_the_name(tmp_path: Path, date: str) -> None:
    photo = metadata.facts(save(tmp_path / "2012-05-06.jpg", original=date), tmp_path)
    assert (photo.taken, photo.taken_from) == (datetime(2012, 5, 6), "name")


@pytest.mark.parametrize(
    ("text", "fraction", "taken"),
    [
        ("1826:01:01 00:00:00", "0", datetime(1826, 1, 1)),
        ("2008-04-12T09:12:59", "5", datetime(2008, 4, 12, 9, 12, 59, 500_000)),
        ("2008:04:12 09:12:59+02:00", "1234567", datetime(2008, 4, 12, 9, 12, 59, 123_456)),
        ("2008:04:12 09:12:59", "  ", datetime(2008, 4, 12, 9, 12, 59)),
    ],
)
def test_exif_dates_of_every_form_are_read(
    tmp_path: Path, text: str, fraction: str, taken: datetime
) -> None:
    photo = metadata.facts(save(tmp_path / "a.jpg", original=text, subsecond=fraction), tmp_path)
    assert (photo.taken, photo.taken_from) == (taken, "exif")


def test_without_any_date_the_file_time_counts(tmp_path: Path) -> None:
    path = save(tmp_path / "IMG_2041.jpg")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    photo = metadata.facts(path, tmp_path)
    assert (photo.taken, photo.taken_from) == (datetime(2001, 9, 9, 1, 46, 40), "file")
    assert (photo.taken_zone, photo.modified) == ("UTC", photo.taken)


def test_a_burst_is_ordered_by_its_subseconds(tmp_path: Path) -> None:
    same = "2008:04:12 09:12:00"
    late = metadata.facts(save(tmp_path / "a.jpg", original=same, subsecond="75"), tmp_path)
    early = metadata.facts(save(tmp_path / "b.jpg", original=same, subsecond="250"), tmp_path)
    assert [photo.name for photo in order.order([late, early])] == ["b.jpg", "a.jpg"]


@pytest.mark.parametrize(
    ("dates", "second", "micro"),
    [
        (["original", "digitized", "modified"], 1, 250_000),
        (["digitized", "modified"], 2, 500_000),
        (["modified"], 3, 750_000),
    ],
)
def test_each_exif_date_has_the_subseconds_of_its_own(
    tmp_path: Path, dates: list[str], second: int, micro: int
) -> None:
    seconds = {"original": 1, "digitized": 2, "modified": 3}
    subseconds = {"subsecond": "25", "digitized_subsecond": "50", "modified_subsecond": "75"}
    written = {name: f"2008:04:12 09:12:0{seconds[name]}" for name in dates}
    photo = metadata.facts(save(tmp_path / "a.jpg", **written, **subseconds), tmp_path)
    assert photo.taken == datetime(2008, 4, 12, 9, 12, second, micro)


def test_photos_of_one_time_are_ordered_by_name_as_people_count(tmp_path: Path) -> None:
    same = "2008:04:12 09:12:00"
    taken = [
        metadata.facts(save(tmp_path / f"img{n}.jpg", original=same), tmp_path) for n in (10, 9, 1)
    ]
    assert [p.name for p in order.order(taken)] == ["img1.jpg", "img9.jpg", "img10.jpg"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_upright(tmp_path: Path, orientation: int) -> None:
    upright = picture()
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    stored = upright
    for turn in undo.get(orientation, []):
        stored = stored.transpose(turn)
    stored.getexif()[ORIENTATION] = orientation
    path = tmp_path / "turned.png"
    stored.save(path, exif=stored.getexif())
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (24, 32)
    pixels = decoder.load(path)
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.array(upright))


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_to_the_bit_what_pillow_makes_of_it(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    image = picture(123, 201).convert(mode)
    image.getexif()[ORIENTATION] = orientation
    path = tmp_path / "photo.jpg"
    image.save(path, exif=image.getexif(), quality=80)
    with Image.open(path) as opened:
        expected = ImageOps.exif_transpose(opened).convert("RGB")
    assert np.array_equal(decoder.load(path).permute(1, 2, 0).numpy(), np.array(expected))


def test_a_damaged_jpeg_is_read_where_pillow_reads_it_and_beyond_with_its_damage(
    tmp_path: Path,
) -> None:
    path, random = tmp_path / "photo.jpg", Random(5)
    picture(64, 96).save(path, progressive=True)
    whole = path.read_bytes()
    read = beyond = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[random.randrange(len(whole))] = random.randrange(256)
        path.write_bytes(damaged[: random.randrange(1, 4 * len(whole))])
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
                expected = np.array(ImageOps.exif_transpose(opened).convert("RGB"))
        except Exception:
            with suppress(PhotoError):
                assert decoder.read(path).damage is not None
                beyond += 1
        else:
            read += 1
            assert np.array_equal(decoder.load(path).permute(1, 2, 0).numpy(), expected)
    assert 50 < read < 150
    assert beyond > 10


def test_a_jpeg_with_a_harmless_fault_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    picture(64, 64).save(path)
    data = path.read_bytes()
    whole = decoder.load(path)
    tables = data.index(b"\xff\xdb")
    path.write_bytes(data[:tables] + b"\x00\x00\x00" + data[tables:])
    assert torch.equal(decoder.load(path), whole)


def test_a_turned_jpeg_reduced_while_decoding_is_upright_too(tmp_path: Path) -> None:
    stored = picture(480, 640).transpose(Image.Transpose.ROTATE_90)
    stored.getexif()[ORIENTATION] = 6
    path = tmp_path / "turned.jpg"
    stored.save(path, exif=stored.getexif(), quality=95)
    small = decoder.load(path, min_side=300)
    assert small.shape == (3, 240, 320)
    expected = torch.from_numpy(np.array(picture(240, 320))).permute(2, 0, 1)
    assert (small.int() - expected.int()).abs().max() <= 8


def test_a_reduced_photo_keeps_at_least_the_side_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    picture(600, 800).save(path)
    sides = [max(decoder.load(path, side).shape) for side in (50, 100, 101, 201, 399, 401, 2000)]
    assert sides == [100, 100, 200, 300, 400, 800, 800]


@pytest.mark.parametrize(
    ("mode", "fill", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("LA", (0, 255), (0, 0, 0)),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0)),
        ("1", 1, (255, 255, 255)),
        ("I;16", 32768, (128, 128, 128)),
    ],
)
def test_every_mode_becomes_rgb(
    tmp_path: Path, mode: str, fill: object, expected: tuple[int, ...]
) -> None:
    path = tmp_path / "mode.tif"
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), fill, np.uint16)).save(path)
    else:
        Image.new(mode, (4, 4), fill).save(path)  # type: ignore[arg-type]
    assert tuple(decoder.load(path)[:, 1, 2].tolist()) == expected


def test_what_cannot_be_read_says_why_and_what_to_do(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    raw = tmp_path / "shot.NEF"
    raw.write_bytes(b"raw")
    reasons = {}
    for path in (empty, text, raw, tmp_path / "gone.jpg"):
        with pytest.raises(PhotoError) as caught:
            decoder.load(path)
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        reasons[path.name] = caught.value.reason
    assert reasons == {
        "empty.jpg": "the file is empty; replace or remove it",
        "text.jpg": "this is a text file, no photo; replace or remove it",
        "shot.NEF": "this is a text file, no photo; replace or remove it",
        "gone.jpg": "the file is gone",
    }


def test_find_takes_folders_globs_and_files(tmp_path: Path) -> None:
    for name in ("b/10.jpg", "b/9.JPG", "b/deep/1.png", "b/notes.txt", "b/.hidden.jpg", "c.nef"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "b" / ".trash").mkdir()
    (tmp_path / "b" / ".trash" / "old.jpg").touch()
    output = tmp_path / "b" / "out"
    (output / "frames").mkdir(parents=True)
    (output / "frames" / "0001.png").touch()

    def names(pattern: str) -> list[str]:
        found, *_ = search.find(pattern, tmp_path, output)
        return [order.relative_name(path, tmp_path) for path in found]

    assert names("b") == ["b/10.jpg", "b/9.JPG", "b/deep/1.png"]
    assert names("b/*.jpg") == ["b/10.jpg"]
    assert names("b/**/*.png") == ["b/deep/1.png"]
    assert names("c.nef") == ["c.nef"]
    assert names(str(tmp_path / "b" / "deep")) == ["b/deep/1.png"]


def test_find_says_why_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    reasons = [search.find(p, tmp_path, tmp_path / "out").why for p in ("empty", "no", "*.jpg")]
    assert reasons[0] is not None
    assert reasons[0].startswith(f"the folder {tmp_path / 'empty'} holds no photos (.apng .avif")
    assert reasons[1:] == [
        f"{tmp_path / 'no'} does not exist",
        f"no file matches {tmp_path / '*.jpg'}",
    ]


def test_photos_in_linked_folders_are_found_once(tmp_path: Path) -> None:
    for name in ("all/a.jpg", "disk/2019/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "all" / "2019").symlink_to(tmp_path / "disk" / "2019")
    (tmp_path / "all" / "again").symlink_to(tmp_path / "disk" / "2019")
    (tmp_path / "disk" / "2019" / "up").symlink_to(tmp_path / "all")
    (tmp_path / "all" / "self").symlink_to(tmp_path / "all" / "self")
    found, *_ = search.find("all", tmp_path, "out")
    assert sorted(path.name for path in found) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("output", ["link/out", "real/out"])
@pytest.mark.parametrize("pattern", ["link/", "real", "link/**/*.png", "real/*/*/*.png"])
def test_frames_are_no_photos_whichever_way_leads_to_them(
    tmp_path: Path, output: str, pattern: str
) -> None:
    for name in ("real/in/a/1.png", "real/out/frames/0.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("real")
    for written in (pattern, str(tmp_path / pattern)):
        found, *_ = search.find(written, tmp_path, tmp_path / output)
        assert [path.name for path in found] == ["1.png"]


def test_brackets_in_the_recipes_folder_are_no_pattern(tmp_path: Path) -> None:
    for name in ("[ab]/in/mine.jpg", "a/in/other.jpg", "trip [2019]/in/mine.jpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for folder in ("[ab]", "trip [2019]"):
        found, *_ = search.find("in/*.jpg", tmp_path / folder, "out")
        assert found == [tmp_path / folder / "in" / "mine.jpg"]


def test_a_link_that_leads_nowhere_is_not_lost_in_silence(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    link = tmp_path / "photos" / "usb.jpg"
    link.symlink_to("/nowhere/usb.jpg")
    loop = tmp_path / "photos" / "loop.jpg"
    loop.symlink_to("loop.jpg")
    found, *_ = search.find("photos", tmp_path, tmp_path / "out")
    assert found == [loop, link]
    with pytest.raises(PhotoError, match="the link leads nowhere"):
        metadata.facts(link, tmp_path)
    with pytest.raises(PhotoError):
        metadata.facts(loop, tmp_path)


def test_a_folder_that_cannot_be_read_is_not_lost_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut = tmp_path / "photos" / "shut"
    shut.mkdir(parents=True)
    save(tmp_path / "photos" / "a.jpg")
    scandir = os.scandir

    def refuse(path: str | Path) -> object:  # as permissions do, which do not bind the superuser
        if Path(path) == shut:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found, *_ = search.find("photos", tmp_path, tmp_path / "out")
    assert found == [tmp_path / "photos" / "a.jpg", shut]
    with pytest.raises(PhotoError):
        metadata.facts(shut, tmp_path)
    found, _, why = search.find("photos/shut", tmp_path, tmp_path / "out")
    assert (found, why) == ([], f"the folder {shut} cannot be read: Permission denied")


def test_a_file_that_may_not_be_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.jpg")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PhotoError) as caught:
        decoder.load(path)
    assert caught.value.reason == (
        "the file cannot be read: Permission denied; give yourself leave to read it"
    )


def test_a_picture_beyond_what_pillow_reads_is_called_large(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("L", (1, 1)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    with pytest.raises(PhotoError) as caught:
        metadata.facts(path, tmp_path)
    assert caught.value.reason == (
        "the picture is too large: 179 megapixels is the most; export it smaller"
    )


def test_a_photo_beside_the_recipes_folder_is_named_from_there(tmp_path: Path) -> None:
    names = [
        order.relative_name(tmp_path / name, tmp_path / "trip")
        for name in ("trip/a.jpg", "trip/in/a.jpg", "trip2/a.jpg", "a.jpg")
    ]
    assert names == ["a.jpg", "in/a.jpg", "../trip2/a.jpg", "../a.jpg"]


def test_a_photo_is_decoded_no_larger_than_a_frame_needs_it(tmp_path: Path) -> None:
    path = tmp_path / "wide.jpg"
    picture(96, 800).save(path)
    photo = metadata.facts(path, tmp_path)
    frame_from_photo = torch.tensor([[0.1, 0, 5], [0, 0.1, 7], [0, 0, 1]], dtype=torch.float64)
    small, frame_from_picture = decoder.load_onto(photo, frame_from_photo)
    assert small.shape == (3, 12, 100)  # an eighth
    expected = torch.tensor([[0.8, 0, 5], [0, 0.8, 7], [0, 0, 1]])
    assert torch.allclose(frame_from_picture, expected.double())
    assert decoder.load_onto(photo, frame_from_photo, enough=2.0)[0].shape == (3, 24, 200)
    assert decoder.load_onto(photo, frame_from_photo * 100)[0].shape == (3, 96, 800)


def test_a_photo_may_be_named_by_a_string(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png")
    assert torch.equal(decoder.load(str(path)), decoder.load(path))


def test_what_is_no_file_is_told():
    message = "photo: expected a path or a Photo, got int"
    with pytest.raises(TypeError, match=f"^{message}$"):
        decoder.load(5)
