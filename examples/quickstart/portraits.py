"""The two portraits, cut out, and the similarity that puts them into a photo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import cbook
from painting import Array, blur, linear
from PIL import Image
from shots import Placement
from skimage import data, transform

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Person:
    """A portrait cut out of its background.

    ``colour``: (h, w, 3) linear RGB, continued outwards past the edge of the person so that none
    of the old background is left in it. ``matte``: (h, w), coverage in [0, 1]. ``keypoints`` and
    ``face`` (x0, y0, x1, y1): continuous pixel coordinates of the portrait.
    """

    name: str
    colour: Array
    matte: Array
    keypoints: dict[str, tuple[float, float]]
    face: tuple[float, float, float, float]

    @property
    def eyes(self) -> tuple[Array, float]:
        """The middle between the eyes (2,) and the distance between them, in pixels."""
        right, left = (np.array(self.keypoints[name]) for name in ("right_eye", "left_eye"))
        return (right + left) / 2, float(np.linalg.norm(left - right))


def without_background(colour: Array, matte: Array) -> Array:
    """``colour`` (h, w, 3) with the edge's mixed pixels replaced by the nearest sure colours."""
    sure = matte > 0.97
    filled = np.where(sure[..., None], colour, 0.0)
    known = sure.astype(np.float64)
    for sigma in (1.0, 2.0, 4.0, 8.0, 16.0):
        weight = blur(sure.astype(np.float64), sigma)
        near = blur(np.where(sure[..., None], colour, 0.0), sigma) / (weight + 1e-9)[..., None]
        reached = (known == 0) & (weight > 0.02)
        filled[reached], known[reached] = near[reached], 1.0
    mixed = (matte > 0.6) & ~sure  # strands of hair: keep half of their own contrast
    filled[mixed] = 0.5 * filled[mixed] + 0.5 * np.minimum(colour, filled + 0.1)[mixed]
    return filled


def load_people() -> dict[str, Person]:
    """Both portraits, with keypoints set by hand."""
    with Image.open(HERE / "astronaut_matte.png") as picture:
        astronaut_matte = np.asarray(picture) / 255.0
    with Image.open(HERE / "hopper_matte.png") as picture:
        hopper_matte = np.asarray(picture) / 255.0
    with cbook.get_sample_data("grace_hopper.jpg") as file, Image.open(file) as picture:
        hopper = linear(np.asarray(picture.convert("RGB")) / 255.0)
    hopper = 0.2 * hopper.mean(axis=2, keepdims=True) + 0.8 * hopper  # to match the other print
    astronaut = linear(data.astronaut() / 255.0)
    return {
        "subject": Person(
            "eileen_collins",
            without_background(astronaut, astronaut_matte),
            astronaut_matte,
            {
                "left_eye": (246.8, 103.0),
                "right_eye": (203.9, 100.9),
                "nose": (223.3, 126.8),
                "mouth_left": (245.6, 140.3),
                "mouth_right": (203.2, 139.8),
            },
            (176.0, 60.0, 272.0, 180.0),
        ),
        "hopper": Person(
            "grace_hopper",
            without_background(hopper, hopper_matte),
            hopper_matte,
            {"left_eye": (304.9, 187.5), "right_eye": (223.6, 190.1)},
            (164.0, 128.0, 366.0, 336.0),
        ),
    }


def photo_from_source(person: Person, place: Placement) -> Array:
    """The similarity (3, 3) that puts the middle of the eyes, their distance and the tilt."""
    middle, distance = person.eyes
    angle, scale = np.radians(place.tilt), place.eye_distance / distance
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = turn, np.array([place.x, place.y]) - turn @ middle
    return matrix


def mapped(matrix: Array, points: Array) -> Array:
    """``points`` (n, 2) through ``matrix`` (3, 3)."""
    return points @ matrix[:2, :2].T + matrix[:2, 2]


def warped(image: Array, matrix: Array, h: int, w: int) -> Array:
    """``image`` (H, W, c) drawn through ``matrix`` onto (h, w, c): bicubic, 0 outside."""
    scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
    if scale < 1:
        image = blur(image, (1 / scale - 1) / 2)
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    inverse = transform.AffineTransform(np.linalg.inv(centre) @ np.linalg.inv(matrix) @ centre)
    drawn: Array = transform.warp(image, inverse, output_shape=(h, w), order=3, clip=False)
    return drawn


def check_cuts_hidden(person: Person, matrix: Array, hidden: Array, photo: str) -> None:
    """Raise ValueError where the person is cut off by her portrait's border inside the photo.

    ``hidden`` (h, w): coverage by what stands in front of her.
    """
    h, w = hidden.shape
    rows, columns = person.matte.shape
    cut = [(x + 0.5, rows) for x in range(columns) if person.matte[-1, x] > 0.1]
    cut += [(columns, y + 0.5) for y in range(rows) if person.matte[y, -1] > 0.1]
    cut += [(0, y + 0.5) for y in range(rows) if person.matte[y, 0] > 0.1]
    x, y = mapped(matrix, np.array(cut, dtype=np.float64)).T
    inside = (x > 0) & (x < w) & (y > 0) & (y < h)
    bare = hidden[y[inside].astype(int), x[inside].astype(int)] < 0.99
    if bare.any():
        at = np.round([x[inside][bare].mean(), y[inside][bare].mean()]).astype(int)
        raise ValueError(f"{photo}: {person.name} is cut off near {tuple(at.tolist())}; move her")
