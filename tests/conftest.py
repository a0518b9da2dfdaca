"""Plugins and photos that the tests make for themselves."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from alignimation_core import Recipe
from alignimation_core.plugin.registry import registry
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import CanvasOptions

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script runs it by `&`
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores, and so would all commands


class Listener(Progress):
    """Keeps the notes of a run."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


MAIN = "from alignimation_core.cli import command; command()"
EXAMPLES = Path(__file__).parents[1] / "examples" / "plugins"
STAGES = Path(__file__).with_name("stages") / "discs.py"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed distributions, found by this process while the test runs."""
    folder = tmp_path / "site"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    registry.cache_clear()
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    registry.cache_clear()


@pytest.fixture
def install(site):
    """Install a distribution of one module, as pip would leave it, with one entry point."""

    def install(
        distribution, code, *, module=None, point=None, version="1.0", points=None, requires=""
    ):
        module = module or distribution.replace("-", "_")
        (site / f"{module}.py").write_text(code, encoding="utf-8")
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{requires}"
        )
        lines = points or [f"{point or module} = {module}"]
        (info / "entry_points.txt").write_text("[alignimation]\n" + "\n".join(lines) + "\n")
        importlib.invalidate_caches()
        registry.cache_clear()

    return install


@pytest.fixture(scope="session")
def pip_installed(tmp_path_factory):
    """Install an example plugin with pip, from its source and offline; return the folder."""
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]

    def pip_installed(plugin):
        folder = tmp_path_factory.mktemp("site")
        source = tmp_path_factory.mktemp("source") / plugin
        shutil.copytree(EXAMPLES / plugin, source)
        pip = [sys.executable, "-m", "pip", "install", *options, "--no-index"]
        done = subprocess.run(
            [*pip, "--target", str(folder), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return folder

    return pip_installed


@pytest.fixture(scope="session")
def discs():
    """The module of small stages that find and align photos of three coloured blobs."""
    name = "alignimation_discs"
    spec = importlib.util.spec_from_file_location(name, STAGES)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def discs_recipe(tmp_path, discs):
    """Make a recipe of those stages for ``photos/`` in the test's folder, with changes."""

    def discs_recipe(**changes):
        return Recipe(
            **{
                "photos": ["photos/"],
                "output": "out",
                "detector": discs.Blobs(),
                "subject_selector": discs.First(),
                "target_builder": discs.Points(),
                "transform_model": discs.ClosedForm(),
                "renderers": [discs.Array()],
                "canvas": CanvasOptions(size="64x48"),
                "report": False,
                "score": False,
                "folder": tmp_path,
                **changes,
            }
        )

    return discs_recipe


@pytest.fixture(scope="session")
def listener():
    """Make a progress that keeps the notes of a run."""
    return Listener


@pytest.fixture(scope="session")
def left():
    """Name what runs have left half-written in an output folder, also in its hidden one."""

    def left(out):
        found = {*out.rglob("*.part*"), *out.rglob(".alignimation/outputs-*")}
        return {path.relative_to(out).as_posix() for path in found}

    return left


@pytest.fixture
def discs_installed(install):
    """The same stages as an installed plugin, for the command and for recipes."""
    install("alignimation-discs", STAGES.read_text(encoding="utf-8"), module="alignimation_discs")


@pytest.fixture
def command(site):
    """Run the command in a process of its own, which sees the installed distributions."""

    def command(*arguments, main=MAIN, **options):
        return subprocess.run(
            [sys.executable, "-c", main, *map(str, arguments)],
            capture_output=True,
            check=False,
            text=True,
            env=environment(site),
            timeout=120,
            **options,
        )

    return command


def environment(site):
    return os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
