"""Pictures of photos for the page: small, whole, and single faces; and what was found in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from alignimation_core import preflight
from alignimation_core.api.data import File
from alignimation_core.api.errors import AlignimationError, PhotoError
from alignimation_core.api.stages.individuals import from_left
from alignimation_core.output.remote import output_folder
from alignimation_core.photos import decoder, metadata
from alignimation_core.photos.order import relative_name
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import REPORT_FOLDER
from alignimation_core.rendering.thumbnails import SIDE
from alignimation_core.review.record import place_of
from alignimation_core.store.store import open_store

WHOLE = 1600
"""Long side of a photo that is looked at, pixels; one that is zoomed has all of its own."""
TILE = 160
"""Side of a face, pixels."""
FILL = 0.6
"""Share of its side that a face's box takes."""


class Pictures:
    """Pictures of the photos of a record, by their places in it.

    Args:
        recipe: of the run.
        record: what it wrote.
        is_last: whether no other run has written since: its report has other pictures.
    """

    def __init__(
        self, recipe: Recipe, record: Mapping[str, Any], is_last: Callable[[], bool]
    ) -> None:
        self._recipe, self._photos, self._is_last = recipe, record["photos"], is_last
        self._small = lru_cache(2000)(self._make_small)
        self._whole = lru_cache(12)(self._make_whole)
        self._face = lru_cache(2000)(self._make_face)

    @cached_property
    def files(self) -> dict[str, File]:
        """The photos that there are now, by name; none where they cannot be looked for."""
        with suppress(AlignimationError):
            found = preflight.find_photos(self._recipe).photos
            return {relative_name(path, self._recipe.folder): path for path in found}
        return {}

    def there(self, place: int) -> bool:
        """Return whether a photo is where it was; of one elsewhere, when looked last."""
        file = self.files.get(self._photos[place]["path"])
        return file.is_file() if isinstance(file, Path) else file is not None

    def renamed(self, place: int) -> bool:
        """Return whether a photo's content is there under a name that the run did not know."""
        sha256 = self._photos[place].get("sha256")
        return sha256 is not None and sha256 in self._new

    @cached_property
    def new(self) -> list[str]:
        """The names of photos that the run did not know."""
        return sorted(self.files.keys() - {photo["path"] for photo in self._photos})

    @cached_property
    def _new(self) -> frozenset[str]:
        """Content hashes of those."""
        found = set()
        for name in self.new:
            with suppress(PhotoError):
                found.add(metadata.facts(self.files[name], self._recipe.folder).sha256)
        return frozenset(found)

    def small(self, place: int) -> bytes:
        """Return a small JPEG of a photo: the report's, else one made now.

        Raises:
            PhotoError: there is none, and the photo cannot be read.
        """
        return self._small(place)

    def whole(self, place: int, *, full: bool) -> bytes:
        """Return a JPEG of a photo, upright; ``full``: with all of its pixels.

        Raises:
            PhotoError: it is gone, or cannot be read.
        """
        return self._whole(place, full)

    def face(self, place: int, number: int) -> bytes:
        """Return a JPEG of what was found in a photo, by its number from the left.

        Raises:
            PhotoError: there is none such, or the photo is gone, or cannot be read.
        """
        return self._face(place, number)

    def faces(self, place: int) -> list[dict[str, Any]]:
        """Return what was found in a photo, from the left: box, and keypoints by name.

        Keypoints are the store's; where it holds nothing of the photo, there are none.
        """
        photo = self._photos[place]
        if photo.get("sha256"):
            content = photo["sha256"]
            for each in photo.get("corrected") or []:
                if each["what"] == "turn":
                    content += f" turned {each['is']}"
            with suppress(AlignimationError):
                found = self._known(content)
                if found is not None:
                    return found
        return [{"box": box, "keypoints": {}} for box in photo.get("found") or []]

    def _known(self, content: str) -> list[dict[str, Any]] | None:
        output, recipe = output_folder(self._recipe), self._recipe
        if not isinstance(recipe.output, str) and not output.store_folder.is_dir():
            return None
        output.bring_store()
        with open_store(
            output.store_folder, recipe.detector, recipe.embedder, lambda _: None
        ) as store:
            known = store.recall([content]).get(content)
        if known is None:
            return None
        subjects = (known.detections.subject(i) for i in from_left(known.detections))
        return [
            {
                "box": [round(side, 1) for side in subject.box],
                "keypoints": {
                    name: [round(x, 2), round(y, 2)] for name, (x, y) in subject.keypoints.items()
                },
            }
            for subject in subjects
        ]

    def _make_small(self, place: int) -> bytes:
        number = self._photos[place].get("picture")
        if isinstance(number, int):
            with suppress(Exception):  # whatever an address raises: the photo itself may be there
                path = place_of(self._recipe) / REPORT_FOLDER / f"{number}.jpg"
                data = bytes(path.read_bytes())
                if self._is_last():
                    return data
        image = self._read(place, SIDE)
        image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
        return _jpeg(image, 80)

    def _make_whole(self, place: int, full: bool) -> bytes:
        image = self._read(place, None if full else WHOLE)
        if not full:
            image.thumbnail((WHOLE, WHOLE), reducing_gap=2.0)
        return _jpeg(image, 90)

    def _make_face(self, place: int, number: int) -> bytes:
        photo = self._photos[place]
        boxes = photo.get("found") or []
        if not 1 <= number <= len(boxes):
            raise PhotoError(photo["path"], f"there is no face {number} in it")
        x0, y0, x1, y1 = boxes[number - 1]
        side = max(x1 - x0, y1 - y0, 1.0) / FILL
        longest = max(photo["width"], photo["height"])
        image = self._read(place, min(longest, round(longest * TILE / side)))
        scale = max(image.size) / longest
        x, y, half = (x0 + x1) / 2 * scale, (y0 + y1) / 2 * scale, side / 2 * scale
        area = round(x - half), round(y - half), round(x + half), round(y + half)
        tile = image.crop(area).resize((TILE, TILE), Image.Resampling.BILINEAR)
        return _jpeg(tile.rotate(-(photo.get("turn") or 0)), 85)

    def _read(self, place: int, side: int | None) -> Image.Image:
        name = self._photos[place]["path"]
        file = self.files.get(name)
        if file is None:
            raise PhotoError(self._recipe.folder / name, "it is gone since the run")
        return Image.fromarray(decoder.load(file, side).permute(1, 2, 0).numpy())


def _jpeg(image: Image.Image, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
