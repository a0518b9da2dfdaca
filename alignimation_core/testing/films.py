"""What effects and renderers keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.stages.renderers import Effect, Renderer, Writer
from alignimation_core.plugin import contract
from alignimation_core.plugin.guard import call
from alignimation_core.testing import samples
from alignimation_core.testing.faults import attempted, fail, need_weights, told

CANVAS = Canvas(height=96, width=128)
COUNT = 12
MANY = 60
"""Frames of a film of which an effect must not hold all at once."""


class EffectTests:
    """The tests of every effect."""

    stage: ClassVar[Effect]

    def _applied(self, canvas: Canvas, count: int) -> list[Frame]:
        need_weights(self.stage)
        film = samples.film(canvas, count)
        return list(contract.apply(self.stage, samples.frames(canvas, count), film))

    @pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
    def test_it_makes_frames_of_the_same_canvas(self, *, alpha: bool) -> None:
        """Also where frames carry transparency."""
        canvas = Canvas(CANVAS.height, CANVAS.width, alpha)
        frames = told(self.stage, lambda: self._applied(canvas, COUNT))
        if not frames:
            fail(self.stage, f"apply: nothing is shown of a film of {COUNT} photos")

    @pytest.mark.parametrize("count", [0, 1])
    def test_few_frames_are_enough(self, count: int) -> None:
        """A film of none, where every photo failed, and of one."""
        told(self.stage, lambda: self._applied(CANVAS, count))

    def test_it_leaves_the_images_as_they_are(self) -> None:
        """Other outputs show them, too."""
        given = list(samples.frames(CANVAS, COUNT))
        before = [frame.image.clone() for frame in given]
        film = samples.film(CANVAS, COUNT)
        attempted(lambda: list(contract.apply(self.stage, iter(given), film)))
        if not all(torch.equal(frame.image, old) for frame, old in zip(given, before, strict=True)):
            fail(self.stage, "apply: it writes into the images that come; make new ones")

    def test_it_takes_frames_as_they_come(self) -> None:
        """A film has thousands, which no memory holds."""
        taken = 0

        def counted() -> Iterator[Frame]:
            nonlocal taken
            for frame in samples.frames(CANVAS, MANY):
                taken += 1
                yield frame

        film = samples.film(CANVAS, MANY)
        attempted(lambda: next(contract.apply(self.stage, counted(), film), None))
        if taken == MANY:
            what = "apply: it takes every frame before it gives the first"
            fail(self.stage, f"{what}; take them one by one")


class RendererTests:
    """The tests of every renderer."""

    stage: ClassVar[Renderer]

    def _canvas(self, *, alpha: bool = False) -> Canvas:
        need_weights(self.stage)
        canvas = Canvas(CANVAS.height, CANVAS.width, alpha)
        refused = self.stage.refuses(canvas)
        if not isinstance(refused, str | None):
            fail(self.stage, f"refuses: expected a text or None, got {refused!r}")
        if refused is not None:
            pytest.skip(f"it refuses such a canvas: {refused}")
        return canvas

    def _write(self, canvas: Canvas, frames: Iterable[Frame], folder: Path) -> Writer:
        """Open a writer, and write frames, of which one is shown longer and one is no photo."""
        (folder / self.stage.path).parent.mkdir(parents=True, exist_ok=True)
        writer = contract.open_writer(self.stage, canvas, COUNT, folder)
        try:
            for frame in frames:
                seconds = 0.5 if frame.index == 2 else None
                shown = replace(frame, seconds=seconds, made=frame.index == 3)
                call("renderer", self.stage, partial(writer.write, shown))
        except BaseException:
            writer.abort()
            raise
        return writer

    @pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "transparent"])
    @pytest.mark.parametrize("count", [1, COUNT])
    def test_it_writes_under_its_path(self, tmp_path: Path, count: int, *, alpha: bool) -> None:
        """It says what it has written, and leaves nothing else."""
        canvas = self._canvas(alpha=alpha)

        def written() -> str:
            writer = self._write(canvas, samples.frames(canvas, count), tmp_path)
            return contract.close_writer(self.stage, writer, tmp_path)

        name = told(self.stage, written)
        there = {path.relative_to(tmp_path).parts[0] for path in tmp_path.iterdir()}
        if strange := there - {Path(name).parts[0]}:
            fail(self.stage, f"close: it leaves {', '.join(sorted(strange))} beside {name}")

    def test_nothing_is_left_of_what_is_aborted(self, tmp_path: Path) -> None:
        """As where a run is interrupted, or another output fails."""
        canvas = self._canvas()
        frames = samples.frames(canvas, COUNT)
        writer = attempted(lambda: self._write(canvas, islice(frames, COUNT // 2), tmp_path))
        call("renderer", self.stage, writer.abort)
        if left := sorted(path.name for path in tmp_path.rglob("*") if path.is_file()):
            fail(self.stage, f"abort: it leaves {', '.join(left)}")

    def test_what_stood_there_stays_until_it_is_finished(self, tmp_path: Path) -> None:
        """An output of an earlier run is replaced by a whole one, or not at all."""
        canvas, path = self._canvas(), tmp_path / self.stage.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"earlier")
        frames = samples.frames(canvas, COUNT)
        try:
            writer = self._write(canvas, islice(frames, COUNT // 2), tmp_path)
        except AlignimationError:
            writer = None  # it may refuse what is none of its outputs
        if writer is not None:
            call("renderer", self.stage, writer.abort)
        if not path.is_file() or path.read_bytes() != b"earlier":
            fail(self.stage, f"write: it harms what stood under {self.stage.path} before")
