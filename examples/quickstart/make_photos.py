"""Makes the quickstart photos: one subject over four years, as in somebody's pile of photos.

Run it from anywhere; it needs NumPy, Pillow, scikit-image and matplotlib and no network::

    python make_photos.py

It writes ``photos/*.jpg`` and ``truth.json`` beside itself, the same pixels every time.

Sources
    - Subject: Eileen Collins, official portrait by NASA, ``skimage.data.astronaut()``. "No known
      copyright restrictions, released into the public domain."
    - Second person: Grace Hopper, portrait by James S. Davis for the United States Navy,
      ``matplotlib.cbook.get_sample_data("grace_hopper.jpg")``. Public domain, as a work of the
      government of the United States.
    - ``astronaut_matte.png`` and ``hopper_matte.png``: the coverage of each person in her
      portrait, 8 bit, of the portrait's size.
    - Places: ``scenes.py``, painted or from public domain and CC0 pictures, credited there.

Convention
    Points are (x, y) in continuous pixel coordinates: the centre of the top-left pixel is
    (0.5, 0.5). ``photo_from_source`` is a 3x3 similarity on column vectors, from the portrait to
    the upright photo. Left and right are the person's own.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from painting import Array, View, blur, lens_blur, srgb
from PIL import Image
from portraits import Person, check_cuts_hidden, load_people, mapped, photo_from_source, warped
from scenes import SCENES
from shots import SHOTS, Ledge, Shot
from skimage import data

HERE = Path(__file__).resolve().parent
SEED = 1986

EXIF_DESCRIPTION, EXIF_ORIENTATION, EXIF_IFD = 0x010E, 0x0112, 0x8769
EXIF_DATE_ORIGINAL, EXIF_OFFSET_ORIGINAL = 0x9003, 0x9011
CREDIT = "Composite. Portraits: NASA (Eileen Collins), US Navy (Grace Hopper), public domain"


def stand(scene: Array, person: Person, matrix: Array, shot: Shot, hidden: Array) -> Array:
    """``scene`` (h, w, 3) with the person in it, in the scene's light.

    The light comes from ``shot.light_from``: it falls off across the photo and, with the blurred
    matte for a relief, round the person; the place tints it and spills over her outline.
    ``hidden`` (h, w): coverage by what stands in front of her, which takes light from her.
    """
    h, w = scene.shape[:2]
    matte = person.matte[..., None]
    drawn = warped(np.concatenate([person.colour * matte, matte], axis=2), matrix, h, w)
    alpha = np.clip(drawn[..., 3:], 0, 1)
    colour = np.clip(drawn[..., :3], 0, None) / np.maximum(alpha, 1e-3)

    size = person.eyes[1] * np.sqrt(np.linalg.det(matrix[:2, :2]))
    (x, y), towards = mapped(matrix, person.eyes[0][None])[0], np.radians(shot.light_from)
    columns, rows = (np.arange(w) + 0.5 - x) / size, (np.arange(h) + 0.5 - y)[:, None] / size
    across = columns * np.cos(towards) - rows * np.sin(towards)
    roundness = blur(alpha[..., 0], 0.45 * size)
    slope_y, slope_x = np.gradient(roundness)
    side = -(slope_x * np.cos(towards) - slope_y * np.sin(towards)) * size
    key = np.exp(shot.light_slope * (0.12 * np.clip(across, -5, 5) + 1.5 * side))
    ambient = scene.mean(axis=(0, 1))
    ambient = (ambient / ambient.mean()) ** 0.35
    colour = colour * key[..., None] * shot.person_gain * ambient

    rim = np.clip(1 - blur(alpha, 0.12 * size), 0, 1)
    colour = colour + 0.35 * rim * np.minimum(blur(scene, 0.35 * size), 1.0)
    colour = colour * (1 - 0.45 * blur(hidden, 0.5 * size)[..., None])
    if shot.shadow:
        dx, dy = -np.cos(towards) * 0.9 * size, np.sin(towards) * 0.9 * size
        moved = np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]])
        shade = blur(warped(alpha, moved, h, w)[..., 0], 0.12 * size)
        scene = scene * (1 - shot.shadow * np.clip(shade, 0, 1)[..., None])
    lit: Array = scene * (1 - alpha) + colour * alpha
    return lit


def ledge(wall: Ledge, shot: Shot) -> tuple[Array, Array]:
    """A low wall: its radiance (h, w, 3) and its coverage (h, w)."""
    w, h = shot.size
    y, x = np.mgrid[0:h, 0:w] + 0.5
    depth = y - wall.top - np.tan(np.radians(shot.camera_tilt)) * (x - w / 2)
    cover: Array = np.clip(depth / 5 + 0.5, 0, 1)
    stone: Array = data.gravel() / 255.0
    grain = blur(np.pad(stone, ((0, h), (0, w)), mode="symmetric")[:h, :w], 2.0)
    light = blur(np.where(depth < 0.05 * h, 1.25, 0.75), 3.0)
    return np.asarray(wall.tint) * (light * (0.6 + 0.8 * grain))[..., None], cover


def develop(radiance: Array, shot: Shot, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The camera: white balance, exposure, vignette, tone curve, blur, noise; uint8 (h, w, 3)."""
    h, w = radiance.shape[:2]
    y, x = np.mgrid[0:h, 0:w] + 0.5
    radius = np.hypot(x - w / 2, y - h / 2) / np.hypot(w / 2, h / 2)
    radiance = radiance * np.asarray(shot.white_balance) * shot.exposure
    radiance = blur(radiance, shot.softness) * (1 - 0.3 * radius**2.5)[..., None]
    shoulder = 0.7 + 0.3 * (1 - np.exp(-(np.maximum(radiance, 0.7) - 0.7) / 0.3))
    image = srgb(np.where(radiance < 0.7, radiance, shoulder))
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * shot.saturation
    luma = blur(rng.normal(size=(h, w, 1)), 0.6) * 1.8
    chroma = blur(rng.normal(size=(h, w, 3)), 1.2) * 1.6
    image = image + shot.noise * (1.1 - 0.6 * grey) * (luma + chroma)
    pixels: NDArray[np.uint8] = np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels


