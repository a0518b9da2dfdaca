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

from alignimation_core import Canvas, Frame, OutputError
from alignimation_imageio._atomic import AtomicWriter, output_errors
from alignimation_imageio._encoders import Encoder, feed
from alignimation_imageio._scaling import Layout


class VideoWriter(AtomicWriter):
    """Encodes frame by frame into a hidden file, which takes the final name when closed."""

    def __init__(
        self,
        path: Path,
        canvas: Canvas,
        encoder: Encoder,
        *,
        fps: float,
        width: int | None,
        matte: str | None = None,
    ) -> None:
        self._layout = Layout.of(
            canvas, width, step=encoder.step, matte=None if encoder.alpha else matte
        )
        self._time_base = 1 / Fraction(fps).limit_denominator(1001)
        self._written = 0
        with output_errors(path):
            if path.is_dir():
                raise OutputError(f"{path} is a folder; choose another path")
        super().__init__(path)
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
            self._feed = feed(
                encoder,
                self._layout.width,
                self._layout.height,
                self._time_base,
                alpha=self._layout.alpha,
            )

    def _add_stream(self, encoder: Encoder) -> VideoStream:
        stream = self._container.add_stream(
            encoder.codec, rate=1 / self._time_base, options=encoder.options
        )
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = self._layout.width, self._layout.height
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

    def write(self, frame: Frame) -> None:
        """Encode the next frame.

        Raises:
            ValueError: the frame is not of the canvas's size, channels and type.
            OutputError: it cannot be encoded or written.
        """
        pixels = self._layout.pixels(frame)
        with self.guarded():
            kind = "rgba" if self._layout.alpha else "rgb24"
            picture = av.VideoFrame.from_numpy_buffer(pixels, kind)
            picture.pts, picture.time_base = self._written, self._time_base
            self._encode(picture)
        self._written += 1

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for ready in self._feed(picture):
            self._container.mux(self._stream.encode(ready))

    def close(self) -> Path:
        """Finish the file and put it under its final name.

        Raises:
            OutputError: no frame was written, or the file cannot be finished.
        """
        with self.guarded():
            if not self._written:
                raise OutputError(f"{self.path}: no frame was written")
            self._encode(None)
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self.output.publish()
        return self.path

    def abort(self) -> None:
        """Remove what was written so far."""
        with contextlib.suppress(OSError, av.FFmpegError, AttributeError):
            self._container.close()
        super().abort()
