"""What photo sources keep."""

from __future__ import annotations

import io
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from alignimation_core.api.errors import PhotoError
from alignimation_core.api.files import SourcePhoto
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin import sources
from alignimation_core.testing.faults import attempted, fail, told

OPENED = 3
"""Photos that are opened of a listing."""


class PhotoSourceTests:
    """The tests of every photo source; ``stage`` is one that has photos, best."""

    stage: ClassVar[PhotoSource]

    def test_it_lists_photos_or_says_why_there_are_none(self) -> None:
        """A listing, each photo once."""
        listing = told(self.stage, lambda: sources.find(self.stage))
        places = Counter(photo.as_posix() for photo in listing.photos)
        twice = [place for place, count in places.items() if count > 1]
        if twice:
            fail(self.stage, f"find: it lists {twice[0]} {places[twice[0]]} times")
        if not listing.photos and (not listing.why.strip() or "\n" in listing.why):
            fail(self.stage, f"find: expected one line on why there are none, got {listing.why!r}")

    def test_it_lists_the_same_twice(self) -> None:
        """As in a run that goes on."""
        first, second = attempted(lambda: [sources.find(self.stage) for _ in range(2)])
        if [*map(str, first.photos)] != [*map(str, second.photos)]:
            fail(self.stage, "find: it lists other photos the second time, or in another order")

    def test_its_photos_can_be_opened_by_other_processes_and_threads(self) -> None:
        """A photo travels with its source, as the source's options."""
        listing = attempted(lambda: sources.find(self.stage))
        own = [photo for photo in listing.photos if isinstance(photo, SourcePhoto)][:OPENED]
        if not own:
            pytest.skip("it lists no photo here that it opens itself")
        travelled = pickle.loads(pickle.dumps(own))  # noqa: S301 - what was made here
        with ThreadPoolExecutor(OPENED) as pool:
            for photo, opened in zip(own, pool.map(self._opened, travelled), strict=True):
                if not _is_picture(opened):
                    fail(self.stage, f"open: {photo.place} is no picture")

    def _opened(self, photo: SourcePhoto) -> bytes:
        try:
            opened = sources.open_photo(photo)
        except PhotoError as error:
            fail(self.stage, f"open: {error}")
        return opened.read_bytes() if isinstance(opened, Path) else opened

    def test_it_says_whether_a_path_is_its_own(self, tmp_path: Path) -> None:
        """Also of a path where there is nothing."""
        for path in (tmp_path, tmp_path / "nothing"):
            if not isinstance(answer := self.stage.recognises(path), bool):
                fail(self.stage, f"recognises: expected True or False, got {answer!r}")


def _is_picture(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).close()
    except OSError:
        return False
    return True
