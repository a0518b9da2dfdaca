"""The notebook of the examples runs, cell by cell, and draws."""

import ast
import json
import re
from pathlib import Path

import pytest

from alignimation_core.plot import Plot

EXAMPLES = Path(__file__).parents[1] / "examples"
BOOK = json.loads((EXAMPLES / "notebook.ipynb").read_text())
CODE = [cell for cell in BOOK["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_small_and_its_pictures_are_those_of_its_cells():
    assert (BOOK["nbformat"], BOOK["nbformat_minor"]) == (4, 5)
    assert (EXAMPLES / "notebook.ipynb").stat().st_size < 500_000
    assert [cell["execution_count"] for cell in CODE] == [*range(1, len(CODE) + 1)]
    pictures = [
        cell for cell in CODE if any("image/jpeg" in out.get("data", ()) for out in cell["outputs"])
    ]
    assert pictures == [cell for cell in CODE if "plot." in cell["source"][-1]]


def test_the_links_of_the_notebook_lead_somewhere():
    text = "".join(line for cell in BOOK["cells"] for line in cell["source"])
    for link in re.findall(r"\]\(([^)#\s]+)\)", text):
        assert "://" in link or (EXAMPLES / link).exists(), link


@pytest.mark.slow
def test_the_notebook_tells_the_story_again(tmp_path, monkeypatch, capsys):
    for name in ("body", "quickstart"):
        (tmp_path / name).symlink_to(EXAMPLES / name)
    monkeypatch.chdir(tmp_path)
    names, plots = {}, []
    for cell in CODE:
        *before, last = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Module(before, []), "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            plots.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
        else:
            exec(compile(ast.Module([last], []), "cell", "exec"), names)
        told = [line for out in cell["outputs"] for line in out.get("text", [])]
        assert capsys.readouterr().out.splitlines(True) == told
    drawn = [each for each in plots if each is not None]
    assert len(drawn) == 8
    assert all(isinstance(each, Plot) and each._repr_png_() for each in drawn)
    assert names["record"].summary == {"used": 15, "rejected": 1, "failed": 0}
    assert (tmp_path / "out" / "belly.mp4").is_file()
