"""Works for tests of executors; the workers of a cluster import them from here."""

import ctypes
import os
import signal
import time
from typing import Any, ClassVar

from alignimation_core.api.errors import Fault, PhotoError, RecipeError, StageError
from alignimation_core.api.stages import Detector


class Square:
    """The squares of numbers, each with the process and torch's threads there."""

    def __call__(self, items):
        import torch

        time.sleep(0.01 * (sum(items) % 3))  # later batches overtake earlier ones
        return [(item**2, torch.get_num_threads()) for item in items]


class Loading:
    """Loads something once; its answers are (process, how many times that has loaded, item)."""

    loads = 0

    def __init__(self, size=0):
        self.size, self.number = size, None

    def __getstate__(self):
        return {"size": self.size, "number": None}

    def __call__(self, items):
        if self.number is None:
            Loading.loads += 1
            self.number = Loading.loads
        time.sleep(0.05)
        return [(os.getpid(), self.number, item) for item in items]


class Killing:
    """Dies of some items."""

    def __init__(self, items, how):
        self.items, self.how = items, how

    def __call__(self, items):
        if self.items.intersection(items):
            if self.how == "exit":
                os._exit(3)
            if self.how == "terminate":
                os.kill(os.getpid(), signal.SIGTERM)
            ctypes.string_at(0)
        return [item * 10 for item in items]


class Slow:
    """Takes its time, and goes on when a file is gone; its answers are (item, node)."""

    def __init__(self, seconds, started=None, hold=None):
        self.seconds, self.started, self.hold = seconds, started, hold

    def __call__(self, items):
        import ray

        if self.started is not None:
            (self.started / f"{items[0]}-{os.getpid()}").touch()
        time.sleep(self.seconds)
        while self.hold is not None and self.hold.exists():
            time.sleep(0.05)
        return [(item, ray.get_runtime_context().get_node_id()) for item in items]


class UntoldError(Exception):
    """An error that cannot be made from its text alone."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


ERRORS = {
    "photo": PhotoError("a.jpg", "it is no picture"),
    "stage": StageError("detector", "blobs", "it broke", "a.jpg"),
    "recipe": RecipeError([Fault("recipe.yaml", 3, "detector.least", "too much")]),
    "value": ValueError("such a value"),
}


class Raising:
    """Raises an error for one item."""

    def __init__(self, item, name):
        self.item, self.name = item, name

    def __call__(self, items):
        if self.item in items:
            raise ERRORS[self.name] if self.name in ERRORS else UntoldError(1, 2)
        return items


class Holding:
    """Holds something, and gives its items back."""

    def __init__(self, held):
        self.held = held

    def __call__(self, items):
        return items


class Reading:
    """Needs a file wherever it is made, and gives its items back."""

    def __init__(self, path):
        if not path.exists():
            raise ValueError(f"{path.name}:\nno such file")
        self.path = path

    def __reduce__(self):
        return Reading, (self.path,)

    def __call__(self, items):
        return items


class Hoarder(Detector):
    """Takes anything as an option."""

    name: ClassVar[str] = "hoarder"

    held: Any

    def detect(self, images):
        raise NotImplementedError
