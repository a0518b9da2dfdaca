"""Renderers: the aligned frames as a video, an animation, a folder of pictures, or one picture.

Video, GIF and WebP are encoded through PyAV, the ffmpeg behind imageio's ``pyav`` plugin; single
pictures are written through imageio itself. Every renderer holds one frame at a time, beside what
its encoder keeps for looking ahead, and writes the same bytes for the same frames.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from alignimation_core import Canvas, OutputError, Renderer, Writer, hookimpl
from alignimation_core.api.stages import RecipePath
from alignimation_imageio import _codecs
from alignimation_imageio._codecs import Codec
from alignimation_imageio._encoder import Encoder
from alignimation_imageio._options import Matte, Metadata, Width, with_suffix
from alignimation_imageio._stills import Average, BeforeAfter, ContactSheet

Loop = Annotated[
    int, Field(description="how many times the animation plays; 0: forever", ge=0, le=65535)
]


USUAL_FPS = 12.0
SLOWEST, FASTEST = 0.01, 120.0
"""Frames a second of a video."""
SHORTEST = 0.01
"""Seconds of a video, of one photo alone."""
SMOOTH = 30.0
"""Frames a second, at least, of a video whose length is given."""
MOST_WEBP = 16383
"""Pixels on a side of a WebP."""


class _FileRenderer(Renderer):
    suffixes: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:  # each class has them at their own place among its options
        fps: float | None
        width: int | None

    @field_validator("path")
    @classmethod
    def _known_suffix(cls, path: str) -> str:
        return with_suffix(path, cls.suffixes)

    def frame_rate(self, count: int) -> float:  # noqa: ARG002
        """Return ``fps``."""
        return self.fps or USUAL_FPS

    @abstractmethod
    def _encoder(self, canvas: Canvas) -> Encoder: ...

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Begin the file; see ``Renderer.open``."""
        from alignimation_imageio._video import VideoWriter

        encoder = self._encoder(canvas)
        fps = self.frame_rate(count)
        return VideoWriter(folder / self.path, canvas, encoder, fps, self.width)


