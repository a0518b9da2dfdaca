"""Annotated persons, cut out and pasted into other photos by known similarities."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from registration import NAMES
from scipy.ndimage import distance_transform_edt

from alignimation_core.api import geometry

SLACK = 2.4
"""Side of the new photos, in longest sides of the person's box."""


@dataclass(frozen=True)
class Person:
    """One annotated person, cut out of a photo.

    ``picture``: (h, w, 3) uint8. ``mask``: (h, w) bool. ``box``: x0, y0, x1, y1 of the mask.
    ``keypoints``: (x, y, visibility) by name. Continuous pixels.
    """

    label: str
    picture: np.ndarray
    mask: np.ndarray
    box: tuple[float, float, float, float]
    height: float
    keypoints: Mapping[str, tuple[float, float, int]]

    @property
    def visible(self) -> int:
        """How many keypoints are seen."""
        return sum(v == 2 for _, _, v in self.keypoints.values())


def persons_in(folder: Path) -> Iterator[Person]:
    """Yield every person of a folder."""
    listing = folder / "persons.json"
    if not listing.is_file():
        raise SystemExit(f"{listing}: no such file; give a folder with photos and persons.json")
    for file, photo in json.loads(listing.read_text(encoding="utf-8")).items():
        picture = np.asarray(Image.open(folder / file).convert("RGB"))
        for person in photo["persons"]:
            mask = np.asarray(Image.open(folder / person["mask"]).convert("L")) > 127
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            yield Person(
                label=f"{Path(file).stem} {person['id']}",
                picture=picture,
                mask=mask,
                box=(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1),
                height=person["box"][3] - person["box"][1],
                keypoints={  # whole pixels, so that their centres are meant
                    name: (x + 0.5, y + 0.5, int(v))
                    for name, (x, y, v) in person["keypoints"].items()
                },
            )


def random_warp(person: Person, generator: np.random.Generator) -> tuple[torch.Tensor, int]:
    """Return ``new_from_photo``, (3, 3) float64, and the side of the new photo, pixels.

    The whole person stays in the new photo.
    """
    x0, y0, x1, y1 = person.box
    side = math.ceil(SLACK * max(x1 - x0, y1 - y0))
    turned = (
        geometry.rotation(math.radians(generator.uniform(-30, 30)))
        @ geometry.scaling(*[2 ** generator.uniform(math.log2(0.6), math.log2(1.6))] * 2)
        @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    )
    corners = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]).double()
    reach = geometry.apply(turned, corners).abs().amax(0).tolist()
    at = [generator.uniform(half, side - half) for half in reach]
    return geometry.translation(*at) @ turned, side


def background(side: int, generator: np.random.Generator) -> np.ndarray:
    """Return another place: (side, side, 3) uint8, blurred shapes of random colours."""
    cells = generator.integers(0, 256, (int(generator.integers(3, 24)),) * 2 + (3,), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC))


def paste(
    person: Person, new_from_photo: torch.Tensor, side: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the new photo, (side, side, 3) uint8, and the mask in it, (side, side) bool."""
    layers = np.concatenate([person.picture, person.mask[..., None] * np.uint8(255)], axis=2)
    photo = torch.from_numpy(layers).permute(2, 0, 1).float() / 255
    scale = float(geometry.scale_of(new_from_photo))
    if scale < 1:  # reduced first, with a low-pass
        small = [max(1, round(length * scale)) for length in photo.shape[-2:]]
        reduced = torch.nn.functional.interpolate(
            photo[None], small, mode="bilinear", antialias=True, align_corners=False
        )[0]
        new_from_photo = new_from_photo @ geometry.scaling(
            photo.shape[-1] / small[1], photo.shape[-2] / small[0]
        )
        photo = reduced
    warped = geometry.warp(photo, new_from_photo, (side, side)).permute(1, 2, 0).numpy()
    cover = warped[..., 3:].clip(0, 1)
    mixed = warped[..., :3] * 255 * cover + background(side, generator) * (1 - cover)
    return mixed.clip(0, 255).round().astype(np.uint8), cover[..., 0] >= 0.5


def annotation(
    number: int,
    person: Person,
    new_from_photo: torch.Tensor,
    inside: np.ndarray,
    off: np.ndarray,
) -> dict[str, Any]:
    """Return the person's COCO annotation in a new photo; keypoints ``off`` (17, 2) pixels."""
    row: list[float] = []
    for i, name in enumerate(NAMES):
        x, y, v = person.keypoints.get(name, (0.0, 0.0, 0))
        at = geometry.apply(new_from_photo, torch.tensor([[x, y]]).double())[0].numpy() + off[i]
        row += [float(at[0]), float(at[1]), v] if v and at[1] <= len(inside) else [0.0, 0.0, 0]
    packed = coco_mask.encode(np.asfortranarray(inside, dtype=np.uint8))
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "segmentation": {"size": list(inside.shape), "counts": packed["counts"].decode()},
        "keypoints": row,
    }


