"""Annotated persons, cut out and pasted into other photos by known similarities."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from registration import NAMES

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
        row += [float(at[0]), float(at[1]), v] if v else [0.0, 0.0, 0]
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


def write_series(
    person: Person, folder: Path, count: int, noise: float, generator: np.random.Generator
) -> dict[str, torch.Tensor]:
    """Write the person's photos and annotations.

    Args:
        person: who is pasted.
        folder: where to write; made.
        count: how many photos beside the reference, which is shifted by whole pixels only.
        noise: standard deviation of the keypoints, percent of the person's height.
        generator: of all randomness.

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
        picture, inside = paste(person, matrix, side, generator)
        name = f"{i:03d}.jpg"
        Image.fromarray(picture).save(folder / name, quality=90)
        truth[name] = matrix
        images.append({"id": i, "file_name": name, "width": side, "height": side})
        spread = noise / 100 * person.height * float(geometry.scale_of(matrix))
        off = generator.normal(0, spread, (len(NAMES), 2)) if noise else np.zeros((len(NAMES), 2))
        annotations.append(annotation(i, person, matrix, inside, off))
    kind = {"id": 1, "name": "person", "keypoints": list(NAMES)}
    content = {"images": images, "annotations": annotations, "categories": [kind]}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return truth
