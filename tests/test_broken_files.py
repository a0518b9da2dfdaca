"""A folder of broken and malicious files, which lies beside the repository, or not."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

PLACES = (parent / "shared" / "data" / "broken" for parent in Path(__file__).parents[2:])
BROKEN = next(filter(Path.exists, PLACES), None)

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
    assert all(photo["reason"] for photo in record["photos"] if photo["status"] != "used")
    *_, peak = done.stderr.splitlines()
    assert int(peak) < 1_500_000  # kB
