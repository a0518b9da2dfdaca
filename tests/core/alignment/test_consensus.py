"""Photos correct each other's keypoints: portraits moved by known warps, seen with known errors."""

import json
import math
import shutil
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from skimage.data import astronaut

from alignimation_core import Choice, Detections, Detector, SubjectSelector, run
from alignimation_core.alignment.consensus import patches
from alignimation_core.alignment.consensus.agreement import agree
from alignimation_core.api.mask import Mask
from alignimation_core.execution.executor import Threads
from alignimation_core.photos import decoder
from alignimation_core.photos.decoder import Parts
from alignimation_core.photos.metadata import facts
from alignimation_core.recipe.options import CanvasOptions, RefineOptions
from alignimation_core.store.fits import Fits
from alignimation_kornia import Similarity
from alignimation_targets import GaussianKeypoints, SoftMask

EYES = {"right_eye": (200.6, 110.2), "left_eye": (244.6, 108.6)}  # by hand
NOSE = {"nose": (224.2, 137.0)}
LOWER = {"nose": (222.5, 126.5), "mouth_right": (204.2, 140.8), "mouth_left": (243.8, 141.3)}
ACROSS = 44.0
SIDE = 300
COUNT = 12


def warped(turn, scale, x, y):
    """Return ``photo_from_portrait``: her face is in the middle of a photo of 300 pixels."""
    c, s = scale * math.cos(turn), scale * math.sin(turn)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ np.array(
        [[1, 0, -222], [0, 1, -120], [0, 0, 1.0]]
    ) + np.array([[0, 0, SIDE / 2 + x], [0, 0, SIDE / 2 + y], [0, 0, 0]])


def mapped(matrix, point):
    x, y, _ = matrix @ [*point, 1]
    return x, y


class Series:
    """Photos, the true places of the keypoints, and subjects seen with an error."""

    def __init__(self, folder, warps, error, spoil=lambda image, _: image, points=None):
        folder.mkdir(parents=True, exist_ok=True)
        self.noise = np.random.default_rng(5)
        self.warps, self.subjects = warps, []
        portrait = Image.fromarray(astronaut())
        for i, warp in enumerate(warps):
            flat = np.linalg.inv(warp)[:2].flatten()
            image = portrait.transform((SIDE, SIDE), Image.Transform.AFFINE, flat, Image.BICUBIC)
            path = folder / f"2020-01-{i + 1:02}.png"
            spoil(image, i).save(path)
            self.subjects.append((facts(path, folder), self.seen(warp, error, points)))

    def seen(self, warp, error, points=None):
        scale = math.sqrt(np.linalg.det(warp[:2, :2]))
        keypoints = {}
        for name, place in (points or EYES | NOSE).items():
            x, y = mapped(warp, place) + self.noise.normal(0, error * ACROSS * scale, 2)
            keypoints[name] = (float(x), float(y))
        found = Detections(
            boxes=torch.tensor([[60.0, 50.0, 240.0, 250.0]]),
            scores=torch.ones(1),
            keypoints=torch.tensor(list(keypoints.values()))[None],
            keypoint_names=tuple(keypoints),
        )
        return replace(found.subject(0), keypoints=keypoints)

    def scatter(self, subjects):
        """Return by how much the points lie off the true ones, less the mean, percent of the eyes.

        One number for each photo, and only for the eyes.
        """
        off = []
        for warp, (_, subject) in zip(self.warps, subjects, strict=True):
            back = np.linalg.inv(warp)
            off.append([np.subtract(mapped(back, subject.keypoints[n]), EYES[n]) for n in EYES])
        off = np.array(off) - np.median(off, axis=0)
        return 100 * np.linalg.norm(off, axis=-1).mean(1) / ACROSS


@pytest.fixture
def warps():
    draw = np.random.default_rng(2).uniform(-1, 1, (COUNT, 4))
    return [warped(*row) for row in draw * [0.25, 0.2, 25, 20] + [0, 1.3, 0, 0]]


def agreed(subjects, builder=None, kept=None):
    builder = builder or GaussianKeypoints()
    return agree(subjects, builder, Similarity(), Threads(1), kept or Fits(), lambda: None, Parts())


