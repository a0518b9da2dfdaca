"""Several people in a pile: who they are, who is shown to be the subject, and who is not."""

import importlib.util
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import OutputError, Photo, Recipe, RecipeError, people, run
from alignimation_core.api.data import Detections, Observation
from alignimation_core.cli import main, verbs
from alignimation_core.progress import Progress
from alignimation_subject import Identity, Largest

COUNTED = ("detector", "embedder", "subject_selector")
STAGES = Path(__file__).parents[1] / "stages" / "crowd.py"


@pytest.fixture(scope="module")
def crowd():
    """The module of small stages that tell coloured squares apart."""
    spec = importlib.util.spec_from_file_location("alignimation_crowd", STAGES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PILE = {
    "2001-01-01": ("RED", "GREEN"),
    "2002-01-01": ("GREEN", "RED"),
    "2003-01-01": ("RED", None),
    "2004-01-01": ("RED", "BLUE"),
    "2005-01-01": ("BLUE", "RED"),
    "2006-01-01": ("GREEN", "RED"),
}


@pytest.fixture
def paint(crowd, tmp_path):
    """Paint a photo: a square of about each colour, from left to right, None for none."""

    def paint(name, *colours, seed=0):
        crowd.paint(tmp_path / name, *(c and getattr(crowd, c) for c in colours), seed=seed)

    return paint


@pytest.fixture
def recipe(discs_recipe, crowd, paint):
    for seed, (name, colours) in enumerate(PILE.items()):
        paint(f"photos/{name}.png", *colours, seed=seed)

    def recipe(**options):
        selector = Identity(**{"facing_forward": False, **options})
        changes = {
            "detector": crowd.Squares(),
            "embedder": crowd.Colours(),
            "subject_selector": selector,
        }
        return discs_recipe(**changes)

    return recipe


def colours(record):
    """Return which colour the subject of each photo used has."""
    names = {}
    for photo in record.photos:
        if photo.status == "used":
            with Image.open(record.folder.parent / photo.path) as image:
                x0, y0, x1, y1 = photo.seen.box
                pixel = image.getpixel(((x0 + x1) / 2, (y0 + y1) / 2))
            name = photo.path.removeprefix("photos/").removesuffix("-01-01.png")
            names[int(name)] = ("red", "green", "blue")[int(np.argmax(pixel))]
    return names


ALL_GREEN = dict.fromkeys((2001, 2002, 2006), "green")


def test_the_subject_is_shown_by_photos_outside_the_pile(recipe, paint, tmp_path):
    paint("album/me.png", "GREEN")
    record = run(recipe(person=["album/me.png"]))
    assert colours(record) == ALL_GREEN
    assert {photo.path for photo in record.photos} == {f"photos/{name}.png" for name in PILE}
    assert record.recipe["subject_selector"]["person"] == [{"photo": "album/me.png", "face": None}]


@pytest.mark.parametrize("face", [2, [60, 20]])
def test_the_subject_is_shown_by_a_face_of_a_photo_in_the_pile(recipe, face):
    assert colours(run(recipe(person={"photo": "2001-01-01", "face": face}))) == ALL_GREEN
    assert colours(run(recipe(like={"photo": "2001-01-01.png", "face": face}))) == ALL_GREEN


def test_a_reference_of_another_time_is_turned_as_it_is_corrected(recipe, crowd, tmp_path):
    shapes = []

    class Seeing(crowd.Squares):
        def detect(self, images):
            shapes.extend(tuple(image.shape) for image in images)
            return super().detect(images)

    (tmp_path / "corrections.yaml").write_text("2003-01-01: {turn: 90}\n")
    given = replace(recipe(person="2003-01-01"), since="2004", detector=Seeing())
    assert set(colours(run(given)).values()) == {"red"}
    with Image.open(tmp_path / "photos" / "2003-01-01.png") as image:
        width, height = image.size
    assert shapes.count((3, width, height)) == 1
    assert len(shapes) == 4


def test_who_the_subject_is_not_is_shown_too(recipe, paint, tmp_path):
    assert set(colours(run(recipe())).values()) == {"red"}
    paint("her.png", "RED")
    assert set(colours(run(recipe(not_person="her.png"))).values()) == {"green"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"person": "pair.png"},
            (
                "person[0]: pair.png shows 2; write {photo: pair.png, face: N}, found here: "
                "1 at [20, 18], 2 at [60, 18]"
            ),
        ),
        (
            {"person": ["me.png", "empty.png"]},
            (
                "person[1]: empty.png: nobody was found in it; name a photo that shows the face "
                "larger and from the front"
            ),
        ),
        (
            {"not_person": {"photo": "pair.png", "face": 3}},
            (
                "not_person[0]: pair.png: there is no face 3; found here: 1 at [20, 18], "
                "2 at [60, 18]"
            ),
        ),
        (
            {"person": {"photo": "pair.png", "face": [1, 1]}},
            ("person[0]: pair.png: no face is at [1, 1]; found here: 1 at [20, 18], 2 at [60, 18]"),
        ),
        (
            {"person": "broken.png"},
            ("person[0]: broken.png: this is a text file, no photo; replace or remove it"),
        ),
        (
            {"person": "2001-01-02"},
            (
                "person[0]: there is no photo '2001-01-02'; did you mean photos/2001-01-01.png or "
                "photos/2006-01-01.png or photos/2005-01-01.png?; nor is {folder}/2001-01-02 a file"
            ),
        ),
        (
            {"person": "~nobody-of-this-name/me.png"},
            (
                "person[0]: there is no photo '~nobody-of-this-name/me.png'; photos are named as "
                "photos/2001-01-01.png; nor is {folder}/~nobody-of-this-name/me.png a file"
            ),
        ),
    ],
)
def test_a_reference_that_shows_nobody_or_several_is_told(
    recipe, paint, tmp_path, options, message
):
    paint("me.png", "GREEN")
    paint("empty.png")
    paint("pair.png", "GREEN", "RED")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    with pytest.raises(RecipeError) as error:
        run(recipe(**options))
    text = message.replace("{folder}", str(tmp_path))
    assert str(error.value) == f"recipe: subject_selector.{text}"


