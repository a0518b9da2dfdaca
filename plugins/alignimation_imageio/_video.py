"""Encoding of frames to one file, through PyAV.

imageio's own ``pyav`` plugin hands no options to the encoder (no ``crf``), tags no colours and
builds its filters for 640x480 whatever the frames' size, so PyAV is used directly.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
from av.codec.context import Flags
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from alignimation_core import Canvas, OutputError
from alignimation_imageio._atomic import AtomicWriter
from alignimation_imageio._encoder import Encoder
from alignimation_imageio._feed import feed
from alignimation_imageio._scaling import Layout, Pixels


class VideoWriter(AtomicWriter):
    """Encodes frame by frame into a hidden file, which takes the final name when closed."""

    def __init__(
        self, path: Path, canvas: Canvas, encoder: Encoder, fps: float, width: int | None
    ) -> None:
        super().__init__(path, Layout.of(canvas, width, step=encoder.step, matte=encoder.matte))
        self._time_base = 1 / Fraction(fps).limit_denominator(1001)
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
            self._feed = feed(encoder, self.layout, self._time_base)

    def check_replaceable(self) -> None:
        """Raise ``OutputError`` where there is a folder."""
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

    def add(self, pixels: Pixels) -> None:
        """Encode the next picture."""
        picture = av.VideoFrame.from_numpy_buffer(pixels, self.layout.pixel_format)
        picture.pts, picture.time_base = self.written, self._time_base
        self._encode(picture)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for ready in self._feed(picture):
            self._container.mux(self._stream.encode(ready))

    def finish(self) -> None:
        """Encode what is still held back, and end the file."""
        self._encode(None)
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError, av.FFmpegError, AttributeError):
            self._container.close()
        super().abort()