def points_of(subjects):
    return [subject.keypoints for _, subject in subjects]


def test_noise_of_the_detector_goes(tmp_path, warps):
    series = Series(tmp_path, warps, error=0.015)
    before, after = (series.scatter(some) for some in (series.subjects, agreed(series.subjects)))
    assert before.mean() > 1.3
    assert after.mean() < 0.35
    assert after.max() < 0.8


def test_what_is_right_stays_right(tmp_path, warps):
    series = Series(tmp_path, warps, error=0.0)
    assert series.scatter(agreed(series.subjects)).max() < 0.15


def closed(image, place):
    x, y = place
    skin = image.getpixel((round(x), round(y + 22)))
    box = (x - 14, y - 8, x + 14, y + 8)
    ImageDraw.Draw(image).ellipse(box, fill=skin)
    return image


def relit(image):
    gain = np.linspace(3**-0.5, 3**0.5, SIDE)[None, :, None]
    return Image.fromarray(np.clip(np.asarray(image) * gain, 0, 255).astype(np.uint8))


def noisy(image):
    noise = np.random.default_rng(0).normal(0, 20, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def shut(image, warp):
    for place in EYES.values():
        image = closed(image, mapped(warp, place))
    return image


def hidden(image, warp):
    x, y = mapped(warp, EYES["left_eye"])
    ImageDraw.Draw(image).rectangle((x - 25, y - 20, x + 25, y + 20), fill=(190, 150, 130))
    return image


SPOILERS = {
    "closed": shut,
    "covered": hidden,
    "blurred": lambda image, _: image.filter(ImageFilter.GaussianBlur(4)),
    "relit": lambda image, _: relit(image),
    "noisy": lambda image, _: noisy(image),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_spoilt_photos_harm_none(tmp_path, warps, spoiler):
    spoilt = range(0, COUNT, 3)  # a third of them

    def spoil(image, i):
        return SPOILERS[spoiler](image, warps[i]) if i in spoilt else image

    series = Series(tmp_path, warps, 0.01, spoil)
    before, after = (series.scatter(some) for some in (series.subjects, agreed(series.subjects)))
    assert after.mean() < 0.7 * before.mean()
    # eyes are 57 pixels apart here: blurred by 4, their lids are gone
    assert (after - before).max() < (0.6 if spoiler == "blurred" else 0.3)


@pytest.mark.parametrize("spoiler", ["closed", "covered"])
def test_an_eye_that_no_other_photo_confirms_is_where_nose_and_mouth_say(tmp_path, warps, spoiler):
    spoilt = range(0, COUNT, 4)

    def spoil(image, i):
        return SPOILERS[spoiler](image, warps[i]) if i in spoilt else image

    series = Series(tmp_path, warps, 0.01, spoil, EYES | LOWER)
    misled = []
    for i, (photo, subject) in enumerate(series.subjects):
        off = 0.15 * ACROSS * math.sqrt(np.linalg.det(warps[i][:2, :2])) * (i in spoilt)
        x, y = subject.keypoints["left_eye"]
        points = {**subject.keypoints, "left_eye": (x + 0.7 * off, y + 0.7 * off)}
        misled.append((photo, replace(subject, keypoints=points)))
    before, after = series.scatter(misled), series.scatter(agreed(misled))
    assert before[[*spoilt]].min() > 7
    assert after[[*spoilt]].max() < 2
    without = [
        (photo, replace(each, keypoints={name: each.keypoints[name] for name in EYES}))
        for photo, each in misled
    ]
    for i in spoilt:
        assert agreed(without)[i][1].keypoints["left_eye"] == pytest.approx(
            misled[i][1].keypoints["left_eye"], abs=0.05
        )


def test_nose_and_mouth_that_move_overrule_no_detector(tmp_path, warps):
    spoilt = range(0, COUNT, 4)
    moods = np.random.default_rng(2).normal(0, 5, (COUNT, 2))

    def spoil(image, i):
        x, y = mapped(warps[i], LOWER["nose"])
        scale = math.sqrt(np.linalg.det(warps[i][:2, :2]))
        box = [round(v) for v in (x - 30 * scale, y - 10 * scale, x + 30 * scale, y + 24 * scale)]
        lower = image.crop(box)
        image.paste(lower, [round(box[k] + scale * moods[i][k]) for k in (0, 1)])
        return SPOILERS["closed"](image, warps[i]) if i in spoilt else image

    series = Series(tmp_path, warps, 0.01, spoil, EYES | LOWER)
    moved = []
    for i, (photo, subject) in enumerate(series.subjects):
        by = moods[i] * math.sqrt(np.linalg.det(warps[i][:2, :2]))
        points = {n: tuple(np.add(subject.keypoints[n], by)) for n in LOWER}
        moved.append((photo, replace(subject, keypoints={**subject.keypoints, **points})))
    before, after = series.scatter(moved), series.scatter(agreed(moved))
    assert (after - before).max() < 0.6


def test_only_points_that_the_target_builder_lays_weight_on_are_moved(tmp_path, warps):
    series = Series(tmp_path, warps, error=0.015)
    builder = GaussianKeypoints(weights={"right_eye": 1, "left_eye": 0, "nose": 1})
    moved = dict.fromkeys(EYES | NOSE, 0)
    for (_, before), (_, after) in zip(
        series.subjects, agreed(series.subjects, builder), strict=True
    ):
        for name in moved:
            moved[name] += after.keypoints[name] != before.keypoints[name]
        assert (after.box, after.score) == (before.box, before.score)
    assert moved["left_eye"] == 0
    assert min(moved["right_eye"], moved["nose"]) >= COUNT / 2


def test_with_names_no_other_points_are_moved(tmp_path, warps):
    series = Series(tmp_path, warps[:4], error=0.015)
    builder, given = GaussianKeypoints(weights={}), (Similarity(), Threads(1), Fits())
    after = agree(series.subjects, builder, *given, lambda: None, Parts(), EYES)
    for (_, before), (_, now) in zip(series.subjects, after, strict=True):
        assert now.keypoints["nose"] == before.keypoints["nose"]
        assert now.keypoints["left_eye"] != before.keypoints["left_eye"]
    seen: list[None] = []
    assert agree(series.subjects, builder, *given, lambda: seen.append(None), Parts(), ["hip"]) == (
        series.subjects
    )
    assert len(seen) == 4


def test_many_points_that_count_as_much_do_not_keep_the_named_ones_from_being_moved(
    tmp_path, warps
):
    series = Series(tmp_path, warps[:4], error=0.015)
    crowded = []
    for photo, subject in series.subjects:
        x, y = subject.keypoints["nose"]
        jaw = {f"jaw_{i}": (x + 4 * i, y + 20) for i in range(12)}
        names = (*jaw, *subject.keypoint_names)
        changed = replace(
            subject,
            keypoints={**jaw, **subject.keypoints},
            keypoint_scores={},
            keypoint_names=names,
        )
        crowded.append((photo, changed))
    builder, given = GaussianKeypoints(weights={}), (Similarity(), Threads(1), Fits())
    after = agree(crowded, builder, *given, lambda: None, Parts(), EYES)
    for (_, before), (_, now) in zip(crowded, after, strict=True):
        assert now.keypoints["jaw_0"] == before.keypoints["jaw_0"]
        assert now.keypoints["left_eye"] != before.keypoints["left_eye"]


def test_a_target_without_points_moves_none(tmp_path, warps):
    series = Series(tmp_path, warps[:3], error=0.015)
    mask = Mask.of(torch.ones(8, 8), (60, 50, 240, 250))
    subjects = [(photo, replace(subject, mask=mask)) for photo, subject in series.subjects]
    assert agreed(subjects, SoftMask()) == subjects


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_photos_stay_as_they_are(tmp_path, warps, count):
    series = Series(tmp_path, warps[:count], error=0.015)
    assert agreed(series.subjects) == series.subjects


def test_two_photos_meet(tmp_path, warps):
    series = Series(tmp_path, warps[:2], error=0.015)
    before, after = (series.scatter(some) for some in (series.subjects, agreed(series.subjects)))
    assert after.mean() < 0.6 * before.mean()


@pytest.mark.parametrize("what", ["flat", "strangers"])
def test_without_common_texture_every_point_stays_where_the_detector_saw_it(tmp_path, warps, what):
    def spoil(image, i):
        if what == "flat":
            return Image.new("RGB", (SIDE, SIDE), (120, 120, 120))
        grain = np.random.default_rng(i).integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
        return Image.fromarray(grain).filter(ImageFilter.GaussianBlur(2))

    series = Series(tmp_path, warps, 0.01, spoil)
    for before, after in zip(
        points_of(series.subjects), points_of(agreed(series.subjects)), strict=True
    ):
        for name in before:
            assert after[name] == pytest.approx(before[name], abs=0.02)


def test_the_same_photo_again_and_again_seen_the_same_stays(tmp_path):
    series = Series(tmp_path, [warped(0.1, 1.2, 0, 0)] * 6, error=0.0)
    for before, after in zip(
        points_of(series.subjects), points_of(agreed(series.subjects)), strict=True
    ):
        for name in before:
            assert after[name] == pytest.approx(before[name], abs=1e-4)


def test_keypoints_at_and_beyond_the_border_stay_finite(tmp_path):
    warps = [warped(0.02 * i, 1.2, -130 + i, -140 - i) for i in range(6)]  # a corner cuts the eyes
    series = Series(tmp_path, warps, error=0.01)
    after = agreed(series.subjects)
    assert np.isfinite([[*points.values()] for points in points_of(after)]).all()
    assert (series.scatter(after) - series.scatter(series.subjects)).max() < 0.3


def test_points_on_one_place_and_missing_ones_are_no_fault(tmp_path, warps):
    series = Series(tmp_path, warps[:5], error=0.01)
    (first, one), (second, other), *rest = series.subjects
    place = one.keypoints["nose"]
    heap = replace(one, keypoints=dict.fromkeys(one.keypoints, place))
    without = replace(other, keypoints={"left_eye": other.keypoints["left_eye"]})
    subjects = [(first, heap), (second, without), *rest]
    after = agreed(subjects)
    assert after[0][1].keypoints == heap.keypoints
    assert after[1][1].keypoints == without.keypoints
    assert np.isfinite([[*points.values()] for points in points_of(after[2:])]).all()


def test_a_photo_that_went_away_stays_as_it_was_seen(tmp_path, warps):
    series = Series(tmp_path, warps, error=0.01)
    series.subjects[3][0].path.unlink()
    after = agreed(series.subjects)
    for name, place in series.subjects[3][1].keypoints.items():
        assert after[3][1].keypoints[name] == pytest.approx(place, abs=1e-6)
    others = [i for i in range(COUNT) if i != 3]
    assert series.scatter(after)[others].mean() < 0.5


def test_what_is_behind_the_subject_has_no_say(tmp_path):
    """A strong pattern stands still in the photos while the subject moves before it."""
    warps = [warped(0, 1.3, 3 * math.sin(i), 3 * math.cos(2 * i)) for i in range(8)]
    stripes = np.zeros((SIDE, SIDE, 3), np.uint8)
    stripes[(np.arange(SIDE) // 5 + np.arange(SIDE)[:, None] // 5) % 2 == 0] = 255
    face = (np.arange(SIDE) - 150) ** 2 / 42**2 + (np.arange(SIDE)[:, None] - 138) ** 2 / 15**2 < 1

    def spoil(image, i):
        shift = [round(float(v)) for v in np.subtract(mapped(warps[i], (222, 120)), 150)]
        here = np.roll(face, shift[::-1], (0, 1))
        return Image.fromarray(np.where(here[..., None], np.asarray(image), stripes))

    series = Series(tmp_path, warps, 0.02, spoil)
    masked = []
    for (photo, subject), warp in zip(series.subjects, warps, strict=True):
        shift = [round(float(v)) for v in np.subtract(mapped(warp, (222, 120)), 150)]
        here = torch.from_numpy(np.roll(face, shift[::-1], (0, 1)))
        masked.append((photo, replace(subject, mask=Mask.of(here, (0, 0, SIDE, SIDE)))))
    before, pulled, after = (
        series.scatter(some).mean()
        for some in (series.subjects, agreed(series.subjects), agreed(masked))
    )
    assert after < 0.6 * before
    assert after < 0.6 * pulled


class Known(Detector):
    """What a series says of each photo, by its pixels."""

    name: ClassVar[str] = "known"
    table: ClassVar[dict[bytes, Detections]] = {}

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in EYES | NOSE)})

    def input_side(self):
        return SIDE

    def detect(self, images):
        return [self.table[bytes(image.contiguous().numpy().data)] for image in images]


class Only(SubjectSelector):
    """The only one."""

    name: ClassVar[str] = "only"

    def select(self, observations):
        return [Choice(0) for _ in observations]


@pytest.fixture
def recipe(tmp_path, discs_recipe, warps):
    """A recipe whose detector sees the portraits with an error."""
    series = Series(tmp_path / "photos", warps, error=0.015)
    for photo, subject in series.subjects:
        image = decoder.load(photo)
        Known.table[bytes(image.contiguous().numpy().data)] = Detections(
            boxes=torch.tensor([subject.box]),
            scores=torch.ones(1),
            keypoints=torch.tensor(list(subject.keypoints.values()))[None],
            keypoint_names=tuple(subject.keypoints),
        )

    def recipe(photos):
        return discs_recipe(
            detector=Known(),
            subject_selector=Only(),
            target_builder=GaussianKeypoints(),
            transform_model=Similarity(),
            canvas=CanvasOptions(size="200x200"),
            refine=RefineOptions(photos=photos and "eyes"),
        )

    return series, recipe


def test_the_record_says_how_far_each_photo_was_moved(recipe):
    _, make = recipe
    alone, together = (run(make(photos)).as_json()["photos"] for photos in (False, True))
    assert [photo["moved"] for photo in alone] == [None] * COUNT
    for before, after in zip(alone, together, strict=True):
        matrix = np.array(after["canvas_from_photo"])
        here, there = (
            [mapped(matrix, photo["subject"]["keypoints"][name]) for name in EYES]
            for photo in (before, after)
        )
        moved = np.sqrt(np.square(np.subtract(here, there)).sum(1).mean())
        assert after["moved"] == pytest.approx(100 * moved / 200, abs=0.001)
        assert 0 < after["moved"] < 3


def test_a_second_run_reads_no_photo_to_correct_and_gives_the_same(recipe, monkeypatch, tmp_path):
    series, make = recipe
    first = run(make(True)).as_json()
    cut, cuts = patches.Cut.__call__, []
    monkeypatch.setattr(patches.Cut, "__call__", lambda *given: cuts.append(1) or cut(*given))
    second = run(make(True)).as_json()
    assert json.dumps(first["photos"]) == json.dumps(second["photos"])
    assert cuts == []
    path = series.subjects[0][0].path
    shutil.copy(path, tmp_path / "photos" / f"one-more{path.suffix}")
    run(make(True))
    assert cuts


def test_what_is_kept_of_decoded_photos_saves_decoding_them_again_and_changes_nothing(
    recipe, monkeypatch
):
    _, make = recipe
    read, reads = decoder.read, []
    monkeypatch.setattr(decoder, "read", lambda *given: reads.append(given) or read(*given))
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **given: empty(*size, **given).fill_(99))
    rows = {}
    for room in (decoder.MOST, 3 * 200 * 200 * COUNT // 2, 0):
        monkeypatch.setattr(Parts.__init__, "__defaults__", (0, room))
        reads.clear()
        photos = run(make(True), fresh=True).as_json()["photos"]
        rows[json.dumps(photos)] = [*rows.get(json.dumps(photos), []), len(reads)]
    assert len(rows) == 1  # the same, whatever was kept
    ((every, some, none),) = rows.values()
    assert every == none - COUNT
    assert every < some < none
