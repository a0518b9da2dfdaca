import io
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from alignimation_core import Recipe, preflight
from alignimation_core.progress import Bars, Lines, Progress


def test_lines_say_what_is_done_and_what_is_left() -> None:
    stream = io.StringIO()
    progress = Lines(stream, every=0.0)
    with progress.stage("detecting", 3) as step:
        for _ in range(3):
            step()
    progress.note("done")
    lines = stream.getvalue().splitlines()
    assert [line.rpartition(", about ")[0] for line in lines[:3]] == [
        "detecting: 1 of 3",
        "detecting: 2 of 3",
        "detecting: 3 of 3",
    ]
    assert lines[3].startswith("detecting: 3 of 3 in 0.")
    assert lines[4] == "done"


def test_lines_are_few_when_photos_are_many() -> None:
    stream = io.StringIO()
    with Lines(stream).stage("rendering", 1000) as step:
        for _ in range(1000):
            step()
    assert len(stream.getvalue().splitlines()) == 1


def test_lines_follow_a_download_of_known_and_unknown_size() -> None:
    stream = io.StringIO()
    with Lines(stream, every=0.0).download("weights.pt") as received:
        received(2_000_000, 10_000_000)
        received(3_000_000, None)
    assert stream.getvalue().splitlines() == [
        "fetching weights.pt",
        "fetching weights.pt: 2 of 10 MB",
        "fetching weights.pt: 3 MB",
    ]


def wait_for(stream: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("at_work", "whom"), [("", ""), ("mtcnn, facenet", " from mtcnn, facenet")]
)
@pytest.mark.parametrize("kind", [Lines, Bars])
def test_a_stage_of_which_nothing_is_heard_says_so_again_and_again(
    kind: type[Lines | Bars], at_work: str, whom: str
) -> None:
    stream = io.StringIO()
    with redirect_stderr(stream), kind(quiet=0.1).stage("detecting", 3, at_work) as step:
        step()
        wait_for(stream, f"detecting: 1 of 3, nothing new{whom} for 0 s")
        first = stream.getvalue()
        step()
        wait_for(stream, f"detecting: 2 of 3, nothing new{whom} for 0 s")
    assert "2 of 3, nothing" not in first


def test_a_stage_that_goes_on_is_not_called_silent() -> None:
    stream = io.StringIO()
    with Lines(stream, quiet=30.0).stage("detecting", 3) as step:
        step()
    assert len(stream.getvalue().splitlines()) == 1


def test_what_is_waited_for_is_said_until_it_is_over() -> None:
    stream = io.StringIO()
    with Lines(stream, every=0.05).waiting("uploading to s3://a"):
        wait_for(stream, "uploading to s3://a: 0 s so far\n")
    with redirect_stderr(io.StringIO()) as shown, Bars().waiting("looking at [1]\x1b/*.jpg"):
        pass
    assert "\x1b/*" not in shown.getvalue()


def test_the_search_for_photos_is_told(tmp_path: Path) -> None:
    class Heard(Progress):
        @contextmanager
        def waiting(self, what: str) -> Iterator[None]:
            told.append(what)
            yield
            told.append("over")

    told: list[str] = []
    (tmp_path / "a.jpg").touch()
    photos = ["*.jpg", {"use": "files", "path": "a.jpg"}]
    recipe = Recipe.of({"photos": photos, "detector": "mtcnn"}, folder=tmp_path)
    assert preflight.find_photos(recipe, Heard()).photos == [tmp_path / "a.jpg"]
    assert told == ["looking for photos at *.jpg", "over", "looking for photos at files", "over"]


def test_bars_count_to_the_end_on_stderr(capsys) -> None:  # type: ignore[no-untyped-def]
    bars = Bars()
    with bars.stage("aligning", 2) as step:
        step()
        step()
    with bars.download("weights.pt") as received:
        received(5, 5)
    bars.note("brackets [bold] stay")
    shown = capsys.readouterr()
    assert "aligning" in shown.err
    assert "2/2" in shown.err
    assert "weights.pt" in shown.err
    assert "brackets [bold] stay" in shown.err
    assert shown.out == ""


def test_the_plain_progress_is_silent(capsys) -> None:  # type: ignore[no-untyped-def]
    silent = Progress()
    with silent.stage("x", 1) as step, silent.download("y") as received, silent.waiting("z"):
        step()
        received(1, None)
    silent.note("nothing")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")
