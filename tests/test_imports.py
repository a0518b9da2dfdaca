import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

import alignimation_core
from alignimation_core.api import hooks
from alignimation_core.plugin.registry import KINDS, registry

HEAVY = ("torch", "torchvision", "kornia", "facenet_pytorch", "av", "imageio", "pycocotools", "ray")


def modules_after(code):
    """Return which heavy modules a fresh interpreter has imported after running some code."""
    code = f"import sys, json\n{code}\nprint(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_the_core_imports_nothing_heavy():
    assert modules_after("import alignimation_core") == []


def test_importing_every_plugin_imports_nothing_heavy():
    plugins = {found.stage.__module__ for s in registry().stages.values() for found in s.values()}
    packages = sorted({name.partition(".")[0] for name in plugins})
    assert len(packages) >= 5
    assert modules_after("\n".join(f"import {name}" for name in packages)) == []


COMMAND = """
from alignimation_core.cli import main
try:
    status = main({arguments!r})
except SystemExit as end:
    status = end.code
assert status == 0, status
"""


@pytest.mark.parametrize("option", ["--help", "--version", "--list", "--schema"])
def test_what_only_tells_imports_nothing_heavy(option):
    assert modules_after(COMMAND.format(arguments=[option])) == []


def test_telling_of_every_stage_imports_nothing_heavy():
    names = [found.name for stages in registry().stages.values() for found in stages.values()]
    code = "from alignimation_core.cli.listing import listing\n"
    assert modules_after(code + f"assert all(map(listing, {names}))") == []


def test_check_imports_nothing_heavy(tmp_path):
    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "photos" / "a.jpg")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: photos/\ndetector: mtcnn\nembedder: facenet\nsubject_selector: identity\n"
        "renderers: [video, gif, webp, frames]\n"
    )
    assert modules_after(COMMAND.format(arguments=[str(path), "--check"])) == []


def test_the_public_names_are_all_there():
    for name in alignimation_core.__all__:
        assert getattr(alignimation_core, name) is not None
    assert len(set(alignimation_core.__all__)) == len(alignimation_core.__all__)
    names = {}
    exec("from alignimation_core import *", names)
    assert set(alignimation_core.__all__) <= names.keys()


def test_nothing_public_is_left_out_of_the_public_names():
    public = {
        name
        for name, member in vars(alignimation_core).items()
        if isinstance(member, type) and not name.startswith("_")
    }
    assert public <= set(alignimation_core.__all__)


def test_type_checkers_are_told_where_every_public_name_is_from():
    stub = ast.parse(Path(alignimation_core.__file__).with_suffix(".pyi").read_text())
    homes = {
        alias.name: node.module
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert sorted(homes) == sorted(alignimation_core.__all__)
    for name, home in homes.items():
        module = importlib.import_module(home)
        member = getattr(module, name, None) or importlib.import_module(f"{home}.{name}")
        assert getattr(alignimation_core, name) is member


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = alignimation_core.nothing


ROOT = Path(__file__).parents[1]


def own_modules(code):
    """Return the core's modules that some code imports from, type checkers' imports included."""
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(code))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            public = {*alignimation_core.__all__} if node.module == "alignimation_core" else ()
            found |= {
                node.module if alias.name in public else f"{node.module}.{alias.name}"
                for alias in node.names
            }
    return {name for name in found if name.partition(".")[0] == "alignimation_core"}


def plugin_code():
    """Yield where each piece of plugin code stands, and the code."""
    for folder in (ROOT / "plugins", ROOT / "examples" / "plugins"):
        for path in sorted(folder.rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()
    docs = ROOT / "docs"
    for page in (docs / "plugins.md", *sorted((docs / "plugins").glob("*.md"))):
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            yield str(page.relative_to(ROOT)), code
    for kind in KINDS:
        text = inspect.getdoc(getattr(hooks, f"alignimation_{kind}s"))
        for code in re.findall(r"::\n\n((?:    .*\n|\n)+)", text + "\n"):
            yield f"the hook of {kind}s", code


KIT = {"alignimation_core.testing.StageContract"}


def test_plugins_import_the_public_names_and_the_api_alone():
    pieces = list(plugin_code())
    assert len(pieces) > 30
    assert [own_modules(code) for where, code in pieces if where == "docs/plugins.md"] == [
        {"alignimation_core"},
        {"alignimation_core.testing.StageContract"},
    ]
    allowed = re.compile(r"alignimation_core(\.api(\.[a-z]\w*){1,2}(\.[a-zA-Z]\w*)?)?")
    foreign = {
        where: wrong
        for where, code in pieces
        if (wrong := {name for name in own_modules(code) - KIT if not allowed.fullmatch(name)})
    }
    assert foreign == {}
