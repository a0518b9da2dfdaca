"""Makes the picture at the top of the README: photos as they were taken beside the film of them.

alignimation-run examples/quickstart/film.yaml
python examples/quickstart/make_picture.py
"""

import json
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).parent
OUT = HERE / "out-film"
SIDE = 300
GAP = 8
HELD, PASSED = 480, 70
"""Milliseconds for which a photo is shown, and a frame between two."""


def main() -> None:
    """Read ``out-film/run.json`` and the frames there, and write ``docs/before-after.webp``."""
    record = json.loads((OUT / "run.json").read_text())
    used = [photo for photo in record["photos"] if photo["status"] == "used"]
    frames = sorted((OUT / "frames").glob("*.png"))
    between = (len(frames) - len(used)) // (len(used) - 1)
    befores = []
    for photo in used:
        before = ImageOps.exif_transpose(Image.open(HERE / photo["path"])).convert("RGB")
        befores.append(ImageOps.pad(before, (SIDE, SIDE), color="#e8e8e8"))
    pairs, times = [], []
    for i, frame in enumerate(frames):
        pair = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
        pair.paste(befores[(i + between // 2) // (between + 1)], (0, 0))
        after = Image.open(frame).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        pair.paste(after, (SIDE + GAP, 0))
        pairs.append(pair)
        times.append(PASSED if i % (between + 1) else HELD)
    path = HERE.parents[1] / "docs" / "before-after.webp"
    first, *others = pairs
    first.save(
        path, save_all=True, append_images=others, duration=times, loop=0, quality=76, method=6
    )
    print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
