"""Outputs at an address: nothing of the user's is replaced, nothing rendered is lost."""

import json
import sqlite3
from contextlib import closing

import filelock
import pytest
import yaml
from blake3 import blake3

from alignimation_core import OutputError, Recipe, RecipeError, preflight
from alignimation_core.cli import main
from alignimation_core.output.remote import RemoteFolder, output_folder, working_folder
from alignimation_core.record import Record
from alignimation_core.store import database

STORE = ".alignimation/store.sqlite3"
TABLE = ".alignimation/outputs.json"


@pytest.fixture(params=["memory", "s3"])
def place(request):
    """An output folder at an address; its file system and its address."""
    if request.param == "memory":
        return request.getfixturevalue("memory"), "/box/out", "memory://box/out"
    root = f"{request.getfixturevalue('bucket')}/out"
    return request.getfixturevalue("s3")(), root, f"s3://{root}"


def standing(fs, root):
    """Return the files of a remote folder: their content by name; of run.json, what it lists."""
    fs.invalidate_cache()
    files = {path.removeprefix(f"{root}/"): fs.cat_file(path) for path in fs.find(root)}
    if "run.json" in files:
        record = json.loads(files["run.json"])
        files["run.json"] = record["outputs"], record["kept"], record["error"]
    return {name: data for name, data in files.items() if name not in (STORE, TABLE)}


def rendered(remote, **outputs):
    """Write outputs as a run does: a text, or a folder of texts; return its record."""
    for name, content in outputs.items():
        path = remote.folder / name
        if isinstance(content, dict):
            path.mkdir(parents=True)
            for each, text in content.items():
                (path / each).write_text(text)
        else:
            path.write_text(content)
    return Record("1.0", {}, 0, "cpu", remote.folder, outputs=sorted(outputs))


def store(path, value=None):
    """Write a value into a store that stays open, or read it."""
    if value is None:
        with closing(sqlite3.connect(path)) as db:
            return db.execute("SELECT value FROM answers").fetchone()[0]
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS answers (value)")
    db.execute("DELETE FROM answers")
    db.execute("INSERT INTO answers VALUES (?)", (value,))
    return db


def test_what_a_run_wrote_stands_at_the_address_and_no_longer_in_the_cache(place):
    fs, root, address = place
    remote = RemoteFolder(f"{address}/", [])
    assert RemoteFolder(address, ["a.gif", "frames"]).obstacles() == []
    assert remote.prepare() == []
    remote.finish(rendered(remote, **{"a.gif": "GIF", "frames": {"1.png": "1", "2.png": "2"}}))
    assert standing(fs, root) == {
        "a.gif": b"GIF",
        "frames/1.png": b"1",
        "frames/2.png": b"2",
        "run.json": (["a.gif", "frames"], [], None),
    }
    assert sorted(path.name for path in remote.folder.iterdir()) == [".alignimation", "run.json"]
    assert RemoteFolder(address, []).prepare() == ["a.gif", "frames"]


