"""Output folder: which existing files a run may overwrite, and the run record in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

from alignimation_core.api import atomic
from alignimation_core.api.errors import OutputError
from alignimation_core.output import lock
from alignimation_core.output.exchange import Exchange
from alignimation_core.output.obstacles import TRIAL, listed, name, own_folder, stranger
from alignimation_core.output.written import Content, LocalFiles, Written, contents_of
from alignimation_core.recipe.document import Location
from alignimation_core.record import RECORD_NAME, REPORT_FOLDER, REPORT_NAME, Record
from alignimation_core.store.database import HIDDEN, Anchor

TABLE = f"{HIDDEN}/outputs.json"
"""Which files runs wrote; see ``Written``."""
STAGING = "outputs-"
"""What a run's own folder in the hidden one begins with."""
RESERVE = 1 << 16, 1 << 11
"""Bytes kept free for the record of a run that fails for a full disk: of a run, and of a photo."""


class OutputFolder:
    """The output folder of one run on this machine.

    Renderers write into ``rendering``; ``publish`` gives all outputs their names at once. What
    stands under these names is replaced only where it is, file by file, what a run wrote. The
    paths are the renderers', relative to the folder.

    Attributes:
        folder: where the outputs are to stand.
        store_folder: where the store is: trial runs share that of the whole.
        address: where the outputs go in the end, if that is not ``folder``.
        published: whether the outputs have their names, and the record says so.

    Args:
        folder: the output folder of the recipe.
        paths: of the renderers.
        trial: whether it is a trial run, whose outputs go into a folder of their own.
        report: whether a report is to stand there, too.
    """

    address: str | None = None

    def __init__(
        self, folder: Path, paths: Iterable[str], *, trial: bool = False, report: bool = False
    ) -> None:
        self.store_folder = folder
        self.folder = folder / TRIAL if trial else folder
        self.published = False
        self._paths = list(paths)
        self._report = [REPORT_NAME, REPORT_FOLDER] if report else []
        self._anchor: Anchor | None = None
        self._staging: Path | None = None
        self._files = LocalFiles(self.folder)
        self._written = Written(self._files)

    @property
    def where(self) -> str:
        """The output folder as messages name it."""
        return str(self.folder)

    @property
    def rendering(self) -> Path:
        """Where renderers write, in place of ``folder``; once it is prepared."""
        assert self._staging is not None
        return self._staging / "new"

    def obstacles(self) -> list[tuple[Location, str]]:
        """Return what stands in the way of the outputs, each with its location in the recipe."""
        found: list[tuple[Location, str]] = []
        if (what := self._unusable()) is not None:
            return [(("output",), what)]
        if (what := self._foreign_record()) is not None:
            found.append((("output",), what))
        self._load()
        for i, path in enumerate(self._paths):
            if (what := own_folder(path) or self._obstacle(name(path))) is not None:
                found.append((("renderers", i, "path"), what))
        for each in self._report:
            if (what := self._obstacle(each)) is not None:
                what = what.replace("choose another path", "set `report: false`")
                found.append((("report",), what))
        return found

    @contextmanager
    def alone(self, note: Callable[[str], None], *, wait: bool = True) -> Iterator[bool]:
        """Keep other runs out of the folder; yield whether one had it and was waited for.

        Args:
            note: takes one line for the user.
            wait: whether to wait for a run that has the folder.

        Raises:
            OutputError: another run has it, and is not to be waited for; or it cannot be written.
        """
        self._make()
        with lock.alone(self.folder / HIDDEN / "run.lock", self.where, note, wait=wait) as waited:
            try:
                yield waited
            finally:
                self._clear()

    def bring_store(self) -> None:
        """Make the folder, and have the store in it; another run may be under way.

        Raises:
            OutputError: it cannot be written.
        """
        self._make()

    def prepare(self, photos: int = 0) -> list[str]:
        """Make the folder; return the outputs of earlier runs that stand there.

        What a run that was killed has left is removed. Room is kept for the record of a run of so
        many photos, should the disk become full.

        Raises:
            OutputError: it cannot be written.
        """
        self.bring_store()
        self._anchor = Anchor(self.folder)
        self._load()
        with self._writable():
            self._remove_left()
            self._staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.folder / HIDDEN))
            self.rendering.mkdir()
        with suppress(OSError):
            atomic.reserve(self._staging / "reserve", RESERVE[0] + RESERVE[1] * photos)
        return self._standing()

    def check(self) -> None:
        """Make sure that the folder is still the one that was prepared.

        Raises:
            OutputError: it is gone, or lies on another disk now.
        """
        if self._anchor is not None:
            self._anchor.check()

    def publish(self, record: Record, names: Sequence[str]) -> None:
        """Give finished outputs their names, and the run its record: all of it or nothing.

        What they are about to hold is on the disk before, so that a killed run leaves nothing that
        is not known.

        Args:
            record: of the run, which did all that it was to do.
            names: of the outputs, which are in ``rendering``.

        Raises:
            OutputError: something cannot be written, or somebody else has written to the place of
                an output.
        """
        self.check()
        for each in names:
            if (what := self._obstacle(each, meanwhile=True)) is not None:
                raise OutputError(what)
        assert self._staging is not None
        new = LocalFiles(self.rendering)
        contents = {each: contents_of(new, each) for each in names}
        self._written.claim(contents)
        done, undone = self._staging / RECORD_NAME, self._staging / f"unfinished-{RECORD_NAME}"
        try:
            if (what := self._foreign_record()) is not None:
                raise OutputError(what)
            self._state(record, contents)
            unfinished = replace(record, outputs=[], report={}, error="the run did not finish")
            for path, each_record in ((done, record), (undone, unfinished)):
                each_record.save(path)
                atomic.sync(path)
            self._save_table()
            self._exchange(contents, done, undone)
        except OSError as error:
            self.check()  # where the folder went away, that is the reason
            what = atomic.reason(error, "set `output` to another place")
            raise OutputError(f"{error.filename or self.folder}: {what}") from error

    def write(self, record: Record) -> None:
        """Write the record of a run that has failed, and remove what it has rendered.

        Raises:
            OutputError: it cannot be written.
        """
        self._clear()
        self.check()
        self._state(record, {})
        self._write(record)

    def fail(self, record: Record) -> None:
        """Do all that is to be done with the record of a run that has failed."""
        self.write(record)

    def finish(self, record: Record) -> None:
        """Do what is left to do once the outputs have their names: here, nothing."""

    def _exchange(
        self, contents: Mapping[str, Mapping[str, Content]], done: Path, undone: Path
    ) -> None:
        """Put outputs in their places, between the record that says so and one that does not yet.

        Raises:
            OSError: one cannot be put there; then all is as before.
        """
        assert self._staging is not None
        rendering = self.rendering
        staging, self._staging = self._staging, None  # what it replaces is not to be removed
        row = Exchange(self.folder, staging / "old")
        try:
            row.put(undone, RECORD_NAME)
            for each in contents:
                row.put(rendering / each, each)
            row.sync()
            done.replace(self.folder / RECORD_NAME)
            atomic.sync(self.folder)
            self.published = True
        except BaseException:
            self.published = False
            if row.undo():
                self._staging = staging
            raise
        for each in contents:
            row.give_back(each, self._written.knows)
        self._staging = staging
        self._clear()
        if not staging.exists():  # what they replaced is still known otherwise, and not given back
            self._written.settle(contents)
            with suppress(OSError):  # it knows what they hold; it is only asked more slowly
                self._save_table()

    def _remove_left(self) -> None:
        """Remove what a run that was killed has left; give back what it was about to replace.

        Raises:
            OSError: something cannot be given back.
        """
        atomic.remove_left(self.folder / RECORD_NAME)
        for left in (self.folder / HIDDEN).glob(f"{STAGING}*"):
            if left.is_dir() and not left.is_symlink():
                row = Exchange(self.folder, left / "old")
                for each in self._written.names:
                    row.give_back(each, self._written.knows)
                shutil.rmtree(left, ignore_errors=True)

    def _unusable(self) -> str | None:
        """Return why the folder cannot be used at all."""
        hidden = self.folder / HIDDEN
        if self.folder != self.store_folder and self.folder.is_symlink():
            return f"{self.folder} is a link; trial runs are not written through links; remove it"
        if hidden.is_symlink():
            return (
                f"{hidden} is a link; the store is not written through links; remove it, or set "
                "`output` to another folder"
            )
        if hidden.exists() and not hidden.is_dir():
            return f"{hidden} is a file; remove it, or set `output` to another folder"
        return None

    def _foreign_record(self) -> str | None:
        """Return why the run record cannot be written; None where it can."""
        path = self.folder / RECORD_NAME
        ours = path.is_file() and not path.is_symlink() and listed(self._record()) is not None
        if os.path.lexists(path) and not ours:
            return f"{path} is no run record; move it away, or choose another folder"
        return None

    def _obstacle(self, output: str, *, meanwhile: bool = False) -> str | None:
        """Return why an output must not take its name; None where it may."""
        relative = PurePosixPath(output)
        for part in (*reversed(list(relative.parents)[:-1]), relative):
            here = self.folder / part
            if here.is_symlink() and not (meanwhile and part == relative):
                return f"{here} is a link; outputs are not written through links"
            if part != relative and here.exists() and not here.is_dir():
                return f"{here} is a file; choose another path"
        final = self.folder / output
        if not os.path.lexists(final):
            return None
        found = self._files.listing(output)
        strange = self._written.strangers(output, found)
        if output in self._written.names and not strange:
            return None
        if meanwhile and output not in self._written.names:
            return f"{final} appeared while the run went on; move it away, or choose another path"
        return stranger(self.where, output, strange, listed(self._record()), self._written)

    def _make(self) -> None:
        if (what := self._unusable()) is not None:
            raise OutputError(what)
        with self._writable():
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / HIDDEN).mkdir(exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass  # whether it can be written shows now, not after an hour

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise OutputError(
                f"{self.folder}: the output folder cannot be written: {what}; set `output`"
            ) from error

    def _load(self) -> None:
        """Read again what runs wrote there."""
        try:
            text = (self.folder / TABLE).read_bytes()
        except OSError:
            text = b""
        record = listed(self._record())
        self._written = Written.load(self._files, text, {} if record is None else record.digests)

    def _record(self) -> bytes:
        """Return what the run record in the folder holds; nothing where none can be read."""
        try:
            return (self.folder / RECORD_NAME).read_bytes()
        except OSError:
            return b""

    def _standing(self) -> list[str]:
        return self._written.standing()

    def _state(self, record: Record, contents: Mapping[str, Mapping[str, Content]]) -> None:
        """Have a record say which outputs there are, of which some are about to get their names."""
        kept = [each for each in self._standing() if each not in contents]
        record.stand([*contents], kept, self._written.digests(kept, contents))

    def _save_table(self) -> None:
        with atomic.AtomicWrite(self.folder / TABLE) as part:
            part.write_bytes(self._written.text())

    def _write(self, record: Record) -> None:
        if (what := self._foreign_record()) is not None:
            raise OutputError(what)
        record.write()

    def _clear(self) -> None:
        """Remove what was rendered and has got no name."""
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
