"""What is kept of targets and fits, and that going on gives the same to the last bit."""

import math
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from alignimation_core import (
    AlignimationError,
    Mask,
    Photo,
    Registration,
    Subject,
    Target,
    TargetBuilder,
    TransformModel,
)
from alignimation_core.alignment import reference as choosing
from alignimation_core.alignment.alignment import align
from alignimation_core.alignment.subjects import in_working_frames
from alignimation_core.alignment.targets import Targets
from alignimation_core.api import geometry
from alignimation_core.store.fits import Fits, TargetSummary
from alignimation_core.store.store import Store

COUNT = 100
FACE = {"left_eye": (44.0, 20.0), "right_eye": (20.0, 20.0), "nose": (32.0, 34.0)}


class Counted(TargetBuilder):
    """Draws a picture of the subject's numbers, and counts."""

    name: ClassVar[str] = "counted"
    calls: ClassVar[list[Subject]] = []
    broken: ClassVar[set[float]] = set()

    def build(self, subject: Subject, size: tuple[int, int]) -> Target:
        self.calls.append(subject)
        if subject.score in self.broken:
            raise RuntimeError("out of ink")
        points = torch.tensor([subject.keypoints[name] for name in FACE])
        return Target.of(torch.full((2, *size), subject.score), points=points)


class Batchwise(TransformModel):
    """The closed form, with last bits that depend on the batch, as those of real models do."""

    name: ClassVar[str] = "batchwise"
    batches: ClassVar[list[int]] = []
    raises: ClassVar[set[float]] = set()
    refuses: ClassVar[set[float]] = set()

    def fit(self, moving: Target, fixed: Target, initial: torch.Tensor) -> Registration:
        scores = [round(float(score), 6) for score in moving.image[:, 0, 0, 0]]
        self.batches.append(len(scores))
        if self.raises & set(scores):
            raise RuntimeError("out of luck")
        count = len(scores)
        initial = initial * (1 + 1e-12 * (count + torch.arange(count))[:, None, None])
        numbers = torch.rand(count)  # as random as a model likes
        reasons = tuple("it is refused" if score in self.refuses else None for score in scores)
        return Registration(
            initial + 1e-9 * numbers.double()[:, None, None],
            torch.full((count,), torch.nan),
            numbers,
            torch.arange(count),
            numbers > 0.5,
            reasons,
        )


@pytest.fixture(autouse=True)
def forget():
    for memory in (
        Counted.calls, Counted.broken, Batchwise.batches, Batchwise.raises, Batchwise.refuses
    ):  # fmt: skip
        memory.clear()


def score(number: int) -> float:
    return round(0.1 + 0.005 * number, 6)


def pair(number: int) -> tuple[Photo, Subject]:
    turn = geometry.rotation(0.01 * number) @ geometry.scaling(2 + 0.01 * number, 2 + 0.01 * number)
    place = geometry.as_rows(geometry.translation(100 + number, 80.0) @ turn)
    subject = Subject(
        (0, 0, 64, 64), score(number), FACE, keypoint_names=tuple(FACE), similarity=0.7
    )
    photo = Photo(Path(f"/{number}"), f"{number}.jpg", f"{number}", 400, 500, datetime(2020, 1, 1),
                  "exif")  # fmt: skip
    return photo, subject.transformed(place)


@pytest.fixture
def store(tmp_path):
    """Open the store of this test."""
    notes: list[str] = []

    def store():
        return Store(
            tmp_path, None, None, notes.append, builder="a builder", model="a model"
        )  # fmt: skip

    yield store
    assert notes == []


class Killed(BaseException):
    pass


class Until:
    """What keeps fits until it is killed."""

    def __init__(self, fits, summaries=math.inf, batches=math.inf):
        self.fits, self.summaries, self.batches = fits, summaries, batches

    def recall_summaries(self, subjects):
        return self.fits.recall_summaries(subjects)

    def recall_fits(self, reference, subjects):
        return self.fits.recall_fits(reference, subjects)

    def keep_summaries(self, summaries):
        if self.summaries == 0:
            raise Killed
        self.summaries -= 1
        self.fits.keep_summaries(summaries)

    def keep_fits(self, reference, fits):
        if self.batches == 0:
            raise Killed
        self.batches -= 1
        self.fits.keep_fits(reference, fits)


