"""Faces: whether one looks into the camera, and embedders, which tell bodies apart by them, too."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import dist
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignimation_core.api.data import EYES, Detections, Subject
from alignimation_core.api.stages import Detector, Embedder

if TYPE_CHECKING:
    from torch import Tensor

HEAD = ("nose", *EYES, "left_ear", "right_ear")
"""Keypoints of a body that say where its face is."""

ROOM = 0.1
"""Share of a body's box that is looked at on every side of it, where a head may reach out."""

FAR = 0.75
"""Of a face's longer side: from its middle to the body's head, beyond which it is another's."""

FEATURES = {"eye": EYES, "mouth": ("mouth_left", "mouth_right")}
"""Features that lie evenly about the nose of a face that looks into the camera."""


def evenness(names: Sequence[str], points: Tensor, there: Tensor) -> dict[str, Tensor]:
    """Return how evenly each feature lies about the nose: the ratio of its distances from it.

    Args:
        names: of K keypoints.
        points: (M, K, 2) float64, those of M faces.
        there: (M, K) bool, which of them were found.

    Returns:
        (M,) float64 in [0, 1], shorter to longer, NaN where one of the three was not found; of
        features that have names.
    """
    import torch

    found: dict[str, Tensor] = {}
    for feature, ends in FEATURES.items():
        if not {"nose", *ends} <= {*names}:
            continue
        nose, *columns = (names.index(name) for name in ("nose", *ends))
        apart = (points[:, columns] - points[:, [nose]]).norm(dim=2)
        longer = apart.amax(1)
        ratio = torch.where(longer > 0, apart.amin(1) / longer, 0.0)
        found[feature] = torch.where(there[:, [nose, *columns]].all(1), ratio, torch.nan)
    return found


def facing_forward(names: Sequence[str], points: Tensor, there: Tensor) -> Tensor:
    """Return how evenly eyes, and mouth where it was found, lie about the nose; see ``evenness``.

    Returns:
        (M,) float64, the smaller of the two; NaN where nose or eyes were not found.
    """
    found = evenness(names, points, there)
    if "eye" not in found:
        return points.new_full((len(points),), float("nan"))
    eyes = found["eye"]
    return eyes.minimum(found["mouth"].nan_to_num(1.0)) if "mouth" in found else eyes


def as_table(subjects: Sequence[Subject]) -> tuple[Sequence[str], Tensor, Tensor]:
    """Return the keypoints of M subjects that count here, as ``evenness`` takes them."""
    import torch

    from alignimation_core.api import geometry

    names = ("nose", *(end for ends in FEATURES.values() for end in ends))
    rows = [each.keypoints.get(name, (0.0, 0.0)) for each in subjects for name in names]
    there = [[name in each.keypoints for name in names] for each in subjects]
    points = geometry.table(rows, 2).reshape(-1, len(names), 2)
    return names, points, torch.tensor(there, dtype=torch.bool).reshape(-1, len(names))


def of_each(found: Sequence[Detections], indices: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the keypoints of one detection of each of M photos, as ``evenness`` takes them.

    The photos have the same keypoints, and they have some.
    """
    from alignimation_core.api.sampling import row_of_each

    tables = [each.keypoints for each in found if each.keypoints is not None]
    of_scores = [each.keypoint_scores for each in found if each.keypoint_scores is not None]
    points, scores = row_of_each(indices, tables, of_scores)
    return points.double(), scores > 0


class FaceEmbedder(Embedder):
    """An embedder of faces: of a body, it embeds the face that its own detector finds inside.

    A plugin says which detector that is, and how a face is embedded; all else is done here.
    """

    body_side: ClassVar[int] = 1280
    """Pixels across a body's box of which finding and embedding its face makes use."""

    find_faces: Annotated[
        bool | None,
        Field(
            description="look for a face inside each box, and embed that; left out, where the "
            "boxes are of bodies: where their keypoints have shoulders"
        ),
    ] = None

    @abstractmethod
    def face_detector(self) -> Detector:
        """Return what finds faces; it is asked for often, so keep what is slow to make."""

    @abstractmethod
    def embed_faces(
        self, images: Sequence[Tensor], detections: Sequence[Detections]
    ) -> list[Tensor]:
        """Embed faces; shapes and coordinates are those of ``embed``."""

    def side_for(self, found: Detections) -> int:
        """Return ``body_side`` for bodies, ``box_side`` for faces."""
        return self.body_side if self._are_bodies(found) else self.box_side

    def embed(self, images: Sequence[Tensor], detections: Sequence[Detections]) -> list[Tensor]:
        """Embed each face, or the face of each body; zeros for a body that shows none."""
        if not any(map(self._are_bodies, detections)):
            return self.embed_faces(images, detections)
        inside = [
            self._faces(image, found) for image, found in zip(images, detections, strict=True)
        ]
        faces = []
        for found, boxes in zip(detections, inside, strict=True):
            table = found.boxes.new_tensor([*boxes.values()]).reshape(-1, 4)
            faces.append(Detections(table, table.new_ones(len(table))))
        embeddings = []
        for found, boxes, rows in zip(
            detections, inside, self.embed_faces(images, faces), strict=True
        ):
            vectors = rows.new_zeros(len(found), rows.shape[1])
            vectors[[*boxes]] = rows
            embeddings.append(vectors)
        return embeddings

    def _are_bodies(self, found: Detections) -> bool:
        if self.find_faces is None:
            return "left_shoulder" in found.keypoint_names
        return self.find_faces

    def _faces(self, image: Tensor, found: Detections) -> dict[int, list[float]]:
        """Return the boxes of faces in the image by detection, of those that show one."""
        boxes: list[list[float]] = found.boxes.tolist()
        if not self._are_bodies(found):
            return dict(enumerate(boxes))
        height, width = image.shape[-2:]
        faces: dict[int, list[float]] = {}
        for index, (x0, y0, x1, y1) in enumerate(boxes):
            across, down = ROOM * (x1 - x0), ROOM * (y1 - y0)
            left, top = max(0, round(x0 - across)), max(0, round(y0 - down))
            right, bottom = min(width, round(x1 + across)), min(height, round(y1 + down))
            if right <= left or bottom <= top:
                continue
            crop = image[:, top:bottom, left:right].contiguous()
            (seen,) = self.face_detector().detect([crop])
            face = _face_of(found, index, seen.scaled(1, 1, shift=(left, top)))
            if face is not None:
                faces[index] = face
        return faces


def _face_of(bodies: Detections, index: int, faces: Detections) -> list[float] | None:
    """Return the box of the face that is a body's; where its head is not known, of the largest."""
    boxes: list[list[float]] = faces.boxes.tolist()
    known = bodies.subject(index).keypoints
    points = [known[name] for name in HEAD if name in known]
    if not points:
        return max(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)
    xs, ys = zip(*points, strict=True)
    head = sum(xs) / len(xs), sum(ys) / len(ys)

    def apart(box: list[float]) -> float:
        x0, y0, x1, y1 = box
        return dist(head, ((x0 + x1) / 2, (y0 + y1) / 2)) / max(x1 - x0, y1 - y0)

    nearest = min(boxes, key=apart, default=None)
    return None if nearest is None or apart(nearest) > FAR else nearest
