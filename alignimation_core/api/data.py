"""Data types passed between stages.

Convention, for every class here:

- Images are ``(3, h, w)`` RGB, ``uint8`` at rest. Sizes are ``(height, width)``; points ``(x, y)``.
- Coordinates are continuous pixels: an image spans ``[0, w] x [0, h]`` and the centre of its
  top-left pixel is ``(0.5, 0.5)``, so resizing by ``s`` multiplies coordinates by ``s``.
- Matrices are 3x3, act on column vectors ``(x, y, 1)`` and are named by where they go:
  ``canvas_from_photo``.
- ``left`` and ``right`` are the subject's own: ``left_eye`` appears on the right of a frontal face.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, TypeAlias

from alignimation_core.api import files, images
from alignimation_core.api.mask import Mask, Matrix

if TYPE_CHECKING:
    from torch import Tensor

File: TypeAlias = files.File
"""A local file, one at an address, or a photo that its source opens."""

_PAIRS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_KEYPOINTS = ("nose", *(f"{side}_{part}" for part in _PAIRS for side in ("left", "right")))
"""COCO's keypoints of a person, in its order."""
EYES = ("left_eye", "right_eye")
TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, ITU-R BT.601."""


def expect_shape(what: str, tensor: object, shape: tuple[int | None, ...]) -> None:
    """Check a tensor's shape, in which None stands for any size.

    Raises:
        TypeError: it is no torch tensor.
        ValueError: its shape is another; the message shows both sides.
    """
    import torch

    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{what}: expected a torch tensor, got {type(tensor).__name__}")
    if tensor.shape == shape:
        return
    found = tuple(tensor.shape)
    if len(found) != len(shape) or any(
        want not in (None, have) for want, have in zip(shape, found, strict=True)
    ):
        wanted = ", ".join("n" if want is None else str(want) for want in shape)
        raise ValueError(f"{what}: expected shape ({wanted}), got {found}")


@dataclass(frozen=True, slots=True)
class Photo:
    """Metadata of one photo; its pixels are loaded when needed and let go at once.

    Attributes:
        path: the file: an absolute path, universal_pathlib's ``UPath`` of an address, or what a
            source knows of a photo that is no file.
        name: the file as the run record names it: relative to the recipe, with ``/``.
        sha256: hex digest of the file's bytes.
        height: pixels, after turning upright by EXIF.
        width: pixels, after turning upright by EXIF.
        taken: local time at which it was taken.
        taken_from: where that time comes from: ``exif``, ``gps``, ``xmp``, ``png``, ``name``,
            ``folder``, ``file`` or ``corrections``, or what the photo's source calls its own.
        stamp: which version of a local file these are the facts of; empty where that is not known.
        taken_zone: offset from UTC of that time, such as ``+02:00``; None where nobody says.
        modified: when the file was last written, UTC; None where nobody says.
        turn: degrees clockwise, 0, 90, 180 or 270, that bring it upright; None unless corrected.
    """

    path: File
    name: str
    sha256: str
    height: int
    width: int
    taken: datetime
    taken_from: str
    stamp: str = field(default="", compare=False, repr=False)
    taken_zone: str | None = None
    modified: datetime | None = field(default=None, compare=False, repr=False)
    turn: int | None = None

    @property
    def content(self) -> str:
        """What detections go by: the SHA-256, and the turn at which alone they are looked for."""
        return self.sha256 if self.turn is None else f"{self.sha256} turned {self.turn}"


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file of which a picture was made all the same.

    Attributes:
        reason: for a person to read.
        lost: boxes ``(x0, y0, x1, y1)`` that hold nothing of the photo, in its full-size upright
            pixels.
    """

    reason: str
    lost: tuple[tuple[float, float, float, float], ...] = ()

    def reason_against(self, box: tuple[float, float, float, float]) -> str | None:
        """Return why the photo is not to be used, if something within its subject's box is lost."""
        x0, y0, x1, y1 = box
        if not any(a < x1 and c > x0 and b < y1 and d > y0 for a, b, c, d in self.lost):
            return None
        return f"{self.reason}, and with it a part of the subject; replace or remove it"


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Everything in one image that could be the subject: N of them, best first.

    Attributes:
        boxes: (N, 4) float32, ``x0, y0, x1, y1`` in the image's continuous pixels.
        scores: (N,) float32 in [0, 1].
        keypoints: (N, K, 2) float32 in the image's continuous pixels; None without keypoints.
        keypoint_scores: (N, K) float32 in [0, 1]; 0 for a keypoint that was not found; ones when
            left out.
        keypoint_names: K names, COCO's where there is one (``left_eye`` is the subject's left).
        masks: N masks, None for a detection that has none; None without masks.
        turn: degrees clockwise by which the photo was turned to find them: 0, 90, 180 or 270. The
            coordinates are those of the image as it is.

    Raises:
        TypeError: something that should be a tensor is none.
        ValueError: shapes disagree; the message shows both sides.
    """

    boxes: Tensor
    scores: Tensor
    keypoints: Tensor | None = None
    keypoint_scores: Tensor | None = None
    keypoint_names: tuple[str, ...] = ()
    masks: tuple[Mask | None, ...] | None = None
    turn: int = 0

    def __post_init__(self) -> None:
        """Check that all parts speak of the same N detections."""
        expect_shape("boxes", self.boxes, (None, 4))
        count, names = len(self), len(self.keypoint_names)
        expect_shape("scores", self.scores, (count,))
        if self.keypoints is not None:
            expect_shape("keypoints", self.keypoints, (count, names, 2))
            if self.keypoint_scores is None:
                object.__setattr__(self, "keypoint_scores", self.keypoints.new_ones(count, names))
        elif names:
            raise ValueError(f"keypoints: {names} names, but no keypoints")
        if self.keypoint_scores is not None:
            expect_shape("keypoint_scores", self.keypoint_scores, (count, names))
        if self.masks is not None and len(self.masks) != count:
            raise ValueError(f"masks: expected {count}, got {len(self.masks)}")

    @classmethod
    def empty(cls, keypoint_names: tuple[str, ...] = (), *, masks: bool = False) -> Detections:
        """Return no detections."""
        import torch

        return cls(
            boxes=torch.zeros(0, 4),
            scores=torch.zeros(0),
            keypoints=torch.zeros(0, len(keypoint_names), 2) if keypoint_names else None,
            keypoint_names=keypoint_names,
            masks=() if masks else None,
        )

    def __len__(self) -> int:
        """Return N."""
        return self.boxes.shape[0]

    def split(self, counts: Sequence[int]) -> list[Detections]:
        """Split the joined detections of several images by the count of each.

        Raises:
            RuntimeError: the counts are not N in all.
        """
        import torch

        tables = (self.boxes, self.scores, self.keypoints, self.keypoint_scores)
        sizes = list(counts)
        columns = (repeat(None) if t is None else torch.split(t, sizes) for t in tables)
        rest = None if self.masks is None else iter(self.masks)
        masks = (None if rest is None else tuple(islice(rest, count)) for count in sizes)
        rest_of_all = repeat(self.keypoint_names), masks, repeat(self.turn)
        return [Detections(*part) for part in zip(*columns, *rest_of_all, strict=False)]

    def scaled(self, x: float, y: float, *, shift: tuple[float, float] = (0, 0)) -> Detections:
        """Return the same detections for the image resized by ``x`` and ``y``, then shifted."""
        both, by = self.boxes.new_tensor([x, y]), self.boxes.new_tensor(shift)
        placed = ((x, 0.0, float(shift[0])), (0.0, y, float(shift[1])), (0.0, 0.0, 1.0))
        return replace(
            self,
            boxes=self.boxes * both.repeat(2) + by.repeat(2),
            keypoints=None if self.keypoints is None else self.keypoints * both + by,
            masks=None
            if self.masks is None
            else tuple(mask and mask.transformed(placed) for mask in self.masks),
        )

    def subject(self, index: int, *, similarity: float | None = None) -> Subject:
        """Return one detection as the subject of its photo."""
        tables = self.boxes, self.scores, self.keypoints, self.keypoint_scores
        # of few rows, all as plain numbers are made faster than one by itself
        row = [() if table is None else table.tolist()[index] for table in tables]
        return self.subject_of(index, row, similarity=similarity)

    def subject_of(self, index: int, row: Sequence[Any], *, similarity: float | None) -> Subject:
        """Return one detection as ``subject`` does, its rows of the four tables given as lists."""
        (x0, y0, x1, y1), score, places, point_scores = row
        points: dict[str, tuple[float, float]] = {}
        scores: dict[str, float] = {}
        for name, (x, y), found in zip(self.keypoint_names, places, point_scores, strict=True):
            if found > 0:
                points[name], scores[name] = (x, y), found
        return Subject(
            box=(x0, y0, x1, y1),
            score=score,
            keypoints=points,
            keypoint_scores=scores,
            keypoint_names=self.keypoint_names,
            mask=None if self.masks is None else self.masks[index],
            similarity=similarity,
            turn=self.turn,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """The detections and embeddings of one photo, for a subject selector: numbers, no pixels.

    Attributes:
        photo: the photo's facts.
        detections: what was found in it, in its full-size upright pixels.
        embeddings: (N, D) float32 of unit length, one row a detection; None without an embedder.
        same_above: the cosine similarity above which the embedder takes two pictures for the same
            individual; None without an embedder.
        nothing_found: what to say of a photo without detections.
        measures: (N, 3) float32, what gates need the pixels for, see ``selectors.PIXELS``; None
            where it was not measured.
    """

    photo: Photo
    detections: Detections
    embeddings: Tensor | None = None
    same_above: float | None = None
    nothing_found: str = "nothing was found in this photo"
    measures: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """A selector's choice in one photo, or its rejection.

    Attributes:
        index: which detection is the subject; None when the photo is rejected.
        reason: why the photo is rejected, for a person to read; None when it is not.
        similarity: cosine similarity to the subject's identity, where one was compared.
        candidate: which detection was rejected, if it was one: the subject, where the user insists.
        gate: the option that rejects the subject, ``gates.max_yaw``; None where something else is
            the reason, such as who it is.
        least: the similarity that was asked for, where one was compared.
    """

    index: int | None
    reason: str | None = None
    similarity: float | None = None
    candidate: int | None = None
    gate: str | None = field(default=None, compare=False)
    least: float | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check that there is either a choice or a reason."""
        if (self.index is None) == (self.reason is None):
            raise ValueError(f"expected an index or a reason, got {self.index} and {self.reason!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """The one detection of a photo that the animation is about.

    Attributes:
        box: ``x0, y0, x1, y1``.
        score: the detector's, in [0, 1].
        keypoints: ``(x, y)`` by name; a keypoint that was not found is absent.
        keypoint_scores: in (0, 1], by the same names; 1 for those left out.
        keypoint_names: every keypoint that the detector knows, found or not, in its order.
        mask: its mask; None without masks.
        similarity: cosine similarity to the identity, where one was compared.
        turn: degrees clockwise that bring its photo upright: 0, 90, 180 or 270.
        image: (3, h, w) float32 in [0, 1], the pixels of the frame that the coordinates refer to;
            only for target builders that require ``pixels``. It may be given as uint8.
        width: standard deviation of the Gaussians on the reference, in the frame's pixels by the
            start of its registration; None for the reference itself, and where that has none.
    """

    box: tuple[float, float, float, float]
    score: float
    keypoints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    keypoint_scores: Mapping[str, float] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] = ()
    mask: Mask | None = None
    similarity: float | None = None
    turn: int = 0
    image: Tensor | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        """Give every keypoint a score, and an image in bytes as floating point."""
        if self.image is not None:
            object.__setattr__(self, "image", images.as_floats(self.image))
        if not self.keypoints.keys() <= self.keypoint_scores.keys():
            scores = {name: self.keypoint_scores.get(name, 1.0) for name in self.keypoints}
            object.__setattr__(self, "keypoint_scores", scores)

    def transformed(self, new_from_old: Matrix, image: Tensor | None = None) -> Subject:
        """Return the subject in another frame; the box becomes the one around its four corners."""

        def move(x: float, y: float) -> tuple[float, float]:
            u, v, w = (row[0] * x + row[1] * y + row[2] for row in new_from_old)
            return u / w, v / w

        x0, y0, x1, y1 = self.box
        xs, ys = zip(*(move(x, y) for x in (x0, x1) for y in (y0, y1)), strict=True)
        return replace(
            self,
            box=(min(xs), min(ys), max(xs), max(ys)),
            keypoints={name: move(x, y) for name, (x, y) in self.keypoints.items()},
            mask=None if self.mask is None else self.mask.transformed(new_from_old),
            image=image,
        )
