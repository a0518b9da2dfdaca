"""An object store on this very machine, fsspec's memory, and runs that are disturbed."""

import contextlib
import itertools
import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

NUMBERS = itertools.count()
STAGES = Path(__file__).parents[1] / "stages"


@pytest.fixture(scope="session")
def object_store():
    """The URL of a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(object_store, monkeypatch, tmp_path):
    """Point s3:// at a server: the object store, or another, given by its URL."""
    from s3fs import S3FileSystem

    others = []

    def s3(url=object_store):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        if url != object_store:
            others.append(url)
            S3FileSystem.clear_instance_cache()
        fs = S3FileSystem()
        fs.invalidate_cache()
        return fs

    for name in ("PROFILE", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "fake")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield s3
    if others:
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(s3):
    """The name of a new bucket."""
    name = f"bucket-{next(NUMBERS)}"
    s3().mkdir(name)
    return name


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """The file system behind memory://, empty."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fs = MemoryFileSystem()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs


class Nursery:
    """Forks runs of the command from a process that has imported everything; see its own file.

    Where that is allowed, it lives in a name space of its own for mounts, which go with it.

    Attributes:
        can_mount: whether it does; otherwise, a text that says why not.
    """

    def __init__(self, site, folder):
        self.site, self.folder = site, folder
        apart = ["unshare", *(["--user", "--map-root-user"] if os.getuid() else []), "--mount"]
        try:
            trial = "mount -t tmpfs none /mnt"
            done = subprocess.run(
                [*apart, "sh", "-c", trial], capture_output=True, text=True, check=False
            )
            self.can_mount = True if done.returncode == 0 else done.stderr.strip()
        except FileNotFoundError as error:
            self.can_mount = str(error)
        self._process = subprocess.Popen(
            [*(apart if self.can_mount is True else ()), sys.executable, STAGES / "nursery.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def close(self):
        self._process.communicate(timeout=30)

    def shell(self, command):
        """Run a shell command where the mounts are."""
        self._ask({"shell": command})
        assert self._answer() == 0, command

    def start(self, *arguments, **environment):
        return Disturbed(self, [str(each) for each in arguments], environment)

    @staticmethod
    def outputs(out):
        """Return the bytes of every file in an output folder but the record and the store."""
        return {
            str(path.relative_to(out)): path.read_bytes()
            for path in out.rglob("*")
            if path.is_file() and path.name != "run.json" and ".alignimation" not in path.parts
        }

    @staticmethod
    def record(out, *without):
        """Return a run record without its folder, its times, and other keys of its recipe."""
        written = json.loads((out / "run.json").read_text())
        del written["seconds"]
        for key in ("output", *without):
            del written["recipe"][key]
        return written

    def _ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()

    def _answer(self):
        return int(self._process.stdout.readline())


class Disturbed:
    """One run of the command, in a process of its own.

    Attributes:
        status: its exit status, negative for a signal; once ``wait`` has returned.
    """

    def __init__(self, nursery, arguments, environment):
        self._nursery, self.status = nursery, None
        said = nursery.folder / f"run-{next(NUMBERS)}"
        self._out, self._err, self._events = (
            said.with_name(f"{said.name}.{end}") for end in ("out", "err", "events")
        )
        self._events.touch()
        settings = {"EVENTS": str(self._events), "COLUMNS": "100", **environment}
        nursery._ask(
            {
                "arguments": arguments,
                "site": str(nursery.site),
                "said": str(said),
                "environment": settings,
            }
        )
        self._pid = nursery._answer()

    @property
    def events(self):
        """What the stages said so far: lines ``word item``."""
        return self._events.read_text().splitlines()

    def stop(self, count, after, how=signal.SIGKILL):
        """Send a signal some seconds after so many events; nothing where the run ends before."""
        deadline = time.monotonic() + 60
        while len(self.events) < count:
            if not self._running() or time.monotonic() > deadline:
                break
            time.sleep(0.001)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, how)
        return self.wait()

    def _running(self):
        """Return whether it still runs: one that has ended, and was waited for, has no folder."""
        return Path(f"/proc/{self._pid}").exists()

    def wait(self):
        self.status = self._nursery._answer()
        return self

    @property
    def lines(self):
        """What it said on stderr."""
        return self._err.read_text().splitlines()


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    """Where runs of slow stages are started, whose processes may be killed at any moment."""
    if not Path("/proc/self").exists():
        pytest.skip("runs are forked and watched by the means of Linux")
    folder = tmp_path_factory.mktemp("nursery")
    site = folder / "site"
    site.mkdir()
    for name in ("discs", "slow"):
        module = f"alignimation_{name}"
        shutil.copy(STAGES / f"{name}.py", site / f"{module}.py")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: alignimation-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[alignimation]\n{module} = {module}\n")
    nursery = Nursery(site, folder)
    yield nursery
    nursery.close()


@pytest.fixture(scope="session")
def slow_recipe(tmp_path_factory, discs):
    """A recipe of slow stages over 40 photos; its outputs are a.mp4, f/ and frames.npy."""
    folder = tmp_path_factory.mktemp("slow")
    generator = np.random.default_rng(1)
    warps = [
        discs.placed(32 + x, 24 + y, math.radians(turn), 1 + size / 20)
        for x, y, turn, size in generator.uniform(-2, 2, (40, 4))
    ]
    discs.series(folder / "photos", warps)
    data = {
        "photos": "photos/",
        "detector": "slow-blobs",
        "embedder": "slow-colours",
        "subject_selector": "first",
        "target_builder": "slow-points",
        "transform_model": "slow-closed-form",
        "canvas": {"size": "64x48"},
        "executor": {"workers": 2},
        "report": False,
        "renderers": [
            {"use": "video", "path": "a.mp4"},
            {"use": "frames", "path": "f"},
            "slow-array",
        ],
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path
