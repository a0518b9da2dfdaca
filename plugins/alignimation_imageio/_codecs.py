"""Codecs of videos: which files hold them, which of ffmpeg's encoders writes them, and how."""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Literal

from alignimation_imageio._encoder import Encoder
from alignimation_imageio._options import one_of

Codec = Literal["h264", "h265", "av1", "vp9", "prores"]

CONTAINERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
SUFFIXES: dict[Codec, tuple[str, ...]] = {
    "h264": (".mp4", ".mov", ".mkv"),
    "h265": (".mp4", ".mov", ".mkv"),
    "av1": (".mp4", ".mkv", ".webm"),
    "vp9": (".mp4", ".mkv", ".webm"),
    "prores": (".mov", ".mkv"),
}
CRF: dict[Codec, int] = {"h264": 18, "h265": 22, "av1": 28, "vp9": 18}
"""Constant rate factors of about the same look."""
_ENCODERS: dict[Codec, str] = {
    "h264": "libx264",
    "h265": "libx265",
    "av1": "libsvtav1",
    "vp9": "libvpx-vp9",
    "prores": "prores_ks",
}


def usual(path: str) -> Codec:
    """Return the codec of a file's ending."""
    return "vp9" if PurePosixPath(path).suffix.lower() == ".webm" else "h264"


def check(codec: Codec, path: str) -> None:
    """Check that a file can hold a codec, and that this ffmpeg has it.

    Raises:
        ValueError: it cannot, or has not; the message says which can, or which it has.
    """
    suffix = PurePosixPath(path).suffix.lower()
    if suffix not in SUFFIXES[codec]:
        wanted = one_of(SUFFIXES[codec])
        raise ValueError(f"{codec} cannot be in a {suffix}; let the path end in {wanted}")
    check_available(codec)


def check_available(codec: Codec) -> None:
    """Check that this ffmpeg has a codec; raises ``ValueError`` otherwise."""
    import av

    available = [each for each, name in _ENCODERS.items() if name in av.codecs_available]
    if codec not in available:
        has = ", ".join(available) or "none of those that this writes"
        raise ValueError(f"this ffmpeg cannot write {codec}; it has {has}")


def encoder(codec: Codec, path: str, crf: int, alpha: bool, matte: str) -> Encoder:
    """Return how to write a codec to a file; ``crf`` means nothing to ProRes."""
    suffix = PurePosixPath(path).suffix.lower()
    container = CONTAINERS[suffix]
    index_first = {"movflags": "+faststart"} if suffix in (".mp4", ".mov") else {}
    # x264 and x265 write other bytes with another number of threads
    options = {"crf": str(crf), "threads": "4"}
    pixel_format, transparent, tag = "yuv420p", False, None
    match codec:
        case "h264":
            # Every frame is another photo: nothing can be predicted from two sides, and little by
            # parts of a block. Measured on photos of 12 megapixels at 1080x810: 7 % larger and
            # 0.3 dB less than x264's defaults, in a quarter of the time.
            options |= {"preset": "veryfast", "bf": "0", "x264-params": "partitions=i4x4,i8x8"}
        case "h265":
            # info=0: without x265's version and options
            quiet = "log-level=error:info=0:pools=4:frame-threads=2"
            options = {"crf": str(crf), "preset": "fast", "x265-params": quiet}
            tag = None if suffix == ".mkv" else "hvc1"  # Apple's players want this name
        case "av1":
            os.environ.setdefault("SVT_LOG", "1")  # errors alone; else it tells of itself on stderr
            options = {"crf": str(crf), "preset": "8"}
        case "vp9":
            # without b=0, crf would be an upper bound; alternative references exclude transparency
            options |= {"b": "0", "cpu-used": "4", "row-mt": "1"}
            transparent = alpha and suffix == ".webm"
            options |= {"auto-alt-ref": "0"} if transparent else {}
            pixel_format = "yuva420p" if transparent else "yuv420p"
        case "prores":
            # 422 HQ, or 4444 where frames are transparent
            transparent = alpha
            pixel_format = "yuva444p10le" if alpha else "yuv422p10le"
            options = {"profile": "4" if alpha else "3", "vendor": "apl0", "threads": "4"}
    return Encoder(
        container,
        _ENCODERS[codec],
        pixel_format,
        options,
        index_first,
        step=2,
        matte=None if transparent else matte,
        tag=tag,
    )


def audio_codec(codec: Codec, path: str) -> str:
    """Return ffmpeg's name of what sound is encoded as, beside a codec, in a file."""
    if codec == "prores":
        return "pcm_s16le"
    return "libopus" if PurePosixPath(path).suffix.lower() == ".webm" else "aac"
