"""What alignimation asks of every stage."""

from alignimation_core.testing import StageContract
from alignimation_dlib import DlibDetector, DlibEmbedder


class TestDlibDetector(StageContract):
    stage = DlibDetector()


class TestDlibEmbedder(StageContract):
    stage = DlibEmbedder()
