"""Runs that the page asks for, who is in the photos, and reviews that cannot begin."""

import importlib.util
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from alignimation_core import Recipe, run
from alignimation_core.cli import verbs
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.review import rendering
from alignimation_imageio import GIF, Video

CROWD = Path(__file__).parents[2] / "stages" / "crowd.py"
TALK = """
import json, sys, time
from alignimation_core.review.rendering import Events
events = Events(sys.stderr)
with events.stage("rendering", 3) as step:
    step(); step()
    print("a warning", file=sys.stderr, flush=True)
    events.note("two\\nlines")
    {rest}
"""


def finished(job, until=lambda state: state["status"] != "running"):
    deadline = time.monotonic() + 60
    while not until(job.state()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return job.state()


def test_a_run_tells_how_far_it_is_and_what_it_says():
    state = finished(rendering.Job([sys.executable, "-c", TALK.format(rest="step()")], "render"))
    assert state | {"left": 0} == {
        "kind": "render",
        "status": "done",
        "lines": ["a warning", "two", "lines"],
        "stage": "rendering",
        "done": 3,
        "total": 3,
        "left": 0,
    }


def test_what_threads_say_meanwhile_comes_between_the_lines_of_a_run():
    written = []
    stream = SimpleNamespace(write=written.append, flush=lambda: None)
    with rendering.Events(stream).stage("rendering", 1) as step:
        step()
    assert [json.loads(each)["done"] for each in written if each] == [0, 1]
    assert all(each.endswith("}\n") for each in written if each)


def test_a_run_that_fails_says_why():
    job = rendering.Job([sys.executable, "-c", TALK.format(rest="sys.exit('no')")], "preview")
    state = finished(job)
    assert (state["status"], state["lines"][-1]) == ("failed", "no")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_run_is_stopped_without_a_word_and_one_that_will_not_is_killed(monkeypatch):
    wait = "time.sleep(60)"
    job = rendering.Job([sys.executable, "-c", TALK.format(rest=wait)], "render")
    finished(job, lambda state: len(state["lines"]) == 3)
    job.stop()
    state = finished(job)
    assert (state["status"], state["lines"][-1]) == ("stopped", "lines")
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {wait}"
    monkeypatch.setattr(rendering, "PATIENCE", 0.2)
    job = rendering.Job([sys.executable, "-c", TALK.format(rest=deaf)], "render")
    finished(job, lambda state: len(state["lines"]) == 3)
    time.sleep(0.1)
    job.end()
    assert job.state()["status"] == "stopped"


def test_only_one_run_at_a_time_and_what_is_no_kind_of_run_is_refused(
    recipe_file, client_of, review
):
    command = [sys.executable, "-c", TALK.format(rest="time.sleep(60)")]
    client = client_of(recipe_file, command)
    assert client.get("job").json() is None
    assert client.post("start", json="anything").status_code == 409
    assert client.post("start", json="preview").status_code == 200
    answer = client.post("start", json="render")
    assert answer.json() == {"error": "a run is under way; wait until it ends, or stop it"}
    client.post("stop", json={})
    assert finished(client.session._job)["kind"] == "preview"
    assert client.session.close() is False


def test_a_preview_is_small_and_writes_one_film(discs_recipe):
    recipe = discs_recipe(
        renderers=[GIF(path="a.gif"), Video(path="b.mp4", fps=7)],
        canvas=CanvasOptions(size="1080x1350"),
        max=5000,
    )
    preview = rendering.small(recipe, None)
    assert preview.canvas.size == "384x480"
    assert preview.renderers == (Video(path="preview.mp4", fps=7),)
    assert preview.max == rendering.PREVIEWED
    assert preview.report is False
    recipe = discs_recipe(renderers=[GIF(path="a.gif")], canvas=CanvasOptions())
    preview = rendering.small(recipe, {"width": 1920, "height": 1080})
    assert preview.canvas.size == "480x270"
    assert preview.renderers == (Video(path="preview.mp4"),)
    assert rendering.small(recipe, None).canvas.size is None


def test_a_preview_of_a_film_for_editors_is_one_that_browsers_show(discs_recipe):
    film = Video(path="film.mov", codec="prores", fps=5)
    preview = rendering.small(discs_recipe(renderers=[film]), None)
    assert preview.renderers == (Video(path="preview.mp4", fps=5),)
    film = Video(path="film.mp4", codec="h265", crf=40)
    preview = rendering.small(discs_recipe(renderers=[film]), None)
    assert preview.renderers == (Video(path="preview.mp4"),)


PEOPLE = """\
photos: photos/
detector: squares
embedder: colours
subject_selector: {use: identity, facing_forward: false}
canvas: {size: 64x48}
score: false
report: false
"""


def test_people_are_piles_of_faces_of_which_one_is_picked(tmp_path, install, client_of):
    install("alignimation-crowd", CROWD.read_text(), module="alignimation_crowd")
    spec = importlib.util.spec_from_file_location("crowd_paint", CROWD)
    crowd = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(crowd)
    for year, colours in enumerate(((crowd.RED, crowd.GREEN), (crowd.GREEN, crowd.RED)), 2001):
        crowd.paint(tmp_path / "photos" / f"{year}-01-01.png", *colours, seed=year)
    crowd.paint(tmp_path / "photos" / "2003-01-01.png", None, crowd.RED, seed=3)
    path = tmp_path / "recipe.yaml"
    path.write_text(PEOPLE)
    run(Recipe.load(path))
    client = client_of(path)
    assert client.get("people").json() == [
        {"number": 1, "years": "2001 to 2003", "faces": [[0, 1], [1, 2], [2, 1]]},
        {"number": 2, "years": "2001 to 2002", "faces": [[0, 2], [1, 1]]},
    ]
    client.post("set", json={"location": ["subject_selector", "person"], "value": 2})
    assert Recipe.load(path).subject_selector.person == 2
    assert client.get("state").json()["person"] == 2
    record = run(Recipe.load(path))
    assert record.summary == {"used": 2, "rejected": 1, "failed": 0}
    assert client.post("reload", json={}).status_code == 200
    assert client.get("state").json()["summary"]["used"] == 2


def test_a_review_needs_a_run_a_free_port_and_no_other_review(recipe_file, capsys):
    given = ["review", str(recipe_file), "--no-browser"]
    assert verbs.main(given) == 1
    out = recipe_file.parent / "out"
    said = f"{out / 'run.json'}: there is no run record yet; run the recipe first"
    assert capsys.readouterr().err == f"alignimation review: {said}\n"
    run(Recipe.load(recipe_file))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert verbs.main([*given, "--port", str(port)]) == 1
    assert capsys.readouterr().err.startswith(
        f"alignimation review: port {port} cannot be used (Address already in use); give another"
    )
    (out / ".alignimation" / "review.address").write_text("http://127.0.0.1:1/token/")
    with FileLock(out / ".alignimation" / "review.lock"):
        assert verbs.main(given) == 1
    assert capsys.readouterr().err == (
        f"alignimation review: {recipe_file} is being reviewed already at "
        "http://127.0.0.1:1/token/; go there, or end that\n"
    )


def test_without_its_packages_it_says_which_to_install(recipe_file, monkeypatch, capsys):
    run(Recipe.load(recipe_file))
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert verbs.main(["review", str(recipe_file)]) == 1
    assert capsys.readouterr().err == (
        "alignimation review: the review page needs one more package: pip install "
        "'alignimation[review]'\n"
    )


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_and_leaves_no_address(recipe_file, monkeypatch, capsys):
    import uvicorn

    out = recipe_file.parent / "out" / ".alignimation"
    run(Recipe.load(recipe_file))

    def interrupted(self, sockets):
        assert (out / "review.address").stat().st_mode & 0o777 == 0o600
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    assert verbs.main(["review", str(recipe_file), "--no-browser"]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
    assert not (out / "review.address").exists()
