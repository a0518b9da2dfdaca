import os
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignimation_core import Recipe, RecipeError
from alignimation_core.recipe.document import RECIPE, Source, field_name


def read(tmp_path, text, *, settings=()):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = Source.read(path)
    source.override(settings)
    return source


def refusal(tmp_path, text, *, settings=()):
    """Return the lines of the error without the folder."""
    with pytest.raises(RecipeError) as error:
        read(tmp_path, text, settings=settings)
    return str(error.value).replace(f"{tmp_path}/", "").splitlines()


def test_places_are_written_as_a_person_would():
    assert field_name(("renderers", 1, "fps")) == "renderers[1].fps"
    assert field_name(()) == ""


def test_every_value_knows_its_line(tmp_path):
    text = "photos: a\nrenderers:\n  - use: gif\n    fps: 3\n  - {use: video,\n     fps: 4}\n"
    source = read(tmp_path, text)
    assert source.data == {
        "photos": "a",
        "renderers": [{"use": "gif", "fps": 3}, {"use": "video", "fps": 4}],
    }
    assert source.folder == tmp_path
    for place, line in {
        ("photos",): 1,
        ("renderers", 0, "fps"): 4,
        ("renderers", 1): 5,
        ("renderers", 1, "fps"): 6,
        ("renderers", 1, "not there"): 5,
        ("nowhere",): 1,
    }.items():
        assert source.fault(place, "x").line == line


def test_anchors_and_merge_keys_are_plain_yaml(tmp_path):
    text = "base: &b {fps: 3}\nrenderers:\n- {use: gif, <<: *b}\n"
    assert read(tmp_path, text).data["renderers"] == [{"use": "gif", "fps": 3}]


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    assert read(tmp_path, b"\xef\xbb\xbfphotos: a\n").data == {"photos": "a"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("photos: [a\nseed: 1\n", "recipe.yaml:2: this is no valid YAML: "),
        ("photos: a\n\tseed: 1\n", "recipe.yaml:2: this is no valid YAML: "),
        ("photos: *a\n", "recipe.yaml:1: this is no valid YAML: found undefined alias 'a'"),
        ("photos: a\n---\nphotos: b\n", "recipe.yaml:2: this is no valid YAML: "),
        ('photos: !!int ""\n', "recipe.yaml: this is no valid YAML: string index out of range"),
        ("photos: !!bool maybe\n", "recipe.yaml: this is no valid YAML: 'maybe'"),
        ("photos: 2001-99-99\n", "recipe.yaml: this is no valid YAML: month must be in 1..12"),
        (
            "a: !!python/object/apply:os.system ['touch pwned']\n",
            "recipe.yaml:1: this is no valid YAML: could not determine a constructor for the tag",
        ),
        (
            "a: !!python/name:os.system\n",
            "recipe.yaml:1: this is no valid YAML: could not determine a constructor for the tag",
        ),
        ("- photos\n", "recipe.yaml:1: a recipe is a list of `key: value` lines, such as"),
        ("photos\n", "recipe.yaml:1: a recipe is a list of `key: value` lines, such as"),
        ("", "recipe.yaml: a recipe is a list of `key: value` lines, such as `photos: a/`"),
        ("# nothing\n", "recipe.yaml: a recipe is a list of `key: value` lines, such as"),
        ("null\n", "recipe.yaml:1: a recipe is a list of `key: value` lines, such as"),
        ("photos: a\nphotos: b\n", "recipe.yaml:2: the key 'photos' stands here twice"),
        (
            "renderers:\n- use: gif\n  fps: 1\n  fps: 2\n",
            "recipe.yaml:4: renderers[0]: the key 'fps' stands here twice",
        ),
        ("? [a, b]\n: c\n", "recipe.yaml:1: no usable key"),
        ("'': c\n", "recipe.yaml:1: no usable key"),
        ("a: &a [*a]\n", "recipe.yaml:1: a[0]: too many nested aliases"),
        ("a: &a {b: *a}\n", "recipe.yaml:1: a.b: too many nested aliases"),
        ("a: " + "[" * 5000 + "\n", "recipe.yaml: this is no valid YAML: "),
        (b"photos: \xff\xfe\n", "recipe.yaml: this is no UTF-8 text; save the recipe as UTF-8"),
        (
            b"\xff\xd8\xff\xe0\0\x10JFIF\0",
            "recipe.yaml: this is no file of text; give the recipe's file",
        ),
        ("photos: a\n".encode("utf-16"), "recipe.yaml: this is no UTF-8 text; save the"),
        ("#" * 1_000_001, "recipe.yaml: the file is larger than a recipe can be (1 MB)"),
    ],
)
def test_what_is_no_recipe_is_refused_in_one_line(tmp_path, monkeypatch, text, line):
    monkeypatch.chdir(tmp_path)
    found = refusal(tmp_path, text)
    assert len(found) == 1
    assert found[0].startswith(line)
    assert not (tmp_path / "pwned").exists()


