"""Bodies aligned by their rigid parts, against known warps: what moves or grows has no say."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from alignimation_core.alignment.alignment import align
from alignimation_core.alignment.rigid.realignment import Series, realign, series_of
from alignimation_core.api import geometry
from alignimation_core.api.data import Photo, Subject
from alignimation_core.api.mask import Mask
from alignimation_core.store.fits import Fits
from alignimation_core.store.store import Store
from alignimation_kornia import Crop, Homography, Rigid, Similarity, Translation
from alignimation_targets import GaussianKeypoints, Pixels, SoftMask

HEIGHT = 200.0
"""Of the body, in its own pixels."""
BONES = {
    "nose": (100, 30),
    "left_shoulder": (130, 70),
    "right_shoulder": (70, 70),
    "left_hip": (122, 150),
    "right_hip": (78, 150),
}
WRIST = {"left_wrist": (150, 140)}


def silhouette(belly):
    """A head, a trunk, and a belly that is ``belly`` pixels large on one side, (200, 240) bool."""
    y, x = np.mgrid[:200, :240] + 0.5
    head = np.hypot((x - 100) / 18, (y - 25) / 22) < 1
    trunk = (np.abs(x - 100) < 38 - 0.05 * np.abs(y - 120)) & (y > 45) & (y < 195)
    front = np.hypot((x - 130) / (10 + belly), (y - 130) / 35) < 1
    return head | trunk | front


def body(index, warp, *, noise=0.0, belly=0.0, mask=True, names=BONES, size=(600, 600)):
    """A photo and its subject: the body brought there by ``warp``, keypoints off by ``noise``."""
    generator = np.random.default_rng(index)
    matrix = geometry.as_rows(warp)
    subject = Subject(
        box=(60.0, 3.0, 140.0, 195.0),
        score=1.0,
        keypoints={
            name: tuple((np.array(at) + noise * generator.normal(0, 1, 2)).tolist())
            for name, at in names.items()
        },
        keypoint_names=tuple(names),
        mask=Mask.of(torch.from_numpy(silhouette(belly)), (0, 0, 240, 200)) if mask else None,
    ).transformed(matrix)
    photo = Photo(
        Path(f"{index}.jpg"), f"{index}.jpg", f"{index:064x}", *size, datetime(2020, 1, 1), "file"
    )
    return photo, subject


def warps(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        geometry.translation(*generator.uniform(250, 350, 2))
        @ geometry.rotation(generator.uniform(-0.2, 0.2))
        @ geometry.scaling(*[generator.uniform(0.8, 1.25)] * 2)
        @ geometry.translation(-100, -100)
        for _ in range(count)
    ]


def aligned(subjects, builder, model=None, reference="first"):
    """Return the alignment as fitted, and by rigid parts; None where it is not of a body."""
    model = model or Similarity()
    fitted = align(subjects, builder, model, reference, lambda: None)
    series = series_of(fitted, builder, model, Fits())
    return fitted, series and realign(fitted, series, Fits(), lambda: None)


def error(alignment, truth):
    """How far the bones scatter, root mean square, percent of the body's height."""
    bones = torch.tensor(list(BONES.values())).double()
    placed = torch.stack(
        [
            geometry.apply(item.reference_from_photo @ warp, bones)
            for item, warp in zip(alignment.aligned, truth, strict=True)
        ]
    )
    scale = geometry.scale_of(truth[0]) * HEIGHT
    return float((placed - placed.mean(0)).square().sum(-1).mean().sqrt() / scale * 100)


def test_a_growing_belly_and_a_detectors_noise_pull_nothing():
    truth = warps(12)
    subjects = [body(i, warp, noise=3.0, belly=3.0 * i) for i, warp in enumerate(truth)]
    by_keypoints, rigid = aligned(subjects, GaussianKeypoints())
    assert error(by_keypoints, truth) > 1
    assert error(rigid, truth) < 0.01
    by_mask, rigid = aligned(subjects, SoftMask())
    assert error(by_mask, truth) > 0.5
    assert error(rigid, truth) < 0.01


def test_a_mask_that_the_border_cuts_pulls_nothing_there():
    truth = warps(12)
    subjects = []
    for i, warp in enumerate(truth):
        photo, subject = body(i, warp, noise=3.0)
        if i % 3 == 1:
            bottom = round(subject.keypoints["left_hip"][1] - 20)
            inside = geometry.draw(
                subject.mask.tensor(), geometry.as_tensor(subject.mask.image_from_mask), (600, 600)
            )[:bottom]
            cut = Mask.of(inside, (0, 0, 600, bottom))
            shown = {n: at for n, at in subject.keypoints.items() if at[1] < bottom}
            photo = replace(photo, height=bottom)
            scores = dict.fromkeys(shown, 1.0)
            subject = replace(subject, mask=cut, keypoints=shown, keypoint_scores=scores)
        subjects.append((photo, subject))
    by_keypoints, rigid = aligned(subjects, GaussianKeypoints())
    assert error(by_keypoints, truth) > 1
    assert error(rigid, truth) < 0.2


@pytest.mark.slow
def test_a_keypoint_that_few_photos_show_does_no_harm():
    truth = warps(40)
    subjects = []
    for i, warp in enumerate(truth):
        names = {**BONES, "left_ear": (110, 20)}
        photo, subject = body(i, warp, noise=8.0, belly=3.0 * (i % 30), names=names)
        if i not in (1, 4, 6):  # photos by which it is not chosen how to begin
            shown = {name: at for name, at in subject.keypoints.items() if name in BONES}
            scores = dict.fromkeys(shown, 1.0)
            subject = replace(subject, keypoints=shown, keypoint_scores=scores)
        subjects.append((photo, subject))
    _, rigid = aligned(subjects, GaussianKeypoints())
    assert error(rigid, truth) < 0.01


