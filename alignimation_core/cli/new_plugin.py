"""``alignimation new-plugin``: write a package with a plugin of your own, ready to be installed."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path

from alignimation_core.cli.arguments import add_trace

TEMPLATE = Path(__file__).with_name("template")

SUMMARIES = {
    "photo_source": "Photos that a table lists, with the times at which they were taken.",
    "detector": "Finds what is bright in a photo: the middle of its brightest pixels.",
    "embedder": "Tells individuals apart by the mean colour inside the box.",
    "subject_selector": "Takes the detection nearest to the left edge of each photo.",
    "target_builder": "Draws the box around the subject, filled.",
    "transform_model": "Moves each photo so that the means of the points meet, and no more.",
    "effect": "Lets the photos pale with time, from a first one that is shown longer.",
    "renderer": "The mean of all photos as one picture, a PNG file.",
}
"""What the stage of a new plugin does, by its kind, until its author has it do something else."""

RECIPES = {
    "photo_source": "photos: {{use: {name}, path: photos.csv}}",
    "detector": "detector: {name}\ntransform_model: translation  # a single point gives no size",
    "embedder": "embedder: {name}",
    "subject_selector": "subject_selector: {name}",
    "target_builder": "target_builder: {name}",
    "transform_model": "transform_model: {name}",
    "effect": "effects: [{name}]",
    "renderer": "renderers: [{name}]",
}
"""The lines of a recipe that use it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``alignimation new-plugin``."""
    parser.add_argument("name", help="what recipes will say, in small letters, such as full-moon")
    parser.add_argument(
        "--kind",
        required=True,
        choices=sorted(SUMMARIES),
        type=lambda text: text.replace("-", "_"),
        help=f"what it is: {', '.join(sorted(SUMMARIES))}",
        metavar="KIND",
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path(), help="folder to write it into; else here"
    )
    add_trace(parser)


def work(given: argparse.Namespace) -> int:
    """Write the package; print its path."""
    folder = write(given.name.removeprefix("alignimation-"), given.kind, given.out)
    there = shlex.quote(str(folder))
    print(
        f"install it and run its tests: cd {there} && pip install -e '.[test]' && pytest",
        file=sys.stderr,
    )
    print(folder)
    return 0


def write(name: str, kind: str, out: Path) -> Path:
    """Write the package of a new plugin, and return its folder.

    Args:
        name: of its stage; ``alignimation-NAME`` is the package's.
        kind: of its stage, one of ``SUMMARIES``.
        out: the folder in which its own is made.

    Raises:
        PluginError: the name is none, or is taken.
        OutputError: the package cannot be written, or something is there.
    """
    from alignimation_core.api import atomic
    from alignimation_core.api.errors import OutputError

    _check(name, kind)
    folder = out / f"alignimation-{name}"
    if os.path.lexists(folder):
        raise OutputError(f"{folder} is there already; move it away, or give another name or --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{out}: this folder cannot be made ({error.strerror}); give another --out"
        raise OutputError(what) from error
    try:
        with atomic.AtomicWrite(folder) as part:
            for place, text in files(name, kind).items():
                (part / place).parent.mkdir(parents=True, exist_ok=True)
                (part / place).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: {atomic.reason(error, 'give another --out')}") from error
    return folder


def _check(name: str, kind: str) -> None:
    """Check that a stage can be called so.

    Raises:
        PluginError: it cannot.
    """
    from importlib.util import find_spec

    from alignimation_core.api.errors import PluginError, shown
    from alignimation_core.plugin.registry import is_name, registry

    if not is_name(name):
        raise PluginError(
            f"{shown(name)} is no name for a plugin: take small letters and digits, with hyphens "
            "between words, such as full-moon"
        )
    if (found := registry().stages[kind].get(name)) is not None:
        what = f"there is a {kind.replace('_', ' ')} {name!r} already, in {found.distribution}"
        raise PluginError(f"{what}; take another name")
    if find_spec(_package(name)) is not None:
        raise PluginError(f"a package {_package(name)} is installed already; take another name")


def _package(name: str) -> str:
    return f"alignimation_{name.replace('-', '_')}"


def files(name: str, kind: str) -> dict[str, str]:
    """Return the files of the package of a new plugin: their texts by their places in it."""
    import time
    from importlib.metadata import version

    import jinja2

    package = _package(name)
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - these are no pages
    )
    facts = {
        "name": name,
        "kind": kind,
        "package": package,
        "distribution": f"alignimation-{name}",
        "class_name": "".join(word.title() for word in name.split("-")),
        "summary": SUMMARIES[kind],
        "recipe": RECIPES[kind].format(name=name),
        "version": version("alignimation"),
        "year": time.localtime().tm_year,
    }
    places = {
        f"{package}/__init__.py": (f"stages/{kind}.py.j2", "hook.py.j2"),
        f"{package}/py.typed": (),
        f"tests/test_{package}.py": ("test_stage.py.j2",),
        "pyproject.toml": ("pyproject.toml.j2",),
        "README.md": ("README.md.j2",),
        "LICENSE": ("LICENSE.j2",),
        ".gitignore": ("gitignore.j2",),
        ".github/workflows/test.yml": ("test.yml.j2",),
    }
    return {
        place: "".join(made.get_template(each).render(facts) for each in templates)
        for place, templates in places.items()
    }
