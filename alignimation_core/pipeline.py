"""The run: from a recipe to its outputs and the run record."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from itertools import islice

import torch

from alignimation_core.alignment.alignment import Chosen, align, choose
from alignimation_core.alignment.refinement import refine
from alignimation_core.api import weights
from alignimation_core.api.atomic import Anchor
from alignimation_core.api.data import Canvas, File, Observation, Subject, named
from alignimation_core.api.errors import AlignimationError, OutputError
from alignimation_core.detection.observations import Entry, count_known, observe
from alignimation_core.detection.selection import select
from alignimation_core.execution.executor import Executor, torch_threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.output import folder as outputs
from alignimation_core.photos import order
from alignimation_core.photos.reader import read
from alignimation_core.progress import Progress, Step
from alignimation_core.projection import projection
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import Record
from alignimation_core.rendering import framing, writers
from alignimation_core.rendering.frames import Placed
from alignimation_core.rendering.placement import place, within_residual
from alignimation_core.store.store import Known, Store, open_store


def run(
    recipe: Recipe,
    *,
    limit: int | None = None,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Record:
    """Make the animation.

    Args:
        recipe: what to do.
        limit: a trial run: only this many photos, the first in time.
        fresh: forget what earlier runs have stored, and compute everything again.
        progress: what follows the run; silent when left out.

    Returns:
        The run record, which is also written as ``run.json`` into the output folder.

    Raises:
        AlignimationError: the run failed; the record says what is known.
    """
    return Run(recipe, progress or Progress()).go(limit, fresh=fresh)


LABELS = {
    "photos": "reading",
    "detector": "detecting",
    "subject_selector": "choosing",
    "transform_model": "aligning",
    "refine": "refining",
    "renderer": "rendering",
}


class Run:
    """One run of a recipe, and the record that grows with it."""

    executor: Executor
    anchor: Anchor | None = None

    def __init__(self, recipe: Recipe, progress: Progress) -> None:
        self.recipe, self.progress = recipe, progress
        self.remote = recipe.remote()
        self.folder = recipe.output_folder()
        self.record = Record(
            alignimation=version("alignimation"),
            recipe=recipe.dump(),
            seed=recipe.seed,
            device=_device(recipe),
            folder=self.folder,
            address=None if self.remote is None else self.remote.address,
        )

    def go(self, limit: int | None, *, fresh: bool = False) -> Record:
        """Do everything, in order; see ``run``."""
        files = self.recipe.find_photos()
        self.recipe.check_weights()
        self.recipe.check_outputs()
        if self.remote is None:
            self._make_folder()
            self.record.kept = outputs.known(self.folder)
        else:
            self.record.kept = self.remote.fetch()
        try:
            self._fetch_weights()
            # cores are for photos; so numbers do not depend on how many there are, either
            with executor_of(self.recipe.executor) as self.executor, torch_threads(1):
                self._do(files, limit, fresh=fresh)
        except KeyboardInterrupt:
            self.record.error = "interrupted"
            self._tell(self._write_record)
            raise
        except BaseException as error:
            self.record.error = str(error) or type(error).__name__
            self._tell(self._finish, after=error)
            raise
        self._finish()
        return self.record

    def _do(self, files: Sequence[File], limit: int | None, *, fresh: bool) -> None:
        recipe = self.recipe
        with open_store(
            self.folder,
            recipe.detector,
            recipe.embedder,
            self.progress.note,
            builder=recipe.target_builder,
            model=recipe.transform_model,
            fresh=fresh,
        ) as store:
            entries = self._read(files, store)
            known = store.recall([entry.photo.sha256 for entry in entries])
            trial = self._trial(entries, limit)
            shown = {id(entry.record) for entry in trial}
            self.record.photos = [
                record
                for record in self.record.photos
                if id(record) in shown or record.sha256 is None
            ]
            looked, unknown = (
                len(some) - count_known(some, recipe.embedder, known) for some in (trial, entries)
            )
            subjects = self._select(self._observe(trial, known, store))
            del known  # what was found beside the subjects: memory that the frames can use
            placed, canvas = self._place(subjects, store)
            self._render(placed, canvas)
            if limit is None:
                store.finish()
        if limit is not None:
            self.progress.note(projection(self.record, len(files), looked, unknown))

    def _trial(self, entries: Sequence[Entry], limit: int | None) -> Sequence[Entry]:
        """Return the first photos in time, and among them those that the recipe names."""
        if limit is None:
            return entries
        paths = [record.path for record in self.record.photos]
        named = {named(name, paths)[0] for name in self.recipe.photos_named().values()}
        must = {id(each) for each in entries if each.photo.name in named}
        others = (id(each) for each in entries if id(each) not in must)
        trial = {*must, *islice(others, max(0, limit - len(must)))}
        return [each for each in entries if id(each) in trial]

    @cached_property
    def _reference(self) -> str:
        """What to align on; a photo by its whole name."""
        wanted = self.recipe.reference
        if wanted in ("medoid", "mean", "first"):
            return wanted
        return named(wanted, (record.path for record in self.record.photos))[0]

    def _place(
        self, subjects: Sequence[tuple[Entry, Subject]], store: Store
    ) -> tuple[list[Placed], Canvas]:
        """Align the photos; leave out those that fit badly, and choose the canvas without them."""
        aligned, reference = self._align(subjects, store)
        canvas, canvas_from_reference = self._frame(aligned)
        place(aligned, reference, canvas, canvas_from_reference)
        while len(good := within_residual(aligned, self.recipe.max_residual)) < len(aligned):
            aligned = good
            canvas, canvas_from_reference = self._frame(aligned)
            place(aligned, reference, canvas, canvas_from_reference)
        return [(each.entry, each.subject) for each in aligned], canvas

    def _finish(self) -> None:
        """Write the record; where the output is at an address, upload everything."""
        if self.remote is None:
            self._write_record()
        else:
            self.progress.note(f"uploading to {self.remote.address}")
            self.remote.publish(self.record)

    def _check_anchor(self) -> None:
        if self.anchor is not None:
            self.anchor.check()

    def _write_record(self) -> None:
        self._check_anchor()
        record = self.record
        # another run in this folder may have finished meanwhile: what it wrote stays known
        record.kept = sorted({*record.kept, *self._claims.meet()} - {*record.outputs})
        record.write()

    @cached_property
    def _claims(self) -> outputs.Claims:
        paths = (renderer.path for renderer in self.recipe.renderers)
        shared = self.remote is None  # else the folder is one that only runs work in
        return outputs.Claims(self.folder, self.record.kept, paths, shared=shared)

    def _tell(self, verb: Callable[[], object], after: BaseException | None = None) -> None:
        """Write what is known of a run that failed, whose own error is the one to be raised.

        Where that error says already that the output cannot be written, it is not said twice.
        """
        try:
            verb()
        except Exception as error:  # whatever it is, it must not take the place of the run's own
            if not isinstance(after, OutputError):
                self.progress.note(str(error))

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass  # whether it can be written shows now, not after an hour
            self.anchor = Anchor(self.folder)
        except OSError as error:
            what = error.strerror or type(error).__name__
            raise OutputError(
                f"{self.folder}: the output folder cannot be written: {what}; set `output`"
            ) from error

    def _fetch_weights(self) -> None:
        for _, _, stage in self.recipe.stages():
            for needed, local in stage.weights_needed():
                if local is None and weights.find(needed) is None:
                    with self.progress.download(needed.filename) as received:
                        weights.fetch(needed, progress=received)

    def _read(self, files: Sequence[File], store: Store) -> list[Entry]:
        with self._timed("photos", len(files)) as step:
            entries, broken = read(files, self.recipe.folder, self.executor, store, step)
        self.record.photos = [entry.record for entry in entries] + broken
        return entries

    def _observe(
        self, entries: Sequence[Entry], known: Mapping[str, Known], store: Store
    ) -> list[tuple[Entry, Observation]]:
        detector, embedder = self.recipe.detector, self.recipe.embedder
        seconds = self.record.seconds
        if embedder is not None:
            seconds["embedder"] = 0.0
        with self._timed("detector", len(entries)) as step:
            found = observe(
                entries,
                detector,
                embedder,
                self.executor,
                self.recipe.seed,
                step,
                seconds,
                known,
                store.keep,
            )
        seconds["detector"] -= seconds.get("embedder", 0.0)
        if count := count_known(entries, embedder, known):
            self.progress.note(f"detecting: {count} of {len(entries)} from the store")
        return found

    def _select(
        self, observations: Sequence[tuple[Entry, Observation]]
    ) -> list[tuple[Entry, Subject]]:
        recipe = self.recipe
        with self._timed("subject_selector", len(observations)) as step:
            replaced = recipe.canvas.background != "keep"
            chosen = select(observations, recipe.subject_selector, step, needs_mask=replaced)
        if not chosen:
            rows = self.record.reasons()[:3]
            why = "; ".join(f"{count} {text} (such as {photo})" for text, count, photo in rows)
            raise AlignimationError(f"no photo shows the subject: {why}")
        return chosen

    def _align(
        self, subjects: Sequence[tuple[Entry, Subject]], store: Store
    ) -> tuple[list[Chosen], Chosen]:
        aligned, reference = self._align_once(subjects, store)
        for _ in range(self.recipe.refine.passes):
            turn = framing.upright(aligned) if self._level else 0.0
            with self._timed("refine", len(aligned)) as step:
                subjects = refine(
                    aligned,
                    reference,
                    self.recipe.detector,
                    turn,
                    self.executor,
                    self.recipe.seed,
                    step,
                )
            for entry, subject in subjects:
                entry.record.seen = subject
            aligned, reference = self._align_once(subjects, store)
        mean = self.recipe.reference == "mean"
        self.record.reference = "mean" if mean else reference.entry.record.path
        return aligned, reference

    def _align_once(
        self, subjects: Sequence[tuple[Entry, Subject]], store: Store
    ) -> tuple[list[Chosen], Chosen]:
        recipe, model = self.recipe, self.recipe.transform_model
        with self._timed("transform_model", len(subjects)) as step:
            chosen = choose(subjects, model)
            return align(chosen, recipe.target_builder, model, self._reference, step, store.fits)

    @property
    def _level(self) -> bool:
        """Whether the canvas is turned upright: a photo that the user names is upright as it is."""
        return self.recipe.reference in ("medoid", "mean")

    def _frame(self, aligned: Sequence[Chosen]) -> tuple[Canvas, torch.Tensor]:
        canvas, canvas_from_reference = framing.frame(
            aligned, self.recipe.canvas, level=self._level
        )
        self.record.canvas = {"width": canvas.width, "height": canvas.height}
        return canvas, canvas_from_reference

    def _render(self, placed: Sequence[Placed], canvas: Canvas) -> None:
        record, claims = self.record, self._claims
        record.kept = sorted({*record.kept, *claims.planned})
        record.error = "the run did not finish"
        self._check_anchor()
        with (
            self._timed("renderer", len(placed)) as step,
            ThreadPoolExecutor(1, "record") as beside,
        ):
            # whose the outputs are, should it be killed once they are there
            written = beside.submit(self._write_record)

            def counted() -> None:
                step()
                if written.done():
                    written.result()  # raises what went wrong, now and not after the last frame

            try:
                done, failures = writers.render(
                    placed,
                    canvas,
                    self.recipe.canvas,
                    self.recipe.renderers,
                    self.folder,
                    self.executor,
                    counted,
                    written.result,
                    claims.refuse,
                )
            finally:
                record.kept = claims.standing()
        record.error = None
        record.outputs = [order.relative_name(path, self.folder) for path in done]
        record.kept = sorted(set(record.kept) - set(record.outputs))
        if failures:
            unwritable = any(isinstance(failure, OutputError) for failure in failures)
            kind = OutputError if unwritable else AlignimationError
            raise kind("; ".join(str(failure) for failure in failures))

    @contextmanager
    def _timed(self, name: str, total: int) -> Iterator[Step]:
        torch.manual_seed(self.recipe.seed)  # whatever was drawn before, or came from the store
        begun = time.perf_counter()
        try:
            with self.progress.stage(LABELS[name], total) as step:
                yield step
        finally:
            spent = time.perf_counter() - begun
            self.record.seconds[name] = self.record.seconds.get(name, 0.0) + spent


def _device(recipe: Recipe) -> str:
    recipe.check_devices()
    return str(recipe.detector.torch_device())
