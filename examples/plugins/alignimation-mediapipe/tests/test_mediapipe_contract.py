"""What alignimation asks of every stage."""

import pytest
from alignimation_core.testing import StageContract

pytest.importorskip("mediapipe")

from alignimation_mediapipe import MediaPipeFace, MediaPipePose


class TestMediaPipePose(StageContract):
    stage = MediaPipePose()


class TestMediaPipeFace(StageContract):
    stage = MediaPipeFace()
