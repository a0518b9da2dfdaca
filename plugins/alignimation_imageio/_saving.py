"""How pictures are saved: as PNG and JPEG that say that they are sRGB, or as pages of a PDF."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin


def _srgb_chunk() -> PngImagePlugin.PngInfo:
    """Return what says in a PNG that it is sRGB, to be shown by perceptual intent."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", b"\0")
    return chunks


def _srgb_profile() -> bytes:
    """Return the profile that says in a JPEG that it is sRGB, without the time of its making."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07ce00020009000600310000")  # of sRGB itself, 1998
    profile[84:100] = bytes(16)  # its identity, a hash of the former
    return bytes(profile)


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    # level 9 saves a seventh for thirty times the time
    "png": (".png", {"compress_level": 1, "pnginfo": _srgb_chunk()}),
    "jpeg": (".jpg", {"quality": 92, "subsampling": 0, "icc_profile": _srgb_profile()}),
}


def save(picture: Image.Image, part: Path, path: str) -> None:
    """Save an RGB picture to ``part``, in the format of the ending of ``path``."""
    name = "png" if PurePosixPath(path).suffix.lower() == ".png" else "jpeg"
    picture.save(part, name, **FORMATS[name][1])
