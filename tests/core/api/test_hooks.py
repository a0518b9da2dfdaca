"""The examples in the hooks' docstrings are complete and true: they are installed and run."""

import inspect
import re
import textwrap

import numpy as np
import pytest
from PIL import Image

from alignimation_core import Recipe, run
from alignimation_core.api import hooks
from alignimation_core.plugin.registry import KINDS, registry

HOOKS = [f"alignimation_{kind}s" for kind in KINDS]

ALREADY_IMPORTED = """
from typing import Annotated, ClassVar

from alignimation_core import *
from pydantic import Field
"""
"""What the first two examples import, and the later ones leave out."""

WHOLE = HOOKS[:2]
"""Whose examples are modules as they are."""


def example(hook):
    """Return the code of the block that follows the line ending in ``::``."""
    text = inspect.getdoc(getattr(hooks, hook))
    (block,) = re.findall(r"::\n\n((?:    .*\n|\n)+)", text + "\n")
    return textwrap.dedent(block)


def shine(path, x, y, colour=(255, 255, 255)):
    """Write a grey photo with a bright square whose top-left pixel is the brightest."""
    pixels = np.full((48, 64, 3), 20, np.uint8)
    pixels[y : y + 3, x : x + 3] = np.array(colour) // 2
    pixels[y, x] = colour
    Image.fromarray(pixels).save(path)


@pytest.fixture
def spots(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    places = [(30, 20), (34, 25), (28, 23)]
    for day, (x, y) in enumerate(places, start=1):
        shine(folder / f"2020-01-0{day}.png", x, y)
    return places


def test_every_hook_of_the_core_is_a_kind_of_stage():
    found = [
        name for name, member in vars(hooks).items() if hasattr(member, f"{hooks.PROJECT}_spec")
    ]
    assert found == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_nothing_and_gives_nothing_by_itself(hook):
    function = getattr(hooks, hook)
    assert not inspect.signature(function).parameters
    assert function() == ()
    assert f"def {hook}():" in example(hook)


def test_the_first_example_is_a_whole_module(install):
    install("moon", example("alignimation_detectors"))
    assert registry().broken == []
    found = registry().stages["detector"]["brightest-spot"]
    assert (found.distribution, found.summary) == (
        "moon",
        "Finds the brightest pixel, for series of the moon.",
    )


@pytest.mark.parametrize("hook", HOOKS[2:])
def test_the_other_examples_need_only_what_the_first_imports(install, hook):
    install("moon", ALREADY_IMPORTED + example(hook))
    assert registry().broken == []
    stages = registry().stages[hook.removeprefix("alignimation_").removesuffix("s")].values()
    assert "moon" in {found.distribution for found in stages}


def test_the_detector_holds_the_moon_with_the_translation_it_advises(install, tmp_path, spots):
    install("moon", example("alignimation_detectors"))
    advice = inspect.getdoc(hooks.alignimation_detectors)
    assert "use ``transform_model: translation``" in advice
    recipe = Recipe.of(
        {
            "photos": "photos/",
            "detector": {"use": "brightest-spot", "radius": 6},
            "transform_model": "translation",
            "reference": "first",
            "canvas": {"size": "64x48"},
            "renderers": [{"use": "frames", "path": "frames"}],
        },
        folder=tmp_path,
    )
    record = run(recipe)
    assert record.summary == {"used": 3, "rejected": 0, "failed": 0}
    for photo, (x, y) in zip(record.photos, spots, strict=True):
        assert photo.subject["keypoints"] == {"spot": [x + 0.5, y + 0.5]}
        matrix = np.array(photo.canvas_from_photo)
        first = np.array(record.photos[0].canvas_from_photo)
        shift = (np.linalg.inv(first) @ matrix)[:2, 2]
        assert shift == pytest.approx([spots[0][0] - x, spots[0][1] - y], abs=0.05)


def test_all_examples_work_together(install, tmp_path, spots):
    for hook in HOOKS:
        head = "" if hook in WHOLE else ALREADY_IMPORTED
        install(hook.replace("_", "-"), head + example(hook), module=f"example_{hook}")
    assert registry().broken == []
    recipe = Recipe.of(
        {
            "photos": "photos/",
            "detector": {"use": "brightest-spot", "radius": 6},
            "embedder": "mean-colour",
            "subject_selector": "leftmost",
            "target_builder": "box",
            "transform_model": "closed-form",
            "reference": "first",
            "canvas": {"size": "64x48"},
            "renderers": ["mean"],
            "report": False,
        },
        folder=tmp_path,
    )
    record = run(recipe)
    assert record.summary == {"used": 3, "rejected": 0, "failed": 0}
    assert record.outputs == ["mean.png"]
    assert sorted(p.name for p in record.folder.glob("[!.]*")) == ["mean.png", "run.json"]
    first, *others = [np.array(photo.canvas_from_photo) for photo in record.photos]
    shifts = [(np.linalg.inv(first) @ other)[:2, 2] for other in others]
    assert np.array(shifts) == pytest.approx(np.array([[-4, -5], [2, -3]]), abs=0.01)
    mean = np.asarray(Image.open(record.folder / "mean.png"))
    assert mean.shape == (48, 64, 3)
    x, y = np.array(record.photos[0].canvas_from_photo)[:2] @ [30.5, 20.5, 1]
    assert mean[int(y), int(x)].mean() == mean.max()


def test_the_example_embedder_tells_black_from_white(install):
    import torch

    from alignimation_core import Detections

    install("moon", ALREADY_IMPORTED + example("alignimation_embedders"))
    stage = registry().stages["embedder"]["mean-colour"].stage()
    image = torch.zeros(3, 20, 40, dtype=torch.uint8)
    image[0, :, 20:] = 200
    boxes = torch.tensor([[-5.0, 0, 10, 20], [22, 0, 38, 20], [0, 0, 15, 20]])
    rows, none = stage.embed([image, image], [Detections(boxes, torch.ones(3)), Detections.empty()])
    assert none.shape == (0, 3)
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    assert float(rows[0] @ rows[2]) > stage.same_above
    assert float(rows[0] @ rows[1]) < stage.same_above
