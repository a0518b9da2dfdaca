"""Plots as SVG: a timeline, values over time, and histograms with a limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from markupsafe import Markup, escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 200, 44, 14, 22, 28
"""Of a plot, and of what is around its axes, in units of the SVG."""
BINS = 30
NAMED = 5
"""Gaps and outliers that are named at most."""

Point = tuple[datetime, float, str]
"""When, what, and whose."""


def timeline(used: Sequence[datetime], others: Sequence[datetime]) -> Markup | None:
    """Return when photos were taken: used above, others below; the longest gaps are named.

    None where all are of one time.
    """
    every = sorted([*used, *others])
    if not every or every[0] == every[-1]:
        return None
    scale = _Time(every[0], every[-1])
    ticks = [(scale(at), 30, 62, "used") for at in used]
    ticks += [(scale(at), 66, 86, "other") for at in others]
    marks = [*dict.fromkeys(_line(x, top, x, end, kind) for x, top, end, kind in ticks)]
    gaps = [(b - a, a, b) for a, b in pairwise(sorted(used))]
    usual = median(gap.total_seconds() for gap, _, _ in gaps) if gaps else 0.0
    for gap, a, b in sorted(gaps, reverse=True)[:NAMED]:
        if gap.total_seconds() > 3 * usual and scale(b) - scale(a) > 60:
            marks.append(_line(scale(a) + 3, 46, scale(b) - 3, 46, "gap"))
            marks.append(_text((scale(a) + scale(b)) / 2, 42, _span(gap), "middle"))
    return _svg([*marks, *scale.axis(96)], 120, "When the photos were taken")


def over_time(points: Sequence[Point], what: str) -> Markup | None:
    """Return values over time; the outliers are named, which lie far above the others."""
    if len(points) < 2:
        return None
    times = [at for at, _, _ in points]
    scale = _Time(min(times), max(times))
    values = [value for _, value, _ in points]
    rise = _Linear(0.0, max(*values, 1e-9), HEIGHT - BOTTOM, TOP)
    marks = [*rise.levels(), *scale.axis(HEIGHT - BOTTOM)]
    places = {(f"{scale(at):.0f}", f"{rise(value):.0f}"): None for at, value, _ in points}
    dots = " ".join(f"M{x} {y}h0" for x, y in places)  # thousands of elements open slowly
    marks.append(Markup('<path class="used dots" d="{}"/>').format(dots))
    for at, value, name in outliers(points):
        x, y = scale(at), rise(value)
        marks.append(Markup('<circle class="outlier" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x, y))
        end = "end" if x > WIDTH * 0.7 else "start"
        shift = -7 if end == "end" else 7
        marks.append(_text(x + shift, y + 4, name.rpartition("/")[2][:32], end))
    return _svg(marks, HEIGHT, what)


def outliers(points: Sequence[Point]) -> list[Point]:
    """Return the points, some at most, whose value is far above the others': the largest first."""
    values = [value for _, value, _ in points]
    middle = median(values)
    spread = median(abs(value - middle) for value in values)
    limit = middle + 5 * max(1.4826 * spread, 0.02 * middle)
    far = [point for point in points if point[1] > limit]
    return sorted(far, key=lambda point: -point[1])[:NAMED]


def histogram(
    used: Sequence[float], others: Sequence[float], limits: Sequence[float], what: str
) -> Markup | None:
    """Return how often values are, of photos used and of others, with limits as lines."""
    every = [*used, *others]
    if not every:
        return None
    low, high = min([*every, *limits]), max([*every, *limits])
    margin = (high - low or abs(high) or 1.0) * 0.03
    across = _Linear(low - margin, high + margin, LEFT, WIDTH - RIGHT)
    counts = [[0] * BINS, [0] * BINS]
    step = (across.high - across.low) / BINS
    for row, values in zip(counts, (used, others), strict=True):
        for value in values:
            row[min(BINS - 1, int((value - across.low) / step))] += 1
    most = max(a + b for a, b in zip(*counts, strict=True))
    rise = _Linear(0.0, float(most), HEIGHT - BOTTOM, TOP)
    marks = [*rise.levels(whole=True), *across.ticks(HEIGHT - BOTTOM)]
    for i, (a, b) in enumerate(zip(*counts, strict=True)):
        x0, x1 = across(across.low + i * step) + 0.5, across(across.low + (i + 1) * step) - 0.5
        marks.append(_bar(x0, x1, rise(0), rise(a), "used"))
        marks.append(_bar(x0, x1, rise(a), rise(a + b), "other"))
    for limit in limits:
        marks.append(_line(across(limit), TOP - 6, across(limit), HEIGHT - BOTTOM, "limit"))
        end = "end" if across(limit) > WIDTH * 0.6 else "start"
        marks.append(_text(across(limit) + (-5 if end == "end" else 5), TOP, f"{limit:g}", end))
    return _svg(marks, HEIGHT, what)


