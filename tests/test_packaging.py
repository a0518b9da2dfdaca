"""What packages are made of, and what the documentation of installing says of them."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGE = (ROOT / "examples" / "ray" / "Dockerfile").read_text()


def test_the_version_stands_in_one_place():
    number = PROJECT["project"]["version"]
    sources = [*ROOT.glob("alignimation_core/**/*.py"), *ROOT.glob("plugins/**/*.py")]
    assert sources
    assert [path for path in sources if number in path.read_text(encoding="utf-8")] == []


def test_the_image_of_a_node_has_all_that_the_package_is_built_from():
    copied = set()
    for sources in re.findall(r"^COPY (.*) \S+$", IMAGE, re.MULTILINE):
        copied |= {*sources.split()}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    licences, readme = PROJECT["project"]["license-files"], PROJECT["project"]["readme"]
    assert copied == {"pyproject.toml", readme, *licences, *wheel["only-include"]}
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.parametrize(
    "path", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_extras_that_documents_name_are_there(path):
    named = set()
    for extras in re.findall(r"(?:alignimation|\.)\[([a-z,]+)\]", (ROOT / path).read_text()):
        named |= {*extras.split(",")}
    assert named <= PROJECT["project"]["optional-dependencies"].keys()


def test_every_extra_is_told_of_and_those_of_the_image_are_there():
    extras = PROJECT["project"]["optional-dependencies"].keys()
    (named,) = re.findall(r"'\.\[([a-z,]+)\]'", IMAGE)
    assert {*named.split(",")} <= extras
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    texts = [re.findall(r"\[([a-z,]+)\]", path.read_text()) for path in documents]
    told = {extra for text in texts for listed in text for extra in listed.split(",")}
    assert extras <= told
