import json
import os
import pickle
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
import yaml

from alignimation_core import Detections, Mask, OutputError, Recipe, RecipeError, run
from alignimation_core.api.data import Damage
from alignimation_core.photos import decoder
from alignimation_core.store import database
from alignimation_core.store.database import Database
from alignimation_core.store.fits import Fit, TargetSummary
from alignimation_core.store.store import KEPT_RUNS, Facts, Known, Store
from alignimation_core.summary import projection

ROOT = Path(__file__).parents[3]

CODE = """
import os, time
from pathlib import Path
from typing import ClassVar
import torch
from alignimation_core import Embedder, hookimpl
from alignimation_discs import Blobs

ROOM = Path(__file__).parent

def say(word, count):
    with (ROOM / "calls").open("a") as file:
        file.write(f"{word} {count}\\n")

class Counted(Blobs):
    '''The same, counted.'''
    name: ClassVar[str] = "counted"
    def detect(self, images):
        say("detect", len(images))
        time.sleep(float(os.environ.get("SLOW", 0)))
        if (ROOM / "broken").exists():
            raise RuntimeError("out of luck")
        return super().detect(images)

class Colours(Embedder):
    '''The mean colour.'''
    name: ClassVar[str] = "colours"
    same_above: ClassVar[float] = 0.5
    def embed(self, images, detections):
        say("embed", len(images))
        return [
            torch.nn.functional.normalize(image.float().mean((1, 2)).repeat(len(seen), 1))
            for image, seen in zip(images, detections)
        ]

@hookimpl
def alignimation_detectors():
    return [Counted]

@hookimpl
def alignimation_embedders():
    return [Colours]
"""

WEIGHED = """
from pathlib import Path
from typing import ClassVar
from alignimation_core import hookimpl
from alignimation_core.api.stages import RecipePath
from alignimation_core.api.weights import Weights
from counted import Colours, Counted

ROOM = Path(__file__).parent

class Reads:
    def weights_needed(self):
        digest = (ROOM / "published").read_text()
        own = ROOM / "own"
        local = Path(own.read_text()) if own.exists() else None
        return ((Weights("net.pt", "https://localhost/net.pt", digest, None, "none"), local),)

class Detects(Reads, Counted):
    \'\'\'Reads files.\'\'\'
    name: ClassVar[str] = "weighed"
    file: RecipePath | None = None
    files: list[RecipePath] = []
    named: dict[str, RecipePath] = {}

class Embeds(Reads, Colours):
    \'\'\'Reads files.\'\'\'
    name: ClassVar[str] = "weighed"
    file: RecipePath | None = None
    files: list[RecipePath] = []
    named: dict[str, RecipePath] = {}

@hookimpl
def alignimation_detectors():
    return [Detects]

@hookimpl
def alignimation_embedders():
    return [Embeds]
"""


@pytest.fixture
def data(tmp_path, discs, discs_installed, install):
    """A recipe of a counted detector and embedder, over twenty photos."""
    install("counted", CODE)
    generator = np.random.default_rng(1)
    warps = [
        discs.placed(32 + x, 24 + y, turn / 10, 1 + size / 10)
        for x, y, turn, size in generator.uniform(-2, 2, (20, 4))
    ]
    discs.series(tmp_path / "photos", warps)
    return {
        "photos": "photos/",
        "detector": "counted",
        "embedder": "colours",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "canvas": {"size": "64x48"},
        "report": False,
        "score": False,
        "renderers": [{"use": "array", "path": "frames.npy"}],
    }


@pytest.fixture
def go(tmp_path, data, listener):
    """Run; return the frames, run.json without seconds, and what was said."""

    def go(limit=None, fresh=False, **changes):
        heard = listener()
        record = run(
            Recipe.of(data | changes, folder=tmp_path), limit=limit, fresh=fresh, progress=heard
        )
        return result(record.folder), heard.notes

    return go


def result(folder):
    record = json.loads((folder / "run.json").read_text())
    return (folder / "frames.npy").read_bytes(), record | {"seconds": sorted(record["seconds"])}


@pytest.fixture
def calls(site):
    """Return how many photos the detector and the embedder have been given since last asked."""

    def calls():
        path = site / "calls"
        counts = {"detect": 0, "embed": 0}
        for line in path.read_text().splitlines() if path.exists() else ():
            word, count = line.split()
            counts[word] += int(count)
        path.write_text("")
        return counts["detect"], counts["embed"]

    return calls


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out" / ".alignimation" / "store.sqlite3"


# what is computed once


