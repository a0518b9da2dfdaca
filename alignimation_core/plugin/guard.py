"""Calls to the code of plugins: whatever it raises becomes a ``StageError``."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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
        reason = in_one_line(error) + raised_in(stage, error)
        raise StageError(kind, stage.name, reason, photo) from error


def raised_in(stage: Stage, error: BaseException) -> str:
    """Return in which file and line of its plugin a stage raised; nothing where it did not."""
    kind = stage if isinstance(stage, type) else type(stage)
    package = sys.modules.get(kind.__module__.partition(".")[0])
    home = Path(getattr(package, "__file__", None) or "")
    inside = home.parent if home.name == "__init__.py" else home
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if home.name and file.is_relative_to(inside):
            return f" ({file.relative_to(inside.parent).as_posix()}:{frame.lineno})"
    return ""
