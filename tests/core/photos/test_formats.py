"""Every format of the table in docs/recipes.md, as other libraries write it."""

import re
from datetime import datetime
from io import BytesIO
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401
import pytest
import simplejpeg
import tifffile
import torch
from PIL import ExifTags, Image

from alignimation_core import PhotoError
from alignimation_core.photos import decoder, metadata

DOCS = Path(__file__).parents[3] / "docs" / "recipes.md"

Y, X = np.mgrid[:48, :64]
RGB = np.stack([4 * X, 5 * Y, 255 - 4 * X], -1).astype(np.uint8)
GREY = (4 * X).astype(np.uint8)


def by_pillow(form, image=None, **options):
    def write(path):
        (image or Image.fromarray(RGB)).save(path, form, **options)

    return write


def by_ffmpeg(path):
    picture = av.VideoFrame.from_ndarray(RGB)
    with av.open(str(path), "w", format="image2") as file:
        stream = file.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        file.mux(stream.encode(picture))
        file.mux(stream.encode(None))


def mpo(path):
    other = Image.new("RGB", (64, 48))
    Image.fromarray(RGB).save(path, "MPO", save_all=True, append_images=[other], quality=98)


def animated(form, **options):
    def write(path):
        other = Image.new("RGB", (64, 48))
        first = Image.fromarray(RGB)
        first.save(path, form, save_all=True, append_images=[other], duration=100, **options)

    return write


def pages(path):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[::2, ::2], photometric="rgb")


def heic(path):
    pillow_heif.from_pillow(Image.fromarray(RGB)).save(path, quality=95)


def jpeg(path):
    path.write_bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(RGB), 98))


def png_16(path):
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path, "PNG")


WRITERS = {
    "JPEG": jpeg,
    "JPEG in grey": by_pillow("JPEG", Image.fromarray(GREY), quality=98),
    "JPEG, progressive": by_pillow("JPEG", progressive=True, quality=98),
    "MPO": mpo,
    "PNG": by_ffmpeg,
    "PNG of 16 bits": png_16,
    "PNG with a palette": by_pillow("PNG", Image.fromarray(GREY).convert("P")),
    "APNG": animated("PNG"),
    "HEIC": heic,
    "AVIF": by_pillow("AVIF", quality=95),
    "WebP": lambda path: iio.imwrite(path, RGB, extension=".webp", lossless=True),
    "WebP, animated": animated("WEBP", lossless=True),
    "TIFF": lambda path: tifffile.imwrite(path, RGB, photometric="rgb"),
    "TIFF, compressed": lambda path: tifffile.imwrite(
        path, RGB, photometric="rgb", compression="deflate"
    ),
    "BigTIFF of pages": pages,
    "TIFF of 16 bits": lambda path: tifffile.imwrite(path, GREY.astype(np.uint16) * 257),
    "TIFF of floats": lambda path: tifffile.imwrite(path, GREY.astype(np.float32) / 255),
    "JPEG 2000": by_pillow("JPEG2000"),
    "GIF, animated": animated("GIF"),
    "BMP": lambda path: iio.imwrite(path, RGB, extension=".bmp"),
    "PPM": lambda path: path.write_bytes(b"P6 64 48 255\n" + RGB.tobytes()),
    "PGM of 16 bits": lambda path: path.write_bytes(
        b"P5 64 48 65535\n" + (GREY.astype(">u2") * 257).tobytes()
    ),
    "JPEG XL": by_pillow("JXL", lossless=True),
}


@pytest.mark.parametrize("name", ["photo.heic", "photo.jpg", "photo"])
@pytest.mark.parametrize("form", WRITERS)
def test_a_format_is_read_whatever_the_file_is_called(tmp_path, form, name):
    path = tmp_path / name
    WRITERS[form](tmp_path / "written")
    (tmp_path / "written").rename(path)
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (48, 64)
    found = decoder.load(photo).permute(1, 2, 0).numpy().astype(int)
    is_grey = np.abs(found[..., 0] - found[..., 1]).max() == 0
    truth = GREY[..., None] if is_grey else RGB
    error = np.abs(found - truth)
    assert error.mean() < (8 if form.startswith("GIF") else 2.5)


