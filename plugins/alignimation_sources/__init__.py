"""Photo sources: files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from alignimation_core import Listing, PhotoSource, hookimpl
from alignimation_core.api import urls


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


LISTED = BeforeValidator(_listed, json_schema_input_type=str | list[str])
"""A list of texts, or one of them alone."""


def _usable(text: str) -> str:
    text = urls.plain(text)
    if urls.is_address(text):
        urls.at(text)
    return text


class Files(PhotoSource):
    """Folders with their sub-folders, globs, single files and addresses.

    In a folder, what is hidden or of the system (``@eaDir``, ``$RECYCLE.BIN``, ``lost+found``) and
    what an earlier run has written is no photo; nor is a file with an ending of no picture, which
    is passed over. A file that is named is always taken for a photo.
    """

    name: ClassVar[str] = "files"

    path: Annotated[
        tuple[Annotated[str, AfterValidator(_usable)], ...],
        LISTED,
        Field(description="folder, glob, file or address, or a list of them", min_length=1),
    ]
    exclude: Annotated[
        tuple[str, ...],
        LISTED,
        Field(
            description="files and folders to leave out, by name or by path in the folder, such as "
            "screenshots or '2019/*.png'"
        ),
    ] = ()
    recursive: Annotated[bool, Field(description="whether sub-folders are searched")] = True

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def model_post_init(self, context: Any) -> None:
        """Take note of the recipe's folder, which paths are relative to."""
        if context:
            self._folder = Path(context["folder"])

    def find(self) -> Listing:
        """List the photos that the paths name; each of them must name some."""
        from alignimation_sources import _files

        photos: dict[str, Any] = {}
        others: list[str] = []
        why = ""
        for path in self.path:
            try:
                found = _files.find(path, self._folder, self._wanted, recursive=self.recursive)
            except urls.AddressError as error:
                return Listing([], why=f"{path}: {error}")
            why = found.why
            if not found.photos:
                return Listing([], found.others, why)
            photos.update((str(each), each) for each in found.photos)
            others += found.others
        return Listing(list(photos.values()), list(dict.fromkeys(others)), why)

    def _wanted(self, inside: str) -> bool:
        """Return whether a file or folder, by its path in the folder named, is not excluded."""
        if not self.exclude:
            return True
        parts = inside.split("/")
        paths = (*parts, *("/".join(parts[:end]) for end in range(2, len(parts) + 1)))
        patterns = [pattern.rstrip("/") for pattern in self.exclude]
        return not any(fnmatchcase(path, pattern) for path in paths for pattern in patterns)


@hookimpl
def alignimation_photo_sources() -> Sequence[type[PhotoSource]]:
    """Return the built-in sources."""
    return [Files]
