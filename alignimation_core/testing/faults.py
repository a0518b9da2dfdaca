"""How the kit tells what is wrong: one line a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

import pytest

from alignimation_core.api import weights
from alignimation_core.api.errors import AlignimationError, StageError
from alignimation_core.api.stages import Stage
from alignimation_core.plugin.guard import raised_in

T = TypeVar("T")


def fail(stage: Stage, what: str) -> NoReturn:
    """Fail the test with one line that names the stage."""
    pytest.fail(f"{stage.name}: {what}", pytrace=False)


def told(stage: Stage, verb: Callable[[], T]) -> T:
    """Call a stage as a run does; fail with one line where it breaks its contract.

    Raises:
        StageError: the plugin's own code raised; pytest shows where.
    """
    try:
        return verb()
    except StageError as error:
        caught = error
    if caught.__cause__ is not None and raised_in(stage, caught.__cause__):
        raise caught
    fail(stage, caught.reason)


def told_of_batch(stage: Stage, count: int, verb: Callable[[], T]) -> T:
    """Call a stage on several photos, on each of which it works; fail where it does not."""
    try:
        return verb()
    except StageError as error:
        reason = error.reason
    fail(
        stage,
        f"{reason}: of {count} photos together, of none of them alone; a run gives it several, of "
        "different sizes, at once",
    )


def attempted(verb: Callable[[], T]) -> T:
    """Call a stage as a run does; skip where it fails: another test tells how."""
    try:
        return verb()
    except AlignimationError:
        pytest.skip("it fails on the kit's photos, which another test tells")


def need_weights(stage: Stage) -> None:
    """Skip where weights of a stage are not on this machine."""
    for needed, local in stage.weights_needed():
        if weights.find(needed, local) is None:
            pytest.skip(f"its weights {needed.filename} are not here; a run fetches them")
