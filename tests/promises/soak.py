"""Real runs that are killed, damaged, starved of room and started in pairs, at random moments.

    python tests/promises/soak.py --minutes 3

Each run is a process that is forked from this one. After each, and after the run that goes on with
it: no file of the user's is touched, whatever stands under a final name is the whole output of a
run, nothing is a traceback, and in the end all is as without the disturbance, byte for byte. The
exit status is 1, and what happened is printed, where that does not hold.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml

STAGES = Path(__file__).parents[1] / "stages"
sys.path.insert(0, str(STAGES))

import nursery  # noqa: E402

from alignimation_core.cli import main as main_of_run  # noqa: E402
from alignimation_core.cli.process import STOPS, end_with  # noqa: E402

MINE = {
    "notes.txt": b"mine",
    ".f.part": b"mine",
    ".a.mp4.part-x": b"mine",
    "frames/0001.png": b"mine",
    "photos.npy": b"",
}
"""What the user keeps in the output folder."""
CANVASES = ("64x48", "96x72")
PHOTOS = 10
RECIPE = {
    "photos": "photos/",
    "detector": "blobs",
    "subject_selector": "first",
    "target_builder": "points",
    "transform_model": "closed-form",
    "executor": {"workers": 2},
    "report": False,
    "renderers": [
        {"use": "video", "path": "a.mp4"},
        {"use": "frames", "path": "f"},
        {"use": "array", "path": "frames.npy"},
    ],
}
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup ignores
SIGNALS = [*[signal.SIGKILL] * 7, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
APART = "SOAK_APART"
PATIENCE = 120.0
"""Seconds after which a run hangs."""


class BrokenError(Exception):
    def __init__(self, promise, what):
        self.promise = promise
        super().__init__(what)


class Run:
    """A run of the command, in a process of its own."""

    def __init__(self, soak, out, canvas, room=None):
        self.status = None
        self.said = soak.folder / f"said-{next(soak.numbers)}"
        Path(f"{self.said}.err").touch()
        settings = [f"output={out}", f"canvas.size={canvas}"]
        request = {
            "arguments": [str(soak.recipe), *(x for each in settings for x in ("--set", each))],
            "site": str(soak.site),
            "said": str(self.said),
            "environment": {"COLUMNS": "100"},
        }
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until it is a command that hears them
        self.pid = os.fork()
        if not self.pid:
            if room is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            nursery.command = lambda: end_with(heard_main)
            nursery.be_a_run(request)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def send(self, how):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)

    def wait(self):
        deadline = time.monotonic() + PATIENCE
        while not (found := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                self.send(signal.SIGKILL)
                raise BrokenError("hung", f"no end after {PATIENCE:.0f} s: {self.lines}")
            time.sleep(0.001)
        self.status = os.waitstatus_to_exitcode(found[1])
        if [line for line in self.lines if "Traceback" in line]:
            raise BrokenError("traceback", "\n".join(self.lines))
        return self

    @property
    def lines(self):
        return Path(f"{self.said}.err").read_text().splitlines()

    def check(self, *statuses):
        if self.status not in statuses:
            raise BrokenError("exit status", f"{self.status}: {self.lines}")


def heard_main():
    """Do the command's work, which from now on hears what is sent to it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return main_of_run()


def put_mine(out):
    for name, content in MINE.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)


