"""The recipe of a first run: made of photos alone, commented, to be edited and run again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml

from alignimation_core.api import urls, weights
from alignimation_core.plugin import sources
from alignimation_core.plugin.registry import registry

NAME = "recipe.yaml"
"""The recipe's file, in the output folder."""

RECIPES = (".yaml", ".yml")
"""How recipes' files end."""

EMBEDDERS = ("facenet", "dlib")
"""What tells faces apart, the best first."""

RECIPE = """\
# Made from photos alone. Edit it, and run it again:
#
#   alignimation-run recipe.yaml
#
# `alignimation schema` describes every key for editors; `alignimation list` shows every stage.

# Folders (with all their sub-folders), archives, films, globs or single files; relative to this
# file.
photos: {photos}

# Everything is written here, with run.json: what became of every photo, and why.
output: ./

{subject}
# What every frame shows.
canvas:
  size: {size}
  framing: balanced       # tight: no border is invented; whole: every photo fully

renderers:
  - use: video
    path: film.mp4
    fps: {fps:g}
  # - {{use: gif, path: film.gif, width: 480}}
  # - {{use: frames, path: frames}}
"""

FACE = """\
# Finds faces: a box and five keypoints.
detector: mtcnn

"""

IDENTITY = """\
# Tells people apart.
embedder: {embedder}

# The person who is in most photos. `alignimation people recipe.yaml` shows who else there is, and
# `alignimation explain recipe.yaml` what was left out and why.
subject_selector: identity
"""

LARGEST = """\
# The largest face in each photo, whoever it is. To follow one person instead, who is in most:
#   embedder: facenet
#   subject_selector: identity
subject_selector: largest
"""

BODY = """\
{finder}
detector: {detector}

# The largest person in each photo; whoever stands behind may stay.
subject_selector: largest

# What must coincide. Ears, shoulders and hips are bone: hair and belly pull at nothing.
target_builder:
  use: gaussian-keypoints
  keypoints: [left_ear, right_ear, left_shoulder, right_shoulder, left_hip, right_hip]
"""

FINDERS = {
    "mediapipe-pose": """\
# Finds persons: a box, 33 keypoints and a mask, in under 0.1 s a photo. `keypoint-rcnn` is built in
# and finds more of a crowd: of use with a GPU, seconds a photo without.""",
    "keypoint-rcnn": """\
# Finds persons: a box and 17 keypoints; seconds a photo without a GPU. `mediapipe-pose` takes under
# 0.1 s: install the plugin alignimation-mediapipe, and name it here.""",
}
"""What finds bodies, and how its choice is told: the first that is installed is taken."""


def is_photos(text: str) -> bool:
    """Return whether an argument names photos: a folder, an archive, a film or an address.

    Raises:
        StageError: a photo source's own code fails.
    """
    if urls.is_address(text):
        return True
    place = Path(text).absolute()
    if place.suffix.lower() in RECIPES or not place.is_file():
        return place.is_dir()
    return bool(sources.recognising(place))


def embedder_here() -> str | None:
    """Return the best embedder of faces that needs no download; None without one."""
    for name in EMBEDDERS:
        if (found := registry().stages["embedder"].get(name)) is not None:
            needed = found.stage.model_validate({}).weights_needed()
            if all(weights.find(*each) is not None for each in needed):
                return name
    return None


def without_gpu() -> str | None:
    """Return advice for bodies on a machine without a GPU; None where it is not needed."""
    import torch

    if _body_detector() != "keypoint-rcnn" or torch.cuda.is_available():
        return None
    return (
        "without a GPU `keypoint-rcnn` takes seconds a photo; `mediapipe-pose`, of the plugin "
        "alignimation-mediapipe, takes under 0.1 s"
    )


def _body_detector() -> str:
    here = registry().stages["detector"]
    return next((name for name in FINDERS if name in here), "keypoint-rcnn")


def text(
    photos: str,
    subject: Literal["face", "body"],
    embedder: str | None,
    size: str = "1080x1350",
    fps: float | None = None,
) -> str:
    """Return a commented recipe, whose output is the folder that it lies in.

    Args:
        photos: relative to the recipe, or an address.
        subject: what stands still.
        embedder: tells faces apart; None: the largest face is taken.
        size: of the canvas, ``WIDTHxHEIGHT``.
        fps: photos a second; 12 for faces and 4 for bodies when left out.
    """
    detector = _body_detector()
    chosen = BODY.format(finder=FINDERS[detector], detector=detector)
    if subject == "face":
        chosen = FACE + (LARGEST if embedder is None else IDENTITY.format(embedder=embedder))
    return RECIPE.format(
        photos=_quoted(photos),
        subject=chosen,
        size=_quoted(size),
        fps=fps or (12 if subject == "face" else 4),
    )


def _quoted(text: str) -> str:
    dumped: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**9)
    return dumped.strip()
