"""The report's small pictures, in the folder beside the page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from alignimation_core.api.data import Photo
from alignimation_core.execution.executor import Executor, Lost
from alignimation_core.record import REPORT_FOLDER
from alignimation_core.rendering.thumbnails import thumbnails

AT_ONCE = 8
"""Photos that are read together."""


class Pictures:
    """Small pictures of photos and of their frames, which are written as they come.

    Args:
        folder: where the page is to be; the pictures go into a folder in it.
    """

    def __init__(self, folder: Path) -> None:
        self._home = folder / REPORT_FOLDER
        self._numbers: dict[str, int] = {}
        self._home.mkdir()

    def keep(self, photo: Photo, picture: bytes, frame: bytes | None = None) -> None:
        """Write a photo's picture, and that of its frame."""
        number = self._numbers.setdefault(photo.name, len(self._numbers) + 1)
        (self._home / f"{number}.jpg").write_bytes(picture)
        if frame is not None:
            (self._home / f"{number}-frame.jpg").write_bytes(frame)

    def forget_frames(self) -> None:
        """Remove the pictures of frames: other photos are shown now."""
        for path in self._home.glob("*-frame.jpg"):
            path.unlink()

    def add(self, photos: Sequence[Photo], executor: Executor, step: Callable[[], None]) -> None:
        """Make the pictures of photos of which there are none yet; of those that can be read."""
        batches = [list(photos[at : at + AT_ONCE]) for at in range(0, len(photos), AT_ONCE)]
        for batch, made in zip(batches, executor.map(thumbnails, iter(batches)), strict=True):
            for photo, picture in zip(batch, made, strict=True):
                if picture is not None and not isinstance(picture, Lost):
                    self.keep(photo, picture)
                step()

    def number(self, photo: str) -> int | None:
        """Return the number by which a photo's pictures are named; None where it has none."""
        return self._numbers.get(photo)

    def missing(self, photos: Sequence[Photo]) -> list[Photo]:
        """Return the photos of which there is no picture yet."""
        return [photo for photo in photos if photo.name not in self._numbers]

    def source(self, photo: str, *, frame: bool, embed: bool) -> str | None:
        """Return the address of a photo's picture, or of its frame's, as a page names it."""
        number = self.number(photo)
        path = self._home / (f"{number}-frame.jpg" if frame else f"{number}.jpg")
        if number is None or not path.exists():
            return None
        if embed:
            return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()
        return f"{REPORT_FOLDER}/{path.name}"

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._home)
