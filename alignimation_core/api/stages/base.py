"""What all stages have in common: their options, and the device of those that compute."""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
)

if TYPE_CHECKING:
    import torch

    from alignimation_core.api.weights import Weights

Ability = Literal["keypoints", "masks", "embeddings", "pixels"] | str
"""What one stage gives and another needs; a keypoint by name is ``keypoints.left_eye``."""


class Stage(BaseModel, ABC):
    """One step of the pipeline, and its options.

    The first line of the class docstring is what ``alignimation-run --list`` shows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: ClassVar[str]
    """What a recipe says after ``use``."""

    def __reduce__(self) -> tuple[object, ...]:
        """Support pickling, as options, without a network."""
        options = {name: getattr(self, name) for name in type(self).model_fields}
        return partial(type(self), **options), ()

    def requires(self) -> frozenset[Ability]:
        """Return what the stages before this one must give, under the options set."""
        return frozenset()

    def provides(self) -> frozenset[Ability]:
        """Return what this stage gives to the stages after it, under the options set."""
        return frozenset()

    def weights_needed(self) -> tuple[tuple[Weights, Path | None], ...]:
        """Return the files of weights that the stage loads, each with the user's own file if any.

        ``--check`` and ``--list`` say with it whether they are present.
        """
        return ()


def wrap_own(cls: type, verb: str, wrapper: Callable[[Callable[..., Any]], object]) -> None:
    """Wrap a verb where a class defines it, so that all stages of a kind take what one place says.

    A base class calls it in ``__init_subclass__``.
    """
    if verb in vars(cls):
        setattr(cls, verb, wrapper(vars(cls)[verb]))


def _in_recipes_folder(path: Path, info: ValidationInfo) -> Path:
    path = Path(info.context["folder"], path) if info.context else path
    kinds = (os.path.isfile, os.path.isdir)  # which never raise, nor does exists
    if os.path.exists(path) and not any(kind(path) for kind in kinds):  # noqa: PTH110
        raise ValueError(f"{path}: this is a pipe or a device; give a file")
    return path


RecipePath = Annotated[Path, AfterValidator(_in_recipes_folder)]
"""A file named in an option: relative to the recipe, in plain Python to the working directory.

What is neither a file nor a folder is refused: a pipe or a device may never end.
"""


def known_device(device: str) -> str:
    """Validate the name of a device.

    Raises:
        ValueError: torch knows no such kind of device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and not index.isdecimal()):
        raise ValueError(f"{device!r} is not one of auto, cpu, cuda, cuda:N, mps")
    return device


class ComputeStage(Stage):
    """A stage that computes with torch, on a device."""

    device: Annotated[
        str,
        AfterValidator(known_device),
        Field(description="cpu, cuda, cuda:1, mps, or auto: CUDA where there is one, else CPU"),
    ] = "auto"

    def torch_device(self) -> torch.device:
        """Return the device to compute on.

        Raises:
            ValueError: the device asked for is not on this machine.
        """
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device = torch.device(self.device)
        if (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()) or (
            device.type == "mps" and not torch.backends.mps.is_available()
        ):
            raise ValueError(f"this machine has no device {self.device!r}; use auto or cpu")
        return device
