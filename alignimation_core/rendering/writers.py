"""Renderers at work: each output is made by a thread of its own, its effects too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Queue
from typing import TypeVar

from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.stages import Renderer, Stage, Writer
from alignimation_core.api.stages.renderers import Effect, Film
from alignimation_core.execution.executor import Executor
from alignimation_core.failure import Failure, PhotosError
from alignimation_core.plugin import contract
from alignimation_core.plugin.guard import call
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering.frames import Keep, frames
from alignimation_core.rendering.placement import PlacedSubject

WAITING = 2
"""Photos that wait for one output."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Finished outputs; errors of renderers; and failures of photos that cannot be read again.

    The outputs are relative to the folder, with ``/``; there are none where there are errors.
    """

    outputs: list[str]
    errors: list[AlignimationError]
    failures: list[Failure]


def render(
    placed: Sequence[PlacedSubject],
    canvas: Canvas,
    options: CanvasOptions,
    renderers: Sequence[Renderer],
    effects: Sequence[Effect],
    folder: Path,
    executor: Executor,
    step: Callable[[], None],
    keep: Keep | None = None,
) -> Rendered:
    """Write every output into a folder, in one pass over the photos.

    A photo that can no longer be read is left out. Where a renderer fails, the pass ends, and the
    errors are returned: outputs of one run stand together or not at all. Whatever ends the pass
    early removes what was half written. ``effects`` are those of renderers that have none of their
    own. Small pictures go to ``keep``.

    Raises:
        PhotosError: no photo could be read again.
    """
    outputs = [_Output(renderer, effects) for renderer in renderers]
    some = placed if any(output.effects for output in outputs) else ()
    subjects = {item.photo.name: item.subject.transformed(item.canvas_from_photo) for item in some}
    film = Film(canvas, 0.0, [item.photo for item in placed], subjects)
    done: list[str] = []
    try:
        for output in outputs:
            output.open(film, folder)
        failures: list[Failure] = []
        shown = 0
        for frame in frames(placed, canvas, options, executor, keep):
            if any(output.errors for output in outputs):
                break
            if isinstance(frame, Failure):
                failures.append(frame)
            else:
                shown += 1
                for output in outputs:
                    output.write(frame)
            step()
        else:
            if not shown:
                ((why, _),) = Counter(failure.reason for failure in failures).most_common(1)
                what = f"no photo could be read again to render it: {why}"
                raise PhotosError(what, failures)
        for output in outputs:
            output.wait()
        if not any(output.errors for output in outputs):
            done = [name for output in outputs if (name := output.close(folder)) is not None]
    finally:
        for output in outputs:
            output.end()
    errors = [error for output in outputs for error in output.errors]
    return Rendered([] if errors else done, errors, failures)


class _Output:
    """One output on its way: only its own thread ever calls the plugins' code.

    Attributes:
        errors: what failed; once something has, nothing more is written.
    """

    def __init__(self, renderer: Renderer, effects: Sequence[Stage]) -> None:
        self.errors: list[AlignimationError] = []
        own = effects if renderer.effects is None else renderer.effects
        self.effects = [effect for effect in own if isinstance(effect, Effect)]
        self._renderer = renderer
        self._writer: Writer | None = None
        self._thread = ThreadPoolExecutor(1, f"renderer-{renderer.name}")
        # an interrupt while the pool starts a thread makes it lose count: so nothing is open yet
        self._thread.submit(int).result()
        self._waiting: Queue[Frame | None] = Queue(WAITING)
        self._work: Future[None] | None = None
        self._stopped = False

    def open(self, film: Film, folder: Path) -> None:
        """Begin the output."""
        count = len(film.photos)

        def verb() -> None:
            self._writer = contract.open_writer(self._renderer, film.canvas, count, folder)

        self._thread.submit(self._attempt, verb).result()
        fps, seconds = self._renderer.frame_rate(count), self._renderer.duration()
        self._work = self._thread.submit(self._make, replace(film, fps=fps, seconds=seconds))

    def write(self, frame: Frame) -> None:
        """Hand over the next photo; wait while too many are in line."""
        if not self.errors:
            self._waiting.put(frame)

    def wait(self) -> None:
        """Wait until every frame is written: no more photos will come."""
        if self._work is not None:
            self._waiting.put(None)
            self._work.result()
            self._work = None

    def close(self, folder: Path) -> str | None:
        """Finish the output; return its path in the folder, or None if anything failed."""
        return self._thread.submit(self._close, folder).result()

    def end(self) -> None:
        """Remove what was written of an output that was not finished."""
        self._stopped = True
        self.wait()
        self._thread.submit(self._abort).result()
        self._thread.shutdown()

    def _make(self, film: Film) -> None:
        """Write every frame that the effects make of the photos; take all photos in any case."""
        photos = iter(self._waiting.get, None)
        frames: Iterator[Frame] = photos
        if film.seconds is not None:
            share = film.seconds / len(film.photos)
            frames = (replace(frame, seconds=share) for frame in photos)
        for effect in self.effects:
            frames = contract.apply(effect, frames, film)

        def verb() -> None:
            for frame in frames:
                if self._stopped or (writer := self._writer) is None:
                    return
                writer.write(frame)

        self._attempt(verb)
        for _ in photos:
            pass

    def _close(self, folder: Path) -> str | None:
        if (writer := self._writer) is None:
            return None
        name = self._attempt(lambda: contract.close_writer(self._renderer, writer, folder))
        if name is not None:
            self._writer = None
        return name

    def _attempt(self, verb: Callable[[], T]) -> T | None:
        try:
            return call("renderer", self._renderer, verb)
        except AlignimationError as error:
            self.errors.append(error)
            self._abort()
            return None

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._attempt(writer.abort)
