"""Small real photos, what is in them, and what the other stages make of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.data import COCO_KEYPOINTS, Detections, Observation, Photo, Subject
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.mask import Mask
from alignimation_core.api.registration import Target
from alignimation_core.api.stages.renderers import Film

PHOTOS = ("astronaut.jpg", "hopper.jpg")
"""The photos: Eileen Collins (NASA) and Grace Hopper (US Navy), both in the public domain."""
FACE = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
"""The keypoints of ``FACES``; left is the subject's left."""
FACES = (
    ((156.6, 83.3), (113.2, 81.3), (133.0, 107.5), (155.5, 121.0), (112.8, 119.8)),
    ((96.25, 63.5), (54.5, 65.25), (77.75, 88.75), (97.0, 108.5), (58.25, 110.5)),
)
"""Where they are in each of ``PHOTOS``, (x, y) in continuous pixels, set by hand."""
NAMES = (*COCO_KEYPOINTS, "mouth_left", "mouth_right")
"""Every keypoint of ``detections`` and ``subject``."""
FIRST_DAY = datetime(2020, 1, 1, 12)


def images() -> list[Tensor]:
    """Return (3, h, w) uint8 RGB images of several sizes: two portraits and a black one."""
    return [*(image.clone() for image in _portraits()), torch.zeros(3, 96, 128, dtype=torch.uint8)]


