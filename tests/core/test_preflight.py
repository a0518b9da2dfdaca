"""What ``--check`` finds without decoding a photo."""

import zipfile

import pytest
from PIL import Image

from alignimation_core import Recipe, RecipeError, Renderer, preflight

DATA = {"photos": "photos/", "detector": "mtcnn"}


@pytest.fixture
def recipe(tmp_path):
    """Make a recipe of two photos, with changes."""
    (tmp_path / "photos").mkdir(exist_ok=True)
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "photos" / name)
    return lambda **changes: Recipe.of({**DATA, **changes}, folder=tmp_path)


def refused(recipe):
    """Return the field and the message of the only fault."""
    with pytest.raises(RecipeError) as error:
        preflight.check(recipe)
    (fault,) = error.value.faults
    return fault.field, fault.message


def test_photos_that_cannot_be_read_are_counted_by_reason(recipe, tmp_path):
    for name in ("c.jpg", "d.jpg"):
        (tmp_path / "photos" / name).touch()
    (tmp_path / "photos" / "e.cr2").write_bytes(b"raw")
    lines = preflight.check(recipe()).splitlines()
    assert lines[:3] == [
        "5 photos",
        (
            "2 of them cannot be read: the file is empty; replace or remove it (such as "
            f"{tmp_path}/photos/c.jpg)"
        ),
        (
            "1 of them cannot be read: this is a text file, no photo; replace or remove it "
            f"(such as {tmp_path}/photos/e.cr2)"
        ),
    ]
    assert lines[-1] == "the recipe is fine"


def test_an_archive_without_a_photo_is_refused(recipe, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    field, message = refused(recipe(photos="photos.zip"))
    assert field == "photos[0]"
    assert message == f"{tmp_path}/photos.zip holds no photos"


def test_a_file_of_the_users_is_seen_behind_a_backslash(recipe, tmp_path):
    film = tmp_path / "out" / "my" / "film.gif"
    film.parent.mkdir(parents=True)
    film.touch()
    field, message = refused(recipe(renderers={"use": "gif", "path": "my\\film.gif"}))
    assert field == "renderers[0].path"
    assert message.startswith(f"{film} is no output of an earlier run; move it away")


@pytest.mark.parametrize("output", ["file", "file/out"])
def test_an_output_that_is_a_file_is_refused(recipe, tmp_path, output):
    (tmp_path / "file").touch()
    what = f"{tmp_path}/file is a file; give a folder, or move the file away"
    assert refused(recipe(output=output)) == ("output", what)


@pytest.mark.parametrize(
    ("size", "width", "told"),
    [
        ("16384x1024", None, "16384x1024"),
        ("1024x16384", None, "1024x16384"),
        ("1024x16384", 1023, None),
        ("16382x1024", None, None),
    ],
)
def test_a_canvas_that_a_webp_cannot_hold_is_refused(recipe, size, width, told):
    given = recipe(canvas={"size": size}, renderers=["video", {"use": "webp", "width": width}])
    if told is None:
        assert preflight.check(given).endswith("the recipe is fine")
    else:
        what = (
            f"a WebP is at most 16383 pixels wide and high, and this is {told}; set a smaller "
            "width or canvas.size"
        )
        assert refused(given) == ("renderers[1]", what)


def test_a_renderer_that_fails_to_say_what_it_can_write_is_named(recipe, discs, discs_installed):
    class Broken(discs.Array):
        name = "broken"

        def refuses(self, canvas):
            raise KeyError("size")

    given = Recipe(photos="photos/", folder=recipe().folder, detector=discs.Blobs(),
                   canvas=recipe(canvas={"size": "64x64"}).canvas,
                   renderers=Broken())  # fmt: skip
    assert isinstance(Broken(), Renderer)
    field, message = refused(given)
    assert field == "renderers[0]"
    assert message.startswith("'broken' failed to say what it can write: KeyError: ")


def test_a_device_that_is_not_there_is_refused(recipe):
    field, message = refused(recipe(detector={"use": "mtcnn", "device": "cuda:99"}))
    assert field == "detector.device"
    assert message == "this machine has no device 'cuda:99'; use auto or cpu"


@pytest.mark.parametrize(
    ("time", "field", "corrected", "told"),
    [
        ({"from": "2030"}, "from", None, "2017-07-04 to 2018-07-04"),
        ({"to": "2016"}, "to", None, "2017-07-04 to 2018-07-04"),
        ({"from": "2018-01", "to": "2018-06"}, "from", "2001-01-01", "2001-01-01 to 2018-07-04"),
        ({"from": "2018-07-04"}, None, None, None),
        ({"from": "2030"}, None, "2031-02-03", None),
        ({"from": "2030", "reference": "2017-07-04.png"}, None, None, None),
    ],
)
def test_a_time_of_no_photo_is_refused(recipe, tmp_path, time, field, corrected, told):
    (tmp_path / "dated").mkdir()
    for day in ("2017-07-04", "2018-07-04"):
        Image.new("RGB", (8, 8)).save(tmp_path / "dated" / f"{day}.png")
    (tmp_path / "dated" / "broken.png").touch()
    given = recipe(**time, photos="dated/")
    if corrected:
        (tmp_path / "corrections.yaml").write_text(f"2017-07-04: {{taken: {corrected}}}\n")
    if field is None:
        assert preflight.check(given).endswith("the recipe is fine")
    else:
        what = f"no photo is of this time: they were taken from {told}; correct it"
        assert refused(given) == (field, what)


def test_a_recipe_that_leaves_out_every_photo_is_refused(recipe):
    assert refused(recipe(without="*")) == ("without", "leaves out every photo; name fewer")


@pytest.mark.parametrize("option", ["before", "after"])
def test_a_photo_that_an_output_names_and_that_is_not_there_is_refused(recipe, option):
    field, message = refused(recipe(renderers=["video", {"use": "before-after", option: "c.jpg"}]))
    assert field == f"renderers[1].{option}"
    assert message == "there is no photo 'c.jpg'; did you mean photos/a.jpg or photos/b.png?"
    given = recipe(renderers={"use": "before-after", option: "a"}, without="a.jpg")
    what = "photos/a.jpg is left out by `without`; name another, or remove it there"
    assert refused(given) == (f"renderers[0].{option}", what)
    given = recipe(renderers={"use": "before-after", option: "b"})
    assert preflight.check(given).endswith("the recipe is fine")
