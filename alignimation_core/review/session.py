"""One review: a recipe, the record of its last run, what is decided, and what is rendered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignimation_core import people
from alignimation_core.api.errors import AlignimationError, OutputError, RecipeError, printable
from alignimation_core.api.files import unwritable
from alignimation_core.api.stages.individuals import IdentitySelector, from_left
from alignimation_core.detection.thinned.thinning import BURST
from alignimation_core.progress import Progress
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME
from alignimation_core.review import record as records
from alignimation_core.review.decisions import Decisions
from alignimation_core.review.pictures import Pictures
from alignimation_core.review.rendering import Job

if TYPE_CHECKING:
    from upath import UPath

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

    Attributes:
        run: which run is looked at, counted from 1; photos are meant by their places in it.

    Raises:
        AlignimationError: the recipe is wrong, or was never run.
    """

    def __init__(self, path: Path, load: Callable[[], Recipe], command: Sequence[str]) -> None:
        self._path, self._load, self._command = path, load, command
        self._seen = _stamp(path)
        self.recipe = load()
        self._read = self._record_stamp(self.recipe)
        self._record = records.read(self.recipe)
        self.decisions = Decisions(self.recipe, path, self._record)
        self.pictures = self._pictures(self.recipe, self._record, self._read)
        self.run = 1
        self._job: Job | None = None
        self._starting, self._looking = threading.Lock(), threading.Lock()
        self._reading = threading.RLock()

    @property
    def photos(self) -> Sequence[Mapping[str, Any]]:
        """The photos of the record."""
        return self._record["photos"]  # type: ignore[no-any-return]

    def state(self) -> dict[str, Any]:
        """Return all that the page shows, as JSON can hold it, but what is corrected.

        It is of the last run, whoever has run the recipe meanwhile.
        """
        self._obey()
        with self._reading:
            if self._record_stamp(self.recipe) != self._read:
                with suppress(AlignimationError):
                    self.reload()
        pictures = self.pictures
        return {
            "run": self.run,
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
            "fresh": len(pictures.new),
            "films": self.films(),
            "photos": [
                self._row(photo, there=pictures.there(place))
                for place, photo in enumerate(self.photos)
            ],
        }

    def _obey(self) -> None:
        """Read the recipe again where it was changed; while it is broken, it is what it was."""
        stamp = _stamp(self._path)
        if stamp != self._seen:
            with suppress(RecipeError):
                self.recipe = self._load()
                self.decisions.obey(self.recipe)
                self._seen = stamp

    @staticmethod
    def _record_stamp(recipe: Recipe) -> object:
        return _stamp(records.place_of(recipe) / RECORD_NAME)

    def _pictures(self, recipe: Recipe, record: Mapping[str, Any], read: object) -> Pictures:
        return Pictures(recipe, record, lambda: self._record_stamp(recipe) == read)

    def _has(self, option: str) -> bool:
        return option.partition(".")[0] in type(self.recipe.subject_selector).model_fields

    def chosen(self) -> dict[str, Any]:
        """Return what the recipe, or else the run, has for what the page can write into it."""
        wanted = self.recipe.reference
        used = self._record.get("reference")
        person = getattr(self.recipe.subject_selector, "person", None)
        return {
            "reference": used if wanted in ("medoid", "first") else wanted,
            "person": person if isinstance(person, int) else None,
            "limits": {gate.option: self._limit(gate) for gate in records.gates(self._record)},
        }

    def _limit(self, gate: records.Gate) -> float | None:
        """Return the limit of the next run, as far as the recipe says it."""
        value: Any = self.recipe.subject_selector
        for key in gate.option.split("."):
            value = getattr(value, key, None)
        adapted = value is None and gate.option == "min_similarity"
        return gate.limit if adapted else value

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

    def decide(self, changes: Sequence[tuple[int, Mapping[str, object]]]) -> None:
        """Correct photos, in one step; see ``Decisions.decide``.

        Raises:
            ValueError: also for what a run would refuse: a photo that is gone, a face that was not
                found in it, a keypoint that the detector does not know.
        """
        self._obey()
        for place, wanted in changes:
            name = printable(self.decisions.name(place))
            if all(value is None for value in wanted.values()):
                continue
            here = self.pictures.there(place) or self.pictures.renamed(place)
            if self.pictures.files and not here:
                raise ValueError(f"{name} is gone since the run; bring it back to correct it")
            face, found = wanted.get("face"), self.photos[place].get("found")
            if isinstance(face, int) and found is not None and face > len(found):
                raise ValueError(f"{name}: there is no face {face}; {len(found)} found in it")
            points = wanted.get("keypoints")
            known = self._keypoints()
            for point in points if isinstance(points, dict) else ():
                if point not in known:
                    gives = ", ".join(known) or "none"
                    raise ValueError(f"the detector knows no keypoint {point!r}; it gives {gives}")
        self.decisions.decide(changes)

    def set(self, location: Sequence[str], value: object) -> None:
        """Write a setting into the recipe, the reference by its photo; see ``Decisions.set``."""
        if location == ["reference"] and value is not None:
            if type(value) is not int:
                raise ValueError("expected the number of a photo as the reference")
            value = self.decisions.name(value)
            if why := unwritable(value):
                raise ValueError(why)
        self.decisions.set(location, value)
        self._obey()

    def undo(self) -> None:
        """Take back the last step; see ``Decisions.undo``."""
        self.decisions.undo()
        self._obey()

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
        with self._reading:
            seen = _stamp(self._path)
            recipe = self._load()
            read = self._record_stamp(recipe)
            record = records.read(recipe)
            another = read is None or read != self._read
            self.run += another  # first: what is of the run before is refused from now on
            self.decisions.take(record)
            self.decisions.obey(recipe)
            self.recipe, self._record, self._seen, self._read = recipe, record, seen, read
            self.pictures = self._pictures(recipe, record, read)

    def films(self, *, trial: bool = False) -> list[str]:
        """Return the names of outputs that a page can show, of the last run or the last preview."""
        try:
            record = records.read(self.recipe, trial=True) if trial else self._record
        except AlignimationError:
            return []
        return [name for name in record.get("outputs") or [] if name.lower().endswith(FILMS)]


def _stamp(path: Path | UPath) -> object:
    """Return what changes when somebody writes a file; None where that cannot be told."""
    try:
        about = path.stat()
        return about.st_mtime, about.st_size, about.st_ino
    except Exception:  # whatever an address raises
        return None
