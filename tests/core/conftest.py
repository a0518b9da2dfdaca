"""An object store on this very machine, and fsspec's memory."""

import itertools
import logging

import pytest

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def object_store():
    """The URL of a server that speaks S3."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(object_store, monkeypatch, tmp_path):
    """Point s3:// at a server: the object store, or another, given by its URL."""
    from s3fs import S3FileSystem

    others = []

    def s3(url=object_store):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        if url != object_store:
            others.append(url)
            S3FileSystem.clear_instance_cache()
        fs = S3FileSystem()
        fs.invalidate_cache()
        return fs

    for name in ("PROFILE", "SESSION_TOKEN"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "fake")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield s3
    if others:
        S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(s3):
    """The name of a new bucket."""
    name = f"bucket-{next(NUMBERS)}"
    s3().mkdir(name)
    return name


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """The file system behind memory://, empty."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fs = MemoryFileSystem()
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    return fs
