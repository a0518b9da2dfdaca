"""Films: which frames are photos, when they were taken, and their pixels."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from av.video.stream import VideoStream

ENDINGS = frozenset(".mp4 .m4v .mov .mkv .webm .avi .mts .m2ts .mpg .mpeg .3gp .wmv .ogv".split())

AHEAD = 5
"""Seconds up to which decoding on is likely quicker than a jump to the next key frame."""

OPEN = 4
"""Decoders of one film that are kept, for as many threads that each read on from where they are."""


UNSPECIFIED = 2
"""FFmpeg's number for colours of which a film says nothing."""

HD = 720
"""Height from which such colours are BT.709's."""


class FilmError(ValueError):
    """A film cannot be read; the text says why."""


class Film(NamedTuple):
    """What a film's container says.

    Attributes:
        times: of the frames wanted, in units of the stream, ascending.
        unit: seconds.
        start: time of the first frame, in those units.
        created: when it was taken; None where the container does not say.
    """

    times: list[int]
    unit: Fraction
    start: int
    created: datetime | None

    def seconds(self, time: int) -> float:
        """Return the seconds from the film's beginning."""
        return float((time - self.start) * self.unit)


def read(path: Path, every: int | None, seconds: float) -> Film:
    """Return which frames are wanted: every n-th, or one in so many seconds.

    Raises:
        FilmError: the film cannot be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FilmError(f"{path} holds no film")
            stream = container.streams.video[0]
            unit, start, step = _unit(stream), stream.start_time or 0, Fraction(seconds)
            length = stream.duration
            if length is None and container.duration is not None:
                length = round(Fraction(container.duration, 1_000_000) / unit)
                if start * unit > step:  # which is a part of the length in some containers
                    length = None
            rate = stream.average_rate
            if every is not None or not length or (rate and step * rate <= 1):
                shown = sorted(p.pts for p in container.demux(stream) if p.pts is not None)
                times = shown[:: every or 1]
                if every is None:
                    times = list(_apart(shown, step / unit))
            else:
                count = max(1, -int(-length * unit // step))
                times = [start + int(i * step / unit) for i in range(count)]
            if not times:
                raise FilmError(f"{path} holds no frames")
            return Film(times, unit, start, _created({**container.metadata, **stream.metadata}))
    except (av.FFmpegError, OSError) as error:
        what = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise FilmError(f"{path} cannot be read as a film: {what}") from error


@cache
def fingerprint() -> str:
    """Return what the pixels of a frame depend on beside the film: this code, and FFmpeg's."""
    import av

    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return f"{code[:16]} {sorted(av.library_versions.items())}"


def _unit(stream: VideoStream) -> Fraction:
    """Return the seconds that a film counts time in."""
    unit = stream.time_base
    if unit is None:
        raise FilmError("the film tells no time")
    return unit


def _apart(times: list[int], gap: Fraction) -> Iterator[int]:
    """Yield the first of the times, and each that is a gap or more after the last."""
    following: Fraction | int = times[0] if times else 0
    for time in times:
        if time >= following:
            yield time
            following += gap


def _created(metadata: dict[str, str]) -> datetime | None:
    """Return the date in a container: Apple's with its time zone, or the UTC of the others."""
    for key in ("com.apple.quicktime.creationdate", "creation_time", "date"):
        try:
            time = datetime.fromisoformat(metadata[key])
        except (KeyError, ValueError):
            continue
        if time.year > 1970:  # clocks that were never set say 1904 or 1970
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None


class Decoder:
    """An open film.

    Attributes:
        aspect: width of a pixel over its height.
        at: time of the frame that was decoded last, in units of the stream.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()
        self.aspect = self._stream.sample_aspect_ratio or Fraction(1)
        self.at: int | None = None
        self._last: Any = None

    def _open(self) -> None:
        import av

        self._container = av.open(str(self._path))
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._frames: Iterator[Any] = self._container.decode(self._stream)

    def frame(self, time: int) -> Any:
        """Return the frame that is shown from a time on; the last one after the end."""
        ahead = AHEAD / _unit(self._stream)
        if self.at is None or not self.at <= time <= self.at + ahead:
            self._jump(time)
        if self._last is not None and self._last.pts >= time:
            return self._last
        while (at := self._next()) is not None and at < time:
            pass
        if self._last is None:
            raise FilmError("there is no frame at this time")
        return self._last

    def _jump(self, time: int) -> None:
        """Decode the frame at a time, or one before it; the first where there is none before.

        In a transport stream nobody knows where the key frames are: a jump may end behind the time.
        """
        start, back = self._stream.start_time or 0, 0
        self._last = self.at = None
        while time - back >= start:
            self._container.seek(time - back, stream=self._stream)
            self._frames = self._container.decode(self._stream)
            if (at := self._next()) is not None and at <= time:
                return
            back = 4 * back or int(1 / _unit(self._stream))
        self.close()
        self._open()
        self._next()

    def _next(self) -> int | None:
        """Decode the next frame; return its time, or None where there is none."""
        for frame in self._frames:
            if frame.pts is not None:
                self._last, self.at = frame, frame.pts
                return self.at
        return None

    def close(self) -> None:
        """Close the film."""
        self._container.close()


class Pool:
    """The open decoders of one film."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._free: list[Decoder] = []

    def frame(self, time: int) -> bytes:
        """Return a frame as a picture's file, upright, with square pixels."""
        with self._lock:
            before = [each for each in self._free if each.at is not None and each.at <= time]
            decoder = max(before, key=lambda each: each.at or 0, default=None)
            if decoder is None and len(self._free) == OPEN:
                decoder = self._free[0]
            if decoder is not None:
                self._free.remove(decoder)
        if decoder is None:
            decoder = Decoder(self._path)
        picture = _picture(decoder.frame(time), decoder.aspect)
        with self._lock:
            if len(self._free) < OPEN:
                self._free.append(decoder)
                return picture
        decoder.close()
        return picture


def frame(path: Path, time: int) -> bytes:
    """Return a frame of a film as a picture's file."""
    known = path.stat()
    return _pool(path, known.st_size, known.st_mtime_ns).frame(time)


@lru_cache(maxsize=4)
def _pool(path: Path, size: int, written: int) -> Pool:  # noqa: ARG001 - the film as it is now
    return Pool(path)


def _picture(frame: Any, aspect: Fraction) -> bytes:
    """Return a frame, whose pixels are so many times wider than high, as a PPM file, upright.

    PPM takes no time to write.
    """
    import numpy as np
    from av.video.reformatter import Colorspace

    untold = frame.colorspace == UNSPECIFIED
    space = (Colorspace.ITU709 if frame.height >= HD else Colorspace.ITU601) if untold else None
    pixels = frame.to_ndarray(
        format="rgb24",
        width=round(frame.width * aspect),
        height=frame.height,
        src_colorspace=space,
    )
    turned = np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    height, width = turned.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + turned.tobytes()
