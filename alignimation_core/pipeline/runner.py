"""The run: its steps in order, and the record, whatever happens."""

from __future__ import annotations

from collections.abc import Sequence

from alignimation_core import preflight
from alignimation_core.api import weights
from alignimation_core.api.data import File, Photo
from alignimation_core.detection.observations import count_known
from alignimation_core.detection.references import look
from alignimation_core.execution.executor import torch_threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.failure import PhotosError
from alignimation_core.output.remote import output_folder
from alignimation_core.photos.order import relative_name
from alignimation_core.pipeline.filming import Filming
from alignimation_core.pipeline.finding import Finding
from alignimation_core.pipeline.work import Work
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import ReportOptions
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import Record
from alignimation_core.report import page
from alignimation_core.store.store import Store, open_store
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
        TypeError, ValueError: the recipe is none, or the limit is no number of photos.
    """
    if not isinstance(recipe, Recipe):
        what = f"recipe: expected a Recipe, got {type(recipe).__name__}"
        raise TypeError(f"{what}; Recipe.load(path) makes one of a file")
    if limit is not None and not isinstance(limit, int):
        raise TypeError(f"limit: expected a number of photos or None, got {limit!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: expected 1 photo or more, got {limit}; None takes all")
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
        work = Work(recipe, corrections, output, progress)
        passed_over = [relative_name(each, recipe.folder) for each in found.passed_over]
        work.record.passed_over = passed_over
        return Run(work).go(found.photos, limit, fresh=fresh)


class Run:
    """One run of a recipe."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def go(self, files: Sequence[File], limit: int | None, *, fresh: bool) -> Record:
        """Make every output, and write the record, whatever happens."""
        self.work.record.kept = self.work.output.prepare(len(files))
        try:
            self._fetch_weights()
            # cores are for photos; so numbers do not depend on how many there are, either
            with executor_of(self.work.recipe.executor) as self.work.executor, torch_threads(1):
                rendered, cost = self._steps(files, limit, fresh=fresh)
            self.work.output.publish(self.work.record, rendered)
        except BaseException as error:
            if not self.work.output.published:
                self._tell(error)
            raise
        if limit is not None:
            self.work.progress.note(projection(self.work.record, *cost))
        if self.work.output.address is None:
            self.work.output.finish(self.work.record)
        else:
            uploading = f"uploading to {self.work.output.address}"
            self.work.progress.note(uploading)
            with self.work.progress.waiting(uploading):
                self.work.output.finish(self.work.record)
        return self.work.record

    def _steps(
        self, files: Sequence[File], limit: int | None, *, fresh: bool
    ) -> tuple[list[str], tuple[int, int, int]]:
        """Take the photos through the stages.

        Returns:
            The finished outputs; and how many photos there are, and of how many nothing was stored
            before: of the trial's, and of all.
        """
        finding = Finding(self.work)
        with self._open_store(fresh=fresh) as self.work.store:
            found = finding.read(files)
            photos = finding.within(found, limit)
            trial = finding.trial(photos, limit)
            known = self.work.store.recall([photo.content for photo in photos])
            looked, unknown = (
                len(some) - count_known(some, self.work.recipe.embedder, known)
                for some in (trial, photos)
            )
            observed = finding.observe(trial, known)
            del known  # what was found beside the subjects: memory that the frames can use
            shown = look(
                self.work.recipe, self.work.corrections, found, self.work.executor, self.work.store
            )
            subjects = finding.select(observed, shown)
            del observed
            rendered = Filming(self.work).film(subjects, finding.values)
            remark(self.work.record)
            rendered += self._report(photos if limit is None else trial, rendered)
            if limit is None:
                self.work.store.finish()
        kept = self.work.corrections.kept(self.work.recipe, files)
        return rendered, (len(kept) - len(found) + len(photos), looked, unknown)

    def _report(self, photos: Sequence[Photo], outputs: Sequence[str]) -> list[str]:
        """Write the report; return what it is made of, none where the recipe wants none."""
        if (pictures := self.work.pictures) is None:
            return []
        missing = pictures.missing(photos)
        with self.work.timed("report", len(missing)) as step:
            pictures.add(missing, self.work.executor, step)
        options = self.work.recipe.report
        embed = isinstance(options, ReportOptions) and options.embed
        return page.write(
            self.work.record, outputs, pictures, self.work.output.rendering, embed=embed
        )

    def _open_store(self, *, fresh: bool) -> Store:
        return open_store(
            self.work.output.store_folder,
            self.work.recipe.detector,
            self.work.recipe.embedder,
            self.work.progress.note,
            builder=self.work.recipe.target_builder,
            model=self.work.recipe.transform_model,
            fresh=fresh,
        )

    def _tell(self, error: BaseException) -> None:
        """Write what is known of a run that failed, whose own error is the one to be raised."""
        interrupted = isinstance(error, KeyboardInterrupt)
        self.work.record.error = (
            "interrupted" if interrupted else str(error) or type(error).__name__
        )
        if isinstance(error, PhotosError):
            self.work.record.fail(error.failures)
        verb = self.work.output.write if interrupted else self.work.output.fail
        try:
            verb(self.work.record)
        except Exception as another:  # whatever it is, it must not take the place of the run's own
            if str(another) != str(error):
                self.work.progress.note(str(another))

    def _fetch_weights(self) -> None:
        for _, _, stage in self.work.recipe.stages():
            for needed, local in stage.weights_needed():
                if local is None and weights.find(needed) is None:
                    with self.work.progress.download(needed.filename) as received:
                        weights.fetch(needed, progress=received)
