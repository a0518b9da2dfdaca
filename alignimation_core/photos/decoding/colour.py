"""Pixels of every mode and colour profile -> 8-bit sRGB."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageCms

if TYPE_CHECKING:
    import numpy as np

SAME = 2
"""Levels of 255 by which a profile may differ from sRGB and still be taken for it."""

_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
"""The colour space that a profile must be of, by the mode of the pixels."""

_BITS, _KIND, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_WHITE_IS_ZERO, _SIGNED = 0, 2  # values of the latter two


def srgb(image: Image.Image) -> np.ndarray:
    """Return the pixels of a picture of any kind in sRGB, as they are stored.

    Its embedded profile is followed, by relative colorimetric intent with black point compensation;
    one that is broken, or of another colour space, is ignored. Transparency is laid over white;
    grey of more than 8 bits is scaled to 8.

    Returns:
        (h, w, 3) uint8.
    """
    import numpy as np

    profile = image.info.get("icc_profile")
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in _SPACES:
        image = image.convert("RGB")
    image = _converted(image, profile)
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        white.alpha_composite(image)
        image = white
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def srgb_of_jpeg(pixels: np.ndarray, mode: str, profile: bytes | None) -> np.ndarray:
    """Return (h, w, 3) uint8 pixels in sRGB that libjpeg has decoded from a JPEG of a mode."""
    import numpy as np

    if not profile:
        return pixels
    if mode == "L" and _transform(profile, "L") is not None:
        return np.array(_converted(Image.fromarray(pixels[..., 0].copy()), profile))
    if _transform(profile, "RGB") is None:
        return pixels
    return np.array(_converted(Image.fromarray(pixels), profile))


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return a picture in sRGB where its profile, or its mode, tells another space."""
    if image.mode == "L" and profile and _space(profile) == "RGB":
        image = image.convert("RGB")
    transform = _transform(profile or b"", image.mode)
    if transform is None:
        return image
    converted: Image.Image | None = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


def _space(profile: bytes) -> str:
    return profile[16:20].decode("latin-1").strip()


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way from a profile to sRGB; None where there is none, or none is needed."""
    try:
        if mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif _space(profile) != _SPACES.get(mode):
            return None
        else:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGBA" if mode == "RGBA" else "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):  # whatever is wrong with it
        return None
    return None if mode in ("RGB", "RGBA") and _changes_nothing(transform, mode) else transform


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    import numpy as np

    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(27, 27, 3)
    sample = Image.fromarray(colours).convert(mode)
    after: Any = ImageCms.applyTransform(sample, transform)
    moved = np.asarray(after.convert("RGB")).astype(int) - colours
    return bool(abs(moved).max() <= SAME)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 or 32 bits, or of floating point, to 8 bits.

    Whole numbers fill the bits that the file says; of 32 bits, and of floating point, few do: there
    the scale is the least of 1, 255, 65535 and 2^31 - 1 that holds every value.
    """
    import numpy as np

    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
    bits = _bits_of(image)
    if bits < 31 and image.mode != "F":
        full = (1 << bits) - 1
    else:
        highest = float(values.max())
        scales = (1, 255, 65535) if image.mode == "F" else (255, 65535)
        full = next((scale for scale in scales if highest <= scale), (1 << 31) - 1)
    eight = np.floor(values.clip(0, full) * 255 / full + 0.5)
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_KIND) == _WHITE_IS_ZERO:  # which Pillow heeds up to 8 bits
        eight = 255 - eight
    result = Image.fromarray(eight.astype(np.uint8))
    result.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
    return result


def _bits_of(image: Image.Image) -> int:
    """Return how many bits the values of a grey picture fill, as its file says."""
    tags: Any = getattr(image, "tag_v2", None)
    if tags is not None and _BITS in tags:
        bits = int(tags[_BITS][0])
        return bits - 1 if tags.get(_SAMPLE_FORMAT, (1,))[0] == _SIGNED else bits
    return 16
