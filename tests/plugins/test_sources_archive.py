"""ZIP and TAR archives: read in place, whatever their members are called or hold."""

import io
import os
import pickle
import tarfile
import threading
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
import torch
from PIL import Image

from alignimation_core import PhotoError, Recipe, RecipeError, preflight, run
from alignimation_core.photos import decoder, metadata, order
from alignimation_core.store import store
from alignimation_sources import Archive, _archive

SMALLEST = {"detector": "mtcnn"}


def picture(shade: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 10, 20)).save(stream, "PNG")
    return stream.getvalue()


FILES = {
    "trip/a.png": picture(1),
    "trip/20180704_101530.png": picture(2),
    "b.PNG": picture(3),
    "film.mov": b"film",
    "__MACOSX/trip/._a.png": b"fork",
    ".hidden/c.png": picture(4),
}
TIME = (2017, 5, 6, 7, 8, 10)


def pack(path: Path, files: dict[str, bytes] = FILES) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, TIME), content, zipfile.ZIP_DEFLATED)
        return path
    packed = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{packed}") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), int(datetime(*TIME).timestamp())
            archive.addfile(info, io.BytesIO(content))
    return path


def listed(folder: Path, photos: object):
    return preflight.find_photos(Recipe.of({**SMALLEST, "photos": photos}, folder=folder))


