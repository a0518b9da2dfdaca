"""Errors travel between processes whole, whatever their constructors take."""

import pickle
from pathlib import Path

import pytest

from alignimation_core import PhotoError, RecipeError, StageError
from alignimation_core.api.errors import Fault
from alignimation_core.failure import Failure, PhotosError


@pytest.mark.parametrize(
    "error",
    [
        PhotoError(Path("a.jpg"), "it is damaged"),
        StageError("detector", "moon", "ValueError: new", "a.jpg"),
        RecipeError([Fault("recipe.yaml", 3, "canvas", "is wrong")]),
        PhotosError("none is left", [Failure("a.jpg", "photos", "it is damaged")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_pickled_error_is_the_same_again(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
