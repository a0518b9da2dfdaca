import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.metadata import version

import pytest
import yaml
from blake3 import blake3

from alignimation_core.cli import main, process, verbs

MAIN = "from alignimation_core.cli import command; command()"
DATA = {
    "photos": "photos/",
    "output": "out",
    "detector": "blobs",
    "subject_selector": "first",
    "target_builder": "points",
    "transform_model": "closed-form",
    "reference": "first",
    "canvas": {"size": "64x48"},
    "report": False,
    "renderers": ["array", {"use": "gif", "path": "a.gif"}],
}


@pytest.fixture
def recipe(tmp_path, discs, discs_installed):
    """Write a recipe and its photos; return a function that writes it with changes."""
    discs.series(tmp_path / "photos", discs.WARPS)

    def write(**changes):
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(DATA | changes, sort_keys=False))
        return str(path)

    return write


def lines(text):
    return [line.removeprefix("alignimation-run: ") for line in text.splitlines()]


def test_results_go_to_stdout_and_progress_to_stderr(recipe, capsys, tmp_path):
    assert main([recipe()]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / name) for name in ("frames.npy", "a.gif")]
    assert "detecting: 4 of 4 in " in err
    assert "rendering: 4 of 4 in " in err
    assert "4 of 4 photos used" in err
    assert f"every photo's reason is in {tmp_path / 'out' / 'run.json'}" in err
    assert "\x1b" not in err


