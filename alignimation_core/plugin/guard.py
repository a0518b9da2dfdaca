"""Calls to the code of plugins: whatever it raises becomes a ``StageError``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from alignimation_core.api.errors import AlignimationError, StageError, in_one_line
from alignimation_core.api.stages import Stage

LOG = logging.getLogger(__name__)

T = TypeVar("T")


def call(kind: str, stage: Stage, verb: Callable[[], T]) -> T:
    """Call a plugin's code."""
    with stage_errors(kind, stage):
        return verb()


@contextmanager
def stage_errors(kind: str, stage: Stage, photo: str | None = None) -> Iterator[None]:
    """Raise what a stage raises as ``StageError``; ``photo`` names the one that it concerns."""
    try:
        yield
    except AlignimationError:
        raise
    except (Exception, SystemExit) as error:  # a plugin's code may do anything
        LOG.debug("%s %s raised", kind, stage.name, exc_info=True)
        raise StageError(kind, stage.name, in_one_line(error), photo) from error
