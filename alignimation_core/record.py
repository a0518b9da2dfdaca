"""The run record, ``run.json``: what became of every photo, and why."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from alignimation_core.api import atomic
from alignimation_core.api.data import Damage, Photo, Subject
from alignimation_core.api.errors import OutputError, in_one_line, printable
from alignimation_core.api.files import SourcePhoto
from alignimation_core.api.mask import Matrix
from alignimation_core.failure import Failure, Status, by_reason

if TYPE_CHECKING:
    from upath import UPath

RECORD_NAME = "run.json"
"""The record's file in the output folder."""
REPORT_NAME, REPORT_FOLDER = "report.html", "report"
"""The report beside it, and its pictures."""
OPENING, CLOSING = '"photos": [\n', "\n ]"
"""Around the photos in the file, of which each has a line of its own."""


def read_file(path: Path | UPath) -> dict[str, Any]:
    """Return what a ``run.json`` holds; that of an older version may say less of a photo.

    Raises:
        OutputError: there is none, or what is there is none.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{path}: there is no run record yet; run the recipe first") from None
    except (OSError, ValueError, RecursionError) as error:
        raise OutputError(f"{path} is no run record: {in_one_line(error)}") from error
    found = record.get("photos") if isinstance(record, dict) else None
    photos = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) and {"path", "status"} <= each.keys() for each in photos):
        raise OutputError(f"{path} is no run record: it tells no path and status of each photo")
    return dict(record)


def passed_over(names: Sequence[str]) -> list[str]:
    """Return a line that counts files by their endings, ``passed over: 2 .mov, 1 .jxl``, if any."""
    counts = Counter(PurePosixPath(name).suffix.lower() or "without ending" for name in names)
    told = ", ".join(f"{count} {printable(ending)}" for ending, count in counts.most_common())
    return [f"passed over: {told}"] if told else []


@dataclass(slots=True)
class PhotoRecord:
    """What became of one photo.

    Attributes:
        path: the file, relative to the recipe.
        sha256: hex digest of the file; null when it could not be read.
        width: pixels, upright.
        height: pixels, upright.
        taken: local time at which it was taken, ISO 8601.
        taken_from: where that comes from: ``exif``, ``gps``, ``xmp``, ``png``, ``name``,
            ``folder``, ``file`` or ``corrections``, or what the photo's source calls its own.
        taken_zone: its offset from UTC, such as ``+02:00``; null where nobody says.
        status: ``used``, ``rejected`` (by a selector) or ``failed``.
        stage: what rejected it or failed: ``photos``, ``sample`` (in time) or a kind of stage.
        reason: why, for a person to read.
        seen: the subject, in the photo's full-size upright pixels; ``subject`` in the file.
        canvas_from_photo: the transform, continuous pixels.
        residual: RMS distance of the subject's keypoints from the reference's on the canvas, in
            percent of the canvas height; null without keypoints.
        residual_before: the same for the photo merely resized to the reference's size.
        iterations: steps of the fit.
        remarks: what else is to be known of the photo, such as a file that is damaged.
        turn: degrees clockwise by which the photo was turned to find the subject; null without one.
        corrected: what corrections changed: ``what``, and what it ``was`` and ``is``.
        gates: the values of the gates of the subject, or of what was rejected in its place.
        gate: the option by which the subject was rejected, ``gates.max_yaw``; null otherwise.
        frame: 0-based number of its frame; null for a photo that is not used.
        moved: RMS distance by which the photos moved the keypoints that they correct, in percent
            of the canvas height; null where they were not asked.
        albums: the albums that it is in, as far as its source knows.
        persons: who is in it, by name, as far as its source knows.
        found: boxes of all that was detected, from the left.
        picture: number of its small pictures in the report's folder; null where there are none.
    """

    path: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    taken: str | None = None
    taken_from: str | None = None
    taken_zone: str | None = None
    status: Status = "failed"
    stage: str | None = None
    reason: str | None = "the run ended before this photo was done"
    seen: Subject | None = None
    canvas_from_photo: Matrix | None = None
    residual: float | None = None
    residual_before: float | None = None
    iterations: int | None = None
    remarks: list[str] = field(default_factory=list)
    turn: int | None = None
    corrected: list[dict[str, Any]] = field(default_factory=list)
    gates: Mapping[str, float] = field(default_factory=dict)
    gate: str | None = None
    frame: int | None = None
    moved: float | None = None
    albums: Sequence[str] = ()
    persons: Sequence[str] = ()
    found: list[list[float]] = field(default_factory=list)
    picture: int | None = None

    @property
    def subject(self) -> dict[str, Any] | None:
        """Return box, score, similarity and keypoints of the subject, as the file holds them."""
        subject = self.seen
        if subject is None:
            return None
        return {
            "box": [round(side, 3) for side in subject.box],
            "score": round(subject.score, 5),
            "similarity": None if subject.similarity is None else round(subject.similarity, 5),
            "keypoints": {
                name: [round(x, 4), round(y, 4)] for name, (x, y) in subject.keypoints.items()
            },
        }

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds of this photo."""
        names = ("subject" if name == "seen" else name for name in self.__slots__)
        return {name: getattr(self, name) for name in names}

    def use(self) -> None:
        """Note that the photo is in the animation."""
        self.status, self.stage, self.reason = "used", None, None

    @classmethod
    def of(cls, photo: Photo) -> PhotoRecord:
        """Return the record of a photo of which nothing but its facts is known yet."""
        path = photo.path
        albums, persons = (path.albums, path.persons) if isinstance(path, SourcePhoto) else ((), ())
        return cls(
            photo.name,
            photo.sha256,
            photo.width,
            photo.height,
            photo.taken.isoformat(),
            photo.taken_from,
            photo.taken_zone,
            albums=albums,
            persons=persons,
        )


