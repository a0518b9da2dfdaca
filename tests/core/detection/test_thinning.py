"""Which photos are shown, and what is told of the others."""

import itertools
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core import Photo, Recipe, Subject
from alignimation_core.detection.thinned.thinning import qualities, thin, within

START = datetime(2018, 7, 2)  # a Monday
DAY = 24 * 60
NONE = frozenset()


def recipe(**settings):
    return Recipe.of({"photos": "a/", "detector": "mtcnn", "time_zone": "UTC", **settings})


def photo(name, minutes=0.0, sha256=""):
    taken = START + timedelta(minutes=minutes)
    return Photo(
        Path("/", name), name, sha256 or name, 100, 100, taken, "exif", taken_zone="+00:00"
    )


def shot(name, minutes=0.0, score=0.5, sha256="", **more):
    return photo(name, minutes, sha256), Subject((0, 0, 9, 9), score, **more)


def thinned(shots, named=NONE, hashes=None, values=None, **settings):
    """Return the names of the photos shown, and the reasons of the others by name."""
    shown, others = thin(shots, recipe(**settings), named, hashes or {}, values or {})
    assert {(each.stage, each.status) for each in others} <= {("sample", "rejected")}
    return [each.name for each, _ in shown], {each.photo: each.reason for each in others}


def test_without_any_wish_all_are_shown():
    assert thinned([shot("b"), shot("a", -1), shot("c", sha256="b")]) == (["b", "a", "c"], {})


def test_the_photos_of_the_recipes_time_are_inside():
    photos = [photo(f"{day}", day * DAY) for day in range(-2, 3)]
    inside, outside = within(photos, recipe(**{"from": "2018-07-01", "to": "2018-07-02"}), {"2"})
    assert [each.name for each in inside] == ["-1", "0", "2"]
    assert [(each.photo, each.reason, each.status) for each in outside] == [
        ("-2", "taken before 2018-07-01: on 2018-06-30", "rejected"),
        ("1", "taken after 2018-07-02: on 2018-07-03", "rejected"),
    ]
    assert within(photos, recipe(), NONE) == (photos, [])


def test_the_best_of_every_stretch_of_time_is_shown():
    shots = [
        shot("a", 0, 0.5),
        shot("b", DAY, 0.9),
        shot("c", 2 * DAY, 0.7),
        shot("d", 7 * DAY, 0.1),
    ]
    assert thinned(shots, sample="week") == (
        ["b", "d"],
        {
            "a": "1 of every week is used: b is shown (score 0.90 to 0.50)",
            "c": "1 of every week is used: b is shown (score 0.90 to 0.70)",
        },
    )


@pytest.mark.parametrize(
    ("keep", "names"), [("first", ["e", "x"]), ("middle", ["b", "x"]), (2, ["a", "c", "x"])]
)
def test_the_first_the_middle_or_some_of_every_stretch_of_time_are_shown(keep, names):
    shots = [shot("a", 30, 0.8), shot("b", 20), shot("c", 10, 0.7), shot("d", 40), shot("e", 0)]
    shots.append(shot("x", DAY))
    assert thinned(shots, sample={"every": "day", "keep": keep})[0] == names


def test_a_photo_that_the_recipe_names_is_shown_whatever_it_is_like():
    shots = [shot("a", 0, 0.1, "same"), shot("b", 1, 0.9, "same"), shot("c", 2, 0.9)]
    every = [{"sample": {"every": "day", "keep": keep}} for keep in ("best", "first", "middle", 1)]
    for settings in (*every, {"max": 1}, {"min_gap": "1 day"}, {"duplicates": "drop", "max": 1}):
        names, others = thinned(shots, {"a"}, **settings)
        assert names == ["a"]
        assert all("a is shown" in reason for reason in others.values())
    assert thinned(shots, {"a", "b"}, duplicates="drop", max=1)[0] == ["a", "b"]


def test_all_that_is_known_of_a_subject_makes_it_better_and_is_told():
    names = ("nose", "left_eye", "right_eye")
    shots = [
        shot("a", 0, 0.99, keypoint_names=names, similarity=0.8),
        shot("b", 1, 0.95, keypoint_names=names, similarity=0.75),
    ]
    values = {"a": {"facing_forward": 0.5, "yaw": 40.0}, "b": {"facing_forward": 1.0}}
    assert thinned(shots, max=1, values=values) == (
        ["b"],
        {
            "a": "more than 1 in all: b is shown (score 0.95 to 0.99, facing_forward 1.00 to 0.50, "
            "similarity 0.75 to 0.80)"
        },
    )


def test_the_sharper_is_better_where_both_are_measured():
    shots = [shot("a", 0, 0.9), shot("b", 1, 0.8)]
    assert thinned(shots, max=1, values={"a": {"sharpness": 0.3}, "b": {"sharpness": 0.6}}) == (
        ["b"],
        {"a": "more than 1 in all: b is shown (score 0.80 to 0.90, sharpness 0.60 to 0.30)"},
    )
    assert thinned(shots, max=1, values={"b": {"sharpness": 0.6}})[0] == ["a"]


def test_a_face_of_which_an_eye_is_missing_does_not_face_forward():
    names = ("nose", "left_eye", "right_eye")
    profile = Subject((0, 0, 9, 9), 0.9, {"nose": (0, 0), "left_eye": (1, 1)}, keypoint_names=names)
    assert qualities(profile, {}) == {"score": 0.9, "facing_forward": 0.0}
    unlike = Subject((0, 0, 9, 9), 0.9, similarity=-0.2)
    assert qualities(unlike, {}) == {"score": 0.9, "similarity": 0}


