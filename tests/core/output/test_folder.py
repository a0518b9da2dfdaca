"""Nothing of the user's is ever replaced."""

import json

import pytest
from PIL import Image

from alignimation_core import RecipeError, run
from alignimation_core.output import folder as outputs
from alignimation_imageio import GIF, Frames


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    discs.series(tmp_path / "photos", discs.WARPS)
    return lambda *renderers: discs_recipe(renderers=renderers)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def refused(recipe):
    with pytest.raises(RecipeError) as caught:
        run(recipe)
    return str(caught.value)


def test_a_file_of_the_users_is_refused_before_any_photo_is_opened(recipe, out):
    (out / "a.gif").write_text("mine")
    assert refused(recipe(Frames(), GIF(path="a.gif"))) == (
        f"recipe: renderers[1].path: {out}/a.gif is no output of an earlier run; move it away, or "
        "choose another path"
    )
    assert [path.name for path in out.iterdir()] == ["a.gif"]
    assert (out / "a.gif").read_text() == "mine"


def test_a_folder_of_the_users_numbered_pictures_is_refused(recipe, out):
    (out / "frames").mkdir()
    (out / "frames" / "0001.png").write_text("a scan of mine")
    assert "frames is no output of an earlier run" in refused(recipe(Frames()))
    assert (out / "frames" / "0001.png").read_text() == "a scan of mine"


def test_outputs_are_not_written_through_links(recipe, out, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "0001.png").write_text("mine")
    (out / "frames").symlink_to("../mine")
    (out / "a.gif").symlink_to("../mine/0001.png")
    (out / "sub").symlink_to("../mine")
    text = refused(recipe(Frames(), GIF(path="a.gif"), GIF(path="sub/b.gif")))
    what = "is a link; outputs are not written through links"
    assert text.splitlines() == [
        f"recipe: renderers[{i}].path: {out}/{name} {what}"
        for i, name in enumerate(["frames", "a.gif", "sub"])
    ]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["0001.png"]


def test_a_file_on_the_way_is_named(recipe, out):
    (out / "sub").write_text("mine")
    assert f"{out}/sub is a file; choose another path" in refused(recipe(GIF(path="sub/b.gif")))


@pytest.mark.parametrize("text", ["{}", '{"my": 1}', "notes", "[]"])
def test_a_run_json_that_is_no_record_is_refused(recipe, out, text):
    (out / "run.json").write_text(text)
    assert refused(recipe(Frames())) == (
        f"recipe: output: {out}/run.json is no run record; move it away, or choose another folder"
    )
    assert (out / "run.json").read_text() == text


def test_what_an_earlier_run_wrote_is_replaced(recipe, out):
    run(recipe(Frames(), GIF(path="a.gif", width=16)))
    run(recipe(Frames()))
    record = json.loads((out / "run.json").read_text())
    assert (record["outputs"], record["kept"]) == (["frames"], ["a.gif"])
    before = (out / "a.gif").read_bytes()
    with Image.open(out / "a.gif") as image:
        assert image.width == 16
    run(recipe(GIF(path="a.gif")))
    assert len((out / "a.gif").read_bytes()) > len(before)
    with Image.open(out / "a.gif") as image:
        assert (image.size, image.n_frames) == ((64, 48), 4)
    record = json.loads((out / "run.json").read_text())
    assert (record["outputs"], record["kept"]) == (["a.gif"], ["frames"])


def test_the_check_says_so_too(recipe, out):
    from alignimation_core.preflight import check

    (out / "frames").mkdir()
    with pytest.raises(RecipeError, match="frames is no output of an earlier run"):
        check(recipe(Frames()))


def test_the_stores_folder_is_no_place_for_outputs(tmp_path):
    assert outputs.OutputFolder(tmp_path, [".alignimation/a.gif", "b.gif"]).obstacles() == [
        (
            ("renderers", 0, "path"),
            "the folder .alignimation is the store's; choose another path",
        )
    ]
