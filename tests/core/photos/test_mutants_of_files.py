"""Files with bytes flipped, cut and spliced: none hangs, crashes or goes unreported."""

import io
import os
import random
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from alignimation_core import PhotoError
from alignimation_core.photos import decoder, metadata

FORMS = ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP", "JPEG2000", "PPM", "MPO"]
MANY = int(os.environ.get("FILE_MUTANTS", "2000"))
"""Mutants of the long test."""


@pytest.fixture(scope="module")
def whole():
    """A small picture in every format, with EXIF and a profile where it has room for them."""
    from PIL import ImageCms

    pillow_heif.register_heif_opener()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.effect_noise((96, 64), 60).convert("RGB")
    image.getexif()[0x0112] = 6
    written = {}
    for form in FORMS:
        data = io.BytesIO()
        image.save(data, form, exif=image.getexif().tobytes(), icc_profile=profile)
        written[form] = data.getvalue()
    progressive = io.BytesIO()
    image.save(progressive, "JPEG", progressive=True)
    packed = io.BytesIO()
    image.save(packed, "TIFF", compression="tiff_lzw")
    return [*written.values(), progressive.getvalue(), packed.getvalue()]


def mutant(data, others, chance):
    """Return a file with some bytes flipped, cut off, repeated or put in from another file."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(changed) if chance.random() < 0.5 else min(len(changed), 300))
        kind = chance.choice(("flip", "flip", "set", "cut", "repeat", "splice"))
        if kind == "flip":
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == "set":
            changed[at : at + 4] = chance.choice((b"\0" * 4, b"\xff" * 4, chance.randbytes(4)))
        elif kind == "cut":
            del changed[at : at + chance.choice((1, 4, 100, len(changed)))]
        elif kind == "repeat":
            changed[at:at] = changed[at : at + chance.randrange(1, 200)]
        else:
            other = chance.choice(others)
            start = chance.randrange(len(other))
            changed[at:at] = other[start : start + chance.randrange(1, 200)]
        if not changed:
            break
    return bytes(changed)


def check(folder, whole, count, seed):
    chance, path = random.Random(seed), folder / "mutant.jpg"
    read, reasons = 0, []
    for number in range(count):
        path.write_bytes(mutant(whole[number % len(whole)], whole, chance))
        try:
            photo = metadata.facts(path, folder)
            picture = decoder.read(photo, chance.choice((20, 96)))
        except PhotoError as error:
            reasons.append(error.reason)
        else:
            read += 1
            (x, _, _), (_, y, _), _ = picture.photo_from_picture
            height, width = picture.pixels.shape[-2:]
            assert x == y
            assert height * y >= photo.height
            assert (width - 1) * x < photo.width
    assert not [reason for reason in reasons if "crash" in reason or "takes" in reason]
    return read, len(reasons)


def test_mutants_are_read_or_refused(tmp_path, whole):
    read, refused = check(tmp_path, whole, 60, seed=1)
    assert read > 10
    assert refused > 5


@pytest.mark.slow
def test_many_mutants_are_read_or_refused_without_leaks(tmp_path, whole):
    descriptors = Path("/proc/self/fd")
    before = len([*descriptors.iterdir()]) if descriptors.exists() else 0
    read, refused = check(tmp_path, whole, MANY, seed=2)
    assert min(read, refused) > MANY // 10
    if before:
        assert len([*descriptors.iterdir()]) <= before + 8
