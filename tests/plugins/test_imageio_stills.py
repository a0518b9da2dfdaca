from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from pydantic import ValidationError

from alignimation_core import Canvas, Effect, Film, Frame, OutputError, Photo, Renderer
from alignimation_effects import CrossFade, Morph, Title
from alignimation_imageio import Average, BeforeAfter, ContactSheet, Frames

CANVAS = Canvas(120, 80)
STILLS = [
    ContactSheet(),
    ContactSheet(path="a.pdf"),
    BeforeAfter(),
    BeforeAfter(path="a.gif"),
    Average(path="a.jpg"),
    Average(path="b.png", by="year"),
]


def label(renderer: object) -> str:
    return str(getattr(renderer, "path", renderer))


def photo(index: int, taken_from: str = "exif", zone: str | None = None) -> Photo:
    taken = datetime(2018 + index // 4, 5, 1 + index % 28, 12, 34, 56)
    name = f"../photos/p{index}.jpg"
    return Photo(Path(f"/p{index}.jpg"), name, "0" * 64, 120, 80, taken, taken_from, "", zone)


def frame(index: int, shown: Photo | None = None, grey: int | None = None) -> Frame:
    """A frame of one grey: 20 times its index, unless told otherwise."""
    value = 20 * index if grey is None else grey
    image = torch.full((3, CANVAS.height, CANVAS.width), value, dtype=torch.uint8)
    return Frame(image, index, shown or photo(index))


def write(renderer: Renderer, folder: Path, frames: list[Frame]) -> Path:
    with renderer.open(CANVAS, len(frames), folder) as writer:
        for each in frames:
            writer.write(each)
    return folder / renderer.path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def panels(path: Path, columns: int, rows: int) -> list[int]:
    """Return the grey in the middle of each picture of a grid; the captions are below."""
    seen = pixels(path)
    height, width = seen.shape[0] / rows, seen.shape[1] / columns
    middles = [
        (int((r + 0.4) * height), int((c + 0.5) * width))
        for r in range(rows)
        for c in range(columns)
    ]
    return [int(seen[y, x, 0]) for y, x in middles]


def test_contact_sheet_shows_every_photo_in_order_and_ends_with_the_last_row(
    tmp_path: Path,
) -> None:
    path = write(ContactSheet(columns=4, width=300), tmp_path, [frame(i) for i in range(10)])
    assert panels(path, 4, 3) == [20 * i for i in range(10)] + [255, 255]
    assert 285 <= pixels(path).shape[1] <= 300


def test_contact_sheet_is_about_square_if_left_alone(tmp_path: Path) -> None:
    frames = [frame(i, grey=i) for i in range(48)]
    height, width, _ = pixels(write(ContactSheet(captions="none"), tmp_path, frames)).shape
    assert 0.7 < height / width < 1.4


def test_captions_are_drawn_where_there_is_something_to_say(tmp_path: Path) -> None:
    def ink(captions: str, taken_from: str = "exif") -> int:
        renderer = ContactSheet.model_validate({"captions": captions, "columns": 1})
        path = write(renderer, tmp_path, [frame(5, photo(5, taken_from), grey=255)])
        return int((pixels(path) < 100).sum())

    assert ink("none") == ink("date", "file") == 0
    assert ink("date") > 50
    assert ink("name", "file") > 50


def test_words_are_seen_on_any_background_and_never_wider_than_their_photo(
    tmp_path: Path,
) -> None:
    long = Photo(Path("/a"), "x" * 300 + ".jpg", "", 9, 9, datetime(2020, 1, 1), "exif")
    renderer = ContactSheet(captions="name", background="black", columns=1)
    seen = pixels(write(renderer, tmp_path, [frame(0, long)])).max(2) > 150
    columns = np.flatnonzero(seen.any(0))
    assert len(columns) > 40
    assert columns.min() >= 2
    assert columns.max() < seen.shape[1] - 2


def test_letters_beyond_ascii_are_letters_and_no_boxes(tmp_path: Path) -> None:
    def drawn(name: str) -> bytes:
        shown = replace(photo(0), name=name)
        return pixels(write(ContactSheet(captions="name"), tmp_path, [frame(0, shown)])).tobytes()

    names = [*(f"K{letter}.jpg" for letter in "äéłЖ"), "two\r\nlines.jpg"]
    assert len({drawn(name) for name in names}) == len(names)


def test_one_picture_a_photo_whatever_effects_add(tmp_path: Path) -> None:
    frames = [frame(0), frame(1, photo(0), 77), frame(2, photo(1), 90), frame(3, photo(0), 50)]
    assert panels(write(ContactSheet(columns=2), tmp_path, frames), 2, 1) == [0, 90]


@pytest.mark.parametrize("effects", [[Title(text="A")], [CrossFade()], [Title(text="A"), Morph()]])
def test_photos_alone_whatever_effects_show_between_them(
    tmp_path: Path, effects: list[Effect]
) -> None:
    grey = {0: 40, 1: 120, 2: 200}
    frames: Iterator[Frame] = iter(frame(i, grey=level) for i, level in grey.items())
    film = Film(CANVAS, 12.0, [photo(i) for i in grey])
    for effect in effects:
        frames = effect.apply(frames, film)
    given = list(frames)
    assert len(given) > len(grey)
    assert panels(write(ContactSheet(columns=3), tmp_path, given), 3, 1) == [40, 120, 200]
    assert panels(write(BeforeAfter(), tmp_path, given), 2, 1) == [40, 200]
    alone = tmp_path / "alone"
    alone.mkdir()
    plain = [frame(i, grey=level) for i, level in grey.items()]
    average = write(Average(), tmp_path, given)
    assert average.read_bytes() == write(Average(), alone, plain).read_bytes()


def test_pdf_has_pages_of_a4_as_many_as_needed(tmp_path: Path) -> None:
    frames = [frame(i, grey=i) for i in range(50)]
    path = write(ContactSheet(path="a.pdf", columns=4), tmp_path, frames)
    data = path.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.count(b"DCTDecode") == data.count(b"/Type /Page ") == 5  # three rows of four each
    boxes = {part.split(b"]")[0] for part in data.split(b"/MediaBox [0 0 ")[1:]}
    (box,) = [[float(side) for side in found.split()] for found in boxes]
    assert box == pytest.approx([595.276, 841.89], abs=2)
    start = int(data.split(b"startxref\n")[1].split()[0])
    places = [int(line[:10]) for line in data[start:].splitlines()[3:] if line.endswith(b" n ")]
    assert [data[place:].split(b" 0 obj")[0] for place in places] == [
        str(number).encode() for number in range(1, len(places) + 1)
    ]
    middles = []
    for part in data.split(b"stream\n\xff\xd8")[1:]:
        with Image.open(io.BytesIO(b"\xff\xd8" + part.split(b"\nendstream")[0])) as page:
            middles.append(page.getpixel((page.width // 8, page.height // 8))[0])
    assert middles == [0, 12, 24, 36, 48]
    assert b"Date" not in data


def test_before_after_shows_the_photo_that_is_called_so_before_those_that_end_so(tmp_path):
    names = ["../photos/p1.jpg", "p1.jpg", "old/p1.jpg"]
    frames = [frame(i, replace(photo(i), name=name)) for i, name in enumerate(names)]
    chosen = BeforeAfter(before="p1", after="p1.jpg")
    assert chosen.photos_named() == {"before": "p1", "after": "p1.jpg"}
    assert panels(write(chosen, tmp_path, frames), 2, 1) == [0, 20]


def test_before_after_is_the_first_and_the_last(tmp_path: Path) -> None:
    frames = [frame(i) for i in range(5)]
    assert panels(write(BeforeAfter(), tmp_path, frames), 2, 1) == [0, 80]
    chosen = BeforeAfter(before="photos/p3.jpg", after="p1.jpg", path="b.png")
    assert panels(write(chosen, tmp_path, frames), 2, 1) == [60, 20]
    assert panels(write(BeforeAfter(path="c.png"), tmp_path, frames[2:3]), 2, 1) == [40, 40]


def test_a_photo_that_no_frame_shows(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        write(BeforeAfter(after="p9.jpg"), tmp_path, [frame(0)])
    assert str(caught.value) == (
        f"{tmp_path}/before-after.png: no frame shows the photo 'p9.jpg'; "
        "name one that is not left out"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_gif_of_many_colours_keeps_its_background(tmp_path: Path) -> None:
    noise = torch.randint(
        256, (3, 120, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    renderer = BeforeAfter(path="a.gif", background="#fdf6e3")
    path = write(renderer, tmp_path, [Frame(noise, 0, photo(0)), frame(1)])
    assert list(pixels(path)[0, 0]) == [0xFD, 0xF6, 0xE3]


def test_the_gif_wipes_from_left_to_right_and_back(tmp_path: Path) -> None:
    frames = [frame(0, grey=40), frame(1, grey=200)]
    path = write(BeforeAfter(path="a.gif", captions="none"), tmp_path, frames)
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        shown, ends = [], [0]
        for index in range(image.n_frames):
            image.seek(index)
            seen = np.asarray(image.convert("RGB"))[60, 2:-2, 0].astype(int)
            shown.append(int((np.abs(seen - 200) < 6).sum()))
            assert (np.abs(seen - 40) < 6).sum() == 80 - shown[-1]
            if shown[-1]:  # the later photo comes from the left
                assert (np.abs(seen[: shown[-1]] - 200) < 6).all()
            ends.append(ends[-1] + image.info["duration"])
    assert (shown[0], max(shown)) == (0, 80)
    top = shown.index(80)
    assert shown[: top + 1] == sorted(shown[: top + 1])
    assert shown[top:] == sorted(shown[top:], reverse=True)
    stands = [ends[i + 1] - ends[i] for i, wide in enumerate(shown) if wide == 80]
    assert 1000 <= sum(stands) < 2000
    assert ends[-1] == 6000 - 40 * (shown[-1] == 0)


@pytest.mark.parametrize(
    ("greys", "mean"),
    # half of white's light is 188, not 128 (IEC 61966-2-1); a tenth of it is 89
    [([0, 255], 188), ([255] + 9 * [0], 89), ([7, 7, 7], 7), ([0], 0), ([255], 255)],
)
def test_average_is_the_mean_of_light(tmp_path: Path, greys: list[int], mean: int) -> None:
    frames = [frame(i, grey=grey) for i, grey in enumerate(greys)]
    seen = pixels(write(Average(), tmp_path, frames))
    assert seen.shape == (120, 80, 3)
    assert (seen == mean).all()


def test_average_by_year(tmp_path: Path) -> None:
    # 2018: 0, 255; 2019: 100; what has its file's time alone is in none
    frames = [
        frame(0, photo(0), 0),
        frame(1, photo(1), 255),
        frame(2, photo(2, "file"), 30),
        frame(3, photo(4), 100),
    ]
    assert panels(write(Average(by="year"), tmp_path, frames), 2, 1) == [188, 100]
    with pytest.raises(OutputError) as caught:
        write(Average(by="year", path="b.png"), tmp_path, frames[2:3])
    assert str(caught.value) == (
        f"{tmp_path}/b.png: no photo says in which year it was taken; leave out by: year"
    )


def test_transparent_frames_stand_on_the_background(tmp_path: Path) -> None:
    image = torch.zeros(4, 120, 80, dtype=torch.uint8)
    canvas = Canvas(120, 80, alpha=True)
    for renderer in (Average(background="#0000ff"), BeforeAfter(background="#0000ff")):
        with renderer.open(canvas, 1, tmp_path) as writer:
            writer.write(Frame(image, 0, photo(0)))
        assert list(pixels(tmp_path / renderer.path)[60, 40]) == [0, 0, 255]


@pytest.mark.parametrize("renderer", STILLS, ids=label)
def test_result_appears_only_when_closed_and_is_the_same_each_time(
    tmp_path: Path, renderer: Renderer
) -> None:
    frames = [frame(i) for i in range(9)]
    old = write(renderer, tmp_path, frames[:2]).read_bytes()
    writer = renderer.open(CANVAS, 9, tmp_path)
    for each in frames:
        writer.write(each)
        assert (tmp_path / renderer.path).read_bytes() == old
    writer.close()
    new = (tmp_path / renderer.path).read_bytes()
    assert new != old
    with pytest.raises(KeyboardInterrupt), renderer.open(CANVAS, 9, tmp_path) as writer:  # noqa: PT012
        writer.write(frames[0])
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == [renderer.path]
    assert (tmp_path / renderer.path).read_bytes() == new
    assert write(renderer, tmp_path, frames).read_bytes() == new


@pytest.mark.parametrize("renderer", STILLS, ids=label)
def test_no_frame_and_a_folder_in_the_way(tmp_path: Path, renderer: Renderer) -> None:
    with pytest.raises(OutputError) as caught:
        renderer.open(CANVAS, 3, tmp_path).close()
    assert str(caught.value) == f"{tmp_path / renderer.path}: no frame was written"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / renderer.path).mkdir()
    with pytest.raises(OutputError) as caught:
        renderer.open(CANVAS, 3, tmp_path)
    assert str(caught.value) == f"{tmp_path / renderer.path} is a folder; choose another path"


def test_a_sheet_too_large(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        ContactSheet(columns=1).open(CANVAS, 9000, tmp_path)
    assert str(caught.value) == (
        "a picture of 84x1224002 pixels is too large for most programs; "
        "set a smaller width, or other columns"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (
            ContactSheet,
            {"path": "a.gif"},
            "'a.gif' does not end in .png, .jpg, .jpeg or .pdf",
        ),
        (BeforeAfter, {"path": "a.pdf"}, "'a.pdf' does not end in .png, .jpg, .jpeg or .gif"),
        (Average, {"path": "average"}, "'average' does not end in .png, .jpg or .jpeg"),
        (Average, {"by": "month"}, "Input should be 'year'"),
        (ContactSheet, {"columns": 0}, "Input should be greater than or equal to 1"),
        (ContactSheet, {"captions": "age"}, "Input should be 'date', 'name' or 'none'"),
        (BeforeAfter, {"background": "x"}, "'x' is no opaque colour; write a name or #rrggbb"),
        (Frames, {"metadata": "place"}, "Input should be 'date' or 'name'"),
    ],
)
def test_wrong_options(kind: type[Renderer], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(options)
    (error,) = caught.value.errors()
    assert error["msg"].removeprefix("Value error, ") == message


@pytest.mark.parametrize("picture", ["png", "jpeg"])
def test_frames_tell_date_and_name_if_asked(tmp_path: Path, picture: str) -> None:
    odd = Photo(Path("/a"), "años/größe.jpg", "", 9, 9, datetime(2020, 1, 2, 3, 4, 5), "file")
    shown = [frame(0, photo(3, zone="+02:00")), frame(1, odd)]
    renderer = Frames.model_validate({"format": picture, "metadata": ["date", "name"]})
    first, second = sorted(write(renderer, tmp_path, shown).iterdir())
    with Image.open(first) as image:
        exif = image.getexif()
        inner = exif.get_ifd(ExifTags.IFD.Exif)
        assert inner[ExifTags.Base.DateTimeOriginal] == "2018:05:04 12:34:56"
        assert inner[ExifTags.Base.OffsetTimeOriginal] == "+02:00"
        assert exif[ExifTags.Base.ImageDescription] == "p3.jpg"  # its folder is nobody's business
    with Image.open(second) as image:
        exif = image.getexif()
        assert not exif.get_ifd(ExifTags.IFD.Exif)
        assert ExifTags.Base.DateTime not in exif
        said = exif[ExifTags.Base.ImageDescription]
        assert said in ("größe.jpg", "größe.jpg".encode().decode("latin-1"))
    dates = Frames.model_validate({"format": picture, "metadata": "date", "path": "dates"})
    (only,) = write(dates, tmp_path, shown[:1]).iterdir()
    with Image.open(only) as image:
        assert ExifTags.Base.ImageDescription not in image.getexif()


def test_a_name_that_is_no_utf_8_is_told_as_the_disk_has_it(tmp_path: Path) -> None:
    renderer = Frames.model_validate({"metadata": "name"})
    shown = replace(photo(0), name="photos/gr\udcf6\udcdfe.jpg")
    (only,) = write(renderer, tmp_path, [frame(0, shown)]).iterdir()
    with Image.open(only) as image:
        assert image.getexif()[ExifTags.Base.ImageDescription] == "größe.jpg"


def test_import_is_light() -> None:
    code = (
        "import alignimation_imageio as a, sys; a.Average(); a.BeforeAfter(); print(*sys.modules)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"torch", "numpy", "av", "imageio"} & set(loaded)
