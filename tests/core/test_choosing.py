"""What a subject selector answers, and what each photo's record says of it."""

from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Choice, Detections, Mask, Observation, Photo, StageError
from alignimation_core.choosing import select
from alignimation_core.observations import Entry
from alignimation_core.record import PhotoRecord

NAN = float("nan")


class Answering:
    """A subject selector that gives one answer, and keeps what it was asked."""

    name = "answering"

    def __init__(self, answer):
        self.answer = answer

    def select(self, observations):
        self.asked = observations
        return self.answer


def seen(name, boxes=2, masks=None):
    photo = Photo(Path("/", name), name, "", 60, 80, datetime(2020, 1, 1), "exif")
    corners = torch.arange(4.0 * boxes).view(boxes, 4)
    found = Detections(corners, torch.linspace(1, 0.5, boxes), masks=masks)
    return Entry(photo, PhotoRecord(name)), Observation(photo, found)


def mask(level):
    return Mask.of(torch.full((4, 4), level), (0, 0, 80, 60))


def said(observations):
    return [(e.record.status, e.record.stage, e.record.reason) for e, _ in observations]


def test_each_photo_has_its_choice_and_one_that_is_rejected_its_reason():
    observations, steps = [seen("a"), seen("b"), seen("c")], []
    selector = Answering([Choice(1, similarity=0.75), Choice(None, "nobody"), Choice(0)])
    chosen = select(observations, selector, lambda: steps.append(1), needs_mask=False)
    assert selector.asked == [observation for _, observation in observations]
    assert [entry for entry, _ in chosen] == [observations[0][0], observations[2][0]]
    assert [subject.box for _, subject in chosen] == [(4, 5, 6, 7), (0, 1, 2, 3)]
    assert [subject.similarity for _, subject in chosen] == [0.75, None]
    assert [entry.record.seen for entry, _ in chosen] == [subject for _, subject in chosen]
    assert said(observations)[1] == ("rejected", "subject_selector", "nobody")
    assert observations[1][0].record.seen is None
    assert len(steps) == 3


def test_where_masks_are_needed_a_subject_without_one_fails_and_is_on_record():
    masks = ((mask(1.0), None), (None, mask(1.0)), (mask(0.1), mask(1.0)))
    observations = [seen(name, masks=each) for name, each in zip("abc", masks, strict=True)]
    selector, steps = Answering([Choice(0), Choice(0), Choice(0)]), []
    chosen = select(observations, selector, lambda: steps.append(1), needs_mask=True)
    assert [entry.photo.name for entry, _ in chosen] == ["a"]
    assert said(observations)[1:] == [
        (
            "failed",
            "detector",
            "the detector found no mask of the subject, which `canvas.background` needs",
        ),
        ("failed", "detector", "the subject's mask is empty, and `canvas.background` needs it"),
    ]
    assert all(entry.record.seen.box == (0, 1, 2, 3) for entry, _ in observations)
    assert len(steps) == 3
    every = select(observations, selector, lambda: None, needs_mask=False)
    assert [entry.photo.name for entry, _ in every] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([Choice(0)], "TypeError: expected a list of 2 Choice, got 1"),
        ([Choice(0)] * 3, "TypeError: expected a list of 2 Choice, got 3"),
        ((Choice(0), Choice(0)), "TypeError: expected a list of 2 Choice, got tuple"),
        (None, "TypeError: expected a list of 2 Choice, got NoneType"),
        ([Choice(0), "b"], "TypeError: expected Choice, got str"),
        ([Choice(0), Choice(2)], "IndexError: b: chose detection 2 of 2"),
        ([Choice(-1), Choice(0)], "IndexError: a: chose detection -1 of 2"),
        ([Choice(0), Choice(1, similarity=NAN)], "ValueError: b: the similarity is nan"),
        ([Choice(0, similarity=-1e999), Choice(1)], "ValueError: a: the similarity is -inf"),
    ],
)
def test_an_answer_that_is_none_is_refused(answer, reason):
    observations = [seen("a"), seen("b")]
    with pytest.raises(StageError) as caught:
        select(observations, Answering(answer), lambda: None, needs_mask=False)
    assert str(caught.value) == f"subject_selector answering: {reason}"
    assert all(entry.record.seen is None for entry, _ in observations)
