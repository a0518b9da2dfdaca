import pytest

from alignimation_core import OutputError
from alignimation_core.store.database import Anchor


def test_an_anchor_holds_while_the_folder_is_there(tmp_path):
    (tmp_path / "out").mkdir()
    anchor = Anchor(tmp_path / "out")
    anchor.check()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError) as caught:
        anchor.check()
    assert str(caught.value) == (
        f"{tmp_path}/out: the folder went away while the run was going on; bring it back, or "
        "choose another output folder, and run again"
    )
