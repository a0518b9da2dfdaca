import time

import PIL
import pytest
from PIL import Image

from alignimation_core.execution.executor import Threads
from alignimation_core.photos import metadata
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

    def count():
        reads.clear()
        with Store(tmp_path, None, None, print) as store:
            entries, broken = read(photos, tmp_path, Threads(1), store, lambda: None)
        assert ([each.height for each in entries], broken) == ([6, 6], [])
        return len(reads)

    return count


def test_facts_are_read_once(count):
    assert [count(), count()] == [2, 0]


def test_dates_of_another_time_zone_or_by_another_version_are_read_again(count):
    count()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PIL, "__version__", "99.0")
        assert count() == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Kolkata")
        time.tzset()
        assert count() == 2
    time.tzset()
    assert count() == 0
