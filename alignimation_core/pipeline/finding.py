"""From files to subjects: read, detect, select."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alignimation_core.api.data import File, Photo, Subject
from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.stages import AnnotationDetector
from alignimation_core.api.stages.individuals import Shown
from alignimation_core.detection.gates import Values
from alignimation_core.detection.observations import (
    Observed,
    boxes_from_left,
    count_known,
    observe,
)
from alignimation_core.detection.quality import complete, unmeasured
from alignimation_core.detection.selection import select, undamaged, with_masks
from alignimation_core.detection.thinned.thinning import thins, within
from alignimation_core.photos.reader import read
from alignimation_core.pipeline.work import Work
from alignimation_core.recipe.timeline import zone_of
from alignimation_core.store.store import Known


class Finding:
    """The steps that find the subject in each photo."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.values: dict[str, Values] = {}

    def read(self, files: Sequence[File]) -> list[Photo]:
        """Return the photos in order, as they are corrected, but those left out unread."""
        corrections = self.work.corrections
        files = corrections.kept(self.work.recipe, files)
        zone = zone_of(name) if (name := self.work.recipe.time_zone) else None
        with self.work.timed("photos", len(files)) as step:
            photos, failures = read(
                files, self.work.recipe.folder, self.work.executor, self.work.store, step, zone
            )
        failures += corrections.without()
        names = [failure.photo for failure in failures]
        photos = corrections.of_facts(photos, names, self.work.recipe.order, zone)
        self.work.record.add(photos)
        self.work.record.fail(failures)
        return photos

    def within(self, photos: list[Photo], limit: int | None) -> list[Photo]:
        """Return the photos of the recipe's time; the others are no part of a trial run."""
        photos, outside = within(photos, self.work.recipe, self.work.named)
        if limit is None:
            self.work.record.fail(outside)
        else:
            self.work.record.leave_out({failure.photo for failure in outside})
        if outside and not photos:
            raise AlignimationError(f"no photo is of the recipe's time: {outside[0].reason}")
        return photos

    def trial(self, photos: Sequence[Photo], limit: int | None) -> Sequence[Photo]:
        """Return the first photos in time, and among them those that the recipe names."""
        if limit is None:
            return photos
        others = [photo.name for photo in photos if photo.name not in self.work.named]
        shown = {photo.name for photo in photos if photo.name in self.work.named}
        shown |= {*others[: max(0, limit - len(shown))]}
        self.work.record.leave_out({photo.name for photo in photos} - shown)
        return [photo for photo in photos if photo.name in shown]

    def observe(self, photos: Sequence[Photo], known: Mapping[str, Known]) -> Observed:
        """Detect and embed what is not known, by the photos' content."""
        detector, embedder = self.work.recipe.detector, self.work.recipe.embedder
        with self.work.timed("detector", len(photos)) as step:
            observed = observe(
                photos,
                detector,
                embedder,
                self.work.executor,
                self.work.recipe.seed,
                step,
                known,
                self.work.store.keep,
                self.work.parts if self.work.recipe.refine.photos else None,
            )
        for remark in sorted(observed.remarks):
            self.work.remark(remark)
        records = self.work.record.by_name()
        boxes = boxes_from_left(observed.observations)
        for each, found in zip(observed.observations, boxes, strict=True):
            records[each.photo.name].found = found
        self.work.record.fail(observed.failures)
        self.work.record.remark_damage(observed.damaged)
        self.work.record.seconds["detector"] -= observed.embedding
        if embedder is not None:
            self.work.record.seconds["embedder"] = observed.embedding
        if count := count_known(photos, embedder, known):
            self.work.progress.note(f"detecting: {count} of {len(photos)} from the store")
        pixels = self.work.recipe.subject_selector.gates.needs_pixels() or thins(self.work.recipe)
        if isinstance(detector, AnnotationDetector) and not pixels:
            return observed  # whose photos nobody had to decode
        if not (count := len(unmeasured(observed.observations))):
            return observed
        with self.work.timed("measures", count) as step:
            measured = complete(
                observed.observations, detector, self.work.executor, self.work.store.keep, step
            )
        return replace(observed, observations=measured)

    def select(self, observed: Observed, shown: Shown) -> list[tuple[Photo, Subject]]:
        """Return the photos that show the subject, each with it.

        Raises:
            AlignimationError: none does.
        """
        observations = observed.observations
        with self.work.timed("subject_selector", len(observations)) as step:
            selector = self.work.recipe.subject_selector
            with self.work.recipe.blamed("subject_selector"):
                selected = select(observations, selector, step, self.work.corrections, shown)
        self.work.record.fail(selected.rejected)
        self.work.record.choose(selected.chosen)
        self.work.record.correct(self.work.corrections.changes)
        self.work.record.measure(selected.values)
        self.work.record.min_similarity = selected.least
        self.values = selected.values
        subjects, failures = undamaged(selected.chosen, observed.damaged)
        self.work.record.fail(failures)
        if self.work.recipe.canvas.background != "keep":
            subjects, failures = with_masks(subjects)
            self.work.record.fail(failures)
        if not subjects:
            rows = self.work.record.reasons()[:3]
            why = "; ".join(f"{count} {text} (such as {photo})" for text, count, photo in rows)
            raise AlignimationError(f"no photo shows the subject: {why}")
        return subjects