MISSING = "; look for a missing colon, space or quote here or on the line before"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("photos: [a\n\n\n", 1, f"expected ',' or ']', but got '<stream end>'{MISSING}"),
        ("photos: a\ndetector mtcnn\nseed: 1\n", 3, f"could not find expected ':'{MISSING}"),
        ("photos: a\n seed: 1\n\n", 2, f"mapping values are not allowed here{MISSING}"),
        ("photos: a\noutput: 'b\nseed: 1\n", 2, "the quote that opens here is never closed"),
        (
            "photos:\n\t- a\n",
            2,
            "found character '\\t' that cannot start any token; use spaces, not tabs",
        ),
        ("photos: a\nse\0ed: 1\n", 2, r"the character '\x00' is not allowed; remove it"),
        ("photos: \x07\n", 1, r"the character '\x07' is not allowed; remove it"),
    ],
)
def test_a_mistake_in_yaml_is_told_with_its_line_and_what_to_do(tmp_path, text, line, what):
    assert refusal(tmp_path, text) == [f"recipe.yaml:{line}: this is no valid YAML: {what}"]


def test_all_keys_that_stand_twice_are_named(tmp_path):
    assert refusal(tmp_path, "a: 1\na: 2\nb: 3\nb: 4\n") == [
        "recipe.yaml:2: the key 'a' stands here twice",
        "recipe.yaml:4: the key 'b' stands here twice",
    ]


def test_an_alias_bomb_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (found,) = refusal(tmp_path, "\n".join(lines) + "\n")
    assert found.endswith("too many nested aliases")
    assert RECIPE.max_nodes < 10**6


DIGITS = "1" * 200_000
TOO_LONG = "a number of {} characters; no setting takes so long a one"


@pytest.mark.parametrize(
    "number", [f"0x{DIGITS}", DIGITS, f"-{DIGITS}", f"0b{DIGITS}", f"0.{DIGITS}"]
)
def test_a_number_of_any_length_is_one_line(tmp_path, number):
    text = f"photos: a\ndetector: mtcnn\nseed: {number}\n"
    assert refusal(tmp_path, text) == [f"recipe.yaml:3: {TOO_LONG.format(len(number))}"]
    (line,) = refusal(tmp_path, "photos: a\n", settings=[f"seed={number}"])
    assert line.startswith(f"--set seed={number[:100]}")
    assert len(line) < 1000


def test_a_number_that_python_cannot_write_is_one_line(tmp_path):
    with pytest.raises(RecipeError) as error:
        Recipe.of({"photos": 10**5000, "detector": "mtcnn", "seed": 10**5000}, folder=tmp_path)
    what = "got a number that is too long to show"
    for line, field in zip(str(error.value).splitlines(), ("photos", "seed"), strict=True):
        assert line.startswith(f"recipe: {field}: ")
        assert what in line


def test_an_index_of_any_length_is_refused(tmp_path):
    setting = f"renderers[{DIGITS}].fps=3"
    (line,) = refusal(tmp_path, "photos: a\n", settings=[setting])
    assert line == f"--set {setting[:200]}...: expected key=value, such as canvas.size=1080x1080"


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_what_may_never_end_is_not_read(tmp_path, kind):
    path = Path("/dev/zero")
    if kind == "a pipe":
        path = tmp_path / "recipe.yaml"
        os.mkfifo(path)
    with pytest.raises(RecipeError) as error:
        Recipe.load(path)
    assert str(error.value) == f"{path}: this is no file of text; give the recipe's file"


def test_a_file_that_a_recipe_names_is_no_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    detector = {"use": "coco-annotations", "file": "a.json"}
    with pytest.raises(RecipeError) as error:
        Recipe.of({"photos": "a", "detector": detector}, folder=tmp_path)
    assert str(error.value) == (
        f"recipe: detector.file[0]: {tmp_path}/a.json: this is a pipe or a device; give a file"
    )


@pytest.mark.parametrize("content", ["folder", "missing", "beneath a file"])
def test_what_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    if content == "folder":
        path.mkdir()
        what = "this is a folder; give the recipe's file"
    elif content == "missing":
        what = "there is no such file"
    else:
        path.write_text("photos: a\n")
        path, what = path / "inner.yaml", "cannot be read: Not a directory"
    with pytest.raises(RecipeError) as error:
        Recipe.load(path)
    assert str(error.value) == f"{path}: {what}"


# --set

TEXT = "photos: a\ndetector: mtcnn\nrenderers:\n- gif\n- {use: video, fps: 3}\n"


