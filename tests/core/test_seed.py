"""What stages draw at random hangs on the recipe's seed alone, whatever is known already."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from alignimation_core import Recipe, run

DICE = Path(__file__).parents[1] / "stages" / "dice.py"
DRAWING = {
    "detector": {"detector": "dicing-blobs"},
    "embedder": {"embedder": "dicing-vectors", "subject_selector": "nearness"},
    "subject_selector": {"subject_selector": "nearness"},
    "target_builder": {"target_builder": "dicing-points"},
    "transform_model": {"transform_model": "dicing-form"},
    "renderer": {"renderers": ["dicing-array"]},
}
"""What a recipe has for one kind of stage to draw at random."""


@pytest.fixture
def drawn(tmp_path, install, discs, discs_installed):
    """Run with eight photos; return what the record says of them, and the frames."""
    install("alignimation-dice", DICE.read_text(encoding="utf-8"), module="alignimation_dice")
    warps = [
        discs.placed(28 + i, 26 - i, math.radians(2 * i - 6), 0.9 + 0.03 * i) for i in range(8)
    ]
    discs.series(tmp_path / "photos", warps)
    others = iter(range(1000, 2000))

    def drawn(output, limit=None, **changes):
        torch.manual_seed(next(others))  # as other code may have left it
        data = {
            "photos": "photos/",
            "output": output,
            "detector": "blobs",
            "subject_selector": "first",
            "target_builder": "points",
            "transform_model": "closed-form",
            "canvas": {"size": "64x48"},
            "reference": "first",
            "renderers": ["array"],
            "executor": {"workers": 2},
        }
        record = run(Recipe.of(data | changes, folder=tmp_path), limit=limit)
        assert record.summary["failed"] == record.summary["rejected"] == 0
        frames = record.folder / "frames.npy"
        return record.as_json()["photos"], np.load(frames).tolist() if frames.exists() else None

    return drawn


@pytest.mark.parametrize("kind", DRAWING)
def test_two_runs_of_one_seed_are_the_same_and_of_two_are_not(drawn, kind):
    once = drawn("once", **DRAWING[kind])
    assert drawn("again", **DRAWING[kind]) == once
    assert drawn("other", seed=1, **DRAWING[kind]) != once
    assert drawn("none") != once


@pytest.mark.parametrize("kind", DRAWING)
def test_a_run_that_finds_all_in_its_store_gives_the_same(drawn, kind):
    once = drawn("once", **DRAWING[kind])
    assert drawn("once", **DRAWING[kind]) == once
    drawn("other", **DRAWING[kind] | {"renderers": [{"use": "frames", "path": "frames"}]})
    assert drawn("other", **DRAWING[kind]) == once


@pytest.mark.parametrize("kind", sorted(DRAWING.keys() - {"transform_model"}))  # one call for all
def test_a_run_that_finds_half_of_the_photos_in_its_store_gives_the_same(drawn, kind):
    once = drawn("once", **DRAWING[kind])
    half = drawn("half", limit=4, **DRAWING[kind])
    assert len(half[0]) == 4
    assert drawn("half", **DRAWING[kind]) == once