def test_a_second_run_asks_no_network_and_gives_the_same(go, calls):
    first, notes = go()
    assert calls() == (20, 20)
    assert notes == []
    second, notes = go()
    assert calls() == (0, 0)
    assert notes == ["detecting: 20 of 20 from the store"]
    assert second == first


def test_what_comes_after_the_networks_may_change_without_them_and_without_pixels(
    go, calls, monkeypatch
):
    go()
    calls()
    decoded = []
    read = decoder.read
    monkeypatch.setattr(decoder, "read", lambda *given: decoded.append(given) or read(*given))
    go(
        subject_selector="largest",
        target_builder="gaussian-keypoints",
        transform_model="similarity",
        canvas={"size": "32x32"},
        renderers=["array", {"use": "frames", "path": "f"}],
    )
    assert calls() == (0, 0)
    assert len(decoded) == 20  # the renderers'


def test_refining_asks_the_detector_again(go, calls):
    go()
    calls()
    go(refine={"passes": 1})
    assert calls() == (20, 0)


def test_renamed_copied_and_touched_photos_are_known_and_edited_ones_are_not(
    go, calls, tmp_path, discs
):
    go()
    calls()
    folder = tmp_path / "photos"
    (folder / "2020-01-03.png").rename(folder / "2021-01-03.png")
    shutil.copy(folder / "2020-01-04.png", folder / "2021-01-04.png")
    (folder / "2020-01-05.png").touch()
    discs.paint(folder / "2020-01-06.png", discs.placed(30, 22))
    _, notes = go()
    assert calls() == (1, 1)
    assert notes == ["detecting: 20 of 21 from the store"]


@pytest.mark.parametrize("gone", [["2020-01-01.png"], ["2020-01-01.png", "2022-01-01.png"]])
@pytest.mark.parametrize("detected", [False, True])
def test_a_photo_is_found_by_its_copy_when_its_own_file_goes_away(
    go, calls, tmp_path, monkeypatch, gone, detected
):
    folder = tmp_path / "photos"
    shutil.copy(folder / "2020-01-01.png", folder / "2022-01-01.png")
    if detected:  # then only the embedder is asked
        go(embedder=None)
        calls()
    read = decoder.read

    def vanishing(photo, *given):
        if photo.path.name in gone:
            photo.path.unlink(missing_ok=True)
        return read(photo, *given)

    monkeypatch.setattr(decoder, "read", vanishing)
    (_, record), _ = go()
    lost = [photo for photo in record["photos"] if photo["status"] == "failed"]
    assert [photo["path"] for photo in lost] == [f"photos/{name}" for name in gone]
    assert {(photo["stage"], photo["reason"]) for photo in lost} == {("photos", "the file is gone")}
    assert record["summary"] == {"used": 21 - len(gone), "rejected": 0, "failed": len(gone)}
    asked = 20 if len(gone) < 2 else 19
    assert calls() == (0 if detected else asked, asked)


def test_copies_of_a_photo_are_looked_at_once(go, calls, tmp_path):
    folder = tmp_path / "photos"
    for day in range(10):
        shutil.copy(folder / "2020-01-01.png", folder / f"2022-01-{day + 10}.png")
    (_, record), _ = go()
    assert calls() == (20, 20)
    assert record["summary"]["used"] == 30
    subjects = [photo["subject"] for photo in record["photos"]]
    assert subjects[20:] == [subjects[0]] * 10


def test_options_and_versions_count_and_the_device_does_not(go, calls, install, site):
    go()
    calls()
    go(detector={"use": "counted", "device": "cpu"})
    assert calls() == (0, 0)
    go(detector={"use": "counted", "least": 0.1})
    assert calls() == (20, 20)  # the embedder stands on the detector
    go()
    assert calls() == (0, 0)
    shutil.rmtree(site / "counted-1.0.dist-info")
    install("counted", CODE, version="1.1")
    go()
    assert calls() == (20, 20)


def test_code_that_is_edited_counts_though_its_version_stays(go, calls, install, site):
    go()
    calls()
    shutil.rmtree(site / "counted-1.0.dist-info")
    install("counted", CODE + "# edited\n")
    go()
    assert calls() == (20, 20)


@pytest.fixture
def weighed(install, site):
    """A plugin whose stages read files; its published weights are told of in a file, too."""
    install("weighed", WEIGHED)
    (site / "published").write_text("a" * 64)