@dataclass(slots=True)
class Record:
    """What a run did; ``write`` makes the file that others read.

    Attributes:
        alignimation: version of this package.
        recipe: the recipe with every default filled in.
        seed: seed of all randomness.
        device: where the networks ran.
        canvas: ``width`` and ``height`` in pixels; null until known.
        reference: path of the photo that the others were aligned on; null until known.
        photos: every photo found, in the recipe's order; unreadable ones last.
        outputs: finished outputs, relative to the output folder.
        kept: outputs of earlier runs that stand there, as those wrote them.
        written: BLAKE3 digest of each of ``outputs`` and ``kept``; of a folder, that of the lines
            ``digest  name`` of its files.
        report: BLAKE3 digest of the report's files, as in ``written``.
        passed_over: files that lie among the photos and are none, named as photos are.
        score: how still the subject stands, see docs/run-record.md; null where not looked at.
        min_similarity: the least that was asked of the subject, which may be more than the recipe
            or the embedder says, by the subject's own spread; null where none was compared.
        seconds: wall time by kind of stage.
        error: why the run as a whole failed; null when it did not.
        folder: the output folder; not in the file.
        address: of the output, where ``folder`` is only its working folder; not in the file.
    """

    alignimation: str
    recipe: dict[str, Any]
    seed: int
    device: str
    folder: Path
    address: str | None = None
    canvas: Mapping[str, int] | None = None
    reference: str | None = None
    photos: list[PhotoRecord] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    report: dict[str, str] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)
    score: dict[str, Any] | None = None
    min_similarity: float | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    def stand(self, names: Iterable[str], kept: list[str], digests: Mapping[str, str]) -> None:
        """Note which outputs there are, the report's files among them."""
        ours, self.kept = {REPORT_NAME, REPORT_FOLDER}.intersection(names), kept
        self.outputs = [name for name in names if name not in ours]
        self.report = {name: digests[name] for name in sorted(ours)}
        self.written = {name: each for name, each in digests.items() if name not in ours}

    def where(self, name: str) -> str:
        """Return where the user finds an output: its path, or its address."""
        return str(self.folder / name) if self.address is None else f"{self.address}/{name}"

    def add(self, photos: Iterable[Photo]) -> None:
        """Take up photos of which nothing but their facts is known yet."""
        self.photos += map(PhotoRecord.of, photos)

    def leave_out(self, names: Container[str]) -> None:
        """Drop photos that are no part of a trial run."""
        self.photos = [photo for photo in self.photos if photo.path not in names]

    def fail(self, failures: Iterable[Failure]) -> None:
        """Note which photos are not used, and why; those that cannot be read are taken up."""
        records = self.by_name()
        for failure in failures:
            record = records.get(failure.photo)
            if record is None:
                record = PhotoRecord(failure.photo)
                self.photos.append(record)
            record.status = failure.status
            record.stage, record.reason = failure.stage, failure.reason
            record.gate = failure.gate

    def pass_over(self, failures: Sequence[Failure]) -> None:
        """Note which photos are not shown, wherever they may have been placed before."""
        self.fail(failures)
        records = self.by_name()
        for failure in failures:
            record = records[failure.photo]
            record.canvas_from_photo = record.iterations = None
            record.residual = record.residual_before = record.moved = None

    def choose(self, subjects: Iterable[tuple[Photo, Subject]]) -> None:
        """Note the subjects of photos."""
        records = self.by_name()
        for photo, subject in subjects:
            records[photo.name].seen, records[photo.name].turn = subject, subject.turn

    def correct(self, changes: Mapping[str, list[dict[str, Any]]]) -> None:
        """Note what corrections changed, by photo."""
        records = self.by_name()
        for name in changes.keys() & records.keys():
            records[name].corrected = changes[name]

    def remark_damage(self, damaged: Mapping[str, Damage]) -> None:
        """Note which photos, by their names, were decoded although their files are damaged."""
        records = self.by_name()
        for name, damage in damaged.items():
            record = records[name]
            area = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in damage.lost)
            share = 100 * area / ((record.width or 1) * (record.height or 1))
            lost = f", and with it {max(1, round(share))} % of the picture" if damage.lost else ""
            record.remarks.append(f"{damage.reason}{lost}")

    def measure(self, values: Mapping[str, Mapping[str, float]]) -> None:
        """Note the values of gates, by the names of photos."""
        records = self.by_name()
        for name, measured in values.items():
            records[name].gates = measured

    def by_name(self) -> dict[str, PhotoRecord]:
        """Return the photos by their paths."""
        return {photo.path: photo for photo in self.photos}

    @property
    def summary(self) -> dict[str, int]:
        """Return how many photos were used, rejected and failed."""
        counts = Counter(photo.status for photo in self.photos)
        return {status: counts[status] for status in ("used", "rejected", "failed")}

    def reasons(self) -> list[tuple[str, int, str]]:
        """Return (status and reason, how many, example photo), most frequent first."""
        groups = by_reason((photo.status, photo.reason, photo.path) for photo in self.photos)
        return [(told, len(alike), alike[0][0]) for told, alike in groups]

    def as_json(self) -> dict[str, Any]:
        """Return what the file holds; its ``photos`` share what they hold with this record."""
        frames = count()
        for photo in self.photos:
            photo.frame = next(frames) if photo.status == "used" else None
        return {
            "alignimation": self.alignimation,
            "recipe": self.recipe,
            "seed": self.seed,
            "device": self.device,
            "canvas": dict(self.canvas) if self.canvas else None,
            "reference": self.reference,
            "photos": [photo.as_json() for photo in self.photos],
            "outputs": self.outputs,
            "kept": self.kept,
            "written": self.written,
            "report": self.report,
            "passed_over": self.passed_over,
            "score": self.score,
            "min_similarity": self.min_similarity,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "summary": self.summary,
            "error": self.error,
        }

    def write(self) -> Path:
        """Write ``run.json`` into the output folder, atomically.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / RECORD_NAME
        try:
            with atomic.AtomicWrite(path) as part:
                self.save(part)
        except OSError as error:
            what = atomic.reason(error, "set `output` to another place")
            raise OutputError(f"{path}: {what}") from error
        return path

    def save(self, path: Path) -> None:
        """Write what ``run.json`` is to hold into another file.

        Raises:
            OSError: it cannot be written.
        """
        # a file name that is no UTF-8 becomes a JSON escape
        path.write_text(self._text(), encoding="utf-8", errors="backslashreplace")

    def _text(self) -> str:
        """Return the file's text: a line for everything, and one for every photo."""
        encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
        lines = []
        for name, value in self.as_json().items():
            if name == "photos" and value:
                photos = ",\n  ".join(map(encode, value))
                lines.append(f"{OPENING}  {photos}{CLOSING}")
            else:
                lines.append(f'"{name}": {encode(value)}')
        return "{\n " + ",\n ".join(lines) + "\n}\n"
