"""The subject as a figure that can be redrawn: no helmet, a belly that grows, hair up or down.

Everything is computed in the coordinates of the portrait, ``skimage.data.astronaut()``, on a frame
that is larger than it by ``MARGINS``, so that a bun, a belly and the hips have room.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from painting import Array, blur, linear
from PIL import Image
from portraits import HERE as QUICKSTART
from portraits import Person, without_background
from skimage import data, draw, transform

Hair = Literal["short", "up", "down"]
Point = tuple[float, float]

LEFT, TOP, RIGHT, BOTTOM = MARGINS = (50, 60, 110, 150)

KEYPOINTS: dict[str, Point] = {
    "nose": (223.3, 126.8),
    "left_eye": (246.8, 103.0),
    "right_eye": (203.9, 100.9),
    "left_ear": (273.0, 128.0),
    "right_ear": (175.5, 122.0),
    "left_shoulder": (327.0, 268.0),
    "right_shoulder": (86.0, 266.0),
    "left_elbow": (352.0, 418.0),
    "right_elbow": (40.0, 428.0),
    "right_wrist": (137.0, 494.0),
    "left_hip": (292.0, 512.0),
    "right_hip": (126.0, 508.0),
}
"""Set by hand on the portrait. The bones: no belly moves them."""

NECK: Point = (222.0, 200.0)
COVERED = frozenset({"left_shoulder", "right_shoulder", "left_elbow", "left_hip", "right_hip"})
"""Keypoints whose place is to be guessed through the suit: COCO's v = 1."""

HELMET: tuple[Point, ...] = (
    (271, 662), (268, 468), (273, 440), (284, 410), (303, 383), (277, 382), (274, 374), (266, 341),
    (268, 329), (332, 333), (336, 348), (352, 346), (372, 338), (412, 334), (560, 334), (560, 662),
)  # fmt: skip
"""Round the helmet and the name tag that it cuts off."""

TRUNK: tuple[Point, ...] = (
    (262, 330), (361, 330), (365, 352), (369, 385), (369, 420), (362, 456), (352, 490), (347, 520),
    (350, 560), (356, 662), (84, 662), (82, 580), (72, 556), (44, 540), (30, 522), (27, 506),
    (60, 470), (262, 470),
)  # fmt: skip
"""What the suit covers where the helmet and the border of the portrait hide it."""


@dataclass(frozen=True)
class Look:
    """How she looks that day. ``belly``: 0 flat, 1 at term. ``hair``: short in the portrait."""

    belly: float
    hair: Hair


def figure(look: Look) -> Person:
    """The figure of one day; its coordinates are the frame's, portrait plus ``(LEFT, TOP)``."""
    colour, matte = _without_helmet()
    colour, matte = HAIRSTYLES[look.hair](colour, matte)
    colour, matte = _with_belly(colour, matte, look.belly)
    points = {name: (x + LEFT, y + TOP) for name, (x, y) in KEYPOINTS.items()}
    return Person("eileen_collins", colour, matte, points, (176 + LEFT, 60 + TOP, 272 + LEFT, 240))


def figure_from_source() -> Array:
    """The shift (3, 3) from the portrait into the figure's frame."""
    return np.array([[1.0, 0, LEFT], [0, 1, TOP], [0, 0, 1]])


def _grid() -> tuple[Array, Array]:
    y, x = np.mgrid[-TOP : 512 + BOTTOM, -LEFT : 512 + RIGHT] + 0.5
    return x, y


def _inside(polygon: tuple[Point, ...], soft: float = 1.0) -> Array:
    shape = _grid()[0].shape
    corners = [(row + TOP - 0.5, column + LEFT - 0.5) for column, row in polygon]
    filled: NDArray[np.bool_] = draw.polygon2mask(shape, corners)
    return blur(filled.astype(np.float64), soft)


def _step(low: float, high: float, at: Array) -> Array:
    t = np.clip((at - low) / (high - low), 0, 1)
    smooth: Array = t * t * (3 - 2 * t)
    return smooth