def exif_of(shot: Shot) -> Image.Exif:
    """What the camera wrote: a credit, the orientation and the date."""
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION] = CREDIT
    exif[EXIF_ORIENTATION] = shot.orientation
    details = exif.get_ifd(EXIF_IFD)
    details[EXIF_DATE_ORIGINAL] = datetime.fromisoformat(shot.taken).strftime("%Y:%m:%d %H:%M:%S")
    if shot.offset:
        details[EXIF_OFFSET_ORIGINAL] = shot.offset
    return exif


def box_of(matrix: Array, face: tuple[float, float, float, float]) -> list[float]:
    """The upright box [x0, y0, x1, y1] in the photo around a box of the portrait."""
    x0, y0, x1, y1 = face
    corners = mapped(matrix, np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]))
    return [round(float(v), 2) for v in (*corners.min(axis=0), *corners.max(axis=0))]


def make(shot: Shot, people: dict[str, Person], rng: np.random.Generator) -> dict[str, object]:
    """Write one photo; returns its entry of ``truth.json``."""
    w, h = shot.size
    scene = SCENES[shot.scene](View(h, w, shot.camera_tilt, rng))
    image = lens_blur(scene, shot.defocus * h) * shot.place_gain

    in_front = np.zeros((h, w))
    stack = []
    for layer in reversed(shot.layers):
        stack.append((layer, in_front))
        if isinstance(layer, Ledge):
            cover = ledge(layer, shot)[1]
        else:
            person, matrix = people[layer[0]], photo_from_source(people[layer[0]], layer[1])
            check_cuts_hidden(person, matrix, in_front, shot.file)
            cover = warped(person.matte[..., None], matrix, h, w)[..., 0]
        in_front = np.maximum(in_front, cover)

    subject, others = None, []
    for layer, hidden in reversed(stack):
        if isinstance(layer, Ledge):
            wall, cover = ledge(layer, shot)
            image = image * (1 - cover[..., None]) + wall * cover[..., None]
            continue
        person, matrix = people[layer[0]], photo_from_source(people[layer[0]], layer[1])
        image = stand(image, person, matrix, shot, hidden)
        if layer[0] == "subject":
            points = mapped(matrix, np.array(list(person.keypoints.values())))
            subject = {
                "photo_from_source": [[round(float(v), 8) for v in row] for row in matrix],
                "keypoints": dict(zip(person.keypoints, np.round(points, 3).tolist(), strict=True)),
            }
        else:
            others.append({"name": person.name, "box": box_of(matrix, person.face)})

    picture = Image.fromarray(develop(image, shot, rng))
    if shot.orientation == 6:
        picture = picture.transpose(Image.Transpose.ROTATE_90)
    path = HERE / "photos" / shot.file
    if shot.in_exif:
        picture.save(path, quality=88, exif=exif_of(shot))
    else:
        picture.save(path, quality=88, comment=CREDIT)
    return {
        "file": f"photos/{shot.file}",
        "taken": shot.taken,
        "taken_from": "exif" if shot.in_exif else "name",
        "width": w,
        "height": h,
        "subject": subject,
        "others": others,
    }


def main() -> None:
    """Write every photo and the ground truth."""
    people = load_people()
    (HERE / "photos").mkdir(exist_ok=True)
    entries = []
    for shot in sorted(SHOTS, key=lambda shot: shot.taken):
        entries.append(make(shot, people, np.random.default_rng([SEED, *shot.file.encode()])))
        print(shot.file)
    person = people["subject"]
    rows, columns = person.matte.shape
    truth = {
        "source": {
            "name": person.name,
            "file": "skimage.data.astronaut()",
            "width": columns,
            "height": rows,
            "keypoints": {name: list(point) for name, point in person.keypoints.items()},
        },
        "photos": entries,
    }
    (HERE / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
