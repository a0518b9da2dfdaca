"""Frames -> the renderers' outputs, each written by a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from alignimation_core.api.data import Canvas, Frame
from alignimation_core.api.errors import AlignimationError, OutputError, StageError
from alignimation_core.api.stages import Renderer, Writer
from alignimation_core.detection.inference import ask
from alignimation_core.execution.executor import Executor
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering.frames import Placed, frames

WAITING = 2
"""Frames that wait for the writer of one output."""

T = TypeVar("T")


def render(
    placed: Sequence[Placed],
    canvas: Canvas,
    options: CanvasOptions,
    renderers: Sequence[Renderer],
    folder: Path,
    executor: Executor,
    step: Callable[[], None],
    ready: Callable[[], object],
    refuse: Callable[[str], str | None],
) -> tuple[list[Path], list[AlignimationError]]:
    """Write every output in one pass over the photos.

    A photo that can no longer be read is noted in its record and left out; a renderer that fails
    is left out, and its error returned, while the others go on. Whatever ends the pass early
    removes what was half written.

    Args:
        placed: photos with their subjects, in order.
        canvas: the rectangle to show.
        options: what fills it beyond a photo and behind the subject.
        renderers: what to write.
        folder: the output folder; it exists.
        executor: where photos are decoded and warped.
        step: called after each photo.
        ready: called before the first output takes its name.
        refuse: says of a renderer's path why no output may take it now; None where it may.

    Returns:
        The finished outputs, and what failed.

    Raises:
        AlignimationError: no photo could be read again.
    """
    outputs = [_Output(renderer, refuse) for renderer in renderers]
    try:
        for output in outputs:
            output.open(canvas, len(placed), folder)
        shown = 0
        for frame in frames(placed, canvas, options, executor):
            if all(output.errors for output in outputs):
                break
            if frame is not None:
                shown += 1
                for output in outputs:
                    output.write(frame)
            step()
        else:
            if not shown:
                raise AlignimationError("no photo could be read again to render it")
        for output in outputs:
            output.wait()
        ready()
        done = [path for output in outputs if (path := output.close()) is not None]
    finally:
        for output in outputs:
            output.end()
    return done, [error for output in outputs for error in output.errors]


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
            writer = self._renderer.open(canvas, count, folder)
            self._writer = self._expect(
                writer, isinstance(writer, Writer), "open: expected a Writer"
            )

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
            path = writer.close()
            return self._expect(path, isinstance(path, Path), "close: expected a Path")

        path = self._attempt(verb)
        if path is not None:
            self._writer = None
        return path

    def _attempt(self, verb: Callable[[], T]) -> T | None:
        try:
            return ask("renderer", self._renderer, None, verb)
        except AlignimationError as error:
            self.errors.append(error)
            self._abort()
            return None

    def _abort(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._attempt(writer.abort)

    def _expect(self, answer: T, right: bool, wanted: str) -> T:
        if not right:
            what = f"{wanted}, got {type(answer).__name__}"
            raise StageError("renderer", self._renderer.name, what)
        return answer
