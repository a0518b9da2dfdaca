"""Corrections at work: on the facts of photos, and on what was chosen in them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from pathlib import Path
from typing import Any

from alignimation_core.api import urls
from alignimation_core.api.data import Choice, File, Observation, Photo, Subject
from alignimation_core.api.errors import Fault, RecipeError
from alignimation_core.api.files import PhotoNames
from alignimation_core.api.stages.individuals import Reference, from_left, listed, meant
from alignimation_core.corrections.document import Entry, read
from alignimation_core.failure import Failure
from alignimation_core.photos.order import in_zone, order, relative_name
from alignimation_core.recipe.document import Location
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.recipe.timeline import Order

PAD = 0.5
"""Room around keypoints where nothing was found about them, as a share of their extent."""


@dataclass(slots=True)
class Corrections:
    """What a recipe's file of corrections says; nothing where there is no such file.

    Attributes:
        file: the file, which need not be there.
        left_out: photos that the recipe's ``without`` leaves out, with the pattern that does.
        references: the files of photos by which the subject selector is shown who somebody is, by
            their locations in the recipe.
        changes: what the corrections changed, by photo: ``what``, and what it ``was`` and ``is``.
    """

    file: Path = Path("corrections.yaml")
    entries: Sequence[Entry] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    references: dict[Location, tuple[Reference, File]] = field(default_factory=dict)
    changes: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _of: dict[str, Entry] = field(default_factory=dict)
    _faults: list[Fault] = field(default_factory=list)

    @classmethod
    def load(cls, recipe: Recipe) -> Corrections:
        """Read the corrections of a recipe.

        Raises:
            RecipeError: every fault, by file, line and photo.
        """
        file = recipe.folder / recipe.corrections
        gives = recipe.detector.provides()
        keypoints = [word.partition(".")[2] for word in gives if word.startswith("keypoints.")]
        return cls(file, read(file, keypoints))

    def check(self, recipe: Recipe, files: Sequence[File]) -> None:
        """Check the names of photos in the corrections and in the recipe, of all its files.

        A name beside a content hash may be that which a photo had before.

        Raises:
            RecipeError: every name that means no photo or several, and every contradiction.
        """
        if not (self.entries or recipe.without or recipe.references()):
            return
        paths = {relative_name(path, recipe.folder): path for path in files}
        known, left = PhotoNames(paths), self.left_out
        faults: list[Fault] = []
        for i, pattern in enumerate(recipe.without):
            try:
                left.update(dict.fromkeys(known.matching(pattern), pattern))
            except LookupError as error:
                faults.append(recipe.fault(("without", i), str(error)))
        for place, reference in recipe.references():
            try:
                self.references[place] = reference, _file_of(reference.photo, known, paths, recipe)
            except LookupError as error:
                faults.append(recipe.fault(place, str(error)))
        for place, wanted in recipe.photos_named().items():
            for name in known.meant(wanted)[:1]:
                if name in left:
                    what = f"{name} is left out by `without`; name another, or remove it there"
                    faults.append(recipe.fault(place, what))
        for entry in self.entries:
            try:
                name = known.one(entry.written)
            except LookupError as error:
                if entry.correction.sha256 is None:
                    faults.append(entry.fault("", str(error)))
                continue
            if name in left and entry.correction.use:
                what = "the recipe's `without` leaves it out; remove it there, or this"
                faults.append(entry.fault("use", what))
            for place, wanted in recipe.photos_named().items():
                if entry.correction.use is False and known.meant(wanted) == [name]:
                    what = (
                        f"the recipe's `{place[-1]}` names it; name another there, or remove this"
                    )
                    faults.append(entry.fault("use", what))
        if faults:
            raise RecipeError(faults)

    def kept(self, recipe: Recipe, files: Sequence[File]) -> list[File]:
        """Return the files that ``without`` does not leave out."""
        if not self.left_out:
            return [*files]
        return [f for f in files if relative_name(f, recipe.folder) not in self.left_out]

    def without(self) -> list[Failure]:
        """Return why the photos that ``without`` leaves out are not used."""
        return [
            Failure(name, "photos", f"left out: by `without`, {pattern!r}", "rejected")
            for name, pattern in self.left_out.items()
        ]

    def of_facts(
        self,
        photos: Sequence[Photo],
        others: Iterable[str],
        by: Order = "taken",
        zone: tzinfo | None = None,
    ) -> list[Photo]:
        """Return the photos with their corrected dates and turns, in the order that follows.

        Args:
            photos: those that could be read, as they were.
            others: names of those that could not, or are left out.
            by: see ``photos.order.order``.
            zone: likewise; corrected dates are of there.

        Raises:
            RecipeError: a correction is of no photo, of several, or of one that another is of; or
                its keypoints lie outside the photo.
        """
        self._match(photos, list(others))
        corrected = [in_zone(self._of_photo(photo), zone) for photo in photos]
        self.raise_faults()
        return order(corrected, by, zone)

    def _of_photo(self, photo: Photo) -> Photo:
        entry = self._of.get(photo.name)
        if entry is None:
            return photo
        given = entry.correction
        points = [("keypoints", f"{name} ", point) for name, point in given.keypoints.items()]
        if isinstance(given.face, tuple):
            points.append(("face", "", given.face))
        for key, name, (x, y) in points:
            if not (0 <= x <= photo.width and 0 <= y <= photo.height):
                size = f"{photo.width} x {photo.height} pixels"
                what = f"{name}[{x:g}, {y:g}] lies outside the photo of {size}; correct it"
                self._faults.append(entry.fault(key, what))
        taken, turn = given.taken or photo.taken, given.turn
        if taken != photo.taken:
            was = f"{photo.taken.isoformat()} ({photo.taken_from})"
            self._note(photo, "taken", was, taken.isoformat())
        if turn is not None:
            self._note(photo, "turn", None, turn)
        corrected = replace(photo, turn=turn)
        if given.taken is None:
            return corrected
        return replace(corrected, taken=taken, taken_from="corrections", taken_zone=None)

    def _match(self, photos: Sequence[Photo], others: Sequence[str]) -> None:
        names = PhotoNames([*(photo.name for photo in photos), *others])
        sums = {photo.name: photo.sha256 for photo in photos}
        named: dict[str, list[str]] = {}
        for name, content in sums.items() if self.entries else ():
            named.setdefault(content, []).append(name)
        for entry in self.entries:
            sha256, meant = entry.correction.sha256, names.meant(entry.written)
            if sha256 is not None:
                alike = named.get(sha256, [])
                other = [name for name in meant if name in sums and name not in alike]
                if not alike and other:
                    what = f"{other[0]} has another content than this; correct or remove the hash"
                    self._faults.append(entry.fault("sha256", what))
                    continue
                meant = [name for name in meant if name in alike] or alike or meant
            else:
                meant = meant[:2]
            if not meant or (len(meant) > 1 and sha256 is None):
                try:
                    names.one(entry.written)
                except LookupError as error:
                    self._faults.append(entry.fault("", str(error)))
                continue
            for name in meant:
                if (first := self._of.setdefault(name, entry)) is not entry:
                    what = f"{name} is corrected under {first.written!r}, too; put both together"
                    self._faults.append(entry.fault("", what))

    def decide(
        self, observation: Observation, choice: Choice, chosen: Subject | None
    ) -> tuple[Subject | Failure, int | None]:
        """Return the subject of one photo, or why it has none, as the user has the last word.

        With the subject, which detection it is; None for one that was not detected. What was
        ``chosen`` is None where the choice is none.

        What cannot be done is raised by ``raise_faults``, of all photos together.
        """
        photo, found = observation.photo, observation.detections
        entry, index = self._of.get(photo.name), choice.index
        if entry is None and chosen is not None:
            return chosen, index
        reason = choice.reason or ""
        rejected = Failure(photo.name, "subject_selector", reason, "rejected", choice.gate)
        if entry is None:
            return rejected, None
        given = entry.correction
        if given.use is False:
            if index is not None:
                self._note(photo, "use", was=True, now=False)
            reason = f"left out by {self.file.name}"
            return Failure(photo.name, "corrections", reason, "rejected"), None
        if given.face is not None:
            try:
                index = meant(found, given.face)
            except ValueError as error:
                self._faults.append(entry.fault("face", str(error)))
                return rejected, None
        elif given.use and index is None:
            index = choice.candidate if len(found) != 1 else 0
            if index is None and found:
                what = f"say who: add `face: N`, {listed(found)}"
                self._faults.append(entry.fault("use", what))
                return rejected, None
        if choice.index is None and (given.use or index is not None):
            self._note(photo, "use", was=choice.reason, now=True)
        if index != choice.index and index is not None:
            numbers = {place: number for number, place in enumerate(from_left(found), 1)}
            if given.face is not None:
                was = None if choice.index is None else numbers[choice.index]
                self._note(photo, "face", was, numbers[index])
        if index is not None:
            compared = index in (choice.index, choice.candidate)
            similarity = choice.similarity if compared else None
            return self.corrected(photo, found.subject(index, similarity=similarity)), index
        if not given.use:
            return rejected, None
        if len(given.keypoints) < 2:
            what = "nothing was found in it; add two `keypoints` or more, or `turn`"
            self._faults.append(entry.fault("use", what))
            return rejected, None
        bare = Subject(_around(given.keypoints.values(), PAD), 1.0, turn=photo.turn or 0)
        known = replace(bare, keypoint_names=found.keypoint_names or tuple(given.keypoints))
        return self.corrected(photo, known), None

    def corrected(self, photo: Photo, subject: Subject) -> Subject:
        """Return a photo's subject with the keypoints that the user gave."""
        entry = self._of.get(photo.name)
        if entry is None or not entry.correction.keypoints:
            return subject
        given = entry.correction.keypoints
        was = {name: subject.keypoints.get(name) for name in given}
        if was != given:
            self._note(photo, "keypoints", was, dict(given))
        points = {**subject.keypoints, **given}
        scores = {**subject.keypoint_scores, **dict.fromkeys(given, 1.0)}
        names = [name for name in subject.keypoint_names if name in points]
        x0, y0, x1, y1 = _around(given.values(), 0.0)
        box = subject.box
        return replace(
            subject,
            box=(min(box[0], x0), min(box[1], y0), max(box[2], x1), max(box[3], y1)),
            keypoints={name: points[name] for name in names},
            keypoint_scores={name: scores[name] for name in names},
        )

    def _note(self, photo: Photo, what: str, was: object, now: object) -> None:
        noted = self.changes.setdefault(photo.name, [])
        if all(each["what"] != what for each in noted):
            noted.append({"what": what, "was": was, "is": now})

    def raise_faults(self) -> None:
        """Raise what cannot be done.

        Raises:
            RecipeError: every fault since the last time, by file, line and photo.
        """
        if self._faults:
            faults, self._faults = self._faults, []
            raise RecipeError(faults)


def _around(points: Iterable[tuple[float, float]], pad: float) -> tuple[float, float, float, float]:
    xs, ys = zip(*points, strict=True)
    room = pad * max(max(xs) - min(xs), max(ys) - min(ys))
    return min(xs) - room, min(ys) - room, max(xs) + room, max(ys) + room


def _file_of(written: str, known: PhotoNames, paths: Mapping[str, File], recipe: Recipe) -> File:
    """Return the file that a reference means: one of the photos, or any other."""
    if urls.is_address(written):
        return paths.get(written) or urls.at(written)
    if len(known.meant(written)) == 1:
        return paths[known.one(written)]
    file = recipe.folder / os.path.expanduser(written)  # noqa: PTH111 - nobody's home is none
    if os.path.isfile(file):  # noqa: PTH113 - nor is what is no name: neither ever raises
        return file
    try:
        return paths[known.one(written)]
    except LookupError as error:
        raise LookupError(f"{error}; nor is {file} a file") from None
