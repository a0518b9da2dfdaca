"""Renderers: the aligned frames as a video, a GIF, an animated WebP or a folder of pictures.

Video, GIF and WebP are encoded through PyAV, the ffmpeg behind imageio's ``pyav`` plugin; single
pictures are written through imageio itself. Every renderer holds one frame at a time, beside what
its encoder keeps for looking ahead, and writes the same bytes for the same frames.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from alignimation_core import Canvas, Renderer, Writer, hookimpl
from alignimation_imageio._encoder import Encoder


def _colour(colour: str) -> str:
    from PIL import ImageColor

    try:
        known = len(ImageColor.getrgb(colour)) == 3
    except ValueError:
        known = False
    if not known:
        raise ValueError(f"{colour!r} is no opaque colour; write a name or #rrggbb")
    return colour


Width = Annotated[
    int | None,
    Field(description="scale down to this many pixels across; the canvas's width if absent", ge=16),
]
Matte = Annotated[
    str,
    AfterValidator(_colour),
    Field(description="colour behind transparent frames where the format has none: white, #20c0ff"),
]
Loop = Annotated[
    int, Field(description="how many times the animation plays; 0: forever", ge=0, le=65535)
]


MOST_WEBP = 16383
"""Pixels on a side of a WebP."""


class _FileRenderer(Renderer):
    suffixes: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:  # each class has them at their own place among its options
        fps: float
        width: int | None

    @field_validator("path")
    @classmethod
    def _known_suffix(cls, path: str) -> str:
        if PurePosixPath(path).suffix.lower() not in cls.suffixes:
            *others, last = cls.suffixes
            wanted = f"{', '.join(others)} or {last}" if others else last
            raise ValueError(f"{path!r} does not end in {wanted}")
        return path

    def frame_rate(self, count: int) -> float:  # noqa: ARG002
        """Return ``fps``."""
        return self.fps

    @abstractmethod
    def _encoder(self, canvas: Canvas) -> Encoder: ...

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:  # noqa: ARG002
        """Begin the file; see ``Renderer.open``."""
        from alignimation_imageio._video import VideoWriter

        encoder = self._encoder(canvas)
        return VideoWriter(folder / self.path, canvas, encoder, self.fps, self.width)


class Video(_FileRenderer):
    """H.264 video (.mp4, .mov, .mkv), or VP9 (.webm), which keeps transparency.

    8 bits a channel, 4:2:0, converted to and tagged as BT.709 with limited range, so that players
    show the photos' own colours; MP4 and MOV begin with their index, so that browsers play them
    while loading. Frames are scaled without stretching; both sides are even, for which less than
    two pixels may be cut off at the right and at the bottom.
    """

    name: ClassVar[str] = "video"
    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".mov", ".mkv", ".webm")
    path: Annotated[
        str, Field(description="file; its ending (.mp4, .mov, .mkv, .webm) sets the format")
    ] = "animation.mp4"
    fps: Annotated[float, Field(description="frames a second", ge=0.01, le=120)] = 12.0
    crf: Annotated[
        int,
        Field(description="constant rate factor: lower is better and larger", ge=1, le=51),
    ] = 18
    width: Width = None
    matte: Matte = "black"

    def _encoder(self, canvas: Canvas) -> Encoder:
        suffix = PurePosixPath(self.path).suffix.lower()
        # x264 writes other bytes with another number of threads
        options = {"crf": str(self.crf), "threads": "4"}
        if suffix == ".webm":
            # without b=0, crf would be an upper bound; alternative references exclude transparency
            options |= {"b": "0", "cpu-used": "4", "row-mt": "1"}
            options |= {"auto-alt-ref": "0"} if canvas.alpha else {}
            pixel_format = "yuva420p" if canvas.alpha else "yuv420p"
            return Encoder("webm", "libvpx-vp9", pixel_format, options, step=2)
        # Every frame is another photo: nothing can be predicted from two sides, and little by parts
        # of a block. Measured on photos of 12 megapixels at 1080x810: 7 % larger and 0.3 dB less
        # than x264's defaults, in a quarter of the time.
        options |= {"preset": "veryfast", "bf": "0", "x264-params": "partitions=i4x4,i8x8"}
        container = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}[suffix]
        index_first = {} if suffix == ".mkv" else {"movflags": "+faststart"}
        return Encoder(container, "libx264", "yuv420p", options, index_first, 2, self.matte)


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
        float, Field(description="frames a second; browsers slow down above 50", ge=0.01, le=50)
    ] = 12.0
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
        float, Field(description="frames a second; browsers slow down above 60", ge=0.01, le=60)
    ] = 12.0
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
    fps: Annotated[float, Field(description="frames a second", ge=0.01, le=60)] = 12.0
    width: Width = None
    loop: Loop = 0

    def _encoder(self, canvas: Canvas) -> Encoder:  # noqa: ARG002
        plays = {"plays": str(self.loop)}
        return Encoder("apng", "apng", "rgba", {"pred": "mixed"}, plays, constant_rate=False)


class Frames(Renderer):
    """A folder of PNG or JPEG pictures, ``0001.png``, ``0002.png`` and so on.

    They say that they are sRGB, and carry no other metadata.

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

    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Begin the folder; see ``Renderer.open``."""
        from alignimation_imageio._frames import FramesWriter
        from alignimation_imageio._scaling import Layout

        layout = Layout(canvas, self.width, self.matte if self.format == "jpeg" else None)
        return FramesWriter(folder / self.path, layout, count, self.format)


@hookimpl
def alignimation_renderers() -> list[type[Renderer]]:
    """Return the renderers of this package."""
    return [Video, GIF, WebP, APNG, Frames]
