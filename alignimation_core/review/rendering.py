"""Runs that the page asks for: each a process of its own, whose progress is followed."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, TextIO

from alignimation_core.plugin.registry import registry
from alignimation_core.progress import Progress, Received, Step
from alignimation_core.recipe.recipe import Recipe

PREVIEWED = 120
"""Photos in a preview, spread over the time."""
SIDE = 480
"""Long side of a preview, pixels."""
EVERY = 0.1
"""Least seconds between two lines of progress."""
PATIENCE = 20.0
"""Seconds that a run has to end once it is asked to."""
LINES = 40
"""Last lines that a run has said, which are kept."""


def small(recipe: Recipe, canvas: Mapping[str, int] | None) -> Recipe:
    """Return the recipe of a preview: few photos, a small canvas, and one video alone.

    Args:
        recipe: of the whole.
        canvas: ``width`` and ``height`` of its last run; None where they are not known.
    """
    shape = recipe.canvas.shape() or (canvas and (canvas["height"], canvas["width"]))
    options = recipe.canvas
    if shape:
        scale = SIDE / max(shape)
        height, width = (max(16, round(side * scale / 2) * 2) for side in shape)
        options = options.model_copy(update={"size": f"{width}x{height}"})
    video = registry().stages["renderer"].get("video")
    given = next((each for each in recipe.renderers if each.name == "video"), None)
    renderers: Sequence[Any] = recipe.renderers
    if given is not None:
        usual = dict.fromkeys({"codec", "crf"} & type(given).model_fields.keys())
        renderers = (given.model_copy(update={"path": "preview.mp4", **usual}),)  # browsers show it
    elif video is not None:
        renderers = (video.stage.model_validate({"path": "preview.mp4"}),)
    return replace(
        recipe,
        canvas=options,
        renderers=renderers,
        max=min(recipe.max or PREVIEWED, PREVIEWED),
        report=False,
        score=False,
    )


class Events(Progress):
    """Progress as lines of JSON, which a ``Job`` understands."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def stage(self, name: str, total: int, at_work: str = "") -> Iterator[Step]:  # noqa: ARG002
        """Follow one stage; see ``Progress.stage``."""
        done, begun = 0, time.monotonic()
        said = 0.0

        def step() -> None:
            nonlocal done, said
            done += 1
            now = time.monotonic()
            if now - said >= EVERY or done == total:
                said = now
                left = (now - begun) / done * (total - done)
                self._say({"stage": name, "done": done, "total": total, "left": round(left)})

        self._say({"stage": name, "done": 0, "total": total, "left": None})
        yield step

    @contextmanager
    def download(self, name: str) -> Iterator[Received]:
        """Follow one download; see ``Progress.download``."""
        said = 0.0

        def received(count: int, total: int | None) -> None:
            nonlocal said
            if time.monotonic() - said >= EVERY:
                said = time.monotonic()
                what = f"fetching {name}, bytes"
                self._say({"stage": what, "done": count, "total": total, "left": None})

        yield received

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Follow something silent; see ``Progress.waiting``."""
        self._say({"stage": what, "done": 0, "total": None, "left": None})
        yield

    def note(self, text: str) -> None:
        """Say one line to the user."""
        self._say({"note": text})

    def _say(self, event: Mapping[str, object]) -> None:
        print(f"{json.dumps(event)}\n", end="", file=self._stream, flush=True)  # threads warn, too


class Job:
    """A run in a process of its own.

    Args:
        command: what to start; on stderr it writes ``Events``, and says what is wrong.
        kind: ``render`` or ``preview``.
    """

    def __init__(self, command: Sequence[str], kind: str) -> None:
        self.kind = kind
        self._event: dict[str, Any] = {}
        self._lines: list[str] = []
        self._stopped = False
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [*command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,  # Ctrl-C is this process's to pass on
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        with self._process as process:
            assert process.stderr is not None
            for line in process.stderr:
                event: Any = None
                with suppress(ValueError):
                    event = json.loads(line)
                if not isinstance(event, dict):
                    event = {"note": line.rstrip("\n")}
                if "note" in event:
                    self._lines = [*self._lines, *str(event["note"]).split("\n")][-LINES:]
                else:
                    self._event = event

    @property
    def running(self) -> bool:
        """Whether it still runs, or there is still to be heard what it said."""
        return self._thread.is_alive()

    def state(self) -> dict[str, Any]:
        """Return how far it is, as JSON can hold it.

        ``status`` is ``running``, ``done``, ``failed`` or ``stopped``; ``stage``, ``done``,
        ``total`` and ``left`` (seconds) tell of what it does; ``lines`` are what it said last.
        """
        status = "running"
        if not self.running:
            status = "done" if self._process.returncode == 0 else "failed"
            if status == "failed" and self._stopped:
                status = "stopped"
        return {"kind": self.kind, "status": status, "lines": self._lines, **self._event}

    def stop(self) -> None:
        """Ask it to end; it leaves nothing half-written."""
        self._stopped = True
        if self.running:
            with suppress(ProcessLookupError):
                self._process.terminate()  # which, unlike Ctrl-C, is silent while Python starts

    def end(self) -> None:
        """Ask it to end, and wait until it has."""
        self.stop()
        self._thread.join(PATIENCE)
        if self.running:
            self._process.kill()
            self._thread.join()
