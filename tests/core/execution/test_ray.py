"""The executor on a real Ray cluster: several nodes on this machine, some of which die."""

import importlib
import math
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

import alignimation_core
from alignimation_core import AlignimationError, PhotoError, RecipeError, StageError, run
from alignimation_core.execution import ray_cluster
from alignimation_core.execution.executor import Lost, Threads
from alignimation_core.execution.ray_cluster import Cluster
from alignimation_core.plugin.registry import registry
from alignimation_core.progress import Progress
from alignimation_core.recipe.options import ExecutorOptions

ray = pytest.importorskip("ray", reason="ray is not installed")

STAGES = Path(__file__).parents[2] / "stages"
DISCS = (STAGES / "discs.py").read_text(encoding="utf-8")
MOONS = """
from typing import ClassVar
from alignimation_core import Detections, Detector, hookimpl

class Moons(Detector):
    \"\"\"Nothing at all.\"\"\"

    name: ClassVar[str] = "moons"

    def detect(self, images):
        return [Detections.empty() for _ in images]

@hookimpl
def alignimation_detectors():
    return [Moons]
"""
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}
"""How soon Ray notices that a node is gone."""
QUIET = ("RAY_USAGE_STATS_ENABLED", "RAY_ENABLE_UV_RUN_RUNTIME_ENV")
"""What Ray must be told, and by the run itself, not by these tests."""
PHOTOS = 60
MAIN = "from alignimation_core.cli import command; command()"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without workers; the nodes find the tests' works and plugin."""
    from ray.cluster_utils import Cluster as Nodes

    site = tmp_path_factory.mktemp("nodes")
    shutil.copy(STAGES / "works.py", site)
    for name, code in {"discs": DISCS, "moons": MOONS}.items():
        (site / f"alignimation_{name}.py").write_text(code, encoding="utf-8")
        info = site / f"alignimation_{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: alignimation-{name}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[alignimation]\n{name} = alignimation_{name}\n")
    with pytest.MonkeyPatch.context() as patch:
        paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.syspath_prepend(str(STAGES))
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK}
        nodes = Nodes(initialize_head=True, head_node_args=head)
        yield nodes
        ray.shutdown()
        nodes.shutdown()
        sys.modules.pop("works", None)


@pytest.fixture
def two_nodes(cluster):
    """That cluster with two nodes of one worker each."""
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1)
    return cluster


