"""What is known of a photo's file, and how it is read where a frame needs it."""

import hashlib
import os
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import Photo, PhotoError, SourcePhoto
from alignimation_core.api import geometry
from alignimation_core.photos import decoder, metadata, order
from alignimation_core.photos.dates import embedded


class Opener:
    """Opens one file."""

    def __init__(self, path):
        self.path = path

    def open(self, key):
        return self.path


def picture(path, height=24, width=32):
    """Save a smooth picture in which every place has its own colour."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb.astype(np.uint8)).save(path)
    return path


def test_the_facts_of_a_file(tmp_path):
    path = picture(tmp_path / "photos" / "2018-07-04.png")
    photo = metadata.facts(path, tmp_path)
    assert photo == Photo(
        path=path,
        name="photos/2018-07-04.png",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        height=24,
        width=32,
        taken=datetime(2018, 7, 4),
        taken_from="name",
    )
    assert photo.stamp == metadata.stamp(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_upright_photo(tmp_path, orientation):
    path = tmp_path / "a.png"
    image = Image.new("RGB", (32, 24))
    image.getexif()[0x0112] = orientation
    image.save(path, exif=image.getexif())
    photo = metadata.facts(path, tmp_path)
    assert (photo.height, photo.width) == ((32, 24) if orientation >= 5 else (24, 32))
    assert decoder.load(photo).shape == (3, photo.height, photo.width)


def test_what_a_source_says_counts_more_than_a_name_and_less_than_a_camera(tmp_path):
    path = picture(tmp_path / "2018-07-04.jpg")
    said = SourcePhoto(Opener(path), "a", str(path), datetime(2017, 5, 6, tzinfo=UTC), "sidecar")
    photo = metadata.facts(said, tmp_path)
    assert (photo.taken, photo.taken_from) == (datetime(2017, 5, 6), "sidecar")
    dates = Image.Exif()
    dates[0x8769] = {0x9003: "2016:01:02 03:04:05"}
    Image.new("L", (8, 8)).save(path, exif=dates)
    photo = metadata.facts(said, tmp_path)
    assert (photo.taken, photo.taken_from) == (datetime(2016, 1, 2, 3, 4, 5), "exif")


def test_a_folder_tells_when_where_nothing_else_does(tmp_path):
    photo = metadata.facts(picture(tmp_path / "2021-03-04 Birthday" / "IMG_1.jpg"), tmp_path)
    assert (photo.taken, photo.taken_from) == (datetime(2021, 3, 4), "folder")


def test_a_file_that_is_written_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = picture(tmp_path / "a.png")
    read = embedded.recorded

    def changing(image):
        with path.open("ab") as stream:
            stream.write(b"more")
        return read(image)

    monkeypatch.setattr(embedded, "recorded", changing)
    with pytest.raises(PhotoError) as caught:
        metadata.facts(path, tmp_path)
    assert str(caught.value) == f"{path}: the file changed while it was read; run again"


def at_address(memory, path, name="b 1.png"):
    from upath import UPath

    memory.pipe_file(f"/box/{name}", path.read_bytes())
    return UPath(f"memory://box/{name}")


def test_the_facts_of_a_file_at_an_address(tmp_path, memory):
    local = picture(tmp_path / "a.png")
    remote = at_address(memory, local)
    wrote = datetime(2021, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
    memory.store["/box/b 1.png"].modified = wrote
    photo = metadata.facts(remote, tmp_path)
    assert (photo.path, photo.name) == (remote, "memory://box/b 1.png")
    assert photo.sha256 == hashlib.sha256(local.read_bytes()).hexdigest()
    assert (photo.taken, photo.taken_zone, photo.taken_from, photo.stamp) == (
        datetime(2021, 3, 4, 5, 6, 7),
        "UTC",
        "file",
        "",
    )
    assert torch.equal(decoder.load(photo), decoder.load(local))
    memory.pipe_file("/box/b 1.png", local.read_bytes() + b"more")
    with pytest.raises(PhotoError, match="the file has changed since the run began; run again"):
        decoder.load(photo)


def test_files_at_an_address_come_by_their_time_too(tmp_path, memory):
    photos = []
    for name, wrote in (("2010.png", 2022), ("2012.png", 2021), ("2014.png", 2020)):
        remote = at_address(memory, picture(tmp_path / name), name)
        memory.store[f"/box/{name}"].modified = datetime(wrote, 1, 1, tzinfo=UTC)
        photos.append(metadata.facts(remote, tmp_path))
    assert [each.taken.year for each in photos] == [2010, 2012, 2014]
    assert order.order(photos, "modified") == photos[::-1]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (None, datetime(1970, 1, 1)),
        (FileNotFoundError(), "the file is gone"),
        (
            PermissionError("no"),
            "access is denied (no); check your credentials and what they allow",
        ),
    ],
)
def test_where_nobody_says_when_a_file_at_an_address_was_written(
    tmp_path, memory, monkeypatch, answer, outcome
):
    remote = at_address(memory, picture(tmp_path / "a.png"))

    def modified(path):
        assert path == remote.path
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(type(memory), "modified", lambda _, path: modified(path))
    if isinstance(outcome, str):
        with pytest.raises(PhotoError) as caught:
            metadata.facts(remote, tmp_path)
        assert str(caught.value) == f"{remote}: {outcome}"
    else:
        photo = metadata.facts(remote, tmp_path)
        assert (photo.taken, photo.taken_from) == (outcome, "file")


def test_a_stamp_changes_with_the_file(tmp_path, memory):
    path = picture(tmp_path / "a.png")
    first = metadata.stamp(path)
    assert metadata.stamp(path) == first
    os.utime(path, ns=(1, 1))
    second = metadata.stamp(path)
    data = path.read_bytes()
    path.write_bytes(data + b"more")
    os.utime(path, ns=(1, 1))
    assert len({first, second, metadata.stamp(path)}) == 3
    assert metadata.stamp(tmp_path / "none.png") is None
    remote = at_address(memory, path)
    before = metadata.stamp(remote)
    assert before is not None
    memory.pipe_file(remote.path, b"other")
    assert metadata.stamp(remote) not in (None, before)


def test_a_photo_that_was_only_touched_is_the_same_and_one_that_changed_is_refused(tmp_path):
    path = picture(tmp_path / "a.png")
    photo = metadata.facts(path, tmp_path)
    pixels = decoder.load(photo)
    os.utime(path, ns=(1, 1))
    assert torch.equal(decoder.load(photo), pixels)
    picture(path, 24, 33)
    with pytest.raises(PhotoError) as caught:
        decoder.load(photo)
    assert str(caught.value) == f"{path}: the file has changed since the run began; run again"
    assert decoder.load(path).shape == (3, 24, 33)


@pytest.mark.parametrize(
    ("scale", "enough", "shape"),
    [
        (1.0, 1.0, (480, 640)),
        (4.0, 1.0, (480, 640)),
        (0.25, 1.0, (120, 160)),
        (0.25, 1.9, (240, 320)),
    ],
)
def test_a_photo_is_decoded_no_larger_than_a_frame_needs_it(tmp_path, scale, enough, shape):
    path = picture(tmp_path / "a.jpg", 480, 640)
    frame_from_photo = geometry.translation(3, -4) @ geometry.scaling(scale, scale)
    seen, frame_from_picture = decoder.load_onto(
        metadata.facts(path, tmp_path), frame_from_photo, enough
    )
    assert seen.shape == (3, *shape)
    places = torch.tensor([[100.0, 60.0]], dtype=torch.float64)
    in_picture = places * shape[0] / 480
    torch.testing.assert_close(
        geometry.apply(frame_from_picture, in_picture), geometry.apply(frame_from_photo, places)
    )


def test_a_photo_is_decoded_for_as_many_pixels_as_the_frame_has_when_no_more_is_asked(tmp_path):
    photo = metadata.facts(picture(tmp_path / "a.jpg", 480, 640), tmp_path)
    seen, _ = decoder.load_onto(photo, geometry.scaling(0.25, 0.25))
    assert seen.shape == (3, 120, 160)


def test_grey_of_16_bits_is_rounded_to_the_nearest_of_8(tmp_path):
    values = np.array([0, 128, 129, 385, 386, 32767, 32768, 65406, 65407, 65535], np.uint16)
    path = tmp_path / "a.png"
    Image.fromarray(values[None].repeat(2, 0)).save(path)
    wanted = np.rint(values / 257).astype(int).tolist()
    assert decoder.load(path)[:, 1].tolist() == [wanted] * 3