def test_a_shorter_animation_leaves_no_frame_of_the_longer_one(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    remote.finish(rendered(remote, frames={f"{i}.png": "old" for i in range(20)}))
    fs.pipe_file(f"{root}/frames2/1.png", b"mine")
    record = rendered(remote, frames={"0.png": "new"})
    remote.finish(record)
    assert standing(fs, root) == {
        "frames/0.png": b"new",
        "frames2/1.png": b"mine",
        "run.json": (["frames"], [], None),
    }


def test_a_file_takes_the_place_of_a_folder_and_back(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    for content, names in (
        ({"1.png": "1"}, "x/1.png"),
        ("file", "x"),
        ({"2.png": "2"}, "x/2.png"),
    ):
        remote.finish(rendered(remote, x=content))
        assert set(standing(fs, root)) == {names, "run.json"}


def test_outputs_of_earlier_runs_stay_known(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    remote.finish(rendered(remote, **{"a.gif": "1", "b.gif": "1"}))
    record = rendered(remote, **{"a.gif": "2"})
    remote.finish(record)
    assert record.kept == ["b.gif"]
    assert standing(fs, root)["run.json"] == (["a.gif"], ["b.gif"], None)
    assert json.loads((remote.folder / "run.json").read_text())["kept"] == ["b.gif"]
    fs.rm_file(f"{root}/b.gif")
    remote.finish(rendered(remote, **{"a.gif": "3"}))
    assert standing(fs, root)["run.json"] == (["a.gif"], [], None)


def test_a_failed_run_keeps_the_outputs_of_earlier_ones(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    remote.finish(rendered(remote, **{"a.gif": "1"}))
    failed = rendered(remote)
    failed.error = "no photo shows the subject"
    remote.finish(failed)
    assert standing(fs, root) == {
        "a.gif": b"1",
        "run.json": ([], ["a.gif"], "no photo shows the subject"),
    }


def test_nothing_of_the_users_is_replaced(place):
    fs, root, address = place
    fs.pipe_file(f"{root}/a.gif", b"mine")
    fs.pipe_file(f"{root}/frames/1.png", b"mine")
    fs.pipe_file(f"{root}/sub", b"mine")
    ours = "is no output of an earlier run; move it away, or choose another path"
    assert RemoteFolder(address, ["a.gif", "frames", "sub/b.gif", "c.gif"]).obstacles() == [
        (("renderers", 0, "path"), f"{address}/a.gif {ours}"),
        (("renderers", 1, "path"), f"{address}/frames {ours}"),
        (("renderers", 2, "path"), f"{address}/sub is a file; choose another path"),
    ]


def test_what_the_user_put_among_uploaded_outputs_is_refused_and_stays(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    record = rendered(remote, **{"a.gif": "GIF", "frames": {"1.png": "1", "2.png": "2"}})
    remote.finish(record)
    mine = {"a.gif": b"FIG", "frames/20190704.jpg": b"mine"}
    for name, data in mine.items():
        fs.pipe_file(f"{root}/{name}", data)
    assert RemoteFolder(address, ["a.gif", "frames"]).obstacles() == [
        (
            ("renderers", 0, "path"),
            f"{address}/a.gif is not as a run wrote it; move it away, or choose another path",
        ),
        (
            ("renderers", 1, "path"),
            (
                f"{address}/frames/20190704.jpg was written by no run; move it away, or choose "
                "another path"
            ),
        ),
    ]
    assert remote.prepare() == []
    with pytest.raises(OutputError, match="is not as a run wrote it"):
        remote.finish(rendered(remote, **{"a.gif": "new"}))
    stands = standing(fs, root)
    assert {name: stands[name] for name in mine} == mine
    fs.rm_file(f"{root}/frames/20190704.jpg")
    assert RemoteFolder(address, ["frames"]).obstacles() == []


def test_what_an_upload_that_was_killed_has_left_is_known_by_its_content(place, monkeypatch):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    put = fs.put_file

    def dies(local, path, **options):
        put(local, path, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(fs, "put_file", dies)
    with pytest.raises(KeyboardInterrupt):
        remote.finish(rendered(remote, **{"a.gif": "1", "b.gif": "1"}))
    monkeypatch.setattr(fs, "put_file", put)
    left = "a.gif" if "a.gif" in standing(fs, root) else "b.gif"
    fs.pipe_file(f"{root}/{'b.gif' if left == 'a.gif' else 'a.gif'}", b"mine")
    again = RemoteFolder(address, ["a.gif", "b.gif"])
    assert len(again.obstacles()) == 1
    assert again.prepare() == [left]


def test_a_trial_run_at_an_address_has_a_folder_of_its_own_and_the_same_store(place):
    fs, root, address = place
    whole = RemoteFolder(address, [])
    whole.prepare()
    whole.finish(rendered(whole, **{"a.gif": "whole"}))
    trial = RemoteFolder(address, ["a.gif"], trial=True)
    assert trial.obstacles() == []
    assert trial.prepare() == []
    store(trial.store_folder / STORE, "computed").close()
    trial.finish(rendered(trial, **{"a.gif": "trial"}))
    assert trial.store_folder == whole.folder
    stands = standing(fs, root)
    assert (stands["a.gif"], stands["trial/a.gif"]) == (b"whole", b"trial")
    assert stands["run.json"] == (["a.gif"], [], None)
    assert set(stands) == {"a.gif", "run.json", "trial/a.gif", "trial/run.json", f"trial/{TABLE}"}
    assert fs.exists(f"{root}/{STORE}")


@pytest.mark.parametrize("text", [b"{}", b"notes", b"[]", b"\xff"])
def test_a_run_json_that_is_no_record_is_refused(memory, text):
    memory.pipe_file("/box/out/run.json", text)
    assert RemoteFolder("memory://box/out", []).obstacles() == [
        (
            ("output",),
            ("memory://box/out/run.json is no run record; move it away, or choose another folder"),
        )
    ]


def test_what_came_there_during_the_run_is_not_replaced_either(place):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    assert RemoteFolder(address, ["a.gif"]).obstacles() == []
    remote.prepare()
    fs.pipe_file(f"{root}/a.gif", b"mine")
    with pytest.raises(OutputError) as error:
        remote.finish(rendered(remote, **{"a.gif": "GIF"}))
    assert str(error.value) == (
        f"{address}/a.gif is no output of an earlier run; move it away, or choose another path; "
        f"the outputs are kept in {remote.folder}"
    )
    assert standing(fs, root) == {"a.gif": b"mine"}
    assert (remote.folder / "a.gif").read_text() == "GIF"


def test_an_upload_that_breaks_off_keeps_what_was_rendered_and_can_be_done_again(
    place, monkeypatch
):
    fs, root, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    put, sent = fs.put_file, []

    def breaks(local, path, **options):
        sent.append(path)
        if len(sent) == 2:
            raise OSError(5, "Input/output error")
        return put(local, path, **options)

    monkeypatch.setattr(fs, "put_file", breaks)
    record = rendered(remote, **{"a.gif": "1", "b.gif": "1"})
    with pytest.raises(OutputError) as error:
        remote.finish(record)
    assert str(error.value) == (
        f"{address}: cannot be uploaded to: access failed (OSError: [Errno 5] Input/output error); "
        "check the network and your credentials, and try again; the outputs are kept in "
        f"{remote.folder}"
    )
    assert (remote.folder / "a.gif").read_text() == (remote.folder / "b.gif").read_text() == "1"
    assert json.loads((remote.folder / "run.json").read_text())["outputs"] == ["a.gif", "b.gif"]
    assert standing(fs, root) == {
        "a.gif": b"1",
        "run.json": ([], [], "the upload did not finish"),
    }
    again = RemoteFolder(address, ["a.gif", "b.gif"])
    assert again.obstacles() == []
    again.finish(record)
    assert standing(fs, root)["run.json"] == (["a.gif", "b.gif"], [], None)


def test_where_there_are_no_outputs_none_are_said_to_be_kept(place, monkeypatch):
    fs, _, address = place
    remote = RemoteFolder(address, ["a.gif"])
    remote.prepare()

    def breaks(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(fs, "put_file", breaks)
    with pytest.raises(OutputError) as error:
        remote.finish(rendered(remote))
    assert str(error.value) == (
        f"{address}: cannot be uploaded to: access failed (OSError: [Errno 5] Input/output error); "
        "check the network and your credentials, and try again"
    )


def test_the_store_travels_whole_and_consistent(place, tmp_path, monkeypatch):
    _, _, address = place
    remote = RemoteFolder(address, [])
    remote.prepare()
    open_store = store(remote.folder / STORE, "computed")
    assert (remote.folder / f"{STORE}-wal").stat().st_size > 0
    remote.finish(rendered(remote))
    open_store.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    elsewhere = RemoteFolder(address, [])
    assert elsewhere.folder != remote.folder
    elsewhere.prepare()
    assert store(elsewhere.folder / STORE) == "computed"
    store(elsewhere.folder / STORE, "newer").close()
    elsewhere.prepare()
    assert store(elsewhere.folder / STORE) == "newer"
    names = {path.name for path in (elsewhere.folder / ".alignimation").iterdir()}
    assert {name for name in names if not name.startswith("outputs-")} <= {
        "store.sqlite3",
        "store.lock",
        "store.stamp",
    }


@pytest.fixture
def machine(place, tmp_path, monkeypatch):
    """Return the output folder as a machine sees it."""

    def machine(name):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return RemoteFolder(place[2], [])

    return machine


def work(remote, value, text=""):
    """Run on a machine: compute a value, after what it has fetched."""
    remote.prepare()
    store(remote.folder / STORE, value + text).close()
    remote.finish(rendered(remote))


def test_what_another_machine_has_computed_since_is_brought(machine):
    work(machine("one"), "little")
    work(machine("two"), "much", "!" * 50_000)
    one = machine("one")
    one.prepare()
    assert store(one.folder / STORE).startswith("much")
    assert not (one.folder / f"{STORE}-wal").exists()
    work(one, "more", "!" * 60_000)
    two = machine("two")
    two.prepare()
    assert store(two.folder / STORE).startswith("more")
    work(two, "afresh")  # as after --fresh: what was brought before may be replaced by less
    three = machine("three")
    three.prepare()
    assert store(three.folder / STORE) == "afresh"


def test_the_larger_of_two_stores_that_grew_at_once_stays(machine):
    one, two = machine("one"), machine("two")
    for each in (one, two):
        each.prepare()
    store(one.folder / STORE, "much" + "!" * 50_000).close()
    store(two.folder / STORE, "little").close()
    one.finish(rendered(one))
    two.finish(rendered(two))
    three = machine("three")
    three.prepare()
    assert store(three.folder / STORE).startswith("much")
    two.prepare()
    assert store(two.folder / STORE).startswith("much")


def test_a_larger_copy_is_not_replaced_and_goes_up_again(machine):
    one = machine("one")
    work(one, "little")
    work(machine("two"), "little too")
    store(one.folder / STORE, "much" + "!" * 50_000).close()  # a run that was killed
    one.prepare()
    assert store(one.folder / STORE).startswith("much")
    one.finish(rendered(one))
    three = machine("three")
    three.prepare()
    assert store(three.folder / STORE).startswith("much")


def test_a_copy_that_another_run_has_open_is_not_replaced(machine):
    one = machine("one")
    work(one, "little")
    work(machine("two"), "much", "!" * 50_000)
    with closing(store(one.folder / STORE, "in use")):
        one.prepare()
        assert store(one.folder / STORE) == "in use"
    one.prepare()
    assert store(one.folder / STORE).startswith("much")


def test_a_copy_that_another_run_keeps_to_itself_is_waited_for_and_told(machine, monkeypatch):
    remote = machine("one")
    remote.prepare()
    monkeypatch.setattr(database, "WAIT", 0.1)
    with (
        filelock.FileLock(remote.folder / ".alignimation" / "store.lock"),
        pytest.raises(OutputError) as error,
    ):
        machine("one").prepare()
    assert str(error.value) == (
        f"{remote.folder / STORE}: another run is using it; wait until it ends, and run again"
    )


def test_an_address_that_cannot_be_written_is_told_before_the_run(s3, memory, monkeypatch):
    s3()
    why = "there is no bucket no-such-bucket; make it, or correct the address"
    assert RemoteFolder("s3://no-such-bucket/out", ["a.gif"]).obstacles() == [
        (("output",), f"s3://no-such-bucket/out: {why}")
    ]

    def denied(*_, **__):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "pipe_file", denied)
    with pytest.raises(OutputError) as error:
        RemoteFolder("memory://box/out", []).prepare()
    assert str(error.value) == (
        "memory://box/out: cannot be used for outputs: access is denied (Access Denied); check "
        "your credentials and what they allow"
    )


def test_a_working_folder_that_cannot_be_made_is_told(memory, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(
        OutputError, match=r"cannot be made .* set XDG_CACHE_HOME to another folder"
    ):
        RemoteFolder("memory://box/out", []).prepare()


def test_every_address_has_a_working_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert working_folder("s3://a/b") == working_folder("s3://a/b/") != working_folder("s3://a/c")
    assert working_folder("s3://a/b").parent == tmp_path / "alignimation" / "outputs"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert working_folder("s3://a/b").parent.parent == (
        tmp_path / "home" / ".cache" / "alignimation"
    )


def test_the_check_names_what_stands_at_the_address_at_its_line(memory, tmp_path):
    memory.pipe_file("/box/out/a.gif", b"mine")
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: a/\noutput: memory://box/out/\ndetector: mtcnn\n"
        "renderers:\n  - {use: gif, path: a.gif}\n"
    )
    recipe = Recipe.load(path)
    with pytest.raises(RecipeError) as error:
        preflight.check_outputs(recipe)
    assert str(error.value) == (
        f"{path}:5: renderers[0].path: memory://box/out/a.gif is no output of an earlier run; move "
        "it away, or choose another path"
    )
    assert recipe.dump()["output"] == "memory://box/out/"
    assert output_folder(recipe).folder == working_folder("memory://box/out")


@pytest.fixture
def go(bucket, s3, tmp_path, discs, discs_installed, capsys):
    """Run a recipe with photos and output in a bucket; return status, stdout and stderr."""
    for name in discs.series(tmp_path / "photos", discs.WARPS):
        s3().put_file(str(tmp_path / "photos" / name), f"{bucket}/photos/{name}")
    recipe = {
        "photos": f"s3://{bucket}/photos/",
        "output": f"s3://{bucket}/out/",
        "detector": "blobs",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "canvas": {"size": "64x48"},
        "report": False,
        "renderers": [{"use": "array", "path": "frames.npy"}, {"use": "frames"}],
    }

    def go(*arguments, **changes):
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | changes))
        status = main([str(tmp_path / "recipe.yaml"), *arguments])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return go


def test_a_run_goes_from_bucket_to_bucket_and_on_from_another_machine(
    go, bucket, s3, tmp_path, monkeypatch
):
    status, out, err = go()
    assert (status, out) == (0, [f"s3://{bucket}/out/frames.npy", f"s3://{bucket}/out/frames"])
    assert f"every photo's reason is in s3://{bucket}/out/run.json" in err
    assert go(photos="photos/", output="out/")[0] == 0
    frames = (tmp_path / "out" / "frames.npy").read_bytes()
    assert s3().cat_file(f"{bucket}/out/frames.npy") == frames
    local, there = tmp_path / "out" / "frames", f"{bucket}/out/frames"
    assert {path.rpartition("/")[2]: s3().cat_file(path) for path in s3().find(there)} == {
        path.name: path.read_bytes() for path in local.iterdir()
    }
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    status, out, err = go(renderers=[{"use": "array", "path": "frames.npy"}])
    assert (status, out) == (0, [f"s3://{bucket}/out/frames.npy"])
    assert "detecting: 4 of 4 from the store" in err
    assert s3().cat_file(f"{bucket}/out/frames.npy") == frames
    record = json.loads(s3().cat_file(f"{bucket}/out/run.json"))
    assert (record["outputs"], record["kept"]) == (["frames.npy"], ["frames"])
    assert record["photos"][0]["path"] == f"s3://{bucket}/photos/2020-01-01.png"


def test_a_run_that_fails_says_so_at_the_address(go, bucket, s3):
    assert go()[0] == 0
    status, out, _ = go(detector={"use": "blobs", "least": 1})
    assert (status, out) == (1, [])
    record = json.loads(s3().cat_file(f"{bucket}/out/run.json"))
    assert record["error"].startswith("no photo shows the subject")
    assert (record["outputs"], record["kept"]) == ([], ["frames", "frames.npy"])
    assert len(s3().find(f"{bucket}/out/frames")) == 4


def test_the_users_files_in_a_bucket_are_refused_before_any_photo_is_opened(go, bucket, s3):
    s3().pipe_file(f"{bucket}/out/frames/1.png", b"mine")
    status, out, err = go()
    assert (status, out) == (2, [])
    assert f"renderers[1].path: s3://{bucket}/out/frames is no output of an earlier run" in err
    assert s3().find(f"{bucket}/out") == [f"{bucket}/out/frames/1.png"]
    assert go("--check")[0] == 2


def test_the_report_goes_to_the_bucket_and_the_next_run_replaces_it(go, bucket, s3):
    for limit in ([], ["--set", "reference=first"]):
        status, out, err = go(*limit, report=True)
        assert (status, out[0]) == (0, f"s3://{bucket}/out/frames.npy")
        assert f"every photo's reason is in s3://{bucket}/out/report.html" in err
    names = {path.removeprefix(f"{bucket}/out/") for path in s3().find(f"{bucket}/out/report")}
    assert names == {f"report/{n}{which}.jpg" for n in range(1, 5) for which in ("", "-frame")}
    record = json.loads(s3().cat_file(f"{bucket}/out/run.json"))
    page = s3().cat_file(f"{bucket}/out/report.html")
    assert record["report"]["report.html"] == blake3(page).hexdigest()
    assert record["kept"] == []
