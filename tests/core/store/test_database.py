import random
import sqlite3
import time
from contextlib import closing
from datetime import datetime

import pytest
import torch

from alignimation_core import Detections, Mask, OutputError
from alignimation_core.store.database import Anchor
from alignimation_core.store.fits import Fit, TargetSummary
from alignimation_core.store.store import Facts, Known, Store

VERSION = range(60, 64)
"""Where SQLite's header says which version wrote the file: another one is refused, not damage."""


def test_an_anchor_holds_while_the_folder_is_there(tmp_path):
    (tmp_path / "out").mkdir()
    anchor = Anchor(tmp_path / "out")
    anchor.check()
    (tmp_path / "out").rmdir()
    with pytest.raises(OutputError) as caught:
        anchor.check()
    assert str(caught.value) == (
        f"{tmp_path}/out: the folder went away while the run was going on; bring it back, or "
        "choose another output folder, and run again"
    )


class Sample:
    """A store with something of every kind in it."""

    def __init__(self, folder):
        self.folder, self.notes = folder, []
        self.path = folder / ".alignimation" / "store.sqlite3"
        generator = torch.Generator().manual_seed(1)
        self.known = {}
        for number in range(12):
            mask = Mask.of(torch.rand(40, 30, generator=generator), (0, 0, 3, 4))
            seen = Detections(
                torch.rand(2, 4, generator=generator),
                torch.rand(2, generator=generator),
                torch.rand(2, 3, 2, generator=generator),
                keypoint_names=("left_eye", "right_eye", "nose"),
                masks=(mask, None) if number % 2 else None,
            )
            self.known[f"{number:064}"] = Known(seen, torch.rand(2, 64, generator=generator))
        self.facts = {
            f"/{number}.jpg": Facts(f"{number:064}", 3, 4, datetime(2020, 1, 2), "name")
            for number in range(12)
        }
        self.summaries = {
            f"{number}": TargetSummary(1, bytes(1024), b"p" * 8, b"w" * 4) for number in range(12)
        }
        self.fits = {f"{number}": Fit(b"m" * 72, number / 7, 0.1, 3, True) for number in range(12)}

    def opened(self):
        return Store(self.folder, "d", "e", self.notes.append, builder="b", model="m")

    def keep(self, store):
        store.keep(self.known)
        store.keep_facts("r", {path: ("s", each) for path, each in self.facts.items()}, time.time())
        store.fits.keep_summaries(self.summaries)
        store.fits.keep_fits("a", self.fits)

    def recall(self, store):
        """Return how many values are known; each is what was kept."""
        known = store.recall(self.known)
        facts = store.recall_facts("r", dict.fromkeys(self.facts, "s"))
        summaries = store.fits.recall_summaries(self.summaries)
        fits = store.fits.recall_fits("a", self.fits)
        for photo, (seen, vectors, _) in known.items():
            for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
                kept = getattr(self.known[photo].detections, name)
                assert torch.equal(getattr(seen, name), kept)
            assert seen.masks == self.known[photo].detections.masks
            assert vectors is None or torch.equal(vectors, self.known[photo].embeddings)
        for found, kept in ((facts, self.facts), (summaries, self.summaries), (fits, self.fits)):
            assert found.items() <= kept.items()
        parts = (
            known,
            [each for each in known.values() if each[1] is not None],
            facts,
            summaries,
            fits,
        )
        return sum(len(part) for part in parts)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a store's file."""
    sample = Sample(tmp_path_factory.mktemp("sample"))
    with sample.opened() as store:
        sample.keep(store)
        store.finish()
    return sample.path.read_bytes()


def flipped(content, chance):
    """Return the content with some bits flipped, few or many, near each other or not."""
    damaged = bytearray(content)
    spread = chance.choice([100, 4096, len(content)])
    start = chance.randrange(len(content) - spread + 1)
    for _ in range(chance.choice([1, 3, 30])):
        place = start + chance.randrange(spread)
        if place not in VERSION:
            damaged[place] ^= 1 << chance.randrange(8)
    return damaged


def cut(content, chance):
    return content[: chance.randrange(VERSION.stop, len(content))]


def overwritten(content, chance):
    start = chance.randrange(VERSION.stop, len(content))
    rubbish = chance.randbytes(chance.choice([16, 512, 8192]))
    return (content[:start] + rubbish + content[start + len(rubbish) :])[: len(content)]


@pytest.mark.parametrize("damage", [flipped, cut, overwritten])
@pytest.mark.parametrize("seed", range(25))
def test_no_damage_fails_a_run_or_changes_what_it_gets(tmp_path, content, damage, seed):
    sample = Sample(tmp_path)
    sample.path.parent.mkdir()
    sample.path.write_bytes(damage(content, random.Random(f"{damage.__name__} {seed}")))
    with sample.opened() as store:
        sample.recall(store)
        sample.keep(store)
        store.finish()
    with sample.opened() as store:
        assert sample.recall(store) == 5 * 12
        store.finish()
    assert len(sample.notes) <= 1


def test_a_number_of_runs_that_cannot_be_is_damage(tmp_path):
    sample = Sample(tmp_path)
    with sample.opened() as store:
        sample.keep(store)
        store.finish()
    with closing(sqlite3.connect(sample.path)) as db, db:
        db.execute("UPDATE entries SET used = 9223372036854775807")
    for known in (5 * 12, 0):
        with sample.opened() as store:
            assert sample.recall(store) == known
            store.finish()
    assert sample.notes == [
        f"{sample.path} is damaged: it is set aside as store.sqlite3.damaged-1, and made anew"
    ]


def test_a_damaged_log_costs_what_is_in_it(tmp_path):
    sample = Sample(tmp_path)
    with sample.opened() as store:
        sample.keep(store)
        log = sample.path.with_name("store.sqlite3-wal")
        copies = {path.name: path.read_bytes() for path in (sample.path, log)}
    (tmp_path / "other").mkdir()
    other = Sample(tmp_path / "other")
    other.path.parent.mkdir()
    damaged = bytearray(copies[log.name])
    damaged[len(damaged) // 2] ^= 1
    other.path.write_bytes(copies[sample.path.name])
    other.path.with_name(log.name).write_bytes(damaged)
    with other.opened() as store:
        assert other.recall(store) < 5 * 12
        other.keep(store)
        assert other.recall(store) == 5 * 12
    assert other.notes == []


def test_a_file_that_is_deleted_meanwhile_is_made_anew(tmp_path):
    sample = Sample(tmp_path)
    with sample.opened() as store:
        sample.keep(store)
    for path in sample.path.parent.iterdir():
        path.unlink()
    with sample.opened() as store:
        assert sample.recall(store) == 0


def test_every_damaged_file_is_kept_under_a_name_of_its_own(tmp_path):
    sample = Sample(tmp_path)
    damages = [bytes([number]) * 4096 for number in (1, 2, 3)]
    for damage in damages:
        sample.path.parent.mkdir(exist_ok=True)
        sample.path.write_bytes(damage)
        with sample.opened():
            pass
    aside = [sample.path.with_name(f"store.sqlite3.damaged-{number}") for number in (1, 2, 3)]
    assert [path.read_bytes() for path in aside] == damages
    assert len(sample.notes) == 3