def test_the_summary_counts_reasons(recipe, capsys, tmp_path):
    from PIL import Image

    for name in ("x1.png", "x2.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "y.png").write_bytes(b"nothing")
    assert main([recipe()]) == 0
    err = capsys.readouterr().err
    assert "4 of 7 photos used\n" in err
    assert "  2 rejected: nothing here (such as photos/x1.png)\n" in err
    assert "  1 failed: this is a text file, no photo; replace or remove it (such as " in err


def test_help_tells_of_every_option_and_exit_status(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for word in (
        "--check",
        "--list",
        "--schema",
        "--set KEY=VALUE",
        "--limit N",
        "--no-wait",
        "--fresh",
        "--device NAME",
        "--traceback",
        "--version",
        "0 done, 1 the run failed, 2 the recipe or the arguments are wrong, 130 interrupted",
    ):
        assert word in text


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{version('alignimation')}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a recipe, such as recipe.yaml, or --list"),
        (["--check"], "give a recipe, such as recipe.yaml, or --list"),
        (["r.yaml", "--limit", "0"], "argument --limit: '0' is no number of photos"),
        (["r.yaml", "--limit", "x"], "argument --limit: 'x' is no number of photos"),
        (["r.yaml", "--lits"], "unrecognized arguments: --lits"),
        (["--list", "--schema"], "argument --schema: not allowed with argument --list"),
    ],
)
def test_wrong_arguments_exit_with_two(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_check_runs_nothing(recipe, capsys, tmp_path):
    assert main([recipe(), "--check"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == ["4 photos", "the recipe is fine"]
    assert err == ""
    assert not (tmp_path / "out").exists()


def test_check_tells_which_weights_are_not_there_yet(recipe, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main([recipe(embedder="facenet"), "--check"]) == 0
    found = capsys.readouterr().out.splitlines()
    assert found[1].startswith(
        "weights 20180402-114759-vggface2.pt not yet here, will be fetched: https://"
    )


def test_check_reports_every_fault_and_exits_with_two(recipe, capsys, tmp_path):
    path = recipe(photos="gone/", seed=-1, detector={"use": "blob"})
    assert main([path, "--check"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    detector, seed = err.splitlines()
    assert detector.startswith(f"alignimation-run: {path}:4: detector.use: there is no detector ")
    assert seed.startswith(f"alignimation-run: {path}:16: seed: should be greater than or equal")
    assert main([recipe(photos="gone/"), "--check"]) == 2
    assert lines(capsys.readouterr().err) == [
        f"{path}:1: photos[0]: {tmp_path}/gone does not exist"
    ]


def test_a_recipe_that_is_not_there(capsys, tmp_path):
    assert main([str(tmp_path / "no.yaml")]) == 2
    assert capsys.readouterr().err == (
        f"alignimation-run: {tmp_path}/no.yaml: there is no such file\n"
    )


def test_list_and_schema(discs_installed, capsys):
    assert main(["--list"]) == 0
    assert "  blobs                The centroid of each colour.  [alignimation-discs 1.0]" in (
        capsys.readouterr().out.splitlines()
    )
    assert main(["--schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "blobs" in found["$defs"]["detector"]["anyOf"][0]["enum"]


def test_python_runs_the_package_as_the_command(recipe, site, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "alignimation_core", "run", recipe()],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "out" / "frames.npy")


def test_set_overrides_the_recipe(recipe, capsys, tmp_path):
    arguments = ["--set", "renderers=[array]", "--set", "renderers[0].path=b.npy"]
    assert main([recipe(), *arguments, "--set", "detector.least=0.1"]) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "out" / "b.npy")]
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["recipe"]["detector"] == {"use": "blobs", "device": "auto", "least": 0.1}


def test_a_wrong_setting_is_named(recipe, capsys):
    assert main([recipe(), "--set", "detector.least=2", "--set", "renderers[0].pth=x"]) == 2
    assert lines(capsys.readouterr().err) == [
        (
            "--set detector.least=2: detector.least: should be less than or equal to 1, got 2 "
            "(least brightness of a blob)"
        ),
        (
            "--set renderers[0].pth=x: renderers[0].pth: unknown key; did you mean 'path'? known "
            "here: effects, path"
        ),
    ]


def test_limit(recipe, capsys, tmp_path):
    assert main([recipe(), "--limit", "3"]) == 0
    assert "3 of 3 photos used" in capsys.readouterr().err


def test_a_device_that_is_not_there_exits_with_two(recipe, capsys, tmp_path):
    assert main([recipe(), "--device", "cuda:99"]) == 2
    assert lines(capsys.readouterr().err) == [
        "--device cuda:99: detector.device: this machine has no device 'cuda:99'; use auto or cpu",
        (
            "--device cuda:99: transform_model.device: this machine has no device 'cuda:99'; use "
            "auto or cpu"
        ),
    ]
    assert main([recipe(), "--device", "gpu"]) == 2
    assert lines(capsys.readouterr().err) == [
        "--device gpu: 'gpu' is not one of auto, cpu, cuda, cuda:N, mps"
    ]
    assert not (tmp_path / "out").exists()
    assert main([recipe(), "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "out" / "run.json").read_text())["device"] == "cpu"


def test_a_run_that_fails_exits_with_one_and_one_line(recipe, capsys, tmp_path):
    assert main([recipe(detector={"use": "blobs", "least": 1})]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[-1] == (
        "alignimation-run: no photo shows the subject: 4 rejected: nothing here "
        "(such as photos/2020-01-01.png)"
    )
    assert "Traceback" not in err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["summary"]["rejected"] == 4


@pytest.mark.parametrize(("changes", "status"), [({"seed": -1}, 2), ({"output": "file/x"}, 1)])
def test_traceback_shows_where_an_error_came_from(recipe, capsys, tmp_path, changes, status):
    (tmp_path / "file").touch()
    assert main([recipe(**changes), "--traceback"]) == status
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.splitlines()[-1].startswith("alignimation-run: ")


def test_plugins_at_war_exit_with_two(recipe, install, capsys):
    from pathlib import Path

    stages = Path(__file__).parents[1] / "stages" / "discs.py"
    install("discs-again", stages.read_text(), module="discs_again")
    assert main([recipe()]) == 2
    assert [line.partition(": the ")[2] for line in lines(capsys.readouterr().err)] == [
        (
            f"{kind} {name!r} is in both alignimation-discs and discs-again; uninstall one of "
            "the two, or rename it"
        )
        for kind, name in (
            ("detector", "blobs"),
            ("subject selector", "first"),
            ("target builder", "points"),
            ("transform model", "closed-form"),
            ("renderer", "array"),
        )
    ]


def test_a_closed_stdout_is_no_crash(discs_installed, site):
    code = "import sys; from alignimation_core.cli import main; sys.stdin.read(); sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--schema"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    process.stdout.close()
    process.stdin.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 1
    assert err == ""


def test_what_a_plugin_has_registered_for_the_end_is_done(discs_installed, install, site):
    code = "import atexit\natexit.register(print, 'a last word', flush=True)\n"
    install("alignimation-last", code)
    ended = subprocess.run(
        [sys.executable, "-c", "from alignimation_core.cli import command; command()", "--list"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.endswith("\na last word\n")


@pytest.mark.parametrize("entry", ["cli.run", "cli.verbs"])
@pytest.mark.parametrize(
    "module", ["argparse", "logging", "importlib.metadata", "alignimation_core.api.errors"]
)
def test_an_interrupt_while_the_command_is_imported_is_no_traceback(entry, module):
    code = f"""
import signal, sys
class Interrupting:
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
from alignimation_core.{entry} import command
command()
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "schema"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (130, "")
    said = "interrupted; nothing half-written was left\n"
    assert done.stderr.partition(": ")[2] in ("", said)


def test_an_interrupt_in_this_process_gives_130(recipe, capsys, monkeypatch):
    from alignimation_core import pipeline

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "run", interrupted)
    assert main([recipe()]) == 130
    assert capsys.readouterr().err == (
        "alignimation-run: interrupted; nothing half-written was left\n"
    )


SLOW = '''
import time
from pathlib import Path
from typing import ClassVar

import alignimation_discs as discs
from alignimation_core import hookimpl


def wait(sign, seconds):
    """Say that the run is in the middle, and stay there."""
    Path(sign).touch()
    time.sleep(seconds)


class SlowBlobs(discs.Blobs):
    """Never ends."""

    name: ClassVar[str] = "slow-blobs"
    sign: str = ""

    def detect(self, images):
        wait(self.sign, 60)


class SlowWriter(discs.ArrayWriter):
    def write(self, frame):
        super().write(frame)
        if frame.index == 2:
            wait(self.sign, 3)


class SlowArray(discs.Array):
    """Takes its time: a frame that is being written is finished before the run ends."""

    name: ClassVar[str] = "slow-array"
    sign: str = ""

    def open(self, canvas, count, folder):
        writer = SlowWriter(folder / self.path)
        writer.sign = self.sign
        return writer


@hookimpl
def alignimation_detectors():
    return [SlowBlobs]


@hookimpl
def alignimation_renderers():
    return [SlowArray]
'''


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["detector", "renderer"])
def test_stopping_leaves_old_outputs_and_nothing_half_written(
    recipe, install, site, tmp_path, left, where, stop
):
    install("alignimation-slow", SLOW)
    sign = tmp_path / "sign"
    out = tmp_path / "out"
    out.mkdir()
    old = ["frames.npy", "a.gif", "slow.npy", "a.mp4"]
    for name in old:
        (out / name).write_text("old")
    digests = dict.fromkeys(old, blake3(b"old").hexdigest())
    earlier = {"alignimation": "0.1.0", "photos": [], "outputs": old, "written": digests}
    (out / "run.json").write_text(json.dumps(earlier))
    renderers = ["array", {"use": "gif", "path": "a.gif"}, {"use": "video", "path": "a.mp4"}]
    if where == "detector":
        path = recipe(detector={"use": "slow-blobs", "sign": str(sign)}, renderers=renderers)
    else:
        slow = {"use": "slow-array", "path": "slow.npy", "sign": str(sign)}
        path = recipe(renderers=[*renderers, {"use": "frames", "path": "f"}, slow])
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from alignimation_core.cli import command; command()",
            path,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while not sign.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        assert sign.exists(), process.communicate(timeout=10)
        assert any(".part" in name for name in left(out)) == (where == "renderer")
        process.send_signal(stop)
        out_text, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert out_text == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "alignimation-run: interrupted; nothing half-written was left"
    assert sorted(each.name for each in out.iterdir()) == sorted(
        [*old, "run.json", ".alignimation"]
    )
    assert all((out / name).read_text() == "old" for name in old)
    assert not left(out)
    record = json.loads((out / "run.json").read_text())
    assert record["error"] == "interrupted"
    assert record["outputs"] == []
    if where == "detector":
        assert record["summary"] == {"used": 0, "rejected": 0, "failed": 4}
        assert {photo["reason"] for photo in record["photos"]} == {
            "the run ended before this photo was done"
        }
        assert all(photo["sha256"] for photo in record["photos"])
    else:
        assert record["summary"]["used"] == 4
        assert record["canvas"] == {"width": 64, "height": 48}


def test_on_a_terminal_there_are_bars(monkeypatch):
    from alignimation_core import progress

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    follow = progress.progress_for_terminal()
    assert isinstance(follow, progress.Bars)
    with follow.stage("detecting", 2) as step:
        step()
        step()
    follow.note("[2 of 2] done")
    assert "detecting" in stream.getvalue()
    assert "2/2" in stream.getvalue()
    assert "[2 of 2] done" in stream.getvalue()


@pytest.mark.parametrize(
    ("verb", "flag", "needed"),
    [("check", "--check", True), ("list", "--list", False), ("schema", "--schema", False)],
)
def test_a_verb_prints_what_the_flag_does(recipe, capsys, verb, flag, needed):
    path = [recipe()] if needed else []
    assert main([*path, flag]) == 0
    of_flag = capsys.readouterr()
    assert verbs.main([verb, *path]) == 0
    assert capsys.readouterr() == of_flag


def test_a_mistyped_verb_has_a_near_match(capsys):
    for verb, told in [
        ("chek", "there is no verb 'chek'; did you mean 'check'?"),
        ("recipe.yaml", "there is no verb 'recipe.yaml'; there are run, init, check, "),
    ]:
        with pytest.raises(SystemExit) as status:
            verbs.main([verb, "recipe.yaml"])
        assert status.value.code == 2
        assert f"alignimation: error: {told}" in capsys.readouterr().err


def test_an_option_that_is_a_verb_leads_to_it(capsys):
    for option, told in [("--check", "; there is `alignimation check`\n"), ("--chekc", "\n")]:
        with pytest.raises(SystemExit) as status:
            verbs.main(["run", "recipe.yaml", option])
        assert status.value.code == 2
        error = f"alignimation: error: unrecognized arguments: {option}{told}"
        assert capsys.readouterr().err.endswith(error)


def test_a_verb_makes_the_animation_and_names_itself_in_errors(recipe, tmp_path, capsys):
    assert verbs.main(["run", recipe()]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "out" / "frames.npy")
    assert verbs.main(["check", str(tmp_path / "absent.yaml")]) == 2
    assert capsys.readouterr().err.startswith("alignimation check: ")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_run_that_nobody_listens_to_any_more_ends_as_one_that_is_told_to(recipe, site, tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, recipe()],
        stdout=subprocess.PIPE,
        stderr=writer,
        check=False,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stdout) == (130, b"")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".alignimation",
        "run.json",
    ]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["error"] == "interrupted"


@pytest.mark.parametrize("streams", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_without_standard_streams_writes_into_no_file_of_its_own(
    recipe, site, tmp_path, streams
):
    """The next file that is opened would take the place of the one that is closed."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" "$2" {streams}', sys.executable, MAIN, recipe()],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
    )
    out = tmp_path / "out"
    told = "" if ">&- 2" in streams else f"{out / 'frames.npy'}\n{out / 'a.gif'}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")
    assert json.loads((out / "run.json").read_text())["error"] is None


def test_under_nohup_a_closed_terminal_is_no_reason_to_end():
    code = (
        "import os, signal; from alignimation_core.cli.process import end_with;"
        "end_with(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0)"
    )
    status = {
        how: subprocess.run(
            ["/bin/sh", "-c", f'{how} exec "$0" -c "$1"', sys.executable, code], check=False
        ).returncode
        for how in ("", "trap '' HUP;")
    }
    assert status == {"": 130, "trap '' HUP;": 0}


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interrupt_that_meets_an_object_on_its_way_out_is_not_lost():
    code = (
        "import os, signal, time; from alignimation_core.cli.process import end_with\n"
        "class Leaving:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "def work():\n"
        "    Leaving()\n"
        "    time.sleep(60)\n"
        "end_with(work)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_an_interrupt_that_meets_a_lock_of_pythons_is_one(recipe, capsys, monkeypatch):
    """As in ``Condition.wait``, which is to take its lock again: an interrupt comes before that."""
    from alignimation_core import pipeline
    from alignimation_core.api.errors import AlignimationError

    def interrupted(*_, **__):
        lock = threading.Lock()
        try:
            with lock:
                lock.release()
                signal.raise_signal(signal.SIGINT)
        except RuntimeError as error:
            raise AlignimationError(f"photos: {error}") from error

    monkeypatch.setattr(pipeline, "run", interrupted)
    monkeypatch.setattr(process, "_heard", [])
    before = signal.signal(signal.SIGINT, process._stop)
    try:
        assert main([recipe()]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "alignimation-run: interrupted; nothing half-written was left"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_while_torch_is_imported_counts_once_it_is(number):
    went_on = []

    def imports():
        with process.interrupts_held():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            went_on.append(True)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        imports()
    assert went_on
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("change", "told"), [("", "\\xfcber\n"), (" >&-", "")])
def test_any_name_can_be_told_to_any_output(change, told):
    ending = "end_with(lambda: print('\xfcber') or 0)"
    script = f"from alignimation_core.cli.process import end_with; {ending}"
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "{script}"{change}', sys.executable],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_a_terminal_does_not_obey_what_a_name_says(recipe, site, tmp_path):
    (tmp_path / "photos" / "a\x1b[31m\x07\nb.png").write_bytes(b"no picture")
    code = (
        "import logging, sys; from alignimation_core.cli import main; status = main(sys.argv[1:]);"
        "logging.getLogger('somebody').warning('it is like \\x1b[31m'); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, recipe()],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    assert "a\\x1b[31m\\x07\\nb.png" in done.stderr
    assert "it is like \\x1b[31m" in done.stderr
    assert not {"\x1b", "\x07"} & set(done.stderr + done.stdout)
    record = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert "photos/a\x1b[31m\x07\nb.png" in [photo["path"] for photo in record["photos"]]
