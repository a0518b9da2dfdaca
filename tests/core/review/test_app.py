"""The server of the review: who may ask, what is saved, and what becomes of what is broken."""

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

from alignimation_core import Recipe, run
from alignimation_core.cli import verbs

DAYS = [f"2020-01-0{day}.png" for day in (1, 3, 4)]


def corrections(recipe_file):
    path = recipe_file.with_name("corrections.yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


def test_every_photo_is_told_of_whatever_it_is_called(review, places, nasty):
    state = review.get("state").json()
    assert places.keys() == {*DAYS, nasty, "broken.png", "empty.png"}
    assert state["summary"] == {"used": 4, "rejected": 1, "failed": 1}
    photo = state["photos"][places[nasty]]
    assert photo["path"] == f"photos/{nasty}"
    assert "\n" not in photo["name"]
    assert len(photo["keypoints"]) == 3
    assert state["keypoints"] == ["blue", "green", "red"]
    assert all(photo["there"] for photo in state["photos"])
    assert state["fresh"] == 0


STRANGERS = (
    ("http://testserver/", {}),
    ("http://testserver/state", {}),
    ("http://testserver/secre/state", {}),
    ("http://testserver/secretly/state", {}),
    ("http://testserver/\u00fc/state", {}),
    ("state", {"origin": "http://elsewhere"}),
    ("state", {"origin": "null"}),
    ("state", {"host": "elsewhere"}),
    ("state", {"sec-fetch-site": "cross-site"}),
    ("state", {"sec-fetch-site": "same-site"}),
)


def test_without_the_token_or_from_another_origin_nothing_is_told(review):
    for path, headers in STRANGERS:
        answer = review.get(path, headers=headers)
        assert answer.status_code == 403, path
        assert answer.text == "forbidden: open the address that was printed"
        assert review.post(path, headers=headers, json=[]).status_code == 403


NOWHERE = (
    "static/..%2f..%2fapp.py",
    "static/%2e%2e/%2e%2e/app.py",
    "static/..%5c..%5capp.py",
    "static//etc/passwd",
    "output/render/..%2f..%2frecipe.yaml",
    "output/render/run.json",
    "output/render/%2fetc%2fpasswd",
    "output/preview/a b.gif",
    "small/99",
    "small/-1",
    "photo/0.5",
    "faces/99",
    "face/0/9",
    "nothing",
)


def test_a_path_that_climbs_out_or_leads_nowhere_is_404(review):
    assert [path for path in NOWHERE if review.get(path).status_code != 404] == []


def test_what_it_answers_may_load_nothing_from_elsewhere(review):
    for path in ("", "state", "static/main.js", "small/0", "nothing", "http://testserver/x"):
        headers = review.get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
    assert "text/javascript" in review.get("static/main.js").headers["content-type"]


def test_pictures_of_photos_are_shown_small_whole_and_face_by_face(review, places):
    place = places[DAYS[1]]
    for path, size in (
        (f"small/{place}", (64, 48)),
        (f"photo/{place}", (64, 48)),
        (f"full/{place}", (64, 48)),
        (f"face/{place}/1", (160, 160)),
    ):
        with Image.open(io.BytesIO(review.get(path).content)) as image:
            assert (image.format, image.size) == ("JPEG", size)
    assert review.get(f"photo/{places['broken.png']}").status_code == 404
    (face,) = review.get(f"faces/{place}").json()
    assert face["keypoints"].keys() == {"red", "green", "blue"}
    film = review.get("output/render/a%20b.gif")
    assert film.content.startswith(b"GIF8")
    assert review.get("films/render").json() == ["a b.gif"]
    assert review.get("films/preview").json() == []


def test_small_pictures_are_of_their_photos_whoever_runs_the_recipe_meanwhile(
    recipe_file, client_of, discs
):
    run(Recipe.load(recipe_file))
    shown, asked_late = (client_of(recipe_file) for _ in range(2))
    photos = shown.get("state").json()["photos"]
    used = [place for place, photo in enumerate(photos) if photo["status"] == "used"]
    before = [shown.get(f"small/{place}").content for place in used]
    assert len({*before}) == len(used)
    discs.paint(recipe_file.parent / "photos" / "2001-01-01.png", discs.WARPS[2])
    run(Recipe.load(recipe_file))
    assert [_like(asked_late.get(f"small/{place}").content, before) for place in used] == [
        *range(len(used))
    ]


def _like(picture, others):
    """Return which of some pictures one is most like."""
    image, *rest = (np.asarray(Image.open(io.BytesIO(each)), float) for each in (picture, *others))
    return int(np.argmin([np.abs(image - each).mean() for each in rest]))


def test_each_decision_is_saved_at_once_beside_what_was_written_by_hand(
    review, places, decide, recipe_file, nasty
):
    path = recipe_file.with_name("corrections.yaml")
    path.write_text(f"# hers\n{DAYS[0]}:  # the first\n  taken: 2019-01-01  # a guess\n")
    assert decide(places[DAYS[0]], use=False).json() == {"undo": 1}
    assert decide(places[DAYS[0]], keypoints={"red": [20.5, 19]}).json() == {"undo": 2}
    decide(places[nasty], face=1, taken="2020-01-02T10:00")
    text = path.read_text(encoding="utf-8")
    for comment in ("# hers\n", "  # the first\n", "taken: 2019-01-01  # a guess\n"):
        assert comment in text
    said = corrections(recipe_file)
    assert said[DAYS[0]] == {
        "taken": yaml.safe_load("2019-01-01"),
        "use": False,
        "keypoints": {"red": [20.5, 19]},
    }
    assert said[f"photos/{nasty}"]["face"] == 1
    told = review.get("corrections").json()["photos"]
    assert told[str(places[nasty])] == {"face": 1, "taken": "2020-01-02T10:00:00"}
    decide(places[DAYS[0]], use=None, keypoints=None)
    assert corrections(recipe_file)[DAYS[0]].keys() == {"taken"}
    record = run(Recipe.load(recipe_file))
    assert {change["what"] for change in record.by_name()[f"photos/{nasty}"].corrected} == {"taken"}


def test_undo_goes_back_step_by_step_to_the_very_bytes(review, places, decide, recipe_file):
    path = recipe_file.with_name("corrections.yaml")
    first, second = places[DAYS[0]], places[DAYS[1]]
    decide(first, use=False)
    before = path.read_bytes()
    both = [{"photo": place, "changes": {"use": True}} for place in (first, second)]
    assert review.post("decide", json=both).json() == {"undo": 2}
    review.post("set", json={"location": ["reference"], "value": second})
    recipe = recipe_file.read_text()
    assert recipe.endswith(f"reference: photos/{DAYS[1]}\n")
    undone = review.post("undo", json={}).json()
    assert undone["reference"] != f"photos/{DAYS[1]}"
    assert recipe_file.read_text() == recipe.removesuffix(f"reference: photos/{DAYS[1]}\n")
    assert review.post("undo", json={}).json()["photos"] == {str(first): {"use": False}}
    assert path.read_bytes() == before
    assert review.post("undo", json={}).json()["undo"] == 0
    assert not path.exists()
    answer = review.post("undo", json={})
    assert (answer.status_code, answer.json()) == (409, {"error": "there is nothing to take back"})


def test_undo_spares_what_somebody_wrote_meanwhile(review, places, decide, recipe_file):
    path = recipe_file.with_name("corrections.yaml")
    decide(places[DAYS[0]], use=False)
    path.write_text(path.read_text() + "# and this\n")
    answer = review.post("undo", json={})
    assert answer.status_code == 409
    assert answer.json()["error"] == f"{path} was changed since by hand; take it back there"
    assert path.read_text().endswith("# and this\n")


def test_a_threshold_and_a_person_go_into_the_recipe_with_its_comments(review, recipe_file):
    before = recipe_file.read_text()
    wanted = {"location": ["subject_selector", "gates", "min_size"], "value": 12.5}
    assert review.post("set", json=wanted).json() == {"undo": 1}
    line = "subject_selector: {use: first, gates: {min_size: 12.5}}  # whoever it is\n"
    assert recipe_file.read_text() == before.replace(
        "subject_selector: first  # whoever it is\n", line
    )
    for location, value, what in (
        (["subject_selector", "person"], 2, "unknown key; known here: gates"),
        (["subject_selector", "gates", "min_size"], "x", "min_size"),
        (["output"], "/", "nothing that this page writes"),
        ([], 1, "nothing that this page writes"),
    ):
        answer = review.post("set", json={"location": location, "value": value})
        assert answer.status_code == 409
        assert what in answer.json()["error"]
        assert ".part" not in answer.json()["error"]
    assert line in recipe_file.read_text()
    assert review.get("state").json()["gates"][0]["writable"] is False


NONSENSE = (
    (b"", "expected [{photo"),
    (b"{", "Expecting property name"),
    (b"[1]", "expected [{photo"),
    (b'[{"photo": true, "changes": {}}]', "expected [{photo"),
    (b'[{"photo": 99, "changes": {"use": true}}]', "there is no photo 99"),
    (b'[{"photo": -1, "changes": {"use": true}}]', "there is no photo -1"),
    (b'[{"photo": 0, "changes": {"sha256": "x"}}]', "'sha256' is nothing that can be"),
    (b'[{"photo": 0, "changes": {"use": 1}}]', "write true or false, not 1"),
    (b'[{"photo": 0, "changes": {"taken": "soon"}}]', "'soon' is no date"),
    (b" " * 1_000_001, "more than a page sends"),
    (b"[" * 100_000, "nested deeper than what a page sends"),
    (b'[{"photo": 0, "changes": {"face": [1e400, 2]}}]', "nor a point [x, y]"),
    (b'[{"photo": 0, "changes": {"face": 99}}]', "there is no face 99; 1 found in it"),
    (b'[{"photo": 0, "changes": {"keypoints": {"nose": [1, 2]}}}]', "no keypoint 'nose'; it gives"),
)


def test_what_no_page_sends_is_refused_and_nothing_saved(review, recipe_file):
    for body, what in NONSENSE:
        answer = review.post("decide", content=body)
        assert answer.status_code == 409
        assert what in answer.json()["error"]
    assert corrections(recipe_file) is None


def test_the_reference_is_one_of_the_photos(review, recipe_file):
    before = recipe_file.read_text()
    for value, what in (
        (999, "there is no photo 999"),
        (-1, "there is no photo -1"),
        (True, "expected the number of a photo"),
    ):
        answer = review.post("set", json={"location": ["reference"], "value": value})
        assert (answer.status_code, what in answer.json()["error"]) == (409, True)
    assert recipe_file.read_text() == before


def test_corrections_broken_by_hand_are_told_of_by_line_and_stay(
    review, places, decide, recipe_file
):
    path = recipe_file.with_name("corrections.yaml")
    path.write_text(f"{DAYS[0]}:\n  use: maybe\n")
    told = review.get("corrections").json()
    assert told["error"] == f"{path}:2: {DAYS[0]}: use: write true or false, not 'maybe'"
    assert review.get("state").status_code == review.get("").status_code == 200
    answer = decide(places[DAYS[1]], use=False)
    assert (answer.status_code, answer.json()["error"]) == (409, told["error"])
    assert path.read_text() == f"{DAYS[0]}:\n  use: maybe\n"


def test_photos_that_vanished_are_shown_as_such_and_new_ones_counted(
    review, places, recipe_file, client_of
):
    photos = recipe_file.parent / "photos"
    (photos / DAYS[0]).rename(photos / "new.png")
    client = client_of(recipe_file)
    state = client.get("state").json()
    assert state["fresh"] == 1
    assert [p["path"] for p in state["photos"] if not p["there"]] == [f"photos/{DAYS[0]}"]
    answer = client.get(f"photo/{places[DAYS[0]]}")
    assert (answer.status_code, answer.text) == (404, "it is gone since the run")
    assert client.get(f"small/{places[DAYS[0]]}").status_code == 200  # the report's


def test_a_record_of_an_older_version_opens(review, recipe_file, places, client_of):
    path = recipe_file.parent / "out" / "run.json"
    record = json.loads(path.read_text())
    known = ("path", "sha256", "width", "height", "taken", "status", "reason")
    record["photos"] = [{key: photo[key] for key in known} for photo in record["photos"]]
    old = {key: record[key] for key in ("alignimation", "recipe", "photos", "outputs")}
    path.write_text(json.dumps(old))
    client = client_of(recipe_file)
    state = client.get("state").json()
    assert [photo["found"] for photo in state["photos"]] == [[]] * 6
    assert client.get(f"small/{places[DAYS[0]]}").status_code == 200
    assert client.get(f"faces/{places[DAYS[0]]}").json()[0]["keypoints"]
    assert client.get("corrections").json()["error"] is None


def test_a_selector_that_tells_nobody_apart_says_so(review):
    answer = review.get("people")
    assert answer.status_code == 409
    assert (
        "'first' tells no individuals apart; set `subject_selector: identity`"
        in (answer.json()["error"])
    )


def test_outputs_at_an_address_are_shown_alike(recipe_file, memory, client_of):
    text = recipe_file.read_text() + "output: memory://bucket/out\n"
    recipe_file.write_text(text)
    record = run(Recipe.load(recipe_file))
    assert record.address == "memory://bucket/out"
    client = client_of(recipe_file)
    state = client.get("state").json()
    assert state["summary"]["used"] == 4
    assert state["films"] == ["a b.gif"]
    assert client.get("output/render/a%20b.gif").content.startswith(b"GIF8")
    place = next(i for i, photo in enumerate(state["photos"]) if photo["status"] == "used")
    assert client.post("decide", json=[{"photo": place, "changes": {"use": False}}]).json()["undo"]
    (recipe_file.parent / state["photos"][place]["path"]).unlink()
    with Image.open(io.BytesIO(client.get(f"small/{place}").content)) as image:
        assert image.size == (64, 48)  # the report's, at the address
    assert client.get(f"faces/{place}").json()[0]["keypoints"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no text")
def test_a_name_that_is_no_text_is_shown_and_what_cannot_be_written_says_so(
    recipe_file, client_of, capsys
):
    photos = os.fsencode(recipe_file.parent / "photos")
    os.rename(photos + b"/2020-01-03.png", photos + b"/bad\xff.png")  # noqa: PTH104
    run(Recipe.load(recipe_file))
    client = client_of(recipe_file)
    rows = client.get("state").json()["photos"]
    (place,) = (i for i, row in enumerate(rows) if row["name"] == "photos/bad\\udcff.png")
    assert client.get("corrections").json()["error"] is None
    assert client.get(f"small/{place}").status_code == 200
    name = "'photos/bad\\udcff.png'"
    why = f"the photo's name {name} is no UTF-8, and cannot be written; rename the photo"
    answer = client.post("decide", json=[{"photo": place, "changes": {"use": False}}])
    path = recipe_file.with_name("corrections.yaml")
    assert (answer.status_code, answer.json()["error"]) == (409, f"{path}: {why}")
    answer = client.post("set", json={"location": ["reference"], "value": place})
    assert (answer.status_code, answer.json()["error"]) == (409, why)
    assert verbs.main(["correct", str(recipe_file), "--use", os.fsdecode(b"bad\xff.png")]) == 2
    assert capsys.readouterr().err == f"alignimation correct: {path}: {why}\n"
    assert not path.exists()


def test_of_a_photo_that_is_gone_nothing_is_said_unless_it_has_another_name(
    review, places, decide, recipe_file
):
    photos, place = recipe_file.parent / "photos", places[DAYS[0]]
    decide(place, use=False)
    shutil.move(photos / DAYS[0], recipe_file.with_name("elsewhere"))
    assert not review.get("state").json()["photos"][place]["there"]
    answer = decide(place, face=1)
    what = f"photos/{DAYS[0]} is gone since the run; bring it back to correct it"
    assert (answer.status_code, answer.json()["error"]) == (409, what)
    assert decide(place, use=None).status_code == 200
    shutil.move(recipe_file.with_name("elsewhere"), photos / "renamed.png")
    review.post("reload", json={})
    assert review.get("state").json()["fresh"] == 1
    assert decide(place, use=False).status_code == 200
    assert run(Recipe.load(recipe_file)).by_name()["photos/renamed.png"].status == "rejected"


def test_another_run_and_another_file_of_corrections_are_seen(review, places, decide, recipe_file):
    assert review.get("state").json()["summary"]["used"] == 4
    recipe_file.write_text(recipe_file.read_text() + "corrections: other.yaml\n")
    decide(places[DAYS[0]], use=False)
    assert not recipe_file.with_name("corrections.yaml").exists()
    assert recipe_file.with_name("other.yaml").exists()
    run(Recipe.load(recipe_file))
    state = review.get("state").json()
    assert (state["summary"]["used"], state["corrections"]) == (3, "other.yaml")
    text = recipe_file.with_name("other.yaml").read_text()
    for path, wanted in (
        ("decide?run=1", [{"photo": 0, "changes": {"use": None}}]),
        ("set?run=1", {"location": ["reference"], "value": 0}),
    ):
        answer = review.post(path, json=wanted)
        what = "there was another run meanwhile; load the page again, then decide"
        assert (answer.status_code, answer.json()["error"]) == (409, what)
    assert recipe_file.with_name("other.yaml").read_text() == text
    shown = ["small/0", "photo/0", "full/0", "face/0/1", "faces/0", "corrections"]
    assert {review.get(f"{path}?run=1").status_code for path in shown} == {409}
    assert {review.get(f"{path}?run=2").status_code for path in shown} == {200}
    assert "another run" in review.get("people?run=1").json()["error"]
    review.post("reload", json={})  # of the same record, as after a run that two pages follow
    assert review.get("state").json()["run"] == 2
    assert review.post("decide?run=2", json=[]).status_code == 200


def test_a_recipe_broken_by_hand_is_told_of_by_line_and_hinders_no_undo(
    review, places, decide, recipe_file
):
    decide(places[DAYS[0]], use=False)
    good = recipe_file.read_text()
    recipe_file.write_text(good + "a: [\n")
    answer = review.post("set", json={"location": ["reference"], "value": 0})
    line = len(good.splitlines()) + 1
    assert answer.json()["error"].startswith(f"{recipe_file}:{line}: this is no valid YAML")
    assert review.post("reload", json={}).status_code == 409
    assert review.get("state").status_code == 200
    undone = review.post("undo", json={})
    assert (undone.status_code, undone.json()["photos"]) == (200, {})


def test_a_record_that_cannot_be_read_leaves_what_was_read_before(review, recipe_file):
    path = recipe_file.parent / "out" / "run.json"
    path.write_text('{"photos": [1, 2]}')
    assert review.get("state").json()["summary"]["used"] == 4
    answer = review.post("reload", json={})
    assert (answer.status_code, str(path) in answer.json()["error"]) == (409, True)
    assert len(review.get("state").json()["photos"]) == 6


def test_limits_are_those_of_the_next_run(review):
    asked = {"location": ["subject_selector", "gates", "max_yaw"], "value": 40}
    assert review.get("state").json()["limits"]["gates.max_yaw"] == 75
    review.post("set", json=asked)
    state = review.get("state").json()
    (gate,) = (each for each in state["gates"] if each["option"] == "gates.max_yaw")
    assert (gate["limit"], state["limits"]["gates.max_yaw"]) == (75, 40)
    assert review.post("undo", json={}).json()["limits"]["gates.max_yaw"] == 75


def test_a_photo_that_was_turned_has_the_keypoints_that_were_found_so(recipe_file, client_of):
    recipe_file.with_name("corrections.yaml").write_text(f"{DAYS[0]}: {{turn: 180}}\n")
    run(Recipe.load(recipe_file))
    client = client_of(recipe_file)
    paths = [photo["path"] for photo in client.get("state").json()["photos"]]
    (face,) = client.get(f"faces/{paths.index(f'photos/{DAYS[0]}')}").json()
    assert face["keypoints"].keys() == {"red", "green", "blue"}


def test_looking_makes_no_folder_and_is_no_post(review, places, recipe_file):
    shutil.rmtree(recipe_file.parent / "out")
    faces = review.get(f"faces/{places[DAYS[0]]}").json()
    assert [face["keypoints"] for face in faces] == [{}]
    assert not (recipe_file.parent / "out").exists()
    for path in ("state", "people", "job", "faces/0", "small/0"):
        assert review.post(path, json={}).status_code == 405
