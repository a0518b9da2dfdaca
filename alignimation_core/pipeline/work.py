"""What the steps of a run share: its recipe, record, store and workers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version

import torch

from alignimation_core.api.files import PhotoNames
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.execution.executor import Executor
from alignimation_core.output.folder import OutputFolder
from alignimation_core.photos.decoder import Parts
from alignimation_core.progress import Progress, Step
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import Record
from alignimation_core.report.pictures import Pictures
from alignimation_core.store.store import Store

LABELS = {
    "photos": "reading",
    "detector": "detecting",
    "measures": "measuring",
    "subject_selector": "choosing",
    "duplicates": "comparing",
    "transform_model": "aligning",
    "refine": "refining",
    "renderer": "rendering",
    "score": "scoring",
    "report": "reporting",
}


class Work:
    """One run of a recipe, and the record that grows with it.

    Attributes:
        recipe: what to do.
        corrections: what the user says of single photos.
        output: the output folder.
        progress: what follows the run.
        record: what is known of the run so far.
        executor: where batches run; set once it is there.
        store: what was computed; set once it is open.
        parts: what is kept of decoded photos for a later step.
    """

    executor: Executor
    store: Store

    def __init__(
        self, recipe: Recipe, corrections: Corrections, output: OutputFolder, progress: Progress
    ) -> None:
        self.recipe, self.corrections = recipe, corrections
        self.output, self.progress = output, progress
        self.parts = Parts(recipe.detector.input_side() or 0)
        self._remarked: set[str] = set()
        self.record = Record(
            alignimation=version("alignimation"),
            recipe=recipe.dump(),
            seed=recipe.seed,
            device=str(recipe.detector.torch_device()),
            folder=self.output.folder,
            address=self.output.address,
        )

    @cached_property
    def pictures(self) -> Pictures | None:
        """The report's pictures; None without a report."""
        return Pictures(self.output.rendering) if self.recipe.report else None

    @cached_property
    def named(self) -> frozenset[str]:
        """The photos that the recipe names, by their whole names."""
        known = PhotoNames(record.path for record in self.record.photos)
        wanted = self.recipe.photos_named().values()
        return frozenset(each for name in wanted for each in known.meant(name)[:1])

    def remark(self, text: str) -> None:
        """Tell what is wrong with a stage, though nothing failed; once, whatever its numbers."""
        if (told := re.sub(r"\d+", "#", text)) not in self._remarked:
            self._remarked.add(told)
            self.progress.note(f"warning: {text}")

    def _at_work(self, step: str) -> str:
        """Return which stages do a step, by their names; empty where it is none of theirs."""
        kinds = {"detector": ("detector", "embedder")}.get(step, (step,))
        return ", ".join(stage.name for kind, _, stage in self.recipe.stages() if kind in kinds)

    @contextmanager
    def timed(self, name: str, total: int) -> Iterator[Step]:
        """Time a step, and show how far it is; its random numbers are those of the seed.

        Of nothing to do, nothing is shown.
        """
        torch.manual_seed(self.recipe.seed)  # whatever was drawn before, or came from the store
        begun = time.perf_counter()
        try:
            progress = self.progress if total else Progress()
            with progress.stage(LABELS[name], total, self._at_work(name)) as step:
                yield step
        finally:
            spent = time.perf_counter() - begun
            self.record.seconds[name] = self.record.seconds.get(name, 0.0) + spent
