"""Settings of the command line: what they may set, and that their faults are called theirs."""

import pytest

from alignimation_core import Recipe, RecipeError


@pytest.fixture
def load(tmp_path):
    """Load a recipe of a text, overridden by settings."""

    def load(text, *settings):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return Recipe.load(path, settings=settings)

    return load


@pytest.fixture
def refused(load):
    """Return the only fault of a recipe, and what it is blamed on."""

    def refused(text, *settings):
        with pytest.raises(RecipeError) as error:
            load(text, *settings)
        (fault,) = error.value.faults
        return fault

    return refused


SHORT = "photos: a/\ndetector: mtcnn\n"


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        f"{SHORT}target_builder: gaussian-keypoints\nrenderers: video\n",
        f"{SHORT}target_builder: {{use: gaussian-keypoints}}\nrenderers: {{use: video}}\n",
        f"{SHORT}target_builder: {{use: gaussian-keypoints, sigma: 0.3}}\nrenderers: [video]\n",
    ],
)
def test_an_option_is_set_however_short_the_recipe_is(load, text):
    recipe = load(text, "target_builder.sigma=0.2", "renderers[0].fps=24", "photos[0]=b/")
    assert recipe.target_builder.sigma == 0.2
    assert [each.fps for each in recipe.renderers] == [24]
    assert recipe.photos == ("b/",)


def test_an_option_of_a_short_sample_is_set(load):
    for text in (f"{SHORT}sample: month\n", f"{SHORT}sample: {{every: month}}\n"):
        sample = load(text, "sample.keep=first").sample
        assert (sample.every, sample.keep) == ("month", "first")
    assert load(SHORT, "sample.every=week").sample.every == "week"


@pytest.mark.parametrize(
    ("text", "setting", "field"),
    [
        (f"{SHORT}seed: 1\n", "seed=x", "seed"),
        (f"{SHORT}canvas:\n  size: 64x64\n", "canvas={size: 5}", "canvas.size"),
        (f"{SHORT}canvas:\n  size: 64x64\n", "canvas={sise: 64x64}", "canvas.sise"),
        (f"{SHORT}renderers:\n- {{use: gif, path: a.gif}}\n", "renderers=[{use: gif, path: a.b}]",
         "renderers[0].path"),
        (SHORT, "renderers[0].fps=500", "renderers[0].fps"),
        (SHORT, "detector=coco-annotations", "detector.file"),
        (SHORT, "detector.use=coco-annotations", "detector.file"),
        (f"{SHORT}canvas:\n  background: blur\n", "seed=x", "seed"),
        (SHORT.replace("mtcnn", "mask-rcnn") + "target_builder: mask\n", "detector=mtcnn",
         "target_builder"),
        (SHORT, "canvas.background=blur", "canvas.background"),
    ],
)  # fmt: skip
def test_what_a_setting_makes_wrong_is_blamed_on_it(load, text, setting, field):
    with pytest.raises(RecipeError) as error:
        load(text, "max_residual=3", setting, "reference=first")
    faults = {fault.field: fault for fault in error.value.faults}
    assert (faults[field].where, faults[field].line) == (f"--set {setting}", None)


def test_what_the_file_has_wrong_is_blamed_on_its_line(refused, tmp_path):
    fault = refused(f"{SHORT}seed: x\n", "max_residual=3", "canvas.size=9:16")
    assert (fault.where, fault.line, fault.field) == (str(tmp_path / "recipe.yaml"), 3, "seed")


def test_a_setting_may_mend_what_the_file_has_wrong(load):
    assert load(f"{SHORT}seed: x\n", "seed=3").seed == 3


@pytest.mark.parametrize(
    ("text", "line", "field"),
    [
        ("renderers:\n  use: video\n  fps: 500\n", 5, "renderers[0].fps"),
        ("renderers: vidoe\n", 3, "renderers[0]"),
    ],
)
def test_one_renderer_needs_no_list_and_its_faults_have_their_lines(refused, text, line, field):
    fault = refused(SHORT + text)
    assert (fault.line, fault.field) == (line, field)


def test_one_renderer_needs_no_list(load):
    for text in ("renderers: gif\n", "renderers: {use: gif}\n", "renderers:\n  use: gif\n"):
        assert [each.name for each in load(SHORT + text).renderers] == ["gif"]
    video = Recipe.of({"photos": "a/", "detector": "mtcnn"}).renderers[0]
    recipe = load(SHORT)
    assert Recipe(photos="a/", detector=recipe.detector, renderers=video).renderers == (video,)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("9:16", (1920, 1080)),
        ("16:9", (1080, 1920)),
        ("1:1", (1080, 1080)),
        ("4:5", (1350, 1080)),
        ("1080X1920", (1920, 1080)),
        ("1080\u00d71350", (1350, 1080)),
        ("1080 x 1350", (1350, 1080)),
        ("[1080, 1920]", (1920, 1080)),
        ("' 1080x1920 '", (1920, 1080)),
    ],
)
def test_sizes_are_read_as_people_write_them(load, size, shape):
    recipe = load(f"{SHORT}canvas: {{size: {size}}}\n" if size[0] == "[" else
                  f"{SHORT}canvas:\n  size: {size}\n")  # fmt: skip
    assert recipe.canvas.shape() == shape
    assert load(SHORT, f"canvas.size={size}").canvas.shape() == shape
    assert recipe.dump()["canvas"]["size"] == f"{shape[1]}x{shape[0]}"