ENDINGS = ["zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_archive_is_read_in_place(tmp_path, ending):
    pack(tmp_path / f"x.{ending}")
    before = sorted(tmp_path.rglob("*"))
    listing = listed(tmp_path, f"x.{ending}")
    names = [order.relative_name(photo, tmp_path) for photo in listing.photos]
    head = f"x.{ending}"
    assert names == [f"{head}/b.PNG", f"{head}/trip/20180704_101530.png", f"{head}/trip/a.png"]
    assert listing.passed_over == [f"{tmp_path}/{head}/film.mov"]
    facts = [metadata.facts(photo, tmp_path) for photo in listing.photos]
    assert [each.taken_from for each in facts] == ["file", "name", "file"]
    assert facts[1].taken == datetime(2018, 7, 4, 10, 15, 30)
    times = [photo.modified.astimezone() for photo in listing.photos]
    assert times == [datetime(*TIME).astimezone()] * 3
    assert [int(decoder.load(photo)[0, 0, 0]) for photo in facts] == [3, 2, 1]
    assert [int(decoder.load(photo)[0, 0, 0]) for photo in reversed(facts)] == [1, 2, 3]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("ending", ENDINGS)
def test_photos_of_an_archive_travel_to_other_processes_and_are_read_by_threads(tmp_path, ending):
    many = {f"{i}.png": picture(i) for i in range(40)}
    listing = Archive(path=pack(tmp_path / f"x.{ending}", many)).find()
    photos = pickle.loads(pickle.dumps(listing.photos))
    assert photos == listing.photos
    shades: dict[str, int] = {}

    def read(some):
        shades.update((photo.name, int(decoder.load(photo)[0, 0, 0])) for photo in some)

    threads = [threading.Thread(target=read, args=(photos[i::4],)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shades == {f"{i}.png": i for i in range(40)}


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_names_that_lead_out_of_the_archive_write_nothing_and_are_tamed(tmp_path, ending):
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    names = ["../../evil.png", "/etc/evil.png", "..\\..\\evil2.png", "C:\\evil3.png", "a/./b.png"]
    pack(folder / f"x.{ending}", {name: picture(i) for i, name in enumerate(names)})
    photos = listed(folder, f"x.{ending}").photos
    found = [order.relative_name(photo, folder) for photo in photos]
    head = f"x.{ending}"
    assert found == [
        f"{head}/C:/evil3.png",
        f"{head}/a/b.png",
        f"{head}/etc/evil.png",
        f"{head}/evil.png",
        f"{head}/evil2.png",
    ]
    assert [int(decoder.load(photo)[0, 0, 0]) for photo in photos] == [3, 4, 1, 0, 2]
    assert {path.name for path in tmp_path.rglob("*")} == {"deep", "er", head}


def test_links_and_devices_in_a_tar_are_no_photos(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(9))
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in [("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE),
                           ("f.png", tarfile.FIFOTYPE), ("d.png", tarfile.CHRTYPE)]:  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
        info = tarfile.TarInfo("a.png")
        info.size = len(picture())
        archive.addfile(info, io.BytesIO(picture()))
    assert [photo.name for photo in listed(tmp_path, "x.tar").photos] == ["a.png"]


def test_a_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "SMALL", 1 << 20)
    zeros = bytes(8 << 20)
    pack(tmp_path / "x.zip", {"bomb.png": zeros, "a.png": picture(5)})
    photos = {photo.name: photo for photo in listed(tmp_path, "x.zip").photos}
    with pytest.raises(PhotoError) as error:
        metadata.facts(photos["bomb.png"], tmp_path)
    assert error.value.reason == "it unpacks to more than 200 times its size in the archive"
    assert str(error.value).startswith(f"{tmp_path}/x.zip/bomb.png: ")
    assert int(decoder.load(photos["a.png"])[0, 0, 0]) == 5
    pack(tmp_path / "x.tar.gz", {"a.png": picture(), "bomb.png": zeros})
    with pytest.raises(RecipeError, match=r"unpacks to more than 200 times its size; unpack it$"):
        listed(tmp_path, "x.tar.gz")
    monkeypatch.setattr(_archive, "LARGEST", 1 << 10)
    pack(tmp_path / "y.tar", {"large.png": bytes(2 << 10)})
    (large,) = listed(tmp_path, "y.tar").photos
    with pytest.raises(PhotoError, match="it is too large: 0 GB is the most; unpack it"):
        decoder.load(large)


def test_what_is_wrong_with_an_archive_is_told_in_one_line(tmp_path):
    whole = pack(tmp_path / "x.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:-30])
    (tmp_path / "text.tar").write_text("no archive")
    pack(tmp_path / "none.zip", {"a.txt": b""})
    given = [{"use": "archive", "path": path} for path in ("no.zip", ".")]
    with pytest.raises(RecipeError) as error:
        listed(tmp_path, ["cut.zip", "text.tar", "none.zip", *given])
    cut, text, none, gone, folder = str(error.value).splitlines()
    assert cut == (
        f"recipe: photos[0]: {tmp_path}/cut.zip is a damaged archive (File is not a zip file); "
        "fetch it again"
    )
    assert text.startswith(f"recipe: photos[1]: {tmp_path}/text.tar is a damaged archive (")
    assert none == f"recipe: photos[2]: {tmp_path}/none.zip holds no photos"
    assert gone == f"recipe: photos[3]: {tmp_path}/no.zip does not exist"
    assert folder == (
        f"recipe: photos[4]: {tmp_path} is a folder; give an archive, or write it as `photos`"
    )


def test_a_damaged_or_encrypted_member_costs_itself_alone(tmp_path):
    path = pack(tmp_path / "x.zip", {"a.png": picture(7), "b.png": os.urandom(999)})
    data = bytearray(path.read_bytes())
    data[data.index(b"b.png") + 50] ^= 255
    path.write_bytes(data)
    a, b = listed(tmp_path, "x.zip").photos
    assert int(decoder.load(a)[0, 0, 0]) == 7
    with pytest.raises(PhotoError, match="the archive is damaged here: "):
        decoder.load(b)
    data = bytearray(pack(tmp_path / "y.zip", {"a.png": picture()}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.zip").write_bytes(data)
    with pytest.raises(PhotoError, match="it is encrypted; unpack the archive with its password"):
        decoder.load(listed(tmp_path, "y.zip").photos[0])


def test_the_end_of_a_cut_tar_costs_what_is_there(tmp_path):
    whole = pack(tmp_path / "x.tar", {"a.png": picture(7), "b.png": os.urandom(5000)}).read_bytes()
    (tmp_path / "x.tar").write_bytes(whole[:4000])
    with pytest.raises(RecipeError, match="damaged archive"):
        listed(tmp_path, "x.tar")


def test_an_archive_and_its_unpacked_folder_share_what_is_stored(
    discs_recipe, discs, tmp_path, monkeypatch
):
    # as if an installed plugin brought the stages: of others, nothing is stored
    monkeypatch.setattr(store, "fingerprint", lambda kind, stage, *_: f"{kind} {stage!r}")
    looked, detect = [], discs.Blobs.detect
    monkeypatch.setattr(
        discs.Blobs, "detect", lambda self, images: looked.extend(images) or detect(self, images)
    )
    discs.series(tmp_path / "photos", discs.WARPS)
    files = {path.name: path.read_bytes() for path in (tmp_path / "photos").iterdir()}
    pack(tmp_path / "x.zip", files)
    whole = run(discs_recipe())
    assert len(looked) == len(files)
    again = run(discs_recipe(photos=["x.zip"]))
    assert len(looked) == len(files)
    assert again.summary == whole.summary
    assert {photo.sha256 for photo in again.photos} == {photo.sha256 for photo in whole.photos}
    assert [photo.path for photo in again.photos] == [
        f"x.zip/{Path(photo.path).name}" for photo in whole.photos
    ]
    matrices = [
        torch.tensor([photo.canvas_from_photo for photo in record.photos])
        for record in (whole, again)
    ]
    assert torch.equal(*matrices)


def test_the_facts_of_an_archives_photos_are_read_once(discs_recipe, discs, tmp_path, monkeypatch):
    discs.series(tmp_path / "photos", discs.WARPS)
    pack(tmp_path / "x.tar", {p.name: p.read_bytes() for p in (tmp_path / "photos").iterdir()})
    recipe = discs_recipe(photos=["x.tar"])
    run(recipe)
    reads, facts = [], metadata.facts
    monkeypatch.setattr(metadata, "facts", lambda *given: reads.append(given) or facts(*given))
    run(recipe)
    assert reads == []
