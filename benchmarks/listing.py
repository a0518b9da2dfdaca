"""How long 100,000 photos take to list, 20,000 of them in archives, and how much memory.

    python benchmarks/listing.py [FOLDER]

The files are made in the folder, or in a temporary one, and are empty but in the archives.
"""

import json
import resource
import sys
import tarfile
import tempfile
import time
import zipfile
from io import BytesIO
from pathlib import Path

from alignimation_core import Recipe, preflight

FILES, PARTS, MEMBERS, TAR = 80_000, 4, 3_000, 8_000
"""Photos in folders, parts of a takeout, photos (each with a sidecar) in each, photos in a TAR."""


def make(folder: Path) -> None:
    for i in range(FILES):
        if i % 1000 == 0:
            (folder / "photos" / f"{i // 1000:02}").mkdir(parents=True)
        (folder / "photos" / f"{i // 1000:02}" / f"IMG_{i:05}.jpg").touch()
    for part in range(1, PARTS + 1):
        with zipfile.ZipFile(folder / f"takeout-20240102T030405Z-{part:03}.zip", "w") as archive:
            for i in range(MEMBERS):
                name = f"Takeout/Google Photos/Photos from {2000 + i % 20}/IMG_{part}_{i:05}.jpg"
                archive.writestr(name, b"photo")
                said = {"title": name, "photoTakenTime": {"timestamp": str(1_000_000_000 + i)}}
                archive.writestr(f"{name}.supplemental-metadata.json", json.dumps(said))
    with tarfile.open(folder / "photos.tar", "w") as archive:
        for i in range(TAR):
            info = tarfile.TarInfo(f"IMG_{i:05}.jpg")
            info.size = 5
            archive.addfile(info, BytesIO(b"photo"))


def main(folder: Path) -> None:
    if not (folder / "photos").exists():
        make(folder)
    photos = ["photos/", "takeout-20240102T030405Z-001.zip", "photos.tar"]
    recipe = Recipe.of({"photos": photos, "detector": "mtcnn"}, folder=folder)
    begun, before = time.perf_counter(), time.process_time()
    found = preflight.find_photos(recipe)
    seconds, busy = time.perf_counter() - begun, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    count = len(found.photos)
    print(f"{count} photos in {seconds:.1f} s ({busy:.1f} s of a core), {peak:.0f} MB at the peak")


if len(sys.argv) > 1:
    main(Path(sys.argv[1]).resolve())
else:
    with tempfile.TemporaryDirectory() as made:
        main(Path(made))
