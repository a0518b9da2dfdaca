"""What target builders and transform models keep."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from alignimation_core.api import geometry
from alignimation_core.api.data import Subject
from alignimation_core.api.registration import Registration, Target
from alignimation_core.api.registration.procrustes import closed_form
from alignimation_core.api.stages import TargetBuilder, TransformModel
from alignimation_core.plugin import contract
from alignimation_core.testing import samples
from alignimation_core.testing.faults import (
    attempted,
    fail,
    need_weights,
    told,
    told_of_batch,
)

SIDE = 128
"""Of the targets, pixels."""
MOVED = (8.0, -5.0)
"""Pixels by which a subject is moved: a known warp."""
COUNT = len(samples.SHIFTS)
NEAR = 0.5
"""Pixels by which what is moved may lie off."""


class TargetBuilderTests:
    """The tests of every target builder."""

    stage: ClassVar[TargetBuilder]

    def _subject(self, moved: tuple[float, float] = (0, 0)) -> Subject:
        need_weights(self.stage)
        words = sorted(word for word in self.stage.requires() if word.startswith("keypoints."))
        there = samples.subject(SIDE, [word.partition(".")[2] for word in words], moved=moved)
        return there if "pixels" in self.stage.requires() else replace(there, image=None)

    def _build(self, subject: Subject, side: int = SIDE) -> Target:
        return contract.build(self.stage, subject, (side, side), "photos/0000.jpg")

    def test_it_draws_what_its_contract_allows(self) -> None:
        """A target of the size asked for, in [0, 1]."""
        told(self.stage, lambda: self._build(self._subject()))

    def test_it_draws_the_same_twice(self) -> None:
        """As in a run that goes on."""
        one, other = attempted(lambda: [self._build(self._subject()) for _ in range(2)])
        if not (torch.equal(one.image, other.image) and torch.equal(one.points, other.points)):
            fail(self.stage, "it draws something else the second time, though torch is seeded")

    def test_what_a_photo_lacks_counts_nothing_and_stays_in_its_place(self) -> None:
        """Channels and points are as many in every photo."""
        subject = self._subject()
        known = attempted(lambda: self._build(subject))
        for name in subject.keypoints:
            if f"keypoints.{name}" in self.stage.requires():
                continue
            points = {each: place for each, place in subject.keypoints.items() if each != name}
            scores = {each: subject.keypoint_scores[each] for each in points}
            lacking = replace(subject, keypoints=points, keypoint_scores=scores)
            target = told(self.stage, partial(self._build, lacking))
            for what, got, expected in (
                ("channels", len(target.image), len(known.image)),
                ("points", len(target.points), len(known.points)),
            ):
                if got != expected:
                    text = f"{what}: expected {expected} as of other photos, got {got} of one"
                    fail(self.stage, f"{text} without {name}; give what is absent the weight 0")

    def test_a_subject_that_is_moved_moves_in_the_target(self) -> None:
        """By as many pixels, to the right and down, not down and to the right."""
        there, moved = attempted(
            lambda: [self._build(self._subject(by)) for by in ((0.0, 0.0), MOVED)]
        )
        expected = torch.tensor(MOVED)
        found = (there.point_weights > 0) & (moved.point_weights > 0)
        if found.any():
            apart = (moved.points - there.points)[found].mean(0)
            if float((apart - expected).abs().max()) > NEAR:
                fail(
                    self.stage,
                    f"points: a subject moved by {MOVED} pixels moves them by "
                    f"{_rounded(apart)}; expected (x, y) in pixels of the target",
                )
        if "pixels" in self.stage.requires():
            return  # which other things are in, and the border's change
        shift = _centre(moved.image) - _centre(there.image)
        if shift.isfinite().all() and float((shift - expected).abs().max()) > 2 * NEAR:
            fail(
                self.stage,
                f"image: a subject moved by {MOVED} pixels moves what is drawn by "
                f"{_rounded(shift)}; expected (C, height, width) in pixels of the target",
            )


def _centre(image: Tensor) -> Tensor:
    """Return (x, y) of the centre of what a (C, h, w) image shows."""
    mass = image.double().sum(0)
    y, x = (torch.arange(side, dtype=torch.float64) + 0.5 for side in mass.shape)
    return torch.stack([(mass.sum(0) * x).sum(), (mass.sum(1) * y).sum()]) / mass.sum()


def _rounded(pair: Tensor) -> str:
    x, y = pair.tolist()
    return f"({x:.1f}, {y:.1f})"


class TransformModelTests:
    """The tests of every transform model."""

    stage: ClassVar[TransformModel]
    memo: ClassVar[dict[tuple[int, bool], Registration]]

    def _fit(self, count: int, *, start: bool = True) -> Registration:
        """Fit so many targets, from the closed form or from where they are; each once."""
        need_weights(self.stage)
        if (count, start) not in self.memo:
            moving, fixed = samples.targets(self.stage.working_side, count)
            nowhere = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
            initial = closed_form(moving, fixed) if start else nowhere
            torch.manual_seed(0)
            self.memo[count, start] = contract.fit(self.stage, moving, fixed, initial)
        return self.memo[count, start]

    def _error(self, matrices: Tensor) -> float:
        """Return how far the points are from the reference's, root mean square, in pixels."""
        moving, fixed = samples.targets(self.stage.working_side)
        points = geometry.apply(matrices.detach().cpu().double(), moving.points.double())
        return float((points - fixed.points).square().sum(-1).mean().sqrt())

    def test_it_fits_as_its_contract_allows(self) -> None:
        """One photo, whose start is right."""
        told(self.stage, lambda: self._fit(1))

    def test_a_batch_gives_what_each_photo_gives_alone(self) -> None:
        """A run fits up to 32 at once."""
        alone = attempted(lambda: self._fit(1))
        together = told_of_batch(self.stage, COUNT, lambda: self._fit(COUNT))
        apart = (alone.matrices[0].double() - together.matrices[0].double()).abs().max()
        if not float(apart) < 0.1:
            fail(self.stage, f"matrices: another among others than alone, by {float(apart):.2g}")

    def test_it_brings_the_targets_together(self) -> None:
        """They are of the same points, moved by a known warp.

        From a start that is right it stays there; from a wrong one it comes nearer, or stays.
        """
        found = attempted(lambda: self._fit(COUNT, start=False))
        before = self._error(torch.eye(3, dtype=torch.float64).repeat(COUNT, 1, 1))
        after = self._error(found.matrices)
        if not after < before + NEAR:
            inverse = self._error(geometry.inverse(found.matrices.detach().cpu().double()))
            hint = "; the inverse would be right" if inverse < NEAR else ""
            fail(
                self.stage,
                f"matrices: {after:.2g} pixels off, and {before:.2g} before; expected "
                f"fixed_from_moving in pixels of the targets{hint}",
            )
        found = self._fit(COUNT)
        if reasons := [reason for reason in found.failures if reason]:
            fail(self.stage, f"failures: expected none where the start is right, got {reasons[0]}")
        if not (error := self._error(found.matrices)) < NEAR:
            fail(self.stage, f"matrices: {error:.2g} pixels off, from a start that was right")

    def test_it_says_that_it_converged(self) -> None:
        """Where the start is right, nothing is left to do."""
        found = attempted(lambda: self._fit(COUNT))
        if not found.converged.any():
            fail(self.stage, "converged: False for every photo, though each starts where it ends")

    def test_it_leaves_the_start_as_it_is(self) -> None:
        """Others are fitted from it, too."""
        need_weights(self.stage)
        moving, fixed = samples.targets(self.stage.working_side, 1)
        initial = closed_form(moving, fixed)
        before = initial.clone()
        attempted(lambda: contract.fit(self.stage, moving, fixed, initial))
        if not torch.equal(initial, before):
            fail(self.stage, "fit: it writes into `initial`; clone it")
        again, same = samples.targets(self.stage.working_side, 1)
        if not (torch.equal(moving.image, again.image) and torch.equal(fixed.image, same.image)):
            fail(self.stage, "fit: it writes into the targets' images; clone them")
