"""Finished outputs take their names in a row: all of them or, after an exception, none."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath

from alignimation_core.api import atomic


class Exchange:
    """Puts files and folders in the place of those of their names.

    A file is replaced in one step. A folder is in two: if the process is killed between them, none
    stands there until ``give_back``.

    Args:
        folder: where they are to stand.
        aside: for what they replace: a folder of the same disk, which need not exist, but for that
            which it is in.
    """

    def __init__(self, folder: Path, aside: Path) -> None:
        self._folder, self._aside = folder, aside
        self._done: list[tuple[Path, str]] = []

    def put(self, new: Path, name: str) -> None:
        """Put a file or folder under a name; keep what it replaces.

        Raises:
            OSError: that cannot be done; ``undo`` brings everything back.
        """
        final, old = self._folder / name, self._aside / name
        for above in reversed(PurePosixPath(name).parents):
            (self._aside / above).mkdir(exist_ok=True)
            (self._folder / above).mkdir(exist_ok=True)
        self._done.append((new, name))
        if final.is_dir() or (new.is_dir() and final.exists()):
            final.rename(old)
        elif final.exists():
            try:
                os.link(final, old)
            except OSError:  # a disk without hard links
                final.rename(old)
        new.replace(final)

    def sync(self) -> None:
        """Wait until the disk holds the names.

        Raises:
            OSError: it does not.
        """
        for folder in {(self._folder / name).parent for _, name in self._done}:
            atomic.sync(folder)

    def undo(self) -> bool:
        """Bring back what was replaced; return whether all of it is back."""
        back = True
        for new, name in reversed(self._done):
            final, old = self._folder / name, self._aside / name
            try:
                if not new.exists():
                    final.rename(new)
                if old.exists():
                    old.replace(final)
            except OSError:
                back = False
        self._done.clear()
        return back

    def give_back(self, name: str, knows: Callable[[str], bool]) -> None:
        """Give back what no run wrote of what an output replaced; all, where nothing stands.

        Args:
            name: the output.
            knows: whether a run wrote a file of this path.
        """
        final, old = self._folder / name, self._aside / name
        if os.path.lexists(old) and not os.path.lexists(final):
            old.rename(final)
        if not old.is_dir():
            return
        for path in sorted(old.rglob("*")):
            inside = path.relative_to(self._aside)
            if not path.is_dir() and not knows(inside.as_posix()):
                with suppress(OSError):
                    (self._folder / inside).parent.mkdir(parents=True, exist_ok=True)
                    if not os.path.lexists(self._folder / inside):
                        path.rename(self._folder / inside)
