"""The example plugins, installed as a user installs them, pass their own tests by the kit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[1] / "examples" / "plugins"


def test_every_example_plugin_has_tests():
    for folder in PLUGINS.iterdir():
        assert list(folder.glob("tests/test_*.py")), folder.name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alignimation-dlib", "alignimation-immich"])
def test_the_example_plugin_passes_its_own_tests(name, tmp_path):
    source = tmp_path / name
    shutil.copytree(PLUGINS / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--no-build-isolation", "--no-index", "--target", "site", str(source)]
    done = subprocess.run(pip, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "no entry point" not in done.stdout
