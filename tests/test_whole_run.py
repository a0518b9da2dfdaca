"""What the README promises of a whole run, by what a user sees of it: photos, network, frames."""

import json
import os
import re
import socket
import sys
from subprocess import run as call

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from skimage.data import astronaut

from alignimation_core import run
from alignimation_core.api import geometry
from alignimation_core.photos import decoder
from alignimation_core.recipe.options import CanvasOptions, RefineOptions

DATE = 0x0132
LISTENER = """
import sys
WORDS = {{"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}}

def hear(event, given):
    if event in WORDS and not isinstance(given[-1], (str, bytes)):
        with open({path!r}, "a") as file:
            file.write(f"{{event}} {{given}}\\n")

sys.addaudithook(hear)
"""


def contents(folder):
    """Return all that a file shows of having been written to."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.iterdir()
    }


def test_photos_are_only_read(tmp_path, discs, discs_recipe):
    folder = tmp_path / "photos"
    discs.series(folder, discs.WARPS)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
    turned = Image.new("RGB", (64, 48))
    turned.getexif()[0x0112] = 6
    turned.save(folder / "empty.jpg", exif=turned.getexif())
    before = contents(folder)
    for _ in range(2):
        record = run(discs_recipe(refine=RefineOptions(passes=1)))
        assert record.summary == {"used": 4, "rejected": 1, "failed": 1}
    assert contents(folder) == before


@pytest.fixture
def heard(site, tmp_path):
    """What processes that see the installed distributions asked of any network."""
    path = tmp_path / "heard"
    (site / "sitecustomize.py").write_text(LISTENER.format(path=str(path)))
    return lambda: path.read_text().splitlines() if path.exists() else []


def test_a_run_speaks_to_no_other_machine(tmp_path, site, command, heard):
    (tmp_path / "photos").mkdir()
    for year, angle in ((2019, -10), (2020, 10)):
        turned = Image.fromarray(astronaut()).rotate(angle)
        turned.save(tmp_path / "photos" / f"{year}-01-01.jpg")
    recipe = {
        "photos": "photos/",
        "output": "out",
        "detector": "mtcnn",
        "canvas": {"size": "64x64"},
        "renderers": ["video", "gif", "webp", {"use": "frames", "path": "frames"}],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    for arguments in (["--list"], ["recipe.yaml", "--check"], ["recipe.yaml"]):
        done = command(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "run.json").read_text())["summary"]["used"] == 2
    assert heard() == []
    with socket.create_server(("127.0.0.1", 0)) as server:  # it would have been heard
        address = server.getsockname()
        code = f"import socket; socket.create_connection({address}).close()"
        environment = os.environ | {"PYTHONPATH": str(site)}
        call([sys.executable, "-c", code], env=environment, check=True)
    assert f"socket.connect {address}" in [re.sub(r"\(<.*>, ", "", line)[:-1] for line in heard()]


def test_photos_come_by_exif_then_by_name_then_by_the_files_time(tmp_path, discs, discs_recipe):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("2001-01-01.png", "2010-05-05.png", "a.png"):
        discs.paint(folder / name, discs.WARPS[0])
    with Image.open(folder / "2001-01-01.png") as image:
        image.getexif()[DATE] = "2012:03:04 05:06:07"
        image.save(folder / "2001-01-01.png", exif=image.getexif())
    for path in folder.iterdir():
        os.utime(path, (1_300_000_000, 1_300_000_000))  # 2011
    record = run(discs_recipe())
    assert [(photo.path, photo.taken_from) for photo in record.photos] == [
        ("photos/2010-05-05.png", "name"),
        ("photos/a.png", "file"),
        ("photos/2001-01-01.png", "exif"),
    ]


def test_a_trial_run_says_what_the_whole_will_cost(tmp_path, discs, discs_recipe, listener):
    discs.series(tmp_path / "photos", [*discs.WARPS] * 3)
    heard = listener()
    record = run(discs_recipe(), limit=3, progress=heard)
    assert record.summary["used"] == 3
    (line,) = (note for note in heard.notes if "photos: about" in note)
    kilobytes = (tmp_path / "out" / "trial" / "frames.npy").stat().st_size * 12 / 3 / 1e3
    assert re.fullmatch(
        rf"all 12 photos: about \d+ s \(.*rendering \d+ s\) and {kilobytes:.0f} kB", line
    )


def test_keypoints_of_a_reduced_photo_are_full_size_and_the_full_photo_is_sampled_once(
    tmp_path, discs, discs_recipe
):
    class Reduced(discs.Blobs):
        def input_side(self):
            return 100

        def detect(self, images):
            assert all(max(image.shape[-2:]) < 400 for image in images)
            return super().detect([(image.int() - 40).clamp(min=0).byte() for image in images])

    warps = [discs.placed(310, 200, 0.1, 10), discs.placed(250, 270, -0.2, 9)]
    height, width = size = (484, 642)
    grain = np.random.default_rng(1).integers(0, 40, (*size, 3), dtype=np.uint8)
    for name in discs.series(tmp_path / "photos", warps, size):
        with Image.open(tmp_path / "photos" / name) as image:
            picture = np.maximum(np.array(image), grain)
        Image.fromarray(picture).save(tmp_path / "photos" / name.replace("png", "jpg"), quality=95)
        (tmp_path / "photos" / name).unlink()
    canvas = CanvasOptions(size=f"{width}x{height}")
    record = run(discs_recipe(detector=Reduced(), canvas=canvas, reference="first"))
    frames = np.load(record.folder / "frames.npy")
    for photo, warp, frame in zip(record.photos, warps, frames, strict=True):
        truth = discs.BLOBS @ warp[:2, :2].T + warp[:2, 2]
        found = [photo.subject["keypoints"][name] for name in discs.NAMES]
        assert np.abs(found - truth).max() < 1.5  # of 642 pixels
        whole = decoder.load(tmp_path / photo.path)
        assert whole.shape[-2:] == size
        matrix = torch.tensor(photo.canvas_from_photo, dtype=torch.float64)
        once = 255 * geometry.warp_photo(whole, matrix, size).numpy()
        middle = (slice(None), slice(120, -120), slice(160, -160))
        assert np.abs(frame[middle] - once[middle]).max() <= 1
