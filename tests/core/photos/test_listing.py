"""Photos in order, from Python."""

import os
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignimation_core import PhotoError, load, order

WARPS = 3


@pytest.fixture
def folder(discs, tmp_path, monkeypatch):
    names = discs.series(tmp_path / "photos", discs.WARPS[:WARPS])
    for name, new in zip(
        names, ["2021-05-01.png", "2019-01-02.png", "2020-03-03.png"], strict=True
    ):
        (tmp_path / "photos" / name).rename(tmp_path / "photos" / new)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


WANTED = ["photos/2019-01-02.png", "photos/2020-03-03.png", "photos/2021-05-01.png"]


@pytest.mark.parametrize("how", ["folder", "glob", "names", "paths", "photos", "path"])
def test_photos_come_in_the_order_in_which_they_were_taken(folder, how):
    given = {
        "folder": "photos",
        "path": folder,
        "glob": "photos/*.png",
        "names": [f"photos/{path.name}" for path in folder.iterdir()],
        "paths": [*folder.iterdir()],
        "photos": order("photos")[::-1],
    }[how]
    found = order(given)
    assert [photo.name for photo in found] == WANTED
    assert [photo.taken_from for photo in found] == ["name"] * WARPS
    assert load(found[0]).shape == (3, 48, 64)


def test_other_orders(folder):
    given = ["photos/2021-05-01.png", "photos/2019-01-02.png"]
    assert [photo.name for photo in order(given, "given")] == given
    os.utime(folder / "2021-05-01.png", (1e9, 1e9))
    assert order("photos", by="modified")[0].name == "photos/2021-05-01.png"
    assert [photo.name for photo in order("photos", by="name")] == WANTED


def test_what_is_not_there_is_named(folder):
    with pytest.raises(PhotoError, match=f"^{re.escape(str(folder.parent))}/nowhere: "):
        order("nowhere")
    with pytest.raises(PhotoError, match=r"photos/none\.png: the file is gone$"):
        order([*folder.iterdir(), "photos/none.png"])
    (folder / "2018-01-01.png").write_text("no photo")
    with pytest.raises(PhotoError, match=r"2018-01-01\.png: this is a text file, no photo"):
        order("photos")


def test_a_photo_is_loaded_upright_in_bytes(tmp_path):
    picture = Image.new("RGB", (8, 4), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    loaded = load(Path(tmp_path, "a.jpg"))
    assert (loaded.shape, loaded.dtype) == ((3, 8, 4), torch.uint8)
    assert torch.equal(load(str(tmp_path / "a.jpg")), loaded)
