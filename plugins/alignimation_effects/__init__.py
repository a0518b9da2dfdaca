"""Effects: what happens between the frames of a film, and on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from alignimation_core import Effect, Film, Frame, hookimpl
from alignimation_core.api.stages import RecipePath

if TYPE_CHECKING:
    from torch import Tensor


def _colour(colour: str) -> str:
    from PIL import ImageColor

    try:
        ImageColor.getrgb(colour)
    except ValueError:
        raise ValueError(f"{colour!r} is no colour; write a name or '#rrggbb'") from None
    return colour


def _font(path: Path) -> Path:
    from PIL import ImageFont

    try:
        ImageFont.truetype(str(path), 10)
    except OSError:
        raise ValueError(f"{path} is no font that can be read; give a .ttf or .otf file") from None
    return path


def _language(language: str) -> str:
    from alignimation_effects._caption import locale_of

    locale_of(language)
    return language


def _template(text: str) -> str:
    from alignimation_effects._caption import fields_of

    for line in text.split("\n"):
        fields_of(line)
    return text


Colour = Annotated[str, AfterValidator(_colour)]
Font = Annotated[
    Annotated[RecipePath, AfterValidator(_font)] | None,
    Field(description="file of a font, .ttf or .otf; DejaVu Sans if absent"),
]


class Caption(Effect):
    """Writes the date, the age or any text onto every frame.

    A photo of which a field of a line is not known is shown without that line: one without a date,
    or from before the day from which ages count.
    """

    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    name: ClassVar[str] = "caption"
    text: Annotated[
        str,
        AfterValidator(_template),
        Field(
            description="with fields: {date}, {date:short}, {date:MMMM yyyy} (CLDR's pattern), "
            "{age}, {week}, {name} (of the file), {index}, {count}",
            min_length=1,
        ),
    ] = "{date:long}"
    born: Annotated[date | None, Field(description="day of birth, from which {age} counts")] = None
    due: Annotated[
        date | None,
        Field(description="day at which a child is due: {week} and {age} count the weeks before"),
    ] = None
    from_: Annotated[
        date | None,
        Field(alias="from", description="any other day from which {age} and {week} count"),
    ] = None
    language: Annotated[
        str,
        AfterValidator(_language),
        Field(description="of dates and ages, such as en, de or pt-BR"),
    ] = "en"
    file_dates: Annotated[
        bool, Field(description="believe the file's time where a photo has no other date")
    ] = False
    place: Annotated[
        Literal["bottom", "bottom-left", "bottom-right", "top", "top-left", "top-right", "middle"],
        Field(description="where on the frame"),
    ] = "bottom"
    size: Annotated[
        float, Field(description="of the letters, percent of the frame's height", gt=0, le=50)
    ] = 4.5
    font: Font = None
    colour: Annotated[Colour, Field(description="of the letters")] = "white"
    outline: Annotated[
        Colour | None, Field(description="colour around the letters; null for none")
    ] = "black"
    box: Annotated[
        Colour | None, Field(description="colour of a half-transparent box behind the letters")
    ] = None

    @model_validator(mode="after")
    def _counted(self) -> Self:
        days = {"born": self.born, "due": self.due, "from": self.from_}
        given = [name for name, day in days.items() if day is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot both be given; keep one")
        from alignimation_effects._caption import fields_of

        used = {name for line in self.text.split("\n") for _, name, _ in fields_of(line)}
        counting = sorted(used & {"age", "week"})
        if counting and not given:
            raise ValueError(f"{{{counting[0]}}} needs the day it counts from: born, due or from")
        return self

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Write onto every frame; see ``Effect.apply``.

        Raises:
            ValueError: the text has a date, and no photo has one.
        """
        from alignimation_effects._caption import Texts
        from alignimation_effects._lettering import MARGIN, lettering, placed, put

        texts = Texts(self.text, self.language, self.born or self.from_, self.due)
        dated = [p for p in film.photos if self.file_dates or p.taken_from != "file"]
        if texts.dated and film.photos and not dated:
            raise ValueError(
                f"{self.text!r} needs dates, and no photo has one but its file's time; "
                "put dates into their names, or set file_dates: true"
            )
        known = {photo.name for photo in dated}
        size = film.canvas.height, film.canvas.width
        index_of = {photo.name: i for i, photo in enumerate(film.photos, start=1)}
        last: tuple[str, object] = ("", None)
        for frame in frames:
            photo = frame.photo
            plain = {
                "name": Path(photo.name).stem,
                "index": str(index_of.get(photo.name, frame.index + 1)),
                "count": str(len(film.photos)),
            }
            text = texts.of(photo.taken if photo.name in known else None, plain)
            if not text.strip():
                yield frame
                continue
            if text != last[0]:
                align: Literal["left", "center", "right"] = (
                    "left"
                    if "left" in self.place
                    else "right"
                    if "right" in self.place
                    else "center"
                )
                widest = size[1] - 2 * MARGIN * size[0]
                picture = lettering(
                    text,
                    self.font,
                    self.size / 100 * size[0],
                    self.colour,
                    self.outline,
                    self.box,
                    widest,
                    align,
                )
                last = text, picture
            yield replace(frame, image=put(frame.image, picture, placed(picture, self.place, size)))


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

        A photo that has a time of its own is held for what the change leaves of it.
        """
        first = next(frames, None)
        while first is not None:
            second = next(frames, None)
            if second is None:
                yield first
            else:
                count = round(self.seconds * film.fps) if self.frames is None else self.frames
                held = first
                if first.seconds is not None:
                    count = max(0, min(count, round(first.seconds * film.fps) - 1))
                    held = replace(first, seconds=first.seconds - count / film.fps)
                yield held
                steps = [(i + 1) / (count + 1) for i in range(count)]
                shares = [u * u * (3 - 2 * u) for u in steps] if self.ease else steps
                for step, image in zip(
                    steps, self._between(first, second, film, shares), strict=True
                ):
                    yield replace(first if step < 0.5 else second, image=image, seconds=None)
            first = second


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


class Pace(Effect):
    """Sets how long every photo is shown: the film's length, by the time that passes, by ease.

    Give it before ``cross-fade`` or ``morph``, which take their time from that of the photos.
    """

    name: ClassVar[str] = "pace"
    seconds: Annotated[
        float | None,
        Field(description="of the whole film; as long as without pace if absent", gt=0),
    ] = None
    time: Annotated[
        bool,
        Field(description="a year is always as long; of long gaps, 12 usual ones are shown"),
    ] = False
    hold: Annotated[
        float, Field(description="seconds that the first and the last photo stay longer", ge=0)
    ] = 0.0
    ease: Annotated[bool, Field(description="begin and end slowly")] = False
    boomerang: Annotated[bool, Field(description="run back to the first photo again")] = False

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Set how long each frame is shown; see ``Effect.apply``.

        Raises:
            ValueError: the film is too short for its photos.
        """
        from alignimation_effects import _pace

        count = len(film.photos)
        back = range(count - 2, 0, -1) if self.boomerang else range(0)
        order = [*range(count), *back]
        least = 1 / film.fps
        total = self.seconds or len(order) * least + 2 * self.hold
        left = total - 2 * self.hold
        if count and round(left * film.fps) < len(order):
            needed = len(order) * least + 2 * self.hold
            raise ValueError(
                f"{total:g} seconds are shorter than one frame a photo: {len(order)} at "
                f"{film.fps:g} frames a second need {needed:.4g}; give more, or a higher fps"
            )
        weights = _pace.gaps(film.photos) if self.time else [1.0] * count
        weights = [weights[place] for place in order]
        if self.ease:
            weights = [a * b for a, b in zip(weights, _pace.eased(len(order)), strict=True)]
        shares = _pace.spread(weights, left, least)
        place_of = {photo.name: place for place, photo in enumerate(film.photos)}
        played = _pace.back_again(frames) if self.boomerang else frames
        turned = False
        for frame in played:
            place = place_of[frame.photo.name]
            turned = turned or (self.boomerang and place == count - 1)
            longer = self.hold if place in (0, count - 1) else 0.0
            later = turned and 0 < place < count - 1
            step = 2 * (count - 1) - place if later else place
            yield replace(frame, seconds=shares[step] + longer)


@hookimpl
def alignimation_effects() -> list[type[Effect]]:
    """Return the effects of this package."""
    return [Caption, CrossFade, Morph, Pace]
