"""What photos gain by correcting each other: ``python benchmarks/consensus.py [FOLDER ...]``.

On the quickstart's photos, whose truth is known: as they are, and with six of the nineteen spoilt
at the eyes. On every FOLDER of real photos of one person (default: ``../shared/data/faces/*``,
where they are) dlib's 68 landmarks on the aligned frames judge, as in ``faces.py``; their own noise
is part of the figure. Scatter is the RMS distance of an eye from its mean place, in percent of the
mean eye distance; ``worst`` by how much it grew for the photo that lost most. ``ms`` are core-ms a
photo that the correction took. Needs alignimation-dlib.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faces import QUICKSTART, Judge, judged
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from torch import Tensor

from alignimation_core import Recipe, run
from alignimation_core.api import geometry

FACES = Path(__file__).parents[2] / "shared" / "data" / "faces"
SPOILT = 0.3
"""Share of the photos that are spoilt."""

Points = dict[str, tuple[float, float]]
Pixels = NDArray[np.float64]


def closed(image: Image.Image, points: Points) -> Image.Image:
    """Draw lids over the eyes: skin from the cheek, and a dark line."""
    across = eye_distance(points)
    drawn = ImageDraw.Draw(image)
    for eye in ("left_eye", "right_eye"):
        x, y = points[eye]
        skin = image.getpixel((round(x), round(y + 0.45 * across)))
        box = (x - 0.26 * across, y - 0.14 * across, x + 0.26 * across, y + 0.14 * across)
        drawn.ellipse(box, fill=skin)
        lash = (x - 0.2 * across, y - 0.02 * across, x + 0.2 * across, y + 0.09 * across)
        drawn.arc(lash, 10, 170, fill=(60, 35, 25), width=max(1, round(0.03 * across)))
    return image


def covered(image: Image.Image, points: Points) -> Image.Image:
    """Hold something over one eye."""
    across = eye_distance(points)
    x, y = points["left_eye"]
    box = (x - 0.4 * across, y - 0.3 * across, x + 0.4 * across, y + 0.35 * across)
    ImageDraw.Draw(image).rectangle(box, fill=(196, 150, 126))
    return image


def blurred(image: Image.Image, _: Points) -> Image.Image:
    """Take the photo out of focus."""
    return image.filter(ImageFilter.GaussianBlur(4))


def relit(image: Image.Image, points: Points) -> Image.Image:
    """Light the face from one side: three times as bright there as on the other."""
    left, right = sorted(points[name][0] for name in ("left_eye", "right_eye"))
    middle, reach = (left + right) / 2, 1.5 * (right - left)
    x = np.clip((np.arange(image.width) + 0.5 - middle) / reach, -1, 1)
    gain = 3 ** (x / 2)
    return of_array(np.asarray(image) * gain[None, :, None])


def noisy(image: Image.Image, _: Points) -> Image.Image:
    """Add noise of 20 of 255 levels."""
    noise = np.random.default_rng(0).normal(0, 20, (image.height, image.width, 3))
    return of_array(np.asarray(image) + noise)


def of_array(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).round().astype(np.uint8))


def eye_distance(points: Points) -> float:
    return float(np.linalg.norm(np.subtract(points["left_eye"], points["right_eye"])))


SPOILERS: dict[str, Callable[[Image.Image, Points], Image.Image]] = {
    "closed": closed,
    "covered": covered,
    "blurred": blurred,
    "relit": relit,
    "noisy": noisy,
}


def truth() -> dict[str, Points]:
    """Return the known keypoints of the quickstart's photos that show her, by file name."""
    shots = json.loads((QUICKSTART / "truth.json").read_text(encoding="utf-8"))["photos"]
    return {Path(s["file"]).name: s["subject"]["keypoints"] for s in shots if s["subject"]}


def spoil(spoiler: str | None, folder: Path) -> Path:
    """Write the quickstart's photos with some of them spoilt; one after the other for ``each``."""
    known = truth()
    generator = np.random.default_rng(1)
    chosen = generator.permutation(sorted(known))[: round(SPOILT * len(known))].tolist()
    folder.mkdir()
    for path in sorted((QUICKSTART / "photos").iterdir()):
        with Image.open(path) as image:
            exif = image.getexif()
            if spoiler is None or path.name not in chosen:
                (folder / path.name).write_bytes(path.read_bytes())
                continue
            upright = ImageOps.exif_transpose(image).convert("RGB")
        exif.pop(0x0112, None)
        names = [*SPOILERS]
        name = names[chosen.index(path.name) % len(names)] if spoiler == "each" else spoiler
        spoilt = SPOILERS[name](upright, known[path.name])
        spoilt.save(folder / path.name, exif=exif, quality=95)
    return folder


