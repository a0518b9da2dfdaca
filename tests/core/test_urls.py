"""Photos at addresses: found, dated and read as local ones are."""

import http.server
import json
import os
import pickle
import re
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alignimation_core import PhotoError, Recipe, RecipeError, preflight, run
from alignimation_core.api import urls
from alignimation_core.output.remote import output_folder
from alignimation_core.photos import decoder, metadata, order, search

SMALLEST = {"detector": "mtcnn"}


def picture(suffix=".jpg", colour="teal"):
    stream = BytesIO()
    Image.new("RGB", (32, 24), colour).save(stream, {".jpg": "JPEG", ".png": "PNG"}[suffix])
    return stream.getvalue()


def fill(fs, root, names):
    for name in names:
        fs.pipe_file(f"{root}/{name}", picture())


def found(pattern, output="out/"):
    files, _, why = search.find(pattern, Path("/nowhere"), output)
    assert why is None
    return [str(path) for path in files]


def why_none(pattern, output="out/"):
    files, _, why = search.find(pattern, Path("/nowhere"), output)
    assert files == []
    return why


NAMES = (
    *("img10.jpg", "img9.jpg", "2019/b 1#?.jpg", "2019/ü.JPG", "2020/[1].jpg", "notes.txt"),
    *(".hidden.jpg", ".thumbs/a.jpg", "2019/.b.jpg"),
)


@pytest.fixture(params=["memory", "s3"])
def place(request):
    """A folder of photos and other files at an address; its file system and its address."""
    if request.param == "memory":
        fs, root, address = request.getfixturevalue("memory"), "/box/photos", "memory://box/photos"
    else:
        root = f"{request.getfixturevalue('bucket')}/photos"
        fs, address = request.getfixturevalue("s3")(), f"s3://{root}"
    fill(fs, root, NAMES)
    fill(fs, root.replace("/photos", "/photos2"), ["other.jpg"])
    return fs, root, address


def test_a_folder_is_listed_with_its_sub_folders(place):
    _, _, address = place
    visible = ["2019/b 1#?.jpg", "2019/ü.JPG", "2020/[1].jpg", "img10.jpg", "img9.jpg"]
    assert found(address) == found(f"{address}/") == [f"{address}/{name}" for name in visible]


def test_globs_match_as_they_do_locally(place):
    _, _, address = place
    assert found(f"{address}/*.jpg") == [f"{address}/img10.jpg", f"{address}/img9.jpg"]
    assert found(f"{address}/20*/*") == [
        f"{address}/{name}" for name in ("2019/b 1#?.jpg", "2019/ü.JPG", "2020/[1].jpg")
    ]
    assert len(found(f"{address}/**/*.jpg")) == 4
    assert found(f"{address}/.thumbs/*.jpg") == [f"{address}/.thumbs/a.jpg"]
    assert found(f"{address}/2020/[1].jpg") == [f"{address}/2020/[1].jpg"]
    assert found(f"{address}/*/[[]1].jpg") == [f"{address}/2020/[1].jpg"]


def test_one_file_may_be_named(place):
    _, _, address = place
    assert found(f"{address}/img9.jpg") == [f"{address}/img9.jpg"]


def test_what_is_not_there_is_said(place):
    fs, root, address = place
    fs.pipe_file(f"{root}/sub/notes.txt", b"")
    assert why_none(f"{address}/nix") == f"{address}/nix does not exist"
    assert why_none(f"{address}/*.tif") == f"no file matches {address}/*.tif"
    assert why_none(f"{address}/sub").startswith(f"the folder {address}/sub holds no photos (.apng")


def test_nothing_in_the_output_folder_is_a_photo(place):
    _, _, address = place
    assert found(address, f"{address}/2019/") == [
        f"{address}/{name}" for name in ("2020/[1].jpg", "img10.jpg", "img9.jpg")
    ]
    assert why_none(f"{address}/2019", f"{address}/2019/") == (
        f"it lies inside the output folder {address}/2019/, where nothing is a photo"
    )
    assert len(found(address, f"{address}/201")) == 5
    root = address.removesuffix("/photos")
    assert why_none(address, root) == (
        f"it lies inside the output folder {root}, where nothing is a photo"
    )