@pytest.mark.parametrize(
    ("size", "shown"),
    [("0:16", "'0:16'"), ("1080", "1080"), ("[1080, 1920.5]", "[1080, 1920.5]"),
     ("9:", "{9: None}"),
     ("[true, 64]", "[True, 64]"), ("1080x", "'1080x'"), ("9:16:4", "'9:16:4'")],
)  # fmt: skip
def test_what_is_no_size_is_quoted_as_it_was_written(refused, size, shown):
    fault = refused(SHORT, f"canvas.size={size}")
    assert fault.message.startswith(f"{shown} is no size; write WIDTHxHEIGHT, such as 1080x1350")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("seed: true\n", "seed", "true"),
        ("max_residual: yes\n", "max_residual", "true"),
        ("renderers:\n- {use: video, fps: true}\n", "renderers[0].fps", "true"),
        ("renderers:\n- {use: gif, loop: no}\n", "renderers[0].loop", "false"),
        ("executor:\n  workers: on\n", "executor.workers", "true"),
        ("max: true\n", "max", "true"),
    ],
)
def test_true_is_no_number(refused, text, field, value):
    fault = refused(SHORT + text)
    assert fault.field == field
    assert fault.message.startswith(f"should be a number, got {value} (")


def test_true_is_an_answer_where_one_is_asked_for(load):
    assert load(f"{SHORT}renderers: {{use: webp, lossless: true}}\n").renderers[0].lossless


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("speed: 2\n", "renderers[0].fps"),
        ("frame-rate: 2\n", "renderers[0].fps"),
        ("fps: 2\n", "renderers[0].fps"),
        ("size: 64x64\n", "canvas.size"),
        ("resolution: 64x64\n", "canvas.size"),
        ("framing: tight\n", "canvas.framing"),
        ("sigma: 0.2\n", "target_builder.sigma"),
        ("renderers: [{use: video, speed: 2}]\n", "fps"),
        ("seeed: 2\n", "seed"),
        ("frm: 2018\n", "from"),
    ],
)
def test_an_unknown_key_is_answered_with_what_may_be_meant(refused, text, meant):
    message = refused(SHORT + text).message
    assert message.startswith(f"unknown key; did you mean {meant!r}? known here: ")


@pytest.mark.parametrize("text", ["renderers:\n- {use: gif, path: 'my\\film.gif'}\n"])
def test_a_backslash_stands_between_folders_as_a_slash_does(load, text):
    recipe = load(f"photos: 'a\\b'\ndetector: mtcnn\noutput: 'c\\d'\n{text}")
    assert recipe.photos == ("a/b",)
    assert recipe.output.as_posix() == "c/d"
    assert recipe.renderers[0].path == "my/film.gif"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("time_zone: Berlin\n", "time_zone",
         ("'Berlin' is no time zone; write one such as Europe/Berlin or +02:00; did you mean "
         "'Europe/Berlin'?")),
        ("time_zone: '+25:00'\n", "time_zone",
         "'+25:00' is no time zone; write one such as Europe/Berlin or +02:00"),
        ("order: date\n", "order", "should be 'taken', 'name', 'modified' or 'given', got 'date'"),
        ("from: soon\n", "from",
         "'soon' is no time; write one such as 2018, 2018-07, 2018-07-04 or '2018-07-04 10:15'"),
        ("to: '2018-02-30'\n", "to",
         ("'2018-02-30' is no time; write one such as 2018, 2018-07, 2018-07-04 or "
         "'2018-07-04 10:15'")),
        ("from: 2019\nto: 2018\n", "to", "2018 is over before from: 2019; give a later one"),
        ("sample: fortnight\n", "sample.every",
         ("'fortnight' is no stretch of time; write hour, day, week, month, year or several, such "
         "as 10 days")),
        ("sample: {keep: best}\n", "sample.every", "this is required"),
        ("min_gap: 5\n", "min_gap", "should be text, got 5; put it in quotes: '5'"),
        ("min_gap: a while\n", "min_gap",
         "'a while' is no length of time; write one such as 12 hours or 2 days"),
        ("max: 0\n", "max", "should be greater than or equal to 1, got 0"),
        ("duplicates: none\n", "duplicates", "should be 'keep' or 'drop', got 'none'"),
    ],
)  # fmt: skip
def test_what_is_wrong_about_time_is_told_in_a_line(refused, text, field, message):
    fault = refused(SHORT + text)
    assert (fault.field, fault.message.partition(" (")[0]) == (field, message)