def _moved(image: Array, dx: Array, dy: Array) -> Array:
    """``image`` (h, w, c) drawn so that what was at ``p - d(p)`` lies at ``p``."""
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float64)
    places = np.stack([rows - dy, columns - dx])
    planes = [
        transform.warp(image[..., k], places, order=3, mode="edge", clip=True)
        for k in range(image.shape[2])
    ]
    return np.stack(planes, axis=-1)


def _spread(colour: Array, known: NDArray[np.bool_]) -> Array:
    """``colour`` (h, w, 3) with everything that is not known filled smoothly from what is."""
    filled = np.zeros_like(colour)
    filled[:] = np.median(colour[known], axis=0)
    for sigma in (64.0, 32.0, 16.0, 8.0, 4.0):
        weight = blur(known.astype(np.float64), sigma)[..., None]
        near = blur(np.where(known[..., None], colour, 0.0), sigma) / np.maximum(weight, 1e-9)
        sure = np.clip(weight * 6, 0, 1)
        filled = filled * (1 - sure) + near * sure
    return filled


@cache
def _without_helmet() -> tuple[Array, Array]:
    """The portrait on the larger frame, the suit continued where the helmet and the border were."""
    x, y = _grid()
    picture = linear(data.astronaut() / 255.0)
    with Image.open(QUICKSTART / "astronaut_matte.png") as file:
        old_matte = np.asarray(file) / 255.0
    sides = ((TOP, BOTTOM), (LEFT, RIGHT))
    colour = np.pad(without_background(picture, old_matte), (*sides, (0, 0)), mode="symmetric")
    old_matte = np.pad(old_matte, ((TOP, 0), (LEFT, RIGHT)))
    old_matte = np.pad(old_matte, ((0, BOTTOM), (0, 0)))

    red, green, blue = np.moveaxis(colour, 2, 0)
    orange = (red > 0.25) & (red > 3.0 * green) & (green > 1.2 * blue) & (old_matte > 0.97)
    helmet = _inside(HELMET)
    suit = _spread(colour, orange & (helmet < 0.01) & (y > 250))
    suit = suit * _folds()[..., None]

    colour[TOP + 512 :, LEFT + 205 : LEFT + 268] = colour[TOP + 511, LEFT + 205 : LEFT + 268]
    mirrored = y < np.select([x < 104, x < 174, x < 198, x < 205, x < 268], [0, 540, 513, 0, 999])
    red, green, _ = np.moveaxis(colour, 2, 0)
    ends = mirrored & ((red < 0.2) | (red < 2.2 * green))
    below = _step(496, 513, y) * (1 - blur(ends.astype(np.float64), 0.8))
    replaced = np.maximum(helmet, below)[..., None]
    matte = np.maximum(old_matte * (1 - helmet), _inside(TRUNK))
    return colour * (1 - replaced) + suit * replaced, matte


def _folds() -> Array:
    """The relief of creased cloth (h, w), about 1: ridges across the body, bent and broken."""
    x, y = _grid()
    rng = np.random.default_rng(3)

    def clouds(size: float) -> Array:
        noise = blur(rng.normal(size=x.shape), size)
        cloud: Array = noise / noise.std()
        return cloud

    bend, strength = clouds(22.0), np.clip(clouds(18.0), -0.4, 2.0) + 0.5
    phase = (0.9 * y - 0.35 * (x - 300)) / 11 + 1.5 * bend
    ridges = np.exp(-(((phase % (2 * np.pi)) - np.pi) ** 2) * 1.2)
    relief: Array = 1 + 0.42 * strength * (ridges - 0.4) + 0.02 * clouds(1.2)
    return relief