def test_a_tga_which_nothing_but_its_name_tells_is_read(tmp_path):
    path = tmp_path / "a.tga"
    Image.fromarray(RGB).save(path)
    assert np.array_equal(decoder.load(path).permute(1, 2, 0).numpy(), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_size_and_pixels_are_turned_alike(tmp_path, form, orientation):
    pillow_heif.register_heif_opener()
    image = Image.new("L", (64, 48))
    image.paste(255, (0, 0, 16, 16))  # top left, as it is stored
    image = image.convert("RGB")
    image.getexif()[0x0112] = orientation
    path = tmp_path / "a.jpg"
    image.save(path, form, exif=image.getexif().tobytes())
    photo = metadata.facts(path, tmp_path)
    assert (photo.width, photo.height) == ((48, 64) if orientation >= 5 else (64, 48))
    pixels = decoder.load(photo)
    assert pixels.shape == (3, photo.height, photo.width)
    bright = {
        (x, y)
        for x in (0, 1)
        for y in (0, 1)
        if pixels[0, (photo.height - 1) * y, (photo.width - 1) * x] > 200
    }
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    assert bright == {corners[(orientation - 1) % 4]}


@pytest.mark.parametrize("garbage", [b"garbage!", b"II*\0\xff\xff\xff\xff", bytes(8)])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
def test_exif_that_is_garbage_costs_no_photo(tmp_path, form, garbage):
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x010F] = "a maker of cameras"
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, form, exif=exif.tobytes())
    data, head = path.read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")[:8]
    assert data.count(head) == 1
    data = data.replace(head, garbage)
    path.write_bytes(data)
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (48, 64)
    found = decoder.load(photo).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - RGB).mean() < 5


def dng(path, preview=None):
    """Write a small DNG: red under a Bayer pattern, and before it a blue preview of some size."""
    mosaic = np.zeros((48, 64), np.uint16)
    mosaic[::2, ::2] = 40_000
    pattern = [
        (33421, "H", 2, (2, 2), False),  # CFARepeatPatternDim
        (33422, "B", 4, (0, 1, 1, 2), False),  # CFAPattern
    ]
    camera = [
        (50706, "B", 4, (1, 4, 0, 0), False),  # DNGVersion
        (50708, "s", 0, "Test", False),  # UniqueCameraModel
        (50721, "2i", 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), False),
        (50728, "2I", 3, (1, 1, 1, 1, 1, 1), False),  # AsShotNeutral
    ]
    with tifffile.TiffWriter(path) as file:
        if preview is None:
            file.write(mosaic, photometric=32803, extratags=camera + pattern)
            return
        jpeg = BytesIO()
        Image.new("RGB", preview, (10, 20, 240)).save(jpeg, "JPEG", quality=95)
        content = np.frombuffer(jpeg.getvalue(), np.uint8)[None]
        file.write(content, photometric="minisblack", subifds=1, subfiletype=1, extratags=camera)
        file.write(mosaic, photometric=32803, subfiletype=0, extratags=pattern)
    width, height = preview
    told = {"ImageWidth": width, "ImageLength": height, "RowsPerStrip": height, "Compression": 7}
    told |= {"PhotometricInterpretation": 6, "SamplesPerPixel": 3}
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in told.items():
            file.pages[0].tags[name].overwrite(value)


@pytest.mark.parametrize(
    ("preview", "size", "blue"), [((64, 48), (64, 48), True), ((20, 15), (64, 48), False)]
)
def test_the_preview_of_a_camera_raw_is_used_where_it_is_large_enough(
    tmp_path, preview, size, blue
):
    dng(tmp_path / "shot.dng", preview)
    photo = metadata.facts(tmp_path / "shot.dng", tmp_path)
    assert (photo.width, photo.height) == size
    assert torch.equal(decoder.load(photo)[:, 20, 20].byte(), torch.tensor([10, 20, 240])) == blue


@pytest.mark.parametrize("name", ["shot.dng", "shot.tif"])
def test_a_camera_raw_without_a_preview_is_developed(tmp_path, name):
    path = tmp_path / name
    dng(path)
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == (48, 64)
    red, green, blue = decoder.load(photo)[:, 8:40, 8:56].float().mean((1, 2)).tolist()
    assert red > 2 * max(green, blue)


@pytest.mark.parametrize(
    ("module", "write", "reason"),
    [
        ("pillow_jxl", WRITERS["JPEG XL"], "JPEG XL needs one more package: pip install 'ali"),
        ("rawpy", dng, "camera raw needs one more package: pip install"),
    ],
)
def test_a_missing_package_is_named(tmp_path, monkeypatch, module, write, reason):
    path = tmp_path / "a.jpg"
    write(path)
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(PhotoError) as caught:
        metadata.facts(path, tmp_path)
    assert caught.value.reason.startswith(reason)


def test_the_docs_name_every_format():
    table = re.findall(r"^\| (.+?) \|", DOCS.read_text().partition("## Formats")[2], re.MULTILINE)
    named = {name for row in table for name in re.split(", ", row)}
    ours = {re.split(",| of | in | with ", form)[0] for form in WRITERS}
    assert ours <= named | {"BigTIFF"}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_the_date_of_every_format_is_read(tmp_path, form):
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = "2018:07:04 10:15:30"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.OffsetTimeOriginal] = "+02:00"
    Image.fromarray(RGB).save(tmp_path / "photo", form, exif=exif.tobytes())
    photo = metadata.facts(tmp_path / "photo", tmp_path)
    assert photo.taken == datetime(2018, 7, 4, 10, 15, 30)
    assert (photo.taken_from, photo.taken_zone) == ("exif", "+02:00")