def test_a_scheme_may_be_in_capitals(memory):
    fill(memory, "/box", ["a.jpg"])
    assert found("MEMORY://box/") == ["memory://box/a.jpg"]


def test_a_new_photo_is_found_by_the_next_run_of_the_same_process(place):
    fs, root, address = place
    before = found(address)
    type(fs)(skip_instance_cache=True).pipe_file(f"{root}/new.jpg", picture())
    assert found(address) == [*before, f"{address}/new.jpg"]


def test_facts_and_pixels_are_those_of_the_file(place):
    fs, root, address = place
    data = picture(".png", "coral")
    fs.pipe_file(f"{root}/20180704_101530.png", data)
    path = urls.at(f"{address}/20180704_101530.png")
    photo = metadata.facts(path, Path("/nowhere"))
    assert (photo.path, photo.name) == (path, f"{address}/20180704_101530.png")
    assert (photo.height, photo.width) == (24, 32)
    assert (photo.taken, photo.taken_from) == (datetime(2018, 7, 4, 10, 15, 30), "name")
    rgb = torch.tensor([255, 127, 80], dtype=torch.uint8)
    assert torch.equal(decoder.load(path), rgb[:, None, None].expand(3, 24, 32))


def test_without_any_date_the_time_of_the_remote_file_counts(place):
    _, _, address = place
    photo = metadata.facts(urls.at(f"{address}/img9.jpg"), Path("/nowhere"))
    age = datetime.now(UTC).replace(tzinfo=None) - photo.taken
    assert photo.taken_from == "file"
    assert -2 < age.total_seconds() < 60
    assert photo.taken.tzinfo is None


def test_what_is_wrong_with_a_photo_is_its_own_error(place):
    fs, root, address = place
    fs.pipe_file(f"{root}/empty.jpg", b"")
    fs.pipe_file(f"{root}/cut.jpg", picture()[:300])
    reasons = {}
    for name in ("empty.jpg", "cut.jpg", "gone.jpg"):
        with pytest.raises(PhotoError) as error:
            decoder.load(urls.at(f"{address}/{name}"))
        assert str(error.value) == f"{address}/{name}: {error.value.reason}"
        reasons[name] = error.value.reason
    assert reasons.pop("cut.jpg").startswith("the JPEG is damaged and cannot be decoded")
    assert reasons == {
        "empty.jpg": "the file is empty; replace or remove it",
        "gone.jpg": "the file is gone",
    }


def test_a_stamp_changes_with_the_file_and_only_then(place):
    fs, root, address = place
    (path,), *_ = search.find(f"{address}/img9.jpg", Path("/nowhere"), "out")
    asked = metadata.stamp(path)
    files, *_ = search.find(address, Path("/nowhere"), "out")
    assert metadata.stamp(files[-1]) == metadata.stamp(pickle.loads(pickle.dumps(path))) == asked
    fs.pipe_file(f"{root}/img9.jpg", picture(colour="navy"))
    (path,), *_ = search.find(f"{address}/img9.jpg", Path("/nowhere"), "out")
    assert metadata.stamp(path) not in (asked, None)
    assert metadata.stamp(urls.at(f"{address}/gone.jpg")) is None


def test_stamps_after_a_listing_ask_the_server_nothing(bucket, s3, monkeypatch):
    fs = s3()
    fill(fs, f"{bucket}/photos", ["a.jpg", "b.jpg"])
    files, *_ = search.find(f"s3://{bucket}/photos", Path("/nowhere"), "out")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    asked = []
    call = type(fs)._call_s3

    async def counted(self, method, *arguments, **options):
        asked.append(method)
        return await call(self, method, *arguments, **options)

    monkeypatch.setattr(type(fs), "_call_s3", counted)
    assert len({metadata.stamp(path) for path in files}) == 1  # one content, one ETag
    decoder.load(files[0])
    assert asked == ["get_object"]


