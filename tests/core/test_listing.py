import json
from typing import Literal

import pytest
from pydantic import BaseModel

from alignimation_core.api.errors import PluginError
from alignimation_core.api.weights import cache_folder
from alignimation_core.cli import verbs
from alignimation_core.cli.listing import groups, listing, options
from alignimation_core.plugin.registry import KINDS, registry


def test_kinds_are_listed_in_the_order_of_the_pipeline_and_then_the_canvas():
    heads = [line for line in listing().splitlines() if line[0] != " "]
    assert heads == [*(f"{kind}s".replace("_", " ") for kind in KINDS), "canvas"]


def test_an_option_that_must_be_given_is_marked():
    assert "      file: COCO JSON file, or a list of them to be joined (required)" in (
        listing().splitlines()
    )


def test_the_canvas_is_listed_with_its_defaults():
    canvas = listing().partition("\ncanvas\n")[2]
    assert '(default "balanced")' in canvas
    assert "      border: what fills the canvas beyond a photo" in canvas


@pytest.mark.parametrize("name", ["detectors", "detector", "photo sources", "photo-source"])
def test_a_kind_is_listed_alone_and_as_in_the_whole(name):
    text = listing(name)
    assert text.splitlines()[0] == ("detectors" if "det" in name else "photo sources")
    assert text in listing()
    assert "renderers" not in text


def test_all_is_told_of_a_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    lines = listing("facenet").splitlines()
    assert lines[0].startswith("embedder facenet  [alignimation ")
    assert lines[2] == "512 numbers that tell faces apart, by InceptionResnetV1."
    assert "gives: embeddings" in lines
    loads = next(i for i, line in enumerate(lines) if line.startswith("loads: "))
    assert lines[loads] == (
        "loads: 20180402-114759-vggface2.pt, 112 MB; code MIT; trained on VGGFace2 (CC BY-SA 4.0, "
        "no longer offered)"
    )
    assert lines[loads + 1].startswith("  not yet here, will be fetched: https://github.com/")
    option = next(i for i, line in enumerate(lines) if line.startswith("  pretrained: "))
    assert lines[option].endswith('(default "vggface2")')
    assert lines[option + 1] == "      vggface2, casia-webface"
    cache_folder().mkdir(parents=True)
    (cache_folder() / "20180402-114759-vggface2.pt").touch()
    assert f"  {cache_folder() / '20180402-114759-vggface2.pt'}" in listing("facenet").splitlines()


def test_words_and_numbers_to_choose_from_are_told():
    class Predictor(BaseModel):
        points: Literal[5, 68] = 68
        side: Literal["left", 1, None] = None

    told = [option.values for option in options(Predictor.model_json_schema())]
    assert told == ["5, 68", "left, 1, null"]


def test_stages_of_one_name_are_all_told():
    heads = [line for line in listing("video").splitlines() if "  [alignimation " in line]
    assert [head.partition("  [")[0] for head in heads] == ["photo source video", "renderer video"]


def test_options_of_options_are_told_of_a_stage():
    lines = listing("largest").splitlines()
    yaw = next(i for i, line in enumerate(lines) if line.startswith("  gates.max_yaw: "))
    assert lines[yaw].endswith("(default 75.0)")
    assert lines[yaw + 1] == "      number from 0 to 90 or null"
    assert any(line.endswith("(default as below)") for line in lines)


def test_a_group_of_settings_is_told():
    assert {"canvas", "refine", "report", "executor", "sample"} <= groups().keys()
    lines = listing("canvas").splitlines()
    assert lines[0] == "canvas: what every frame shows"
    assert any(line.startswith("  framing.subject: ") for line in lines)


def test_values_of_every_option_are_told_in_words():
    stages = [found for kind in registry().stages.values() for found in kind.values()]
    assert len(stages) > 30
    for found in stages:
        for option in options(found.stage.model_json_schema(), nested=True):
            assert option.description, f"{found.name}: {option.name}"
            assert option.values, f"{found.name}: {option.name}"
            if option.default not in (None, "as below"):
                json.loads(option.default)


@pytest.mark.parametrize(("name", "hint"), [("mtcn", "did you mean 'mtcnn'? "), ("quux", "")])
def test_a_name_that_nobody_has_is_one_line(name, hint, capsys):
    assert verbs.main(["list", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"alignimation list: no plugin has a stage {name!r}; {hint}`alignimation list` shows them "
        "all\n"
    )


def test_a_plugin_that_is_broken_is_named_where_its_stage_is_asked_for(install):
    install("alignimation-wrong", "import nothing_of_this_name\n")
    with pytest.raises(PluginError, match=r"; plugin alignimation_wrong .* cannot be used: "):
        listing("wrong")


def test_a_stage_without_options_says_so(discs_installed):
    assert listing("points").splitlines()[-1] == "options: none"


def test_options_that_cannot_be_described_are_told(install):
    install(
        "alignimation-odd",
        "from collections.abc import Callable\n"
        "from typing import ClassVar\n"
        "from alignimation_core import Detector, hookimpl\n\n\n"
        "class Odd(Detector):\n"
        '    """Odd."""\n\n'
        '    name: ClassVar[str] = "odd"\n'
        "    how: Callable[[int], int] = abs\n\n"
        "    def detect(self, images):\n"
        "        return []\n\n\n"
        "@hookimpl\n"
        "def alignimation_detectors():\n"
        "    return [Odd]\n",
    )
    assert "      its options cannot be described: Pydantic" in listing()
    assert "its options cannot be described: Pydantic" in listing("odd")
