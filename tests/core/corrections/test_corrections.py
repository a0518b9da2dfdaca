"""Corrections in runs: the user has the last word, and the record tells what that changed."""

import json
import os
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
import yaml
from PIL import Image

from alignimation_core import Choice, Recipe, RecipeError, SubjectSelector, run
from alignimation_core.cli import main, verbs
from alignimation_core.recipe.options import RefineOptions

DAYS = [f"photos/2020-01-0{day}.png" for day in (1, 2, 3, 4)]


@pytest.fixture
def photos(tmp_path, discs):
    return discs.series(tmp_path / "photos", discs.WARPS)


@pytest.fixture
def correct(tmp_path):
    """Write the corrections, given as plain values."""

    def correct(**corrections):
        text = yaml.safe_dump(corrections, sort_keys=False)
        (tmp_path / "corrections.yaml").write_text(text)

    return correct


def told(record):
    """Return what became of each photo."""
    return {photo.path: (photo.status, photo.stage, photo.reason) for photo in record.photos}


def changed(record):
    return {photo.path: photo.corrected for photo in record.photos if photo.corrected}


class Nobody(SubjectSelector):
    """Rejects every photo but the first two, and says whom it would have taken."""

    name: ClassVar[str] = "nobody"

    def select(self, observations):
        answers = [
            Choice(0) if len(o.detections) else Choice(None, "nothing") for o in observations
        ]
        return [
            *answers[:2],
            *(replace(a, index=None, reason="aside: 0.5", candidate=a.index) for a in answers[2:]),
        ]


def pair(discs):
    """Return a detector that sees the subject, and somebody on its left in the second place."""

    class Pair(discs.Blobs):
        name: ClassVar[str] = "pair"

        def detect(self, images):
            both = []
            for found in super().detect(images):
                if not len(found):
                    both.append(found)
                    continue
                shift = torch.tensor([-10.0, 0.0])
                both.append(
                    replace(
                        found,
                        boxes=torch.cat([found.boxes, found.boxes + shift.repeat(2)]),
                        scores=torch.tensor([1.0, 0.5]),
                        keypoints=torch.cat([found.keypoints, found.keypoints + shift]),
                        keypoint_scores=None,
                    )
                )
            return both

    return Pair()


def test_a_photo_that_is_not_to_be_used_is_left_out_and_looked_at_all_the_same(
    discs_recipe, photos, correct
):
    correct(**{"2020-01-02": {"use": False}})
    record = run(discs_recipe())
    assert told(record)[DAYS[1]] == ("rejected", "corrections", "left out by corrections.yaml")
    assert record.summary == {"used": 3, "rejected": 1, "failed": 0}
    assert changed(record) == {DAYS[1]: [{"what": "use", "was": True, "is": False}]}


def test_a_photo_is_used_against_the_selector(discs_recipe, photos, correct):
    correct(**{"photos/2020-01-03.png": {"use": True}, "2020-01-01": {"use": True}})
    record = run(discs_recipe(subject_selector=Nobody()))
    assert [photo.status for photo in record.photos] == ["used"] * 3 + ["rejected"]
    assert changed(record) == {DAYS[2]: [{"what": "use", "was": "aside: 0.5", "is": True}]}


@pytest.mark.parametrize("face", [1, [20.0, 24.0]])
def test_another_face_is_the_subject_by_its_number_from_the_left_or_a_point(
    discs_recipe, discs, photos, correct, face
):
    plain = run(discs_recipe(detector=pair(discs)))
    correct(**{"2020-01-01": {"face": face}})
    record = run(discs_recipe(detector=pair(discs)))
    before, after = plain.photos[0].seen, record.photos[0].seen
    for name, (x, y) in before.keypoints.items():
        assert after.keypoints[name] == pytest.approx((x - 10, y))
    assert changed(record) == {DAYS[0]: [{"what": "face", "was": 2, "is": 1}]}


