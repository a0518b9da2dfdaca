"""What every stage of every plugin keeps, so that all can be used alike."""

import tempfile
import tomllib
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from pydantic import ValidationError

from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.testing import StageContract, samples

ROOT = Path(__file__).parents[1]
STAGES = [found for stages in registry().stages.values() for found in stages.values()]
FOLDER = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)


def archive():
    paths = samples.write_photos(Path(FOLDER.name))
    with zipfile.ZipFile(Path(FOLDER.name, "photos.zip"), "w") as file:
        for path in paths:
            file.write(path, path.name)
    return file.filename


OPTIONS = {
    ("photo_source", "files"): {"path": str(ROOT / "examples" / "body" / "photos")},
    ("photo_source", "archive"): {"path": archive()},
    ("photo_source", "takeout"): {"path": "photos"},
    ("photo_source", "video"): {"path": "photos"},
    ("detector", "coco-annotations"): {
        "file": str(ROOT / "examples" / "body" / "annotations.json")
    },
    ("effect", "title"): {"text": "A year"},
}
"""What stages require."""
SHORTER = {("transform_model", "kornia-registrator"): {"iterations": 20}}
"""What takes long even so."""


def made(found):
    place = found.kind, found.name
    return found.stage(**OPTIONS.get(place, {}), **SHORTER.get(place, {}))


def contract_of(found):
    marks = [pytest.mark.slow] if (found.kind, found.name) in SHORTER else []
    members = {"stage": made(found), "__module__": __name__, "pytestmark": marks}
    return type(class_of(found), (StageContract,), members)


def class_of(found):
    words = f"{found.kind}_{found.name}".replace("-", "_").split("_")
    return f"Test{''.join(word.title() for word in words)}"


globals().update({class_of(found): contract_of(found) for found in STAGES})


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


@pytest.mark.parametrize("found", STAGES, ids=class_of)
def test_what_it_requires_is_said(found):
    required = {name for name, field in found.stage.model_fields.items() if field.is_required()}
    assert required == OPTIONS.get((found.kind, found.name), {}).keys()
    if required:
        with pytest.raises(ValidationError) as error:
            found.stage()
        assert {item["loc"] for item in error.value.errors()} == {(name,) for name in required}


def test_all_weights_have_a_known_sum_and_licence():
    needed = {weights for found in STAGES for weights, _ in made(found).weights_needed()}
    assert len(needed) >= 3
    for weights in needed:
        assert len(weights.sha256) == 64
        assert weights.url.startswith("https://")
        assert weights.licence


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
