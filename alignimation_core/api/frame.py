"""The canvas, and the frames on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignimation_core.api import images
from alignimation_core.api.data import Photo

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Canvas:
    """The rectangle that every frame shows.

    Attributes:
        height: pixels, even.
        width: pixels, even.
        alpha: whether frames carry transparency.
    """

    height: int
    width: int
    alpha: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One aligned photo on the canvas, or what an effect made beside it.

    Attributes:
        image: (3, h, w) uint8 RGB of the canvas's size; (4, h, w) RGBA when the canvas has alpha.
            It may be given as floating point in [0, 1].
        index: 0-based place in the animation.
        photo: the photo that it shows.
        seconds: how long it is shown; None for one frame at the output's frames a second.
        made: whether it is no photo alone: what stands between two photos, or a title. Outputs that
            show photos once leave it out.
    """

    image: Tensor
    index: int
    photo: Photo
    seconds: float | None = None
    made: bool = False

    def __post_init__(self) -> None:
        """Take an image of either kind.

        Raises:
            TypeError: it is no image; the message says what to do.
            ValueError: its shape or its range is another; likewise.
        """
        object.__setattr__(self, "image", images.as_bytes(self.image, channels=(3, 4)))
