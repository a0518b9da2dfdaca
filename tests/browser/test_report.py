"""The report, opened from the disk in a real browser."""

import pytest

pytestmark = pytest.mark.browser
SIZES = [(1280, 800), (390, 844)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_opens_from_the_disk_at_any_size_and_is_accessible(
    quickstart, visit, axe, fits, until, width, height, scheme
):
    page = visit((quickstart / "out" / "report.html").as_uri(), width, height, scheme)
    assert page.locator("h1").text_content() == "19 photos, 2016-03-12 to 2019-11-16"
    assert page.locator(".card").count() == 20
    assert fits(page) == []
    assert axe(page) == []
    until(lambda: page.evaluate("document.querySelector('video').duration > 4"))
    page.locator(".card img").nth(1).scroll_into_view_if_needed()
    width = "document.querySelectorAll('.card img')[1].naturalWidth"
    until(lambda: page.evaluate(width) > 100)
    assert page.locator(".card").first.locator("svg circle").count() == 5


def test_it_is_filtered_and_sorted_by_the_keyboard_alone(quickstart, visit):
    page = visit((quickstart / "out" / "report.html").as_uri())
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "filter":
            break
    page.keyboard.press("r")  # as in any list: the one that begins so
    assert page.locator("#count").text_content() == "1 of 20"
    assert "IMG_4410.jpg" in page.locator(".card").text_content()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "sort"


def test_no_name_of_a_photo_is_executed(discs_run, visit):
    page = visit((discs_run.parent / "out" / "report.html").as_uri())
    texts = page.locator(".card").all_text_contents()
    assert any("<script>alert(1)<!-- \"'&\\n\U0001f600.png" in text for text in texts)
    assert page.evaluate("document.querySelectorAll('script').length") == 2
