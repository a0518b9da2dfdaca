"""What alignimation asks of every stage."""

from alignimation_core.testing import StageContract
from alignimation_immich import Immich


class TestImmich(StageContract):
    stage = Immich(url="http://127.0.0.1:9")  # where nobody listens
