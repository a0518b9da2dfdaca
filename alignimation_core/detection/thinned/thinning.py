"""Which photos of the subject a film needs: of the others each is told which one is shown for it.

Numbers only. Where a photo fails later, ask again without it: another takes its place.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from alignimation_core.api.data import EYES, Photo, Subject
from alignimation_core.failure import Failure
from alignimation_core.photos.order import instant
from alignimation_core.recipe.schema import Settings
from alignimation_core.recipe.timeline import seconds_of, stretch, zone_of

STAGE = "sample"
"""What the record says has rejected a photo."""
BURST, BURST_BITS = 60.0, 48
"""Seconds within which pictures are of one burst, that differ in so many of 256 bits at most."""
COPY_BITS = 8
"""Bits in which copies of a picture differ at most, made smaller or compressed again."""


def within(
    photos: Sequence[Photo], settings: Settings, named: AbstractSet[str]
) -> tuple[list[Photo], list[Failure]]:
    """Return the photos of the recipe's time, or ``named`` by it; and the others, rejected."""
    start, end = stretch(settings.since, settings.until)
    inside: list[Photo] = []
    outside: list[Failure] = []
    for photo in photos:
        if photo.name in named or start <= photo.taken < end:
            inside.append(photo)
            continue
        early = photo.taken < start
        bound = f"before {settings.since}" if early else f"after {settings.until}"
        reason = f"taken {bound}: on {photo.taken.date()}"
        outside.append(Failure(photo.name, STAGE, reason, "rejected"))
    return inside, outside


def thins(settings: Settings) -> bool:
    """Return whether the recipe asks for fewer photos than show the subject."""
    thinner = (settings.sample, settings.min_gap, settings.max)
    return settings.duplicates == "drop" or thinner != (None, None, None)


