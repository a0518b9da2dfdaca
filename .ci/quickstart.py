"""Whether the README's first command left in ``out/`` what the README says of it."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np

QUICKSTART = Path("examples/quickstart")
OUT = QUICKSTART / "out"
EYES = ("left_eye", "right_eye")

record = json.loads((OUT / "run.json").read_text(encoding="utf-8"))
assert record["summary"] == {"used": 19, "rejected": 1, "failed": 0}, record["summary"]
assert record["outputs"] == ["aging.mp4", "aging.gif", "frames"], record["outputs"]
assert record["error"] is None, record["error"]

pictures = sorted((OUT / "frames").iterdir())
frames = np.stack([iio.imread(picture) for picture in pictures])
assert frames.shape == (19, 720, 720, 3), frames.shape
film = iio.imread(OUT / "aging.mp4", plugin="pyav")
assert film.shape == frames.shape, film.shape
animation = iio.imread(OUT / "aging.gif", plugin="pillow", mode="RGB")
assert animation.shape == (19, 360, 360, 3), animation.shape
halved = frames.reshape(19, 360, 2, 360, 2, 3).mean((2, 4))
for name, shown, meant in (("aging.mp4", film, frames), ("aging.gif", animation, halved)):
    off = np.abs(shown - meant.astype(float)).mean((1, 2, 3))
    assert off.max() < 10, f"{name}: frame {off.argmax() + 1} is not that of frames/"

truth = json.loads((QUICKSTART / "truth.json").read_text(encoding="utf-8"))["photos"]
shown = {shot["file"]: shot["subject"] for shot in truth}
eyes = []
for photo in record["photos"]:
    subject = shown[photo["path"]]
    assert photo["status"] == ("used" if subject else "rejected"), photo["path"]
    assert (photo["reason"] is None) == (subject is not None), photo["path"]
    if subject:
        points = np.array([[*subject["keypoints"][eye], 1] for eye in EYES])
        eyes.append(points @ np.array(photo["canvas_from_photo"])[:2].T)
mean = np.mean(eyes, axis=0)
scatter = 100 * np.linalg.norm(eyes - mean, axis=-1).mean() / np.linalg.norm(mean[0] - mean[1])
assert scatter < 0.1, f"the eyes scatter by {scatter:.2f} % of their distance, not by 0.05 %"
print(f"19 frames each of 19 photos used and 1 rejected; the eyes scatter by {scatter:.2f} %")
