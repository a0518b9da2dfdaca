"""The base class of photo sources."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from alignimation_core.api.files import Listing
from alignimation_core.api.stages import Stage


class PhotoSource(Stage):
    """Lists photos with what it knows of them, and opens them.

    It travels to other processes with each photo, as its options; what it keeps open it opens
    there again.
    """

    @classmethod
    def recognises(cls, path: Path) -> bool:  # noqa: ARG003
        """Return whether a file or folder that a recipe only names is for this source.

        A source that says so takes it as its option ``path``. What no source recognises is for
        ``files``.

        Args:
            path: absolute; there may be nothing.
        """
        return False

    @abstractmethod
    def find(self) -> Listing:
        """List the photos, and open none.

        Returns:
            Each photo once; and what was passed over.
        """

    def open(self, key: str) -> bytes | Path:
        """Open a photo of the listing that is no plain path; several threads may ask at once.

        Args:
            key: of the ``SourcePhoto``.

        Returns:
            The bytes of the picture's file, in any format, or the local file itself.

        Raises:
            PhotoError: it cannot be read; what else is raised fails that photo, too.
        """
        raise KeyError(key)