@pytest.mark.parametrize("way", ["file", "files", "named", "own", "published"])
def test_new_content_of_a_file_under_the_same_name_counts(
    go, calls, weighed, site, tmp_path, monkeypatch, way
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "net.pt"
    cached.parent.mkdir(parents=True)
    cached.touch()
    file = site / "published" if way == "published" else tmp_path / "mine.pt"
    file.write_text("a" * 64)
    if way == "own":
        (site / "own").write_text(str(file))
    options = {"file": "mine.pt", "files": ["mine.pt"], "named": {"it": "mine.pt"}}
    stage = {"use": "weighed"} | {key: value for key, value in options.items() if key == way}

    def asked(**stages):
        go(limit=4, **stages)
        return calls()

    assert asked() == (4, 4)
    for stages, every in (({"detector": stage}, (4, 4)), ({"embedder": stage}, (0, 4))):
        assert asked(**stages) == every
        file.touch()
        assert asked(**stages) == (0, 0)
        file.write_text("b" * 64)
        assert asked(**stages) == every
        file.write_text("a" * 64)
        assert asked(**stages) == (0, 0)


def test_an_embedder_that_is_added_later_gives_what_it_gives_at_once(go, calls):
    at_once, _ = go(output="other")
    go(embedder=None)
    calls()
    (frames, record), notes = go()
    assert calls() == (0, 20)
    assert notes == []
    assert frames == at_once[0]
    assert record["photos"] == at_once[1]["photos"]


def test_nothing_found_is_stored_and_failures_are_not(go, calls, site, tmp_path):
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "2020-02-01.png")
    (site / "broken").touch()
    with pytest.raises(Exception, match="21 failed: counted: RuntimeError: out of luck"):
        go()
    (site / "broken").unlink()
    calls()
    (_, record), _ = go()
    assert calls() == (21 + 3, 21)  # the empty photo at the other quarter turns, too
    assert record["photos"][20]["status"] == "rejected"
    go()
    assert calls() == (0, 0)


def test_a_trial_run_is_gone_on_with(go, calls):
    go(limit=8)
    assert calls() == (8, 8)
    _, notes = go()
    assert calls() == (12, 12)
    assert notes == ["detecting: 8 of 20 from the store"]


def test_a_trial_run_on_a_half_filled_store_tells_what_the_rest_costs(
    go, calls, data, tmp_path, monkeypatch, listener
):
    go(limit=4)
    calls()
    monkeypatch.setenv("SLOW", "0.4")
    heard = listener()
    record = run(Recipe.of(data, folder=tmp_path), limit=6, progress=heard)
    assert calls() == (2, 2)  # of 20 - 4 that are not stored
    assert heard.notes == ["detecting: 4 of 6 from the store", projection(record, 20, 2, 16)]
    _, notes = go(limit=5)
    assert notes[1].endswith(
        "; without detecting 14 photos, which was not measured: the trial's photos were stored"
    )


def test_fresh_forgets_everything(go, calls, file):
    go()
    go(detector={"use": "counted", "least": 0.1})
    calls()
    _, notes = go(fresh=True)
    assert calls() == (20, 20)
    assert notes == []
    assert counts(file) == {"detections": 20, "embeddings": 20}


def test_stages_that_no_plugin_registers_are_not_stored(data, discs, tmp_path):
    class Own(discs.Blobs):
        pass

    recipe = Recipe(
        photos=["photos/"],
        output="out",
        detector=Own(),
        subject_selector=discs.First(),
        target_builder=discs.Points(),
        transform_model=discs.ClosedForm(),
        renderers=[discs.Array()],
        folder=tmp_path,
    )
    run(recipe)
    assert counts(tmp_path / "out" / ".alignimation" / "store.sqlite3") == {}


def test_real_faces_are_the_same_from_the_store(tmp_path, listener):
    folder = tmp_path / "photos"
    folder.mkdir()
    for photo in sorted((ROOT / "examples" / "quickstart" / "photos").iterdir())[:3]:
        shutil.copy(photo, folder)
    data = {
        "photos": "photos/",
        "detector": "mtcnn",
        "canvas": {"size": "160x160"},
        "report": False,
        "renderers": [{"use": "frames", "path": "f"}],
    }
    results = []
    for _ in range(2):
        heard = listener()
        record = run(Recipe.of(data, folder=tmp_path), progress=heard)
        written = json.loads((record.folder / "run.json").read_text()) | {"seconds": None}
        frames = [path.read_bytes() for path in sorted((record.folder / "f").iterdir())]
        results.append((frames, written))
    assert heard.notes == ["detecting: 3 of 3 from the store"]
    assert len(results[0][0]) == 3
    assert results[0] == results[1]


# kills, and two runs at once


