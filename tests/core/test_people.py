"""Several people in a pile: who they are, who is shown to be the subject, and who is not."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import (
    Detections,
    Detector,
    Embedder,
    OutputError,
    RecipeError,
    StageError,
    people,
    run,
)
from alignimation_core.progress import Progress
from alignimation_core.store.store import open_store
from alignimation_subject import Identity, Largest

RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)
CELL = 40


class Squares(Detector):
    """The coloured square in each cell of a photo."""

    name: ClassVar[str] = "squares"

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in ("a", "b", "c"))})

    def detect(self, images):
        return [self._squares(image.float().amax(0) > 100) for image in images]

    @staticmethod
    def _squares(bright):
        boxes = []
        for left in range(0, bright.shape[1], CELL):
            y, x = bright[:, left : left + CELL].nonzero().unbind(1)
            if len(x):
                extent = [x.min() + left, y.min(), x.max() + left + 1, y.max() + 1]
                boxes.append([float(side) for side in extent])
        boxes = torch.tensor(boxes[::-1]).reshape(-1, 4)
        corners = boxes[:, [0, 1, 2, 1, 0, 3]].reshape(-1, 3, 2)
        return Detections(boxes, torch.ones(len(boxes)), corners, keypoint_names=("a", "b", "c"))


class Colours(Embedder):
    """The mean colour."""

    name: ClassVar[str] = "colours"
    same_above: ClassVar[float] = 0.9

    def embed(self, images, detections):
        return [
            torch.stack([self._colour(image, box) for box in found.boxes.int().tolist()])
            if len(found)
            else torch.zeros(0, 3)
            for image, found in zip(images, detections, strict=True)
        ]

    @staticmethod
    def _colour(image, box):
        x0, y0, x1, y1 = box
        mean = image[:, y0:y1, x0:x1].float().mean((1, 2))
        return mean / mean.norm()


def paint(path, *colours, seed=0):
    """Paint a photo: a square of about each colour, from left to right, None for none."""
    shades = np.random.default_rng(seed)
    pixels = np.zeros((CELL, CELL * max(1, len(colours)), 3), np.uint8)
    for i, colour in enumerate(colours):
        if colour is not None:
            pixels[8:28, i * CELL + 10 : i * CELL + 30] = colour + shades.integers(-5, 5, 3)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


PILE = {
    "2001-01-01": (RED, GREEN),
    "2002-01-01": (GREEN, RED),
    "2003-01-01": (RED, None),
    "2004-01-01": (RED, BLUE),
    "2005-01-01": (BLUE, RED),
    "2006-01-01": (GREEN, RED),
}


@pytest.fixture
def recipe(discs_recipe, tmp_path):
    for seed, (name, colours) in enumerate(PILE.items()):
        paint(tmp_path / "photos" / f"{name}.png", *colours, seed=seed)

    def recipe(**options):
        selector = Identity(**{"facing_forward": False, **options})
        changes = {"detector": Squares(), "embedder": Colours(), "subject_selector": selector}
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


def test_the_subject_is_shown_by_photos_outside_the_pile(recipe, tmp_path):
    paint(tmp_path / "album" / "me.png", GREEN)
    record = run(recipe(person=["album/me.png"]))
    assert colours(record) == ALL_GREEN
    assert {photo.path for photo in record.photos} == {f"photos/{name}.png" for name in PILE}
    assert record.recipe["subject_selector"]["person"] == [{"photo": "album/me.png", "face": None}]


@pytest.mark.parametrize("face", [2, [60, 20]])
def test_the_subject_is_shown_by_a_face_of_a_photo_in_the_pile(recipe, face):
    assert colours(run(recipe(person={"photo": "2001-01-01", "face": face}))) == ALL_GREEN
    assert colours(run(recipe(like={"photo": "2001-01-01.png", "face": face}))) == ALL_GREEN


def test_who_the_subject_is_not_is_shown_too(recipe, tmp_path):
    assert set(colours(run(recipe())).values()) == {"red"}
    paint(tmp_path / "her.png", RED)
    assert set(colours(run(recipe(not_person="her.png"))).values()) == {"green"}


def test_a_reference_is_detected_once_and_kept(recipe, tmp_path, monkeypatch):
    paint(tmp_path / "me.png", GREEN)
    kept = {}

    def opened(*arguments, **options):
        store = open_store(*arguments, **options)
        monkeypatch.setattr(store, "keep", kept.update)
        return store

    monkeypatch.setattr("alignimation_core.pipeline.open_store", opened)
    run(recipe(person=["me.png"]))
    assert len(kept) == len(PILE) + 1


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
            ("person[0]: broken.png: this is no picture that Pillow knows; replace or remove it"),
        ),
        (
            {"person": "2001-01-02"},
            (
                "person[0]: there is no photo '2001-01-02'; did you mean photos/2001-01-01.png or "
                "photos/2006-01-01.png or photos/2005-01-01.png?; nor is {folder}/2001-01-02 a file"
            ),
        ),
    ],
)
def test_a_reference_that_shows_nobody_or_several_is_told(recipe, tmp_path, options, message):
    paint(tmp_path / "me.png", GREEN)
    paint(tmp_path / "empty.png")
    paint(tmp_path / "pair.png", GREEN, RED)
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


def test_a_number_of_nobody_is_told_in_one_line(recipe):
    with pytest.raises(StageError) as error:
        run(recipe(person=9))
    assert str(error.value) == (
        "subject_selector identity: ValueError: person: there is no 9; 3 were found: "
        "`alignimation people` shows them"
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


def test_sheets_of_earlier_times_are_replaced_and_removed(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    found = people.find(recipe(), Progress())
    people.write_sheets(found, tmp_path / "out")
    people.write_sheets(found[:1], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out" / "people").iterdir()] == ["1.jpg"]


def test_what_is_no_sheet_is_never_written_over(recipe, tmp_path):
    home = tmp_path / "out" / "people"
    home.mkdir(parents=True)
    paint(home / "1.png", RED)
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
