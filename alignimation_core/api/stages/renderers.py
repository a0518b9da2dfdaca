"""Base classes of what makes films of frames: effects, renderers and their writers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
)

from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.stages.base import Stage


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """What an effect knows of the film that it works on.

    Attributes:
        canvas: the size of every frame, and whether frames carry transparency.
        fps: frames a second of the output; a frame whose ``seconds`` is None lasts one of these.
        photos: those to be shown, in order, as far as is known before they are read again.
        subjects: the subject of each, by the photo's name, in the canvas's continuous pixels.
        seconds: how long the output shall last, where it says so (``Renderer.duration``); each
            photo then comes with an equal share of it as its ``seconds``.
    """

    canvas: Canvas
    fps: float
    photos: Sequence[Photo]
    subjects: Mapping[str, Subject] = field(default_factory=dict)
    seconds: float | None = None


class Effect(Stage):
    """Changes, adds or holds the frames of a film on their way to a renderer."""

    @abstractmethod
    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Take frames as they come, in order, and yield those that are shown, in order.

        Only few may be kept at a time: a film has thousands. The images that come are shared with
        other outputs: make new ones instead of writing into them.

        Args:
            frames: the aligned photos, or what the effects before this one made of them.
            film: what is known of the whole.

        Returns:
            Frames of the same canvas, uint8. Their ``index`` is set anew; those between two photos
            are of the one that is nearer, and ``made``, as are all that show no photo alone.

        Raises:
            ValueError: the effect cannot be had of this film; the message says what to do.
        """

    def refuses(self, before: Sequence[Effect], renderer: Renderer) -> str | None:  # noqa: ARG002
        """Return why the effect cannot be one of an output's, and what to do; None where it can.

        Asked before a run.

        Args:
            before: the effects that come before it, in order.
            renderer: what writes the output.
        """
        return None


class Writer(ABC):
    """Writes the frames of one output one by one; a context manager that closes or aborts."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Write the next frame, in order."""

    @abstractmethod
    def close(self) -> Path:
        """Finish, put the result under its name in the folder, and return that path."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written so far; what stood under the final name stays."""

    def __enter__(self) -> Self:
        """Return the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close after success; abort after any exception, Ctrl-C included."""
        if kind is None:
            self.close()
        else:
            self.abort()


def _own_effects(given: object, info: ValidationInfo) -> object:
    """Make stages of what a recipe says, by the means that the recipe brings."""
    return info.context["effects"](given) if info.context and given is not None else given


def _written_effects(effects: Sequence[Stage] | None) -> list[dict[str, Any]] | None:
    if effects is None:
        return None
    return [{"use": each.name, **each.model_dump(mode="json")} for each in effects]


OwnEffects = Annotated[
    Sequence[Stage] | None,
    BeforeValidator(_own_effects, json_schema_input_type=Any),
    PlainSerializer(_written_effects),
    Field(description="of this output, in place of the recipe's"),
]
"""Effects of one renderer; None for those of the recipe."""


class Renderer(Stage):
    """Writes the aligned frames as a file or a folder."""

    path: Annotated[str, Field(description="where to write, relative to the output folder")]
    """With ``/`` between folders, whatever was given."""
    effects: OwnEffects = None

    @field_validator("path")
    @classmethod
    def _inside_output(cls, path: str) -> str:
        plain = path.replace("\\", "/")
        parts = PurePosixPath(plain)
        if not parts.name or parts.is_absolute() or ".." in parts.parts or ":" in path:
            raise ValueError(f"{path!r} is not a name inside the output folder")
        return plain

    def refuses(self, canvas: Canvas) -> str | None:  # noqa: ARG002
        """Return why frames of a canvas cannot be written, and what to do; None where they can.

        Asked before a run, of a canvas whose size the recipe gives.
        """
        return None

    def photos_named(self) -> Mapping[str, str]:
        """Return the photos that options name, by option; see ``SubjectSelector.photos_named``."""
        return {}

    def frame_rate(self, count: int) -> float:  # noqa: ARG002
        """Return how many frames a second show ``count`` photos; effects go by it.

        12 where the output is no film, or has none.
        """
        return 12.0

    def duration(self) -> float | None:
        """Return how many seconds all photos take together; None for a frame each.

        In a run every photo comes with its share of them, as ``seconds`` of its frame.
        """
        return None

    @abstractmethod
    def open(self, canvas: Canvas, count: int, folder: Path) -> Writer:
        """Open the writer of an output.

        Args:
            canvas: the size that every frame will have.
            count: how many photos will come; one that fails on the way does not, and effects may
                make more frames of them.
            folder: where to write, under ``path``; it exists. In a run it is a hidden folder, out
                of which all outputs get into the output folder together once they are finished.

        Returns:
            A writer. Until it is closed, nothing stands under the final name but what stood there.

        Raises:
            OutputError: the path cannot be written, or holds something that is not an output.
        """