def qualities(subject: Subject, measured: Mapping[str, float]) -> dict[str, float]:
    """Return what makes one photo of a subject better than another, each in [0, 1], by name.

    ``score`` is the detector's; ``sharpness`` and ``facing_forward`` are ``gates.values``, the
    latter 0 where nose or eyes were not found, and absent where the detector knows none;
    ``similarity`` that to the identity, where one was compared.
    """
    found = {"score": subject.score}
    if "sharpness" in measured:
        found["sharpness"] = measured["sharpness"]
    if all(name in subject.keypoint_names for name in ("nose", *EYES)):
        found["facing_forward"] = measured.get("facing_forward", 0.0)
    if subject.similarity is not None:
        found["similarity"] = max(0.0, subject.similarity)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A photo that may be shown.

    Attributes:
        place: in the order of the film.
        seconds: when it was taken.
        values: its qualities, by name.
        named: whether the recipe names it, so that it stays.
    """

    place: int
    photo: Photo
    subject: Subject
    seconds: float
    values: Mapping[str, float]
    named: bool

    @property
    def rank(self) -> tuple[bool, float, int]:
        """The better, the lower."""
        return not self.named, -sum(self.values.values()) / len(self.values), self.place


def thin(
    subjects: Sequence[tuple[Photo, Subject]],
    settings: Settings,
    named: AbstractSet[str],
    hashes: Mapping[str, int],
    values: Mapping[str, Mapping[str, float]],
) -> tuple[list[tuple[Photo, Subject]], list[Failure]]:
    """Return the photos that are shown, in their order; and the others, with what is shown instead.

    Duplicates are dropped first, then stretches of time are sampled, then photos that are too close
    in time, then the closest ones until there are few enough.

    Args:
        subjects: photos with their subjects, in the order of the film.
        settings: of the recipe.
        named: photos that the recipe names; they stay.
        hashes: perceptual hashes, by SHA-256 of the file; asked for where duplicates are dropped.
        values: of the subjects, as ``gates.values`` tells, by photo; where the sharpness of one is
            not known, that of none counts.
    """
    if not thins(settings):
        return list(subjects), []
    zone = zone_of(settings.time_zone) if settings.time_zone else None
    of_each = [values.get(photo.name, {}) for photo, _ in subjects]
    if not all("sharpness" in each for each in of_each):
        of_each = [{k: v for k, v in each.items() if k != "sharpness"} for each in of_each]
    items = [
        _Item(
            place,
            photo,
            subject,
            (instant(photo, zone) - datetime(1970, 1, 1)).total_seconds(),
            qualities(subject, measured),
            photo.name in named,
        )
        for place, ((photo, subject), measured) in enumerate(zip(subjects, of_each, strict=True))
    ]
    lost: dict[_Item, tuple[_Item, str]] = {}

    def left() -> list[_Item]:
        return [item for item in items if item not in lost]

    if settings.duplicates == "drop":
        lost |= _duplicates(items, hashes)
    if (sample := settings.sample) is not None:
        keep = sample.keep
        count = keep if isinstance(keep, int) else 1
        rule = f"{count} of every {sample.every} {'is' if count == 1 else 'are'} used"
        for bucket in _grouped(left(), lambda item: sample.bucket(item.photo.taken)):
            kept = _kept(bucket, keep)
            lost |= {item: (kept[0], rule) for item in bucket if item not in kept}
    if settings.min_gap is not None:
        rule = f"closer in time than {settings.min_gap}"
        lost |= dict(_spread(left(), seconds_of(settings.min_gap), 0, rule))
    if settings.max is not None:
        lost |= dict(_spread(left(), 0.0, settings.max, f"more than {settings.max} in all"))
    shown = [(item.photo, item.subject) for item in left()]
    failures = []
    for item in lost:
        winner, rule = lost[item]
        while winner in lost:
            winner = lost[winner][0]
        failures.append(Failure(item.photo.name, STAGE, _reason(item, winner, rule), "rejected"))
    return shown, failures


def _reason(item: _Item, winner: _Item, rule: str) -> str:
    values = ", ".join(
        f"{name} {winner.values[name]:.2f} to {value:.2f}"
        for name, value in item.values.items()
        if name in winner.values
    )
    return f"{rule}: {winner.photo.name} is shown ({values})"


def _grouped(items: Iterable[_Item], key: Callable[[_Item], int]) -> Iterable[list[_Item]]:
    groups: dict[int, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups.values()


def _kept(bucket: Sequence[_Item], keep: str | int) -> list[_Item]:
    """Return the photos of a stretch of time that are shown, the best of them first."""
    named = [item for item in bucket if item.named]
    count = keep if isinstance(keep, int) else 1
    if keep == "first":
        ranked = sorted(bucket, key=lambda item: (not item.named, item.seconds, item.place))
    elif keep == "middle":
        middle = sorted(bucket, key=lambda item: (item.seconds, item.place))[(len(bucket) - 1) // 2]
        ranked = sorted(bucket, key=lambda item: (not item.named, item is not middle))
    else:
        ranked = sorted(bucket, key=lambda item: item.rank)
    return ranked[: max(count, len(named))]


def _duplicates(
    items: Sequence[_Item], hashes: Mapping[str, int]
) -> dict[_Item, tuple[_Item, str]]:
    """Return the photos that a better one shows already, each with that one and why."""
    lost: dict[_Item, tuple[_Item, str]] = {}
    contents: dict[str, _Item] = {}
    pictures = _Pictures()
    for item in sorted(items, key=lambda item: item.rank):
        same = contents.setdefault(item.photo.sha256, item)
        value = hashes.get(item.photo.sha256)
        if same is not item:
            if not item.named:
                lost[item] = same, "the same file as another"
        elif value is not None:
            like = None if item.named else pictures.best_like(item, value)
            if like is None:
                pictures.add(item, value)
            else:
                lost[item] = like, "nearly the same picture as another"
    return lost


class _Pictures:
    """Photos, the best first, that are found by a part of their hash or by their time.

    Of ten parts of a hash, one at least is the same where no more than ``COPY_BITS`` differ.
    """

    def __init__(self) -> None:
        self._items: list[tuple[_Item, int]] = []
        self._by_part: dict[tuple[int, int], list[int]] = {}
        self._by_time: dict[int, list[int]] = {}

    def add(self, item: _Item, value: int) -> None:
        """Take up a photo, no better than those before."""
        place = len(self._items)
        self._items.append((item, value))
        for part in _parts(value):
            self._by_part.setdefault(part, []).append(place)
        self._by_time.setdefault(int(item.seconds // BURST), []).append(place)

    def best_like(self, item: _Item, value: int) -> _Item | None:
        """Return the best photo that is a copy of another, or of one burst with it."""
        time = int(item.seconds // BURST)
        copies = (self._by_part.get(part, ()) for part in _parts(value))
        burst = (self._by_time.get(time + step, ()) for step in (-1, 0, 1))
        for place in sorted({*chain(*copies, *burst)}):
            other, known = self._items[place]
            apart = (known ^ value).bit_count()
            near = abs(other.seconds - item.seconds) <= BURST
            if apart <= (BURST_BITS if near else COPY_BITS):
                return other
        return None


def _parts(value: int) -> list[tuple[int, int]]:
    return [(at, value >> at & (1 << 26) - 1) for at in range(0, 256, 26)]


def _spread(
    items: Sequence[_Item], least: float, most: int, rule: str
) -> Iterable[tuple[_Item, tuple[_Item, str]]]:
    """Yield photos to leave out: of the two closest in time, again and again, the worse.

    Until there are no more than ``most``, and none closer than ``least`` seconds; of ``most`` 0,
    their number is no matter.
    """
    line = sorted(items, key=lambda item: (item.seconds, item.place))
    before = list(range(-1, len(line) - 1))
    after = list(range(1, len(line) + 1))
    gone = [False] * len(line)
    left = len(line)

    def gap(i: int) -> tuple[float, int, int, int]:
        j = after[i]
        evenly = int(f"{i:032b}"[::-1], 2)  # of equal ones, such as of days, not all at one end
        return line[j].seconds - line[i].seconds, evenly, i, j

    gaps = [gap(i) for i in range(len(line) - 1)]
    heapq.heapify(gaps)
    while gaps:
        seconds, _, i, j = heapq.heappop(gaps)
        if seconds >= least and (not most or left <= most):
            return
        if gone[i] or gone[j] or after[i] != j or (line[i].named and line[j].named):
            continue
        worse, better = (i, j) if line[j].rank < line[i].rank else (j, i)
        gone[worse] = True
        left -= 1
        yield line[worse], (line[better], rule)
        previous, following = before[worse], after[worse]
        if previous >= 0:
            after[previous] = following
        if following < len(line):
            before[following] = previous
        if previous >= 0 and following < len(line):
            heapq.heappush(gaps, gap(previous))