@cache
def _portraits() -> list[Tensor]:
    folder = files(__package__) / "photos"
    portraits = []
    for name in PHOTOS:
        with (folder / name).open("rb") as file, Image.open(file) as picture:
            pixels = np.array(picture.convert("RGB"))
        portraits.append(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    return portraits


def write_photos(folder: Path) -> list[Path]:
    """Write the two portraits into a folder, as JPEG; return their absolute paths."""
    paths = [folder.resolve() / name for name in PHOTOS]
    for path in paths:
        path.write_bytes((files(__package__) / "photos" / path.name).read_bytes())
    return paths


def photo(index: int, size: tuple[int, int] = (200, 260)) -> Photo:
    """Return the facts of a photo of (height, width) pixels, one a week; there is no such file."""
    name = f"photos/{index:04}.jpg"
    taken = FIRST_DAY + timedelta(weeks=index)
    return Photo(Path("/", name), name, f"{index:064x}", *size, taken, "exif")


def detections(among: Sequence[str] = ()) -> list[Detections]:
    """Return what is in each of ``images``: one person, with keypoints and mask, or nobody.

    Args:
        among: more keypoints that are to be there, such as a stage requires.
    """
    return [*(_person(face, among) for face in FACES), Detections.empty(_names(among), masks=True)]


def _names(among: Sequence[str]) -> tuple[str, ...]:
    return (*NAMES, *(name for name in among if name not in NAMES))


def _person(face: Sequence[tuple[float, float]], among: Sequence[str]) -> Detections:
    """Return a person whose face has the five points; shoulders and the rest hang from it."""
    points = torch.tensor(face)
    (left, right), middle = points[:2], points[:2].mean(0)
    across = left - right
    down = torch.stack([-across[1], across[0]])
    places = dict(zip(FACE, points, strict=True))
    for row, part in enumerate(("ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")):
        for way, side in ((1, "left"), (-1, "right")):
            out = 1.0 if part == "ear" else 1.6
            places[f"{side}_{part}"] = middle + way * out * across / 1.2 + 0.4 * row * down
    names = _names(among)
    for number, name in enumerate(each for each in names if each not in places):
        places[name] = middle + math.cos(number) * across + math.sin(number) * down
    keypoints = torch.stack([places[name] for name in names])
    size = across.norm()
    box = torch.cat([middle - 1.3 * size, middle + torch.stack([1.3 * size, 1.7 * size])])
    ys, xs = torch.meshgrid(*(torch.linspace(-1, 1, 40),) * 2, indexing="ij")
    x0, y0, x1, y1 = box.tolist()
    return Detections(
        boxes=box[None],
        scores=torch.tensor([0.9]),
        keypoints=keypoints[None],
        keypoint_names=names,
        masks=(Mask.of((xs**2 + ys**2 < 1).float(), (x0, y0, x1, y1)),),
    )


def observations(*, embedded: bool = True) -> list[Observation]:
    """Return five photos with one, two, no, one and one person, who are two different people."""
    first, second, nobody = detections()
    there = second.scaled(1, 1, shift=(130, 20))
    both = Detections(
        torch.cat([first.boxes, there.boxes]),
        torch.cat([first.scores, there.scores]),
        torch.cat([points for each in (first, there) if (points := each.keypoints) is not None]),
        torch.ones(2, len(NAMES)),
        NAMES,
        (*(first.masks or ()), *(there.masks or ())),
    )
    rows = torch.eye(2, 8)
    found = [
        (first, rows[:1]),
        (both, rows),
        (nobody, rows[:0]),
        (first, functional.normalize(rows[:1] + 0.05, dim=1)),
        (second, rows[1:]),
    ]
    return [
        Observation(photo(i), each, vectors if embedded else None, 0.5 if embedded else None)
        for i, (each, vectors) in enumerate(found)
    ]


def subject(
    side: int = 128, among: Sequence[str] = (), *, moved: tuple[float, float] = (0, 0)
) -> Subject:
    """Return the subject of the first portrait in a square frame, with the frame's pixels.

    Args:
        side: of the frame, pixels.
        among: more keypoints that are to be there, such as a stage requires.
        moved: pixels, by which everything lies further right and further down.
    """
    whole = detections(among)[0].subject(0)
    x0, y0, x1, y1 = whole.box
    scale = side / 2 / max(x1 - x0, y1 - y0)
    frame_from_photo = (
        geometry.translation(side / 2 + moved[0], side / 2 + moved[1])
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    )
    pixels = geometry.warp_photo(_portraits()[0], frame_from_photo, (side, side))
    return whole.transformed(geometry.as_rows(frame_from_photo), pixels)


SHIFTS = ((3.0, -2.0), (-4.0, 3.0), (0.0, 5.0))
"""The known warps of ``targets``: by so many pixels each lies further right and further down."""


def targets(side: int = 128, count: int = 3) -> tuple[Target, Target]:
    """Return up to three stacked targets and the one that they are to be fitted to.

    Each shows five points as Gaussians, and is moved by one of ``SHIFTS``.
    """
    fixed = torch.tensor(FACES[0]) * side / 128 / 2 + torch.tensor([-3.0, 14.0]) * side / 128
    moving = [_drawn(fixed + torch.tensor(shift), side) for shift in SHIFTS[:count]]
    return Target.stack(moving), _drawn(fixed, side)


def _drawn(points: Tensor, side: int) -> Target:
    width = side / 20
    grid = torch.arange(side) + 0.5
    across = torch.exp(-((grid - points[:, :1]) ** 2) / (2 * width**2))
    down = torch.exp(-((grid - points[:, 1:]) ** 2) / (2 * width**2))
    image = down[:, :, None] * across[:, None, :]
    return Target.of(image, points=points, width=torch.tensor(width))


def frames(canvas: Canvas, count: int) -> Iterator[Frame]:
    """Yield so many frames, each of its own grey, with what a photo is on the canvas."""
    portrait = _portraits()[0].float()[None]
    small = functional.interpolate(portrait, (canvas.height, canvas.width), mode="bilinear")[0]
    for index in range(count):
        image = (small * (0.5 + 0.5 * index / count)).round().byte()
        if canvas.alpha:
            image = torch.cat([image, torch.full_like(image[:1], 200)])
        yield Frame(image, index, photo(index))


def film(canvas: Canvas, count: int, *, seconds: float | None = None) -> Film:
    """Return what effects know of a film of so many of these frames."""
    there = subject(min(canvas.height, canvas.width))
    photos = [photo(index) for index in range(count)]
    return Film(canvas, 12.0, photos, {each.name: there for each in photos}, seconds)
