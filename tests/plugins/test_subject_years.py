"""One person over the years: synthetic embeddings that drift, beside a sibling's that do."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from alignimation_core import Detections, Observation, Photo
from alignimation_subject import Identity, _identity

DRIFT, APART = math.radians(60), math.radians(25)
YEARS, A_YEAR, STRANGERS, SIZE = 15, 20, 10, 128


class Family:
    """Directions on the sphere: the subject's drifts by 60 degrees, the sibling's beside it."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)
        basis, _ = torch.linalg.qr(torch.randn(SIZE, 3, generator=self.generator))
        self.young, self.old, self.beside = basis.T
        self.strangers = normalize(torch.randn(STRANGERS, SIZE, generator=self.generator), dim=1)

    def draw(self):
        return float(torch.rand(1, generator=self.generator))

    def subject(self, year):
        angle = DRIFT * year / YEARS
        return math.cos(angle) * self.young + math.sin(angle) * self.old

    def sibling(self, year, ahead):
        """Aside of the subject, or just where the subject was six years ago."""
        if ahead:
            return self.subject(year - YEARS * APART / DRIFT)
        return math.cos(APART) * self.subject(year) + math.sin(APART) * self.beside

    def stranger(self):
        return self.strangers[int(self.draw() * STRANGERS)]

    def face(self, direction, noise):
        aside = torch.randn(SIZE, generator=self.generator)
        aside = normalize(aside - (aside @ direction) * direction, dim=0)
        return math.cos(noise) * direction + math.sin(noise) * aside


def see(faces, number, year, same, taken_from="exif"):
    boxes = torch.tensor([[30.0 * i, 0.0, 30.0 * i + 20, 20.0] for i in range(len(faces))])
    taken = datetime(2000, 1, 1) + timedelta(days=365.25 * year)
    photo = Photo(Path(f"/{number}"), f"{number}.jpg", f"{number}", 99, 999, taken, taken_from)
    return Observation(photo, Detections(boxes, torch.ones(len(faces))), torch.stack(faces), same)


def album(seed, *, noise, same, together=True, ahead=False, share=0.5, undated=0.0):
    """Return observations of 15 years, and in each the index of the subject's face or None.

    The sibling is in half of the subject's photos, or in as many of its own.
    """
    family, photos, truth = Family(seed), [], []

    def add(year, faces):
        if family.draw() < 0.5:
            faces.append((family.stranger(), False))
        order = torch.randperm(len(faces), generator=family.generator).tolist()
        faces = [faces[i] for i in order]
        truth.append(next((i for i, (_, is_subject) in enumerate(faces) if is_subject), None))
        vectors = [family.face(direction, math.radians(noise)) for direction, _ in faces]
        lost = family.draw() < undated
        when, taken_from = (30, "file") if lost else (year, "exif")
        photos.append(see(vectors, len(photos), when, same, taken_from))

    for number in range(YEARS * A_YEAR):
        year = (number + 0.5) / A_YEAR
        sibling = (family.sibling(year, ahead), False)
        there = family.draw() < share
        add(year, [(family.subject(year), True), *([sibling] if there and together else [])])
        if there and not together:
            add(year, [sibling])
    return photos, truth


def rates(indices, truth):
    """Return precision and recall."""
    right = sum(i is not None and i == wanted for i, wanted in zip(indices, truth, strict=True))
    return right / sum(i is not None for i in indices), right / sum(i is not None for i in truth)


def chosen(photos, given=None):
    selector = Identity(facing_forward=False)
    if given is None:
        return [choice.index for choice in selector.select(photos)]
    faces = _identity.gather(photos)
    same = photos[0].same_above
    rule = _identity.Rule(same, (1 - same) / 10, adapts=True)
    decision = _identity.decide(faces, given, rule, lambda some: some >= 0)
    return [
        selector._choose(photo, verdict, decision, rule).index
        for photo, verdict in zip(photos, decision.verdicts, strict=True)
    ]


def both_ends(photos, truth):
    """Return the subject's first and last photo as anchors."""
    shown = [place for place, index in enumerate(truth) if index is not None]
    ends = shown[0], shown[-1]
    like = torch.stack([photos[place].embeddings[truth[place]] for place in ends])
    times = [(photos[place].photo.taken - datetime(1970, 1, 1)).total_seconds() for place in ends]
    return _identity.Given(like=like, seconds=torch.tensor(times, dtype=torch.float64))


CASES = [
    pytest.param({"noise": 8, "same": 0.91}, id="as dlib"),
    pytest.param({"noise": 12, "same": 0.91}, id="as dlib, noisy"),
    pytest.param({"noise": 8, "same": 0.91, "ahead": True}, id="as dlib, older"),
    pytest.param({"noise": 8, "same": 0.91, "together": False}, id="as dlib, each alone"),
    pytest.param({"noise": 20, "same": 0.5}, id="loose"),
    pytest.param({"noise": 25, "same": 0.5, "ahead": True}, id="loose, older"),
    pytest.param({"noise": 20, "same": 0.5, "together": False}, id="loose, each alone"),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("case", CASES)
def test_a_child_is_followed_from_one_to_fifteen_beside_a_sibling(case, seed):
    photos, truth = album(seed, **case)
    precision, recall = rates(chosen(photos), truth)
    assert precision >= 0.97
    assert recall >= 0.97
    precision, recall = rates(chosen(photos, both_ends(photos, truth)), truth)
    assert precision >= 0.99
    assert recall >= 0.99


@pytest.mark.parametrize("case", CASES[:3])
def test_the_nearest_to_the_mean_of_all_would_fail(case):
    photos, truth = album(0, **case)
    own = [p.embeddings[i] for p, i in zip(photos, truth, strict=True) if i is not None]
    mean = normalize(torch.stack(own).sum(0), dim=0)
    similarity = [photo.embeddings @ mean for photo in photos]
    indices = [int(each.argmax()) if each.max() >= case["same"] else None for each in similarity]
    precision, recall = rates(indices, truth)
    assert min(precision, recall) < 0.9