def _with_belly(colour: Array, matte: Array, growth: float) -> tuple[Array, Array]:
    """The suit bulges below the chest, and outwards at her left side."""
    x, y = _grid()
    height = np.clip(1 - ((y - 462) / 158) ** 2, 0, 1) ** 1.4
    sideways = 76 * growth * _step(135, 405, x) * height
    down = 0.3 * growth * (y - 430) * height * _step(120, 220, x) * (1 - _step(330, 470, x))
    moved = _moved(np.concatenate([colour, matte[..., None]], axis=2), sideways, down)

    u, v = (x - 258 - 34 * growth) / (138 + 36 * growth), (y - 452) / 132
    fall = np.clip(1 - u**2 - v**2, 0, 1) ** 0.5
    slope = growth * _step(0.0, 0.5, fall)
    lit = (1 - slope * (0.5 * u + 0.75 * v)) / np.sqrt(1 + (0.6 * slope) ** 2 * (u**2 + v**2))
    under = 1 - 0.35 * growth * np.exp(-(((v - 1.08) / 0.14) ** 2) - (u / 0.8) ** 2)
    return moved[..., :3] * (np.clip(lit, 0.35, 1.8) * under)[..., None], np.clip(
        moved[..., 3], 0, 1
    )


def _short(colour: Array, matte: Array) -> tuple[Array, Array]:
    return colour, matte


def _up(colour: Array, matte: Array) -> tuple[Array, Array]:
    """Combed tight at the sides, a bun on top."""
    x, y = _grid()
    side, reach = np.sign(x - 228), np.abs(x - 228)
    tight = 22 * _step(42, 62, reach) * _step(20, 50, y) * (1 - _step(100, 122, y))
    moved = _moved(np.concatenate([colour, matte[..., None]], axis=2), -side * tight, 0 * y)
    colour, matte = moved[..., :3], np.clip(moved[..., 3], 0, 1)
    radius = np.hypot((x - 232) / 39, (y - 9) / 26)
    bun = _step(0.0, 1.0, (1.04 - radius) / 0.1)
    angle = np.arctan2((y - 9) / 26, (x - 232) / 39)
    return _painted(
        colour, matte, bun * (1 - matte), 14 * radius + 1.5 * angle, 1.25 - 0.6 * radius
    )


def _down(colour: Array, matte: Array) -> tuple[Array, Array]:
    """Long locks on both sides of the face, over the collar."""
    locks = (
        ((160, 66), (152, 100), (146, 140), (142, 180), (146, 214), (160, 226), (174, 216),
         (181, 190), (180, 160), (178, 128), (177, 100), (176, 80)),
        ((297, 66), (304, 100), (309, 140), (311, 180), (306, 218), (292, 230), (277, 218),
         (268, 192), (268, 164), (271, 138), (272, 110), (276, 82)),
    )  # fmt: skip
    x, y = _grid()
    for lock, middle in zip(locks, (162, 290), strict=True):
        cover = _inside(lock, 1.4)
        swing = (x - middle) / 3.2 + 1.3 * np.sin(y / 23 + middle) + 0.6 * np.sin(y / 9)
        shade = 1.15 - 1.1 * ((x - middle) / 20) ** 2 - 0.25 * _step(150, 230, y)
        colour, matte = _painted(colour, matte, cover, swing, shade)
    return colour, matte


def _painted(
    colour: Array, matte: Array, cover: Array, along: Array, shade: Array
) -> tuple[Array, Array]:
    """Hair laid over: strands where ``along`` is constant, light as ``shade``, all (h, w)."""
    rng = np.random.default_rng(7)
    strands = np.interp(along * 2.6, np.arange(-400, 400), rng.uniform(0.1, 1.7, 800))
    tones = np.array([(0.33, 0.215, 0.075)]) * (0.68 + 0.3 * strands)[..., None]
    hair = tones * np.clip(shade, 0.3, 1.6)[..., None]
    laid = colour * (1 - cover[..., None]) + hair * cover[..., None]
    return laid, np.maximum(matte, cover)


HAIRSTYLES = {"short": _short, "up": _up, "down": _down}
