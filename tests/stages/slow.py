"""Stages that take their time, and say before each step what they do: a run to be disturbed.

Every step is a line ``word item`` in the file ``$EVENTS``. Once the line ``$AT`` is written (a word
and how often it was said), the command ``$DO`` is run while the step waits, and the clock jumps by
``$JUMP`` seconds.
"""

import hashlib
import os
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

import alignimation_discs as discs
import torch

from alignimation_core import Embedder, hookimpl
from alignimation_core.photos import decoder, metadata

PAUSE = float(os.environ.get("PAUSE", "0.008"))
SAID = Counter()
LOCK = threading.Lock()


def say(word, item):
    with LOCK:
        with Path(os.environ["EVENTS"]).open("a") as file:
            file.write(f"{word} {item}\n")
        SAID[word] += 1
        if os.environ.get("AT") == f"{word} {SAID[word]}":
            subprocess.run(["sh", "-c", os.environ.get("DO", "")], check=True)
            set_clock(float(os.environ.get("JUMP", "0")))
    time.sleep(PAUSE)


def set_clock(seconds):
    """Set the clock forward or back."""
    time.time = lambda clock=time.time: clock() + seconds


def digest(image):
    """Return what tells pictures apart, (3, h, w) uint8."""
    return hashlib.sha256(image.contiguous().numpy().tobytes()).hexdigest()[:12]


class SlowBlobs(discs.Blobs):
    """The same, slowly."""

    name: ClassVar[str] = "slow-blobs"
    parallel: ClassVar[bool] = True

    def detect(self, images):
        for image in images:
            say("detect", digest(image))
        return super().detect(images)


class SlowColours(Embedder):
    """The mean colour, slowly."""

    name: ClassVar[str] = "slow-colours"
    same_above: ClassVar[float] = 0.5

    def embed(self, images, detections):
        for image in images:
            say("embed", digest(image))
        return [
            torch.nn.functional.normalize(image.float().mean((1, 2)).repeat(len(seen), 1))
            for image, seen in zip(images, detections, strict=True)
        ]


class SlowPoints(discs.Points):
    """The same, slowly."""

    name: ClassVar[str] = "slow-points"

    def build(self, subject, size):
        say("build", ",".join(f"{side:.3f}" for side in subject.box))
        return super().build(subject, size)


class SlowClosedForm(discs.ClosedForm):
    """The same, slowly."""

    name: ClassVar[str] = "slow-closed-form"

    def fit(self, moving, fixed, initial):
        for number in range(4):
            say("fit", number)
        return super().fit(moving, fixed, initial)


class SlowWriter(discs.ArrayWriter):
    def write(self, frame):
        say("write", frame.index)
        super().write(frame)

    def close(self):
        say("close", self.path.name)
        return super().close()


class SlowArray(discs.Array):
    """The same, slowly."""

    name: ClassVar[str] = "slow-array"

    def open(self, canvas, count, folder):
        return SlowWriter(Path(folder, self.path))


def slow_down(owner, verb, word):
    """Have a function of other code say what it does to a photo or file, before and after."""
    quick = getattr(owner, verb)

    def slow(file, *given):
        name = file.name.partition(".part-")[0]
        say(word, name)
        answer = quick(file, *given)
        say(f"{word}-done", name)
        return answer

    setattr(owner, verb, slow)


slow_down(metadata, "facts", "read")
slow_down(decoder, "read", "load")
slow_down(Path, "replace", "put")
slow_down(Path, "rename", "put")


@hookimpl
def alignimation_detectors():
    return [SlowBlobs]


@hookimpl
def alignimation_embedders():
    return [SlowColours]


@hookimpl
def alignimation_target_builders():
    return [SlowPoints]


@hookimpl
def alignimation_transform_models():
    return [SlowClosedForm]


@hookimpl
def alignimation_renderers():
    return [SlowArray]
