"""Encoding of frames to one file, through PyAV.

imageio's own ``pyav`` plugin hands no options to the encoder (no ``crf``), tags no colours and
builds its filters for 640x480 whatever the frames' size, so PyAV is used directly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.filter import Graph
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from alignimation_core import Canvas, OutputError
from alignimation_imageio._atomic import AtomicWriter
from alignimation_imageio._encoder import Encoder
from alignimation_imageio._last_frame import set_last_duration
from alignimation_imageio._scaling import Layout, Pixels

Feed = Callable[[av.VideoFrame | None], Iterator[av.VideoFrame]]
"""Takes a picture, gives what is to be encoded; ``None`` says that no more will come."""


class VideoWriter(AtomicWriter):
    """Encodes frame by frame into a hidden file, which takes the final name when closed."""

    def __init__(
        self, path: Path, canvas: Canvas, encoder: Encoder, fps: float, width: int | None
    ) -> None:
        super().__init__(path, Layout(canvas, width, encoder.matte, encoder.step))
        self._time_base = 1 / Fraction(fps).limit_denominator(1001)
        self._until = Fraction(0)  # when the frames written so far are over, in frames
        self._constant_rate, self._codec = encoder.constant_rate, encoder.codec
        self._held = False  # whether any frame said how long it is shown
        self._last: tuple[Pixels, int, int] | None = None  # with its begin and end
        with self.guarded():
            self.output.part.touch()  # PyAV makes the file with the first frame: too late
            self._container = av.open(
                str(self.output.part),
                "w",
                format=encoder.container,
                # bitexact: no version, no random identifiers
                container_options={"fflags": "+bitexact", **encoder.container_options},
            )
            self._stream = self._add_stream(encoder)
            self._feed = _feed(encoder, self.layout, self._time_base)

    def _check_replaceable(self) -> None:
        if self.path.is_dir():
            raise OutputError(f"{self.path} is a folder; choose another path")

    def _add_stream(self, encoder: Encoder) -> VideoStream:
        stream = self._container.add_stream(
            encoder.codec, rate=1 / self._time_base, options=encoder.options
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self.layout.width, self.layout.height
        stream.pix_fmt = encoder.pixel_format
        stream.time_base = self._time_base
        context = stream.codec_context
        context.flags |= Flags.bitexact
        if encoder.is_yuv:
            context.colorspace = Colorspace.ITU709
            context.color_range = ColorRange.MPEG
            context.color_primaries = ColorPrimaries.BT709
            context.color_trc = ColorTrc.BT709
        return stream

    def _add(self, pixels: Pixels, seconds: float | None) -> None:
        begin = round(self._until)
        self._until += 1 if seconds is None else Fraction(seconds) / self._time_base
        end = round(self._until)
        times = range(begin, end) if self._constant_rate else range(begin, end)[:1]
        for time in times:
            self._picture(pixels, time)
        self._held |= seconds is not None
        if times:
            self._last = pixels, times[-1], end

    def _picture(self, pixels: Pixels, time: int) -> None:
        picture = av.VideoFrame.from_numpy_buffer(pixels, self.layout.pixel_format)
        picture.pts, picture.time_base = time, self._time_base
        self._encode(picture)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for ready in self._feed(picture):
            self._container.mux(self._stream.encode(ready))

    def _finish(self) -> None:
        pixels, begin, end = self._last or (None, 0, 0)
        if pixels is None:
            raise OutputError(f"{self.path}: every frame is shown for less than half a frame")
        if self._codec == "gif" and end > begin + 1:
            self._picture(pixels, end - 1)
        self._encode(None)
        self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._held and self._codec in ("apng", "libwebp_anim") and begin:
            set_last_duration(self.output.part, self._codec, (end - begin) * self._time_base)

    def abort(self) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError, av.FFmpegError, AttributeError):
            self._container.close()
        super().abort()


def _feed(encoder: Encoder, layout: Layout, time_base: Fraction) -> Feed:
    """Return the conversion of pictures to the encoder's pixels: colour space, palettes."""
    if encoder.pixel_format == "pal8":
        return _palettes(layout, time_base)

    def converted(picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        if picture is not None:
            ready = picture.reformat(
                format=encoder.pixel_format,
                dst_colorspace=Colorspace.ITU709 if encoder.is_yuv else None,
                dst_color_range=ColorRange.MPEG if encoder.is_yuv else None,
            )
            if encoder.codec == "apng":  # which says so by these two that it is sRGB
                ready.color_primaries = ColorPrimaries.BT709
                ready.color_trc = ColorTrc.IEC61966_2_1
            yield ready

    return converted


def _palettes(layout: Layout, time_base: Fraction) -> Feed:
    """Quantise every picture to a palette of its own, with Bayer's ordered dither.

    Measured on a portrait: 6 % smaller than with one palette for the whole and no worse (36.0 dB
    against 35.9), without having to know all frames before the first is written. Ordered dither
    shows neither the bands of no dither nor the coloured specks of error diffusion (35.0 dB).
    """
    graph = Graph()
    pixels = av.VideoFormat(layout.pixel_format, layout.width, layout.height)
    source = graph.add_buffer(
        width=layout.width, height=layout.height, format=pixels, time_base=time_base
    )
    split = graph.add("split")
    transparent = int(layout.pixel_format == "rgba")
    generate = graph.add("palettegen", f"stats_mode=single:reserve_transparent={transparent}")
    use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=4:alpha_threshold=128")
    sink = graph.add("buffersink")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(generate, 1, 0)
    generate.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()

    def dithered(picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        graph.vpush(picture)
        while True:
            try:
                yield graph.vpull()
            except (av.BlockingIOError, av.EOFError):  # it waits for more, or is done
                return

    return dithered