class Video(_FileRenderer):
    """H.264 video (.mp4, .mov, .mkv), or VP9 (.webm); H.265, AV1 and ProRes, with sound if wished.

    4:2:0 with 8 bits a channel (ProRes: 4:2:2 with 10), converted to and tagged as BT.709 with
    limited range, so that players show the photos' own colours; MP4 and MOV begin with their index,
    so that browsers play them while loading. VP9 in WebM, and ProRes, keep transparency. Frames are
    scaled without stretching; both sides are even, for which less than two pixels may be cut off at
    the right and at the bottom.
    """

    name: ClassVar[str] = "video"
    suffixes: ClassVar[tuple[str, ...]] = tuple(_codecs.CONTAINERS)
    path: Annotated[
        str, Field(description="file; its ending (.mp4, .mov, .mkv, .webm) sets the format")
    ] = "animation.mp4"
    fps: Annotated[
        float | None,
        Field(description="frames a second; 12 if absent", ge=SLOWEST, le=FASTEST),
    ] = None
    seconds: Annotated[
        float | None,
        Field(
            description="how long all photos take together, in place of fps, which is then 30 or "
            "more, with the same number of frames for each",
            ge=SHORTEST,
        ),
    ] = None
    codec: Annotated[
        Codec | None,
        Field(description="h265 and av1 are smaller, prores is for editing; h264 (.webm: vp9)"),
    ] = None
    crf: Annotated[
        int | None,
        Field(
            description="constant rate factor: lower is better and larger; "
            "18 if absent (h265: 22, av1: 28)",
            ge=1,
            le=51,
        ),
    ] = None
    width: Width = None
    matte: Matte = "black"
    audio: Annotated[
        RecipePath | None,
        Field(description="file with sound: cut or looped to the film's length, and faded out"),
    ] = None

    @field_validator("codec")
    @classmethod
    def _writable(cls, codec: Codec | None, info: ValidationInfo) -> Codec | None:
        if codec is not None and "path" in info.data:
            _codecs.check(codec, info.data["path"])
        return codec

    @field_validator("crf")
    @classmethod
    def _has_crf(cls, crf: int | None, info: ValidationInfo) -> int | None:
        if crf is not None and info.data.get("codec") == "prores":
            raise ValueError("prores has no crf; leave it out")
        return crf

    @field_validator("audio")
    @classmethod
    def _has_sound(cls, audio: Path | None) -> Path | None:
        if audio is not None:
            from alignimation_imageio import _sound

            _sound.check(audio)
        return audio

    @field_validator("seconds")
    @classmethod
    def _one_pace(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        if seconds is not None and info.data.get("fps") is not None:
            raise ValueError("seconds and fps are both set; leave one of them out")
        return seconds

    def duration(self) -> float | None:
        """Return ``seconds``."""
        return self.seconds

    def frame_rate(self, count: int) -> float:
        """Return ``fps``; of a given length, what shows each photo for whole frames, smoothly."""
        if self.seconds is None:
            return super().frame_rate(count)
        photos_a_second = count / self.seconds
        return photos_a_second * max(1, math.ceil(SMOOTH / photos_a_second))

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Begin the file; see ``Renderer.open``."""
        if self.seconds is not None and not SLOWEST <= count / self.seconds <= FASTEST:
            least, most, pace = count / FASTEST, count / SLOWEST, count / self.seconds
            raise OutputError(
                f"{self.path}: {count} photos in {self.seconds:g} seconds would be {pace:.4g} a "
                f"second; set seconds to {math.ceil(least * 1000) / 1000:g} to {most:g}"
            )
        return super().open(canvas, count, folder)

    def _encoder(self, canvas: Canvas) -> Encoder:
        codec = self.codec or _codecs.usual(self.path)
        try:
            _codecs.check_available(codec)
        except ValueError as error:
            raise OutputError(f"{self.path}: {error}; set another codec") from None
        crf = self.crf or _codecs.CRF.get(codec, 0)
        encoder = _codecs.encoder(codec, self.path, crf, canvas.alpha, self.matte)
        if self.audio is None:
            return encoder
        return replace(encoder, audio=(self.audio, _codecs.audio_codec(codec, self.path)))


class GIF(_FileRenderer):
    """GIF: 256 colours a frame, each frame with its own, ordered dither.

    GIF knows no half-transparent pixels: where frames are transparent, what is less than half
    opaque is left out and the rest is drawn in full; WebP keeps soft edges. Its clock ticks in
    hundredths of a second; delays are rounded so that the whole lasts as long as it should.
    """

    name: ClassVar[str] = "gif"
    suffixes: ClassVar[tuple[str, ...]] = (".gif",)
    path: Annotated[str, Field(description="file ending in .gif")] = "animation.gif"
    fps: Annotated[
        float, Field(description="frames a second; browsers slow down above 50", ge=SLOWEST, le=50)
    ] = USUAL_FPS
    width: Width = None
    loop: Loop = 0

    def _encoder(self, canvas: Canvas) -> Encoder:  # noqa: ARG002
        # the file counts repetitions after the first time; -1 leaves the count out
        repeat = {0: 0, 1: -1}.get(self.loop, self.loop - 1)
        return Encoder("gif", "gif", "pal8", {}, {"loop": str(repeat)}, constant_rate=False)


class WebP(_FileRenderer):
    """Animated WebP: true colours and soft transparency at a fraction of a GIF's size."""

    name: ClassVar[str] = "webp"
    suffixes: ClassVar[tuple[str, ...]] = (".webp",)
    path: Annotated[str, Field(description="file ending in .webp")] = "animation.webp"
    fps: Annotated[
        float, Field(description="frames a second; browsers slow down above 60", ge=SLOWEST, le=60)
    ] = USUAL_FPS
    quality: Annotated[
        int,
        Field(description="0 to 100: of the picture, or of the effort when lossless", ge=0, le=100),
    ] = 85
    lossless: Annotated[bool, Field(description="keep every visible pixel as it is")] = False
    width: Width = None
    loop: Loop = 0

    def refuses(self, canvas: Canvas) -> str | None:
        """Return why frames of a canvas cannot be written: WebP has 14 bits for a side."""
        scale = min(1.0, (self.width or canvas.width) / canvas.width)
        width, height = int(canvas.width * scale), int(canvas.height * scale)
        if max(width, height) <= MOST_WEBP:
            return None
        return (
            f"a WebP is at most {MOST_WEBP} pixels wide and high, and this is {width}x{height}; "
            "set a smaller width or canvas.size"
        )

    def _encoder(self, canvas: Canvas) -> Encoder:  # noqa: ARG002
        # fed with RGB: WebP has a YUV of its own, which is not BT.709
        options = {"quality": str(self.quality), "lossless": str(int(self.lossless))}
        return Encoder(
            "webp", "libwebp_anim", "bgra", options, {"loop": str(self.loop)}, constant_rate=False
        )


class APNG(_FileRenderer):
    """Animated PNG: lossless, with soft transparency, and large; browsers show it."""

    name: ClassVar[str] = "apng"
    suffixes: ClassVar[tuple[str, ...]] = (".png", ".apng")
    path: Annotated[str, Field(description="file ending in .png or .apng")] = "animation.png"
    fps: Annotated[float, Field(description="frames a second", ge=SLOWEST, le=60)] = USUAL_FPS
    width: Width = None
    loop: Loop = 0

    def _encoder(self, canvas: Canvas) -> Encoder:  # noqa: ARG002
        plays = {"plays": str(self.loop)}
        return Encoder("apng", "apng", "rgba", {"pred": "mixed"}, plays, constant_rate=False)


class Frames(Renderer):
    """A folder of PNG or JPEG pictures, ``0001.png``, ``0002.png`` and so on.

    They say that they are sRGB, and carry no other metadata but what ``metadata`` names.

    PNG keeps transparency. The folder is replaced as a whole when the last frame is written, and
    only if it holds nothing but numbered pictures; anything else in it is an error at the start.
    """

    name: ClassVar[str] = "frames"
    path: Annotated[str, Field(description="folder, created or replaced")] = "frames"
    format: Annotated[
        Literal["png", "jpeg"], Field(description="png: lossless; jpeg: quality 92, 4:4:4")
    ] = "png"
    width: Width = None
    matte: Matte = "black"
    metadata: Annotated[
        tuple[Metadata, ...],
        BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
        Field(description="what EXIF tells of each photo: date (when it was taken), name, or both"),
    ] = ()

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Begin the folder; see ``Renderer.open``."""
        from alignimation_imageio._frames import FramesWriter
        from alignimation_imageio._scaling import Layout

        layout = Layout(canvas, self.width, self.matte if self.format == "jpeg" else None)
        return FramesWriter(folder / self.path, layout, count, self.format, self.metadata)


@hookimpl
def alignimation_renderers() -> list[type[Renderer]]:
    """Return the renderers of this package."""
    return [Video, GIF, WebP, APNG, Frames, ContactSheet, BeforeAfter, Average]
