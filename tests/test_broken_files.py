"""A folder of broken and malicious files, which lies beside the repository, or not."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

PLACES = (parent / "shared" / "data" / "broken" for parent in Path(__file__).parents[2:])
BROKEN = next(filter(Path.exists, PLACES), None)

DAMAGED = "the {} is damaged and cannot be decoded; replace or remove it"
BEYOND = "this is a broken {}, of which nothing can be read; replace or remove it"
ODD = "this TIFF is broken, or of a kind that is not read; export it as JPEG, or remove it"
LOST = {
    "crash-0c7e0e8e11ce787078f00b5b0ca409a167f070e0.tif": DAMAGED.format("TIFF"),
    "crash-0e16d3bfb83be87356d026d66919deaefca44dac.tif": DAMAGED.format("TIFF"),
    "crash-4f085cc12ece8cde18758d42608bed6a2a2cfb1c.tif": DAMAGED.format("TIFF"),
    "crash-338516dbd2f0e83caddb8ce256c22db3bd6dc40f.tif": DAMAGED.format("TIFF"),
    "crash-1185209cf7655b5aed8ae5e77784dfdd18ab59e9.tif": DAMAGED.format("TIFF"),
    "syntax_num_frames_zero.png": DAMAGED.format("PNG"),
    "badbitcount.bmp": DAMAGED.format("BMP"),
    "oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": ODD,
    "tiff_overflow_rows_per_strip.tif": ODD,
    "unbound_variable.jp2": BEYOND.format("JPEG 2000"),
    "broken.png": BEYOND.format("PNG"),
    "zero_height.j2k": BEYOND.format("JPEG 2000"),
    "ultrahdr.jpg": (
        "the end of the file is missing, and with it a part of the subject; replace or remove it"
    ),
}
"""What becomes of the files that cannot be used; in all others a detector looks."""

MEASURED = """
import re, sys
from pathlib import Path
from alignimation_core.cli import main
status = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(peak[1], file=sys.stderr)
sys.exit(status)
"""


@pytest.mark.skipif(BROKEN is None, reason="needs ../shared/data/broken")
def test_broken_files_cost_no_good_photo(tmp_path, discs, discs_installed, command):
    discs.series(tmp_path / "photos", discs.WARPS[:5])
    good = {f"photos/{path.name}" for path in (tmp_path / "photos").iterdir()}
    shutil.copytree(BROKEN, tmp_path / "photos" / "broken")
    recipe = {
        "photos": "photos/",
        "detector": "blobs",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "canvas": {"size": "64x48"},
        "renderers": ["array"],
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = command(tmp_path / "recipe.yaml", main=MEASURED)
    assert done.returncode == 0, done.stderr
    assert "samples per pixel" not in done.stderr
    record = json.loads(next(tmp_path.rglob("run.json")).read_text())
    status = {photo["path"]: photo["status"] for photo in record["photos"]}
    assert all(status[name] == "used" for name in good)
    reasons = {photo["path"].split("/")[-1]: photo["reason"] for photo in record["photos"]}
    lost = {name: reason for name, reason in reasons.items() if name in LOST}
    assert lost == LOST
    seen = reasons.keys() - LOST.keys()
    assert {reasons[name] for name in seen} == {None, "nothing here: 0 blobs"}
    assert all(photo["reason"] for photo in record["photos"] if photo["status"] != "used")
    *_, peak = done.stderr.splitlines()
    assert int(peak) < 1_500_000  # kB
