"""What captions say: templates, dates and ages in a language."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from string import Formatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel import Locale

FIELDS = ("age", "count", "date", "index", "name", "week")
DATED = {"age", "date", "week"}
PREGNANCY = timedelta(weeks=40)


def fields_of(template: str) -> list[tuple[str, str, str]]:
    """Return what a template is made of: text, then a field's name and format, again and again.

    Raises:
        ValueError: it has a field or a date's pattern that there is not, or is malformed.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        what = "a brace has no other; write {{ and }} for braces themselves"
        raise ValueError(f"{template!r}: {what}") from None
    for _, name, form, conversion in parts:
        if name is not None and (name not in FIELDS or conversion):
            known = ", ".join(FIELDS)
            raise ValueError(f"{{{name}}} is not known; the fields are {known}")
        if form and name != "date":
            raise ValueError(f"{{{name}:{form}}}: only {{date}} has a format")
        if form:
            _check_pattern(form)
    return [(text, name or "", form or "") for text, name, form, _ in parts]


def _check_pattern(form: str) -> None:
    try:
        format_date(date(2000, 1, 1), form, locale_of("en"))
    except (ValueError, AttributeError):  # of a time of day, which a date has not
        what = "is no pattern of a date; write one such as {date:d MMMM yyyy}"
        raise ValueError(f"{{date:{form}}} {what}") from None


def locale_of(language: str) -> Locale:
    """Return what Babel knows of a language.

    Raises:
        ValueError: it does not know it.
    """
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(language, sep="-" if "-" in language else "_")
    except (UnknownLocaleError, ValueError, TypeError):
        what = "is no language that Babel knows; write de, pt-BR or the like"
        raise ValueError(f"{language!r} {what}") from None


def format_date(taken: date, form: str, locale: Locale) -> str:
    """Return a date as its language writes it, in one of its styles or by CLDR's pattern."""
    from babel import dates

    return dates.format_date(taken, form or "long", locale)


def age(taken: date, born: date, locale: Locale) -> str | None:
    """Return an age as people say it: in days, weeks, months, then years; None before birth."""
    days = (taken - born).days
    if days < 0:
        return None
    months = (taken.year - born.year) * 12 + taken.month - born.month - (taken.day < born.day)
    if days < 14:
        return _amount(days, "day", locale)
    if months < 3:
        return _amount(days // 7, "week", locale)
    if months < 24:
        return _amount(months, "month", locale)
    years, rest = divmod(months, 12)
    whole = _amount(years, "year", locale)
    return f"{whole} {_amount(rest, 'month', locale)}" if rest else whole


def _amount(count: int, unit: str, locale: Locale) -> str:
    from babel import units

    return units.format_unit(count, f"duration-{unit}", locale=locale)


class Texts:
    """The caption of every photo.

    ``born`` is the day from which ages count, ``due`` that at which a child is due, whose weeks
    count from 40 weeks before.
    """

    def __init__(self, template: str, language: str, born: date | None, due: date | None) -> None:
        self._lines = [fields_of(line) for line in template.split("\n")]
        self._locale = locale_of(language)
        self._born, self._due = born, due

    @property
    def dated(self) -> bool:
        """Whether captions say something that needs a date."""
        return any(name in DATED for line in self._lines for _, name, _ in line)

    def of(self, taken: datetime | None, plain: Mapping[str, str]) -> str:
        """Return the caption of one photo; lines of which something is not known are left out."""
        lines: list[str] = []
        for parts in self._lines:
            said = [(text, self._said(name, form, taken, plain)) for text, name, form in parts]
            if all(value is not None for _, value in said):
                lines.append("".join(f"{text}{value}" for text, value in said))
        return "\n".join(lines)

    def _said(
        self, name: str, form: str, taken: datetime | None, plain: Mapping[str, str]
    ) -> str | None:
        if name not in DATED:
            return plain[name] if name else ""
        if taken is None:
            return None
        day = taken.date()
        if name == "date":
            return format_date(day, form, self._locale)
        conceived = self._due - PREGNANCY if self._due else None
        if name == "week":
            first = conceived or self._born
            weeks = (day - first).days // 7 if first else -1
            return None if weeks < 0 else str(weeks if self._due else weeks + 1)
        if self._due and conceived and conceived <= day < self._due:
            return _amount((day - conceived).days // 7, "week", self._locale)
        since = self._due or self._born
        return age(day, since, self._locale) if since else None
