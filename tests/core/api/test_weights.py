"""Weights: found, fetched, taken up again, verified, loaded; every error says what to do."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import pickle
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn

from alignimation_core.api.errors import WeightsError
from alignimation_core.api.weights import Weights, _download, cache_folder, fetch, find, load

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes: five pieces
PIECE = 1 << 16


@dataclass
class Server:
    """A web server on this machine, with the faults that a test gives it."""

    port: int
    content: bytes = CONTENT
    knows_ranges: bool = True
    states_length: bool = True
    status: int | None = None
    redirect: str | None = None
    range_offset: int = 0
    breaks_after: list[int] = field(default_factory=list)
    """Bytes of the body after which each answer breaks off; whole answers once it is empty."""
    asked: list[str | None] = field(default_factory=list)
    """The Range of every request."""
    go: threading.Event = field(default_factory=threading.Event)
    """Cleared: answers wait."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/net.pt"


class Handler(BaseHTTPRequestHandler):
    def __init__(self, *args: object, served: dict[str, Server]) -> None:
        self.faults = served["server"]
        super().__init__(*args)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        server = self.faults
        asked = self.headers["Range"]
        server.asked.append(asked)
        server.go.wait(20)
        if server.redirect is not None and self.path == "/net.pt":
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if server.status is not None:
            self.send_error(server.status)
            return
        start, body = 0, server.content
        if asked is not None and server.knows_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(server.content):
                self.send_error(416)
                return
            body = server.content[start:]
            self.send_response(206)
            first = start + server.range_offset
            total = len(server.content)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if server.states_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.breaks_after.pop(0)] if server.breaks_after else body)


@pytest.fixture
def server() -> Iterator[Server]:
    served: dict[str, Server] = {}
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, served=served))
    http.daemon_threads = False  # server_close then waits for the answers under way
    served["server"] = Server(port=http.server_port)
    served["server"].go.set()
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served["server"]
    served["server"].go.set()
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; returns the place of ``net.pt`` in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "torch" / "hub" / "checkpoints" / "net.pt"


