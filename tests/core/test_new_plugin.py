"""``alignimation new-plugin``: a package of every kind, which passes its own tests."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml

from alignimation_core import Recipe
from alignimation_core.cli import new_plugin
from alignimation_core.cli.verbs import main
from alignimation_core.plugin.registry import KINDS, registry


def lines(text):
    return text.replace("alignimation new-plugin: ", "").splitlines()


def test_every_kind_has_its_template():
    assert new_plugin.SUMMARIES.keys() == new_plugin.RECIPES.keys() == KINDS.keys()
    stages = {path.name for path in (new_plugin.TEMPLATE / "stages").iterdir()}
    assert stages == {f"{kind}.py.j2" for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_is_whole_and_the_recipe_of_its_readme_is_right(
    kind, install, tmp_path, capsys
):
    name = "full-moon"
    assert main(["new-plugin", name, "--kind", kind.replace("_", "-"), "--out", str(tmp_path)]) == 0
    folder = tmp_path / "alignimation-full-moon"
    said = capsys.readouterr()
    assert said.out == f"{folder}\n"
    assert said.err == (
        f"install it and run its tests: cd {folder} && pip install -e '.[test]' && pytest\n"
    )
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there == {
        "alignimation_full_moon/__init__.py",
        "alignimation_full_moon/py.typed",
        "tests/test_alignimation_full_moon.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        ".gitignore",
        ".github/workflows/test.yml",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "alignimation-full-moon"
    assert project["dependencies"] == [f"alignimation>={version('alignimation')}"]
    assert project["entry-points"]["alignimation"] == {
        "alignimation_full_moon": "alignimation_full_moon"
    }
    jobs = yaml.safe_load((folder / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    assert jobs["test"]["steps"][1]["with"] == {"python-version": "${{ matrix.python }}"}
    code = (folder / "alignimation_full_moon" / "__init__.py").read_text()
    install("alignimation-full-moon", code)
    found = registry().stages[kind][name]
    assert found.summary == new_plugin.SUMMARIES[kind]
    recipe = yaml.safe_load(
        (folder / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    )
    Recipe.of({"photos": "a", "detector": "mtcnn", **recipe}, folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_package_can_be_installed_and_passes_its_own_tests(kind, tmp_path):
    folder = new_plugin.write("full-moon", kind, tmp_path)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--no-build-isolation", "--no-index", "--target", "site", str(folder)]
    done = subprocess.run(pip, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "no entry point" not in done.stdout  # which would skip that it can be found
    assert " passed" in done.stdout


@pytest.mark.parametrize("name", ["2moon", "my moon", "Moon", "moon_", "full--moon", "möön", "on"])
def test_a_name_that_is_none_is_one_line(name, tmp_path, capsys):
    assert main(["new-plugin", name, "--kind", "effect", "--out", str(tmp_path)]) == 2
    assert lines(capsys.readouterr().err) == [
        (
            f"{name!r} is no name for a plugin: take small letters and digits, with hyphens "
            "between words, such as full-moon"
        )
    ]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        ("mtcnn", "detector", "there is a detector 'mtcnn' already, in alignimation"),
        ("subject", "effect", "a package alignimation_subject is installed already"),
    ],
)
def test_a_name_that_is_taken_is_one_line(name, kind, line, tmp_path, capsys):
    assert main(["new-plugin", name, "--kind", kind, "--out", str(tmp_path)]) == 2
    assert lines(capsys.readouterr().err) == [f"{line}; take another name"]


def test_the_folders_name_is_quoted_for_the_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new-plugin", "moon", "--kind", "effect", "--out", "my plugins"]) == 0
    assert ": cd 'my plugins/alignimation-moon' && pip " in capsys.readouterr().err


def test_what_is_there_already_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "alignimation-moon"
    folder.mkdir()
    arguments = ["new-plugin", "alignimation-moon", "--kind", "effect", "--out", str(tmp_path)]
    assert main(arguments) == 1
    assert lines(capsys.readouterr().err) == [
        f"{folder} is there already; move it away, or give another name or --out"
    ]
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "inside"
    assert main(["new-plugin", "moon", "--kind", "effect", "--out", str(out)]) == 1
    assert lines(capsys.readouterr().err) == [
        f"{out}: this folder cannot be made (Not a directory); give another --out"
    ]
