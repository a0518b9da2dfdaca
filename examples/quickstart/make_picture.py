"""Makes the picture at the top of the README: photos as they were taken beside aligned frames.

Run the quickstart's recipe first, then ``python examples/quickstart/make_picture.py``.
"""

import json
from pathlib import Path

from PIL import Image, ImageOps

HERE = Path(__file__).parent
SIDE = 300
GAP = 8


def main() -> None:
    """Read ``out/run.json`` and its frames, and write ``docs/before-after.webp``."""
    record = json.loads((HERE / "out" / "run.json").read_text())
    used = [photo for photo in record["photos"] if photo["status"] == "used"]
    frames = sorted((HERE / "out" / "frames").glob("*.png"))
    pairs = []
    for photo, frame in zip(used, frames, strict=True):
        before = ImageOps.exif_transpose(Image.open(HERE / photo["path"])).convert("RGB")
        after = Image.open(frame).convert("RGB")
        pair = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
        pair.paste(ImageOps.pad(before, (SIDE, SIDE), color="#e8e8e8"), (0, 0))
        pair.paste(after.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (SIDE + GAP, 0))
        pairs.append(pair)
    path = HERE.parents[1] / "docs" / "before-after.webp"
    first, *others = pairs
    first.save(path, save_all=True, append_images=others, duration=420, loop=0, quality=72)
    print(f"{path.relative_to(HERE.parents[1])}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
