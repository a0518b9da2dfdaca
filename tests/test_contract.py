"""What every stage of every plugin keeps, so that all can be used alike."""

import inspect
import pickle
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignimation_core.api.stages import ComputeStage
from alignimation_core.plugin.registry import KINDS, registry

ROOT = Path(__file__).parents[1]
STAGES = [found for stages in registry().stages.values() for found in stages.values()]
ABILITIES = {"keypoints", "masks", "embeddings", "pixels"}


def made(found):
    """Return the stage with its defaults; skip where it has required options."""
    required = [name for name, field in found.stage.model_fields.items() if field.is_required()]
    if required:
        with pytest.raises(ValidationError) as error:
            found.stage()
        assert {item["loc"] for item in error.value.errors()} == {(name,) for name in required}
        pytest.skip(f"requires {', '.join(required)}")
    return found.stage()


every = pytest.mark.parametrize("found", STAGES, ids=lambda found: f"{found.kind}-{found.name}")


def test_no_plugin_of_ours_is_broken_and_every_kind_is_there():
    assert registry().broken == []
    assert {found.kind for found in STAGES} == set(KINDS)


def test_plugin_folders_are_the_entry_points():
    folders = {path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")}
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared == {"alignimation": {name: name for name in folders}}
    installed = {
        point.name: point.value
        for point in entry_points(group="alignimation")
        if point.dist.name == "alignimation"
    }
    assert installed == declared["alignimation"], "install the project again"


def test_every_plugin_is_typed_and_has_tests():
    for folder in (ROOT / "plugins").glob("alignimation_*"):
        assert (folder / "py.typed").exists()
        short = folder.name.removeprefix("alignimation_")
        assert list((ROOT / "tests" / "plugins").glob(f"test_{short}*.py")), folder.name


@every
def test_it_says_in_one_line_what_it_does(found):
    assert 20 <= len(found.summary) <= 100
    assert found.summary[0].isupper() or found.summary[0].isdigit() or "'" in found.summary
    assert found.summary.endswith(".")
    assert found.stage.__doc__


@every
def test_its_name_can_be_written_in_a_recipe(found):
    assert found.name == found.name.lower().strip()
    assert " " not in found.name
    assert found.name not in ("null", "true", "false", "yes", "no", "on", "off")


@every
def test_every_option_is_described_and_its_default_is_valid(found):
    for name, option in found.stage.model_fields.items():
        assert option.description, name
        assert not option.description.endswith("."), name
    schema = found.stage.model_json_schema()
    assert all("description" in option for option in schema.get("properties", {}).values())
    assert "use" not in schema.get("properties", {})


@every
def test_it_is_frozen_and_refuses_unknown_options(found):
    stage = made(found)
    with pytest.raises(ValidationError) as error:
        found.stage(no_such_option=1)
    assert [item["type"] for item in error.value.errors()] == ["extra_forbidden"]
    for name in found.stage.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(stage, name, getattr(stage, name))


@every
def test_it_equals_what_its_own_values_make(found):
    stage = made(found)
    assert found.stage.model_validate(stage.model_dump(mode="json")) == stage
    assert pickle.loads(pickle.dumps(stage)) == stage


@every
def test_it_says_what_it_needs_and_gives_in_known_words(found):
    stage = made(found)
    for abilities in (stage.requires(), stage.provides()):
        assert isinstance(abilities, frozenset)
        assert {word.partition(".")[0] for word in abilities} <= ABILITIES
    by_name = {word for word in stage.provides() if word.startswith("keypoints.")}
    assert bool(by_name) == ("keypoints" in stage.provides())
    allowed = {"detector": {"keypoints", "masks"}, "embedder": {"embeddings"}}
    words = {word.partition(".")[0] for word in stage.provides()}
    assert words <= allowed.get(found.kind, set())
    if found.kind == "detector":
        assert stage.requires() == frozenset()


@every
def test_it_says_which_weights_it_needs(found):
    for weights, local in made(found).weights_needed():
        assert local is None
        assert len(weights.sha256) == 64
        assert weights.url.startswith("https://")
        assert weights.licence


@every
def test_a_stage_that_computes_has_a_device(found):
    stage = made(found)
    if isinstance(stage, ComputeStage) and "device" in found.stage.model_fields:
        assert stage.device == "auto"
        assert str(found.stage(device="cpu").torch_device()) == "cpu"
        with pytest.raises(ValidationError, match="is not one of auto, cpu, cuda, cuda:N, mps"):
            found.stage(device="gpu")


@every
def test_its_verb_tells_of_its_answer(found):
    (verb,) = KINDS[found.kind].__abstractmethods__
    assert inspect.getdoc(getattr(found.stage, verb))
    own, base = (inspect.signature(getattr(c, verb)) for c in (found.stage, KINDS[found.kind]))
    assert list(own.parameters) == list(base.parameters)


def test_every_kind_of_stage_has_a_selector_of_what_comes_along():
    for kind, names in {
        "photo_source": {"files", "archive", "takeout", "video"},
        "detector": {"mtcnn"},
        "embedder": {"facenet"},
        "subject_selector": {"largest", "identity"},
        "target_builder": {"gaussian-keypoints"},
        "transform_model": {"similarity", "kornia-registrator"},
        "renderer": {"video", "gif", "frames"},
    }.items():
        assert names <= registry().stages[kind].keys()