def run(numbers, fits=None, reference="medoid", steps=None):
    """Align photos; return every photo's matrix, iterations and reason, to the last bit."""
    pairs = [pair(number) for number in numbers]
    torch.manual_seed(0)
    model = Batchwise(working_side=16)
    step = (lambda: None) if steps is None else (lambda: steps.append(1))
    found = align(pairs, Counted(), model, reference, step, fits)
    aligned = {item.photo.name: item for item in found.aligned}
    failures = {failure.photo: failure for failure in found.failures}
    assert len(aligned) + len(failures) == len(pairs)
    return found.reference.photo.name, [
        (name, item.reference_from_photo.numpy().tobytes(), item.iterations, None, None)
        if (item := aligned.get(name))
        else (name, None, None, failures[name].stage, failures[name].reason)
        for name in (photo.name for photo, _ in pairs)
    ]


@pytest.mark.parametrize("reference", ["medoid", "mean", "first"])
def test_a_second_run_draws_and_fits_nothing(store, reference):
    with store() as opened:
        first = run(range(COUNT), opened.fits, reference)
    assert first == run(range(COUNT), None, reference)
    Counted.calls.clear()
    Batchwise.batches.clear()
    steps: list[int] = []
    with store() as opened:
        assert run(range(COUNT), opened.fits, reference, steps) == first
    assert (Counted.calls, Batchwise.batches) == ([], [])
    assert len(steps) == COUNT


@pytest.mark.parametrize("reference", ["medoid", "mean"])
@pytest.mark.parametrize("batches", range(4))
def test_a_killed_run_goes_on_to_the_same_bits(store, tmp_path, reference, batches):
    Batchwise.raises.add(score(40))
    Batchwise.refuses.add(score(3))
    undisturbed = run(range(COUNT), None, reference)
    with store() as opened, pytest.raises(Killed):
        run(range(COUNT), Until(opened.fits, batches=batches), reference)
    with store() as opened:
        assert run(range(COUNT), opened.fits, reference) == undisturbed
    with store() as opened:
        assert run(range(COUNT), opened.fits, reference) == undisturbed


def test_a_run_killed_while_it_draws_draws_the_rest(store):
    undisturbed = run(range(COUNT))
    Counted.calls.clear()
    with store() as opened, pytest.raises(Killed):
        run(range(COUNT), Until(opened.fits, summaries=2))
    assert len(Counted.calls) == 96
    Counted.calls.clear()
    with store() as opened:
        assert run(range(COUNT), opened.fits) == undisturbed
    assert len(Counted.calls) == (COUNT - 64) + 1 + COUNT  # summaries; then the reference, to fit


def test_photos_that_come_and_go_cost_only_themselves(store):
    with store() as opened:
        run(range(10, 60), opened.fits, "30.jpg")
    Counted.calls.clear()
    Batchwise.batches.clear()
    with store() as opened:
        _, photos = run(range(70), opened.fits, "30.jpg")
    assert Batchwise.batches == [20]
    assert len(Counted.calls) == 20 + 1
    assert [name for name, *_ in photos] == [f"{number}.jpg" for number in range(70)]


def test_of_many_photos_few_are_drawn_to_choose_the_reference(store, monkeypatch):
    monkeypatch.setattr(choosing, "CANDIDATES", 30)
    with store() as opened:
        first = run(range(COUNT), opened.fits)
    assert len(Counted.calls) == 30 + 1 + COUNT
    assert first == run(range(COUNT))
    Counted.calls.clear()
    with store() as opened:
        assert run(range(COUNT), opened.fits) == first
    assert Counted.calls == []


class Sized(Batchwise):
    """The same, keeping sizes: one scale for all working frames."""

    name: ClassVar[str] = "sized"
    changes_scale: ClassVar[bool] = False


