"""Effects between two photos."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from alignimation_core import Effect, Film, Frame

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)


class _Transition(Effect):
    seconds: Annotated[float, Field(description="from one photo to the next", ge=0, le=3600)] = 0.5
    frames: Annotated[
        int | None, Field(description="in place of seconds: frames between two photos", ge=0)
    ] = None
    ease: Annotated[bool, Field(description="begin and end each change slowly")] = True

    @abstractmethod
    def _between(
        self, first: Frame, second: Frame, film: Film, shares: Sequence[float]
    ) -> Iterator[Tensor]:
        """Yield the frames between two, each with so much of the second."""

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Put frames between every two; see ``Effect.apply``.

        A photo that has a time of its own is held for what the change leaves of it. Changes for
        which no frame is left are counted in a warning at the end.
        """
        wanted = self.seconds * film.fps if self.frames is None else self.frames
        changes = lost = 0
        first = next(frames, None)
        while first is not None:
            second = next(frames, None)
            if second is None:
                yield first
            else:
                count = round(wanted)
                held = first
                if first.seconds is not None:
                    count = max(0, min(count, round(first.seconds * film.fps) - 1))
                    held = replace(first, seconds=first.seconds - count / film.fps)
                yield held
                changes, lost = changes + 1, lost + (not count)
                steps = [(i + 1) / (count + 1) for i in range(count)]
                shares = [u * u * (3 - 2 * u) for u in steps] if self.ease else steps
                for step, image in zip(
                    steps, self._between(first, second, film, shares), strict=True
                ):
                    near = first if step < 0.5 else second
                    yield replace(near, image=image, seconds=None, made=True)
            first = second
        if lost and wanted:
            logger.warning(
                "%s: %d of %d changes are shorter than a frame, 1/%g second, and are left out; "
                "give them and the photos more time, or a higher fps",
                self.name,
                lost,
                changes,
                film.fps,
            )


class CrossFade(_Transition):
    """Fades every photo into the next, in linear light, as projectors do."""

    name: ClassVar[str] = "cross-fade"

    def _between(
        self,
        first: Frame,
        second: Frame,
        film: Film,  # noqa: ARG002
        shares: Sequence[float],
    ) -> Iterator[Tensor]:
        from alignimation_effects._fade import faded

        return faded(first, second, shares)


class Morph(_Transition):
    """Changes the shape of the face or body into that of the next photo, while it fades.

    A thin-plate spline through the keypoints moves both photos to the shape between them; what is
    around the subject stays where it is. Where two photos have fewer than three keypoints in
    common, they fade.
    """

    name: ClassVar[str] = "morph"

    def _between(
        self, first: Frame, second: Frame, film: Film, shares: Sequence[float]
    ) -> Iterator[Tensor]:
        from alignimation_effects._morph import morphed

        shapes = film.subjects.get(first.photo.name), film.subjects.get(second.photo.name)
        return morphed(first, second, shapes, film.canvas, shares)
