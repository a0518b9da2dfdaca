"""The run: from a recipe to its outputs and the run record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from itertools import islice
from math import radians

import torch

from alignimation_core import preflight
from alignimation_core.alignment.alignment import Alignment, align
from alignimation_core.alignment.consensus.agreement import EYES, agree
from alignimation_core.alignment.refinement import refine
from alignimation_core.api import weights
from alignimation_core.api.data import File, Photo, Subject
from alignimation_core.api.errors import AlignimationError, OutputError, in_one_line
from alignimation_core.api.files import named
from alignimation_core.api.stages import AnnotationDetector
from alignimation_core.api.stages.individuals import Shown, from_left
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.detection import likeness
from alignimation_core.detection.observations import Observed, count_known, observe
from alignimation_core.detection.quality import complete
from alignimation_core.detection.references import look
from alignimation_core.detection.selection import select, undamaged, with_masks
from alignimation_core.detection.thinning import thin, thins, within
from alignimation_core.execution.executor import Executor, torch_threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.output.folder import OutputFolder
from alignimation_core.output.remote import output_folder
from alignimation_core.photos.order import relative_name
from alignimation_core.photos.reader import read
from alignimation_core.progress import Progress, Step
from alignimation_core.recipe.options import ReportOptions
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.recipe.timeline import zone_of
from alignimation_core.record import PhotosError, Record
from alignimation_core.rendering.frames import look_again
from alignimation_core.rendering.framing import upright
from alignimation_core.rendering.placement import Placement, moved, place
from alignimation_core.rendering.writers import render
from alignimation_core.report import page
from alignimation_core.report.pictures import Pictures
from alignimation_core.scoring.score import Score, Scorer
from alignimation_core.store.store import Known, Store, open_store
from alignimation_core.summary import projection, remark


def run(
    recipe: Recipe,
    *,
    limit: int | None = None,
    fresh: bool = False,
    wait: bool = True,
    progress: Progress | None = None,
) -> Record:
    """Make the animation.

    Args:
        recipe: what to do.
        limit: a trial run: only this many photos, the first in time; it writes into the folder
            ``trial`` in the output folder, and touches nothing else there.
        fresh: forget what earlier runs have stored, and compute everything again.
        wait: whether to wait for another run that writes into the output folder, or to fail.
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
    trial = limit is not None
    preflight.check_outputs(recipe, trial=trial)
    output = output_folder(recipe, trial=trial)
    with output.alone(progress.note, wait=wait) as waited:
        if waited:
            preflight.check_outputs(recipe, trial=trial)
        run = Run(recipe, corrections, output, progress)
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
    "score": "scoring",
    "report": "reporting",
}