def test_people_are_numbered_by_how_often_they_appear(recipe):
    found = people.find(recipe(), Progress())
    assert [(each.number, len(each.faces), each.years) for each in found] == [
        (1, 6, "2001 to 2006"),
        (2, 3, "2001 to 2006"),
        (3, 2, "2004 to 2005"),
    ]
    assert colours(run(recipe(person=2))) == ALL_GREEN


def test_people_are_counted_in_the_recipes_time_as_a_run_counts_them(recipe, discs_recipe):
    stages = {kind: stage for kind, _, stage in recipe().stages() if kind in COUNTED}
    found = people.find(discs_recipe(**stages, to="2003"), Progress())
    assert [(each.number, len(each.faces), each.years) for each in found] == [
        (1, 3, "2001 to 2003"),
        (2, 2, "2001 to 2002"),
    ]


def test_a_number_of_nobody_is_told_in_one_line(recipe):
    with pytest.raises(RecipeError) as error:
        run(recipe(person=9))
    assert str(error.value) == (
        "recipe: subject_selector.person: there is no 9; 3 were found: `alignimation people` "
        "shows them"
    )


def test_a_sheet_shows_each_face_and_names_its_photo(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    sheets = people.write_sheets(people.find(recipe(), Progress()), tmp_path / "out")
    assert sheets == [tmp_path / "out" / "people" / f"{number}.jpg" for number in (1, 2, 3)]
    with Image.open(sheets[1]) as sheet:
        assert sheet.size == (3 * people.TILE, people.TILE + people.CAPTION)
        for i in range(3):
            middle = sheet.getpixel((i * people.TILE + people.TILE // 2, people.TILE // 2))
            assert int(np.argmax(middle)) == 1
        caption = np.asarray(sheet)[people.TILE :]
    assert caption.min() < 100


def test_a_sheet_writes_every_name(monkeypatch):
    def captioned(name):
        found = Detections(torch.tensor([[0.0, 0.0, 4.0, 4.0]]), torch.ones(1))
        shown = Photo(Path("/a.jpg"), name, "", 8, 8, datetime(2020, 1, 1), "exif")
        face = Observation(shown, found), 0
        monkeypatch.setattr(people, "_face", lambda *_: None)
        return people.sheet(people.Individual(1, [face]))

    assert captioned("Käthe.jpg") != captioned("Kéthe.jpg")
    assert captioned("two\nlines.jpg")


def test_a_sheet_shows_a_photo_whatever_it_is_called(recipe, tmp_path):
    (tmp_path / "photos" / "2003-01-01.png").rename(tmp_path / "photos" / "2003-01-01\n.png")
    sheets = people.write_sheets(people.find(recipe(), Progress()), tmp_path / "out")
    assert len(sheets) == 3


def test_sheets_of_earlier_times_are_replaced_and_removed(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    found = people.find(recipe(), Progress())
    people.write_sheets(found, tmp_path / "out")
    people.write_sheets(found[:1], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "people").iterdir()] == ["1.jpg"]


def test_what_is_no_sheet_is_never_written_over(recipe, paint, tmp_path):
    home = tmp_path / "out" / "people"
    home.mkdir(parents=True)
    paint("out/people/1.png", "RED")
    mine = (home / "1.png").rename(home / "1.jpg")
    before = mine.read_bytes()
    with pytest.raises(OutputError) as error:
        people.write_sheets(people.find(recipe(), Progress()), tmp_path / "out")
    assert str(error.value) == f"{mine} is no contact sheet of this command; move it away"
    assert mine.read_bytes() == before


def test_a_selector_that_tells_nobody_apart_has_no_people(recipe, discs_recipe):
    recipe()
    with pytest.raises(RecipeError) as error:
        people.find(discs_recipe(subject_selector=Largest()), Progress())
    assert str(error.value) == (
        "recipe: subject_selector: 'largest' tells no individuals apart; set "
        "`subject_selector: identity`"
    )


@pytest.fixture
def installed(tmp_path, install, discs_installed, recipe):
    """Write a recipe of the same stages, installed, for the command."""
    install("alignimation-crowd", STAGES.read_text(), module="alignimation_crowd")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: photos/\ndetector: squares\nembedder: colours\ntarget_builder: points\n"
        "transform_model: closed-form\nrenderers: [array]\n"
        "subject_selector:\n  use: identity\n  facing_forward: false\n"
    )
    return path


def test_the_command_lists_who_appears_and_where_the_sheets_are(installed, capsys, tmp_path):
    assert verbs.main(["people", str(installed)]) == 0
    out, err = capsys.readouterr()
    sheets = tmp_path / "out" / "people"
    assert out.splitlines() == [
        f"1: 6 photos, 2001 to 2006, {sheets / '1.jpg'}",
        f"2: 3 photos, 2001 to 2006, {sheets / '2.jpg'}",
        f"3: 2 photos, 2004 to 2005, {sheets / '3.jpg'}",
    ]
    assert "to take one: `subject_selector: {use: identity, person: 2}`" in err
    assert not (tmp_path / "out" / "run.json").exists()
    assert verbs.main(["people", str(installed), "--set", "photos=photos/2003-01-01.png"]) == 0
    assert "to take one" not in capsys.readouterr().err


def test_what_the_command_and_references_look_at_is_kept_for_runs(
    installed, paint, capsys, monkeypatch
):
    paint("me.png", "GREEN")
    arguments = [str(installed), "--set", "subject_selector.person=[me.png]"]
    assert verbs.main(["people", *arguments]) == 0
    assert main(arguments) == 0
    module = type(Recipe.load(installed).detector)

    def detect(self, images):
        raise AssertionError("everything is known")

    monkeypatch.setattr(module, "detect", detect)
    assert main(arguments) == 0
    assert "detecting: 6 of 6 from the store" in capsys.readouterr().err


def test_a_reference_that_shows_nobody_is_told_by_its_line(installed, paint, capsys):
    paint("empty.png")
    installed.write_text(installed.read_text() + "  person:\n  - 2003-01-01.png\n  - empty.png\n")
    assert main([str(installed), "--set", "output=other"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"alignimation-run: {installed}:12: subject_selector.person[1]: empty.png: nobody was "
        "found in it; name a photo that shows the face larger and from the front"
    )


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("person: [2003-01-01]", "person[0].photo: should be text, got 2003-01-01; put it in quot"),
        (
            "person: {photo: a, face: 0}",
            "person[0].face: 0 is neither a number, 1 for the leftmost",
        ),
        ("person: 0", "person: write photos of who it is, or a number from 1 on"),
        ("person: {foto: a}", "person[0].photo: this is required"),
        ("not_person: [a, {face: 2}]", "not_person[1].photo: this is required"),
        ("like: {photo: a, face: left}", "like.face: 'left' is neither a number, 1 for the left"),
    ],
)
def test_what_shows_nobody_is_a_fault_of_its_line(installed, written, message):
    installed.write_text(f"{installed.read_text()}  {written}\n")
    with pytest.raises(RecipeError) as error:
        Recipe.load(installed)
    assert str(error.value.faults[0]).startswith(f"{installed}:10: subject_selector.{message}")
