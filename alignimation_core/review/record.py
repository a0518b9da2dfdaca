"""The record of a recipe's last run, as its readers find it; an older version's may say less."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignimation_core.api import urls
from alignimation_core.api.errors import OutputError
from alignimation_core.api.stages.selectors import LIMITS
from alignimation_core.output.obstacles import TRIAL
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.record import RECORD_NAME, read_file

if TYPE_CHECKING:
    from upath import UPath


def place_of(recipe: Recipe, *, trial: bool = False) -> Path | UPath:
    """Return where the outputs of a recipe stand: a folder, or an address."""
    output = recipe.output
    place = urls.at(output) if isinstance(output, str) else Path(recipe.folder, output)
    return place / TRIAL if trial else place


def read(recipe: Recipe, *, trial: bool = False) -> dict[str, Any]:
    """Return what ``run.json`` of the last run holds, or of the last trial run.

    Raises:
        OutputError: there is none, or what is there is none.
    """
    path = place_of(recipe, trial=trial) / RECORD_NAME
    record = read_file(path)
    settings = record.get("recipe")
    if not (isinstance(settings, dict) and isinstance(settings.get("subject_selector"), dict)):
        raise OutputError(f"{path} is no run record: it has no subject_selector")
    return record


class Gate(NamedTuple):
    """A value of every photo's subject, and the limit that the run set on it.

    Attributes:
        value: its name in a photo's ``gates``.
        option: of the subject selector, with dots.
        least: whether the limit is the least that is allowed.
        limit: None where nothing is limited.
    """

    value: str
    option: str
    least: bool
    limit: float | None

    @property
    def signless(self) -> bool:
        """Whether it is the size of the value that is compared, not its sign."""
        return self.value in ("yaw", "pitch", "roll")

    def passes(self, values: Mapping[str, float], limit: float | None) -> bool:
        """Return whether a photo passes; a value that is not known does."""
        if limit is None or self.value not in values:
            return True
        value = self.of(values)
        return value >= limit if self.least else value <= limit

    def of(self, values: Mapping[str, float]) -> float:
        """Return the number that is compared with the limit."""
        value = values[self.value]
        return abs(value) if self.signless else value


def gates(record: Mapping[str, Any]) -> Iterator[Gate]:
    """Yield every gate that a photo can miss, as the run had it."""
    selector = record["recipe"]["subject_selector"]
    yield Gate("similarity", "min_similarity", True, record.get("min_similarity"))
    facing = selector.get("facing_forward") or {}
    yield Gate("facing_forward", "facing_forward.min_ratio", True, facing.get("min_ratio"))
    limits = selector.get("gates") or {}
    for option, limit in LIMITS.items():
        yield Gate(limit.value, f"gates.{option}", limit.least, limits.get(option))