class Run:
    """One run of a recipe, and the record that grows with it."""

    executor: Executor
    store: Store

    def __init__(
        self, recipe: Recipe, corrections: Corrections, output: OutputFolder, progress: Progress
    ) -> None:
        self.recipe, self.corrections = recipe, corrections
        self.output, self.progress = output, progress
        self._detected: dict[str, Subject] = {}
        self._sharpness: dict[str, float] = {}
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
        self.record.kept = self.output.prepare(len(files))
        try:
            self._fetch_weights()
            # cores are for photos; so numbers do not depend on how many there are, either
            with executor_of(self.recipe.executor) as self.executor, torch_threads(1):
                rendered, cost = self._steps(files, limit, fresh=fresh)
            remark(self.record)
            self.output.publish(self.record, rendered)
        except BaseException as error:
            if not self.output.published:
                self._tell(error)
            raise
        if limit is not None:
            self.progress.note(projection(self.record, *cost))
        if self.output.address is None:
            self.output.finish(self.record)
        else:
            uploading = f"uploading to {self.output.address}"
            self.progress.note(uploading)
            with self.progress.waiting(uploading):
                self.output.finish(self.record)
        return self.record

    def _steps(
        self, files: Sequence[File], limit: int | None, *, fresh: bool
    ) -> tuple[list[str], tuple[int, int, int]]:
        """Take the photos through the stages.

        Returns:
            The finished outputs; and how many photos there are, and of how many nothing was stored
            before: of the trial's, and of all.
        """
        with self._open_store(fresh=fresh) as self.store:
            found = self._read(files)
            photos = self._within(found, limit)
            trial = self._trial(photos, limit)
            known = self.store.recall([photo.content for photo in photos])
            looked, unknown = (
                len(some) - count_known(some, self.recipe.embedder, known)
                for some in (trial, photos)
            )
            observed = self._observe(trial, known)
            del known  # what was found beside the subjects: memory that the frames can use
            shown = look(self.recipe, self.corrections, photos, self.executor, self.store)
            subjects = self._select(observed, shown)
            del observed
            rendered = self._film(subjects)
            rendered += self._report(photos if limit is None else trial, rendered)
            if limit is None:
                self.store.finish()
        return rendered, (len(files) - len(found) + len(photos), looked, unknown)

    @cached_property
    def _pictures(self) -> Pictures | None:
        """The report's pictures; None without a report."""
        return Pictures(self.output.rendering) if self.recipe.report else None

    def _report(self, photos: Sequence[Photo], outputs: Sequence[str]) -> list[str]:
        """Write the report; return what it is made of, none where the recipe wants none."""
        if (pictures := self._pictures) is None:
            return []
        missing = pictures.missing(photos)
        with self._timed("report", len(missing)) as step:
            pictures.add(missing, self.executor, step)
        options = self.recipe.report
        embed = isinstance(options, ReportOptions) and options.embed
        return page.write(self.record, outputs, pictures, self.output.rendering, embed=embed)

    def _open_store(self, *, fresh: bool) -> Store:
        return open_store(
            self.output.store_folder,
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
        records = self.record.by_name()
        for each in observed.observations:
            boxes = each.detections.boxes[from_left(each.detections)].tolist()
            records[each.photo.name].found = [[round(side, 1) for side in box] for box in boxes]
        self.record.fail(observed.failures)
        self.record.remark_damage(observed.damaged)
        self.record.seconds["detector"] -= observed.embedding
        if embedder is not None:
            self.record.seconds["embedder"] = observed.embedding
        if count := count_known(photos, embedder, known):
            self.progress.note(f"detecting: {count} of {len(photos)} from the store")
        pixels = self.recipe.subject_selector.gates.needs_pixels() or thins(self.recipe)
        if isinstance(detector, AnnotationDetector) and not pixels:
            return observed  # whose photos nobody had to decode
        measured = complete(observed.observations, detector, self.executor, self.store.keep)
        return replace(observed, observations=measured)

    def _select(self, observed: Observed, shown: Shown) -> list[tuple[Photo, Subject]]:
        observations = observed.observations
        with self._timed("subject_selector", len(observations)) as step:
            selector = self.recipe.subject_selector
            with self.recipe.blamed("subject_selector"):
                selected = select(observations, selector, step, self.corrections, shown)
        self.record.fail(selected.rejected)
        self.record.choose(selected.chosen)
        self.record.correct(self.corrections.changes)
        self.record.measure(selected.values)
        self.record.min_similarity = selected.least
        self._sharpness = {
            name: values["sharpness"]
            for name, values in selected.values.items()
            if "sharpness" in values
        }
        subjects, failures = undamaged(selected.chosen, observed.damaged)
        self.record.fail(failures)
        if self.recipe.canvas.background != "keep":
            subjects, failures = with_masks(subjects)
            self.record.fail(failures)
        if not subjects:
            rows = self.record.reasons()[:3]
            why = "; ".join(f"{count} {text} (such as {photo})" for text, count, photo in rows)
            raise AlignimationError(f"no photo shows the subject: {why}")
        return subjects

    def _film(self, subjects: Sequence[tuple[Photo, Subject]]) -> list[str]:
        """Make the film of the photos that the recipe asks for, and of others where some fail.

        Returns:
            The finished outputs.
        """
        hashes: dict[str, int] = {}
        if self.recipe.duplicates == "drop":
            photos = [photo for photo, _ in subjects]
            with self._timed("duplicates", len(photos)) as step:
                hashes = likeness.hashes(photos, self.executor, self.store, step)
        placement: Placement | None = None
        placed: list[str] = []
        outputs: list[str] | None = None
        while True:
            shown, others = thin(subjects, self.recipe, self._named, hashes, self._sharpness)
            names = [photo.name for photo, _ in shown]
            self.record.pass_over(others)
            try:
                if placement is None or names != placed:
                    placement, outputs = self._place(self._align(shown)), None
                    failed = {*names} - {item.photo.name for item in placement.placed}
                elif outputs is None:
                    outputs, failed = self._render(placement)
                else:
                    if self.recipe.score:
                        self.record.score = self._score(placement)
                    return outputs
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
        for _ in range(self.recipe.refine.passes):
            alignment = self._align_once(subjects)
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
        if self.recipe.refine.photos:
            subjects = self._agree(subjects)
        alignment = self._align_once(subjects)
        mean = self.recipe.reference == "mean"
        self.record.reference = "mean" if mean else alignment.reference.photo.name
        return alignment

    def _agree(self, subjects: Sequence[tuple[Photo, Subject]]) -> list[tuple[Photo, Subject]]:
        """Let the photos correct each other's keypoints."""
        builder, model = self.recipe.target_builder, self.recipe.transform_model
        with self._timed("refine", len(subjects)) as step:
            names = EYES if self.recipe.refine.photos == "eyes" else None
            agreed = agree(subjects, builder, model, self.executor, self.store.fits, step, names)
        self._detected = {photo.name: subject for photo, subject in subjects}
        agreed = [(photo, self.corrections.corrected(photo, s)) for photo, s in agreed]
        self.record.choose(agreed)
        return agreed

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
            if (before := self._detected.get(item.photo.name)) is not None:
                record.moved = moved(before, item, placement.canvas)
        for item in placement.placed:
            record = records[item.photo.name]
            record.canvas_from_photo = item.canvas_from_photo
            record.use()
        self.record.fail(placement.failures)
        self.record.canvas = {"width": placement.canvas.width, "height": placement.canvas.height}
        return placement

    def _render(self, placement: Placement) -> tuple[list[str], set[str]]:
        """Write every output under a hidden name.

        Returns:
            Their names; and the photos that could not be read again.
        """
        record, output, placed = self.record, self.output, placement.placed
        output.check()
        with self._timed("renderer", len(placed)) as step:
            rendered = render(
                placed,
                placement.canvas,
                self.recipe.canvas,
                self.recipe.renderers,
                self.recipe.effects,
                output.rendering,
                self.executor,
                step,
                None if self._pictures is None else self._pictures.keep,
            )
        record.fail(rendered.failures)
        if rendered.errors:
            output.check()  # where the folder went away, that is the reason
            unwritable = any(isinstance(error, OutputError) for error in rendered.errors)
            kind = OutputError if unwritable else AlignimationError
            text = "; ".join(str(error) for error in rendered.errors)
            raise kind(text.replace(str(output.rendering), str(output.folder)))
        return rendered.outputs, {failure.photo for failure in rendered.failures}

    def _score(self, placement: Placement) -> Score:
        """Return how still the subject stands; the film is made, whatever happens here."""
        placed, canvas, options = placement.placed, placement.canvas, self.recipe.canvas
        try:
            scorer = Scorer.of_run(self.recipe.detector, len(placed), self.recipe.seed)
            with self._timed("score", len(scorer.sample)) as step:
                look_again(placed, canvas, options, self.executor, scorer, step)
            return scorer.score()
        except Exception as error:  # whatever it is, such as a cluster that is gone
            return {"note": in_one_line(error)}

    def _tell(self, error: BaseException) -> None:
        """Write what is known of a run that failed, whose own error is the one to be raised."""
        interrupted = isinstance(error, KeyboardInterrupt)
        self.record.error = "interrupted" if interrupted else str(error) or type(error).__name__
        if isinstance(error, PhotosError):
            self.record.fail(error.failures)
        verb = self.output.write if interrupted else self.output.fail
        try:
            verb(self.record)
        except Exception as another:  # whatever it is, it must not take the place of the run's own
            if str(another) != str(error):
                self.progress.note(str(another))

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