@pytest.fixture(scope="module")
def opened(cluster):
    """What tests share until one needs the nodes for itself."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def works(cluster):
    return importlib.import_module("works")


@pytest.fixture
def executor(two_nodes, opened):
    """An executor on both nodes; its workers stay from test to test."""
    if not ray.is_initialized():
        options = ExecutorOptions(use="ray", address=two_nodes.address)
        opened.executor = opened.enter_context(Cluster(options))
    return opened.executor


@pytest.fixture
def disconnected(opened):
    """No cluster is joined, whatever tests before this one have left open."""
    opened.close()


@pytest.fixture
def nodes(two_nodes, disconnected):
    """Two nodes without any worker yet."""
    return two_nodes


def one_of(nodes):
    return next(iter(nodes.worker_nodes))


def batches(count, size=2):
    return [list(range(start, start + size)) for start in range(0, count * size, size)]


def test_answers_come_in_order_and_are_those_of_threads(executor, works):
    asked = [*batches(12), [], [100, 101, 102]]
    assert list(executor.map(works.Square(), asked)) == list(Threads(2).map(works.Square(), asked))


def test_a_worker_loads_once_for_each_map(executor, works):
    first = [row for batch in executor.map(works.Loading(), batches(10)) for row in batch]
    second = [row for batch in executor.map(works.Loading(1), batches(10)) for row in batch]
    assert [item for _, _, item in first] == list(range(20))
    workers = {process for process, _, _ in first}
    assert len(workers) == 2
    assert {(process, number) for process, number, _ in first} == {(w, 1) for w in workers}
    assert {(process, number) for process, number, _ in second} == {(w, 2) for w in workers}


def test_batches_are_taken_as_they_are_needed(executor, works):
    taken = []

    def source():
        for batch in batches(40):
            taken.append(batch)
            yield batch

    answers = executor.map(works.Square(), source())
    next(answers)
    time.sleep(0.5)
    assert len(taken) <= 2 * 2 + 1
    assert len(list(answers)) == 39


def test_no_more_workers_than_asked_for(nodes, works):
    with Cluster(ExecutorOptions(use="ray", address=nodes.address, workers=1)) as executor:
        rows = [row for batch in executor.map(works.Loading(), batches(6)) for row in batch]
    assert len({process for process, _, _ in rows}) == 1


@pytest.mark.slow
def test_a_photo_that_kills_its_workers_is_lost_alone(executor, works):
    answers = list(executor.map(works.Killing({2}, "exit"), [[0], [1], [2], [3]]))
    assert answers[:2] == [[0], [10]]
    assert answers[3] == [30]
    (lost,) = answers[2]
    assert isinstance(lost, Lost)
    assert re.fullmatch(
        r"it killed its Ray worker 4 times: on node [\d.]+: it crashed or was killed, perhaps for "
        r"want of memory \(see \S+\.err there\)",
        lost.reason,
    )


@pytest.mark.slow
def test_only_the_guilty_photo_of_a_batch_is_lost(executor, works):
    answers = list(executor.map(works.Killing({5}, "fault"), batches(3, size=4)))
    (lost,) = [answer for batch in answers for answer in batch if isinstance(answer, Lost)]
    assert answers == [[0, 10, 20, 30], [40, lost, 60, 70], [80, 90, 100, 110]]
    assert "Segmentation fault (see " in lost.reason


@pytest.mark.slow
def test_a_run_of_which_no_worker_survives_ends(executor, works, monkeypatch):
    monkeypatch.setattr("alignimation_core.execution.ray_pool.HOPELESS", 1)
    with pytest.raises(AlignimationError) as caught:
        list(executor.map(works.Killing({0}, "exit"), [[0]]))
    assert str(caught.value).startswith("executor: no Ray worker survives: on node ")


def test_errors_come_out_as_they_are_and_in_their_turn(executor, works):
    for name, expected in works.ERRORS.items():
        answers = executor.map(works.Raising(4, name), batches(3))
        assert [next(answers), next(answers)] == [[0, 1], [2, 3]]
        with pytest.raises(type(expected)) as caught:
            next(answers)
        assert type(caught.value) is type(expected)
        assert str(caught.value) == str(expected)
        assert "works.py" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match=r"works\.UntoldError: 1 and 2"):
        list(executor.map(works.Raising(0, "untold"), [[0]]))
    assert list(executor.map(works.Square(), [[3]])) == [[(9, 1)]]


@pytest.mark.parametrize(
    "error",
    [
        PhotoError(Path("a.jpg"), "it is no picture"),
        StageError("detector", "blobs", "it broke", "a.jpg"),
        RecipeError([]),
        AlignimationError("as it is"),
    ],
)
def test_errors_travel(error):
    error.add_note("a note")
    there = pickle.loads(pickle.dumps(error))
    assert (type(there), str(there), vars(there)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("staged", [True, False])
def test_a_work_that_cannot_travel_is_named(executor, works, staged):
    lock = threading.Lock()
    work = works.Holding([works.Hoarder(held=1), works.Hoarder(held=lock)] if staged else lock)
    with pytest.raises(AlignimationError) as caught:
        next(executor.map(work, [[0]]))
    name = "detector hoarder" if staged else "Holding"
    assert str(caught.value) == (
        f"executor: {name} cannot travel to Ray's workers: TypeError: cannot pickle "
        "'_thread.lock' object; use executor: local"
    )


def unfit_for(executor, work):
    with pytest.raises(AlignimationError) as caught:
        list(executor.map(work, [[0]]))
    found = re.fullmatch(r"executor: Ray node [\d.]+ (.*)", str(caught.value))
    assert found, caught.value
    return found[1]


def stage_of(name, **options):
    return registry().stages["detector"][name].stage(**options)


@pytest.mark.parametrize("device", ["cuda:99", "mps"])
def test_a_device_that_workers_do_not_see_is_named(executor, works, install, device):
    install("alignimation-moons", MOONS)
    assert unfit_for(executor, works.Holding(stage_of("moons", device=device))) == (
        f"offers its workers no device {device!r}, which detector moons asks for; "
        "set `executor.gpus`, or `device: auto`"
    )
    assert list(executor.map(works.Holding(stage_of("moons")), [[1]])) == [[1]]


def test_a_work_that_cannot_be_made_on_a_node_is_told_of(executor, works, tmp_path):
    needed = tmp_path / "needed"
    needed.touch()
    work = works.Reading(needed)
    needed.unlink()
    assert unfit_for(executor, work) == (
        "cannot load what the recipe uses: needed: no such file; put the same files there"
    )


def test_the_cluster_is_left_when_it_has_no_room(nodes, monkeypatch):
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0)
    options = ExecutorOptions(use="ray", address=nodes.address, gpus=1000)
    with pytest.raises(AlignimationError, match=r"no node .* with 1 CPU and 1000 GPU"):
        Cluster(options).__enter__()
    assert not ray.is_initialized()


def test_the_cluster_is_left_when_its_workers_cannot_be_let_go(nodes, monkeypatch):
    def close(pool):
        raise KeyboardInterrupt

    monkeypatch.setattr("alignimation_core.execution.ray_pool.Pool.close", close)
    with (
        pytest.raises(KeyboardInterrupt),
        Cluster(ExecutorOptions(use="ray", address=nodes.address)),
    ):
        pass
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_node_that_dies_costs_no_photo(nodes, works, tmp_path):
    begun, hold, seen = tmp_path / "begun", tmp_path / "hold", []
    begun.mkdir()
    hold.touch()

    def processes():
        return {path.name.partition("-")[2] for path in begun.iterdir()}

    with Cluster(ExecutorOptions(use="ray", address=nodes.address)) as executor:
        answers = executor.map(works.Slow(0, begun, hold), batches(10))
        reading = threading.Thread(target=lambda: seen.extend(answers))
        reading.start()
        wait_until(lambda: len(processes()) == 2)
        nodes.remove_node(one_of(nodes), allow_graceful=True)
        wait_until(lambda: not all(Path(f"/proc/{process}").exists() for process in processes()))
        hold.unlink()
        reading.join()
    assert [item for batch in seen for item, _ in batch] == list(range(20))
    assert {node for _, node in seen[-1]} == {one_of(nodes).node_id}
    assert len(list(begun.iterdir())) > 10  # what was interrupted was begun again


@pytest.mark.slow
def test_workers_that_are_asked_to_go_cost_no_photo(executor, works, tmp_path):
    def ask_to_go():
        for times in range(1, 4):
            wait_until(lambda times=times: len(list(tmp_path.glob("6-*"))) == times)
            latest = max(tmp_path.glob("6-*"), key=lambda begun: begun.stat().st_mtime_ns)
            os.kill(int(latest.name.partition("-")[2]), signal.SIGTERM)

    asking = threading.Thread(target=ask_to_go)
    asking.start()
    answers = list(executor.map(works.Slow(1.0, tmp_path), batches(6)))
    asking.join()
    assert [item for batch in answers for item, _ in batch] == list(range(12))
    assert len(list(tmp_path.glob("6-*"))) == 4


@pytest.mark.slow
def test_workers_that_go_while_they_have_nothing_to_do_cost_no_photo(executor, works, monkeypatch):
    monkeypatch.setattr("alignimation_core.execution.ray_pool.LIVES", 1)
    answers = executor.map(works.Loading(), batches(6))
    processes = {process for batch in answers for process, _, _ in batch}
    for process in processes:
        os.kill(process, signal.SIGTERM)
    wait_until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))
    assert list(executor.map(works.Killing(set(), "exit"), [[7]])) == [[70]]


@pytest.mark.slow
def test_a_photo_that_asks_its_worker_to_go_is_lost_alone(executor, works):
    answers = list(executor.map(works.Killing({2}, "terminate"), [[0], [1], [2], [3]]))
    assert answers[:2] == [[0], [10]]
    assert answers[3] == [30]
    (lost,) = answers[2]
    assert lost.reason.startswith("it killed its Ray worker 4 times: on node ")


@pytest.mark.slow
def test_a_node_that_joins_is_used(nodes, works):
    nodes.remove_node(one_of(nodes))
    seen, end = [], time.monotonic() + 60

    def until_both_work():
        count = 0
        while len({node for _, node in seen}) < 2 and time.monotonic() < end:
            yield [count]
            count += 1

    with Cluster(ExecutorOptions(use="ray", address=nodes.address)) as executor:
        for (answer,) in executor.map(works.Slow(0.1), until_both_work()):
            if not seen:
                new = nodes.add_node(num_cpus=1)
            seen.append(answer)
    assert [item for item, _ in seen] == list(range(len(seen)))
    assert new.node_id in {node for _, node in seen}


@pytest.mark.slow
def test_without_any_node_the_run_ends(nodes, works, monkeypatch, caplog):
    monkeypatch.setattr(ray_cluster, "PATIENCE", 1.0)
    with Cluster(ExecutorOptions(use="ray", address=nodes.address)) as executor:
        answers = executor.map(works.Slow(0.1), batches(30))
        next(answers)
        for node in list(nodes.worker_nodes):
            nodes.remove_node(node)
        with pytest.raises(AlignimationError) as caught:
            list(answers)
    assert str(caught.value) == (
        "executor: the Ray cluster has no node (left) with a CPU for a worker; add nodes and run "
        "again: what is done is kept"
    )
    # a cluster that answers slowly, as one does that loses its nodes, may be waited for
    messages = [each for each in caplog.messages if not each.startswith("executor: waiting")]
    assert messages == [
        "executor: the Ray cluster has no node with a CPU for a worker; waiting 1 s for one"
    ]


def frames(recipe, folder, progress=None):
    record = run(replace(recipe, output=folder), progress=progress)
    assert record.summary["used"] == PHOTOS
    return Path(record.folder, "frames.npy").read_bytes()


@pytest.fixture
def recipe(discs, discs_installed, discs_recipe, tmp_path):
    warps = [
        discs.placed(32 + i % 5, 24 - i % 3, math.radians(i % 7 - 3), 1 + 0.01 * (i % 4))
        for i in range(PHOTOS)
    ]
    discs.series(tmp_path / "photos", warps)
    return discs_recipe(executor=ExecutorOptions(use="local", workers=2))


class Killing(Progress):
    """Follows a run; removes a node in the middle of two of its stages, and adds another."""

    def __init__(self, nodes):
        self.nodes, self.gone = nodes, []

    @contextmanager
    def stage(self, name, total, at_work=""):
        done = 0

        def step():
            nonlocal done
            done += 1
            if name in ("detecting", "rendering") and done == total // 3:
                self.gone.append(name)
                self.nodes.remove_node(one_of(self.nodes), allow_graceful=False)
                self.nodes.add_node(num_cpus=1)

        yield step


@pytest.mark.slow
def test_a_whole_run_while_nodes_die_gives_the_same_frames(nodes, recipe):
    there = replace(recipe, executor=ExecutorOptions(use="ray", address=nodes.address))
    follow = Killing(nodes)
    assert frames(there, "cluster", follow) == frames(recipe, "local")
    assert follow.gone == ["detecting", "rendering"]


@pytest.mark.slow
def test_photos_in_an_archive_are_read_by_the_nodes_too(nodes, recipe, tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for path in sorted((tmp_path / "photos").iterdir()):
            archive.add(path, path.name)
    there = replace(
        recipe, photos=["x.tar.gz"], executor=ExecutorOptions(use="ray", address=nodes.address)
    )
    assert frames(there, "cluster") == frames(recipe, "local")


def test_a_node_without_the_plugin_is_named(executor, works, install):
    install("alignimation-stars", MOONS.replace('"moons"', '"stars"'))
    assert unfit_for(executor, works.Holding(stage_of("stars"))) == (
        "lacks alignimation-stars, this machine has 1.0: install alignimation-stars==1.0 there"
    )


def test_a_node_with_another_version_of_the_plugin_is_named(executor, works, install):
    install("alignimation-moons", MOONS, version="2.0")
    assert unfit_for(executor, works.Holding(stage_of("moons"))) == (
        "has alignimation-moons 1.0, this machine has 2.0: install alignimation-moons==2.0 there"
    )


def test_a_node_with_other_code_of_the_same_version_is_named(executor, works, install):
    install("alignimation-moons", MOONS + "# changed\n")
    assert unfit_for(executor, works.Holding(stage_of("moons"))) == (
        "has other code of alignimation-moons 1.0 than this machine: install the same "
        "alignimation-moons there"
    )


def torn(package):
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('torn apart')\n")


def edited(package):
    shutil.copytree(Path(alignimation_core.__file__).parent, package)
    with (package / "rendering" / "frames.py").open("a") as file:
        file.write("# edited\n")


@pytest.mark.slow
def test_a_node_whose_package_is_another_is_named(nodes, works, tmp_path, monkeypatch):
    monkeypatch.chdir("/")  # Ray's workers look for modules where the driver was started, too
    for node in list(nodes.worker_nodes):
        nodes.remove_node(node)
    said = {}
    for change in (torn, edited):
        site = tmp_path / change.__name__
        site.mkdir()
        change(site / "alignimation_core")
        shutil.copy(works.__file__, site)
        node = nodes.add_node(num_cpus=1, env_vars={"PYTHONPATH": str(site)})
        with Cluster(ExecutorOptions(use="ray", address=nodes.address)) as executor:
            said[change] = unfit_for(executor, works.Square())
        nodes.remove_node(node)
    assert said == {
        torn: "cannot load what the recipe uses: torn apart; install the same packages there",
        edited: f"has other code of alignimation {version('alignimation')} than this machine: "
        "install the same alignimation there",
    }


@pytest.mark.usefixtures("disconnected")
def test_nothing_answers_at_the_address():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (
        pytest.raises(AlignimationError) as caught,
        Cluster(ExecutorOptions(use="ray", address=address)),
    ):
        pass
    assert re.fullmatch(
        rf"executor\.address: no Ray cluster answers at {address}: ConnectionRefusedError: .*; "
        "start one there with `ray start --head`, or leave the address out",
        str(caught.value),
    )


@pytest.mark.usefixtures("disconnected")
@pytest.mark.parametrize("address", ["10.0.0.1", "ray://10.0.0.1:10001"])
def test_an_address_is_a_host_and_a_port(address):
    with (
        pytest.raises(AlignimationError, match=r"HOST:PORT, such as 10\.0\.0\.1:6379"),
        Cluster(ExecutorOptions(use="ray", address=address)),
    ):
        pass


def test_ray_is_not_installed(monkeypatch):
    options = ExecutorOptions(use="ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(AlignimationError, match=r"pip install 'alignimation\[ray\]'"),
        Cluster(options),
    ):
        pass


def test_a_ray_that_is_started_is_told_to_tell_nobody(monkeypatch):
    environment = {}

    def init(**_):
        environment.update(os.environ)
        raise ConnectionError("not today")

    monkeypatch.setenv("RAY_ADDRESS", "local")
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(AlignimationError, match="not today"),
        Cluster(ExecutorOptions(use="ray")),
    ):
        pass
    assert {name: environment.get(name) for name in QUIET} == dict.fromkeys(QUIET, "0")


@pytest.mark.slow
def test_the_cluster_that_runs_on_this_machine_is_found(nodes, works, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with Cluster(ExecutorOptions(use="ray")) as executor:
        ((_, node),) = [row for (row,) in executor.map(works.Slow(0), [[1]])]
    assert node in {worker.node_id for worker in nodes.worker_nodes}


@pytest.mark.slow
def test_a_ray_that_runs_already_stays_as_it_is(nodes, works):
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")
    try:
        with Cluster(ExecutorOptions(use="ray")) as executor:
            assert list(executor.map(works.Killing(set(), "exit"), [[1]])) == [[10]]
        assert ray.is_initialized()
        assert ray.cluster_resources()["CPU"] == 2
    finally:
        ray.shutdown()


def test_the_handler_of_sigterm_stays(nodes):
    before = signal.getsignal(signal.SIGTERM)
    with Cluster(ExecutorOptions(use="ray", address=nodes.address)):
        assert signal.getsignal(signal.SIGTERM) is before


RECIPE = """
photos: photos/
output: {output}
detector: {{use: blobs, least: 0.1}}
subject_selector: first
target_builder: points
transform_model: closed-form
renderers: [array]
canvas: {{size: 64x48}}
executor: {executor}
"""


def write_recipe(folder, name, executor):
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(output=name, executor=executor))
    return path


@pytest.mark.slow
def test_the_command_starts_a_cluster_and_stops_it(
    discs, discs_installed, command, tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    discs.series(tmp_path / "photos", [*discs.WARPS] * 2)
    done = {
        name: command(write_recipe(tmp_path, name, executor))
        for name, executor in {"ray": "{use: ray, workers: 1}", "local": "local"}.items()
    }
    assert done["ray"].returncode == done["local"].returncode == 0, done["ray"].stderr
    assert done["ray"].stdout == f"{tmp_path / 'ray' / 'frames.npy'}\n"
    said = [
        [
            re.sub(r"[\d.]+ s", "0 s", line.replace(str(tmp_path / name), ""))
            for line in each.stderr.splitlines()
            if not re.search(r" s left$|nothing new|^executor: waiting", line)
        ]
        for name, each in done.items()
    ]
    assert said[0] == said[1]
    written = [(tmp_path / name / "frames.npy").read_bytes() for name in done]
    assert written[0] == written[1]


@pytest.fixture
def started(discs, install, site, tmp_path, monkeypatch):
    """A command in the middle of a photo, on a worker of its own cluster, and that worker."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    file = tmp_path / "started"
    code = DISCS.replace(
        "        found = []\n",
        f"        import os, time\n        open({str(file)!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(60)\n        found = []\n",
        1,
    )
    install("alignimation-discs", code, module="alignimation_discs")
    discs.series(tmp_path / "photos", discs.WARPS)
    recipe = write_recipe(tmp_path, "ray", "{use: ray, workers: 1}")
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, str(recipe)],
        env=os.environ | {"PYTHONPATH": str(site)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        wait_until(lambda: process.poll() is not None or (file.exists() and file.read_text()))
        yield process, int(file.read_text())


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_its_workers(started):
    process, worker = started
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to the whole group
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "interrupted" in said.splitlines()[-1]
    assert "Traceback" not in said
    wait_until(lambda: not alive(worker))


@pytest.mark.slow
def test_a_run_that_hears_nothing_says_for_what_it_waits(nodes, works, monkeypatch, caplog):
    monkeypatch.setattr(ray_cluster, "QUIET", 1.0)
    with Cluster(ExecutorOptions(use="ray", address=nodes.address)) as executor:
        assert len(list(executor.map(works.Slow(4.0), batches(1)))) == 1
    said = {re.sub(r"\d+ s", "N s", line) for line in caplog.messages}
    assert said <= {
        "executor: waiting N s for Ray's workers to start",
        f"executor: waiting N s for 1 batches of Ray's workers on {ray.util.get_node_ip_address()}",
    }
    assert any("batches" in line for line in said)


@pytest.mark.slow
def test_a_run_whose_cluster_hangs_says_what_it_waits_for_and_ends(started):
    process, _ = started
    stopped = child(process.pid, "gcs_server")
    os.kill(stopped, signal.SIGSTOP)
    begun = time.monotonic()
    try:
        lines = [(time.monotonic() - begun, line.rstrip()) for line in process.stderr]
        assert process.wait(timeout=30) == 1, lines
    finally:
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)
    assert re.fullmatch(
        r"alignimation-run: executor: the Ray cluster at [\d.]+:\d+ has not answered for 45 s.*; "
        r"see that its nodes run, and run again: what is done is kept",
        lines[-1][1],
    ), lines
    assert [line for _, line in lines if line.startswith("executor: waiting")], lines
    assert not [line for _, line in lines if "Traceback" in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("server", "why"),
    [
        (
            "gcs_server",
            (
                r"the head of the Ray cluster at [\d.]+:\d+ is gone: ConnectionRefusedError: .*; "
                r"start a cluster and run again: what is done is kept"
            ),
        ),
        (
            "raylet",
            "the Ray node on this machine has died; start it and run again: what is done is kept",
        ),
    ],
)
def test_a_run_whose_cluster_dies_says_so_and_ends(started, server, why):
    process, _ = started
    os.kill(child(process.pid, server), signal.SIGKILL)
    written, said = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert re.fullmatch(rf"alignimation-run: executor: {why}", said.splitlines()[-1]), said
    assert "Traceback" not in said
    assert written == ""


def child(process, name):
    """Find the child of a process by the name of its program."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            program, _, rest = (folder / "stat").read_text().rpartition(")")
            if program.endswith(f"({name}") and int(rest.split()[1]) == process:
                return int(folder.name)
    raise LookupError(name)


def alive(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(true):
    end = time.monotonic() + 180
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
