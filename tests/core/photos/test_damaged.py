"""Files that are damaged, made to harm, or no photos at all."""

import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import torch
from PIL import Image, PngImagePlugin

from alignimation_core import PhotoError
from alignimation_core.api.data import Damage
from alignimation_core.photos import decoder, image_file, metadata
from alignimation_core.photos.decoding import sandbox

pillow_heif.register_heif_opener()  # which also writes it


def noise(height=240, width=320):
    """A picture with nothing grey in it, that compresses to some kilobytes."""
    small = np.random.default_rng(3).integers(0, 90, (height // 16, width // 16, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def encoded(form, image=None, **options):
    data = io.BytesIO()
    (image or noise()).save(data, form, **options)
    return data.getvalue()


def reason_of(path):
    with pytest.raises(PhotoError) as caught:
        decoder.load(path)
    return caught.value.reason


def at(tmp_path, data, name="a.jpg"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_last_bytes_is_whole(tmp_path, progressive):
    data = encoded("JPEG", progressive=progressive)
    whole = decoder.load(at(tmp_path, data))
    found = decoder.read(at(tmp_path, data[:-2]))
    assert torch.equal(found.pixels, whole)
    assert found.damage == Damage("the end of the file is missing")


@pytest.mark.parametrize("side", [320, 150, 30])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_what_is_missing_of_a_jpeg_is_told(tmp_path, side, orientation, end):
    image = noise()
    image.getexif()[0x0112] = orientation
    data = encoded("JPEG", image, exif=image.getexif(), subsampling=0)
    path = at(tmp_path, data[: len(data) * 6 // 10] + end)
    picture = decoder.read(path, side)
    assert picture.damage is not None
    assert picture.damage.reason == (
        "a part of the file is damaged" if end else "the end of the file is missing"
    )
    (scale, _, x), (_, _, y), _ = picture.photo_from_picture
    missing = (picture.pixels == 128).all(0)
    told = torch.zeros_like(missing)
    for x0, y0, x1, y1 in picture.damage.lost:
        left, right = (round((side - x) / scale) for side in (x0, x1))
        top, bottom = (round((side - y) / scale) for side in (y0, y1))
        told[top:bottom, left:right] = True
    assert torch.equal(told, missing)
    assert 0.25 < told.float().mean() < 0.5


def test_what_is_told_of_a_damaged_jpeg_that_can_be_resumed_is_missing(tmp_path):
    data = bytearray(encoded("JPEG", restart_marker_rows=1))
    whole = decoder.load(at(tmp_path, data))
    marker = data.index(b"\xff\xd3")  # after rows of 16 pixels, four of them
    data[marker + 20 : marker + 24] = b"\xff\xc9\xff\xc9"
    picture = decoder.read(at(tmp_path, bytes(data)))
    assert picture.damage is not None
    assert picture.damage.reason == "a part of the file is damaged"
    told = torch.zeros(240, 320, dtype=torch.bool)
    for x0, y0, x1, y1 in picture.damage.lost:
        told[int(y0) : int(y1), int(x0) : int(x1)] = True
    assert (picture.pixels[:, told] == 128).all()
    assert told[88:].all()
    assert not told[:64].any()
    assert torch.equal(picture.pixels[:, :63], whole[:, :63])


@pytest.mark.parametrize("name", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_half_a_picture_is_used_as_far_as_it_goes(tmp_path, name):
    data = encoded(name)
    whole = decoder.load(at(tmp_path, data))
    picture = decoder.read(at(tmp_path, data[: len(data) * 6 // 10]))
    assert picture.damage is not None
    assert picture.damage.reason == "the end of the file is missing"
    ((x0, y0, x1, y1), *_) = picture.damage.lost
    assert (x0, x1) == (0, 320)
    if name == "BMP":  # from the bottom up
        assert y0 == 0
        assert torch.equal(picture.pixels[:, int(y1) + 2 :], whole[:, int(y1) + 2 :])
        return
    assert y1 == 240
    if name == "GIF":  # whose lines do not come in order
        assert y0 == 0
        return
    assert 80 < y0 < 200
    assert torch.equal(picture.pixels[:, : int(y0) - 2], whole[:, : int(y0) - 2])


def test_a_png_with_a_long_text_is_whole(tmp_path):
    for compress in (False, True):
        info = PngImagePlugin.PngInfo()
        info.add_text("comment", "x" * 3_000_000, zip=compress)
        data = encoded("PNG", pnginfo=info)
        picture = decoder.read(at(tmp_path, data))
        assert np.array_equal(picture.pixels.permute(1, 2, 0).numpy(), np.array(noise()))
        assert picture.damage is None


def test_a_png_with_a_wrong_checksum_beside_the_picture_is_whole(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "hello")
    data = encoded("PNG", pnginfo=info).replace(b"hello", b"hullo")
    picture = decoder.read(at(tmp_path, data))
    assert np.array_equal(picture.pixels.permute(1, 2, 0).numpy(), np.array(noise()))


def test_exif_behind_the_picture_of_a_png_counts_without_decoding_it(tmp_path, monkeypatch):
    image = noise()
    image.getexif()[0x0112] = 6
    data = encoded("PNG", image, exif=image.getexif())
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4])
    last = data.index(b"IEND") - 4
    moved = data[:start] + data[end:last] + data[start:end] + data[last:]
    path = at(tmp_path, moved, "a.png")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (320, 240)
    monkeypatch.undo()
    assert decoder.load(photo).shape == (3, 320, 240)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_exif_that_is_garbage_is_ignored(tmp_path, form):
    image = noise()
    image.getexif()[0x0132] = "2008:04:12 09:12:00"
    data = encoded(form, image, exif=image.getexif().tobytes())
    assert data.count(b"MM\0*") == 1
    path = at(tmp_path, data.replace(b"MM\0*", b"xxxx"))
    assert metadata.facts(path, tmp_path).width == 320
    assert decoder.load(path).shape == (3, 240, 320)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty; replace or remove it"),
        (b"PK\x03\x04" + bytes(40), "this is a ZIP archive, no photo; replace or remove it"),
        (
            b"\0\0\0\x18ftypisom\0\0\2\0isommp42" + bytes(99),
            "this is an MP4 film, no photo; replace or remove it",
        ),
        (
            b"\0\0\0\x14ftypqt  \0\0\2\0qt  " + bytes(99),
            "this is a QuickTime film, no photo; replace or remove it",
        ),
        (b"%!PS-Adobe-3.0", "this is a PostScript drawing, no photo; replace or remove it"),
        (b"<!DOCTYPE html><p>", "this is a web page, no photo; replace or remove it"),
        (b"hello\nworld", "this is a text file, no photo; replace or remove it"),
        (bytes(range(256)), "this is no picture of a format that is known; replace or remove it"),
        (
            encoded("PNG")[:30],
            "this is a broken PNG, of which nothing can be read; replace or remove it",
        ),
        (encoded("JPEG")[:30], "the JPEG is damaged and cannot be decoded; replace or remove it"),
        (
            b"raw pixels \xff of some camera",
            "this is no picture of a format that is known; replace or remove it",
        ),
        (
            encoded("WEBP")[:-2000],
            "the WebP is damaged and cannot be decoded; replace or remove it",
        ),
    ],
)
def test_what_is_no_photo_is_called_what_it_is(tmp_path, data, reason):
    assert reason_of(at(tmp_path, data)) == reason


def test_an_archive_is_called_so_whatever_its_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.heic", "w") as archive:
        archive.writestr("a.txt", "a")
    assert reason_of(tmp_path / "a.heic") == (
        "this is a ZIP archive, no photo; replace or remove it"
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_a_link_to_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.jpg").symlink_to("pipe")
    assert reason_of(tmp_path / "a.jpg") == "this is a device or a pipe, no file; remove it"


def test_a_jpeg_with_a_gigabyte_behind_its_picture_is_not_read_whole(tmp_path, monkeypatch):
    path = at(tmp_path, encoded("JPEG"))
    whole = decoder.load(path)
    with path.open("r+b") as stream:
        stream.truncate(1 << 32)  # a hole: takes no room on the disk
    read = []

    class Watched(io.BufferedReader):
        def read(self, size=-1):
            read.append(super().read(size))
            return read[-1]

    opening = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode: Watched(opening(path, mode).detach()))
    assert torch.equal(decoder.load(path), whole)
    assert max(map(len, read)) < 20_000_000


def giant(tmp_path, width, height):
    """Return a JPEG that says to be far larger than it is."""
    data = bytearray(encoded("JPEG", Image.new("L", (64, 64), 90)))
    at_size = data.index(b"\xff\xc0") + 5
    data[at_size : at_size + 4] = struct.pack(">HH", height, width)
    return at(tmp_path, bytes(data))


def test_a_jpeg_beyond_200_megapixels_is_reduced(tmp_path):
    path = tmp_path / "a.jpg"
    Image.new("L", (16_320, 12_240), 90).save(path)
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (12_240, 16_320)
    picture = decoder.read(photo, 2000)
    assert picture.pixels.shape == (3, 1530, 2040)
    assert picture.pixels[:, 700, 900].tolist() == [90] * 3


def test_limits_of_pixels_and_of_bytes_are_said(tmp_path, monkeypatch):
    assert reason_of(giant(tmp_path, 65_000, 65_000)) == (
        "the picture is too large: 1000 megapixels is the most; export it smaller"
    )
    monkeypatch.setattr(image_file, "LARGEST_FILE", 1000)
    assert reason_of(at(tmp_path, encoded("PNG"))) == (
        "the file is too large: 1 GB is the most; export it smaller"
    )
    assert decoder.load(at(tmp_path, encoded("JPEG"))).shape == (3, 240, 320)


def test_a_decoder_that_takes_too_long_or_crashes_costs_its_photo_alone(tmp_path, monkeypatch):
    path = at(tmp_path, encoded("TIFF"))
    whole = decoder.load(path)
    hanging = "import sys; sys.stdin.readline(); import time; time.sleep(60)"
    crashing = "import os, sys; sys.stdin.readline(); os.abort()"
    started = subprocess.Popen
    for code, seconds, reason in (
        (hanging, 0.5, "decoding it takes more than 0 s; export it as JPEG, or remove it"),
        (crashing, 60, "the file makes its decoder crash; replace or remove it"),
    ):
        sandbox.POOL.close()
        monkeypatch.setattr(sandbox, "SECONDS", seconds)
        monkeypatch.setattr(
            subprocess,
            "Popen",
            lambda command, *given, code=code, **named: started(
                [sys.executable, "-c", code], *given, **named
            ),
        )
        assert reason_of(path) == reason
        monkeypatch.undo()
        assert torch.equal(decoder.load(path), whole)


def test_a_decoder_that_somebody_ended_is_no_fault_of_the_next_photo(tmp_path, monkeypatch):
    sandbox.POOL.close()
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda *given, **named: started.append(start(*given, **named)) or started[-1],
    )
    path = at(tmp_path, encoded("TIFF"))
    whole = decoder.load(path)
    (process,) = started
    process.kill()
    process.wait()
    assert torch.equal(decoder.load(path), whole)


def test_a_decoder_that_eats_memory_is_stopped(tmp_path, monkeypatch):
    sandbox.POOL.close()
    monkeypatch.setattr(sandbox, "MEMORY", 1 << 30)
    path = tmp_path / "a.tif"
    Image.new("RGBA", (13_000, 13_000)).save(path, compression="tiff_lzw")
    assert reason_of(path) == "decoding it takes too much memory; export it smaller, as JPEG"
    sandbox.POOL.close()


def test_a_forked_process_starts_decoders_of_its_own(tmp_path):
    path = at(tmp_path, encoded("TIFF"))
    decoder.load(path)
    code = (
        "import os, sys; from alignimation_core.photos import decoder; decoder.load(sys.argv[1]);"
        "child = os.fork(); decoder.load(sys.argv[1]); child and os.waitpid(child, 0)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code, path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_libraries_say_of_a_file_is_not_shown(tmp_path, capfd):
    data = encoded("TIFF", compression="tiff_lzw")
    at_strip = data.index(b"\x80", 8)
    decoder_says = data[:at_strip] + b"\xff" * 300 + data[at_strip + 300 :]
    path = at(tmp_path, decoder_says)
    assert reason_of(path) == "the TIFF is damaged and cannot be decoded; replace or remove it"
    assert capfd.readouterr() == ("", "")


def test_a_png_whose_picture_is_damaged_is_used_as_far_as_it_goes(tmp_path):
    data = bytearray(encoded("PNG"))
    whole = decoder.load(at(tmp_path, data))
    middle = data.index(b"IDAT") + 4 + (len(data) // 2)
    data[middle] ^= 255
    picture = decoder.read(at(tmp_path, bytes(data)))
    assert picture.damage is not None
    ((x0, y0, x1, y1),) = picture.damage.lost
    assert (x0, x1, y1) == (0, 320, 240)
    assert 100 < y0 < 140
    assert torch.equal(picture.pixels[:, : int(y0) - 1], whole[:, : int(y0) - 1])
    assert not picture.pixels[:, int(y0) :].any()


def test_a_subject_is_lost_where_damage_touches_its_box():
    damage = Damage("cut", ((0, 100, 50, 120), (0, 120, 200, 200)))
    assert damage.reason_against((10, 10, 60, 101))
    assert not damage.reason_against((10, 10, 60, 100))
    assert not damage.reason_against((50, 10, 60, 120))
    assert damage.reason_against((50, 10, 60, 121))
    assert not Damage("end").reason_against((0, 0, 1e9, 1e9))
