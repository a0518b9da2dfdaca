"""Renderers at work: each output is written by a thread of its own."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alignimation_core.api.data import Canvas, Frame
from alignimation_core.api.errors import AlignimationError, OutputError
from alignimation_core.api.stages import Renderer, Writer
from alignimation_core.execution.executor import Executor
from alignimation_core.plugin import contract
from alignimation_core.plugin.guard import call
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.record import Failure, PhotosError
from alignimation_core.rendering.frames import frames
from alignimation_core.rendering.placement import PlacedSubject

WAITING = 2
"""Frames that wait for the writer of one output."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rendered:
    """Finished outputs; errors of renderers; and failures of photos that cannot be read again."""

    outputs: list[Path]
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
    ready: Callable[[], object],
    refuse: Callable[[str], str | None],
) -> Rendered:
    """Write every output in one pass over the photos.

    A photo that can no longer be read is left out; a renderer that fails is left out, and its
    error returned, while the others go on. Whatever ends the pass early removes what was half
    written. ``ready`` is called before the first output takes its name; ``refuse`` says of a
    renderer's path why no output may take it now.

    Raises:
        PhotosError: no photo could be read again.
    """
    outputs = [_Output(renderer, refuse) for renderer in renderers]
    try:
        for output in outputs:
            output.open(canvas, len(placed), folder)
        failures: list[Failure] = []
        shown = 0
        for frame in frames(placed, canvas, options, executor):
            if all(output.errors for output in outputs):
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
        ready()
        done = [path for output in outputs if (path := output.close()) is not None]
    finally:
        for output in outputs:
            output.end()
    return Rendered(done, [error for output in outputs for error in output.errors], failures)


class _Output:
    """One output on its way: only its own thread ever calls the plugin's code.

    Attributes:
        errors: what failed; once something has, nothing more is written.
    """

    def __init__(self, renderer: Renderer, refuse: Callable[[str], str | None]) -> None:
        self.errors: list[AlignimationError] = []
        self._renderer, self._refuse = renderer, refuse
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

    def close(self) -> Path | None:
        """Finish the output; return it, or None if anything failed."""
        return self._thread.submit(self._close).result()

    def end(self) -> None:
        """Remove what was written of an output that was not finished."""
        for future in self._waiting:
            future.cancel()
        self._thread.submit(self._abort).result()
        self._thread.shutdown()

    def _write(self, frame: Frame) -> None:
        if (writer := self._writer) is not None:
            self._attempt(lambda: writer.write(frame))

    def _close(self) -> Path | None:
        if (writer := self._writer) is None:
            return None

        def verb() -> Path:
            if (reason := self._refuse(self._renderer.path)) is not None:
                raise OutputError(reason)
            return contract.close_writer(self._renderer, writer)

        path = self._attempt(verb)
        if path is not None:
            self._writer = None
        return path

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
