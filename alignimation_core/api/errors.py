"""The exception hierarchy.

::

    AlignimationError
    ├── RecipeError     the recipe or the arguments are wrong: every fault, by file, line and field
    ├── PluginError     what is asked for of plugins is not there, or cannot be made
    ├── PhotoError      one photo cannot be read (names the photo)
    ├── StageError      a stage raised or returned something wrong (names kind, stage and photo)
    ├── WeightsError    weights are missing, damaged or cannot be fetched (names the file)
    └── OutputError     the output cannot be written (names the path)

Every message is one line that names what is wrong and ends with what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignimation_core.api.files import File


def in_one_line(error: BaseException) -> str:
    """Return an exception's type and text in one line; the texts of ours need no type."""
    text = " ".join(str(error).split())
    if text and isinstance(error, AlignimationError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def printable(line: str) -> str:
    """Escape control characters (terminal injection)."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def printable_lines(text: str) -> str:
    """Escape control characters but line breaks."""
    return "\n".join(map(printable, text.split("\n")))


_LONGEST_SHOWN = 100  # characters of a wrong value that a message repeats


class AlignimationError(Exception):
    """Any error that this package raises on purpose; its text is one line, meant for the user."""

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling, whatever the constructor takes."""
        return Exception.__new__, (type(self), *self.args), self.__dict__


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a recipe.

    Attributes:
        where: the file, or the origin of the recipe when there is no file.
        line: 1-based line in the file; None where there is no line to name.
        field: dotted path such as ``renderers[1].fps``; empty for the whole file.
        message: what is wrong; what to do.
    """

    where: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        """Return ``recipe.yaml:7: renderers[1].fps: message``, in one line whatever it quotes."""
        where = self.where if self.line is None else f"{self.where}:{self.line}"
        return printable(": ".join(filter(None, (where, self.field, self.message))))


class RecipeError(AlignimationError):
    """The recipe is wrong.

    Attributes:
        faults: every fault found, in the order of the lines.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line or 0))
        super().__init__("\n".join(str(fault) for fault in self.faults))


class PluginError(AlignimationError):
    """What is asked for of plugins is not there, or cannot be made: its name is taken."""


class PhotoError(AlignimationError):
    """One photo cannot be read.

    Attributes:
        photo: the file.
        reason: what is wrong with it, without the file's name.
    """

    def __init__(self, photo: File, reason: str) -> None:
        self.photo, self.reason = photo, reason
        super().__init__(f"{photo}: {reason}")


class StageError(AlignimationError):
    """A stage of a plugin raised, or returned something that its hook does not allow.

    Attributes:
        kind: ``detector``, ``embedder``, ...
        stage: the stage's name.
        photo: name of the photo that it was given, where it was one photo.
        reason: what went wrong.
    """

    def __init__(self, kind: str, stage: str, reason: str, photo: str | None = None) -> None:
        self.kind, self.stage, self.photo, self.reason = kind, stage, photo, reason
        super().__init__(f"{kind} {stage}: {f'{photo}: ' if photo else ''}{reason}")


class OptionError(ValueError):
    """What an option of a stage says does not hold for the photos of the run.

    Args:
        option: its name.
        reason: what is wrong, and what to write.
    """

    def __init__(self, option: str, reason: str) -> None:
        self.option, self.reason = option, reason
        super().__init__(f"{option}: {reason}")


class WeightsError(AlignimationError):
    """Weights are missing, damaged or cannot be fetched; the text says which file to put where."""


class OutputError(AlignimationError):
    """The output cannot be written; the text names the path."""


def shown(value: object) -> str:
    """Return a value for a message, cut short."""
    try:
        text = str(value) if isinstance(value, date) else repr(value)
    except ValueError:  # Python writes no integer of more than some thousand digits
        return "a number that is too long to show"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
