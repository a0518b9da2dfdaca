"""Writing of frames to a folder of pictures, through imageio."""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as iio

from alignimation_core import Canvas, Frame, OutputError
from alignimation_imageio._atomic import AtomicWriter, output_errors
from alignimation_imageio._scaling import Layout, Pixels

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": (".png", {"compress_level": 1}),  # level 9 saves a seventh for thirty times the time
    "jpeg": (".jpg", {"quality": 92, "subsampling": 0}),
}
_OURS = re.compile(r"\d+\.(png|jpg)|\.DS_Store|Thumbs\.db")  # the latter are file managers' own


_THREADS = min(8, os.cpu_count() or 1)


class FramesWriter(AtomicWriter):
    """Writes frames into a hidden folder, which takes the final name when closed.

    Pictures are compressed by several threads, a bounded number at a time; what goes wrong with
    one is raised when a later one is written, or at the end.
    """

    def __init__(
        self,
        path: Path,
        canvas: Canvas,
        count: int,
        picture_format: Literal["png", "jpeg"],
        *,
        width: int | None,
        matte: str,
    ) -> None:
        self._layout = Layout.of(canvas, width, matte=matte if picture_format == "jpeg" else None)
        self._suffix, self._options = _FORMATS[picture_format]
        self._digits = max(4, len(str(count)))
        self._written = 0
        with output_errors(path):
            self._check_replaceable(path)
        super().__init__(path)
        self._pool = ThreadPoolExecutor(_THREADS, "pictures")
        self._waiting: deque[Future[None]] = deque()
        with self.guarded():
            self.output.part.mkdir()

    @staticmethod
    def _check_replaceable(path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, not a folder of frames; choose another path")
        for found in sorted(path.iterdir()) if path.exists() else ():
            if not found.is_file() or not _OURS.fullmatch(found.name):
                raise OutputError(
                    f"{path} holds {found.name}, which is no frame; choose another path"
                )

    def write(self, frame: Frame) -> None:
        """Write the next picture.

        Raises:
            ValueError: the frame is not of the canvas's size, channels and type.
            OutputError: it, or one before it, cannot be written.
        """
        pixels = self._layout.pixels(frame)
        self._written += 1
        name = f"{self._written:0{self._digits}d}{self._suffix}"
        with self.guarded():
            self._waiting.append(self._pool.submit(self._save, name, pixels))
            self._wait(_THREADS)

    def _save(self, name: str, pixels: Pixels) -> None:
        data = iio.imwrite(
            "<bytes>", pixels, plugin="pillow", extension=self._suffix, **self._options
        )
        (self.output.part / name).write_bytes(data)

    def _wait(self, most: int) -> None:
        """Wait until at most so many pictures are still being compressed."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def close(self) -> Path:
        """Put the folder under its final name.

        Raises:
            OutputError: no frame was written, or the folder cannot be put there.
        """
        with self.guarded():
            if not self._written:
                raise OutputError(f"{self.path}: no frame was written")
            self._wait(0)
            self._pool.shutdown()
            self._check_replaceable(self.path)
            self.output.publish()
        return self.path

    def abort(self) -> None:
        """Remove what was written so far."""
        self._pool.shutdown(cancel_futures=True)
        super().abort()
