"""What the other commands read and write while a run has the folder, and through which links."""

import importlib.util
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from alignimation_core import Recipe, run
from alignimation_core.cli import verbs
from alignimation_imageio import Frames

STAGES = Path(__file__).parents[1] / "stages" / "crowd.py"
PILE = {"2001": ("RED", "GREEN"), "2002": ("GREEN", "RED"), "2003": ("RED",)}


@pytest.fixture
def recipe(tmp_path, install, discs_installed):
    """A recipe of stages that tell coloured squares apart."""
    spec = importlib.util.spec_from_file_location("alignimation_crowd", STAGES)
    crowd = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(crowd)
    for seed, (year, names) in enumerate(PILE.items()):
        squares = (getattr(crowd, name) for name in names)
        crowd.paint(tmp_path / "photos" / f"{year}-01-01.png", *squares, seed=seed)
    install("alignimation-crowd", STAGES.read_text(), module="alignimation_crowd")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: photos/\ndetector: squares\nembedder: colours\ntarget_builder: points\n"
        "transform_model: closed-form\nrenderers: [frames]\n"
        "subject_selector:\n  use: identity\n  facing_forward: false\n"
    )
    return path


def frames(folder):
    return {path.name: path.read_bytes() for path in (folder / "out" / "frames").iterdir()}


def test_people_correct_explain_and_check_go_on_while_a_run_has_the_folder(
    recipe, tmp_path, capsys
):
    """And the run knows nothing of it."""
    run(Recipe.load(recipe))
    before = frames(tmp_path)
    begun, go_on, records = threading.Event(), threading.Event(), []

    class Slow(Frames):
        def open(self, canvas, count, folder):
            writer = super().open(canvas, count, folder)
            begun.set()
            assert go_on.wait(60)
            return writer

    slow = replace(Recipe.load(recipe), renderers=[Slow()])
    under_way = threading.Thread(target=lambda: records.append(run(slow, wait=False)))
    under_way.start()
    try:
        assert begun.wait(60)
        for verb, *more in (
            ["people"],
            ["explain"],
            ["check"],
            ["correct", "--leave-out", "2003-01-01"],
        ):
            assert verbs.main([verb, str(recipe), *more]) == 0, capsys.readouterr().err
    finally:
        go_on.set()
        under_way.join(60)
    (record,) = records
    assert (record.outputs, record.summary["used"]) == (["frames"], 3)
    assert frames(tmp_path) == before
    assert sorted(path.name for path in (tmp_path / "out" / "people").iterdir()) == [
        "1.jpg",
        "2.jpg",
    ]
    assert run(Recipe.load(recipe)).summary["used"] == 2


@pytest.mark.parametrize("name", ["people", "people/1.jpg"])
def test_sheets_are_written_through_no_link(recipe, tmp_path, capsys, name):
    place, mine = tmp_path / "out" / name, tmp_path / "mine"
    place.parent.mkdir(parents=True)
    if name == "people":
        mine.mkdir()
    else:
        mine.write_bytes(b"mine")
    place.symlink_to(mine)
    assert verbs.main(["people", str(recipe)]) == 1
    what = "folder of contact sheets" if name == "people" else "contact sheet of this command"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"alignimation people: {place} is no {what}; move it away"
    assert place.is_symlink()
    assert list(mine.iterdir()) == [] if name == "people" else mine.read_bytes() == b"mine"


def test_what_a_killed_command_left_among_the_sheets_is_removed_and_no_link_in_it_followed(
    recipe, tmp_path, capsys
):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    home, mine = tmp_path / "out" / "people", tmp_path / "mine"
    home.mkdir(parents=True)
    mine.write_bytes(b"mine")
    (home / f".9.jpg.part-{ended.pid}").write_bytes(b"half")
    (home / f".1.jpg.part-{os.getpid()}").symlink_to(mine)
    assert verbs.main(["people", str(recipe)]) == 0, capsys.readouterr().err
    assert sorted(path.name for path in home.iterdir()) == ["1.jpg", "2.jpg"]
    assert mine.read_bytes() == b"mine"


@pytest.mark.parametrize("there", [True, False])
def test_corrections_are_written_through_no_link(recipe, tmp_path, capsys, there):
    file, mine = tmp_path / "corrections.yaml", tmp_path / "mine.yaml"
    if there:
        mine.write_text("2001-01-01.png: {use: true}\n")
    file.symlink_to(mine)
    assert verbs.main(["correct", str(recipe), "--leave-out", "2003-01-01"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"alignimation correct: {file} is a link; nothing is written through links; name what it "
        "leads to in `corrections`"
    )
    assert file.is_symlink()
    assert not there or mine.read_text() == "2001-01-01.png: {use: true}\n"
    assert mine.exists() == there
    arguments = ["correct", str(recipe), "--set", "corrections=mine.yaml"]
    assert verbs.main([*arguments, "--leave-out", "2003-01-01"]) == 0
    assert "2003-01-01.png" in mine.read_text()
