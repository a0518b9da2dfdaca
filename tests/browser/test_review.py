"""A review of the quickstart in a real browser: what is decided is in the files and in the film."""

import json
import time

import pytest
import yaml

pytestmark = pytest.mark.browser
SIZES = [(1280, 800), (390, 844)]


def corrections(review):
    path = review.folder / "corrections.yaml"
    if not path.exists():
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def said(review, name):
    """Return what is corrected of a photo."""
    return corrections(review).get(f"photos/{name}", {})


def choose(page, name):
    """Look at a photo, found by the keys alone."""
    page.locator("#list").focus()
    page.keyboard.press("Home")
    for _ in range(30):
        if page.locator("#name").text_content() == f"photos/{name}":
            return
        page.keyboard.press("ArrowRight")
    raise AssertionError(f"{name} is not in the list")


def place_of(page, point):
    """Return where on the screen a point of the photo is."""
    return page.evaluate(
        """([x, y]) => {
             const at = new DOMPoint(x, y).matrixTransform(
               document.querySelector('#stage svg').getScreenCTM());
             return [at.x, at.y];
           }""",
        point,
    )


def finish(page, until):
    """Wait for the run that is under way, and for its film."""
    page.wait_for_selector("dialog [role=status]")
    told = page.locator("dialog [role=status]")
    until(lambda: told.text_content() in ("Done", "It failed:"), 300)
    assert told.text_content() == "Done", page.locator("dialog pre").text_content()
    page.wait_for_selector("dialog video")


def test_a_reject_is_put_back_by_two_keys_and_one_undoes_that(own_quickstart, review, visit, until):
    opened = review(own_quickstart)
    page = visit(opened.address)
    assert page.locator("#counts").text_content().split() == "19 used 1 rejected 0 failed".split()
    page.keyboard.press("l")
    assert page.locator("[role=option]").count() == 1
    page.keyboard.press("y")
    until(lambda: said(opened, "IMG_4410.jpg").get("use") is True)
    assert "20 used" in page.locator("#counts").text_content()
    page.keyboard.press("u")
    until(lambda: "19 used" in page.locator("#counts").text_content())
    until(lambda: not (opened.folder / "corrections.yaml").exists())


def test_from_decisions_to_the_film(own_quickstart, review, visit, until):
    mine = "# mine\nDSC00017.jpg: {taken: 2016-01-01}  # a guess\n"
    (own_quickstart.parent / "corrections.yaml").write_text(mine)
    opened = review(own_quickstart)
    page = visit(opened.address)

    choose(page, "DSC01377.jpg")  # leave one out
    page.keyboard.press("x")
    until(lambda: said(opened, "DSC01377.jpg").get("use") is False)

    choose(page, "100_0764.jpg")  # click on a face
    hers = opened.photo("100_0764.jpg")["subject"]["box"]
    boxes = opened.photo("100_0764.jpg")["found"]
    other = max(range(2), key=lambda i: abs(boxes[i][0] - hers[0]))
    middle = [sum(boxes[other][i::2]) / 2 for i in range(2)]
    page.mouse.click(*place_of(page, middle))
    until(lambda: said(opened, "100_0764.jpg").get("face") == other + 1)
    page.keyboard.press(str(2 - other))
    until(lambda: said(opened, "100_0764.jpg").get("face") == 2 - other)

    choose(page, "IMG_2041.jpg")  # drag an eye, zoomed
    eye = opened.photo("IMG_2041.jpg")["subject"]["keypoints"]["left_eye"]
    page.keyboard.press("z")
    assert "full/" in page.locator("#stage image").get_attribute("href")
    x, y = place_of(page, eye)
    to = [eye[0] + 6, eye[1] - 3]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(*place_of(page, [eye[0] + 3, eye[1]]))
    page.mouse.move(*place_of(page, to))
    page.mouse.up()
    moved = until(lambda: said(opened, "IMG_2041.jpg").get("keypoints"))
    assert moved["left_eye"] == pytest.approx(to, abs=0.8)

    page.keyboard.press("t")  # a threshold, of which the count changes at once
    total = page.locator(".total")
    assert total.text_content() == "18 of 20 photos would be used"
    field = page.get_by_label("gates.max_yaw, as a number")
    field.fill("0")
    assert int(total.text_content().split()[0]) < 5
    field.fill("50")
    assert total.text_content() == "18 of 20 photos would be used"
    before = own_quickstart.read_text()
    gate = page.locator("fieldset", has_text="gates.max_yaw")
    gate.get_by_role("button", name="Write into the recipe").click()
    line = "subject_selector: {use: identity, gates: {max_yaw: 50}}     # the person"
    until(lambda: line in own_quickstart.read_text())
    assert own_quickstart.read_text() == before.replace(
        "subject_selector: identity     # the person", line
    )
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")

    film = opened.folder / "out" / "aging.mp4"
    was = film.stat().st_mtime_ns
    page.keyboard.press("m")  # render
    finish(page, until)
    until(lambda: page.evaluate("document.querySelector('dialog video').duration > 4"))
    assert film.stat().st_mtime_ns > was
    record = opened.record()
    assert record["summary"] == {"used": 18, "rejected": 2, "failed": 0}
    assert record["recipe"]["subject_selector"]["gates"]["max_yaw"] == 50
    changes = {
        photo["path"].removeprefix("photos/"): [each["what"] for each in photo["corrected"]]
        for photo in record["photos"]
        if photo["corrected"]
    }
    assert changes == {
        "DSC00017.jpg": ["taken"],
        "DSC01377.jpg": ["use"],
        "IMG_2041.jpg": ["keypoints"],
    }
    page.keyboard.press("Escape")
    assert "18 used" in page.locator("#counts").text_content()
    text = (opened.folder / "corrections.yaml").read_text(encoding="utf-8")
    assert text.startswith(mine)

    page.keyboard.press("v")  # a preview beside it
    finish(page, until)
    until(lambda: page.evaluate("document.querySelector('dialog video').videoHeight > 200"))
    assert opened.record("trial/run.json")["outputs"] == ["preview.mp4"]