def test_the_values_of_gates_are_those_of_the_face_that_is_taken(
    discs, discs_recipe, photos, correct
):
    recipe = discs_recipe(detector=pair(discs))
    plain = [photo.gates for photo in run(recipe).photos]
    correct(**{DAYS[1]: {"face": 1}})
    other = [photo.gates for photo in run(recipe).photos]
    assert [other[i] for i in (0, 2, 3)] == [plain[i] for i in (0, 2, 3)]
    assert other[1]["size"] == plain[1]["size"]
    assert other[1]["exposure"] != plain[1]["exposure"]  # ten pixels to the left
    correct(**{DAYS[1]: {"face": 2}})
    assert [photo.gates for photo in run(recipe).photos] == plain


def test_a_face_is_taken_in_a_photo_that_the_selector_rejects(discs_recipe, photos, correct):
    correct(**{"2020-01-04": {"face": 1}})
    record = run(discs_recipe(subject_selector=Nobody()))
    assert record.photos[3].status == "used"
    assert [each["what"] for each in changed(record)[DAYS[3]]] == ["use", "face"]


def test_a_keypoint_is_where_the_user_puts_it_also_after_refining(discs_recipe, photos, correct):
    correct(**{"2020-01-02": {"keypoints": {"red": [30.5, 12.25]}}})
    record = run(discs_recipe(refine=RefineOptions(passes=1)))
    assert record.photos[1].seen.keypoints["red"] == (30.5, 12.25)
    ((change,),) = changed(record).values()
    assert change["what"] == "keypoints"
    assert change["is"] == {"red": (30.5, 12.25)}
    assert change["was"]["red"] == pytest.approx((25.6, 15.2), abs=0.5)


def test_a_subject_that_nobody_finds_is_given_by_its_keypoints(
    discs_recipe, discs, photos, correct
):
    Image.new("RGB", (64, 48)).save(discs_recipe().folder / "photos" / "2020-01-05.png")
    points = {"red": [23, 19], "green": [41, 19], "blue": [32, 33]}
    correct(**{"2020-01-05": {"use": True, "keypoints": points}})
    record = run(discs_recipe())
    assert record.photos[4].status == "used"
    assert record.photos[4].residual == pytest.approx(0, abs=0.5)


def test_a_corrected_date_moves_its_photo_and_the_record_tells_the_old_one(
    discs_recipe, photos, correct
):
    correct(**{"2020-01-01": {"taken": "2020-01-03 12:00"}})
    record = run(discs_recipe(reference="first"))
    assert [photo.path for photo in record.photos] == [DAYS[i] for i in (1, 2, 0, 3)]
    assert (record.photos[2].taken, record.photos[2].taken_from) == (
        "2020-01-03T12:00:00",
        "corrections",
    )
    was = "2020-01-01T00:00:00 (name)"
    assert changed(record) == {
        DAYS[0]: [{"what": "taken", "was": was, "is": "2020-01-03T12:00:00"}]
    }
    assert record.reference == DAYS[1]


def test_a_corrected_date_was_one_of_the_recipes_time_zone(discs_recipe, photos, correct, tmp_path):
    undated = (tmp_path / DAYS[0]).rename(tmp_path / "photos" / "undated.png")
    os.utime(undated, (1_577_836_800, 1_577_836_800))  # 2020-01-01 in UTC
    correct(undated={"taken": "2020-01-03 12:00"})
    record = run(discs_recipe(time_zone="Asia/Kolkata"))
    (change,) = changed(record)["photos/undated.png"]
    assert change["was"] == "2020-01-01T05:30:00 (file)"


def test_a_turn_says_how_the_detector_is_to_look_at_a_photo(discs_recipe, photos, correct):
    correct(**{"2020-01-01": {"turn": 90}})
    record = run(discs_recipe())
    assert [photo.turn for photo in record.photos] == [90, 0, 0, 0]
    assert changed(record) == {DAYS[0]: [{"what": "turn", "was": None, "is": 90}]}


def test_a_correction_survives_a_new_name(discs_recipe, photos, correct, tmp_path):
    plain = run(discs_recipe())
    sha256 = plain.photos[1].sha256
    (tmp_path / DAYS[1]).rename(tmp_path / "photos" / "renamed.png")
    correct(**{DAYS[1]: {"use": False, "sha256": sha256}})
    record = run(discs_recipe())
    assert told(record)["photos/renamed.png"][1] == "corrections"


