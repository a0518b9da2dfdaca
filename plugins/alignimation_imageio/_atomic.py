"""Writers whose output stands under its final name only when it is finished."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from alignimation_core import Frame, OutputError, Writer
from alignimation_core.api import atomic
from alignimation_imageio._scaling import Layout, Pixels


@contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system, and of PyAV, into ``OutputError``."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = atomic.reason(error, "choose another path or format")
        raise OutputError(f"{path}: {reason}") from error


class AtomicWriter(Writer):
    """Writes to ``self.output.part``, a hidden sibling that takes the final name when closed."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path, self.layout, self.written = path, layout, 0
        with _output_errors(path):
            self._check_replaceable()
            target = path.resolve()  # a link stays a link: what it points to is replaced
            for parent in reversed(target.parents):
                if parent.exists() and not parent.is_dir():
                    raise OutputError(f"{path}: {parent} is a file; choose another path")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.output = atomic.AtomicWrite(target)

    @abstractmethod
    def _check_replaceable(self) -> None:
        """Raise ``OutputError`` where something stands that is not to be replaced."""

    @abstractmethod
    def _add(self, pixels: Pixels, seconds: float | None) -> None:
        """Write the next picture, to be shown for some seconds or for one frame."""

    @abstractmethod
    def _finish(self) -> None:
        """Complete ``self.output.part``."""

    def write(self, frame: Frame) -> None:
        """Write the next frame; raises ``ValueError`` where it is not of the canvas."""
        pixels = self.layout.pixels(frame)
        with self.guarded():
            self._add(pixels, frame.seconds)
        self.written += 1

    def close(self) -> Path:
        """Put the output under its final name."""
        with self.guarded():
            if not self.written:
                raise OutputError(f"{self.path}: no frame was written")
            self._finish()
            self.output.publish()
        return self.path

    def abort(self) -> None:
        """Remove what was written so far."""
        self.output.discard()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Abort at any exception; errors of the system, and of PyAV, are ``OutputError``."""
        try:
            with _output_errors(self.path):
                yield
        except BaseException:
            self.abort()
            raise