def test_by_the_keyboard_alone_a_keypoint_a_date_the_reference_and_a_person(
    own_quickstart, review, visit, until
):
    opened = review(own_quickstart)
    page = visit(opened.address)
    choose(page, "DSC00988.jpg")
    at = opened.photo("DSC00988.jpg")["subject"]["keypoints"]
    page.keyboard.press("k")
    first = page.locator("#points button[aria-pressed=true]").text_content()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowUp")
    moved = until(lambda: said(opened, "DSC00988.jpg").get("keypoints"))
    until(lambda: said(opened, "DSC00988.jpg")["keypoints"][first][1] < at[first][1])
    moved = said(opened, "DSC00988.jpg")["keypoints"]
    assert moved[first][0] > at[first][0]
    page.keyboard.press("Escape")

    page.keyboard.press("d")
    page.keyboard.type("02032015")
    page.keyboard.press("Enter")
    until(lambda: str(said(opened, "DSC00988.jpg").get("taken", "")).startswith("2015-02-03"))

    page.keyboard.press("r")
    until(lambda: "\nreference: photos/DSC00988.jpg\n" in own_quickstart.read_text())

    page.keyboard.press("p")
    page.wait_for_selector(".person", timeout=60_000)
    piles = page.locator(".person h3").all_text_contents()
    assert piles == ["1: 19 photos, 2015 to 2019", "2: 5 photos, 2017 to 2019"]
    page.get_by_role("button", name="Person 2 is the subject").focus()
    page.keyboard.press("Enter")
    until(lambda: "{use: identity, person: 2}" in own_quickstart.read_text())
    page.keyboard.press("Escape")

    while page.locator("#undo").is_enabled():
        page.keyboard.press("u")
    until(lambda: corrections(opened) == {})
    assert "person:" not in own_quickstart.read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_and_is_accessible_at_any_size(
    quickstart, review, visit, axe, fits, width, height, scheme
):
    page = visit(review(quickstart / "recipe.yaml").address, width, height, scheme)
    faults = {"list": axe(page) + fits(page)}
    page.keyboard.press("Enter")
    page.keyboard.press("k")
    page.wait_for_load_state("networkidle")
    faults["one"] = axe(page) + fits(page)
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    for key, shown in (("t", "fieldset"), ("p", ".person"), ("?", "td"), ("d", "#taken")):
        page.keyboard.press(key)
        page.wait_for_selector(f"dialog {shown}", timeout=60_000)
        page.wait_for_load_state("networkidle")
        faults[key] = axe(page) + fits(page)
        page.keyboard.press("Escape")
    assert {key: found for key, found in faults.items() if found} == {}