def weights_at(
    url: str, content: bytes = CONTENT, *, digits: int = 64, sized: bool = True
) -> Weights:
    digest = hashlib.sha256(content).hexdigest()[:digits]
    return Weights("net.pt", url, digest, len(content) if sized else None, "MIT")


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def part_of(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def fetch_error(weights: Weights) -> str:
    with pytest.raises(WeightsError) as raised:
        fetch(weights)
    return str(raised.value)


def advice(url: str, reason: str, path: Path) -> str:
    return (
        f"net.pt cannot be fetched from {url}: {reason}; try again later, or save the file as "
        f"{path}, or name a copy in the recipe, in the stage's option for weights"
    )


# Where files are


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"TORCH_HOME": "~/weights"},
        {"TORCH_HOME": "/data/torch", "XDG_CACHE_HOME": "/cache"},
        {"XDG_CACHE_HOME": "/cache"},
        {"XDG_CACHE_HOME": "~/cache"},
    ],
)
def test_cache_folder_is_torch_hubs(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TORCH_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == Path(torch.hub.get_dir()) / "checkpoints"


def test_find_looks_where_torchvision_and_facenet_pytorch_keep_theirs(
    cache: Path, tmp_path: Path
) -> None:
    weights = weights_at("https://example.org/net.pt")
    assert find(weights) is None
    older = put(tmp_path / "torch" / "checkpoints" / "net.pt", b"")
    assert find(weights) == older
    put(cache, b"")
    assert find(weights) == cache


def test_find_of_a_local_file_looks_nowhere_else(cache: Path, tmp_path: Path) -> None:
    weights = weights_at("https://example.org/net.pt")
    put(cache, b"")
    assert find(weights, tmp_path / "mine.pt") is None
    assert find(weights, tmp_path) is None
    mine = put(tmp_path / "mine.pt", b"")
    assert find(weights, mine) == mine


def test_an_unfinished_download_is_not_found(cache: Path) -> None:
    put(part_of(cache), CONTENT)
    assert find(weights_at("https://example.org/net.pt")) is None


# Fetching


@pytest.mark.parametrize("digits", [8, 64])
def test_fetch_downloads_reports_and_verifies(server: Server, cache: Path, digits: int) -> None:
    calls: list[tuple[int, int | None]] = []
    weights = weights_at(server.url, digits=digits)
    assert fetch(weights, progress=lambda *call: calls.append(call)) == cache
    assert cache.read_bytes() == CONTENT
    assert not part_of(cache).exists()
    total = len(CONTENT)
    assert calls == [(n, total) for n in (0, PIECE, 2 * PIECE, 3 * PIECE, 4 * PIECE, total)]


def test_what_is_reported_is_on_disk_so_that_a_crash_loses_nothing(
    server: Server, cache: Path
) -> None:
    sizes: list[tuple[int, int]] = []
    fetch(
        weights_at(server.url),
        progress=lambda have, _: sizes.append((have, part_of(cache).stat().st_size)),
    )
    assert len(sizes) == 6
    assert all(reported == written for reported, written in sizes)


def test_fetch_uses_what_is_there_and_asks_nobody(server: Server, cache: Path) -> None:
    put(cache, CONTENT)
    assert fetch(weights_at(server.url)) == cache
    assert server.asked == []


def test_total_is_unknown_when_nobody_states_it(server: Server) -> None:
    server.states_length = False
    totals: set[int | None] = set()
    fetch(weights_at(server.url, sized=False), progress=lambda _, total: totals.add(total))
    assert totals == {None}


def test_declared_size_stands_in_for_a_length_the_server_does_not_state(server: Server) -> None:
    server.states_length = False
    totals: set[int | None] = set()
    fetch(weights_at(server.url), progress=lambda _, total: totals.add(total))
    assert totals == {len(CONTENT)}


def test_a_broken_connection_is_taken_up_where_it_broke(server: Server, cache: Path) -> None:
    server.breaks_after = [100_000, 50_000]
    fetch(weights_at(server.url))
    assert cache.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_broken_connection_without_stated_length_is_noticed_by_the_size(
    server: Server, cache: Path
) -> None:
    server.states_length = False
    server.breaks_after = [100_000]
    fetch(weights_at(server.url))
    assert cache.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-"]


def test_a_connection_that_brings_nothing_more_is_given_up(server: Server, cache: Path) -> None:
    server.breaks_after = [100_000, 0, 0]
    reason = f"the connection broke after 100000 of {len(CONTENT)} bytes"
    assert fetch_error(weights_at(server.url)) == advice(server.url, reason, cache)
    assert server.asked == [None, "bytes=100000-"]
    assert part_of(cache).read_bytes() == CONTENT[:100_000]


def test_ctrl_c_leaves_what_came_and_the_next_fetch_asks_for_the_rest(
    server: Server, cache: Path
) -> None:
    def interrupt(have: int, _: int | None) -> None:
        if have == 2 * PIECE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(weights_at(server.url), progress=interrupt)
    assert part_of(cache).read_bytes() == CONTENT[: 2 * PIECE]
    assert not cache.exists()

    calls: list[tuple[int, int | None]] = []
    fetch(weights_at(server.url), progress=lambda *call: calls.append(call))
    assert cache.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={2 * PIECE}-"]
    assert calls[0] == (2 * PIECE, len(CONTENT))


def test_a_server_without_ranges_starts_over(server: Server, cache: Path) -> None:
    server.knows_ranges = False
    put(part_of(cache), CONTENT[:1000])
    calls: list[tuple[int, int | None]] = []
    fetch(weights_at(server.url), progress=lambda *call: calls.append(call))
    assert cache.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]
    assert calls[0] == (0, len(CONTENT))


def test_a_stale_part_is_fetched_once_more_from_the_beginning(server: Server, cache: Path) -> None:
    put(part_of(cache), b"x" * 1000)
    fetch(weights_at(server.url))
    assert cache.read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_whole_part_needs_no_more_bytes(server: Server, cache: Path) -> None:
    put(part_of(cache), CONTENT)
    fetch(weights_at(server.url))
    assert cache.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_file_is_fetched_from_the_beginning(
    server: Server, cache: Path
) -> None:
    put(part_of(cache), CONTENT + b"x")
    fetch(weights_at(server.url))
    assert cache.read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) + 1}-", None]


def test_another_range_than_asked_for_is_refused(server: Server, cache: Path) -> None:
    server.range_offset = 5
    put(part_of(cache), CONTENT[:1000])
    reason = "the server sent another range than was asked for"
    assert fetch_error(weights_at(server.url)) == advice(server.url, reason, cache)
    assert fetch(weights_at(server.url)).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_wrong_content_never_gets_the_name(server: Server, cache: Path) -> None:
    server.content = b"y" * len(CONTENT)
    found = hashlib.sha256(server.content).hexdigest()
    weights = weights_at(server.url)
    reason = (
        f"what came has SHA-256 {found}, expected {weights.sha256}: the file there has changed, or "
        "something on the way alters it"
    )
    assert fetch_error(weights) == advice(server.url, reason, cache)
    assert server.asked == [None]
    assert not cache.exists()
    assert not part_of(cache).exists()


