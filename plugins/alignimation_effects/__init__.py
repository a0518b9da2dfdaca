"""Effects: what happens between the frames of a film, and on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from alignimation_core import Effect, Film, Frame, Renderer, hookimpl
from alignimation_effects._options import Colour, Font
from alignimation_effects._transitions import CrossFade, Morph


def _language(language: str) -> str:
    from alignimation_effects._caption import locale_of

    locale_of(language)
    return language


def _template(text: str) -> str:
    from alignimation_effects._caption import fields_of

    for line in text.split("\n"):
        fields_of(line)
    return text


MADE_BEFORE = "{} before pace makes frames that are no photos; put pace before it"


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


class Pace(Effect):
    """Sets how long every photo is shown: the film's length, by the time that passes, by ease.

    Give it before ``cross-fade`` or ``morph``, which take their time from that of the photos.
    """

    name: ClassVar[str] = "pace"
    seconds: Annotated[
        float | None,
        Field(description="of the whole film; if absent, the output's, or a frame a photo", gt=0),
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
            ValueError: the film is too short for its photos, or its output says another length, or
                frames come that show no photo alone.
        """
        from alignimation_effects import _pace

        if (reason := self._other_length(film.seconds)) is not None:
            raise ValueError(reason)
        count = len(film.photos)
        back = range(count - 2, 0, -1) if self.boomerang else range(0)
        order = [*range(count), *back]
        least = 1 / film.fps
        total = self.seconds or film.seconds or len(order) * least + 2 * self.hold
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
            if frame.made:
                raise ValueError(MADE_BEFORE.format("an effect"))
            place = place_of[frame.photo.name]
            turned = turned or (self.boomerang and place == count - 1)
            longer = self.hold if place in (0, count - 1) else 0.0
            later = turned and 0 < place < count - 1
            step = 2 * (count - 1) - place if later else place
            yield replace(frame, seconds=shares[step] + longer)

    def refuses(self, before: Sequence[Effect], renderer: Renderer) -> str | None:
        """Refuse to come after what makes frames, and another length than the output's."""
        for each in before:
            if isinstance(each, CrossFade | Morph | Title):
                return MADE_BEFORE.format(each.name)
        return self._other_length(renderer.duration())

    def _other_length(self, seconds: float | None) -> str | None:
        if self.seconds is None or seconds in (None, self.seconds):
            return None
        what = f"the output shall last {seconds:g} seconds, and pace says {self.seconds:g}"
        return f"{what}; leave one of them out"


class EvenLight(Effect):
    """Evens out exposure and white balance from photo to photo, measured on the subject.

    Its pixels, by its mask or else in its box, are brought to the median of 16 frames before and
    after. Black and white stay, and nothing clips that did not. Give it before the other effects.
    """

    name: ClassVar[str] = "even-light"
    strength: Annotated[
        float, Field(description="1: the same light in all; 0.5 keeps half of a sunset", ge=0, le=1)
    ] = 1.0

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Even out the light; see ``Effect.apply``."""
        from alignimation_effects._even import evened

        return evened(frames, film, self.strength)


class Progress(Effect):
    """Draws a thin bar along the edge that grows with the film, or a timeline with years."""

    name: ClassVar[str] = "progress"
    years: Annotated[
        bool, Field(description="a timeline: the bar goes by dates, and years stand along it")
    ] = False
    place: Annotated[Literal["bottom", "top"], Field(description="at which edge")] = "bottom"
    size: Annotated[
        float, Field(description="of the bar, percent of the frame's height", gt=0, le=50)
    ] = 0.8
    colour: Annotated[Colour, Field(description="of the bar and of the years")] = "white"
    font: Font = None

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Draw the bar; see ``Effect.apply``."""
        from alignimation_effects import _progress
        from alignimation_effects._lettering import put

        height, width = film.canvas.height, film.canvas.width
        tall = max(2, round(self.size / 100 * height))
        shares = _progress.shares(film.photos, by_time=self.years)
        labels = None
        if self.years and film.photos:
            size, letters = (height, width), 0.03 * max(height, width)
            labels = _progress.years(film.photos, size, letters, self.font, self.colour)
        for frame in frames:
            bar = _progress.bar(width, tall, shares.get(frame.photo.name, 1.0), self.colour)
            top = self.place == "top"
            image = put(frame.image, bar, (0, 0 if top else height - tall))
            if labels is not None:
                image = put(image, labels, (0, tall if top else height - tall - labels.height))
            yield replace(frame, image=image)


class Title(Effect):
    """Shows a card with text before the first photo or after the last.

    Before ``cross-fade`` or ``morph`` in the recipe, cards fade too; after ``caption`` in
    it they have none.
    """

    name: ClassVar[str] = "title"
    text: Annotated[
        str, Field(description="on the card, such as 'Anna\\n2018 to 2022'", min_length=1)
    ]
    at: Annotated[
        Literal["opening", "end"], Field(description="before the first photo or after the last")
    ] = "opening"
    seconds: Annotated[float, Field(description="that the card is shown", gt=0, le=3600)] = 2.0
    size: Annotated[
        float, Field(description="of the letters, percent of the frame's height", gt=0, le=50)
    ] = 7.0
    font: Font = None
    colour: Annotated[Colour, Field(description="of the letters")] = "white"
    background: Annotated[Colour, Field(description="of the card")] = "black"

    def apply(self, frames: Iterator[Frame], film: Film) -> Iterator[Frame]:
        """Put the card before or after the others; see ``Effect.apply``."""
        last: Frame | None = None
        for frame in frames:
            if last is None and self.at == "opening":
                yield self._card(frame, film)
            yield frame
            last = frame
        if last is not None and self.at == "end":
            yield self._card(last, film)

    def _card(self, frame: Frame, film: Film) -> Frame:
        from PIL import Image

        from alignimation_effects._lettering import MARGIN, image_of, lettering, placed

        size = film.canvas.height, film.canvas.width
        card = Image.new("RGBA", size[::-1], self.background)
        widest = size[1] - 2 * MARGIN * size[0]
        high = self.size / 100 * size[0]
        letters = lettering(self.text, self.font, high, self.colour, None, None, widest)
        card.alpha_composite(letters, placed(letters, "middle", size))
        shown = card if film.canvas.alpha else card.convert("RGB")
        return replace(frame, image=image_of(shown), seconds=self.seconds, made=True)


@hookimpl
def alignimation_effects() -> list[type[Effect]]:
    """Return the effects of this package."""
    return [Caption, CrossFade, EvenLight, Morph, Pace, Progress, Title]