def contents(folder):
    """Return the bytes of every file, but of the record and the store."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "run.json" and ".alignimation" not in path.parts
    }


def left(folder):
    """Name what runs have left half-written, also in the hidden folder."""
    found = {*folder.rglob("*.part*"), *folder.rglob(".alignimation/outputs-*")}
    return {str(path.relative_to(folder)) for path in found} - MINE.keys()


def record(folder):
    """Return what the run record says, but where and how long."""
    written = json.loads((folder / "run.json").read_text())
    del written["seconds"], written["recipe"]["output"]
    return written


class Soak:
    """Trials in a folder."""

    def __init__(self, folder, seed):
        self.folder, self.seed = folder, seed
        self.numbers = iter(range(10**9))
        self.counts, self.broken = Counter(), Counter()
        self.site, self.recipe = folder / "site", folder / "recipe.yaml"
        self._install()
        self.whole, self.records = {}, {}
        for canvas in CANVASES:
            begun = time.monotonic()
            out = folder / f"whole-{canvas}"
            Run(self, out, canvas).wait().check(0)
            self.seconds = time.monotonic() - begun
            self.whole[canvas], self.records[canvas] = contents(out), record(out)
        self.size = sum(map(len, self.whole[CANVASES[0]].values()))

    def _install(self):
        self.site.mkdir()
        shutil.copy(STAGES / "discs.py", self.site / "alignimation_discs.py")
        info = self.site / "alignimation_discs-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: alignimation-discs\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text("[alignimation]\ndiscs = alignimation_discs\n")
        sys.path.insert(0, str(self.site))
        import alignimation_discs as discs

        from alignimation_core.plugin.registry import registry

        registry()
        places = np.random.default_rng(1).uniform(-2, 2, (PHOTOS, 4))
        warps = [
            discs.placed(32 + x, 24 + y, turn / 60, 1 + size / 20) for x, y, turn, size in places
        ]
        discs.series(self.folder / "photos", warps)
        self.recipe.write_text(yaml.safe_dump(RECIPE, sort_keys=False))

    def trial(self, verb):
        """Do a trial in a new output folder; note what does not hold."""
        number = next(self.numbers)
        chance = random.Random(f"{self.seed} {number}")
        out = self.folder / f"out-{number}"
        try:
            verb(chance, out)
        except BrokenError as error:
            self.broken[error.promise] += 1
            print(f"BROKEN {error.promise}: {verb.__name__} {number}: {error}", flush=True)
        finally:
            shutil.rmtree(out, ignore_errors=True)
            for said in self.folder.glob("said-*"):
                said.unlink()

    def check_mine(self, out):
        for name, content in MINE.items():
            path = out / name
            if not path.is_file() or path.read_bytes() != content:
                raise BrokenError("a file of the user's is touched", name)

    def check_whole(self, out):
        """Whatever stands under a final name is the whole output of some run."""
        self.check_mine(out)
        for name, content in contents(out).items():
            hidden = any(part.startswith(".") for part in Path(name).parts)
            wholes = [whole.get(name) for whole in self.whole.values()]
            if not hidden and name not in MINE and content not in wholes:
                raise BrokenError("half an output", name)

    def check_nothing_left(self, out, how, before=frozenset()):
        """Nothing half-written stays, also in the hidden folder, but what was there before."""
        if parts := left(out) - before:
            raise BrokenError("half-written files stay", f"{how}: {sorted(parts)}")

    def check_as_undisturbed(self, out, canvas):
        self.check_mine(out)
        self.check_nothing_left(out, "undisturbed")
        found, expected = contents(out), self.whole[canvas] | MINE
        if found != expected:
            differing = {name for name, _ in found.items() ^ expected.items()}
            raise BrokenError("wrong result", f"{canvas}: {sorted(differing)[:9]}")
        written, right = record(out), self.records[canvas]
        if wrong := {key: written.get(key) for key in right if written.get(key) != right[key]}:
            raise BrokenError("wrong record", json.dumps(wrong)[:2000])

    def kills(self, chance, out):
        """Runs are stopped in any way, one after another, and then gone on with."""
        put_mine(out)
        if chance.random() < 0.5:  # with outputs of an earlier run, to be replaced
            Run(self, out, CANVASES[1]).wait().check(0)
        for _ in range(5):
            how = chance.choice(SIGNALS)
            before = left(out)  # of runs that were killed
            run = Run(self, out, CANVASES[0])
            time.sleep(chance.uniform(0, 1.1 * self.seconds))
            run.send(how)
            run.wait().check(0, -signal.SIGKILL if how == signal.SIGKILL else 130)
            if run.status:
                self.counts["kills"] += 1
                self.counts[how.name] += 1
            self.check_whole(out)
            if run.status != -signal.SIGKILL:
                self.check_nothing_left(out, how.name, before)
        Run(self, out, CANVASES[0]).wait().check(0)
        self.check_as_undisturbed(out, CANVASES[0])

    def damages(self, chance, out):
        """A store is damaged between two runs."""
        shutil.copytree(self.folder / f"whole-{CANVASES[0]}", out)
        put_mine(out)
        store = out / ".alignimation" / "store.sqlite3"
        content = bytearray(store.read_bytes())
        how = chance.choice(["bytes", "bytes", "cut", "block", "empty"])
        if how == "bytes":
            for place in chance.sample(range(len(content)), 20):
                content[place] ^= chance.randrange(1, 256)
        elif how == "block":
            start = chance.randrange(len(content))
            content[start : start + 4096] = chance.randbytes(4096)
        else:
            del content[chance.randrange(len(content)) if how == "cut" else 0 :]
        store.write_bytes(content)
        for _ in range(2):
            Run(self, out, CANVASES[0]).wait().check(0)
            self.check_as_undisturbed(out, CANVASES[0])
        self.counts["damaged stores"] += 1

    def full_disks(self, chance, out):
        """There is too little room; then there is enough."""
        out.mkdir()
        on_disk = os.environ[APART] == "1" and chance.random() < 0.7
        room = int(chance.uniform(0.02, 1.2) * (3 * self.size if on_disk else self.size / 2))
        if on_disk:
            mine = 4 * (len(MINE) + 3)
            mount(f"-t tmpfs -o size={mine + room // 1024}k none {out}")
        try:
            put_mine(out)
            run = Run(self, out, CANVASES[0], None if on_disk else max(room, 8192)).wait()
            run.check(0, 1)
            self.check_whole(out)
            self.check_nothing_left(out, "no room")
            if run.status:
                self.counts["full disks" if on_disk else "files that may not grow"] += 1
            if on_disk:
                mount(f"-o remount,size=64m {out}")
            Run(self, out, CANVASES[0]).wait().check(0)
            self.check_as_undisturbed(out, CANVASES[0])
        finally:
            if on_disk:
                subprocess.run(["umount", str(out)], check=True)

    def pairs(self, chance, out):
        """Two runs at once in one folder: the outputs and the record are of one of them."""
        put_mine(out)
        canvases = CANVASES[0], chance.choice(CANVASES)
        first = Run(self, out, canvases[0])
        time.sleep(chance.uniform(0, self.seconds))
        second = Run(self, out, canvases[1])
        for run in (first, second):
            run.wait().check(0, 1)
        self.counts["pairs"] += 1
        if first.status and second.status:
            raise BrokenError("exit status", f"both failed: {first.lines} {second.lines}")
        size = record(out)["canvas"]
        self.check_as_undisturbed(out, f"{size['width']}x{size['height']}")


def mount(how):
    subprocess.run(["mount", *how.split()], check=True)


def go_apart():
    """Go on in a name space of mounts of our own, which go with it, where that is allowed."""
    if APART in os.environ:
        return
    apart = ["unshare", *(["--user", "--map-root-user"] if os.getuid() else []), "--mount"]
    trial = subprocess.run(
        [*apart, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    os.environ[APART] = "1" if trial.returncode == 0 else "0"
    if trial.returncode == 0:
        os.execvp("unshare", [*apart, sys.executable, *sys.argv])
    print(f"no disk can be mounted here: {trial.stderr.decode().strip()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    go_apart()
    nursery.prepare()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder).resolve(), given.seed)
        print(f"seed {given.seed}; a run takes {soak.seconds:.2f} s", flush=True)
        begun = time.monotonic()
        verbs = [soak.kills] * 2 + [soak.damages] * 4 + [soak.full_disks] * 2 + [soak.pairs]
        while time.monotonic() < begun + 60 * given.minutes:
            for verb in verbs:
                soak.trial(verb)
            print(f"{(time.monotonic() - begun) / 60:.1f} min: {dict(soak.counts)}", flush=True)
        for what, count in (*soak.counts.items(), *soak.broken.items()):
            print(f"{count:6} {what}{' BROKEN' * (what in soak.broken)}")
        print(f"{sum(soak.broken.values()):6} promises broken")
    sys.exit(bool(soak.broken))


if __name__ == "__main__":
    main()
