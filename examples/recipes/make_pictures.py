"""Makes the picture of each recipe from the photos that come with the examples.

``python examples/recipes/make_pictures.py [NAME ...]``: of all recipes, or of those named. Films
are made shorter and smaller than the recipes say; the detectors of bodies, whose networks would
have to be fetched, give way to the annotations of ``examples/body``. There are no photos of a pet:
hers is of the same body, by its outline.
"""

import sys
import tempfile
from pathlib import Path

from alignimation_core import Recipe, run

HERE = Path(__file__).parent
SOMEBODY_ELSE = ["IMG_0099.jpg", "100_0764.jpg", "IMG_4410.jpg"]
"""Photos in which another face than hers is the largest."""
FACES = ["photos=../quickstart/photos", f"without={SOMEBODY_ELSE}"]
BODY = [
    "photos=../body/photos",
    "detector={use: coco-annotations, file: ../body/annotations.json}",
]
CHANGES = {
    "selfies": [*FACES, "canvas.size=480x600", "effects[1].seconds=9"],
    "baby": [*FACES, "canvas.size=480x480", "effects[0].seconds=9"],
    "belly": [*BODY, "canvas.size=480x600", "effects[0].seconds=8"],
    "decades": [
        *FACES,
        "canvas.size=640x360",
        "effects[1].seconds=9",
        "effects[4]={use: title, text: Four years, seconds: 1}",
        "effects[5].seconds=1",
    ],
    "pet": [*BODY, "canvas.size=480x480", "effects[0].seconds=9"],
}
PICTURE = "renderers=[{use: webp, path: %s.webp, fps: 8, width: 240, quality: 55}]"


def main(names: list[str]) -> None:
    """Run each recipe, and write its picture into ``docs/recipes``."""
    pictures = HERE.parents[1] / "docs" / "recipes"
    pictures.mkdir(exist_ok=True)
    for name in names or CHANGES:
        with tempfile.TemporaryDirectory() as folder:
            settings = [*CHANGES[name], PICTURE % name, f"output={folder}", "report=false"]
            record = run(Recipe.load(HERE / f"{name}.yaml", settings=settings))
            made = pictures / f"{name}.webp"
            made.write_bytes(Path(folder, made.name).read_bytes())
        print(f"{name}: {record.summary}, {made.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
