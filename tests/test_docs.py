"""What the documentation shows works as shown."""

import os
import re
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch
import yaml
from PIL import Image

from alignimation_core import Recipe
from alignimation_core.api.hooks import PROJECT
from alignimation_core.cli import new_plugin
from alignimation_core.plugin.registry import KINDS, registry

ROOT = Path(__file__).parents[1]


def read(path):
    return (ROOT / path).read_text()


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", read(path), re.DOTALL)


def test_the_plugin_of_the_docs_is_found_and_finds_the_moon(install):
    code, _ = blocks("docs/plugins.md", "python")
    install("alignimation-moon", code)
    moon = registry().stages["detector"]["moon"]
    assert moon.summary == "Finds the moon: the centre of the brightest pixels."
    y, x = torch.meshgrid(torch.arange(60), torch.arange(80), indexing="ij")
    sky = (((x + 0.5 - 50.3) ** 2 + (y + 0.5 - 20.7) ** 2) < 64).byte() * 255
    (seen,) = moon.stage().detect([sky.expand(3, -1, -1)])
    assert seen.subject(0).keypoints["centre"] == pytest.approx((50.3, 20.7), abs=0.2)


def test_the_plugin_of_the_docs_passes_the_tests_of_the_docs(install, site, tmp_path, monkeypatch):
    code, tests = blocks("docs/plugins.md", "python")
    install("alignimation-moon", code)
    monkeypatch.setenv("PYTHONPATH", str(site))
    path = tmp_path / "test_moon.py"
    path.write_text(tests)
    quiet = ["-p", "no:terminal", "-p", "no:cacheprovider", "-c", os.devnull]
    assert pytest.main([*quiet, f"--rootdir={tmp_path}", str(path)]) == pytest.ExitCode.OK


PAGES = {
    "photo-sources": "table",
    "detectors": "moon",
    "embedders": "coat",
    "subject-selectors": "leftmost",
    "target-builders": "box",
    "transform-models": "meet",
    "effects": "fading",
    "renderers": "mean",
}
"""The names of the plugins that the pages of the kinds show."""


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_of_a_kind_shows_what_new_plugin_writes(kind):
    page = f"{kind.replace('_', '-')}s"
    name = PAGES[page]
    (code,) = blocks(f"docs/plugins/{page}.md", "python")
    assert code == new_plugin.files(name, kind)[f"alignimation_{name}/__init__.py"]
    text = (ROOT / "docs" / "plugins" / f"{page}.md").read_text()
    assert f"`alignimation new-plugin {name} --kind {kind}`" in text
    assert (
        f"[{kind.replace('_', ' ')}](plugins/{page}.md)" in (ROOT / "docs/plugins.md").read_text()
    )


def test_the_readme_names_the_entry_point_group_and_its_recipe_is_right(tmp_path):
    assert f"entry point in the group `{PROJECT}`" in (ROOT / "README.md").read_text()
    (text,) = blocks("README.md", "yaml")
    recipe = Recipe.of(yaml.safe_load(text), folder=tmp_path)
    assert recipe.embedder is not None
    assert recipe.embedder.name == "facenet"


def test_the_photo_sources_of_the_docs_are_right(tmp_path):
    texts = [
        text
        for text in blocks("docs/recipes.md", "yaml")
        if text.startswith("photos:") and ("use: video" in text or ".zip" in text)
    ]
    assert len(texts) >= 2
    for text in texts:
        recipe = Recipe.of({"detector": "mtcnn", **yaml.safe_load(text)}, folder=tmp_path)
        assert recipe.photos


def test_the_effects_of_the_docs_are_right(tmp_path):
    (text,) = [text for text in blocks("docs/recipes.md", "yaml") if text.startswith("effects:")]
    recipe = Recipe.of(
        {"photos": "a", "detector": "mtcnn", **yaml.safe_load(text)}, folder=tmp_path
    )
    assert [effect.name for effect in recipe.effects] == ["pace", "morph", "caption"]
    assert [effect.name for effect in recipe.renderers[1].effects] == ["caption"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda p: p.name)
