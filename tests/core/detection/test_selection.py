"""What a subject selector answers, and which photos have a subject then."""

from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Choice, Detections, Mask, Observation, Photo, StageError
from alignimation_core.api.stages.selectors import Gates
from alignimation_core.corrections.corrections import Corrections
from alignimation_core.detection.selection import select, with_masks
from alignimation_core.failure import Failure

NAN = float("nan")


class Answering:
    """A subject selector that gives one answer, and keeps what it was asked."""

    name = "answering"
    gates = Gates(min_size=2)

    def __init__(self, answer):
        self.answer = answer

    def select(self, observations):
        self.asked = observations
        return self.answer


def seen(name, boxes=2, masks=None):
    photo = Photo(Path("/", name), name, "", 60, 80, datetime(2020, 1, 1), "exif")
    corners = torch.arange(4.0 * boxes).view(boxes, 4)
    return Observation(photo, Detections(corners, torch.linspace(1, 0.5, boxes), masks=masks))


def mask(level):
    return Mask.of(torch.full((4, 4), level), (0, 0, 80, 60))


def test_each_photo_has_its_choice_and_one_that_is_rejected_its_reason():
    observations, steps = [seen("a"), seen("b"), seen("c")], []
    selector = Answering(
        [Choice(1, similarity=0.75, least=0.712345), Choice(None, "nobody"), Choice(0)]
    )
    selected = select(observations, selector, lambda: steps.append(1), Corrections())
    assert selector.asked == observations
    assert [photo.name for photo, _ in selected.chosen] == ["a", "c"]
    assert [subject.box for _, subject in selected.chosen] == [(4, 5, 6, 7), (0, 1, 2, 3)]
    assert [subject.similarity for _, subject in selected.chosen] == [0.75, None]
    assert selected.rejected == [Failure("b", "subject_selector", "nobody", "rejected")]
    assert (selected.least, len(steps)) == (0.71234, 3)
    assert selected.values["c"] == {"size": 2.0, "share": 0.0008, "border": 0.0}
    assert selected.values.keys() == {"a", "c"}


def test_where_masks_are_needed_a_subject_without_one_fails():
    masks = ((mask(1.0), None), (None, mask(1.0)), (mask(0.1), mask(1.0)))
    observations = [seen(name, masks=each) for name, each in zip("abc", masks, strict=True)]
    selected = select(observations, Answering([Choice(0)] * 3), lambda: None, Corrections())
    assert [photo.name for photo, _ in selected.chosen] == ["a", "b", "c"]
    usable, failures = with_masks(selected.chosen)
    assert usable == selected.chosen[:1]
    assert failures == [
        Failure(
            "b",
            "detector",
            "the detector found no mask of the subject, which `canvas.background` needs",
        ),
        Failure("c", "detector", "the subject's mask is empty, and `canvas.background` needs it"),
    ]


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
    with pytest.raises(StageError) as caught:
        select([seen("a"), seen("b")], Answering(answer), lambda: None, Corrections())
    assert str(caught.value) == f"subject_selector answering: {reason}"
