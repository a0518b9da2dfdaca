"""Renderers at work: each output is written by a thread of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alignimation_core.api.data import Canvas, Frame
from alignimation_core.api.errors import AlignimationError
from alignimation_core.api.stages import Renderer, Writer
from alignimation_core.execution.executor import Executor
from alignimation_core.plugin import contract
from alignimation_core.plugin.guard import call
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.record import Failure, PhotosError
from alignimation_core.rendering.frames import Keep, frames
from alignimation_core.rendering.placement import PlacedSubject

WAITING = 2
"""Frames that wait for the writer of one output."""

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
    folder: Path,
    executor: Executor,
    step: Callable[[], None],
    keep: Keep | None = None,
) -> Rendered:
    """Write every output into a folder, in one pass over the photos.

    A photo that can no longer be read is left out. Where a renderer fails, the pass ends, and the
    errors are returned: outputs of one run stand together or not at all. Whatever ends the pass
    early removes what was half written. Small pictures go to ``keep``.

    Raises:
        PhotosError: no photo could be read again.
    """
    outputs = [_Output(renderer) for renderer in renderers]
    done: list[str] = []
    try:
        for output in outputs:
            output.open(canvas, len(placed), folder)
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
    """One output on its way: only its own thread ever calls the plugin's code.

    Attributes:
        errors: what failed; once something has, nothing more is written.
    """

    def __init__(self, renderer: Renderer) -> None:
        self.errors: list[AlignimationError] = []
        self._renderer = renderer
        self._writer: Writer | None = None
        self._thread = ThreadPoolExecutor(1, f"renderer-{renderer.name}")
        self._waiting: deque[Future[None]] = deque()

    def open(self, canvas: Canvas, count: int, folder: Path) -> None:
        """Begin the output."""

        def verb() -> None:
            self._writer = contract.open_writer(self._renderer, canvas, count, folder)

        self._thread.submit(self._attempt, verb).result()

    def write(self, frame: Frame) -> None:
        """Hand over the next frame; wait while too many are in line."""
        if not self.errors:
            self._waiting.append(self._thread.submit(self._write, frame))
            if len(self._waiting) > WAITING:
                self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until every frame handed over is written."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self, folder: Path) -> str | None:
        """Finish the output; return its path in the folder, or None if anything failed."""
        return self._thread.submit(self._close, folder).result()

    def end(self) -> None:
        """Remove what was written of an output that was not finished."""
        for future in self._waiting:
            future.cancel()
        self._thread.submit(self._abort).result()
        self._thread.shutdown()

    def _write(self, frame: Frame) -> None:
        if (writer := self._writer) is not None:
            self._attempt(lambda: writer.write(frame))

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
