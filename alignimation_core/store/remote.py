"""The store of an output folder at an address: brought before a run, uploaded after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from alignimation_core.api import atomic, urls
from alignimation_core.api.errors import OutputError
from alignimation_core.store.database import HIDDEN, alone

if TYPE_CHECKING:
    from upath import UPath

STORE = f"{HIDDEN}/store.sqlite3"


class RemoteStore:
    """The store at an address, and its copy in the working folder of this machine.

    Beside the copy, ``store.stamp`` says which version of the store at the address was last brought
    or uploaded. Where another machine has uploaded since, the larger of the two stores stays.

    Args:
        place: the output folder.
        folder: its working folder; that and its ``.alignimation`` exist.
        put: uploads a local file under a name in the output folder.
    """

    def __init__(self, place: UPath, folder: Path, put: Callable[[Path, str], None]) -> None:
        self._there, self._local, self._put = place / STORE, folder / STORE, put
        self._stamp = self._local.with_name("store.stamp")

    def fetch(self) -> None:
        """Bring the store if it is new here, and neither smaller than the copy nor that in use.

        Raises:
            OutputError: another run has kept the copy for a minute.
            Exception: whatever the file system raises.
        """
        with alone(self._local):
            size, stamp = self._news()
            if size is None or (self._local.exists() and size < _settled_size(self._local)):
                return
            with atomic.AtomicWrite(self._local) as part:
                self._there.fs.get_file(self._there.path, str(part))
            self._note(stamp)

    def upload(self) -> None:
        """Upload a consistent copy of the store, which other runs may be writing to.

        A store that another machine has uploaded since ``fetch`` stays, if it is larger.

        Raises:
            OutputError: it cannot be copied.
            Exception: whatever the file system raises.
        """
        if not self._local.exists():
            return
        upload = atomic.AtomicWrite(self._local.with_name("store.upload"))
        copy = upload.part / self._local.name
        try:
            upload.part.mkdir()
            with (
                closing(sqlite3.connect(self._local)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
            size, _ = self._news()
            if size is None or size <= copy.stat().st_size:
                self._put(copy, STORE)
                self._note(urls.stamp(self._there))
        except sqlite3.Error as error:
            raise OutputError(
                f"{self._local}: cannot be copied to be uploaded ({error}); make room, or delete "
                "it, which costs nothing but time"
            ) from error
        finally:
            upload.discard()

    def _news(self) -> tuple[int | None, str | None]:
        """Return size, bytes, and stamp of a store at the address that is not yet known here.

        The size is None where there is none, or the one that was last brought or uploaded, or, with
        a copy here, where the file system does not say what changes with a file.
        """
        info = urls.look(self._there)
        if info is None:
            return None, None
        stamp = urls.stamp(self._there)
        if self._local.exists() and stamp in (None, self._noted()):
            return None, stamp
        return info.get("size") or 0, stamp

    def _noted(self) -> str:
        try:
            return self._stamp.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def _note(self, stamp: str | None) -> None:
        self._stamp.write_text(stamp or "", encoding="utf-8")


def _settled_size(store: Path) -> float:
    """Return the size of a store, bytes, all of it brought into its one file.

    It is infinite where another run has the store open, or it is damaged: so it is left alone.
    """
    try:
        with closing(sqlite3.connect(store, timeout=0)) as db:
            db.execute("PRAGMA journal_mode = DELETE")  # fails while anyone else has it open
        return store.stat().st_size
    except sqlite3.Error:
        return float("inf")
