"""Makes the photos of a growing belly, their COCO annotations and the ground truth.

Run it from anywhere; it needs NumPy, Pillow, scikit-image, matplotlib and pycocotools, and no
network::

    python make_photos.py

It writes ``photos/*.jpg``, ``annotations.json`` and ``truth.json`` beside itself, the same every
time. Portraits, places, light and camera are those of ``../quickstart``, where they are credited.

The annotations are as a careful person's would be: the keypoints set on the portrait come with the
scatter of a hand (``HAND`` of the torso's length) and in whole pixels; the mask is the figure's
true silhouette, belly and hair included. ``truth.json`` has the places of the bones, which neither
a hand nor a belly has moved.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "quickstart"))

import make_photos as quickstart  # noqa: E402  # the quickstart's, which now stands first
from figure import COVERED, KEYPOINTS, NECK, Look, figure, figure_from_source  # noqa: E402
from painting import Array, View, lens_blur  # noqa: E402
from PIL import Image  # noqa: E402
from portraits import (  # noqa: E402
    Person,
    check_cuts_hidden,
    load_people,
    mapped,
    photo_from_source,
    warped,
)
from pycocotools import mask as coco_mask  # noqa: E402
from scenes import SCENES  # noqa: E402
from series import SERIES, Moment  # noqa: E402
from skimage import measure  # noqa: E402

SEED = 1999
HAND = 0.004
"""Standard deviation of a hand-set keypoint, in torso lengths."""
TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "neck")
SIMPLIFY = 0.7
"""How far, in pixels, a polygon may run beside the silhouette."""

COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip",
    "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9),
    (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip

HOPPER_KEYPOINTS = {
    "nose": (262.0, 222.0),
    "left_eye": (304.9, 187.5),
    "right_eye": (223.6, 190.1),
    "left_shoulder": (452.0, 472.0),
    "right_shoulder": (92.0, 478.0),
}


def torso_length() -> float:
    """From the middle of the shoulders to the middle of the hips, pixels of the portrait."""
    places = {name: np.array(at) for name, at in KEYPOINTS.items()}
    shoulders = places["left_shoulder"] + places["right_shoulder"]
    return float(np.linalg.norm(places["left_hip"] + places["right_hip"] - shoulders) / 2)


def visibility(name: str, at: Array, size: tuple[int, int], moment: Moment) -> int:
    """COCO's: 0 not in the picture, 1 covered, 2 visible."""
    if not (0 <= at[0] < size[0] and 0 <= at[1] < size[1]):
        return 0
    hair = name.endswith("_ear") and moment.hair == "down"
    return 1 if name in COVERED or hair else 2


def keypoints_field(
    points: dict[str, tuple[float, float]],
    matrix: Array,
    moment: Moment,
    noise: float,
    rng: np.random.Generator,
) -> list[int]:
    """Seventeen times x, y, v: whole pixels, as a hand sets them. ``noise`` in photo pixels."""
    row: list[int] = []
    for name in COCO_KEYPOINTS:
        off = rng.normal(0, noise, 2)
        v = 0
        if name in points:
            at = np.floor(mapped(matrix, np.array([points[name]]))[0] + off)
            v = visibility(name, at, moment.shot.size, moment)
        row += [int(at[0]), int(at[1]), v] if v else [0, 0, 0]
    return row


def run_lengths(inside: NDArray[np.bool_]) -> dict[str, Any]:
    """COCO's compressed run lengths of (h, w)."""
    packed = coco_mask.encode(np.asfortranarray(inside, dtype=np.uint8))
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode()}


def polygons(cover: Array) -> list[list[float]]:
    """The outlines of (h, w) coverage at one half, in continuous pixels."""
    found = []
    for contour in measure.find_contours(np.pad(cover, 1), 0.5):
        outline = measure.approximate_polygon(contour, SIMPLIFY)
        if len(outline) > 8:
            found.append(
                [round(float(v) - 0.5, 1) for row, column in outline for v in (column, row)]
            )
    return found


def annotation(
    number: int, image: int, cover: Array, keypoints: list[int], *, as_polygon: bool
) -> dict[str, Any]:
    """One person: ``cover`` (h, w) is what of her the photo shows."""
    inside = cover > 0.5
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "iscrowd": 0,
        "area": int(inside.sum()),
        "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
        "segmentation": polygons(cover) if as_polygon else run_lengths(inside),
        "num_keypoints": sum(v > 0 for v in keypoints[2::3]),
        "keypoints": keypoints,
    }


