"""Runs over four small photos that are struck at any step, and what then stands on the disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

STAGES = Path(__file__).parents[1] / "stages"
RECIPE = {
    "photos": "photos/",
    "detector": "blobs",
    "subject_selector": "first",
    "target_builder": "points",
    "transform_model": "closed-form",
    "canvas": {"size": "64x48"},
    "report": False,
    "to": "2020-01-03",
    "renderers": [
        {"use": "gif", "path": "a.gif"},
        {"use": "frames", "path": "frames"},
        {"use": "gif", "path": "sub/b.gif", "width": 32},
    ],
}


class Runs:
    """Runs the recipe in forked processes; see ``tests/stages/crash.py``.

    Attributes:
        can_mount: whether disks can be mounted where the runs are; otherwise, why not.
    """

    def __init__(self, site, recipe):
        self.site, self.recipe = site, recipe
        apart = ["unshare", *(["--user", "--map-root-user"] if os.getuid() else []), "--mount"]
        trial = [*apart, "sh", "-c", "mount -t tmpfs none /mnt"]
        try:
            done = subprocess.run(trial, capture_output=True, text=True, check=False)
            self.can_mount = True if done.returncode == 0 else done.stderr.strip()
        except FileNotFoundError as error:
            self.can_mount = str(error)
        self._process = subprocess.Popen(
            [
                *(apart if self.can_mount is True else ()),
                *(sys.executable, STAGES / "crash.py", site, recipe, recipe.with_name("out")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def close(self):
        self._process.communicate(timeout=30)

    def go(self, out, *settings, at=None, how="kill"):
        """Run the recipe into a folder, struck at a step; return status, texts and steps."""
        return self._ask({"settings": [f"output={out}", *settings], "at": at, "how": how})

    def shell(self, command):
        """Run a shell command where the mounts are."""
        assert self._ask({"shell": command}) == 0, command

    def _ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="session")
def runs(tmp_path_factory, discs):
    """What runs a recipe of three renderers over four photos."""
    if os.name != "posix":
        pytest.skip("runs are forked, and killed by signals")
    folder = tmp_path_factory.mktemp("runs")
    site = folder / "site"
    site.mkdir()
    shutil.copy(STAGES / "discs.py", site / "alignimation_discs.py")
    info = site / "alignimation_discs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: alignimation-discs\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text("[alignimation]\nalignimation_discs=alignimation_discs")
    discs.series(folder / "photos", discs.WARPS)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    runs = Runs(site, folder / "recipe.yaml")
    yield runs
    runs.close()


def contents(out):
    """Return the bytes of every file but those of the hidden folder and the run record."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "run.json" and ".alignimation" not in path.parts
    }


def record(out):
    """Return the run record without its times and its folder; None where there is none."""
    if not (out / "run.json").exists():
        return None
    found = json.loads((out / "run.json").read_text())
    del found["seconds"], found["recipe"]["output"]
    return found


@pytest.fixture(scope="session")
def whole(runs, tmp_path_factory):
    """Return what a run that nothing happens to leaves: files and record, by settings."""
    known = {}

    def whole(*settings):
        if settings not in known:
            out = tmp_path_factory.mktemp("whole")
            answer = runs.go(out, *settings)
            assert answer["status"] == 0, answer
            known[settings] = contents(out), record(out), answer["steps"]
        return known[settings]

    return whole


@pytest.fixture(scope="session")
def disk():
    """Functions that tell what stands in an output folder."""
    return contents, record