def test_a_local_stamp_changes_with_the_file(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(picture())
    before = metadata.stamp(path)
    assert metadata.stamp(path) == before
    path.write_bytes(picture(colour="navy"))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    assert metadata.stamp(path) not in (before, None)
    assert metadata.stamp(tmp_path / "gone.jpg") is None


def test_remote_photos_are_read_in_other_processes(bucket, s3):
    fill(s3(), bucket, ["2018-07-04.jpg"])
    (path,), *_ = search.find(f"s3://{bucket}/", Path("/nowhere"), "out")
    expected = metadata.facts(path, Path("/nowhere"))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(metadata.facts, path, Path("/nowhere")).result() == expected


@contextmanager
def serving(answer):
    """Serve HTTP: ``answer(method, path)`` gives a status and a body; yield the URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do(self):
            status, body = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_):
            pass

    for method in ("GET", "HEAD", "PUT"):
        setattr(Handler, f"do_{method}", Handler.do)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def refused(*patterns, **changes):
    with pytest.raises(RecipeError) as error:
        preflight.find_photos(Recipe.of(SMALLEST | {"photos": list(patterns)} | changes))
    return str(error.value).splitlines()


def test_denied_access_is_said_at_the_line_of_the_recipe_and_of_the_photo(s3):
    advice = "check your credentials and what they allow"
    with serving(lambda *_: (403, DENIED)) as url:
        s3(url)
        assert refused("s3://bucket/photos/", "s3://bucket/*/*.jpg") == [
            f"recipe: photos[0]: s3://bucket/photos/: access is denied (Forbidden); {advice}",
            f"recipe: photos[1]: s3://bucket/*/*.jpg: access is denied (Forbidden); {advice}",
        ]
        with pytest.raises(PhotoError) as error:
            decoder.load(urls.at("s3://bucket/photos/a.jpg"))
    assert error.value.reason == f"access is denied (Forbidden); {advice}"


def test_a_server_that_is_not_there_is_said(s3, monkeypatch):
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with serving(lambda *_: (200, b"")) as url:
        pass
    s3(url)
    (line,) = refused("s3://bucket/photos/")
    assert line == (
        "recipe: photos[0]: s3://bucket/photos/: access failed (EndpointConnectionError: "
        f'Could not connect to the endpoint URL: "{url}/bucket/photos"); check the network and '
        "your credentials, and try again"
    )


def test_missing_credentials_are_said(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3("http://127.0.0.1:1")
    (line,) = refused("s3://bucket/photos/")
    assert line == (
        "recipe: photos[0]: s3://bucket/photos/: access failed (NoCredentialsError: Unable "
        "to locate credentials); check the network and your credentials, and try again"
    )


def test_a_bucket_that_does_not_exist_is_said(s3):
    s3()
    assert refused("s3://no-such-bucket/photos/", "s3://no-such-bucket/*.jpg") == [
        f"recipe: photos[{i}]: there is no bucket no-such-bucket; make it, or correct the address"
        for i in (0, 1)
    ]


def test_a_server_that_is_busy_for_a_moment_is_asked_again(s3):
    data, asked = picture(), []

    def answer(method, path):
        asked.append((method, path))
        busy = len(asked) in (1, 2, 4)
        return (503, b"<Error><Code>SlowDown</Code></Error>") if busy else (200, data)

    with serving(answer) as url:
        s3(url)
        assert decoder.load(urls.at("s3://bucket/a.jpg")).shape == (3, 24, 32)
    assert asked[-1] == ("GET", "/bucket/a.jpg")
    assert len(asked) == 5


@pytest.mark.parametrize("spelling", ["file://{}", "local://{}", "FILE://{}"])
def test_a_file_address_is_another_spelling_of_a_path(tmp_path, spelling):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(picture())
    recipe = Recipe.of(
        SMALLEST
        | {
            "photos": spelling.format(tmp_path / "photos"),
            "output": spelling.format(tmp_path / "out"),
        },
        folder=tmp_path,
    )
    assert preflight.find_photos(recipe).photos == [tmp_path / "photos" / "a.jpg"]
    assert (recipe.output, output_folder(recipe).folder) == (tmp_path / "out", tmp_path / "out")
    assert output_folder(recipe).address is None
    assert urls.plain("file:///C:/photos") == "C:/photos"


def test_local_and_remote_photos_mix_each_once(memory, tmp_path):
    fill(memory, "/box", ["a.jpg", "b.jpg"])
    (tmp_path / "c.jpg").write_bytes(picture())
    recipe = Recipe.of(
        SMALLEST | {"photos": ["memory://box/", "c.jpg", "memory://box/b.jpg"]}, folder=tmp_path
    )
    files = preflight.find_photos(recipe).photos
    assert [order.relative_name(path, tmp_path) for path in files] == [
        "memory://box/a.jpg",
        "memory://box/b.jpg",
        "c.jpg",
    ]
    assert recipe.dump()["photos"] == ["memory://box/", "c.jpg", "memory://box/b.jpg"]


def test_photos_may_be_given_as_a_upath(memory, discs_recipe):
    from upath import UPath

    fill(memory, "/box", ["a.jpg"])
    recipe = discs_recipe(photos=UPath("memory://box"), output=UPath("memory://box/out"))
    assert (recipe.photos, recipe.output) == (("memory://box",), "memory://box/out")


def test_a_remote_photo_can_be_the_reference(memory):
    fill(memory, "/box", ["a.jpg"])
    for name in ("a.jpg", "memory://box/a.jpg"):
        preflight.find_photos(Recipe.of(SMALLEST | {"photos": "memory://box", "reference": name}))
    assert refused("memory://box", reference="b.jpg") == [
        (
            "recipe: reference: there is no photo 'b.jpg'; did you mean memory://box/a.jpg? "
            "(`reference` may also be medoid, mean or first)"
        )
    ]


def test_remote_photos_give_the_frames_of_local_ones(bucket, s3, tmp_path, discs, discs_recipe):
    names = discs.series(tmp_path / "photos", discs.WARPS)
    for name in names:
        s3().put_file(str(tmp_path / "photos" / name), f"{bucket}/photos/{name}")
    local = run(discs_recipe(output="local"))
    remote = run(discs_recipe(output="remote", photos=[f"s3://{bucket}/photos/"]))
    frames = [next((tmp_path / name).glob("*.npy")) for name in ("local", "remote")]
    assert np.array_equal(*map(np.load, frames))
    assert [photo.path for photo in remote.photos] == [f"s3://{bucket}/photos/{n}" for n in names]
    assert [p.sha256 for p in remote.photos] == [p.sha256 for p in local.photos]


def written(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        Recipe.load(path)
    return str(error.value).replace(f"{tmp_path}/", "").splitlines()


def test_a_missing_package_is_told_at_its_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    text = "photos:\n  - a/\n  - gs://bucket/a/\ndetector: mtcnn\noutput: gs://bucket/out/\n"
    what = "gs:// needs one more package: pip install gcsfs ("
    lines = written(tmp_path, text)
    assert [line.partition("ModuleNotFoundError")[0] for line in lines] == [
        f"recipe.yaml:3: photos[1]: {what}",
        f"recipe.yaml:5: output: {what}",
    ]
    monkeypatch.setitem(sys.modules, "upath", None)
    what = "addresses need one more package: pip install 'alignimation[remote]'"
    assert written(tmp_path, text) == [
        f"recipe.yaml:3: photos[1]: {what}",
        f"recipe.yaml:5: output: {what}",
    ]


SECRET = "a recipe must hold no password; put it into fsspec's configuration (~/.config/fsspec/)"
KNOWN = "known are s3://, s3a://, gs://, gcs://, az://, abfs://, sftp://, ssh://"
NO_CHAIN = "addresses are not chained by `::`; give the one of the photos"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("sx3://bucket/a", f"sx3:// is not read; did you mean s3://? {KNOWN}"),
        ("qqq://bucket/a", f"qqq:// is not read; {KNOWN}"),
        ("HTTP://169.254.169.254/latest/", f"http:// is not read; {KNOWN}"),
        ("https://localhost/a.jpg", f"https:// is not read; {KNOWN}"),
        ("reference://a.json", f"reference:// is not read; {KNOWN}"),
        ("dir://a", f"dir:// is not read; {KNOWN}"),
        ("zip://a.jpg::ftp://me:1234@host/a.zip", f"zip:// is not read; {KNOWN}"),
        ("s3://bucket/a::http://localhost/", NO_CHAIN),
        ("sftp://me:1234@host/a/", SECRET),
        ("s3://AKIA:1234@bucket/a/", SECRET),
    ],
)
def test_an_address_that_cannot_be_is_told(tmp_path, address, message):
    text = f"photos: {address}\ndetector: mtcnn\noutput: {address}\n"
    assert written(tmp_path, text) == [
        f"recipe.yaml:1: photos[0]: {message}",
        f"recipe.yaml:3: output: {message}",
    ]


def test_every_scheme_of_fsspec_is_read_or_refused_by_name():
    from fsspec.registry import known_implementations

    assert [each for each in urls.SCHEMES if each not in known_implementations] == []
    others = {*known_implementations} - {*urls.SCHEMES, "file", "local"}
    refused = [scheme for scheme in others if urls.is_address(f"{scheme}://a")]
    assert len(refused) > 20
    for scheme in refused:
        with pytest.raises(urls.AddressError, match=f"^{re.escape(scheme)}:// is not read; "):
            urls.at(f"{scheme}://a")


@pytest.fixture
def vault(memory, monkeypatch):
    """A scheme whose file system takes its options from what follows the question mark."""
    from fsspec.registry import _registry, known_implementations

    class Vault(type(memory)):
        protocol = "vault"

        @staticmethod
        def _get_kwargs_from_urls(path):
            return dict(part.split("=") for part in path.partition("?")[2].split("&") if part)

    monkeypatch.setattr(urls, "SCHEMES", ("vault",))
    monkeypatch.setitem(known_implementations, "vault", {})
    monkeypatch.setitem(_registry, "vault", Vault)


@pytest.mark.filterwarnings("ignore:UPath 'vault' filesystem not explicitly implemented")
@pytest.mark.parametrize("option", ["password", "secret", "token"])
def test_a_password_among_the_options_of_a_file_system_is_refused(tmp_path, vault, option):
    address = f"vault://box/a?user=me&{option}=1234"
    text = f"photos: {address}\ndetector: mtcnn\noutput: {address}\n"
    assert written(tmp_path, text) == [
        f"recipe.yaml:1: photos[0]: {SECRET}",
        f"recipe.yaml:3: output: {SECRET}",
    ]
    assert urls.at("vault://box/a?user=me").storage_options == {"user": "me"}


def test_a_colon_and_an_at_in_a_path_are_no_password():
    assert str(urls.at("s3://bucket/me:you@home")) == "s3://bucket/me:you@home"


def test_what_is_no_address_is_a_path():
    assert [
        text
        for text in ("s3://a", "C:/a", "C://a", "a:b", "a/b://c", "://a", "photos/", "http://h/a")
        if urls.is_address(text)
    ] == ["s3://a", "http://h/a"]


def test_a_local_recipe_imports_nothing_of_it(tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture())
    code = (
        "import json, sys\n"
        "from alignimation_core import Recipe, preflight\n"
        "from alignimation_core.photos import metadata\n"
        f"recipe = Recipe.of({SMALLEST | {'photos': 'a.jpg'}!r}, folder={str(tmp_path)!r})\n"
        "preflight.check_outputs(recipe)\n"
        "(path,) = preflight.find_photos(recipe).photos\n"
        "metadata.facts(path, recipe.folder), metadata.stamp(path)\n"
        "print(json.dumps([m for m in ('upath', 'fsspec', 's3fs') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == []


def test_times_without_a_zone_are_never_mixed_up(memory):
    memory.pipe_file("/box/a.jpg", picture())
    memory.store["/box/a.jpg"].modified = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    photo = metadata.facts(urls.at("memory://box/a.jpg"), Path("/nowhere"))
    assert (photo.taken, photo.taken_zone) == (datetime(2020, 1, 2, 3, 4, 5), "UTC")
