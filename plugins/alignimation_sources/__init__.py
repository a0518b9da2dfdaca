"""Photo sources: files and folders, archives, Google Takeouts, films."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr

from alignimation_core import Listing, PhotoSource, SourcePhoto, hookimpl
from alignimation_core.api import urls
from alignimation_core.api.stages import RecipePath

if TYPE_CHECKING:
    from alignimation_sources._takeout import Shot

logger = logging.getLogger(__name__)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path) else value


def _home(given: Any) -> Any:
    return Path(given).expanduser() if isinstance(given, str) else given


SourcePath = Annotated[
    RecipePath,
    BeforeValidator(_home, json_schema_input_type=str),
    AfterValidator(lambda path: Path(os.path.abspath(path))),  # noqa: PTH100 - links stay
]
"""A file or folder that is named, absolute."""

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


class Archive(PhotoSource):
    """Photos in ZIP and TAR archives, read in place.

    Nothing is unpacked but a compressed TAR, whose photos are copied into a temporary file without
    a name. What is far larger than its size in the archive allows is refused.
    """

    name: ClassVar[str] = "archive"

    path: Annotated[
        tuple[SourcePath, ...],
        LISTED,
        Field(description="archive (.zip, .tar, .tar.gz, ...), or a list of them", min_length=1),
    ]

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is an archive, but no Google Takeout."""
        from alignimation_sources import _archive

        return _archive.is_archive(path) and not Takeout.recognises(path)

    def find(self) -> Listing:
        """List the pictures in the archives."""
        from alignimation_sources import _archive
        from alignimation_sources._walk import is_photo

        photos: list[SourcePhoto] = []
        others: list[str] = []
        for path in self.path:
            try:
                archive = _archive.opened(path)
            except _archive.ArchiveError as error:
                return Listing([], why=str(error))
            for member in archive.members:
                place = f"{path}/{member.name}"
                if not _archive.is_shown(member.name):
                    continue
                if is_photo(member.name):
                    photos.append(
                        SourcePhoto(
                            self,
                            f"{path}\0{member.key}",
                            place,
                            modified=member.modified,
                            version=member.version,
                        )
                    )
                else:
                    others.append(place)
        return Listing(photos, others, f"{path} holds no photos")

    def open(self, key: str) -> bytes:
        """Return the bytes of a member."""
        from alignimation_sources import _archive

        path, _, member = key.rpartition("\0")
        return _archive.opened(Path(path)).read(member)


class Takeout(PhotoSource):
    """Google Photos as Google Takeout gives them: folders or archives, with JSON sidecars.

    One part stands for all parts of its export that lie beside it. Each photo comes once, however
    many albums it is in, as it was edited, dated by ``photoTakenTime`` where it has no EXIF date;
    what was in the bin is left out.
    """

    name: ClassVar[str] = "takeout"

    path: Annotated[
        tuple[SourcePath, ...],
        LISTED,
        Field(description="folder or archive of a takeout, or a list of them", min_length=1),
    ]
    albums: Annotated[
        tuple[str, ...],
        LISTED,
        Field(description="only photos in one of these albums, by their titles"),
    ] = ()
    persons: Annotated[
        tuple[str, ...],
        LISTED,
        Field(description="only photos in which Google Photos knows one of these people"),
    ] = ()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether a folder has Google's sidecars, or an archive is of a takeout."""
        from alignimation_sources import _takeout

        return _takeout.is_takeout(path)

    def find(self) -> Listing:
        """List the photos of all parts, with what their sidecars say."""
        from alignimation_sources import _takeout
        from alignimation_sources._archive import ArchiveError

        try:
            found = _takeout.contents(self.path)
            gaps = [*_takeout.missing(_takeout.containers(self.path))]
        except ArchiveError as error:
            return Listing([], why=str(error))
        if gaps:
            logger.warning(
                "takeout: %s %s missing beside the other parts: what is in there is not used; "
                "download it again",
                ", ".join(gaps),
                "is" if len(gaps) == 1 else "are",
            )
        photos = [
            SourcePhoto(
                self,
                f"{shot.entry.container}\0{shot.entry.member.key}",
                f"{shot.entry.container}/{shot.entry.member.name}",
                taken=shot.taken,
                taken_from="takeout" if shot.taken else "",
                modified=shot.entry.member.modified,
                albums=shot.albums,
                persons=shot.persons,
                version=shot.entry.member.version,
            )
            for shot in found.shots
            if not self.albums or {*self.albums} & {*shot.albums}
            if not self.persons or {*self.persons} & {*shot.persons}
        ]
        return Listing(photos, found.others, self._why(found.shots))

    def _why(self, shots: Sequence[Shot]) -> str:
        """Return why there are no photos, if there are none."""
        for what in ("albums", "persons"):
            there = sorted({name for shot in shots for name in getattr(shot, what)})
            if wanted := getattr(self, what):
                names = ", ".join(there[:20]) or "none"
                return f"the takeout has no photos of {', '.join(wanted)}; its {what}: {names}"
        return f"{self.path[0]} holds no photos"

    def open(self, key: str) -> bytes | Path:
        """Return the bytes of a photo in an archive, or the file in a folder."""
        from alignimation_sources import _archive

        path, _, member = key.rpartition("\0")
        container = Path(path)
        return container / member if container.is_dir() else _archive.opened(container).read(member)


class Video(PhotoSource):
    """Frames of a film, dated by the container's creation time.

    Frames come upright and with square pixels. Where the container has no date, a date in the
    film's name counts, as for photos.
    """

    name: ClassVar[str] = "video"

    path: Annotated[
        tuple[SourcePath, ...],
        LISTED,
        Field(description="film (.mp4, .mov, .mkv, ...), or a list of them", min_length=1),
    ]
    seconds: Annotated[
        float,
        Field(description="seconds from one frame to the next", gt=0, allow_inf_nan=False),
    ] = 1.0
    every: Annotated[
        int | None, Field(description="take every n-th frame, instead of by seconds", ge=1)
    ] = None

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Return whether it is a film by its name."""
        from alignimation_sources import _video

        return path.suffix.lower() in _video.ENDINGS and path.is_file()

    def find(self) -> Listing:
        """List the frames that are wanted; the container is read, no frame is decoded."""
        from alignimation_sources import _video

        photos: list[SourcePhoto] = []
        for path in self.path:
            try:
                film = _video.read(path, self.every, self.seconds)
            except _video.FilmError as error:
                return Listing([], why=str(error))
            known = path.stat()
            for time in film.times:
                at = film.seconds(time)
                photos.append(
                    SourcePhoto(
                        self,
                        f"{path}\0{time}",
                        f"{path}#t={at:.3f}",
                        taken=film.created and film.created + timedelta(seconds=at),
                        taken_from="video" if film.created else "",
                        modified=datetime.fromtimestamp(known.st_mtime, UTC),
                        version=f"{known.st_size} {known.st_mtime_ns} {_video.fingerprint()}",
                    )
                )
        return Listing(photos)

    def open(self, key: str) -> bytes:
        """Return a frame as the bytes of a PPM picture."""
        from alignimation_sources import _video

        path, _, time = key.rpartition("\0")
        return _video.frame(Path(path), int(time))


@hookimpl
def alignimation_photo_sources() -> Sequence[type[PhotoSource]]:
    """Return the built-in sources."""
    return [Files, Archive, Takeout, Video]