def test_a_login_page_does_not_cost_what_came_before(server: Server, cache: Path) -> None:
    server.content, server.knows_ranges = b"<html>Welcome to our network</html>", False
    put(part_of(cache), CONTENT[:1000])
    reason = f"the server offers 35 bytes where {len(CONTENT)} are expected"
    assert fetch_error(weights_at(server.url)) == advice(server.url, reason, cache)
    assert part_of(cache).read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, "404 Not Found"), (403, "403 Forbidden"), (500, "500 Internal Server Error")],
)
def test_a_refusal_is_one_line(server: Server, cache: Path, status: int, text: str) -> None:
    server.status = status
    reason = f"the server answered {text}"
    assert fetch_error(weights_at(server.url)) == advice(server.url, reason, cache)


def test_nobody_listening_is_one_line(cache: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/net.pt"
        message = fetch_error(weights_at(url))
    assert message == advice(url, "Connection refused", cache)


def test_offline_is_one_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_name_server(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_name_server)
    url = "https://example.org/net.pt"
    reason = "its name cannot be looked up: is this machine online?"
    assert fetch_error(weights_at(url)) == advice(url, reason, cache)


def test_silence_is_one_line(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_download, "TIMEOUT", 0.2)
    server.go.clear()
    reason = "no answer for 0.2 seconds"
    begun = time.monotonic()
    assert fetch_error(weights_at(server.url)) == advice(server.url, reason, cache)
    assert time.monotonic() - begun < 20  # and not the 30 that it waits usually


def test_redirects_on_this_machine_are_followed_with_the_range(server: Server, cache: Path) -> None:
    server.redirect = f"http://localhost:{server.port}/elsewhere.pt"
    put(part_of(cache), CONTENT[:1000])
    assert fetch(weights_at(server.url)).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", "bytes=1000-"]


@pytest.mark.parametrize("target", ["http://example.org/net.pt", "ftp://example.org/net.pt"])
def test_redirects_to_an_open_connection_are_refused(
    server: Server, cache: Path, target: str
) -> None:
    server.redirect = target
    message = fetch_error(weights_at(server.url))
    assert message == advice(server.url, f"it redirects to {target}, which is not https", cache)


def test_a_redirect_without_end_is_one_line(server: Server) -> None:
    server.redirect = server.url
    message = fetch_error(weights_at(server.url))
    assert "\n" not in message
    assert ": the server answered 302 The HTTP server returned a redirect error" in message


def test_two_processes_fetch_once(server: Server, cache: Path) -> None:
    script = (
        "import sys; from alignimation_core.api.weights import Weights, fetch; "
        f"print(fetch({weights_at(server.url)!r})); "
        "assert 'torch' not in sys.modules"
    )
    server.go.clear()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    while not server.asked:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    time.sleep(0.3)  # time for the other to ask too, were there no lock
    server.go.set()
    answers = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert answers == [f"{cache}\n"] * 2
    assert server.asked == [None]
    assert cache.read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = put(tmp_path / "file", b"")
    monkeypatch.setenv("TORCH_HOME", str(home))
    assert fetch_error(weights_at(server.url)) == (
        f"{home}/hub/checkpoints/net.pt: cannot be written (Not a directory); make room or give "
        "leave to write there, or set TORCH_HOME to another folder"
    )
    assert server.asked == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always full device")
def test_a_full_disk_is_named(server: Server, cache: Path) -> None:
    cache.parent.mkdir(parents=True)
    part_of(cache).symlink_to("/dev/full")
    assert fetch_error(weights_at(server.url)) == (
        f"{cache}: cannot be written (No space left on device); make room or give leave to write "
        "there, or set TORCH_HOME to another folder"
    )


# What is in the cache


@pytest.mark.parametrize(("digits", "ending"), [(64, ""), (8, "…")])
def test_a_damaged_file_in_the_cache_is_named_with_both_digests(
    server: Server, cache: Path, digits: int, ending: str
) -> None:
    put(cache, CONTENT[:-1])
    weights = weights_at(server.url, digits=digits)
    assert fetch_error(weights) == (
        f"{cache}: SHA-256 is {hashlib.sha256(CONTENT[:-1]).hexdigest()}, expected "
        f"{weights.sha256}{ending}; delete it to fetch it again"
    )
    assert server.asked == []
    cache.unlink()
    assert fetch(weights).read_bytes() == CONTENT


# Loading


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))


