"""The run: from a recipe to its outputs and the run record."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from math import radians

import torch

from alignimation_core import preflight
from alignimation_core.alignment.alignment import Alignment, align
from alignimation_core.alignment.refinement import refine
from alignimation_core.api import weights
from alignimation_core.api.data import File, Photo, Subject, named
from alignimation_core.api.errors import AlignimationError, OutputError
from alignimation_core.api.individuals import Shown
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.detection import likeness
from alignimation_core.detection.observations import Observed, count_known, observe
from alignimation_core.detection.references import look
from alignimation_core.detection.selection import select, undamaged, with_masks
from alignimation_core.detection.thinning import thin, within
from alignimation_core.execution.executor import Executor, torch_threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.output.remote import output_folder
from alignimation_core.photos.order import relative_name
from alignimation_core.photos.reader import read
from alignimation_core.progress import Progress, Step
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.recipe.timeline import zone_of
from alignimation_core.record import PhotosError, Record
from alignimation_core.rendering.framing import upright
from alignimation_core.rendering.placement import Placement, place
from alignimation_core.rendering.writers import render
from alignimation_core.store.store import Known, Store, open_store
from alignimation_core.summary import projection


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
    progress = progress or Progress()
    preflight.check_devices(recipe)
    found = preflight.find_photos(recipe, progress)
    corrections = preflight.check_corrections(recipe, found.photos)
    preflight.check_weights(recipe)
    preflight.check_outputs(recipe)
    run = Run(recipe, corrections, progress)
    run.record.passed_over = [relative_name(each, recipe.folder) for each in found.passed_over]
    return run.go(found.photos, limit, fresh=fresh)


LABELS = {
    "photos": "reading",
    "detector": "detecting",
    "subject_selector": "choosing",
    "duplicates": "comparing",
    "transform_model": "aligning",
    "refine": "refining",
    "renderer": "rendering",
}


class Run:
    """One run of a recipe, and the record that grows with it."""

    executor: Executor
    store: Store

    def __init__(self, recipe: Recipe, corrections: Corrections, progress: Progress) -> None:
        self.recipe, self.corrections, self.progress = recipe, corrections, progress
        self.output = output_folder(recipe)
        self.record = Record(
            alignimation=version("alignimation"),
            recipe=recipe.dump(),
            seed=recipe.seed,
            device=str(recipe.detector.torch_device()),
            folder=self.output.folder,
            address=self.output.address,
        )

    def go(self, files: Sequence[File], limit: int | None, *, fresh: bool) -> Record:
        """Make every output, and write the record, whatever happens."""
        self.record.kept = self.output.prepare()
        try:
            self._fetch_weights()
            # cores are for photos; so numbers do not depend on how many there are, either
            with executor_of(self.recipe.executor) as self.executor, torch_threads(1):
                self._steps(files, limit, fresh=fresh)
        except KeyboardInterrupt:
            self.record.error = "interrupted"
            self._tell(self.output.write)
            raise
        except BaseException as error:
            self.record.error = str(error) or type(error).__name__
            if isinstance(error, PhotosError):
                self.record.fail(error.failures)
            self._tell(self.output.finish, after=error)
            raise
        if self.output.address is None:
            self.output.finish(self.record)
        else:
            uploading = f"uploading to {self.output.address}"
            self.progress.note(uploading)
            with self.progress.waiting(uploading):
                self.output.finish(self.record)
        return self.record

    def _steps(self, files: Sequence[File], limit: int | None, *, fresh: bool) -> None:
        """Take the photos through the stages."""
        with self._open_store(fresh=fresh) as self.store:
            photos = self._within(self._read(files), limit)
            trial = self._trial(photos, limit)
            known = self.store.recall([photo.content for photo in photos])
            unknown = [
                len(some) - count_known(some, self.recipe.embedder, known)
                for some in (trial, photos)
            ]
            observed = self._observe(trial, known)
            del known  # what was found beside the subjects: memory that the frames can use
            shown = look(self.recipe, self.corrections, photos, self.executor, self.store)
            subjects = self._select(observed, shown)
            del observed
            self._film(subjects)
            if limit is None:
                self.store.finish()
            else:
                self.progress.note(projection(self.record, len(files), *unknown))

    def _open_store(self, *, fresh: bool) -> Store:
        return open_store(
            self.output.folder,
            self.recipe.detector,
            self.recipe.embedder,
            self.progress.note,
            builder=self.recipe.target_builder,
            model=self.recipe.transform_model,
            fresh=fresh,
        )

    def _read(self, files: Sequence[File]) -> list[Photo]:
        corrections, files = self.corrections, self.corrections.kept(self.recipe, files)
        with self._timed("photos", len(files)) as step:
            by, zone = self.recipe.order, self.recipe.time_zone
            where = None if zone is None else zone_of(zone)
            photos, failures = read(
                files, self.recipe.folder, self.executor, self.store, step, by, where
            )
        failures += corrections.without()
        names = [failure.photo for failure in failures]
        photos = corrections.of_facts(photos, names, by, where)
        self.record.add(photos)
        self.record.fail(failures)
        return photos

    @cached_property
    def _named(self) -> frozenset[str]:
        """The photos that the recipe names, by their whole names."""
        paths = [record.path for record in self.record.photos]
        wanted = self.recipe.photos_named().values()
        return frozenset(each for name in wanted for each in named(name, paths)[:1])

    def _within(self, photos: list[Photo], limit: int | None) -> list[Photo]:
        """Return the photos of the recipe's time; the others are no part of a trial run."""
        photos, outside = within(photos, self.recipe, self._named)
        if limit is None:
            self.record.fail(outside)
        else:
            self.record.leave_out({failure.photo for failure in outside})
        if outside and not photos:
            raise AlignimationError(f"no photo is of the recipe's time: {outside[0].reason}")
        return photos

    def _trial(self, photos: Sequence[Photo], limit: int | None) -> Sequence[Photo]:
        """Return the first photos in time, and among them those that the recipe names."""
        if limit is None:
            return photos
        others = (photo.name for photo in photos if photo.name not in self._named)
        shown = {photo.name for photo in photos if photo.name in self._named}
        shown |= {*islice(others, max(0, limit - len(shown)))}
        self.record.leave_out({photo.name for photo in photos} - shown)
        return [photo for photo in photos if photo.name in shown]

    def _observe(self, photos: Sequence[Photo], known: Mapping[str, Known]) -> Observed:
        detector, embedder = self.recipe.detector, self.recipe.embedder
        with self._timed("detector", len(photos)) as step:
            observed = observe(
                photos,
                detector,
                embedder,
                self.executor,
                self.recipe.seed,
                step,
                known,
                self.store.keep,
            )
        self.record.fail(observed.failures)
        self.record.remark_damage(observed.damaged)
        self.record.seconds["detector"] -= observed.embedding
        if embedder is not None:
            self.record.seconds["embedder"] = observed.embedding
        if count := count_known(photos, embedder, known):
            self.progress.note(f"detecting: {count} of {len(photos)} from the store")
        return observed

    def _select(self, observed: Observed, shown: Shown) -> list[tuple[Photo, Subject]]:
        observations = observed.observations
        with self._timed("subject_selector", len(observations)) as step:
            selector = self.recipe.subject_selector
            subjects, rejected = select(observations, selector, step, self.corrections, shown)
        self.record.fail(rejected)
        self.record.choose(subjects)
        self.record.correct(self.corrections.changes)
        subjects, failures = undamaged(subjects, observed.damaged)
        self.record.fail(failures)
        if self.recipe.canvas.background != "keep":
            subjects, failures = with_masks(subjects)
            self.record.fail(failures)
        if not subjects:
            rows = self.record.reasons()[:3]
            why = "; ".join(f"{count} {text} (such as {photo})" for text, count, photo in rows)
            raise AlignimationError(f"no photo shows the subject: {why}")
        return subjects

    def _film(self, subjects: Sequence[tuple[Photo, Subject]]) -> None:
        """Make the film of the photos that the recipe asks for, and of others where some fail."""
        hashes: dict[str, int] = {}
        if self.recipe.duplicates == "drop":
            photos = [photo for photo, _ in subjects]
            with self._timed("duplicates", len(photos)) as step:
                hashes = likeness.hashes(photos, self.executor, self.store, step)
        placement: Placement | None = None
        placed: list[str] = []
        rendered = False
        while True:
            shown, others = thin(subjects, self.recipe, self._named, hashes)
            names = [photo.name for photo, _ in shown]
            self.record.pass_over(others)
            try:
                if placement is None or names != placed:
                    placement, rendered = self._place(self._align(shown)), False
                    failed = {*names} - {item.photo.name for item in placement.placed}
                elif not rendered:
                    failed, rendered = self._render(placement), True
                else:
                    return
            except PhotosError as error:
                failed = {failure.photo for failure in error.failures}
                if not others or failed.isdisjoint(names):
                    raise
                self.record.fail(error.failures)
                placement = None
            placed = [name for name in names if name not in failed]
            subjects = [each for each in subjects if each[0].name not in failed]

    @cached_property
    def _reference(self) -> str:
        """What to align on; a photo by its whole name."""
        wanted = self.recipe.reference
        if wanted in ("medoid", "mean", "first"):
            return wanted
        return named(wanted, (record.path for record in self.record.photos))[0]

    @property
    def _level(self) -> bool:
        """Whether the canvas is turned upright: a photo that the user names is upright as it is."""
        return self.recipe.reference in ("medoid", "mean")

    def _align(self, subjects: Sequence[tuple[Photo, Subject]]) -> Alignment:
        alignment = self._align_once(subjects)
        for _ in range(self.recipe.refine.passes):
            aligned = alignment.aligned
            own = radians(alignment.reference.subject.turn)
            turn = upright(aligned) if self._level else own
            with self._timed("refine", len(aligned)) as step:
                subjects = refine(
                    aligned,
                    alignment.reference,
                    self.recipe.detector,
                    turn,
                    self.executor,
                    self.recipe.seed,
                    step,
                )
            subjects = [(photo, self.corrections.corrected(photo, s)) for photo, s in subjects]
            self.record.choose(subjects)
            alignment = self._align_once(subjects)
        mean = self.recipe.reference == "mean"
        self.record.reference = "mean" if mean else alignment.reference.photo.name
        return alignment

    def _align_once(self, subjects: Sequence[tuple[Photo, Subject]]) -> Alignment:
        builder, model = self.recipe.target_builder, self.recipe.transform_model
        with self._timed("transform_model", len(subjects)) as step:
            alignment = align(subjects, builder, model, self._reference, step, self.store.fits)
        self.record.fail(alignment.failures)
        return alignment

    def _place(self, alignment: Alignment) -> Placement:
        placement = place(
            alignment.aligned,
            alignment.reference,
            self.recipe.canvas,
            level=self._level,
            max_residual=self.recipe.max_residual,
        )
        records = self.record.by_name()
        for item in (*placement.placed, *placement.misfits):
            record = records[item.photo.name]
            record.residual, record.residual_before = item.residual, item.residual_before
            record.iterations = item.aligned.iterations
        for item in placement.placed:
            record = records[item.photo.name]
            record.canvas_from_photo = item.canvas_from_photo
            record.use()
        self.record.fail(placement.failures)
        self.record.canvas = {"width": placement.canvas.width, "height": placement.canvas.height}
        return placement

    def _render(self, placement: Placement) -> set[str]:
        """Write the outputs; return the photos that could not be read again."""
        record, output, placed = self.record, self.output, placement.placed
        record.kept = sorted({*record.kept, *output.planned})
        record.error = "the run did not finish"
        output.check()
        with (
            self._timed("renderer", len(placed)) as step,
            ThreadPoolExecutor(1, "record") as beside,
        ):
            # whose the outputs are, should it be killed once they are there
            written = beside.submit(output.write, record)

            def counted() -> None:
                step()
                if written.done():
                    written.result()  # raises what went wrong, now and not after the last frame

            try:
                rendered = render(
                    placed,
                    placement.canvas,
                    self.recipe.canvas,
                    self.recipe.renderers,
                    self.recipe.effects,
                    output.folder,
                    self.executor,
                    counted,
                    written.result,
                    output.refuse,
                )
            finally:
                record.kept = output.standing()
        record.error = None
        record.fail(rendered.failures)
        record.outputs = [relative_name(path, output.folder) for path in rendered.outputs]
        record.kept = sorted(set(record.kept) - set(record.outputs))
        if rendered.errors:
            unwritable = any(isinstance(error, OutputError) for error in rendered.errors)
            kind = OutputError if unwritable else AlignimationError
            raise kind("; ".join(str(error) for error in rendered.errors))
        return {failure.photo for failure in rendered.failures}

    def _tell(self, verb: Callable[[Record], None], after: BaseException | None = None) -> None:
        """Write what is known of a run that failed, whose own error is the one to be raised.

        Where that error says already that the output cannot be written, it is not said twice.
        """
        try:
            verb(self.record)
        except Exception as error:  # whatever it is, it must not take the place of the run's own
            if not isinstance(after, OutputError):
                self.progress.note(str(error))

    def _fetch_weights(self) -> None:
        for _, _, stage in self.recipe.stages():
            for needed, local in stage.weights_needed():
                if local is None and weights.find(needed) is None:
                    with self.progress.download(needed.filename) as received:
                        weights.fetch(needed, progress=received)

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