def test_of_the_same_file_one_is_shown():
    shots = [shot("a", 0, 0.9, "s"), shot("b", 9 * DAY, 0.9, "s"), shot("c", 0, 0.9, "t")]
    assert thinned(shots, duplicates="drop") == (
        ["a", "c"],
        {"b": "the same file as another: a is shown (score 0.90 to 0.90)"},
    )


COPY, BURST, OTHER = (1 << 8) - 1, (1 << 48) - 1, (1 << 49) - 1


@pytest.mark.parametrize(
    ("bits", "minutes", "dropped"),
    [(COPY, 999 * DAY, True), (COPY << 1 | 1, 2, False), (BURST, 1, True), (BURST, 1.1, False),
     (OTHER, 0, False)],
)  # fmt: skip
def test_copies_and_bursts_are_nearly_the_same_picture(bits, minutes, dropped):
    shots = [shot("a", 0, 0.4), shot("b", minutes, 0.6)]
    names, others = thinned(shots, hashes={"a": 1 << 255, "b": 1 << 255 ^ bits}, duplicates="drop")
    assert names == (["b"] if dropped else ["a", "b"])
    text = "nearly the same picture as another: b is shown (score 0.60 to 0.40)"
    assert others == ({"a": text} if dropped else {})


def test_photos_of_which_no_hash_is_known_are_no_duplicates():
    assert thinned([shot("a"), shot("b")], hashes={"a": 0}, duplicates="drop")[0] == ["a", "b"]


def test_photos_that_are_too_close_in_time_give_way_to_better_ones():
    shots = [shot("a", 0), shot("b", 50, 0.9), shot("c", 100), shot("d", 160)]
    assert thinned(shots, min_gap="1 hour") == (
        ["b", "d"],
        {
            "a": "closer in time than 1 hour: b is shown (score 0.90 to 0.50)",
            "c": "closer in time than 1 hour: b is shown (score 0.90 to 0.50)",
        },
    )


def test_a_photo_is_told_what_is_shown_in_the_end():
    shots = [shot("a", 0, 0.1), shot("b", 1, 0.2), shot("c", 30, 0.3)]
    names, others = thinned(shots, min_gap="10 minutes", sample="hour")
    assert names == ["c"]
    assert others["a"] == "1 of every hour is used: c is shown (score 0.30 to 0.10)"
    names, others = thinned(shots, min_gap="10 minutes", max=1)
    assert others["a"] == "closer in time than 10 minutes: c is shown (score 0.30 to 0.10)"


def test_as_many_as_wanted_are_spread_over_time():
    cluster = [shot(f"c{i:02}", i) for i in range(20)]
    far = [shot(f"f{i}", (i + 1) * DAY) for i in range(5)]
    names, _ = thinned([*cluster, *far], max=6)
    assert names[-5:] == [f"f{i}" for i in range(5)]
    assert len(names) == 6


@pytest.mark.parametrize(
    ("count", "longest"), [(3, 64), (10, 16), (24, 8), (50, 2), (75, 2), (99, 2)]
)
def test_of_a_photo_a_day_none_of_the_year_is_left_bare(count, longest):
    days = [shot(f"{day:03}", day * DAY) for day in range(100)]
    names, _ = thinned(days, max=count)
    assert len(names) == count
    numbers = [-1, *map(int, names), 100]
    gaps = [b - a for a, b in itertools.pairwise(numbers)]
    assert max(gaps) <= longest


SHOTS = st.lists(
    st.tuples(st.integers(0, 40_000), st.integers(0, 10), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "sample": st.sampled_from(["day", "week", {"every": "10 days", "keep": 2}]),
        "duplicates": st.just("drop"),
        "min_gap": st.sampled_from(["1 hour", "2 days"]),
        "max": st.integers(1, 10),
    },
)


@given(SHOTS, SETTINGS)
def test_whatever_is_wished_every_photo_is_shown_or_told_which_is(data, settings):
    shots = [
        shot(f"{i}", minutes, score / 10, f"{content}{minutes}")
        for i, (minutes, score, content) in enumerate(data)
    ]
    hashes = {each.sha256: i << 200 for i, (each, _) in enumerate(shots)}
    names, others = thinned(shots, hashes=hashes, **settings)
    assert sorted([*names, *others]) == sorted(each.name for each, _ in shots)
    assert names == [each.name for each, _ in shots if each.name in names]  # in their order
    for reason in others.values():
        assert reason.partition(" is shown")[0].rpartition(" ")[2] in names
    taken = sorted(each.taken for each, _ in shots if each.name in names)
    if gap := settings.get("min_gap"):
        least = timedelta(hours=1) if gap == "1 hour" else timedelta(days=2)
        assert all(b - a >= least for a, b in itertools.pairwise(taken))
    assert 1 <= len(names) <= settings.get("max", 30)
    assert thinned(shots, hashes=hashes, **settings) == (names, others)


FLIPS = st.sets(st.integers(0, 255), max_size=10)


@given(st.lists(st.tuples(FLIPS, st.integers(0, 200)), min_size=1, max_size=12))
def test_no_copy_is_overlooked(data):
    hashes = {f"{i}": sum(1 << bit for bit in flips) for i, (flips, _) in enumerate(data)}
    shots = [shot(f"{i}", hours * 60) for i, (_, hours) in enumerate(data)]
    wanted = []
    for each, _ in shots:
        apart = [(hashes[name] ^ hashes[each.name], name) for name in wanted]
        near = [shots[int(name)][0].taken == each.taken for name in wanted]
        if not any(
            bits.bit_count() <= (48 if close else 8)
            for (bits, _), close in zip(apart, near, strict=True)
        ):
            wanted.append(each.name)
    assert thinned(shots, hashes=hashes, duplicates="drop")[0] == wanted