def saved(state: object, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before-1.6"])
def test_what_was_saved_comes_back_through_the_network(server: Server, zipped: bool) -> None:
    torch.manual_seed(0)
    there, here = network().eval(), network().eval()
    server.content = saved(there.state_dict(), zipped=zipped)
    here.load_state_dict(load(weights_at(server.url, server.content)))
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(here(image), there(image))
    assert load(weights_at(server.url, server.content))["1.running_mean"].device.type == "cpu"
    assert server.asked == [None]


def test_load_reports_progress(server: Server) -> None:
    server.content = saved(network().state_dict())
    calls: list[tuple[int, int | None]] = []
    load(weights_at(server.url, server.content), progress=lambda *call: calls.append(call))
    assert calls[-1] == (len(server.content), len(server.content))


def test_load_verifies_the_cached_file(server: Server, cache: Path) -> None:
    put(cache, saved(network().state_dict()))
    with pytest.raises(WeightsError, match=r"delete it to fetch it again$"):
        load(weights_at(server.url))


def test_a_local_file_is_used_whatever_its_digest(server: Server, tmp_path: Path) -> None:
    state = network().state_dict()
    mine = put(tmp_path / "mine.pt", saved(state))
    loaded = load(weights_at(server.url), mine)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert server.asked == []


def load_error(path: Path) -> str:
    with pytest.raises(WeightsError) as raised:
        load(weights_at("https://example.org/net.pt"), path)
    return str(raised.value)


def test_a_missing_local_file_is_named(tmp_path: Path) -> None:
    assert load_error(tmp_path / "mine.pt") == (
        f"{tmp_path}/mine.pt: no such file; name a file of weights that is there, or leave "
        "the option out to use net.pt"
    )


def broken_files() -> dict[str, bytes]:
    whole = saved(network().state_dict())
    old = saved(network().state_dict(), zipped=False)
    return {
        "empty": b"",
        "text": b"detector: mtcnn\n",
        "truncated zip": whole[: len(whole) // 2],
        "truncated before 1.6": old[: len(old) // 2],
        "whole network": saved(network()),
        "zip of something else": b"PK\x05\x06" + bytes(18),
    }


@pytest.mark.parametrize("kind", list(broken_files()))
def test_a_file_that_is_no_state_dict_is_refused(kind: str, tmp_path: Path) -> None:
    path = put(tmp_path / "mine.pt", broken_files()[kind])
    assert load_error(path) == (
        f"{path}: no file of weights, or a damaged one, or one with code in it; name a file "
        "written by torch.save(network.state_dict(), ...)"
    )


@pytest.mark.parametrize(
    ("state", "fault"),
    [
        ([torch.zeros(2)], "holds no named tensors"),
        ({}, "holds no named tensors"),
        ({"epoch": 7, "state_dict": {}}, "'epoch' is of type int, not a named tensor"),
        ({3: torch.zeros(2)}, "3 is of type Tensor, not a named tensor"),
    ],
)
def test_a_checkpoint_of_another_form_says_what_it_holds(
    state: object, fault: str, tmp_path: Path
) -> None:
    path = put(tmp_path / "mine.pt", saved(state))
    assert load_error(path) == (
        f"{path}: {fault}; name a file written by torch.save(network.state_dict(), ...)"
    )


class Malice:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("how", ["pickle", "zip", "before-1.6"])
def test_code_in_a_file_is_never_run(how: str, tmp_path: Path) -> None:
    state = {"weight": Malice(tmp_path / "victim")}
    content = pickle.dumps(state) if how == "pickle" else saved(state, zipped=how == "zip")
    path = put(tmp_path / "mine.pt", content)
    assert "one with code in it" in load_error(path)
    assert not (tmp_path / "victim").exists()
    if how == "pickle":
        pickle.loads(content)
        assert (tmp_path / "victim").exists(), "the file would have done its harm"


# Declaring


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/net.pt",
        "ftp://example.org/net.pt",
        "file:///etc/passwd",
        "https:///net.pt",
        "https://example.org/my net.pt",
        "https://[example.org/net.pt",
        "net.pt",
        "",
    ],
)
def test_only_https_and_this_machine_are_sources(url: str) -> None:
    with pytest.raises(WeightsError) as raised:
        Weights("net.pt", url, "0" * 64, None, "MIT")
    assert str(raised.value) == (
        f"weights net.pt: url {url!r} must start with https:// (http:// is for this very machine "
        "only)"
    )


@pytest.mark.parametrize("digest", ["", "abc1234", "A" * 64, "g" * 64, "0" * 65])
def test_a_digest_is_hexadecimal(digest: str) -> None:
    with pytest.raises(WeightsError) as raised:
        Weights("net.pt", "https://example.org/net.pt", digest, None, "MIT")
    assert str(raised.value) == (
        f"weights net.pt: sha256 {digest!r} must be 8 to 64 lower-case hexadecimal digits"
    )


@pytest.mark.parametrize("name", ["", ".", "..", "../net.pt", "/net.pt", "a\\net.pt"])
def test_a_file_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(WeightsError) as raised:
        Weights(name, "https://example.org/net.pt", "0" * 64, None, "MIT")
    assert str(raised.value) == (
        f"weights {name!r}: filename must be a plain file name, without folders"
    )
