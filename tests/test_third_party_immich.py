"""The example plugin `alignimation-immich`, installed as by a user, on a server as Immich."""

import base64
import hashlib
import importlib
import json
import pickle
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from alignimation_core import PhotoError, Recipe, RecipeError, preflight, run
from alignimation_core.photos import decoder, metadata
from alignimation_core.plugin.registry import registry

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
KEY = "a-key-of-the-test"
PAGE = 2
"""Assets that the server gives at once, so that there are several pages."""


@pytest.fixture(scope="module")
def installed(pip_installed):
    """The folder of the plugin, installed."""
    return pip_installed("alignimation-immich")


@pytest.fixture
def plugin(installed, monkeypatch):
    with monkeypatch.context() as patch:
        patch.syspath_prepend(installed)
        patch.setenv("IMMICH_API_KEY", KEY)
        registry.cache_clear()
        yield importlib.import_module("alignimation_immich")
        del sys.modules["alignimation_immich"]
    registry.cache_clear()


class Immich(ThreadingHTTPServer):
    """A server that answers as Immich does, and takes note of what it was asked."""

    def __init__(self, pictures):
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked, self.pictures = [], pictures
        self.people = [{"id": f"p{i}", "name": name} for i, name in enumerate(["", "Ann", "Ben"])]
        self.assets = [
            {
                "id": f"id-{i}",
                "type": "IMAGE",
                "originalFileName": name,
                "checksum": base64.b64encode(hashlib.sha1(content).digest()).decode(),
                "localDateTime": f"2019-03-0{i + 1}T12:00:00.000Z",
                "fileCreatedAt": f"2019-03-0{i + 1}T23:00:00.000Z",
                "isFavorite": i % 2 == 0,
                "people": [{"id": "p1", "name": "Ann"}] if i else [{"id": "p2", "name": "Ben"}],
            }
            for i, (name, content) in enumerate(pictures.items())
        ]
        film = {"id": "film", "type": "VIDEO", "originalFileName": "f.mov", "checksum": ""}
        self.assets.append({**film, "isFavorite": True, "people": [{"id": "p1", "name": "Ann"}]})