@pytest.fixture
def start(tmp_path, data, site):
    """Start the command in a process of its own."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(data))
    main = "from alignimation_core.cli import command; command()"

    def start(*arguments, slow="0", prelude=""):
        return subprocess.Popen(
            [sys.executable, "-c", prelude + main, str(tmp_path / "recipe.yaml"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "SLOW": slow, "COLUMNS": "200"},
        )

    return start


@pytest.mark.parametrize("batches", [2, 3])
def test_a_killed_run_is_gone_on_with_and_gives_the_same(
    go, calls, start, site, tmp_path, file, batches
):
    undisturbed, _ = go(output="other")
    calls()
    process = start(slow="1")
    deadline = time.monotonic() + 60
    while len((site / "calls").read_text().split("detect")) - 1 <= batches:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    calls()
    (frames, record), notes = go()
    kept = int(re.fullmatch(r"detecting: (\d+) of 20 from the store", *notes)[1])
    assert kept in (4 * batches - 4, 4 * batches)
    assert calls() == (20 - kept, 20 - kept)
    assert frames == undisturbed[0]
    assert record["photos"] == undisturbed[1]["photos"]


def test_two_runs_at_once_share_one_store(go, start, calls, file, tmp_path):
    both = [start("--set", f"renderers[0].path={name}.npy", slow="0.2") for name in "ab"]
    for process in both:
        _, err = process.communicate(timeout=100)
        assert process.returncode == 0, err
    frames = [(tmp_path / "out" / f"{name}.npy").read_bytes() for name in "ab"]
    assert frames[0] == frames[1]
    assert counts(file) == {"detections": 20, "embeddings": 20}
    calls()
    go()
    assert calls() == (0, 0)


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(start, go, calls, file):
    process = start(
        prelude="import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (110_000, 110_000));"
    )
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1, err
    complaints = [line for line in err.splitlines() if line.startswith("alignimation-run: ")]
    assert len(complaints) == 1, err
    assert complaints[0].startswith(f"alignimation-run: {file}: cannot be written (")
    assert complaints[0].endswith(
        "); make room, or set `output` to another place; what is done so far is kept there"
    )
    stored = counts(file)
    assert stored["detections"] >= 8
    calls()
    go()
    embedded = stored.get("embeddings", 0)
    assert embedded < 20
    assert calls() == (20 - stored["detections"], 20 - embedded)


# the file


def query(file, sql):
    db = sqlite3.connect(file)
    try:
        with db:
            return db.execute(sql).fetchall()
    finally:
        db.close()


def counts(file):
    """Return how many detections and embeddings there are."""
    kinds = [kind.split()[0] for (kind,) in query(file, "SELECT kind FROM entries")]
    return {kind: kinds.count(kind) for kind in ("detections", "embeddings") if kind in kinds}


def test_any_sqlite_tool_reads_what_the_documentation_says(go, file):
    (_, record), _ = go()
    sql = re.search("```sql\n(.*?);\n```", (ROOT / "docs" / "store.md").read_text(), re.DOTALL)[1]
    rows = query(file, sql)
    found = {(json.loads(row[0])["name"], row[1].split()[0]): row[1:3] for row in rows}
    detections, photos = found["counted", "detections"]
    assert photos == found["counted", "measures"][1] == found["colours", "embeddings"][1] == 20
    keys = query(file, f"SELECT CAST(key AS TEXT) FROM entries WHERE kind = '{detections}'")
    assert {key for (key,) in keys} == {photo["sha256"] for photo in record["photos"]}
    assert query(file, "PRAGMA user_version") == [(3,)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:9000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xa5" * 30000),
        lambda path: query(path, "DROP TABLE entries"),
        lambda path: query(path, "UPDATE entries SET value = zeroblob(16)"),
        lambda path: query(path, "UPDATE entries SET value = 'text'"),
        lambda path: query(path, "UPDATE entries SET value = CAST(x'ff' AS TEXT)"),
        lambda path: query(path, "UPDATE entries SET value = 1"),
        lambda path: query(path, "UPDATE entries SET used = 'text'"),
        lambda path: path.write_bytes(
            path.read_bytes().replace(b"TABLE entries", b"TABLE \xff\xff\xff")
        ),
        lambda path: path.write_bytes(path.read_bytes()[:18] + b"\x09" + path.read_bytes()[19:]),
    ],
    ids=[
        "foreign",
        "cut",
        "overwritten",
        "table gone",
        "changed",
        "text",
        "no text",
        "numbers",
        "runs are no numbers",
        "schema is no text",
        "header says read-only",
    ],
)
def test_a_damaged_store_is_set_aside_and_made_anew(go, calls, file, damage):
    first, _ = go()
    damage(file)
    calls()
    second, notes = go()
    assert calls() == (20, 20)
    assert second == first
    line = f"{file} is damaged: it is set aside as store.sqlite3.damaged-1, and made anew"
    assert notes == [line]
    assert file.with_name("store.sqlite3.damaged-1").exists()
    go()
    assert calls() == (0, 0)


def test_a_store_of_a_newer_version_is_left_alone(go, file):
    go()
    query(file, "PRAGMA user_version = 4")
    query(file, f"PRAGMA application_id = {0x416C0000 + 4}")
    with pytest.raises(OutputError) as caught:
        go()
    assert str(caught.value) == (
        f"{file}: a newer version of alignimation wrote it; update alignimation, or delete the "
        f"folder {file.parent}, which costs nothing but time"
    )


def test_a_store_that_cannot_be_written_is_said_at_the_start(go, calls, tmp_path, file):
    (tmp_path / "out").mkdir()
    file.parent.write_text("in the way")
    text = f"{file.parent} is a file; remove it, or set `output` to another folder"
    with pytest.raises(RecipeError, match=f"^recipe: output: {re.escape(text)}$"):
        go()
    assert calls() == (0, 0)


def test_an_empty_file_is_told_and_filled(go, calls, file):
    go()
    file.write_bytes(b"")
    calls()
    _, notes = go()
    assert notes == [f"{file} is empty: it is made anew"]
    assert calls() == (20, 20)
    go()
    assert calls() == (0, 0)
    assert not file.with_name("store.sqlite3.damaged-1").exists()


def test_what_ten_whole_runs_have_not_used_goes(go, calls, file, tmp_path, monkeypatch):
    monkeypatch.setattr("alignimation_core.store.store.SETTLED", 0.0)  # runs may be that quick
    go(detector={"use": "counted", "least": 0.1})
    (tmp_path / "photos" / "2020-01-20.png").unlink()
    for _ in range(KEPT_RUNS - 1):
        go()
    go(limit=1)  # a trial run does not count
    assert counts(file) == {"detections": 20 + 19, "embeddings": 20 + 19}
    assert query(file, "SELECT count(*) FROM entries WHERE kind = 'stage'") == [(6,)]
    go()
    assert counts(file) == {"detections": 19, "embeddings": 19}
    assert query(file, "SELECT count(*) FROM entries WHERE kind = 'stage'") == [(4,)]
    assert query(file, "SELECT count(*) FROM entries WHERE kind LIKE 'facts %'") == [(19,)]
    assert query(file, "SELECT used FROM entries WHERE kind = 'run'") == [(256 + KEPT_RUNS,)]


# answers as such


@pytest.fixture
def opened(tmp_path):
    """Open a store, by itself."""
    notes = []

    def opened(embedder="an embedder", **options):
        return Store(tmp_path, "a detector", embedder, notes.append, **options)

    yield opened
    assert notes == []


def same(one, other):
    if isinstance(one, torch.Tensor):
        bits = [tensor.numpy().tobytes() for tensor in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and bits[0] == bits[1]
    return one == other


def rich_detections():
    numbers = torch.rand(3, 7, 2, generator=torch.Generator().manual_seed(0))
    numbers[0, 0] = torch.tensor([torch.nan, torch.inf])  # a keypoint that was not found
    numbers[1, 1] = torch.tensor([1e-45, -0.0])
    masks = [
        Mask.of(torch.rand(9, 5), (1.1, 2, 3.3, 4)),
        None,
        Mask.of(torch.ones(2, 2), (0, 0, 1, 1)),
    ]
    return Detections(
        boxes=torch.tensor([[0.1, 0.2, 1 / 3, 4e9]] * 3),
        scores=torch.tensor([0.9, 0.3, 0.1]),
        keypoints=numbers,
        keypoint_scores=numbers[..., 0].nan_to_num(0),
        keypoint_names=("left_eye", "Nase", "目", "d", "e", "f", "g"),
        masks=tuple(masks),
    )


@pytest.mark.parametrize(
    ("seen", "vectors"),
    [
        (rich_detections(), torch.rand(3, 512)),
        (Detections.empty(), torch.zeros(0, 128)),
        (Detections.empty(("a", "b"), masks=True), None),
        (Detections(torch.zeros(1, 4), torch.ones(1)), torch.ones(1, 1)),
    ],
    ids=["rich", "nothing", "nothing, with masks", "boxes alone"],
)
def test_answers_come_back_bit_by_bit(opened, seen, vectors):
    with opened() as store:
        store.keep({"a": Known(seen, vectors)})
    with opened() as store:
        known = store.recall(["a", "b"])
    assert list(known) == ["a"]
    for name in Detections.__slots__:
        assert same(getattr(seen, name), getattr(known["a"].detections, name)), name
    assert same(vectors, known["a"].embeddings)


def test_embeddings_are_not_put_beside_detections_of_another_run(opened):
    """Two runs on two devices may differ in a last bit, or find one more."""
    one, two = Detections.empty(), Detections(torch.zeros(1, 4), torch.ones(1))
    with opened() as first, opened() as second:
        first.keep({"a": Known(one)})
        second.keep({"a": Known(two, torch.ones(1, 3))})
        assert len(second.recall(["a"])["a"].detections) == 0
        assert second.recall(["a"])["a"].embeddings is None


def test_emptying_gives_the_room_back(opened, tmp_path):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    with opened() as store:
        vectors = torch.rand(100, 512)
        seen = Detections(torch.zeros(100, 4), torch.ones(100))
        store.keep({str(number): Known(seen, vectors) for number in range(30)})
    assert path.stat().st_size > 30 * 200_000
    with opened(fresh=True) as store:
        assert store.recall(["1"]) == {}
        assert store.recall_facts("a reader", {"/a.jpg": "a stamp"}) == {}
    assert path.stat().st_size < 100_000
    assert not path.with_name("store.sqlite3-wal").exists()


def test_a_store_of_an_earlier_version_is_set_aside(tmp_path):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    path.parent.mkdir()
    query(path, "CREATE TABLE answers (id INTEGER PRIMARY KEY)")
    query(path, "PRAGMA user_version = 2")
    notes = []
    for _ in range(2):
        with Store(tmp_path, "a detector", None, notes.append) as store:
            store.keep({"a": Known(Detections.empty())})
            assert len(store.recall(["a"])["a"].detections) == 0
    aside = "store.sqlite3.damaged-1"
    assert notes == [
        f"{path} was written by an earlier version: it is set aside as {aside}, and made anew"
    ]
    assert query(path, "PRAGMA user_version") == [(3,)]


def test_answers_of_many_kinds_come_back_each_to_its_photo(opened):
    """One after another, as they are not unpacked."""
    rich, bare = rich_detections(), Detections(torch.ones(2, 4), torch.tensor([0.25, 0.75]))
    known = {
        f"{kind}{i}": Known(
            replace(seen, scores=seen.scores + i), torch.full((len(seen), 2 + i % 2), float(i))
        )
        for i in range(3)
        for kind, seen in (("rich", rich), ("bare", bare), ("none", Detections.empty(("a",))))
    }
    with opened() as store:
        store.keep(known)
    with opened() as store:
        again = store.recall([*known, "other"])
        masked = again["rich1"].detections.masks
    assert again.keys() == known.keys()
    for photo, (seen, vectors, *_) in known.items():
        for name in Detections.__slots__:
            assert same(getattr(seen, name), getattr(again[photo].detections, name)), name
        assert same(vectors, again[photo].embeddings)
    assert masked == rich.masks


@pytest.mark.parametrize("vectors", [None, torch.ones(1, 3)])
def test_what_is_wrong_with_a_file_comes_back(opened, vectors):
    damage = Damage("cut", ((0, 12.5, 30, 40), (3, 10, 30, 12.5)))
    seen = Detections(torch.zeros(1, 4), torch.ones(1))
    with opened() as store:
        store.keep({"a": Known(seen, vectors, damage), "b": Known(seen, vectors)})
    with opened() as store:
        known = store.recall(["a", "b"])
    assert [known[photo].damage for photo in "ab"] == [damage, None]


def test_what_waits_for_its_embeddings_does_not_drag_along_the_other_photos(opened):
    seen = Detections(torch.zeros(1, 4), torch.ones(1))
    with opened() as store:
        store.keep({f"{number}": Known(seen) for number in range(1000)})
        known = store.recall(["1", "2"])
    assert len(pickle.dumps(known["1"])) < 2000


# facts of files


def facts(**changes):
    return Facts("5" * 64, 480, 640, datetime(2020, 2, 3, 4, 5, 6, 789), "exif")._replace(**changes)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a photo")
    return str(path)


def test_facts_come_back_for_the_same_stamp_alone(opened, photo):
    gone, address, odd = "/gone.jpg", "s3://photos/a.jpg", os.fsdecode(b"/caf\xe9.jpg")
    later = time.time() + 10
    known = {
        photo: ("one", facts()),
        gone: ("two", facts(sha256="6" * 64, taken_from="file")),
        address: ("three", facts(taken=datetime(1850, 1, 1))),
        odd: ("four", facts(width=1, taken_zone="+02:00", modified=datetime(2020, 1, 2, 3))),
    }
    with opened() as store:
        store.keep_facts("a reader", known, later)
    with opened() as store:
        stamps = {path: stamp for path, (stamp, _) in known.items()}
        assert store.recall_facts("a reader", stamps) == {
            path: each for path, (_, each) in known.items()
        }
        assert (
            store.recall_facts("a reader", {photo: "another", address: "one", "/b.jpg": "one"})
            == {}
        )
        store.keep_facts("a reader", {photo: ("another", facts(height=1))}, later)
        assert store.recall_facts("a reader", {photo: "another"}) == {photo: facts(height=1)}
        assert store.recall_facts("a reader", {photo: "one"}) == {}


@pytest.mark.parametrize("early", [0.0, 1.9, -3600.0])
def test_a_file_that_has_only_just_changed_is_not_trusted(opened, photo, early):
    """Nor one that changed after its stamp was taken, or in the future of a clock set back."""
    stamped = Path(photo).stat().st_ctime + early
    with opened() as store:
        store.keep_facts("a reader", {photo: ("one", facts())}, stamped)
        assert store.recall_facts("a reader", {photo: "one"}) == {}
        store.keep_facts("a reader", {photo: ("one", facts())}, Path(photo).stat().st_ctime + 2.1)
        assert store.recall_facts("a reader", {photo: "one"}) == {photo: facts()}


def test_facts_that_another_reader_has_read_are_not_known(opened, photo):
    with opened() as store:
        store.keep_facts("a reader", {photo: ("one", facts())}, time.time() + 10)
        assert store.recall_facts("another", {photo: "one"}) == {}
        assert store.recall_facts("a reader", {photo: "one"}) == {photo: facts()}


def test_facts_summaries_and_fits_that_ten_runs_have_not_used_go(opened, photo, tmp_path):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    summary, fit = (
        TargetSummary(1, b"t" * 1024, b"p" * 8, b"w" * 4),
        Fit(b"m" * 72, 0.5, 0.25, 3, True),
    )
    with opened(builder="a builder", model="a model") as store:
        store.keep_facts(
            "a reader", {f"/{word}.jpg": ("one", facts()) for word in "ab"}, time.time()
        )
        store.fits.keep_summaries({"a": summary, "b": summary})
        store.fits.keep_fits("a", {"a": fit, "b": fit})
        for run in range(KEPT_RUNS + 1):
            store.finish()
            with opened(builder="a builder", model="a model") as other:
                if run == 5:
                    other.recall_facts("a reader", {"/a.jpg": "one"})
                    assert other.fits.recall_summaries(["a", "c"]) == {"a": summary}
                    assert other.fits.recall_fits("a", ["a", "c"]) == {"a": fit}
                    assert other.fits.recall_fits("b", ["a"]) == {}
                    other.finish()
    left = query(path, "SELECT kind, CAST(key AS TEXT) FROM entries")
    assert sorted((kind.split()[0], key) for kind, key in left if kind not in ("run", "stage")) == [
        ("facts", "/a.jpg"),
        ("fits", "a"),
        ("summaries", "a"),
    ]


@pytest.mark.parametrize(
    ("kind", "ask"),
    [
        ("facts", lambda store: store.recall_facts("a reader", {"/a.jpg": "one"})),
        ("summaries", lambda store: store.fits.recall_summaries("a")),
        ("fits", lambda store: store.fits.recall_fits("a", "a")),
        ("detections", lambda store: store.recall("a")),
    ],
)
@pytest.mark.parametrize(
    "change",
    ["substr(value, 1, length(value) - 1)", "x'00'", "(SELECT value FROM entries LIMIT 1)"],
    ids=["cut", "short", "of another"],
)
def test_any_row_that_was_changed_is_damage(tmp_path, kind, ask, change):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    notes = []

    def opened():
        return Store(tmp_path, "d", "e", notes.append, builder="b", model="m")

    with opened() as store:
        store.keep({"another": Known(Detections.empty())})
        store.keep({"a": Known(rich_detections(), torch.ones(3, 2))})
        store.keep_facts("a reader", {"/a.jpg": ("one", facts())}, time.time())
        store.fits.keep_summaries({"a": TargetSummary(1, b"t" * 1024, b"", b"")})
        store.fits.keep_fits("a", {"a": Fit(b"m" * 72)})
        assert len(ask(store)) == 1
    query(path, f"UPDATE entries SET value = {change} WHERE kind LIKE '{kind} %'")
    with opened() as store:
        assert ask(store) == {}
    assert notes == [
        f"{path} is damaged: it is set aside as store.sqlite3.damaged-1, and made anew"
    ]


def test_damaged_embeddings_leave_the_detections_that_were_read_before(tmp_path):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    notes = []
    seen, vectors = rich_detections(), torch.rand(3, 5)

    def opened():
        return Store(tmp_path, "d", "e", notes.append)

    with opened() as store:
        store.keep({"a": Known(seen, vectors)})
    query(path, "UPDATE entries SET value = zeroblob(16) WHERE kind LIKE 'embeddings %'")
    with opened() as store:
        known = store.recall(["a"])["a"]
        assert known.embeddings is None
        store.keep({"a": Known(known.detections, vectors)})
    with opened() as store:
        again = store.recall(["a"])["a"]
    assert same(again.detections.boxes, seen.boxes)
    assert same(again.embeddings, vectors)
    assert notes == [
        f"{path} is damaged: it is set aside as store.sqlite3.damaged-1, and made anew"
    ]


# runs that meet


def test_two_runs_that_meet_the_same_damage_go_on_with_one_new_store(tmp_path):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    notes = []

    def opened():
        return Store(tmp_path, "a detector", None, notes.append)

    empty, found = Detections.empty(), Detections(torch.zeros(1, 4), torch.ones(1))
    with opened() as store:
        store.keep({"a": Known(empty)})
    with opened() as first, opened() as second:
        query(path, "UPDATE entries SET value = zeroblob(8)")
        assert first.recall(["a"]) == {}
        first.keep({"a": Known(found)})
        assert len(second.recall(["a"])["a"].detections) == 1
        second.keep({"b": Known(found)})
        assert first.recall(["a", "b"]).keys() == {"a", "b"}
    with opened() as store:
        assert store.recall(["a", "b"]).keys() == {"a", "b"}
    assert notes == [
        f"{path} is damaged: it is set aside as store.sqlite3.damaged-1, and made anew"
    ]
    assert not path.with_name("store.sqlite3.damaged-2").exists()


def test_a_store_that_another_run_keeps_busy_is_told(opened, tmp_path, monkeypatch):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    monkeypatch.setattr(database, "WAIT", 0.1)
    text = f"{path}: another run is using it; wait until it ends, and run again"
    with opened() as store:
        with (
            filelock.FileLock(path.with_name("store.lock")),
            pytest.raises(OutputError, match=f"^{re.escape(text)}$"),
        ):
            opened()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=f"^{re.escape(text)}$"):
            store.keep({"a": Known(Detections.empty())})
        with pytest.raises(OutputError, match=f"^{re.escape(text)}$"):
            opened()
        other.close()
        store.keep({"a": Known(Detections.empty())})


def test_a_damaged_store_that_cannot_be_set_aside_is_told(opened, tmp_path, monkeypatch):
    path = tmp_path / ".alignimation" / "store.sqlite3"

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    with opened() as store:
        store.keep({"a": Known(Detections.empty())})
        query(path, "UPDATE entries SET value = zeroblob(8)")
        monkeypatch.setattr(Path, "replace", refused)
        with pytest.raises(OutputError) as caught:
            store.recall(["a"])
    assert str(caught.value) == (
        f"{path.parent}: cannot be written: Permission denied; set `output` to another folder"
    )


def test_a_store_that_cannot_be_emptied_is_closed(opened, tmp_path, monkeypatch):
    path = tmp_path / ".alignimation" / "store.sqlite3"
    monkeypatch.setattr(database, "WAIT", 0.1)
    opened().__exit__()
    other, empty = sqlite3.connect(path, isolation_level=None), Database.empty

    def busy(file):
        other.execute("BEGIN IMMEDIATE")
        empty(file)

    monkeypatch.setattr(Database, "empty", busy)
    with pytest.raises(OutputError, match="another run is using it") as caught:
        opened(fresh=True)
    other.close()
    # SQLite leaves its write-ahead log only where nobody else has the file open
    assert query(path, "PRAGMA journal_mode = DELETE") == [("delete",)]
    assert caught.value.__traceback__ is not None


# speed


def test_a_photo_costs_far_less_than_three_milliseconds(opened):
    count = 1000
    answers = {
        f"{number:064}": Known(
            Detections(
                torch.rand(2, 4),
                torch.rand(2),
                torch.rand(2, 5, 2),
                keypoint_names=("a", "b", "c", "d", "e"),
            ),
            torch.rand(2, 512),
        )
        for number in range(count)
    }
    keys = list(answers)
    begun = time.process_time()
    with opened() as store:
        for start in range(0, count, 8):
            store.keep({key: answers[key] for key in keys[start : start + 8]})
        store.finish()
    with opened() as store:
        assert len(store.recall(keys)) == count
        store.finish()
    assert (time.process_time() - begun) / count < 0.003
