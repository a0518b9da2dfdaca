"""Whether colours come as a viewer shows them: profiles, inks, grey of many bits."""

import importlib.util
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from alignimation_core import PhotoError
from alignimation_core.photos import decoder

SPEC = importlib.util.spec_from_file_location("profiles", Path(__file__).with_name("profiles.py"))
profiles = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(profiles)

# the corners of sRGB in Display P3, from the primaries and white of both
IN_P3 = {(234, 51, 35): (255, 0, 0), (117, 251, 76): (0, 255, 0), (0, 0, 245): (0, 0, 255),
         (128, 128, 128): (128, 128, 128), (200, 100, 50): (215, 93, 31)}  # fmt: skip


def shown(path):
    """Return the colour in the middle of a photo."""
    pixels = decoder.load(path)
    return pixels[:, pixels.shape[1] // 2, pixels.shape[2] // 2].numpy().astype(int)


def saved(path, image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "webp", "tif", "jpg", "avif"])
@pytest.mark.parametrize(("stored", "right"), IN_P3.items())
def test_a_profile_is_followed(tmp_path, suffix, stored, right):
    options = {"icc_profile": profiles.DISPLAY_P3}
    options |= {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {"quality": 100})
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (64, 48), stored), **options)
    assert np.abs(shown(path) - right).max() <= 3


def test_a_profile_is_followed_when_a_jpeg_is_reduced_and_turned(tmp_path):
    image = Image.new("RGB", (640, 480), (234, 51, 35))
    image.getexif()[0x0112] = 6
    path = saved(tmp_path / "a.jpg", image, icc_profile=profiles.DISPLAY_P3, exif=image.getexif())
    pixels = decoder.load(path, 100)
    assert pixels.shape == (3, 160, 120)
    assert np.abs(pixels[:, 50, 50].numpy().astype(int) - (255, 0, 0)).max() <= 3


def test_transparency_stays_beside_a_profile(tmp_path):
    image = Image.new("RGBA", (8, 8), (234, 51, 35, 0))
    image.paste((234, 51, 35, 255), (4, 0, 8, 8))
    path = saved(tmp_path / "a.png", image, icc_profile=profiles.DISPLAY_P3)
    pixels = decoder.load(path).numpy().astype(int)
    assert np.abs(pixels[:, 4, 6] - (255, 0, 0)).max() <= 1
    assert pixels[:, 4, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_grey_has_profiles_too(tmp_path, suffix):
    image = Image.new("L", (16, 16), 128)
    path = saved(tmp_path / f"a.{suffix}", image, icc_profile=profiles.LINEAR_GREY)
    assert np.abs(shown(path) - 188).max() <= 1  # half of the light
    path = saved(path, image.convert("RGB"), icc_profile=profiles.LINEAR_GREY)
    assert shown(path).tolist() == [128] * 3  # of another colour space: no use
    path = saved(path, image, icc_profile=profiles.DISPLAY_P3)
    assert shown(path).tolist() == [128] * 3


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_inks_are_converted_by_their_profile(tmp_path, suffix):
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    path = saved(tmp_path / f"a.{suffix}", image, icc_profile=profiles.INKS)
    assert np.abs(shown(path) - 119).max() <= 3  # L* = 50
    assert np.abs(shown(saved(path, image)) - (0, 255, 255)).max() <= 3


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize(
    "broken",
    [b"no profile", profiles.DISPLAY_P3[:200], profiles.DISPLAY_P3[:100] + bytes(500)],
)
def test_a_broken_profile_is_no_reason_to_lose_a_photo(tmp_path, suffix, broken):
    path = saved(tmp_path / f"a.{suffix}", Image.new("RGB", (8, 8), "white"), icc_profile=broken)
    assert shown(path).tolist() == [255] * 3


def test_pixels_that_are_srgb_already_are_not_touched(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path / "a.png", Image.fromarray(noise), icc_profile=own)
    assert np.array_equal(decoder.load(path).permute(1, 2, 0).numpy(), noise)


def test_lab_becomes_srgb(tmp_path):
    path = saved(tmp_path / "a.tif", Image.new("LAB", (8, 8), (136, 128, 128)))
    assert np.abs(shown(path) - 126).max() <= 3  # L* = 53.3


def test_adobes_inverted_inks_are_the_right_way_round(tmp_path):
    path = saved(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)))
    data = path.read_bytes()
    assert b"Adobe" in data  # such as Pillow and Photoshop write: 255 is no ink
    assert np.abs(shown(path) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("values", "mode"),
    [
        (np.array([[0, 32768, 65535]], np.uint16), "16 bits"),
        (np.array([[0, 32768, 65535]], np.int32), "32 bits, few used"),
        (np.array([[0, 2**30, 2**31 - 1]], np.int32), "32 bits"),
        (np.array([[0, 0.5, 1]], np.float32), "share of white"),
        (np.array([[0, 127.5, 255]], np.float32), "float of a byte"),
        (np.array([[np.nan, 0.5, 1]], np.float32), "no number"),
        (np.array([[-1, 0.5, 1]], np.float32), "less than black"),
    ],
)
def test_grey_of_many_bits_and_of_floats_is_scaled(tmp_path, values, mode):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values)
    found = decoder.load(path)[:, 0].tolist()
    assert found[0] in ([0, 127, 255], [0, 128, 255]), mode
    assert found[1:] == found[:1] * 2