def align(folder: Path, output: Path, *, photos: bool, **changes: Any) -> list[dict[str, Any]]:
    """Run the engine; return the photos used."""
    settings: dict[str, Any] = {
        "photos": str(folder),
        "output": str(output),
        "detector": "mtcnn",
        "embedder": "dlib",
        "subject_selector": {"use": "identity", "facing_forward": False},
        "refine": {"photos": photos},
        "canvas": {"size": "640x640"},
        "renderers": [{"use": "gif", "path": "small.gif", "width": 32}],
    }
    record = run(Recipe.of(settings | changes, folder=folder)).as_json()
    return [photo for photo in record["photos"] if photo["status"] == "used"]


def distances(eyes: Tensor) -> Tensor:
    """Return (N,) RMS distances of (N, 2, 2) eyes from their mean places, percent."""
    mean = eyes.mean(0)
    across = (mean[0] - mean[1]).norm()
    return 100 * (eyes - mean).square().sum(-1).mean(1).sqrt() / across


def known_eyes(used: list[dict[str, Any]]) -> Tensor:
    """Return the (N, 2, 2) known places of the eyes on the canvas."""
    points = truth()
    places = []
    for photo in used:
        eyes = [points[Path(photo["path"]).name][eye] for eye in ("right_eye", "left_eye")]
        matrix = torch.tensor(photo["canvas_from_photo"], dtype=torch.float64)
        places.append(geometry.apply(matrix, torch.tensor(eyes, dtype=torch.float64)))
    return torch.stack(places)


def row(
    name: str, folder: Path, scratch: Path, judge: Judge | None, **changes: Any
) -> list[Tensor]:
    """Print one line of the table; return the distances without and with the correction."""
    found, spent = [], []
    for photos in (False, True):
        align(folder, scratch, photos=False, **changes)  # what both need is in the store then
        begun = time.process_time()
        used = align(folder, scratch, photos=photos, **changes)
        spent.append(1000 * (time.process_time() - begun) / len(used))
        eyes = known_eyes(used) if judge is None else judged(folder, used, judge)
        found.append(distances(eyes))
    alone, together = (float(each.square().mean().sqrt()) for each in found)
    worst = float((found[1] - found[0]).max()) if len(found[0]) == len(found[1]) else float("nan")
    cost = spent[1] - spent[0]
    print(f"{name:<28}{len(found[0]):>5}{alone:9.2f}{together:9.2f}{worst:9.2f}{cost:8.1f}")
    return found


def main() -> None:
    """Print the table."""
    given = [Path(argument).resolve() for argument in sys.argv[1:]]
    folders = given or (sorted(FACES.iterdir()) if FACES.is_dir() else [])
    folders = [folder for folder in folders if folder.is_dir()]
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'photos':<28}{'used':>5}{'alone %':>9}{'photos %':>9}{'worst':>9}{'ms':>8}")
    with tempfile.TemporaryDirectory() as scratch:
        if not given:
            for spoiler in (None, *SPOILERS, "each"):
                folder = spoil(spoiler, Path(scratch, f"photos-{spoiler}"))
                name = "quickstart" + (f", {spoiler}" if spoiler else "")
                row(name, folder, Path(scratch, f"out-{spoiler}"), None)
        judge = Judge()
        every: list[list[Tensor]] = []
        small = {"detector": {"use": "mtcnn", "min_face": 20}, "subject_selector": "largest"}
        for folder in folders:
            output = Path(scratch, f"out-{folder.name}")
            every.append(row(folder.name, folder, output, judge, **({} if given else small)))
        if len(every) > 1:
            means = [torch.cat(part).square().mean().sqrt() for part in zip(*every, strict=True)]
            print(f"{'all of these':<33}{float(means[0]):9.2f}{float(means[1]):9.2f}")


if __name__ == "__main__":
    main()
