"""What effects cost: core-milliseconds a frame of 1080x1350, and memory beside the frames' own.

    python benchmarks/effects.py

Frames are smooth noise; subjects have five keypoints that move by a few pixels, and every caption
is new. ``morph`` and ``cross-fade`` make ten frames between two photos; what is told is per frame
that comes out. Memory is the most that a process of its own ever had (VmHWM), with all effects in
one chain that makes ten frames of a photo, and without any: what they take does not depend on how
many frames there are, which a smaller canvas shows sooner, but on how large these are.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import torch
from torch.nn import functional

from alignimation_core import Canvas, Effect, Film, Frame, Photo, Subject
from alignimation_effects import Caption, CrossFade, EvenLight, Morph, Pace, Progress, Title

CANVAS = Canvas(height=1350, width=1080)
SMALL = Canvas(height=338, width=270)
COUNT = 60
FPS = 25.0
FACE = {
    "left_eye": (0.583, 0.370),
    "right_eye": (0.417, 0.370),
    "nose": (0.500, 0.444),
    "mouth_left": (0.565, 0.519),
    "mouth_right": (0.435, 0.519),
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


def chain(count: int) -> list[Effect]:
    """Return all effects, which make ten frames of each of so many photos."""
    return [
        EvenLight(),
        Pace(seconds=10 * count / FPS),
        CrossFade(frames=1),
        Morph(frames=4),
        Caption(text="{date:long}, {index} of {count}"),
        Progress(years=True),
        Title(text="Title"),
        Title(text="The end", at="end"),
    ]


def film_of(count: int, canvas: Canvas) -> Film:
    begin = datetime(1990, 1, 1)
    photos = [
        Photo(
            Path(f"/{i}"),
            f"{i}",
            "",
            canvas.height,
            canvas.width,
            begin + timedelta(days=10 * i),
            "exif",
        )
        for i in range(count)
    ]
    drawn = torch.randn(count, 5, 2, generator=torch.Generator().manual_seed(1))
    shift = (drawn * 3 / CANVAS.height * canvas.height).tolist()
    width, height = canvas.width, canvas.height
    subjects = {
        photo.name: Subject(
            (0.28 * width, 0.22 * height, 0.74 * width, 0.67 * height),
            1.0,
            {
                name: (x * width + u, y * height + v)
                for (name, (x, y)), (u, v) in zip(FACE.items(), by, strict=True)
            },
        )
        for photo, by in zip(photos, shift, strict=True)
    }
    return Film(canvas, FPS, photos, subjects)


def frames(film: Film) -> Iterator[Frame]:
    generator = torch.Generator().manual_seed(0)
    size = film.canvas.height, film.canvas.width
    for i, photo in enumerate(film.photos):
        coarse = torch.rand(1, 3, 68, 54, generator=generator)
        image = functional.interpolate(coarse, size, mode="bilinear")[0]
        pixels = image.permute(1, 2, 0).mul(255).byte().contiguous()
        yield Frame(pixels.permute(2, 0, 1), i, photo)


def most_memory(count: int, canvas: Canvas, *, effects: bool) -> tuple[int, float]:
    """Return how many frames come of so many photos, and the most MB of the process."""
    words = map(str, (count, canvas.height, canvas.width, int(effects)))
    child = subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, check=True
    )
    made, megabytes = child.stdout.split()
    return int(made), float(megabytes)


def be_measured(count: int, height: int, width: int, effects: int) -> None:
    film = film_of(count, Canvas(height, width))
    shown = frames(film)
    for effect in chain(count) if effects else ():
        shown = effect.apply(shown, film)
    made = sum(1 for _ in shown)
    status = Path("/proc/self/status").read_text().split()
    print(made, int(status[status.index("VmHWM:") + 1]) / 1024)


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:]:
        be_measured(*map(int, sys.argv[1:]))
        return
    film = film_of(COUNT, CANVAS)
    begun = time.process_time()
    for _ in frames(film):
        pass
    own = time.process_time() - begun
    for effect in EFFECTS:
        begun = time.process_time()
        count = sum(1 for _ in effect.apply(frames(film), film))
        spent = time.process_time() - begun - own
        print(f"{effect.name:12} {1000 * spent / count:6.1f} core-ms a frame")
    for canvas, counts in ((CANVAS, (COUNT,)), (SMALL, (COUNT, 1000))):
        _, plain = most_memory(COUNT, canvas, effects=False)
        for count in counts:
            made, most = most_memory(count, canvas, effects=True)
            size = f"{canvas.width}x{canvas.height}"
            print(f"{made:6} frames of {size}: {most - plain:.0f} MB more than without effects")


if __name__ == "__main__":
    main()
