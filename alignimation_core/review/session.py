"""One review: a recipe, the record of its last run, what is decided, and what is rendered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alignimation_core import people
from alignimation_core.api.errors import AlignimationError, OutputError, printable
from alignimation_core.api.stages.individuals import IdentitySelector, from_left
from alignimation_core.detection.thinned.thinning import BURST
from alignimation_core.progress import Progress
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.review import record as records
from alignimation_core.review.decisions import Decisions
from alignimation_core.review.pictures import Pictures
from alignimation_core.review.rendering import Job

FILMS = (".mp4", ".mov", ".mkv", ".webm", ".gif", ".webp", ".png", ".apng")
"""Endings of outputs that a page can show."""
CLOCKS = ("exif", "gps", "xmp", "png")
"""Where times of day come from that tell of bursts."""


class Session:
    """All that the page asks for.

    Args:
        path: the recipe's file.
        load: reads it.
        command: the start of the command that runs it; a preview has its width and height appended.

    Raises:
        AlignimationError: the recipe is wrong, or was never run.
    """

    def __init__(self, path: Path, load: Callable[[], Recipe], command: Sequence[str]) -> None:
        self._path, self._load, self._command = path, load, command
        self.recipe = load()
        self._record = records.read(self.recipe)
        self.decisions = Decisions(self.recipe, path, self._record)
        self.pictures = Pictures(self.recipe, self._record)
        self._job: Job | None = None
        self._starting, self._looking = threading.Lock(), threading.Lock()

    @property
    def photos(self) -> Sequence[Mapping[str, Any]]:
        """The photos of the record."""
        return self._record["photos"]  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """Return all that the page shows, as JSON can hold it, but what is corrected."""
        files = self.pictures.files
        known = {photo["path"] for photo in self.photos}
        return {
            "recipe": printable(self._path.name),
            "corrections": printable(str(self.decisions.file.name)),
            **self.chosen(),
            "summary": self._record.get("summary") or {},
            "error": self._record.get("error"),
            "identity": isinstance(self.recipe.subject_selector, IdentitySelector),
            "keypoints": self._keypoints(),
            "gates": [
                {**gate._asdict(), "signless": gate.signless, "writable": self._has(gate.option)}
                for gate in records.gates(self._record)
            ],
            "burst": BURST,
            "fresh": len(files.keys() - known),
            "films": self.films(),
            "photos": [self._row(photo, there=photo["path"] in files) for photo in self.photos],
        }

    def _has(self, option: str) -> bool:
        return option.partition(".")[0] in type(self.recipe.subject_selector).model_fields

    def chosen(self) -> dict[str, Any]:
        """Return what the recipe, or else the run, has for the reference and for the person."""
        wanted = self.recipe.reference
        used = self._record.get("reference")
        person = getattr(self.recipe.subject_selector, "person", None)
        return {
            "reference": used if wanted in ("medoid", "first") else wanted,
            "person": person if isinstance(person, int) else None,
        }

    def _keypoints(self) -> list[str]:
        gives = self.recipe.detector.provides()
        return sorted(name.partition(".")[2] for name in gives if name.startswith("keypoints."))

    @staticmethod
    def _row(photo: Mapping[str, Any], *, there: bool) -> dict[str, Any]:
        subject = photo.get("subject") or {}
        origin = photo.get("taken_from")
        return {
            "path": photo["path"],
            "name": printable(photo["path"]),
            "taken": photo.get("taken"),
            "clock": origin in CLOCKS,
            "status": photo.get("status"),
            "stage": photo.get("stage"),
            "reason": printable(photo.get("reason") or ""),
            "gate": photo.get("gate"),
            "gates": photo.get("gates") or {},
            "size": [photo.get("width"), photo.get("height")],
            "found": photo.get("found") or [],
            "box": subject.get("box"),
            "keypoints": subject.get("keypoints") or {},
            "residual": photo.get("residual"),
            "remarks": [printable(str(remark)) for remark in photo.get("remarks") or []],
            "there": there,
        }

    def people(self) -> list[dict[str, Any]]:
        """Return who appears in the photos: of each, faces as photo and number from the left.

        Raises:
            AlignimationError: the recipe tells nobody apart, or nobody was found.
        """
        places = {photo["path"]: place for place, photo in enumerate(self.photos)}
        with self._looking:
            found = people.find(self.recipe, Progress())
        return [
            {
                "number": individual.number,
                "years": individual.years,
                "faces": [
                    [places[seen.photo.name], from_left(seen.detections).index(index) + 1]
                    for seen, index in individual.faces
                    if seen.photo.name in places
                ],
            }
            for individual in found
        ]

    def set(self, location: Sequence[str], value: object) -> None:
        """Write a setting into the recipe; see ``Decisions.set``."""
        if location == ["reference"] and isinstance(value, int):
            value = self.photos[value]["path"]
        self.decisions.set(location, value)
        self.recipe = self._load()

    def undo(self) -> None:
        """Take back the last step; see ``Decisions.undo``."""
        self.decisions.undo()
        self.recipe = self._load()

    def start(self, kind: str) -> None:
        """Start a run: ``render``, or ``preview``.

        Raises:
            OutputError: another one is under way.
        """
        with self._starting:
            if self._job is not None and self._job.running:
                raise OutputError("a run is under way; wait until it ends, or stop it")
            size: list[str] = []
            if kind == "preview":
                canvas = self._record.get("canvas") or {}
                size = [str(canvas.get(side, 0)) for side in ("width", "height")]
            self._job = Job([*self._command, *size], kind)

    def job(self) -> dict[str, Any] | None:
        """Return how far the last run is that was asked for; None where there was none."""
        return None if self._job is None else self._job.state()

    def stop(self) -> None:
        """Stop the run that is under way, if one is."""
        if self._job is not None:
            self._job.stop()

    def close(self) -> bool:
        """End the run that is under way; return whether one was."""
        running = self._job is not None and self._job.running
        if self._job is not None:
            self._job.end()
        return running

    def reload(self) -> None:
        """Read the recipe and the record again, as after a run.

        Raises:
            AlignimationError: one of them cannot be read; what was read before stays.
        """
        recipe = self._load()
        record = records.read(recipe)
        self.recipe, self._record = recipe, record
        self.decisions.take(record)
        self.pictures = Pictures(recipe, record)

    def films(self, *, trial: bool = False) -> list[str]:
        """Return the names of outputs that a page can show, of the last run or the last preview."""
        try:
            record = records.read(self.recipe, trial=True) if trial else self._record
        except AlignimationError:
            return []
        return [name for name in record.get("outputs") or [] if name.lower().endswith(FILMS)]
