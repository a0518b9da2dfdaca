"""Calls to photo sources, and the validation of what they return."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignimation_core.api.errors import AlignimationError, PhotoError, in_one_line
from alignimation_core.api.files import Listing, SourcePhoto
from alignimation_core.api.stages.sources import PhotoSource
from alignimation_core.plugin.guard import call, stage_errors
from alignimation_core.plugin.registry import registry

if TYPE_CHECKING:
    from alignimation_core.api.data import File

KIND = "photo_source"


def source_for(text: str, place: Path | None, folder: Path) -> PhotoSource:
    """Return the source of what a recipe only names: that which recognises it, else ``files``.

    Args:
        text: as it stands in the recipe.
        place: the same as an absolute path; None for an address.
        folder: what the text is relative to.

    Raises:
        StageError: the source's own code fails.
        ValueError: several sources recognise it.
    """
    stages = registry().stages[KIND]
    able = [] if place is None else recognising(place)
    if len(able) > 1:
        raise ValueError(f"it could be for {' or '.join(able)}; say which: {{use: {able[0]}, ...}}")
    chosen: Any = stages[able[0] if able else "files"].stage
    path = str(place) if able else text
    with stage_errors(KIND, chosen):
        source: PhotoSource = chosen.model_validate({"path": path}, context={"folder": folder})
    return source


def recognising(place: Path) -> list[str]:
    """Return the names of the sources that recognise a file or folder, an absolute path.

    Raises:
        StageError: a source's own code fails.
    """
    able = []
    for name, found in sorted(registry().stages[KIND].items()):
        stage: Any = found.stage
        with stage_errors(KIND, stage):
            if stage.recognises(place):
                able.append(name)
    return able


def find(source: PhotoSource) -> Listing:
    """List a source's photos.

    Raises:
        StageError: the source raised, or returned what its hook does not allow.
    """
    with stage_errors(KIND, source):
        listing: object = source.find()
        if not isinstance(listing, Listing):
            raise TypeError(f"find: expected a Listing, got {type(listing).__name__}")
        for photo in listing.photos:
            _check(photo)
        return listing


def _check(photo: File) -> None:
    if isinstance(photo, SourcePhoto):
        return
    if isinstance(photo, Path) and not photo.is_absolute():
        raise ValueError(f"find: expected absolute paths, got {str(photo)!r}")
    if not hasattr(photo, "as_posix"):
        raise TypeError(f"find: expected paths or SourcePhoto, got {type(photo).__name__}")


def open_photo(photo: SourcePhoto) -> bytes | Path:
    """Return the bytes of a photo, or the local file that it is.

    Raises:
        PhotoError: whatever the source raised, or that it returned something else.
    """
    source: Any = photo.source
    try:
        opened: object = call(KIND, source, lambda: source.open(photo.key))
    except PhotoError as error:
        raise PhotoError(photo, error.reason) from error
    except AlignimationError as error:
        reason = getattr(error, "reason", None) or in_one_line(error)
        raise PhotoError(photo, f"{source.name} cannot open it: {reason}") from error
    if not isinstance(opened, bytes | Path):
        what = f"expected bytes or a Path, got {type(opened).__name__}"
        raise PhotoError(photo, f"{source.name} cannot open it: {what}")
    return opened
