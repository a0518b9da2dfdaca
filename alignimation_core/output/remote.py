"""Outputs at an address: written into a local working folder, then uploaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from alignimation_core.api import atomic, urls
from alignimation_core.api.errors import AlignimationError, OutputError
from alignimation_core.output import obstacles as outputs
from alignimation_core.output.folder import TABLE, OutputFolder
from alignimation_core.output.obstacles import TRIAL
from alignimation_core.output.remote_files import RemoteFiles
from alignimation_core.output.written import Content, LocalFiles, Written, contents_of
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME, REPORT_FOLDER, REPORT_NAME, Record
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


def output_folder(recipe: Recipe, *, trial: bool = False) -> OutputFolder:
    """Return the output folder of a recipe, here or at an address; of a trial run its own."""
    paths = [renderer.path for renderer in recipe.renderers]
    report = recipe.report is not False
    if isinstance(recipe.output, str):
        return RemoteFolder(recipe.output, paths, trial=trial, report=report)
    return OutputFolder(recipe.folder / recipe.output, paths, trial=trial, report=report)


class RemoteFolder(OutputFolder):
    """An output folder at an address.

    A run works in ``folder``, on this machine, as it does in any output folder. What is uploaded in
    the end is removed from ``folder``; the store stays. ``address`` has no slash at its end. Runs
    on this machine wait for each other; of those on others nothing is known.
    """

    address: str

    def __init__(
        self, address: str, paths: Iterable[str], *, trial: bool = False, report: bool = False
    ) -> None:
        super().__init__(working_folder(address), paths, trial=trial, report=report)
        self._home = address.rstrip("/")
        self.address = f"{self._home}/{TRIAL}" if trial else self._home
        self._stood: list[str] = []

    @property
    def where(self) -> str:
        """The address."""
        return self.address

    def obstacles(self) -> list[tuple[Location, str]]:
        """Return what stands in the way; that the address cannot be used at all is one, too."""
        try:
            self._place.fs.invalidate_cache()
            record = self._read(RECORD_NAME)
            if record is None and (missing := urls.missing_bucket(self._place)):
                return [(("output",), f"{self.address}: {missing}")]
            written = self._load_there(record)
            found: list[tuple[Location, str]] = []
            if record is not None and outputs.listed(record) is None:
                what = "is no run record; move it away, or choose another folder"
                found.append((("output",), f"{self.address}/{RECORD_NAME} {what}"))
            for i, path in enumerate(self._paths):
                why = outputs.own_folder(path) or self._obstacle_there(path, written, record)
                if why is not None:
                    found.append((("renderers", i, "path"), why))
            for each in self._report:
                if (why := self._obstacle_there(each, written, record)) is not None:
                    why = why.replace("choose another path", "set `report: false`")
                    found.append((("report",), why))
            return found
        except Exception as error:  # backends raise their own, such as botocore's
            return [(("output",), f"{self.address}: {urls.reason(error)}")]

    def bring_store(self) -> None:
        """Make the working folder, and bring the store of earlier runs; see ``RemoteStore``.

        Raises:
            OutputError: the address cannot be read, or the working folder cannot be made.
        """
        super().bring_store()
        with self._told("cannot be used for outputs"):
            self._place.fs.invalidate_cache()
            self._store.fetch()

    def prepare(self, photos: int = 0) -> list[str]:
        """Bring the store, and make room for what is rendered.

        Returns:
            The outputs of earlier runs that stand at the address, as they wrote them.

        Raises:
            OutputError: the address cannot be read or written, or the working folder cannot be
                made.
        """
        super().prepare(photos)
        with self._told("cannot be used for outputs"):
            self._try_writing()
            self._stood = self._load_there(self._read(RECORD_NAME)).standing()
        return self._stood

    def publish(self, record: Record, names: Sequence[str]) -> None:
        """Put finished outputs into the working folder, from where ``finish`` uploads them.

        Raises:
            OutputError: that cannot be done.
        """
        self.check()
        try:
            for each in names:
                (self.folder / each).parent.mkdir(parents=True, exist_ok=True)
                _remove(self.folder / each)
                (self.rendering / each).replace(self.folder / each)
        except OSError as error:
            what = atomic.reason(error, "set XDG_CACHE_HOME to another folder")
            raise OutputError(f"{error.filename or self.folder}: {what}") from error
        report = {REPORT_NAME, REPORT_FOLDER}.intersection(names)
        record.stand(names, record.kept, dict.fromkeys(report, ""))
        self.published = True
        self._clear()

    def fail(self, record: Record) -> None:
        """Upload the store and the record of a run that has failed."""
        self._clear()
        record.stand([], [], {})
        self.finish(record)

    def finish(self, record: Record) -> None:
        """Upload a run's outputs, its store and, last, its record.

        The record's ``kept`` becomes what else stands at the address, and ``run.json`` is written
        into the working folder too. Every file is replaced as a whole; a folder of frames is
        rid of those of earlier runs.

        Raises:
            OutputError: something cannot be uploaded, or meanwhile somebody else wrote to the place
                of an output; the outputs are still in the working folder, as the text says.
        """
        kept = f"; the outputs are kept in {self.folder}" if record.outputs else ""
        made = [*record.outputs, *record.report]
        record.write()  # beside the outputs, should they have to stay there
        with self._told("cannot be uploaded to", kept):
            self._place.fs.invalidate_cache()
            there = self._read(RECORD_NAME)
            written = self._load_there(there)
            for each in made:
                if (what := self._obstacle_there(each, written, there)) is not None:
                    raise OutputError(what + kept)
            kept_there = [each for each in written.standing() if each not in made]
            local = LocalFiles(self.folder)
            contents = {
                each: {
                    path: content._replace(stamp=None)
                    for path, content in contents_of(local, each).items()
                }
                for each in made
            }
            record.stand(made, kept_there, written.digests(kept_there, contents))
            if made:
                stood = [path for each in made for path in self._there.listing(each)]
                earlier = {*filter(written.knows, stood)}
                self._claim(record, written, contents)
                for each in made:
                    self._put_output(each, earlier, contents[each])
                self._place.fs.invalidate_cache()
                written.settle(contents)
                self._save_there(written)
            self._store.upload()
            self._put(record.write(), RECORD_NAME)
        for each in made:
            _remove(self.folder / each)

    def _claim(
        self, record: Record, written: Written, contents: Mapping[str, Mapping[str, Content]]
    ) -> None:
        """Say at the address whose the outputs are, should the upload be killed half way."""
        written.claim(contents)
        self._save_there(written)
        claim = record.as_json() | {
            "outputs": [],
            "report": {},
            "error": "the upload did not finish",
        }
        self._place.fs.pipe_file(self._path(RECORD_NAME), json.dumps(claim, indent=1).encode())

    def _make(self) -> None:
        try:
            (self.folder / HIDDEN).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder}: cannot be made ({error.strerror}), and outputs are written there "
                f"before they go to {self.address}; set XDG_CACHE_HOME to another folder"
            ) from error

    def _standing(self) -> list[str]:
        return self._stood  # at the address, which an interrupted run does not ask again

    def _state(self, record: Record, contents: Mapping[str, Mapping[str, Content]]) -> None:
        record.outputs = [*contents]

    @cached_property
    def _place(self) -> UPath:
        return urls.at(self.address)

    @cached_property
    def _there(self) -> RemoteFiles:
        return RemoteFiles(self._place.fs, self._place.path.rstrip("/"))

    @cached_property
    def _store(self) -> RemoteStore:
        return RemoteStore(urls.at(self._home), self.store_folder, self._put_store)

    def _path(self, name: str) -> str:
        return f"{self._place.path.rstrip('/')}/{name}"

    def _read(self, name: str) -> bytes | None:
        try:
            data: bytes = self._place.fs.cat_file(self._path(name))
        except FileNotFoundError:
            return None
        return data

    def _load_there(self, record: bytes | None) -> Written:
        """Return what runs wrote at the address, whose run record is given."""
        listed = outputs.listed(record or b"")
        digests = listed.digests if listed else {}
        return Written.load(self._there, self._read(TABLE) or b"", digests)

    def _save_there(self, written: Written) -> None:
        path = self._path(TABLE)
        self._make_parent(path)
        self._place.fs.pipe_file(path, written.text())

    def _obstacle_there(self, path: str, written: Written, record: bytes | None) -> str | None:
        """Return why an output must not be uploaded; None where it may."""
        relative = PurePosixPath(outputs.name(path))
        for part in (*reversed(list(relative.parents)[:-1]), relative):
            info = urls.look(self._place, self._path(str(part)))
            if info is None:
                return None
            if info["type"] == "link" or info.get("islink"):
                return f"{self.address}/{part} is a link; outputs are not written through links"
            if part != relative and info["type"] != "directory":
                return f"{self.address}/{part} is a file; choose another path"
        strange = written.strangers(str(relative))
        if str(relative) in written.names and not strange:
            return None
        listed = outputs.listed(record or b"")
        return outputs.stranger(self.address, str(relative), strange, listed, written)

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

    def _put_store(self, local: Path, name: str) -> None:
        path = f"{urls.at(self._home).path.rstrip('/')}/{name}"
        self._make_parent(path)
        self._place.fs.put_file(str(local), path)

    def _put_output(self, name: str, earlier: set[str], contents: Mapping[str, Content]) -> None:
        """Upload an output; remove what else of it an earlier run has uploaded."""
        left = {path for path in earlier - {*contents} if f"{path}/".startswith(f"{name}/")}
        info = urls.look(self._place, self._path(name))
        if info is not None and (info["type"] == "directory") != (self.folder / name).is_dir():
            self._each(self._remove_remote, left)
            left = set()
            if not self._place.fs.async_impl:
                with suppress(OSError, NotImplementedError):
                    self._place.fs.rmdir(self._path(name))
        self._each(lambda path: self._put(self.folder / path, path), contents)
        self._each(self._remove_remote, left)

    def _remove_remote(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._place.fs.rm_file(self._path(name))

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