def test_keypoints_that_move_lose_their_say_without_masks():
    truth = warps(30)
    names = {**BONES, **WRIST, "right_wrist": (50, 140), "left_knee": (120, 190)}
    subjects = []
    for i, warp in enumerate(truth):
        moving = np.random.default_rng(100 + i).normal(0, 20, (3, 2))
        bent = dict(zip([*names][-3:], np.array([*names.values()][-3:]) + moving, strict=True))
        subjects.append(body(i, warp, noise=0.5, mask=False, names={**BONES, **bent}))
    by_keypoints, rigid = aligned(subjects, GaussianKeypoints())
    assert error(rigid, truth) < 0.6 * error(by_keypoints, truth)


@pytest.mark.parametrize("model", [Translation(), Rigid(), Crop(), Homography()])
def test_moves_are_of_the_transform_models_kind(model):
    subjects = [body(i, warp, noise=3.0) for i, warp in enumerate(warps(6))]
    fitted, rigid = aligned(subjects, GaussianKeypoints(), model)
    turned, plain = (
        torch.stack([item.reference_from_photo for item in each.aligned])
        for each in (rigid, fitted)
    )
    assert not torch.equal(turned, plain)
    if not model.turns:
        assert geometry.angle_of(turned).abs().max() < 1e-12
    if not model.changes_scale:
        assert geometry.scale_of(turned) == pytest.approx(torch.ones(6), abs=1e-12)


def test_the_reference_stays_where_it_is():
    subjects = [body(i, warp, noise=3.0) for i, warp in enumerate(warps(6))]
    _, rigid = aligned(subjects, GaussianKeypoints(), reference="3.jpg")
    unit = torch.eye(3, dtype=torch.float64)
    assert rigid.aligned[3].reference_from_photo == pytest.approx(unit, abs=1e-9)


def test_a_mean_whose_own_photo_was_lost_on_the_way_still_has_a_place():
    subjects = [body(i, warp, noise=3.0, belly=3.0 * i) for i, warp in enumerate(warps(7))]
    fitted, _ = aligned(subjects, GaussianKeypoints(), reference="mean")
    kept = [item for item in fitted.aligned if item.photo is not fitted.reference.photo]
    lost = replace(fitted, aligned=kept)
    series = series_of(lost, GaussianKeypoints(), Similarity(), Fits())
    rigid = realign(lost, series, Fits(), lambda: None).aligned
    assert rigid[0].reference_from_photo == pytest.approx(kept[0].reference_from_photo, abs=1e-9)


def test_what_is_learned_anew_is_the_same_to_the_bit():
    subjects = [body(i, warp, noise=3.0, belly=3.0 * i) for i, warp in enumerate(warps(6))]
    once, again = (aligned(subjects, GaussianKeypoints())[1].aligned for _ in range(2))
    for one, other in zip(once, again, strict=True):
        assert torch.equal(one.reference_from_photo, other.reference_from_photo)


def test_what_is_in_the_store_is_not_learned_again(tmp_path, monkeypatch):
    subjects = [body(i, warp, noise=3.0, belly=3.0 * i) for i, warp in enumerate(warps(6))]
    settled, counts = Series.settled, []
    monkeypatch.setattr(Series, "settled", lambda *given: counts.append(1) or settled(*given))

    def rigid(some):
        with Store(tmp_path, "d", None, [].append, builder="b", model="m") as store:
            model = Similarity()
            fitted = align(some, GaussianKeypoints(), model, "first", lambda: None)
            series = series_of(fitted, GaussianKeypoints(), model, store.fits)
            return realign(fitted, series, store.fits, lambda: None).aligned

    for one, other in zip(rigid(subjects), rigid(subjects), strict=True):
        assert torch.equal(one.reference_from_photo, other.reference_from_photo)
    assert len(counts) == 1
    photo, subject = subjects[4]
    thinner = body(4, warps(6)[4], noise=3.0, belly=0.0)[1].mask
    for changed in (replace(subject, mask=thinner), body(9, warps(6)[4], noise=3.0)[1]):
        rigid([*subjects[:4], (photo, changed), subjects[5]])
    assert len(counts) == 3


def test_targets_of_something_else_stay_as_they_were_fitted():
    subjects = [body(i, warp, noise=3.0) for i, warp in enumerate(warps(6))]
    fitted, rigid = aligned(subjects, GaussianKeypoints(keypoints=["nose"]), Translation())
    assert rigid is None
    assert series_of(fitted, Pixels(), Similarity(), Fits()) is None


def test_two_photos_are_too_few_to_tell():
    subjects = [body(i, warp, noise=3.0) for i, warp in enumerate(warps(2))]
    _, rigid = aligned(subjects, GaussianKeypoints())
    assert rigid is None


def test_photos_without_a_mask_or_all_alike_come_to_no_harm():
    (warp,) = warps(1)
    subjects = [body(i, warp, mask=i % 2 == 0) for i in range(5)]
    _, rigid = aligned(subjects, GaussianKeypoints())
    assert error(rigid, [warp] * 5) < 0.01
    matrices = torch.stack([item.reference_from_photo for item in rigid.aligned])
    assert matrices.isfinite().all()
