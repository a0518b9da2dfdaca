"""The test kit for plugins: what a run asks of every stage, and what it would only find out late.

One class a stage in a plugin's own tests, for pytest (``pip install 'alignimation[test]'``)::

    from alignimation_core.testing import StageContract

    from alignimation_moon import Moon


    class TestMoon(StageContract):
        stage = Moon()

``samples`` has the photos, detections, subjects, targets and frames that the kit gives to stages.
"""

from alignimation_core.testing import samples
from alignimation_core.testing.contract import StageContract

__all__ = ["StageContract", "samples"]
