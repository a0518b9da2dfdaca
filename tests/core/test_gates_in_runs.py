"""Gates in whole runs: values in the record, and another limit without another look."""

import json
import sqlite3

import pytest

from alignimation_core import AlignimationError, run
from alignimation_core.api.stages.selectors import PIXELS, Gates
from alignimation_core.cli.explain import explain
from alignimation_core.detection import quality
from alignimation_core.store import store


@pytest.fixture
def recipe(discs_recipe, discs, tmp_path, monkeypatch):
    # as if an installed plugin brought the stages: of others, nothing is stored
    monkeypatch.setattr(store, "fingerprint", lambda kind, stage, *_: f"{kind} {stage!r}")
    discs.series(tmp_path / "photos", discs.WARPS)

    def recipe(**gates):
        return discs_recipe(subject_selector=discs.First(gates=Gates(**gates)))

    return recipe


def values(record, name):
    return [photo.gates[name] for photo in record.photos]


def test_the_record_has_values_and_another_limit_looks_at_no_photo_again(recipe, monkeypatch):
    first = run(recipe())
    assert [photo.status for photo in first.photos] == ["used"] * 4
    sizes = values(first, "size")
    assert all(0 < value < 1 for name in PIXELS for value in values(first, name))

    monkeypatch.setattr(quality, "measure", None)  # is not called
    limit = sorted(sizes)[1]
    second = run(recipe(min_size=limit, min_contrast=0.0))
    assert [photo.status for photo in second.photos] == [
        "used" if size >= limit else "rejected" for size in sizes
    ]
    assert values(second, "size") == sizes
    assert values(second, "contrast") == values(first, "contrast")
    frames = iter(range(3))
    assert [photo.frame for photo in second.photos] == [
        next(frames) if size >= limit else None for size in sizes
    ]


def test_measures_that_the_store_has_lost_are_taken_again_and_kept(recipe, tmp_path, monkeypatch):
    first = run(recipe())
    with sqlite3.connect(tmp_path / "out" / ".alignimation" / "store.sqlite3") as db:
        db.execute("DELETE FROM entries WHERE kind LIKE 'measures%'")
    db.close()
    assert [photo.gates for photo in run(recipe()).photos] == [p.gates for p in first.photos]
    monkeypatch.setattr(quality, "measure", None)  # is not called
    limit = sorted(values(first, "contrast"))[1] + 1e-4
    third = run(recipe(min_contrast=limit))
    assert values(third, "contrast") == values(first, "contrast")
    assert third.summary == {"used": 2, "rejected": 2, "failed": 0}


def test_where_gates_refuse_every_photo_the_error_says_which(recipe):
    with pytest.raises(AlignimationError, match=r"no photo shows the subject: 4 rejected: the sub"):
        run(recipe(min_size=1000))


def test_explain_tells_what_each_gate_rejects_and_what_another_limit_would_keep(recipe, tmp_path):
    limit = 24
    sizes = values(run(recipe(min_size=limit)), "size")
    small = [size for size in sizes if size < limit]
    assert 0 < len(small) < 4
    text = explain(json.loads((tmp_path / "out" / "run.json").read_text()))
    lines = text.splitlines()
    assert lines[0] == f"{4 - len(small)} of 4 photos used"
    place = lines.index(
        f"gates.min_size: at least 24: it alone rejects {len(small)} photo" + "s" * (len(small) > 1)
    )
    table = [line.split() for line in lines[place + 1 : lines.index("gates.min_share: off")]]
    for _, _, asked, _, kept in table[:-1]:
        assert int(kept) == sum(size >= float(asked) for size in sizes)
    assert table[-1][:2] == ["nearest", "misses:"]
    nearest = max(small)
    assert table[-1][2:4] == [
        f"photos/2020-01-0{sizes.index(nearest) + 1}.png",
        f"({nearest:g})" + "," * (len(small) > 1),
    ]


def test_explain_is_short_where_nothing_was_rejected(recipe, tmp_path):
    sizes = values(run(recipe()), "size")
    text = explain(json.loads((tmp_path / "out" / "run.json").read_text()))
    first, second = text.splitlines()
    assert first == "4 of 4 photos used"
    assert second.startswith("no gate rejects any; there are ")
    assert f"size {min(sizes):.3g} to {max(sizes):.3g}, " in second


def test_explain_names_every_photo_under_what_its_reason_has_in_common(recipe, tmp_path):
    sizes = values(run(recipe(min_size=24)), "size")
    small = [day for day, size in enumerate(sizes, 1) if size < 24]
    text = explain(json.loads((tmp_path / "out" / "run.json").read_text()))
    lines = text.splitlines()[1 : 2 + len(small)]
    assert lines[0] == f"{len(small)} rejected: the subject is too small in pixels"
    assert [line.partition(" (size")[0] for line in lines[1:]] == [
        f"    photos/2020-01-0{day}.png" for day in small
    ]


def test_explain_goes_by_the_similarity_that_was_asked_and_by_what_rejected_each_photo():
    def photo(path, similarity, size, gate=None, *, used=False):
        return {
            "path": path,
            "status": "used" if used else "rejected",
            "stage": None if used else "subject_selector",
            "reason": None if used else "in any words",
            "gate": gate,
            "gates": {"similarity": similarity, "size": size},
        }

    record = {
        "recipe": {"subject_selector": {"gates": {"min_size": 20.0}}},
        "min_similarity": 0.934,
        "photos": [
            photo("a", 0.99, 50.0, used=True),
            photo("b", 0.98, 40.0, used=True),
            photo("small", 0.97, 10.0, "gates.min_size"),
            photo("stranger", 0.92, 30.0),
            photo("small stranger", 0.9, 10.0),
            photo("rival", 0.96, 45.0),
        ],
    }
    lines = explain(record).splitlines()
    asked = lines.index("min_similarity: at least 0.934: it alone rejects 1 photo")
    assert "    at least 0.934    keeps 2" in lines
    assert "    at least 0.92     keeps 3" in lines
    sizes = lines.index("gates.min_size: at least 20: it alone rejects 1 photo")
    assert [line for line in lines if "nearest" in line] == [
        "    nearest misses: stranger (0.92)",
        "    nearest misses: small (10)",
    ]
    assert asked < sizes