class _Linear:
    """From values to places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self._start, self._end = low, high, start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    def _round(self, count: int, *, whole: bool = False) -> list[float]:
        """Return round numbers in the range."""
        rough = (self.high - self.low) / count
        power = 10 ** math.floor(math.log10(rough))
        step = next(power * each for each in (1, 2, 5, 10) if power * each >= rough)
        step = max(1.0, step) if whole else step
        first = math.ceil(self.low / step)
        last = math.floor(self.high / step)
        return [i * step for i in range(first, last + 1)]

    def levels(self, *, whole: bool = False) -> Iterator[Markup]:
        """Yield lines across, with numbers at the left."""
        for value in self._round(4, whole=whole):
            yield _line(LEFT, self(value), WIDTH - RIGHT, self(value), "grid")
            yield _text(LEFT - 6, self(value) + 4, f"{value:g}", "end")

    def ticks(self, y: float) -> Iterator[Markup]:
        """Yield an axis at a height."""
        yield _line(LEFT, y, WIDTH - RIGHT, y, "axis")
        for value in self._round(8):
            yield _text(self(value), y + 18, f"{value:.6g}", "middle")


class _Time:
    """From times to places."""

    def __init__(self, first: datetime, last: datetime) -> None:
        self._first = first
        self._seconds = max(1.0, (last - first).total_seconds())

    def __call__(self, at: datetime) -> float:
        share = (at - self._first).total_seconds() / self._seconds
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def axis(self, y: float) -> Iterator[Markup]:
        """Yield an axis at a height: years, months or days, as many as have room."""
        yield _line(LEFT, y, WIDTH - RIGHT, y, "axis")
        days = self._seconds / 86400
        last = -math.inf
        for at, text in self._names(days):
            x = self(at)
            if LEFT <= x <= WIDTH - RIGHT and x - last > 62:
                last = x
                yield _line(x, y, x, y + 4, "axis")
                yield _text(x, y + 18, text, "middle")

    def _names(self, days: float) -> Iterator[tuple[datetime, str]]:
        first = self._first
        end = min(first.year + int(days / 365) + 1, datetime.max.year)
        if days > 3 * 365:
            every = max(1, round(days / 365 / 9))
            years = range(first.year, end + 1)
            yield from ((datetime(y, 1, 1), f"{y}") for y in years if y % every == 0)
        elif days > 60:
            every = max(1, round(days / 30.4 / 9))
            for number in range(first.year * 12, end * 12 + 12):
                if number % every == 0:
                    at = datetime(number // 12, number % 12 + 1, 1)
                    yield at, f"{at:%Y-%m}"
        else:
            for i in range(9):
                at = self._first + timedelta(seconds=self._seconds * i / 8)
                yield at, f"{at:%m-%d}" if days > 2 else f"{at:%H:%M}"


def _span(gap: timedelta) -> str:
    days = gap / timedelta(days=1)
    if days < 2:
        hours = days * 24
        return f"{hours:.0f} hours" if hours >= 2 else f"{hours * 60:.0f} minutes"
    if days < 60:
        return f"{days:.0f} days"
    return f"{days / 30.4:.0f} months" if days < 730 else f"{days / 365.25:.1f} years"


def _svg(marks: Sequence[Markup], height: int, what: str) -> Markup:
    head = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(WIDTH, height, what) + Markup("").join(marks) + Markup("</svg>")


def _line(x0: float, y0: float, x1: float, y1: float, kind: str) -> Markup:
    places = (f"{each:.1f}" for each in (x0, y0, x1, y1))
    line = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
    return line.format(*places, kind)


def _bar(x0: float, x1: float, bottom: float, top: float, kind: str) -> Markup:
    places = (f"{each:.1f}" for each in (x0, top, x1 - x0, bottom - top))
    bar = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>')
    return bar.format(*places, kind) if bottom > top else Markup("")


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    mark = Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>')
    return mark.format(f"{x:.1f}", f"{y:.1f}", anchor, escape(text))