class Answers(BaseHTTPRequestHandler):
    server: Immich

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = urlsplit(self.path)
        self.server.asked.append(path.path)
        query = parse_qs(path.query)
        parts = path.path.strip("/").split("/")
        if not self._allowed():
            return
        if path.path == "/api/people":
            page = int(query["page"][0])
            some = self.server.people[PAGE * (page - 1) : PAGE * page]
            more = len(self.server.people) > PAGE * page
            self._say({"people": some, "total": len(self.server.people), "hasNextPage": more})
        elif path.path == "/api/albums":
            shared = query.get("shared") == ["true"]
            self._say([{"id": f"a{int(shared)}", "albumName": ["Home", "Sea"][shared]}])
        elif parts[:2] == ["api", "albums"]:
            self._say({"id": parts[2], "assets": self.server.assets[:2]})
        elif parts[:2] == ["api", "assets"] and parts[3:] == ["original"]:
            names = {asset["id"]: asset["originalFileName"] for asset in self.server.assets}
            content = self.server.pictures.get(names.get(parts[2]))
            if content is None:
                self._say({"message": "Not found or no asset.download access"}, 400)
            else:
                self._send(content)
        elif path.path == "/api/moved":
            self.send_response(302)
            self.send_header("Location", "/api/albums")
            self.end_headers()
        else:
            self._say({"message": "Not Found"}, 404)

    def do_POST(self):
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, wanted))
        if not self._allowed():
            return
        found = [
            asset
            for asset in self.server.assets
            if {*wanted.get("personIds", ())} <= {each["id"] for each in asset["people"]}
            and wanted.get("isFavorite") in (None, asset["isFavorite"])
        ]
        page = wanted["page"]
        some = found[PAGE * (page - 1) : PAGE * page]
        following = str(page + 1) if len(found) > PAGE * page else None
        answer = {"total": len(some), "count": len(some), "items": some, "nextPage": following}
        self._say({"albums": {"items": []}, "assets": answer})

    def _allowed(self):
        if self.headers["x-api-key"] != KEY:
            self._say({"message": "Invalid API key"}, 401)
            return False
        return True

    def _say(self, answer, status=200):
        self._send(json.dumps(answer).encode(), status)

    def _send(self, content, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def server(discs, tmp_path):
    discs.series(tmp_path / "photos", discs.WARPS)
    pictures = {path.name: path.read_bytes() for path in sorted((tmp_path / "photos").iterdir())}
    server = Immich(pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def find(server, **options):
    photos = {"use": "immich", "url": server.url, **options}
    return preflight.find_photos(Recipe.of({"photos": photos, "detector": "mtcnn"}))


def ids(server, **options):
    return [photo.key for photo in find(server, **options).photos]


def test_conditions_choose_photos_on_every_page(plugin, server):
    every = [asset["id"] for asset in server.assets if asset["type"] == "IMAGE"]
    assert len(every) > PAGE
    assert ids(server) == every
    assert ids(server, person="Ann") == every[1:]
    assert ids(server, person=["Ann", "Ben"]) == every
    assert ids(server, favorites=True) == every[::2]
    assert ids(server, album="Home") == ids(server, album=["Sea", "Home"]) == every[:2]
    assert ids(server, album="Sea", person="Ann") == every[1:2]
    assert ids(server, favorites=True, person="Ann") == every[2::2]
    assert find(server).passed_over == [f"{server.url}/photos/film/f.mov"]


def test_what_the_server_knows_of_a_photo_comes_along(plugin, server, tmp_path):
    first, second, *_ = find(server, album="Home").photos
    assert (first.persons, second.persons) == (("Ben",), ("Ann",))
    assert first.albums == ("Home",)
    assert first.taken == datetime(2019, 3, 1, 12)
    assert first.version == server.assets[0]["checksum"]
    there = pickle.loads(pickle.dumps(second))
    assert decoder.load(there).shape == decoder.load(tmp_path / "photos" / second.name).shape


def test_a_run_on_the_server_is_the_same_as_on_its_files(plugin, server, discs_recipe):
    of_files = run(discs_recipe())
    source = plugin.Immich(url=server.url)
    of_server = run(discs_recipe(photos=[source]))
    assert of_server.summary == of_files.summary
    assert {photo.sha256: photo.canvas_from_photo for photo in of_server.photos} == {
        photo.sha256: photo.canvas_from_photo for photo in of_files.photos
    }
    assert of_server.photos[0].path.startswith(f"{server.url}/photos/id-")
    assert KEY not in (of_server.folder / "run.json").read_text()
    server.asked.clear()
    run(discs_recipe(photos=[source]))
    originals = [each for each in server.asked if "/original" in each]
    # once to detect (what these stages find is not stored), once for the frame, not for the facts
    assert len(originals) == 2 * len(server.pictures)


def test_the_key_is_from_the_environment_alone(plugin, server, monkeypatch):
    with pytest.raises(RecipeError, match="unknown key"):
        find(server, key=KEY)
    monkeypatch.setenv("IMMICH_API_KEY", "wrong")
    with pytest.raises(RecipeError, match=r"the key in IMMICH_API_KEY is not valid there$"):
        find(server)
    monkeypatch.delenv("IMMICH_API_KEY")
    with pytest.raises(RecipeError, match=rf"set IMMICH_API_KEY to an API key of {server.url} \("):
        find(server)


def test_no_redirect_takes_the_key_elsewhere(plugin, server):
    source = plugin.Immich(url=server.url)
    with pytest.raises(plugin.ImmichError, match="the server says 302"):
        source._ask("moved")
    assert server.asked == ["/api/moved"]


def test_what_is_wrong_is_told_in_one_line(plugin, server):
    with pytest.raises(RecipeError, match=r"knows no person 'Eve'; it knows: Ann, Ben$"):
        find(server, person="Eve")
    with pytest.raises(RecipeError, match=r"knows no album 'Eve'; it knows: Home, Sea$"):
        find(server, album="Eve")
    with pytest.raises(RecipeError, match=r"url: string should match pattern"):
        find(server, url="ftp://photos")
    with pytest.raises(RecipeError, match=r"http://127.0.0.1:9 cannot be reached \("):
        find(server, url="http://127.0.0.1:9")


def test_a_photo_that_the_server_does_not_give_fails_alone(plugin, server, tmp_path):
    photo = find(server).photos[0]
    del server.pictures[photo.name]
    with pytest.raises(PhotoError, match=r"immich cannot open it: .* the server says 400"):
        metadata.facts(photo, tmp_path)
