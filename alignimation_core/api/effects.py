"""Effects: what happens between the frames of a film, and on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alignimation_core.api.data import Canvas, Frame, Photo, Subject
from alignimation_core.api.stages import Stage


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """What an effect knows of the film that it works on.

    Attributes:
        canvas: the size of every frame, and whether frames carry transparency.
        fps: frames a second of the output; a frame whose ``seconds`` is None lasts one of these.
        photos: those to be shown, in order, as far as is known before they are read again.
        subjects: the subject of each, by the photo's name, in the canvas's continuous pixels.
    """

    canvas: Canvas
    fps: float
    photos: Sequence[Photo]
    subjects: Mapping[str, Subject] = field(default_factory=dict)

    def seconds_of(self, frame: Frame) -> float:
        """Return how long a frame is shown."""
        return 1 / self.fps if frame.seconds is None else frame.seconds


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
            are of the one that is nearer.

        Raises:
            ValueError: the effect cannot be had of this film; the message says what to do.
        """