@pytest.mark.parametrize(
    ("setting", "place", "value"),
    [
        ("seed=3", ("seed",), 3),
        ("canvas.size=1080x1080", ("canvas", "size"), "1080x1080"),
        ("detector.min_face=60", ("detector",), {"use": "mtcnn", "min_face": 60}),
        ("detector=dlib", ("detector",), "dlib"),
        ("detector={use: mtcnn, min_face: 50}", ("detector",), {"use": "mtcnn", "min_face": 50}),
        ("renderers[0].fps=24", ("renderers", 0), {"use": "gif", "fps": 24}),
        ("renderers[1].fps=24", ("renderers", 1), {"use": "video", "fps": 24}),
        ("renderers[1]=webp", ("renderers", 1), "webp"),
        ("photos=[a, b]", ("photos",), ["a", "b"]),
        ("photos=a=b", ("photos",), "a=b"),
        ("embedder=null", ("embedder",), None),
        ("embedder=", ("embedder",), None),
        (" seed =3", ("seed",), 3),
    ],
)
def test_settings_override_the_file(tmp_path, setting, place, value):
    found = read(tmp_path, TEXT, settings=[setting]).data
    for part in place:
        found = found[part]
    assert found == value


def test_what_a_message_quotes_cannot_break_its_line():
    source = Source("recipe\x1e", Path(), {})
    text = str(source.fault(("a\u2028b",), "got '\x07\udce9\n'"))
    assert text == r"recipe\x1e: a\u2028b: got '\x07\udce9\n'"


def test_settings_apply_in_their_order(tmp_path):
    settings = ["detector=dlib", "detector.min_face=1", "detector.min_face=2"]
    data = read(tmp_path, TEXT, settings=settings).data
    assert data["detector"] == {"use": "dlib", "min_face": 2}


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("seed", "--set seed: expected key=value, such as canvas.size=1080x1080"),
        ("=3", "--set =3: expected key=value, such as canvas.size=1080x1080"),
        ("a..b=3", "--set a..b=3: expected key=value, such as canvas.size=1080x1080"),
        ("a[x]=3", "--set a[x]=3: expected key=value, such as canvas.size=1080x1080"),
        ("a[-1]=3", "--set a[-1]=3: expected key=value, such as canvas.size=1080x1080"),
        ("[0]=3", "--set [0]=3: expected key=value, such as canvas.size=1080x1080"),
        ("seed=[", "--set seed=[: seed: the value '[' is no valid YAML; quote it"),
        (
            "seed=!!timestamp x",
            "--set seed=!!timestamp x: seed: the value '!!timestamp x' is no valid YAML; quote it",
        ),
        (
            "seed=!!python/name:os.system",
            (
                "--set seed=!!python/name:os.system: seed: the value '!!python/name:os.system' is "
                "no valid YAML; quote it"
            ),
        ),
        (
            "renderers[2].fps=3",
            "--set renderers[2].fps=3: renderers[2].fps: the recipe has no such place to set",
        ),
        (
            "renderers.fps=3",
            "--set renderers.fps=3: renderers.fps: the recipe has no such place to set",
        ),
        ("photos[1]=3", "--set photos[1]=3: photos[1]: the recipe has no such place to set"),
        ("seed[0]=3", "--set seed[0]=3: seed[0]: the recipe has no such place to set"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(tmp_path, setting, line):
    assert refusal(tmp_path, TEXT, settings=[setting]) == [line]


def test_a_wrong_value_of_a_setting_names_the_setting(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(TEXT)
    settings = ["renderers[0].fps=99", "renderers[1].fps=24", "seed=-1"]
    with pytest.raises(RecipeError) as error:
        Recipe.load(path, settings=settings)
    assert str(error.value).splitlines() == [
        (
            "--set seed=-1: seed: should be greater than or equal to 0, got -1 (seed of all "
            "randomness)"
        ),
        (
            "--set renderers[0].fps=99: renderers[0].fps: should be less than or equal to 50, got "
            "99 (frames a second; browsers slow down above 50)"
        ),
    ]


places = st.text("abrp[]01.-=: {}", max_size=12) | st.sampled_from(["r", "r[0]", "r[1].a", "p.a"])


@given(places, st.text("a1[]{},:&*!'\"-", max_size=6) | st.text(max_size=4))
def test_any_setting_applies_or_is_refused_and_leaves_what_was_read_alone(key, value):
    data = {"p": "a", "r": ["gif", {"use": "video"}]}
    before = deepcopy(data)
    source = Source("recipe", Path(), data)
    try:
        source.override([f"{key}={value}"])
    except RecipeError as error:
        faults = error.faults
    else:
        faults = ()
    assert len(faults) <= 1
    assert all(len(str(fault).splitlines()) == 1 for fault in faults)
    assert data == before