def test_the_recipes_of_the_examples_are_right(path):
    data = yaml.safe_load(path.read_text())
    if data.get("embedder") == "dlib":
        data["embedder"] = "facenet"  # the example plugins are not installed here
    if data.get("detector") == "mediapipe-pose":
        data["detector"] = "body"
    Recipe.of(data, folder=path.parent)


def test_the_readmes_python_examples_run(discs, discs_installed, tmp_path, monkeypatch, capsys):
    from skimage.data import astronaut

    discs.series(tmp_path / "photos", discs.WARPS)
    (tmp_path / "recipe.yaml").write_text(
        "{photos: photos/, detector: blobs, subject_selector: first, target_builder: points,"
        " transform_model: closed-form, renderers: [array]}"
    )
    Image.fromarray(astronaut()).save(tmp_path / "photo.jpg")
    Image.fromarray(astronaut()[20:420, 40:440]).save(tmp_path / "other.jpg")
    monkeypatch.chdir(tmp_path)
    whole, stage = blocks("README.md", "python")
    exec(whole, {})
    assert capsys.readouterr().out == "{'used': 4, 'rejected': 0, 'failed': 0}\n"
    names = {}
    exec(stage, names)
    assert len(names["faces"]) == 1
    assert names["aligned"].shape == (3, 400, 400)


def test_the_python_of_the_api_page_runs(tmp_path, monkeypatch, capsys):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    code = blocks("docs/api.md", "python")
    names = {}
    for block in code:
        exec(block, names)
    told = [
        line.partition("  # ")[2]
        for block in code
        for line in block.splitlines()
        if "print" in line
    ]
    assert capsys.readouterr().out.splitlines() == told
    assert names["picture"].shape == (3, *names["fixed"].shape[1:])
    assert len(names["shown"]) == 15
    with imageio.imopen(tmp_path / "belly.mp4", "r", plugin="pyav") as film:
        assert film.read().shape == (15, 960, 720, 3)


def test_the_first_article_takes_the_lines_that_its_heading_says():
    (heading,) = re.findall(
        r"^## The first article in (\w+) lines$", read("docs/api.md"), re.MULTILINE
    )
    article = next(block for block in blocks("docs/api.md", "python") if "belly.mp4" in block)
    lines = [line for line in article.splitlines() if line]
    assert (heading, len(lines)) == ("fifteen", 15)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "recipes").glob("*.yaml")), ids=lambda path: path.name
)
def test_the_recipes_to_steal_are_right(path):
    recipe = Recipe.load(path)
    assert recipe.effects
    assert f"({path.name})" in (path.parent / "README.md").read_text()


def test_a_year_of_daily_selfies_has_time_to_morph():
    recipe = Recipe.load(ROOT / "examples" / "recipes" / "selfies.yaml")
    pace, morph = (each for each in recipe.effects if each.name in ("pace", "morph"))
    fps = recipe.renderers[0].frame_rate(53)
    assert recipe.sample.every == "week"
    assert fps * (pace.seconds - 2 * pace.hold) / 53 - 1 >= fps * morph.seconds


def test_every_kind_of_stage_is_in_the_readme():
    text = (ROOT / "README.md").read_text()
    for kind in KINDS:
        assert kind.replace("_", " ") in text


def test_links_between_documents_lead_somewhere():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)\)", path.read_text()):
            if "://" not in link:
                assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_map_of_the_rooms_is_of_these_rooms():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    entries = set(re.findall(r"^    (\w+(?:/|\.py)) ", text, re.MULTILINE))
    core = ROOT / "alignimation_core"
    assert {f"{path.parent.name}/" for path in core.glob("*/__init__.py")} <= entries
    assert {entry for entry in entries if not (core / entry).exists()} == set()