def test_photos_of_without_are_not_read_and_in_the_record(discs_recipe, photos, tmp_path):
    (tmp_path / "photos" / "broken.png").write_bytes(b"nothing")
    record = run(discs_recipe(without=["broken", "*-0[34].png"]))
    assert record.summary == {"used": 2, "rejected": 3, "failed": 0}
    assert told(record)["photos/broken.png"] == (
        "rejected",
        "photos",
        "left out: by `without`, 'broken'",
    )


def test_the_record_on_disk_has_what_was_corrected(discs_recipe, photos, correct, tmp_path):
    correct(**{"2020-01-02": {"keypoints": {"red": [30.5, 12.25]}, "taken": "2020-01-02 01:00"}})
    run(discs_recipe())
    written = json.loads((tmp_path / "out" / "run.json").read_text())
    assert [each["what"] for each in written["photos"][1]["corrected"]] == ["taken", "keypoints"]
    assert written["photos"][0]["corrected"] == []


@pytest.mark.parametrize(
    ("corrections", "message"),
    [
        (
            {"2020-01-07": {"use": False}},
            (
                "1: 2020-01-07: there is no photo '2020-01-07'; did you mean "
                "photos/2020-01-04.png or photos/2020-01-03.png or photos/2020-01-02.png?"
            ),
        ),
        (
            {"2020-01-01": {"keypoints": {"red": [64.5, 3]}}},
            (
                "2: 2020-01-01: keypoints: red [64.5, 3] lies outside the photo of 64 x 48 pixels; "
                "correct it"
            ),
        ),
        (
            {"2020-01-01": {"face": [1, 1]}},
            "2: 2020-01-01: face: no face is at [1, 1]; found here: 1 at [32, 26]",
        ),
        (
            {"2020-01-01": {"face": 2}},
            "2: 2020-01-01: face: there is no face 2; found here: 1 at [32, 26]",
        ),
        (
            {"2020-01-01": {"use": False}, "photos/2020-01-01.png": {"use": True}},
            (
                "3: photos/2020-01-01.png: photos/2020-01-01.png is corrected under "
                "'2020-01-01', too; put both together"
            ),
        ),
        (
            {"2020-01-02": {"use": False, "sha256": "ab" * 32}},
            (
                "3: 2020-01-02: sha256: photos/2020-01-02.png has another content than this; "
                "correct or remove the hash"
            ),
        ),
        (
            {"2020-01-04": {"use": True}},
            "2: 2020-01-04: use: the recipe's `without` leaves it out; remove it there, or this",
        ),
        (
            {"2020-01-03": {"use": False}},
            (
                "2: 2020-01-03: use: the recipe's `reference` names it; name another there, or "
                "remove this"
            ),
        ),
    ],
)
def test_what_cannot_be_done_is_told_by_line_and_photo(
    discs_recipe, photos, correct, tmp_path, corrections, message
):
    correct(**corrections)
    recipe = discs_recipe(without=["2020-01-04"], reference="2020-01-03.png")
    with pytest.raises(RecipeError) as error:
        run(recipe)
    assert str(error.value) == f"{tmp_path / 'corrections.yaml'}:{message}"


@pytest.mark.parametrize("word", ["first", "mean", "medoid"])
def test_a_photo_that_is_called_like_a_reference_is_left_out(
    discs_recipe, discs, photos, correct, tmp_path, word
):
    first = tmp_path / "photos" / "2020-01-01.png"
    first.rename(first.with_name(f"{word}.png"))
    correct(**{word: {"use": False}})
    record = run(discs_recipe(reference=word))
    by_name = {each.path: each for each in record.photos}
    assert by_name[f"photos/{word}.png"].status == "rejected"


def test_who_is_to_be_used_must_be_said_where_there_are_two(
    discs_recipe, discs, photos, correct, tmp_path
):
    class Silent(Nobody):
        def select(self, observations):
            return [replace(choice, candidate=None) for choice in super().select(observations)]

    correct(**{"2020-01-03": {"use": True}})
    with pytest.raises(RecipeError) as error:
        run(discs_recipe(detector=pair(discs), subject_selector=Silent()))
    assert str(error.value) == (
        f"{tmp_path / 'corrections.yaml'}:2: 2020-01-03: use: say who: add `face: N`, "
        "found here: 1 at [19, 27], 2 at [29, 27]"
    )