@pytest.mark.parametrize("model", [Batchwise, Sized])
def test_of_many_photos_the_reference_remains_when_others_come_and_go(monkeypatch, model):
    monkeypatch.setattr(choosing, "CANDIDATES", 60)
    noise = torch.randn(200, 3, 2, generator=torch.Generator().manual_seed(0)).tolist()

    def chosen(numbers, nudge=0.0) -> str:
        pairs = []
        for number in numbers:
            photo, subject = pair(number)
            moved = {
                name: (x + 5 * dx + nudge, y + 5 * dy)
                for (name, (x, y)), (dx, dy) in zip(
                    subject.keypoints.items(), noise[number], strict=True
                )
            }
            pairs.append((photo, replace(subject, keypoints=moved)))
        targets = Targets(Counted(), 64)
        every = in_working_frames(pairs, model(working_side=64))
        found, _ = choosing.choose_reference(every, targets, Fits(), "medoid")
        return found.photo.name

    name = chosen(range(200))
    number = int(name.partition(".")[0])
    assert chosen(range(200), nudge=1e-7) == name  # as another processor would have it
    fewer = [
        chosen(sorted({*range(gone, 200, 20)} ^ {*range(200)} | {number})) for gone in range(20)
    ]
    assert fewer.count(name) >= 15


def test_when_all_candidates_fail_the_reference_is_one_of_the_others(monkeypatch):
    monkeypatch.setattr(choosing, "CANDIDATES", 1)
    candidate, _ = run(range(20))
    Counted.broken.add(score(int(candidate.partition(".")[0])))
    name, photos = run(range(20))
    assert name != candidate
    assert [(row[0], *row[3:]) for row in photos if row[1] is None] == [
        (candidate, "target_builder", "counted: RuntimeError: out of ink")
    ]


