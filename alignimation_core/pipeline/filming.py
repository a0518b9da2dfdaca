"""From subjects to outputs: align, place, render, score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import radians

from alignimation_core.alignment.alignment import Alignment, align
from alignimation_core.alignment.consensus.agreement import agree
from alignimation_core.alignment.refinement import refine
from alignimation_core.alignment.rigid.realignment import realign, series_of
from alignimation_core.api.data import EYES, Photo, Subject
from alignimation_core.api.errors import AlignimationError, OutputError, in_one_line
from alignimation_core.api.files import PhotoNames
from alignimation_core.detection.gates import Values
from alignimation_core.detection.thinned import likeness
from alignimation_core.detection.thinned.thinning import thin
from alignimation_core.failure import PhotosError
from alignimation_core.pipeline.work import Work
from alignimation_core.rendering.frames import look_again
from alignimation_core.rendering.framing import upright
from alignimation_core.rendering.placement import Placement, moved, place
from alignimation_core.rendering.writers import render
from alignimation_core.scoring.judges import judges_of
from alignimation_core.scoring.score import Score, Scorer


class Filming:
    """The steps that make the outputs of the subjects."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._detected: dict[str, Subject] = {}

    def film(
        self, subjects: Sequence[tuple[Photo, Subject]], values: Mapping[str, Values]
    ) -> list[str]:
        """Make the film of the photos that the recipe asks for, and of others where some fail.

        Args:
            subjects: the photos in order, each with its subject.
            values: what gates limit, of photos by name.

        Returns:
            The finished outputs.
        """
        hashes: dict[str, int] = {}
        if self.work.recipe.duplicates == "drop":
            photos = [photo for photo, _ in subjects]
            with self.work.timed("duplicates", len(photos)) as step:
                hashes = likeness.hashes(photos, self.work.executor, self.work.store, step)
        placement: Placement | None = None
        placed: list[str] = []
        outputs: list[str] | None = None
        while True:
            shown, others = thin(subjects, self.work.recipe, self.work.named, hashes, values)
            names = [photo.name for photo, _ in shown]
            self.work.record.pass_over(others)
            try:
                if placement is None or names != placed:
                    placement, outputs = self._place(self._align(shown)), None
                    failed = {*names} - {item.photo.name for item in placement.placed}
                elif outputs is None:
                    outputs, failed = self._render(placement)
                else:
                    if self.work.recipe.score:
                        made = [item for item in placement.placed if item.photo.name in names]
                        self.work.record.score = self._score(replace(placement, placed=made))
                    return outputs
            except PhotosError as error:
                failed = {failure.photo for failure in error.failures}
                if not others or failed.isdisjoint(names):
                    raise
                self.work.record.fail(error.failures)
                placement = None
            placed = [name for name in names if name not in failed]
            subjects = [each for each in subjects if each[0].name not in failed]

    @cached_property
    def _reference(self) -> str:
        """What to align on; a photo by its whole name."""
        wanted = self.work.recipe.reference
        if wanted in ("medoid", "mean", "first"):
            return wanted
        return PhotoNames(record.path for record in self.work.record.photos).one(wanted)

    @property
    def _level(self) -> bool:
        """Whether the canvas is turned upright: a photo that the user names is upright as it is."""
        return self.work.recipe.reference in ("medoid", "mean")

    def _align(self, subjects: Sequence[tuple[Photo, Subject]]) -> Alignment:
        for _ in range(self.work.recipe.refine.passes):
            alignment = self._align_once(subjects)
            aligned = alignment.aligned
            own = radians(alignment.reference.subject.turn)
            turn = upright(aligned) if self._level else own
            with self.work.timed("refine", len(aligned)) as step:
                subjects = refine(
                    aligned,
                    alignment.reference,
                    self.work.recipe.detector,
                    turn,
                    self.work.executor,
                    self.work.recipe.seed,
                    step,
                )
            subjects = [(photo, self.work.corrections.corrected(photo, s)) for photo, s in subjects]
            self.work.record.choose(subjects)
        if self.work.recipe.refine.photos:
            subjects = self._agree(subjects)
        alignment = self._align_once(subjects)
        if self.work.recipe.refine.rigid_parts:
            alignment = self._realign(alignment)
        self.work.record.correct(self.work.corrections.changes)  # keypoints moved meanwhile, too
        mean = self.work.recipe.reference == "mean"
        self.work.record.reference = "mean" if mean else alignment.reference.photo.name
        return alignment

    def _agree(self, subjects: Sequence[tuple[Photo, Subject]]) -> list[tuple[Photo, Subject]]:
        """Let the photos correct each other's keypoints."""
        builder, model = self.work.recipe.target_builder, self.work.recipe.transform_model
        with self.work.timed("refine", len(subjects)) as step:
            names = EYES if self.work.recipe.refine.photos == "eyes" else None
            agreed = agree(
                subjects,
                builder,
                model,
                self.work.executor,
                self.work.store.fits,
                step,
                self.work.parts,
                names,
            )
        self.work.parts.forget()  # memory that the frames can use
        self._detected = {photo.name: subject for photo, subject in subjects}
        agreed = [(photo, self.work.corrections.corrected(photo, s)) for photo, s in agreed]
        self.work.record.choose(agreed)
        return agreed

    def _align_once(self, subjects: Sequence[tuple[Photo, Subject]]) -> Alignment:
        builder, model = self.work.recipe.target_builder, self.work.recipe.transform_model
        with self.work.timed("transform_model", len(subjects)) as step:
            kept, remark = self.work.store.fits, self.work.remark
            alignment = align(subjects, builder, model, self._reference, step, kept, remark)
        self.work.record.fail(alignment.failures)
        return alignment

    def _realign(self, alignment: Alignment) -> Alignment:
        """Align bodies by their rigid parts."""
        builder, model = self.work.recipe.target_builder, self.work.recipe.transform_model
        kept = self.work.store.fits
        series = series_of(alignment, builder, model, kept)
        if series is None:
            return alignment
        with self.work.timed("refine", len(alignment.aligned)) as step:
            return realign(alignment, series, kept, step)

    def _place(self, alignment: Alignment) -> Placement:
        placement = place(
            alignment.aligned,
            alignment.reference,
            self.work.recipe.canvas,
            level=self._level,
            max_residual=self.work.recipe.max_residual,
        )
        records = self.work.record.by_name()
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
        self.work.record.fail(placement.failures)
        self.work.record.canvas = {
            "width": placement.canvas.width,
            "height": placement.canvas.height,
        }
        return placement

    def _render(self, placement: Placement) -> tuple[list[str], set[str]]:
        """Write every output under a hidden name.

        Returns:
            Their names; and the photos that could not be read again.
        """
        record, output, placed = self.work.record, self.work.output, placement.placed
        output.check()
        if self.work.pictures is not None:
            self.work.pictures.forget_frames()
        with self.work.timed("renderer", len(placed)) as step:
            rendered = render(
                placed,
                placement.canvas,
                self.work.recipe.canvas,
                self.work.recipe.renderers,
                self.work.recipe.effects,
                output.rendering,
                self.work.executor,
                step,
                None if self.work.pictures is None else self.work.pictures.keep,
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
        placed, canvas, options = placement.placed, placement.canvas, self.work.recipe.canvas
        score: Score = {}
        try:
            for judge in judges_of(self.work.recipe.detector):
                scorer = Scorer.of_run(judge, len(placed), self.work.recipe.seed)
                with self.work.timed("score", len(scorer.sample)) as step:
                    look_again(placed, canvas, options, self.work.executor, scorer, step)
                score = scorer.score()
                if "note" not in score:
                    break
        except Exception as error:  # whatever it is, such as a cluster that is gone
            return {"note": in_one_line(error)}
        return score