def test_nothing_found_cannot_be_used_without_keypoints(discs_recipe, photos, correct, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "photos" / "2020-01-05.png")
    correct(**{"2020-01-05": {"use": True}})
    with pytest.raises(RecipeError) as error:
        run(discs_recipe())
    assert str(error.value) == (
        f"{tmp_path / 'corrections.yaml'}:2: 2020-01-05: use: nothing was found in it; add two "
        "`keypoints` or more, or `turn`"
    )


def test_a_glob_of_without_that_matches_nothing_is_told_by_its_line(
    tmp_path, discs_installed, discs, capsys
):
    discs.series(tmp_path / "photos", discs.WARPS)
    path = recipe_of(tmp_path)
    path.write_text(path.read_text() + "without:\n- 2020-01-01.png\n- '*.tif'\n")
    assert main([str(path), "--check"]) == 2
    assert capsys.readouterr().err == (
        f"alignimation-run: {path}:9: without[1]: no photo matches '*.tif'; photos are named as "
        "photos/2020-01-01.png\n"
    )


# the command


def recipe_of(folder):
    path = folder / "recipe.yaml"
    path.write_text(
        "photos: photos/\ndetector: blobs\nsubject_selector: first\ntarget_builder: points\n"
        "transform_model: closed-form\nrenderers: [array]\n"
    )
    return path


def test_the_command_notes_what_is_decided_and_the_next_run_does_it(
    tmp_path, discs_installed, discs, capsys
):
    discs.series(tmp_path / "photos", discs.WARPS)
    recipe, file = recipe_of(tmp_path), tmp_path / "corrections.yaml"
    file.write_text("# mine\n2020-01-02.png: {face: 1} # hers\n")
    arguments = ["correct", str(recipe), "--leave-out", "2020-01-01", "2020-01-02"]
    arguments += ["--taken", "2020-01-03", "2020-01-09", "--face", "2020-01-03", "32,24"]
    assert verbs.main([*arguments, "--use", "2020-01-04"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{file}: photos/2020-01-01.png: use: false",
        f"{file}: photos/2020-01-02.png: use: false",
        f"{file}: photos/2020-01-04.png: use: true",
        f"{file}: photos/2020-01-03.png: taken: 2020-01-09 00:00:00, face: (32.0, 24.0)",
    ]
    text = file.read_text()
    assert text.startswith("# mine\n2020-01-02.png: {face: 1, use: false} # hers\n")
    record = run(Recipe.load(recipe))
    assert [photo.path for photo in record.photos] == [DAYS[i] for i in (0, 1, 3, 2)]
    assert [photo.status for photo in record.photos] == ["rejected", "rejected", "used", "used"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments: say what, such as --leave-out PHOTO"),
        (
            ["--leave-out", "2020-01-11"],
            (
                "--leave-out 2020-01-11: there is no photo '2020-01-11'; did you mean "
                "photos/2020-01-01.png or photos/2020-01-04.png or photos/2020-01-03.png?"
            ),
        ),
        (
            ["--leave-out", "2020-01-01", "--use", "2020-01-01"],
            "--use 2020-01-01: something else is said of this photo, too; say one of them",
        ),
        (
            ["--taken", "2020-01-01", "May"],
            "--taken 2020-01-01: 'May' is no date; write 2008-04-01, or 2008-04-01 14:30",
        ),
        (
            ["--face", "2020-01-01", "left"],
            (
                "--face 2020-01-01: 'left' is neither a number, 1 for the leftmost face, nor a "
                "point [x, y] in it"
            ),
        ),
    ],
)
def test_the_command_refuses_what_it_cannot_note_and_writes_nothing(
    tmp_path, discs_installed, discs, capsys, arguments, message
):
    discs.series(tmp_path / "photos", discs.WARPS)
    assert verbs.main(["correct", str(recipe_of(tmp_path)), *arguments]) == 2
    assert capsys.readouterr().err == f"alignimation correct: {message}\n"
    assert not (tmp_path / "corrections.yaml").exists()
