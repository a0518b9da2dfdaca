"""Conversion of pictures to an encoder's pixels: colour space, palettes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import av
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace

from alignimation_imageio._encoder import Encoder
from alignimation_imageio._scaling import Layout

Feed = Callable[[av.VideoFrame | None], Iterator[av.VideoFrame]]
"""Takes a picture, gives what is to be encoded; ``None`` says that no more will come."""


def feed(encoder: Encoder, layout: Layout, time_base: Fraction) -> Feed:
    """Return the conversion of pictures to the encoder's pixels."""
    if encoder.pixel_format == "pal8":
        return _palettes(layout, time_base)

    def converted(picture: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        if picture is not None:
            yield picture.reformat(
                format=encoder.pixel_format,
                dst_colorspace=Colorspace.ITU709 if encoder.is_yuv else None,
                dst_color_range=ColorRange.MPEG if encoder.is_yuv else None,
            )

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