def test_names_are_texts_and_what_vanished_or_is_broken_is_told(discs_run, review, visit, until):
    opened = review(discs_run)
    broken = "2020-01-01.png: {use: maybe}\n"
    (opened.folder / "corrections.yaml").write_text(broken)
    (opened.folder / "photos" / "2020-01-03.png").unlink()
    page = visit(opened.address, allowed=["409", "404"])
    fault = page.locator("#fault")
    assert "corrections.yaml:1: 2020-01-01.png: use: write true or false" in fault.text_content()
    name = "<script>alert(1)<!-- \"'&\\n\U0001f600.png"
    choose(page, name)
    assert page.locator("#name").text_content() == f"photos/{name}"
    assert page.evaluate("document.querySelectorAll('script').length") == 1
    page.keyboard.press("x")
    until(lambda: "write true or false" in fault.text_content())
    assert (opened.folder / "corrections.yaml").read_text() == broken
    choose(page, "2020-01-03.png")
    assert page.locator("#stage .none").text_content() == "This photo is gone since the run."
    assert "the file is gone" in page.locator("#facts").text_content()
    choose(page, "broken.png")
    assert "No picture" in page.locator("#stage .none").text_content()
    (opened.folder / "corrections.yaml").unlink()
    choose(page, name)
    page.keyboard.press("x")
    until(lambda: f"photos/{name}".replace("\\n", "\n") in corrections(opened))
    until(lambda: page.evaluate("document.getElementById('fault').hidden"))


def test_ctrl_c_during_a_render_leaves_nothing_half_written(slow_run, review, visit, left, until):
    recipe, events = slow_run
    opened = review(recipe, EVENTS=str(events), PAUSE="0.3")
    before = (opened.folder / "out" / "run.json").read_bytes()
    page = visit(opened.address, allowed=["ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE"])
    page.keyboard.press("m")
    until(lambda: len(events.read_text().splitlines()) > 2, 60)
    status, told = opened.interrupt()
    assert status == 130
    assert "interrupted; nothing half-written was left" in told
    assert left(opened.folder / "out") == set()
    count = len(events.read_text().splitlines())
    time.sleep(1)
    assert len(events.read_text().splitlines()) == count
    after = json.loads((opened.folder / "out" / "run.json").read_bytes())
    assert after["error"] == "interrupted"
    assert set(json.loads(before)["outputs"]) <= set(after["kept"])


def test_a_written_threshold_can_be_set_back_and_an_empty_field_is_none(
    discs_run, review, visit, until
):
    page = visit(review(discs_run).address)
    page.keyboard.press("t")
    field = page.get_by_label("gates.min_size, as a number")
    gate = page.locator("fieldset", has_text="gates.min_size")
    write = gate.get_by_role("button", name="Write into the recipe")
    total = page.locator(".total").text_content()
    assert (field.input_value(), write.is_disabled()) == ("4", True)
    field.fill("")
    assert (write.is_disabled(), page.locator(".total").text_content()) == (True, total)
    for limit in ("9", "4"):
        field.fill(limit)
        write.click()
        until(lambda limit=limit: f"min_size: {limit}" in discs_run.read_text())
        until(write.is_disabled)
    field.fill("9")
    write.click()
    until(lambda: "min_size: 9" in discs_run.read_text())
    for reopen in (lambda: page.keyboard.press("Escape"), page.reload):
        reopen()
        page.wait_for_load_state("networkidle")
        page.wait_for_selector("dialog", state="hidden")
        page.keyboard.press("t")
        assert (field.input_value(), write.is_disabled()) == ("9", True)


def test_a_run_under_way_is_followed_after_f5_whatever_is_asked_for(slow_run, review, visit, until):
    recipe, events = slow_run
    opened = review(recipe, EVENTS=str(events), PAUSE="0.5")
    page = visit(opened.address)
    page.keyboard.press("m")
    until(lambda: len(events.read_text().splitlines()) > 2, 60)
    page.reload()
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="hidden")
    page.keyboard.press("v")
    page.wait_for_selector("dialog progress")
    until(lambda: page.locator("#panel-title").text_content() == "Render")
    page.get_by_role("button", name="Stop").click()
    until(lambda: page.locator("dialog [role=status]").text_content().startswith("Stopped"))
    assert not (opened.folder / "out" / "trial").exists()