def test_a_sound_tiff_that_is_not_read_is_not_called_broken(tmp_path):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((8, 8, 3), np.float32), photometric="rgb")
    with pytest.raises(PhotoError, match="or of a kind that is not read; export it as JPEG, or"):
        decoder.load(path)


@pytest.mark.parametrize("dtype", ["<u1", "<u2", ">u2"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_channels_may_lie_apart(tmp_path, dtype, compression):
    import tifffile

    path = tmp_path / "a.tif"
    most = np.iinfo(dtype).max
    planes = np.array([[[0, 0]], [[0, most]], [[most, most]]], dtype)  # blue, then cyan
    how = {"planarconfig": "separate", "compression": compression, "byteorder": dtype[0]}
    tifffile.imwrite(path, planes, photometric="rgb", **how)
    assert decoder.load(path)[:, 0].T.tolist() == [[0, 0, 255], [0, 255, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_scan_in_which_white_is_zero_is_no_negative(tmp_path, dtype):
    import tifffile

    path = tmp_path / "a.tif"
    values = np.array([[0, np.iinfo(dtype).max]], dtype)
    tifffile.imwrite(path, values, photometric="miniswhite")
    assert decoder.load(path)[0, 0].tolist() == [255, 0]


@pytest.mark.parametrize("most", [65535, 4095, 1000])
def test_a_pgm_of_16_bits_is_scaled_by_its_own_white(tmp_path, most):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 3 1 %d\n" % most + np.array([0, most // 2, most], ">u2").tobytes())
    assert decoder.load(path)[0, 0].tolist() in ([0, 127, 255], [0, 128, 255])


def test_profiles_are_found_in_every_segment_of_a_jpeg(tmp_path):
    long = profiles.profile(
        b"RGB ",
        b"XYZ ",
        {
            b"desc": b"text" + bytes(100_000),
            b"wtpt": profiles.WHITE,
            b"rXYZ": profiles.xyz(0.51512, 0.24120, -0.00105),
            b"gXYZ": profiles.xyz(0.29198, 0.69225, 0.04189),
            b"bXYZ": profiles.xyz(0.15710, 0.06657, 0.78407),
            **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), profiles.SRGB_CURVE),
        },
    )
    data = BytesIO()
    Image.new("RGB", (16, 16), (234, 51, 35)).save(data, "JPEG", icc_profile=long, quality=100)
    path = tmp_path / "a.jpg"
    path.write_bytes(data.getvalue())
    assert np.abs(shown(path) - (255, 0, 0)).max() <= 3
