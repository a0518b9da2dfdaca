"""Pages made of the code: stages and settings, the Python API, benchmarks."""

import ast
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import docstrings  # beside this file

import alignimation_core
from alignimation_core import api as api_package
from alignimation_core.cli.listing import (
    Option,
    abilities,
    groups,
    options,
    plural,
    weights_of,
)
from alignimation_core.plugin.registry import KINDS, Registered, registry
from alignimation_core.recipe.schema import SETTINGS

ROOT = Path(__file__).parents[1]
BESIDE_API = ("alignimation_core.plot", "alignimation_core.testing")
"""Public modules that an extra brings; they have a page, as each module of the API has."""
OURS = "alignimation"
"""The distribution of whose stages there are pages, whatever else is installed."""


def stages() -> dict[str, str]:
    """Return a page of each kind of stage, their contents, and one of all settings of a recipe."""
    found = {kind: list(_ours(kind)) for kind in KINDS}
    made = {_kind_file(kind): _kind_page(kind, found[kind]) for kind in KINDS}
    lines = [
        "# Stages",
        "",
        "Every stage that comes along, as `alignimation list` tells them of all that is installed.",
        "[Plugins](../plugins.md) add others.",
    ]
    for kind, page in zip(KINDS, made, strict=True):
        file = page.rpartition("/")[2]
        lines += ["", f"## [{plural(kind).capitalize()}]({file})", "", "| stage | |", "|---|---|"]
        lines += [f"| [`{s.name}`]({file}#{s.name}) | {_cell(s.summary)} |" for s in found[kind]]
    return {"stages/index.md": "\n".join(lines) + "\n", **made, "settings.md": _settings()}


def _kind_file(kind: str) -> str:
    return f"stages/{plural(kind).replace(' ', '-')}.md"


def _ours(kind: str) -> Iterator[Registered]:
    for _, stage in sorted(registry().stages[kind].items()):
        if stage.distribution == OURS:
            yield stage


def _kind_page(kind: str, found: list[Registered]) -> str:
    lines = [f"# {plural(kind).capitalize()}", ""]
    for stage in found:
        text = docstrings.markdown(inspect.getdoc(stage.stage) or "")
        lines += [f"## {stage.name}", "", text, ""]
        package = stage.stage.__module__.partition(".")[0]
        lines += [f"In Python: `from {package} import {stage.stage.__name__}`.", ""]
        for verb, words in abilities(stage).items():
            if words:
                lines += [f"{verb.capitalize()}: {_abilities(words)}.", ""]
        for file in weights_of(stage):
            size = "" if file.size is None else f", {file.size / 1e6:.0f} MB"
            lines += [f"Loads [`{file.filename}`]({file.url}){size}: {file.licence}.", ""]
        lines += _table(options(stage.stage.model_json_schema(), nested=True))
    return "\n".join(lines)


def _abilities(words: list[str]) -> str:
    points = [f"`{word.partition('.')[2]}`" for word in words if "." in word]
    told = [f"`{word}`" for word in words if "." not in word]
    return ", ".join(told + ([f"of keypoints {', '.join(points)}"] if points else []))


def _settings() -> str:
    lines = [
        "# Every setting",
        "",
        "The keys of a recipe. [Recipes](recipes.md) tells what they are for. A key that names a",
        "[stage](stages/index.md) is written `detector: mtcnn`, or with options",
        "`detector: {use: mtcnn, min_face: 60}`.",
        "",
    ]
    keys = {"photo_source": "photos", "effect": "effects", "renderer": "renderers"}
    rows = options(SETTINGS.json_schema())
    stage_pages = {keys.get(kind, kind): _kind_file(kind) for kind in KINDS}
    rows = [replace(row, values="stage") if row.name in KINDS else row for row in rows]
    lines += _table(rows, stage_pages)
    for name, group in groups().items():
        lines += [f"## {name}", "", f"{group['description'][0].upper()}{group['description'][1:]}."]
        lines += ["", *_table(options(group, nested=True))]
    return "\n".join(lines)


def _table(rows: list[Option], stage_pages: dict[str, str] | None = None) -> list[str]:
    """Return a table of options; the values of some of them are stages, which have pages."""
    stage_pages = stage_pages or {}
    lines = ["| option | |", "|---|---|"]
    for row in rows:
        default = f"default `{row.default}`".replace("|", "\\|")
        if row.default is None:
            default = "**required**"
        elif row.default == "as below":
            default = "default as below"
        name, values = row.name, f"*{_cell(row.values)}*"
        if page := stage_pages.get(name):
            values = f"[{values}]({page})"
        lines.append(f"| `{name}` | {_cell(row.description)}<br>{values}; {default} |")
    return [*lines, ""] if rows else []


def _cell(text: str) -> str:
    """Return a text as a cell of a table; what stands between backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([*_<\[\]])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


def api() -> dict[str, str]:
    """Return a page of each public module, and one of the names that the package itself has."""
    modules = [import_module(name) for name in _public_modules()]
    made: dict[str, str] = {}
    for module in modules:
        name = module.__name__.removeprefix(f"{api_package.__name__}.")
        name = name.removeprefix(f"{alignimation_core.__name__}.")
        options_ = "{heading_level: 1, show_root_full_path: true, show_symbol_type_heading: false}"
        made[f"api/{name}.md"] = (
            f"---\ntitle: {name}\n---\n\n::: {module.__name__}\n    options: {options_}\n"
        )
    lines = [
        "# Python",
        "",
        "All of these come from `alignimation_core`: `from alignimation_core import Recipe, run`.",
        "",
        "| name | |",
        "|---|---|",
    ]
    whole = []
    for name in alignimation_core.__all__:
        value = getattr(alignimation_core, name)
        if inspect.ismodule(value):
            path = value.__name__
        elif inspect.isclass(value) or inspect.isfunction(value):
            path = f"{value.__module__}.{name}"
        else:
            (home,) = (each.__name__ for each in modules if vars(each).get(name) is value)
            path = f"{home}.{name}"
        summary = (inspect.getdoc(value) or "").partition("\n")[0]
        lines.append(f"| [`{name}`][{path}] | {_cell(summary)} |")
        if not path.startswith(f"{api_package.__name__}."):
            whole.append(f"::: {path}")
    return {"api/index.md": "\n\n".join(["\n".join(lines), *whole]) + "\n", **made}


def _public_modules() -> Iterator[str]:
    for found in pkgutil.walk_packages(api_package.__path__, f"{api_package.__name__}."):
        if "._" not in found.name:
            yield found.name
    yield from BESIDE_API


def benchmarks(docs: Path) -> dict[str, str]:
    """Return a page that says what each benchmark measures, and where its tables are."""
    texts = {page.name: page.read_text(encoding="utf-8") for page in sorted(docs.glob("*.md"))}
    lines = [
        "# The benchmarks",
        "",
        "What measured the figures in these pages. They run in the root of the repository,",
        "with the package installed.",
    ]
    for script in sorted((ROOT / "benchmarks").glob("*.py")):
        text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
        if f"python benchmarks/{script.name}" not in text:
            continue  # a part of others
        lines += ["", f"## {script.stem}", "", docstrings.markdown(text)]
        pages = [name for name, page in texts.items() if f"benchmarks/{script.name}" in page]
        if pages:
            links = [f"[{_title(texts[name])}]({name})" for name in pages]
            lines += ["", f"Its figures: {', '.join(links)}."]
    return {"benchmarks.md": "\n".join(lines) + "\n"}


def _title(page: str) -> str:
    return page.partition("\n")[0].removeprefix("# ")
