"""Writing of frames to a folder of pictures, through imageio."""

from __future__ import annotations

import os
import re
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import imageio.v3 as iio
from PIL import ImageCms, PngImagePlugin

from alignimation_core import OutputError
from alignimation_imageio._atomic import AtomicWriter
from alignimation_imageio._scaling import Layout, Pixels


def _srgb_chunk() -> PngImagePlugin.PngInfo:
    """Return what says in a PNG that it is sRGB, to be shown by perceptual intent."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"sRGB", b"\0")
    return chunks


def _srgb_profile() -> bytes:
    """Return the profile that says in a JPEG that it is sRGB, without the time of its making."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes.fromhex("07ce00020009000600310000")  # of sRGB itself, 1998
    profile[84:100] = bytes(16)  # its identity, a hash of the former
    return bytes(profile)


_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    # level 9 saves a seventh for thirty times the time
    "png": (".png", {"compress_level": 1, "pnginfo": _srgb_chunk()}),
    "jpeg": (".jpg", {"quality": 92, "subsampling": 0, "icc_profile": _srgb_profile()}),
}
_OURS = re.compile(r"\d+\.(png|jpg)|\.DS_Store|Thumbs\.db")  # the latter are file managers' own
_THREADS = min(8, os.cpu_count() or 1)


class FramesWriter(AtomicWriter):
    """Writes frames into a hidden folder, which takes the final name when closed.

    Pictures are compressed by several threads, a bounded number at a time; what goes wrong with
    one is raised when a later one is written, or at the end.
    """

    def __init__(
        self, path: Path, layout: Layout, count: int, picture_format: Literal["png", "jpeg"]
    ) -> None:
        super().__init__(path, layout)
        self._suffix, self._options = _FORMATS[picture_format]
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

    def _add(self, pixels: Pixels, seconds: float | None) -> None:  # noqa: ARG002
        name = f"{self.written + 1:0{self._digits}d}{self._suffix}"
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

    def _finish(self) -> None:
        self._wait(0)
        self._pool.shutdown()
        self._check_replaceable()

    def abort(self) -> None:
        """Remove what was written so far."""
        self._pool.shutdown(cancel_futures=True)
        super().abort()
