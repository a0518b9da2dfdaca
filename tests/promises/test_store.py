"""What docs/store.md promises of damage: nothing fails for it, nothing wrong comes of it."""

import os
import random
import sqlite3
import time
from contextlib import closing
from datetime import datetime

import pytest
import torch

from alignimation_core import Detections, Mask, OutputError
from alignimation_core.store.fits import Fit, TargetSummary
from alignimation_core.store.store import Facts, Known, Store


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
        for photo, (seen, vectors, *_) in known.items():
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
        damaged[start + chance.randrange(spread)] ^= 1 << chance.randrange(8)
    return damaged


def twenty(content, chance):
    """Return the content with twenty bytes changed."""
    damaged = bytearray(content)
    for place in chance.sample(range(len(content)), 20):
        damaged[place] ^= chance.randrange(1, 256)
    return damaged


def cut(content, chance):
    return content[: chance.randrange(len(content))]


def overwritten(content, chance):
    start = chance.randrange(len(content))
    rubbish = chance.randbytes(chance.choice([16, 512, 8192]))
    return (content[:start] + rubbish + content[start + len(rubbish) :])[: len(content)]


def check_harmless(folder, damaged):
    """Runs on a damaged store succeed, soon know all again, and all that they get is right."""
    sample = Sample(folder)
    sample.path.parent.mkdir(parents=True)
    sample.path.write_bytes(damaged)
    for _ in range(2):  # what no run asks for may only be met when it is written
        with sample.opened() as store:
            sample.recall(store)
            sample.keep(store)
            store.finish()
    with sample.opened() as store:
        assert sample.recall(store) == 5 * 12
        store.finish()
    assert len(sample.notes) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "times"), [(twenty, 200), (flipped, 60), (cut, 30), (overwritten, 60)]
)
def test_no_damage_fails_a_run_or_changes_what_it_gets(tmp_path, content, damage, times):
    for number in range(times):
        chance = random.Random(f"{damage.__name__} {number}")
        check_harmless(tmp_path / f"{number}", damage(content, chance))


@pytest.mark.slow
def test_a_store_may_end_anywhere(tmp_path, content):
    """In the header, about every page, within pages, and before the very last byte."""
    ends = {*range(0, 101, 5), 1, 99, len(content) - 1}
    ends |= {at + beside for at in range(4096, len(content), 4096) for beside in (-1, 0, 1, 999)}
    for end in sorted(end for end in ends if end < len(content)):
        check_harmless(tmp_path / f"{end}", content[:end])


@pytest.mark.slow
def test_one_changed_byte_of_the_header_is_no_newer_version(tmp_path, content):
    for place in range(100):
        damaged = bytearray(content)
        damaged[place] ^= random.Random(place).randrange(1, 256)
        check_harmless(tmp_path / f"{place}", damaged)


WHAT = {
    "link": "is a link; the store is not written through links",
    "link to nothing": "is a link; the store is not written through links",
    "folder": "is a folder",
    "file": "is a file",
    "pipe": "is neither file nor folder",
}
FILES = ["store.sqlite3", "store.sqlite3-wal", "store.sqlite3-shm", "store.lock"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (name, kind)
        for name in ("", *FILES)
        for kind in WHAT
        if kind != ("file" if name else "folder")
    ],
)
def test_what_is_not_the_stores_is_named_and_stays(tmp_path, name, kind):
    sample, target = Sample(tmp_path / "out"), tmp_path / "target"
    place = sample.path.parent / name
    place.parent.mkdir(parents=True)
    if kind == "link":
        (target / "mine" if not name else target).parent.mkdir(exist_ok=True)
        (target / "mine" if not name else target).write_text("mine")
    if kind.startswith("link"):
        place.symlink_to(target)
    elif kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("mine")
    else:
        os.mkfifo(place)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError) as caught:
        sample.opened()
    assert str(caught.value) == (
        f"{place} {WHAT[kind]}; remove it, or set `output` to another folder"
    )
    assert sorted(tmp_path.rglob("*")) == before
    assert {path.read_text() for path in before if path.is_file()} <= {"mine"}
    assert sample.notes == []


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
