import importlib.metadata
import time
from datetime import timedelta
from zoneinfo import ZoneInfo

import PIL
import pytest
from PIL import Image

from alignimation_core.execution.executor import Threads
from alignimation_core.photos import metadata, reader
from alignimation_core.photos.reader import read
from alignimation_core.store.store import Store


@pytest.fixture
def count(tmp_path, monkeypatch):
    """Return how many of two photos are read, and not known from the store."""
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for photo in photos:
        Image.new("RGB", (8, 6)).save(photo)
    facts, later, reads = metadata.facts, time.time() + 10, []
    monkeypatch.setattr(metadata, "facts", lambda *given: reads.append(given) or facts(*given))
    monkeypatch.setattr(time, "time", lambda: later)  # else they are too new to be trusted

    def count(zone=None):
        reads.clear()
        with Store(tmp_path, None, None, print) as store:
            there = zone and ZoneInfo(zone)
            found, broken = read(photos, tmp_path, Threads(1), store, lambda: None, there)
        assert ([each.height for each in found], broken) == ([6, 6], [])
        return len(reads), found[0].taken, found[0].taken_zone

    return count


def test_facts_are_read_once(count):
    assert [count()[0], count()[0]] == [2, 0]


def test_facts_by_another_version_are_read_again(count, monkeypatch):
    count()
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert count()[0] == 2


@pytest.mark.parametrize("package", ["pi-heif", "pillow-jxl-plugin", "rawpy"])
def test_facts_by_another_decoder_are_read_again(count, monkeypatch, package):
    count()
    versions = importlib.metadata.version
    monkeypatch.setattr(
        reader, "version", lambda name: "99.0" if name == package else versions(name)
    )
    assert count()[0] == 2


def test_known_dates_are_those_of_another_time_zone_at_once(count, monkeypatch):
    _, here, _ = count("UTC")
    later = here + timedelta(hours=5, minutes=30)
    assert count("Asia/Kolkata") == (0, later, "+05:30")
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert count() == (0, later, "+05:30")
    finally:
        monkeypatch.undo()
        time.tzset()