def test_what_cannot_be_drawn_is_not_tried_twice_in_a_run(store):
    Counted.broken.update(score(number) for number in range(0, COUNT, 2))
    for _ in range(2):
        Counted.calls.clear()
        Batchwise.batches.clear()
        steps: list[int] = []
        with store() as opened:
            run(range(COUNT), opened.fits, steps=steps)
        assert sum(call.score in Counted.broken for call in Counted.calls) == COUNT // 2
        assert len(steps) == COUNT
    assert (len(Counted.calls), Batchwise.batches) == (COUNT // 2, [])


def test_the_first_photo_that_can_be_drawn_is_the_first(store):
    Counted.broken.update({score(0), score(1)})
    with store() as opened:
        name, photos = run(range(10), opened.fits, "first")
    assert name == "2.jpg"
    assert [row[0] for row in photos if row[1] is None] == ["0.jpg", "1.jpg"]


def test_a_reference_by_name_that_cannot_be_drawn_says_why():
    Counted.broken.add(score(4))
    with pytest.raises(
        AlignimationError,
        match=r"^4\.jpg: the reference could not be aligned with itself: counted: RuntimeError: "
        r"out of ink; set `reference` to another photo$",
    ):
        run(range(10), reference="4.jpg")


def test_an_error_is_tried_again_and_a_refusal_is_an_answer(store):
    Batchwise.raises.add(score(4))
    Batchwise.refuses.add(score(5))
    with store() as opened:
        _, photos = run(range(10), opened.fits, "first")
    assert photos[4][1:] == (
        None, None, "transform_model", "batchwise: RuntimeError: out of luck"
    )  # fmt: skip
    assert photos[5][1:] == (None, None, "transform_model", "batchwise: it is refused")
    Batchwise.batches.clear()
    Batchwise.raises.clear()
    with store() as opened:
        _, again = run(range(10), opened.fits, "first")
    assert Batchwise.batches == [1]
    assert again[4][1] is not None
    assert [row for i, row in enumerate(again) if i != 4] == [
        row for i, row in enumerate(photos) if i != 4
    ]


def test_a_target_that_could_not_be_drawn_is_tried_again(store):
    Counted.broken.add(score(4))
    with store() as opened:
        _, photos = run(range(10), opened.fits)
    assert photos[4][3:] == ("target_builder", "counted: RuntimeError: out of ink")
    Counted.broken.clear()
    with store() as opened:
        _, photos = run(range(10), opened.fits)
    assert photos[4][1] is not None


def test_a_transform_that_cannot_be_used_is_refused_from_the_store_too(store, monkeypatch):
    def fit(self, moving, fixed, initial):
        initial[1] *= torch.tensor([1.0, -1.0, 1.0]).double()
        initial[2, 0, 0] = torch.nan
        zeros = torch.zeros(len(initial))
        return Registration(initial, zeros, zeros, zeros.long(), zeros == 0)

    monkeypatch.setattr(Batchwise, "fit", fit)
    reasons = []
    for _ in range(2):
        with store() as opened:
            _, photos = run(range(3), opened.fits, "first")
        reasons.append([row[4] for row in photos[1:]])
    assert (
        reasons
        == [
            [
                "batchwise: it gave a transform that mirrors, flattens or explodes the photo",
                "batchwise: it gave a transform with numbers that are not finite",
            ]
        ]
        * 2
    )


def key(change=None, *, pixels=False, side=16, sha256="0", **changes):
    """Return the key of a subject with changes."""

    class Seeing(Counted):
        def requires(self):
            return frozenset({"pixels"} if pixels else ())

    photo, subject = pair(7)
    pairs = [(replace(photo, sha256=sha256), replace(subject, **changes))]
    (item,) = in_working_frames(pairs, Batchwise(working_side=side))
    if change is not None:
        item.working_from_photo[0, 2] += change
    (key,) = Targets(Seeing(), side).keys([item])
    return key


def test_the_key_is_all_that_a_builder_sees():
    mask = Mask.of(torch.ones(3, 4), (0, 0, 8, 8))
    _, subject = pair(7)
    nose = subject.keypoints["nose"]
    keys = [
        key(),
        key(score=0.5),
        key(box=(1, 2, 3, 4)),
        key(change=1e-9),
        key(side=32),
        key(keypoints=subject.keypoints | {"nose": (nose[0], nose[1] + 1e-9)}),
        key(keypoints={n: p for n, p in subject.keypoints.items() if n != "nose"}),
        key(keypoint_scores=dict.fromkeys(FACE, 0.5)),
        key(keypoint_names=(*FACE, "mouth")),
        key(mask=mask),
        key(mask=replace(mask, data=mask.data + b" ")),
        key(mask=mask.transformed(geometry.as_rows(geometry.translation(0.5, 0)))),
        key(pixels=True),
        key(pixels=True, sha256="1"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(similarity=0.3) == key(sha256="1") == key()


def test_the_similarity_is_not_for_builders():
    (item,) = in_working_frames([pair(7)], Batchwise(working_side=16))
    assert item.subject.similarity == 0.7
    Targets(Counted(), 16).build(item)
    assert [subject.similarity for subject in Counted.calls] == [None]


def test_a_photo_that_vanishes_before_its_fit_does_not_shift_the_batches(store):
    class Vanishing(Until):
        def recall_fits(self, reference, subjects):
            Counted.broken.add(score(40))
            return super().recall_fits(reference, subjects)

    undisturbed = run(range(COUNT), Vanishing(Fits()), "first")
    assert undisturbed[1][40][3:] == ("target_builder", "counted: RuntimeError: out of ink")
    Counted.broken.clear()
    with store() as opened, pytest.raises(Killed):
        run(range(COUNT), Vanishing(opened.fits, batches=2), "first")
    Counted.broken.clear()
    with store() as opened:
        assert run(range(COUNT), Vanishing(opened.fits), "first") == undisturbed


def test_when_no_photo_fits_the_mean_the_run_says_so(monkeypatch):
    fit = Batchwise.fit

    def once(self, moving, fixed, initial):
        if self.batches:
            raise RuntimeError("out of luck")
        return fit(self, moving, fixed, initial)

    monkeypatch.setattr(Batchwise, "fit", once)
    with pytest.raises(
        AlignimationError,
        match=r"^no photo is left to align; of 5, 5 failed: .*: RuntimeError: out of luck$",
    ):
        run(range(5), reference="mean")


def test_a_reference_that_can_no_longer_be_drawn_is_told(store):
    with store() as opened, pytest.raises(Killed):
        run(range(5), Until(opened.fits, batches=0), "first")
    Counted.broken.add(score(0))
    with store() as opened, pytest.raises(AlignimationError) as caught:
        run(range(5), opened.fits, "first")
    assert str(caught.value) == (
        "0.jpg: the reference could not be aligned with itself: counted: RuntimeError: out of ink; "
        "set `reference` to another photo"
    )


def test_a_reference_whose_file_has_vanished_is_told(monkeypatch):
    class Summarised(Fits):
        def recall_summaries(self, subjects):
            return dict.fromkeys(subjects, TargetSummary(2, bytes(1024), bytes(24), bytes(12)))

    monkeypatch.setattr(Counted, "requires", lambda _: frozenset({"pixels"}))
    with pytest.raises(AlignimationError) as caught:
        run(range(5), Summarised(), "first")
    text = str(caught.value)
    assert text.startswith("0.jpg: the reference could not be aligned with itself: ")
    assert text.endswith("; set `reference` to another photo")
