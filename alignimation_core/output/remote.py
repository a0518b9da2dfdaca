"""Outputs at an address: written into a local working folder, then uploaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from alignimation_core.api import urls
from alignimation_core.api.errors import AlignimationError, OutputError
from alignimation_core.output import folder as outputs
from alignimation_core.output.folder import OutputFolder
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME, Record
from alignimation_core.store.database import HIDDEN
from alignimation_core.store.remote import RemoteStore

if TYPE_CHECKING:
    from upath import UPath

THREADS = 8
"""How many files go to an object store, or are removed from it, at once."""

T = TypeVar("T")


def working_folder(address: str) -> Path:
    """Return the local folder of an address, which need not exist.

    ``$XDG_CACHE_HOME/alignimation/outputs/<digest of the address>``; without ``XDG_CACHE_HOME``,
    ``~/.cache`` in its place.
    """
    cache = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")  # noqa: PTH111
    digest = hashlib.sha256(address.rstrip("/").encode("utf-8", "surrogateescape")).hexdigest()
    return Path(cache).absolute() / "alignimation" / "outputs" / digest[:32]


def output_folder(recipe: Recipe) -> OutputFolder:
    """Return the output folder of a recipe, here or at an address."""
    paths = [renderer.path for renderer in recipe.renderers]
    if isinstance(recipe.output, str):
        return RemoteFolder(recipe.output, paths)
    return OutputFolder(recipe.folder / recipe.output, paths)


class RemoteFolder(OutputFolder):
    """An output folder at an address.

    A run works in ``folder``, on this machine, as it does in any output folder. What is uploaded in
    the end is removed from ``folder``; the store stays. ``address`` has no slash at its end.
    """

    address: str
    shared = False

    def __init__(self, address: str, paths: Iterable[str]) -> None:
        super().__init__(working_folder(address), paths)
        self.address = address.rstrip("/")

    def obstacles(self) -> list[tuple[Location, str]]:
        """Return what stands in the way; that the address cannot be used at all is one, too."""
        try:
            self._place.fs.invalidate_cache()
            return list(self._obstacles(self._paths))
        except Exception as error:  # backends raise their own, such as botocore's
            return [(("output",), f"{self.address}: {urls.reason(error)}")]

    def prepare(self) -> list[str]:
        """Make the working folder, and bring the store of earlier runs; see ``RemoteStore``.

        Returns:
            The outputs of earlier runs that stand at the address, as its run record names them.

        Raises:
            OutputError: the address cannot be read or written, or the working folder cannot be
                made.
        """
        try:
            (self.folder / HIDDEN).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be made ({error.strerror}), and outputs are written there "
                f"before they go to {self.address}; set XDG_CACHE_HOME to another folder"
            ) from error
        with self._told("cannot be used for outputs"):
            self._place.fs.invalidate_cache()
            self._try_writing()
            self._store.fetch()
            earlier = [each for each in sorted(self._listed()) if self._look(each) is not None]
        self._ours.update(earlier)
        return earlier

    def finish(self, record: Record) -> None:
        """Upload a run's outputs, its store and, last, its record.

        The record's ``kept`` becomes what else stands at the address, and ``run.json`` is written
        into the working folder too. Every file is replaced as a whole; a folder of frames is
        rid of what is no part of it.

        Raises:
            OutputError: something cannot be uploaded, or meanwhile somebody else wrote to the place
                of an output; outputs are still in the working folder, as the text says.
        """
        kept = f"; the outputs are kept in {self.folder}" if record.outputs else ""
        record.write()  # beside the outputs, should they have to stay there
        with self._told("cannot be uploaded to", kept):
            self._place.fs.invalidate_cache()
            earlier = self._listed()
            for _, text in self._obstacles(record.outputs):
                raise OutputError(text + kept)
            if record.outputs:
                self._claim(record, earlier)
            for name in record.outputs:
                self._put_output(name)
            self._store.upload()
            others = sorted(earlier - set(record.outputs))
            record.kept = [name for name in others if self._look(name) is not None]
            self._put(record.write(), RECORD_NAME)
        for name in record.outputs:
            _remove(self.folder / name)

    def _claim(self, record: Record, earlier: frozenset[str]) -> None:
        """Say at the address whose the outputs are, should the upload be killed half way."""
        claim = record.as_json() | {
            "outputs": [],
            "kept": sorted({*earlier, *record.outputs}),
            "error": "the upload did not finish",
        }
        self._place.fs.pipe_file(self._path(RECORD_NAME), json.dumps(claim, indent=1).encode())

    @cached_property
    def _place(self) -> UPath:
        return urls.at(self.address)

    @cached_property
    def _store(self) -> RemoteStore:
        return RemoteStore(self._place, self.folder, self._put)

    def _path(self, name: str) -> str:
        return f"{self._place.path.rstrip('/')}/{name}"

    def _look(self, name: str) -> dict[str, Any] | None:
        return urls.look(self._place, self._path(name))

    def _record(self) -> bytes | None:
        try:
            data: bytes = self._place.fs.cat_file(self._path(RECORD_NAME))
        except FileNotFoundError:
            return None
        return data

    def _listed(self) -> frozenset[str]:
        return outputs.listed(self._record() or b"")

    def _obstacles(self, paths: list[str]) -> Iterator[tuple[Location, str]]:
        record = self._record()
        if record is None and (missing := urls.missing_bucket(self._place)):
            yield ("output",), f"{self.address}: {missing}"
            return
        if record is not None and not outputs.is_record(record):
            what = "is no run record; move it away, or choose another folder"
            yield ("output",), f"{self.address}/{RECORD_NAME} {what}"
        earlier = outputs.listed(record or b"")
        for i, path in enumerate(paths):
            relative = PurePosixPath(outputs.name(path))
            for part in (*reversed(list(relative.parents)[:-1]), relative):
                final = part == relative
                if obstacle := self._obstacle(str(part), final=final, ours=str(part) in earlier):
                    yield ("renderers", i, "path"), f"{self.address}/{part} {obstacle}"
                    break

    def _obstacle(self, name: str, *, final: bool, ours: bool) -> str | None:
        info = self._look(name)
        if info is None:
            return None
        if info["type"] == "link" or info.get("islink"):
            return "is a link; outputs are not written through links"
        if not final and info["type"] != "directory":
            return "is a file; choose another path"
        if final and not ours:
            return "is no output of an earlier run; move it away, or choose another path"
        return None

    def _try_writing(self) -> None:
        """Write a small file, so that what forbids it shows now, and not after the whole run."""
        path = self._path(f"{HIDDEN}/probe")
        self._make_parent(path)
        self._place.fs.pipe_file(path, b"alignimation may write here")
        with suppress(Exception):  # some may write, but not remove
            self._place.fs.rm_file(path)

    def _make_parent(self, path: str) -> None:
        if not self._place.fs.async_impl:  # object stores have no folders to make
            self._place.fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    def _put(self, local: Path, name: str) -> None:
        path = self._path(name)
        self._make_parent(path)
        self._place.fs.put_file(str(local), path)

    def _put_output(self, name: str) -> None:
        local = self.folder / name
        files = [path for path in local.rglob("*") if path.is_file()] if local.is_dir() else [local]
        ours = {path.relative_to(self.folder).as_posix(): path for path in files}
        stood = self._files(name)
        info = self._look(name)
        if info is not None and (info["type"] == "directory") != local.is_dir():
            self._each(self._remove_remote, stood)
            if not self._place.fs.async_impl:
                with suppress(OSError, NotImplementedError):
                    self._place.fs.rmdir(self._path(name))
        self._each(lambda item: self._put(item[1], item[0]), ours.items())
        self._each(self._remove_remote, stood - {self._path(each) for each in ours})

    def _files(self, name: str) -> set[str]:
        """Return the path of a remote file, or of every file in a remote folder."""
        try:
            return set(self._place.fs.find(self._path(name)))
        except FileNotFoundError:
            return set()

    def _remove_remote(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._place.fs.rm_file(path)

    def _each(self, verb: Callable[[T], None], items: Iterable[T]) -> None:
        with ThreadPoolExecutor(THREADS if self._place.fs.async_impl else 1) as pool:
            list(pool.map(verb, items))

    @contextmanager
    def _told(self, what: str, more: str = "") -> Iterator[None]:
        """Turn whatever a file system raises into an ``OutputError``."""
        try:
            yield
        except AlignimationError:
            raise
        except Exception as error:  # backends raise their own, such as botocore's
            why = urls.reason(error)
            raise OutputError(f"{self.address}: {what}: {why}{more}") from error


def _remove(path: Path) -> None:
    """Remove what has been uploaded; if that fails, it stays as any file in a cache may."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
