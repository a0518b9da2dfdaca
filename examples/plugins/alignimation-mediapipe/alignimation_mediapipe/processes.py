"""MediaPipe in processes of its own, as many as threads ask at once: both ends of their pipes.

MediaPipe 1 reports to Google how it is used and has no switch for it, so these processes are given
a proxy that is not there; it runs one image at a time; and it writes to stderr, where progress is
shown.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from alignimation_core import WeightsError

if TYPE_CHECKING:
    from numpy import ndarray

_MASK_SIDE = 160  # most pixels along a mask; the network draws 256 about the whole person
_NOWHERE = "http://127.0.0.1:9"  # a port of this machine at which nobody listens


class Processes:
    """A task of MediaPipe at work; ``serve`` has the arguments and tells of the answers."""

    def __init__(self, *task: object) -> None:
        self._code = f"import {__name__} as this; this.serve(*{task!r})"
        self._idle: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _stop, self._idle)

    def __call__(self, image: ndarray) -> Any:
        """Have one of them look at an image; see ``serve``.

        Raises:
            WeightsError: the bundle cannot be used.
            RuntimeError: MediaPipe failed on the image.
        """
        process = self._idle.pop() if self._idle else self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump(image, process.stdin, protocol=5)
            process.stdin.flush()
            found = pickle.load(process.stdout)
        except (EOFError, OSError) as error:
            _stop([process])
            raise RuntimeError(f"MediaPipe's process died (code {process.returncode})") from error
        self._idle.append(process)
        if isinstance(found, Exception):
            raise found
        return found

    def _started(self) -> subprocess.Popen[bytes]:
        given = {name: text for name, text in os.environ.items() if name.lower() != "no_proxy"}
        given |= {"https_proxy": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
        return subprocess.Popen(
            [sys.executable, "-c", self._code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the run, which ends its processes
            env=given | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def serve(task: str, path: str, most: int, confidence: float) -> None:
    """Answer on stdout for each (h, w, 3) uint8 numpy image on stdin, until there are no more.

    Args:
        task: ``Pose`` or ``Face``.
        path: its bundle.
        most: how many to find.
        confidence: the least that they must score, when found and by their landmarks.

    An answer lists, of each, (P, 3) float32 landmarks: x and y in sides of the image, and how sure
    it is that they are to be seen, in [0, 1]; the box ``x0, y0, x1, y1`` in sides of the image; and
    the (h, w) uint8 mask in that box, None for a face. Or it is an exception.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed is no answer
    find: Callable[[Any], Any] | None = None
    with suppress(EOFError):
        while True:
            image = pickle.load(sys.stdin.buffer)
            try:
                find = find or _finder(task, path, most, confidence)
                answer = find(image)
            except Exception as error:
                line = " ".join(str(error).split())
                advice = "delete it to fetch it again, or name another as `weights`"
                failed = WeightsError(f"{path}: MediaPipe cannot use it ({line}); {advice}")
                answer = RuntimeError(line) if find else failed
            pickle.dump(answer, answers, protocol=5)
            answers.flush()


def _finder(task: str, path: str, most: int, confidence: float) -> Callable[[Any], Any]:
    import mediapipe
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    kind = task.lower()
    options: dict[str, Any] = {
        "base_options": BaseOptions(model_asset_path=path),
        f"num_{kind}s": most,
        f"min_{kind}_detection_confidence": confidence,
        f"min_{kind}_presence_confidence": confidence,
    }
    if task == "Pose":
        options["output_segmentation_masks"] = True
    landmarker = getattr(vision, f"{task}Landmarker").create_from_options(
        getattr(vision, f"{task}LandmarkerOptions")(**options)
    )

    def find(image: ndarray) -> list[tuple[Any, ...]]:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image)
        result = landmarker.detect(picture)
        found: list[tuple[Any, ...]] = []
        if task == "Face":
            for face in result.face_landmarks:
                places = np.array([(p.x, p.y, 1) for p in face], "f4")
                box = (*places.min(0)[:2].tolist(), *places.max(0)[:2].tolist())
                found.append((places, box, None))
            return found
        people = zip(result.pose_landmarks, result.segmentation_masks or (), strict=True)
        for person, mask in people:
            if cut := _cut(mask.numpy_view()[..., 0]):
                found.append((np.array([(p.x, p.y, p.visibility) for p in person], "f4"), *cut))
        return found

    return find


def _cut(mask: ndarray) -> tuple[tuple[float, ...], ndarray] | None:
    """Return the box of an image's mask, and the mask in it; None where it is empty."""
    import numpy as np
    from PIL import Image

    drawn = Image.fromarray((mask * 255).round().astype("u1"))
    box = drawn.point(lambda value: 255 * (value > 127)).getbbox()
    if box is None:
        return None
    own = drawn.crop(box)
    if max(own.size) > 1.1 * _MASK_SIDE:
        own.thumbnail((_MASK_SIDE, _MASK_SIDE), Image.Resampling.BILINEAR)
    return tuple((np.array(box) / (*drawn.size, *drawn.size)).tolist()), np.array(own)
