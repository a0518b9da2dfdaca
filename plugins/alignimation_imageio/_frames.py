"""Writing of frames to a folder of pictures, through imageio."""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as iio

from alignimation_core import Frame, OutputError
from alignimation_imageio._atomic import AtomicWriter
from alignimation_imageio._metadata import exif
from alignimation_imageio._options import Metadata
from alignimation_imageio._saving import FORMATS
from alignimation_imageio._scaling import Layout, Pixels

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
        layout: Layout,
        count: int,
        picture_format: Literal["png", "jpeg"],
        metadata: tuple[Metadata, ...],
    ) -> None:
        super().__init__(path, layout)
        self._metadata = metadata
        self._suffix, self._options = FORMATS[picture_format]
        self._digits = max(4, len(str(count)))
        self._pool = ThreadPoolExecutor(_THREADS, "pictures")
        self._waiting: deque[Future[None]] = deque()
        with self.guarded():
            self.output.part.mkdir()

    def _check_replaceable(self) -> None:
        path = self.path
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file, not a folder of frames; choose another path")
        for found in sorted(path.iterdir()) if path.exists() else ():
            if not found.is_file() or not _OURS.fullmatch(found.name):
                raise OutputError(
                    f"{path} holds {found.name}, which is no frame; choose another path"
                )

    def _add(self, pixels: Pixels, frame: Frame) -> None:
        name = f"{self.written + 1:0{self._digits}d}{self._suffix}"
        carried = {"exif": exif(frame.photo, self._metadata)} if self._metadata else {}
        options = self._options | carried
        self._waiting.append(self._pool.submit(self._save, name, pixels, options))
        self._wait(_THREADS)

    def _save(self, name: str, pixels: Pixels, options: dict[str, Any]) -> None:
        data = iio.imwrite("<bytes>", pixels, plugin="pillow", extension=self._suffix, **options)
        (self.output.part / name).write_bytes(data)

    def _wait(self, most: int) -> None:
        """Wait until at most so many pictures are still being compressed."""
        while len(self._waiting) > most:
            self._waiting.popleft().result()

    def _finish(self) -> None:
        self._wait(0)
        self._pool.shutdown()
        self._check_replaceable()

    def abort(self) -> None:
        """Remove what was written so far."""
        self._pool.shutdown(cancel_futures=True)
        super().abort()
