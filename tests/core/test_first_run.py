"""A run of photos without a recipe, the recipe that it leaves, and shell completion."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from alignimation_core.api import weights
from alignimation_core.api.errors import WeightsError
from alignimation_core.cli import main, starter, verbs
from alignimation_core.recipe.recipe import Recipe


@pytest.fixture
def offline(monkeypatch):
    """Nothing that tells people apart is here, nor can it be had."""

    def fetch(needed, *, progress=None):
        raise WeightsError(f"{needed.filename} cannot be fetched")

    monkeypatch.setattr(starter, "EMBEDDERS", ("facenet",))
    monkeypatch.setattr(weights, "find", lambda *_: None)
    monkeypatch.setattr(weights, "fetch", fetch)


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my photos"
    folder.mkdir()
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(folder / "2018-07-04.png")
    return folder


def test_photos_alone_are_run_and_leave_a_recipe(photos, offline, capsys):
    assert main(["my photos/", "--size", "320x400", "--fps", "3"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[1:3] == [
        (
            "nothing here tells people apart (20180402-114759-vggface2.pt cannot be fetched); the "
            "largest face of each photo is taken (`largest`)"
        ),
        f"the recipe of this run is {Path('out', 'recipe.yaml')}: edit it, and run it again",
    ]
    recipe = yaml.safe_load((photos.parent / "out" / "recipe.yaml").read_text())
    assert recipe["photos"] == "../my photos"
    assert recipe["subject_selector"] == "largest"
    assert (recipe["canvas"]["size"], recipe["renderers"][0]["fps"]) == ("320x400", 3)
    assert said[-1].startswith("alignimation-run: no photo shows the subject: 1 rejected: ")
    first = json.loads((photos.parent / "out" / "run.json").read_text())
    assert main([str(Path("out", "recipe.yaml"))]) == 1
    again = json.loads((photos.parent / "out" / "run.json").read_text())
    assert (again["recipe"], again["photos"]) == (first["recipe"], first["photos"])


def test_the_same_again_goes_on_and_something_else_spares_the_recipe(photos, offline, capsys):
    out = photos.parent / "o"
    assert verbs.main(["init", "my photos", "--out", "o"]) == 0
    assert capsys.readouterr().out == f"{Path('o', 'recipe.yaml')}\n"
    edited = (out / "recipe.yaml").read_text() + "seed: 7\n"
    assert verbs.main(["init", "my photos", "--out", "o"]) == 0
    (out / "recipe.yaml").write_text(edited)
    assert verbs.main(["init", "my photos", "--out", "o"]) == 1
    path = Path("o", "recipe.yaml")
    assert capsys.readouterr().err == (
        f"alignimation init: {path} is there already, and says something else; run it "
        f"(alignimation-run {path}), move it away, or give another --out\n"
    )
    assert (out / "recipe.yaml").read_text() == edited


@pytest.mark.parametrize("command", [["init", "empty/"], ["run", "empty/"], ["init", "typo/"]])
def test_where_there_are_no_photos_no_recipe_is_left(photos, offline, capsys, command):
    (photos.parent / "empty").mkdir()
    assert verbs.main(command) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{photos.parent / command[1]}" in told.err
    assert not (photos.parent / "out").exists()


@pytest.mark.parametrize("name", ["a: b", '"q" #', "\u00fc\U0001f468\u200d\U0001f467", "{x}", "~a"])
def test_photos_of_any_name_are_found_by_the_recipe(photos, name):
    there = photos.rename(photos.with_name(name))
    assert verbs.main(["init", f"./{name}", "--out", "o"]) == 0
    recipe = Recipe.load(photos.parent / "o" / "recipe.yaml")
    (found,) = recipe.photos
    assert (recipe.folder / found).samefile(there)


def test_what_tells_people_apart_is_used_where_it_is_here(photos, monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "find", lambda *_: tmp_path / "weights.pt")
    assert verbs.main(["init", "my photos"]) == 0
    recipe = Recipe.load("out/recipe.yaml")
    assert (recipe.embedder.name, recipe.subject_selector.name) == ("facenet", "identity")


def test_bodies(photos):
    assert verbs.main(["init", "my photos", "--body"]) == 0
    recipe = Recipe.load("out/recipe.yaml")
    assert (recipe.detector.name, recipe.subject_selector.name) == ("keypoint-rcnn", "largest")
    assert "left_hip" in recipe.target_builder.keypoints
    assert recipe.renderers[0].fps == 4
    assert "install the plugin alignimation-mediapipe" in Path("out/recipe.yaml").read_text()


@pytest.mark.parametrize("gpu", [True, False])
def test_a_run_of_bodies_tells_what_needs_no_gpu(photos, capsys, monkeypatch, gpu):
    def fetch(needed, *, progress=None):
        raise WeightsError("cannot be fetched")

    monkeypatch.setattr(weights, "fetch", fetch)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    main(["my photos", "--body"])
    advice = (
        "without a GPU `keypoint-rcnn` takes seconds a photo; `mediapipe-pose`, of the plugin "
        "alignimation-mediapipe, takes under 0.1 s"
    )
    assert (advice in capsys.readouterr().err.splitlines()) is not gpu


def test_what_is_photos_and_what_a_recipe(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(photos / "2018-07-04.png", "a.png")
    (tmp_path / "recipe.yaml").write_text("photos: a/\n")
    (tmp_path / "recipe").write_text("photos: a/\n")
    asked = ["my photos", "a.zip", "s3://b/photos", "recipe.yaml", "recipe", "absent"]
    assert [starter.is_photos(each) for each in asked] == [True] * 3 + [False] * 3


def test_what_is_no_photos_gets_no_recipe(photos, capsys, tmp_path):
    Path("r.yaml").write_text("photos: a/\n")
    Path("notes.txt").write_text("of the summer")
    for given, told in [
        ("r.yaml", "this is a recipe, no photos; run it: alignimation-run r.yaml"),
        ("notes.txt", "this is a text file, no photo; replace or remove it"),
        ("absent", f"{tmp_path / 'absent'} does not exist"),
    ]:
        assert verbs.main(["init", given]) == 2
        assert capsys.readouterr().err == f"alignimation init: {given}: {told}\n"
    assert verbs.main(["init", ""]) == 2
    advice = "photos: give a folder of photos, an archive, a film or an address"
    assert capsys.readouterr().err == f"alignimation init: {advice}\n"
    assert not Path("out").exists()
    assert verbs.main(["init", "my photos/2018-07-04.png"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["my photos", "--size", "12"],
            "--size 12: '12' is no size; write WIDTHxHEIGHT, such as 1080x1350",
        ),
        (
            ["my photos", "--out", "s3://b/out"],
            "--out: expected a folder here; write an address into the recipe, as `output`",
        ),
        (
            ["my photos", "--set", "seed=1"],
            "--set: is for a recipe; `alignimation init` writes one to be edited",
        ),
        (
            ["recipe.yaml", "--fps", "3"],
            "--fps: is for photos without a recipe; write it into the recipe, or use --set",
        ),
        (
            ["recipe.yaml", "--body"],
            "--body: is for photos without a recipe; write it into the recipe, or use --set",
        ),
    ],
)
def test_wrong_options_are_one_line(photos, offline, capsys, arguments, message):
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.splitlines()[-1] == f"alignimation-run: {message}"
    assert "nothing here tells people apart" not in said  # nothing was asked for before
    assert not (photos.parent / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--fps", "0"], "argument --fps: '0' is no number of photos a second"),
        (["photos", "--fps", "x"], "argument --fps: 'x' is no number of photos a second"),
        (["photos", "--face", "--body"], "argument --body: not allowed with argument --face"),
        (
            ["r.yaml", "--check", "--fps", "3"],
            "--face, --body, --out, --size and --fps are for a run of photos",
        ),
    ],
)
def test_wrong_arguments(capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"alignimation-run: error: {message}"


def test_an_output_folder_that_cannot_be_made(photos, capsys):
    (photos.parent / "o").write_text("")
    assert verbs.main(["init", "my photos", "--out", "o"]) == 1
    assert capsys.readouterr().err.startswith(f"alignimation init: {Path('o', 'recipe.yaml')}: ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_shell_is_told_how_to_complete(shell, capsys):
    assert verbs.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "alignimation-run" in script
    assert "_ARGCOMPLETE" in script


@pytest.mark.parametrize(
    ("program", "line", "expected"),
    [
        ("verbs", "alignimation expl", ["explain "]),
        ("run", "alignimation-run r.yaml --fr", ["--fresh "]),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="shells of Windows ask in another way")
def test_a_shell_that_asks_is_answered(tmp_path, program, line, expected):
    answer = tmp_path / "answer"
    asked = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    code = f"from alignimation_core.cli.{program} import main; main()"
    subprocess.run([sys.executable, "-c", code], env=os.environ | asked, check=True, timeout=60)
    assert answer.read_text().split("\n") == expected