@dataclass(frozen=True)
class Spoilt:
    """What is wrong with the annotations of a series; numbers are percent of the person's height.

    ``noise``: standard deviation of all keypoints. ``limbs``: the same, of elbows, wrists, knees
    and ankles alone. ``rough``: of the masks' outlines, which swell and shrink here and there as
    clothes do. In every second photo: ``lost``, hips, knees and ankles are missing; ``cut``, the
    photo ends at half of the person.
    """

    noise: float = 0.0
    limbs: float = 0.0
    rough: float = 0.0
    lost: bool = False
    cut: bool = False


LIMBS = ("elbow", "wrist", "knee", "ankle")
LOST = ("hip", "knee", "ankle")


def write_series(
    person: Person,
    folder: Path,
    count: int,
    spoilt: Spoilt,
    generator: np.random.Generator,
    *,
    pictures: bool = True,
) -> dict[str, torch.Tensor]:
    """Write the person's photos and annotations.

    Args:
        person: who is pasted.
        folder: where to write; made.
        count: how many photos beside the reference, which is shifted by whole pixels only.
        spoilt: what is wrong with the annotations.
        generator: of all randomness.
        pictures: whether anything is to be seen on the photos.

    Returns:
        The true ``new_from_photo`` of each photo, by file name; ``000.jpg`` is the reference.
    """
    folder.mkdir(parents=True)
    truth, images, annotations = {}, [], []
    for i in range(count + 1):
        matrix, side = random_warp(person, generator)
        if i == 0:
            x0, y0, x1, y1 = person.box
            matrix = geometry.translation((side - x0 - x1) // 2, (side - y0 - y1) // 2)
        one = replace(person, mask=_roughened(person, spoilt.rough, generator))
        if pictures:
            picture, inside = paste(one, matrix, side, generator)
        else:
            mask = torch.from_numpy(one.mask).float()
            picture, inside = None, geometry.draw(mask, matrix, (side, side)).numpy() >= 0.5
        bottom = side
        if i % 2:
            if spoilt.cut:
                bottom = round(np.nonzero(inside.any(1))[0].mean())
            if spoilt.lost:
                kept = {n: p for n, p in one.keypoints.items() if not n.endswith(LOST)}
                one = replace(one, keypoints=kept)
        shown = Image.new("L", (side, side)) if picture is None else Image.fromarray(picture)
        name = f"{i:03d}.jpg"
        shown.crop((0, 0, side, bottom)).save(folder / name, quality=90)
        truth[name] = matrix
        images.append({"id": i, "file_name": name, "width": side, "height": bottom})
        percent = person.height * float(geometry.scale_of(matrix)) / 100
        spread = np.array([spoilt.noise + spoilt.limbs * n.endswith(LIMBS) for n in NAMES])
        off = generator.normal(0, 1, (len(NAMES), 2)) * spread[:, None] * percent
        annotations.append(annotation(i, one, matrix, inside[:bottom], off))
    kind = {"id": 1, "name": "person", "keypoints": list(NAMES)}
    content = {"images": images, "annotations": annotations, "categories": [kind]}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return truth


def _roughened(person: Person, percent: float, generator: np.random.Generator) -> np.ndarray:
    """Return the mask with its outline moved in and out smoothly, by ``percent`` of the height."""
    if not percent:
        return person.mask
    inside, outside = (distance_transform_edt(part) for part in (person.mask, ~person.mask))
    cells = generator.normal(0, 1, (1, 1, *(max(3, side // 40) for side in person.mask.shape)))
    smooth = torch.nn.functional.interpolate(
        torch.from_numpy(cells), person.mask.shape, mode="bicubic", align_corners=False
    )[0, 0].numpy()
    return (inside - outside) + smooth * percent / 100 * person.height > 0
