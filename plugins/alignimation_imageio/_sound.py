"""Sound beside the pictures of a video: read, looped or cut to its length, and faded out."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from numpy.typing import NDArray

from alignimation_core import OutputError

RATE = 48000
"""Samples a second."""
FADE = 2
"""Seconds at the end over which the sound fades; a third of a shorter film."""
BITS = 192_000
"""Bits a second, of what is compressed."""

Samples = NDArray[np.float32]
"""(2, n): left and right."""


class Sound:
    """Encodes a file's sound into a container, beside the pictures as they come.

    It stays ``FADE`` seconds behind the pictures, because the end is not known before it is there.
    """

    def __init__(self, path: Path, container: OutputContainer, codec: str) -> None:
        self._container = container
        stream = container.add_stream(codec, rate=RATE, layout="stereo")
        assert isinstance(stream, AudioStream)
        if not codec.startswith("pcm"):
            stream.bit_rate = BITS
        stream.codec_context.flags |= Flags.bitexact
        self._stream = stream
        self._pieces = _looped(path)
        self._rest: Samples = np.zeros((2, 0), np.float32)
        self._taken = 0

    def follow(self, seconds: Fraction) -> None:
        """Encode what belongs to the pictures up to here, but for the last seconds."""
        wanted = round((seconds - FADE) * RATE) - self._taken
        if wanted > 0:
            self._encode(self._take(wanted))

    def finish(self, seconds: Fraction) -> None:
        """Encode the rest of a film of so many seconds, faded out."""
        end = round(seconds * RATE)
        samples = self._take(end - self._taken)
        fade = min(FADE * RATE, end // 3, samples.shape[1])
        samples[:, samples.shape[1] - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        self._encode(samples)
        self._container.mux(self._stream.encode(None))
        self.close()

    def close(self) -> None:
        """Close the file that is read."""
        self._pieces.close()

    def _take(self, count: int) -> Samples:
        parts, have = [self._rest], self._rest.shape[1]
        while have < count:
            parts.append(next(self._pieces))
            have += parts[-1].shape[1]
        samples: Samples = np.concatenate(parts, 1)
        self._rest = samples[:, count:]
        return np.ascontiguousarray(samples[:, :count])

    def _encode(self, samples: Samples) -> None:
        if not samples.shape[1]:
            return
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = self._taken
        self._taken += samples.shape[1]
        self._container.mux(self._stream.encode(frame))


def check(path: Path) -> None:
    """Check that a file has sound.

    Raises:
        ValueError: it has none, or cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; leave audio out, or name another")
    try:
        next(_decoded(path))
    except StopIteration:
        raise ValueError(f"{path}: there is no sound in it; choose another file") from None
    except OutputError as error:
        raise ValueError(str(error)) from None


def _looped(path: Path) -> Generator[Samples, None, None]:
    """Yield the sound of a file over and over."""
    while True:
        nothing = True
        for samples in _decoded(path):
            nothing = False
            yield samples
        if nothing:
            raise OutputError(f"{path}: there is no sound in it; choose another file")


def _decoded(path: Path) -> Iterator[Samples]:
    """Yield the sound of a file once, in stereo at ``RATE``; nothing where it has none."""
    with _reading(path), av.open(str(path)) as source:
        if not source.streams.audio:
            return
        resampler = av.AudioResampler("fltp", "stereo", RATE)
        for frame in source.decode(source.streams.audio[0]):
            frame.pts = None
            for part in resampler.resample(frame):
                yield part.to_ndarray().astype(np.float32, copy=False)
        for part in resampler.resample(None):
            yield part.to_ndarray().astype(np.float32, copy=False)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        text = getattr(error, "strerror", None) or type(error).__name__
        what = "its sound cannot be read"
        raise OutputError(f"{path}: {what} ({text}); choose another file") from None
