"""What effects cost: core-milliseconds a frame of 1080x1350, and memory beside the frames' own.

    python benchmarks/effects.py

Frames are smooth noise; subjects have five keypoints that move by a few pixels. ``morph`` and
``cross-fade`` make ten frames between two photos; what is told is per frame that comes out.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch.nn import functional

from alignimation_core import Canvas, Effect, Film, Frame, Photo, Subject
from alignimation_effects import Caption, CrossFade, EvenLight, Morph, Pace, Progress, Title

CANVAS = Canvas(height=1350, width=1080)
COUNT = 60
FACE = {
    "left_eye": (630.0, 500.0),
    "right_eye": (450.0, 500.0),
    "nose": (540.0, 600.0),
    "mouth_left": (610.0, 700.0),
    "mouth_right": (470.0, 700.0),
}
EFFECTS: list[Effect] = [
    Caption(),
    CrossFade(frames=10),
    Morph(frames=10),
    EvenLight(),
    Pace(seconds=60, ease=True),
    Progress(years=True),
    Title(text="Title"),
]


def frames(photos: list[Photo]) -> Iterator[Frame]:
    generator = torch.Generator().manual_seed(0)
    for i, photo in enumerate(photos):
        coarse = torch.rand(1, 3, 68, 54, generator=generator)
        image = functional.interpolate(coarse, (CANVAS.height, CANVAS.width), mode="bilinear")[0]
        pixels = image.permute(1, 2, 0).mul(255).byte().contiguous()
        yield Frame(pixels.permute(2, 0, 1), i, photo)


def main() -> None:
    torch.set_num_threads(1)
    begin = datetime(2018, 1, 1)
    photos = [
        Photo(Path(f"/{i}"), f"{i}", "", 1350, 1080, begin + timedelta(30 * i), "exif")
        for i in range(COUNT)
    ]
    shift = torch.randn(COUNT, 5, 2, generator=torch.Generator().manual_seed(1)).mul(3).tolist()
    subjects = {
        photo.name: Subject(
            (300.0, 300.0, 800.0, 900.0),
            1.0,
            {name: (x + u, y + v) for (name, (x, y)), (u, v) in zip(FACE.items(), by, strict=True)},
        )
        for photo, by in zip(photos, shift, strict=True)
    }
    film = Film(CANVAS, 25.0, photos, subjects)
    begun = time.process_time()
    for _ in frames(photos):
        pass
    own = time.process_time() - begun
    for effect in EFFECTS:
        begun = time.process_time()
        count = sum(1 for _ in effect.apply(frames(photos), film))
        spent = time.process_time() - begun - own
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{effect.name:12} {1000 * spent / count:6.1f} core-ms a frame, {most:.0f} MB so far")


if __name__ == "__main__":
    main()
