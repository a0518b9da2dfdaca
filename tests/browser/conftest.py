"""Chromium on a page, with ears for what must not happen; and reviews that are under way."""

import base64
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alignimation_core.plugin.registry import registry

ROOT = Path(__file__).parents[2]
AXE = "https://registry.npmjs.org/axe-core/-/axe-core-4.14.1.tgz"
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
VERB = "from alignimation_core.cli.verbs import command; command()"
NASTY = "<script>alert(1)<!-- \"'&\n\U0001f600.png"


@pytest.fixture(scope="session")
def chromium():
    """The browser."""
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: .[dev] brings it")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def until():
    """Wait until a function returns something true; return that."""

    def until(verb, seconds=30):
        deadline = time.monotonic() + seconds
        while not (found := verb()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return found

    return until


@pytest.fixture
def visit(chromium):
    """Open an address in a page of its own, of some size and scheme.

    In the end it must have logged no error, opened no dialog and asked no other host.
    """
    pages, wrong = [], []

    def visit(address, width=1280, height=800, scheme="light", allowed=()):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        page = context.new_page()
        pages.append(context)
        host = address[: address.index("/", 8)] if address.startswith("http") else "file://"

        def asked(request):
            if not request.url.startswith((host, "data:", "blob:")):
                wrong.append(f"asked {request.url}")

        def logged(message):
            text = f"{message.text} {message.location.get('url', '')}"
            if message.type in ("error", "warning") and not any(each in text for each in allowed):
                wrong.append(f"console: {text}")

        def opened(dialog):
            wrong.append(f"dialog {dialog.message}")
            dialog.dismiss()

        page.on("request", asked)
        page.on("console", logged)
        page.on("pageerror", lambda error: wrong.append(f"error {error}"))
        page.on("dialog", opened)
        page.set_default_timeout(20_000)
        page.goto(address)
        page.wait_for_load_state("networkidle")
        return page

    yield visit
    for context in pages:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def axe():
    """The rules of axe-core for accessibility: what they find wrong with a page as it stands."""
    try:
        with urllib.request.urlopen(AXE, timeout=30) as answer:
            packed = answer.read()
    except OSError as error:
        pytest.skip(f"axe-core cannot be had from the npm registry: {error}")
    assert base64.b64encode(hashlib.sha512(packed).digest()).decode() == AXE_SHA512
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        source = archive.extractfile("package/axe.min.js").read().decode()

    def axe(page):
        page.evaluate(source)
        found = page.evaluate("async () => (await axe.run()).violations")
        return [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            for node in each["nodes"]
        ]

    return axe


@pytest.fixture
def fits():
    """Say what of a page lies beyond its sides."""

    def fits(page):
        return page.evaluate(
            """() => [...document.querySelectorAll('body *')].filter((each) => {
                 const {left, right, width, height} = each.getBoundingClientRect();
                 return width && height && (left < -1 || right > innerWidth + 1)
                   && !each.closest('.scroll, .said, svg');
               }).map((each) => each.outerHTML.slice(0, 90))
               .concat(document.documentElement.scrollWidth > innerWidth ? ['scrolls'] : [])"""
        )

    return fits


class Review:
    """A review under way.

    Attributes:
        address: of its page.
        folder: of its recipe.
    """

    def __init__(self, recipe, environment):
        self.folder = recipe.parent
        self._process = subprocess.Popen(
            [sys.executable, "-c", VERB, "review", recipe, "--no-browser"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.address = self._process.stdout.readline().strip()
        assert self.address.startswith("http://127.0.0.1:"), self._process.stderr.read()

    def interrupt(self):
        """Press Ctrl-C; return the exit status and what was said."""
        self._process.send_signal(signal.SIGINT)
        said = self._process.communicate(timeout=60)[1]
        return self._process.returncode, said

    def end(self):
        if self._process.poll() is None:
            self.interrupt()

    def record(self, name="run.json"):
        return json.loads((self.folder / "out" / name).read_text(encoding="utf-8"))

    def photo(self, name):
        (found,) = [each for each in self.record()["photos"] if each["path"].endswith(name)]
        return found


@pytest.fixture
def review(site):
    """Review a recipe that was run; ``site`` has the installed plugins."""
    reviews = []

    def review(recipe, **environment):
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        settings = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
        reviews.append(Review(recipe, os.environ | settings))
        return reviews[-1]

    yield review
    for each in reviews:
        each.end()


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory):
    """The quickstart, after its run: the folder of its recipe, to be copied."""
    if "dlib" not in registry().stages["embedder"]:
        pytest.skip("needs alignimation-dlib: pip install examples/plugins/alignimation-dlib")
    folder = tmp_path_factory.mktemp("quickstart")
    shutil.copytree(ROOT / "examples" / "quickstart" / "photos", folder / "photos")
    text = (ROOT / "examples" / "quickstart" / "recipe.yaml").read_text()
    text = text.replace("720x720", "240x240").replace("width: 360", "width: 120")
    (folder / "recipe.yaml").write_text(text)
    run_command(folder / "recipe.yaml", os.environ)
    return folder


@pytest.fixture
def own_quickstart(quickstart, tmp_path):
    """A copy of it, of which anything may become; its recipe."""
    shutil.copytree(quickstart, tmp_path / "quickstart")
    return tmp_path / "quickstart" / "recipe.yaml"


@pytest.fixture
def discs_run(discs, discs_installed, site, tmp_path):
    """The recipe of a run over four photos of blobs, one of which tries to be a script."""
    names = discs.series(tmp_path / "photos", discs.WARPS)
    (tmp_path / "photos" / names[1]).rename(tmp_path / "photos" / NASTY)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "photos" / "empty.png")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: photos/\ndetector: blobs\nsubject_selector: first\ntarget_builder: points\n"
        "transform_model: closed-form\ncanvas: {size: 64x48}\nscore: false\n"
        "renderers: [{use: gif, path: a b.gif}]\n"
    )
    run_command(path, os.environ | {"PYTHONPATH": str(site)})
    return path


@pytest.fixture
def slow_run(discs_run, install, tmp_path):
    """The same recipe, which has slow stages now; and the file of what they do."""
    code = (ROOT / "tests" / "stages" / "slow.py").read_text(encoding="utf-8")
    install("alignimation-slow", code, module="alignimation_slow")
    discs_run.write_text(discs_run.read_text().replace("detector: blobs", "detector: slow-blobs"))
    events = tmp_path / "events"
    events.touch()
    return discs_run, events


def run_command(recipe, environment):
    code = "from alignimation_core.cli import command; command()"
    subprocess.run(
        [sys.executable, "-c", code, recipe], check=True, capture_output=True, env=environment
    )