def truth_of(moment: Moment, photo_from_portrait: Array) -> dict[str, Any]:
    """Where the bones are, in the photo's continuous pixels."""
    points = {**KEYPOINTS, "neck": NECK}
    places = mapped(photo_from_portrait, np.array(list(points.values())))
    return {
        "photo_from_source": [[round(float(v), 8) for v in row] for row in photo_from_portrait],
        "belly": round(moment.belly, 4),
        "hair": moment.hair,
        "keypoints": dict(zip(points, np.round(places, 3).tolist(), strict=True)),
    }


def make(
    moment: Moment, number: int, hopper: Person
) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Write one photo; returns its entries in ``truth.json`` and in the annotations."""
    shot = moment.shot
    rng = np.random.default_rng([SEED, *shot.file.encode()])
    w, h = shot.size
    image = SCENES[shot.scene](View(h, w, shot.camera_tilt, rng))
    image = lens_blur(image, shot.defocus * h) * shot.place_gain

    people = {"subject": figure(Look(moment.belly, moment.hair)), "hopper": hopper}
    covers = []
    hidden = np.zeros((h, w))
    for name, place in reversed(shot.layers):
        person, matrix = people[name], photo_from_source(people[name], place)
        check_cuts_hidden(person, matrix, hidden, shot.file)
        cover = np.clip(warped(person.matte[..., None], matrix, h, w)[..., 0], 0, 1)
        covers.append((name, person, matrix, cover * (1 - hidden), hidden))
        hidden = np.maximum(hidden, cover)

    truth, annotations = None, []
    for name, person, matrix, shown, in_front in reversed(covers):
        image = quickstart.stand(image, person, matrix, shot, in_front)
        subject = name == "subject"
        portrait = matrix @ figure_from_source() if subject else matrix
        noise = HAND * torso_length() * np.sqrt(np.linalg.det(portrait[:2, :2])) if subject else 1
        points = KEYPOINTS if subject else HOPPER_KEYPOINTS
        keypoints = keypoints_field(points, portrait, moment, noise, rng)
        annotations.append(
            annotation(2 * number + (not subject), number, shown, keypoints, as_polygon=not subject)
        )
        if subject:
            truth = truth_of(moment, portrait)

    picture = Image.fromarray(quickstart.develop(image, shot, rng))
    picture.save(HERE / "photos" / shot.file, quality=86, exif=quickstart.exif_of(shot))
    entry = {
        "file": f"photos/{shot.file}",
        "taken": shot.taken,
        "week": moment.week,
        "width": w,
        "height": h,
        "subject": truth,
        "others": [name for name, *_ in covers if name != "subject"],
    }
    row = {"id": number, "file_name": f"photos/{shot.file}", "width": w, "height": h}
    return entry, row, annotations


def main() -> None:
    """Write every photo, the annotations and the ground truth."""
    hopper = load_people()["hopper"]
    (HERE / "photos").mkdir(exist_ok=True)
    entries, images, annotations = [], [], []
    for number, moment in enumerate(SERIES, start=1):
        entry, row, found = make(moment, number, hopper)
        entries.append(entry)
        images.append(row)
        annotations += found
        print(moment.shot.file)
    lost = {"id": len(SERIES) + 1, "file_name": "photos/IMG_0477.jpg", "width": 720, "height": 960}
    images.append(lost)
    annotations.append({**annotations[-1], "id": 2 * lost["id"], "image_id": lost["id"]})
    coco = {
        "info": {"description": "Photos of a growing belly; IMG_0477.jpg has been deleted since"},
        "images": images,
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(COCO_KEYPOINTS),
                "skeleton": [list(bone) for bone in SKELETON],
            }
        ],
        "annotations": annotations,
    }
    truth = {
        "source": {
            "name": "eileen_collins",
            "file": "skimage.data.astronaut()",
            "width": 512,
            "height": 512,
            "torso": list(TORSO),
            "torso_length": round(torso_length(), 3),
            "keypoints": {name: list(at) for name, at in {**KEYPOINTS, "neck": NECK}.items()},
        },
        "photos": entries,
    }
    for name, content in (("annotations.json", coco), ("truth.json", truth)):
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
