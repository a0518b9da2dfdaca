import json
from dataclasses import fields
from typing import Annotated, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from alignimation_core import Recipe, RecipeError, preflight
from alignimation_core.api.stages import ComputeStage
from alignimation_core.api.stages.renderers import Effect
from alignimation_core.output.remote import output_folder
from alignimation_core.plugin.registry import KINDS, registry
from alignimation_core.recipe.schema import Settings
from alignimation_core.summary import schema

SMALLEST = {"photos": "photos/", "detector": "mtcnn"}


def faults(text, tmp_path, *, settings=()):
    """Return the lines of the error for a recipe's text, without the folder."""
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as error:
        Recipe.load(path, settings=settings)
    return str(error.value).replace(f"{tmp_path}/", "").splitlines()


def faults_of(**data):
    with pytest.raises(RecipeError) as error:
        Recipe.of(SMALLEST | data)
    return str(error.value).splitlines()


def test_the_smallest_recipe_has_sensible_defaults(tmp_path):
    recipe = Recipe.of(SMALLEST, folder=tmp_path)
    assert recipe.photos == ("photos/",)
    assert recipe.folder == tmp_path
    assert [stage.name for _, _, stage in recipe.stages()] == [
        "mtcnn",
        "largest",
        "gaussian-keypoints",
        "similarity",
        "video",
    ]
    assert (recipe.embedder, recipe.reference, recipe.seed) == (None, "medoid", 0)
    assert (recipe.canvas.size, recipe.canvas.framing, recipe.canvas.border) == (
        None,
        "balanced",
        "blur",
    )


def test_a_full_recipe_is_bound_to_the_stages_own_types(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: [a/, 'b/*.jpg']\n"
        "output: results/\n"
        "detector: {use: mtcnn, min_face: 60}\n"
        "embedder: facenet\n"
        "subject_selector:\n"
        "  use: identity\n"
        "  facing_forward: {min_ratio: 0.5}\n"
        "target_builder: {use: gaussian-keypoints, sigma: 0.2}\n"
        "transform_model: rigid\n"
        "reference: first\n"
        "canvas: {size: 1081x1351, framing: tight, border: '#102030'}\n"
        "renderers:\n"
        "- {use: video, path: a.mp4, fps: 24}\n"
        "- gif\n"
        "seed: 7\n"
    )
    recipe = Recipe.load(path)
    assert recipe.photos == ("a/", "b/*.jpg")
    assert recipe.detector.min_face == 60
    assert recipe.subject_selector.facing_forward.min_ratio == 0.5
    assert recipe.target_builder.sigma == 0.2
    assert recipe.canvas.shape() == (1350, 1080)
    assert [(r.name, r.path) for r in recipe.renderers] == [
        ("video", "a.mp4"),
        ("gif", "animation.gif"),
    ]
    assert recipe.folder == tmp_path
    assert recipe.seed == 7


def test_every_fault_is_reported_at_once_by_line_and_field(tmp_path):
    text = (
        "photos: photos/\n"
        "outptu: out/\n"
        "detector: {use: mtcn}\n"
        "embedder:\n"
        "  use: facenet\n"
        "  pretrained: lfw\n"
        "subject_selector: {use: identity, min_similarty: 0.4}\n"
        "target_builder:\n"
        "  use: gaussian-keypoints\n"
        "  sigma: wide\n"
        "canvas:\n"
        "  size: 1080\n"
        "  frame: tight\n"
        "renderers:\n"
        "- {use: video, fps: 500}\n"
        "- {path: a.gif}\n"
        "- use: gif\n"
        "  path: ../a.gif\n"
        "seed: -1\n"
    )
    found = faults(text, tmp_path)
    expected = [
        (2, "outptu", "unknown key; did you mean 'output'? known here: canvas, corrections, "),
        (3, "detector.use", "there is no detector 'mtcn'; did you mean 'mtcnn'? available: "),
        (6, "embedder.pretrained", "should be 'vggface2' or 'casia-webface', got 'lfw' ("),
        (7, "subject_selector.min_similarty", "unknown key; did you mean 'min_similarity'? "),
        (10, "target_builder.sigma", "should be a valid number, unable to parse string as a numb"),
        (12, "canvas.size", "1080 is no size; write WIDTHxHEIGHT, such as 1080x1350"),
        (13, "canvas.frame", "unknown key; did you mean 'framing'? known here: "),
        (15, "renderers[0].fps", "should be less than or equal to 120, got 500 (frames a second; "),
        (16, "renderers[1].use", "this is required (the stage's name)"),
        (18, "renderers[2].path", "'../a.gif' is not a name inside the output folder"),
        (19, "seed", "should be greater than or equal to 0, got -1 (seed of all randomness)"),
    ]
    assert len(found) == len(expected)
    for line, (number, field, message) in zip(found, expected, strict=True):
        assert line.startswith(f"recipe.yaml:{number}: {field}: {message}")


def test_a_fault_can_be_read_by_programs(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("photos: a\ndetector: mtcnn\nseed: x\n")
    with pytest.raises(RecipeError) as error:
        Recipe.load(path)
    (fault,) = error.value.faults
    assert (fault.where, fault.line, fault.field) == (str(path), 3, "seed")


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"photos": None}, "recipe: photos: is empty; give a value (folder, glob, address (s3"),
        (
            {"photos": []},
            "recipe: photos: should not be empty (folder, glob, address (s3://...)",
        ),
        ({"photos": {}}, "recipe: photos: should be a valid list, got {} (folder, glob, address"),
        ({"output": "a\0b"}, "recipe: output: 'a\\x00b' is no name of a folder"),
        (
            {"output": "~nobody-else/out"},
            "recipe: output: '~nobody-else/out': there is no such user; write the folder out",
        ),
        ({"output": ""}, "recipe: output: should not be empty (folder or address (s3://...) for"),
        (
            {"output": []},
            "recipe: output: should be a valid string, got [] (folder or address (s3://...)",
        ),
        ({"detector": None}, "recipe: detector: is empty; give a value (finds what could be the"),
        (
            {"detector": 5},
            "recipe: detector: should be a name or `{use: name, option: value}`, got 5 (finds what",
        ),
        ({"detector": {}}, "recipe: detector.use: this is required (the stage's name)"),
        ({"detector": {"use": None}}, "recipe: detector.use: is empty; give a value (the stage's"),
        (
            {"embedder": 5},
            "recipe: embedder: should be a name or `{use: name, option: value}`, got",
        ),
        (
            {"renderers": None},
            "recipe: renderers: is empty; give a value or leave the line out (the outputs to",
        ),
        ({"renderers": []}, "recipe: renderers: should not be empty (the outputs to write)"),
        ({"renderers": 5}, "recipe: renderers: should be a valid list, got 5 (the outputs"),
        (
            {"renderers": [5]},
            "recipe: renderers[0]: should be a name or `{use: name, option: value}`, got 5",
        ),
        ({"canvas": 5}, "recipe: canvas: should be `option: value` lines, got 5 (what every frame"),
        (
            {"canvas": {"size": "10x99999"}},
            "recipe: canvas.size: 10x99999: each side must be 16 to 16384 pixels",
        ),
        (
            {"canvas": {"border": "blurr"}},
            "recipe: canvas.border: 'blurr' is neither blur, mirror, edge nor a colour such as",
        ),
        (
            {"reference": ""},
            "recipe: reference: should not be empty (what the photos are aligned on",
        ),
        (
            {"report": "yes please"},
            "recipe: report: should be a valid boolean or `option: value` lines, got 'yes please'",
        ),
        (
            {"report": {"embed": 7}},
            "recipe: report.embed: should be a valid boolean, unable to interpret input, got 7 (",
        ),
        ({"report": {"embd": True}}, "recipe: report.embd: unknown key; did you mean 'embed'? "),
        (
            {"refine": {"photos": "nose"}},
            "recipe: refine.photos: should be a valid boolean or 'eyes', got 'nose' (let the",
        ),
        ({"refine": {"photos": None}}, "recipe: refine.photos: is empty; give a value or leave"),
        ({"seed": 1.5}, "recipe: seed: should be a valid integer, got a number with a fractional"),
        ({5: "x"}, "recipe: 5: a key should be a name, got 5"),
        ({2**63: "x"}, f"recipe: {2**63}: a key should be a name, got {2**63}"),
        ({"canvas": {2**63: 1}}, f"recipe: canvas.{2**63}: a key should be a name, got {2**63}"),
        (
            {"renderers": [{"use": "gif", 5: "x"}]},
            "recipe: renderers[0].5: a key should be a name, got 5",
        ),
        (
            {"detector": {"use": "mtcnn", 5: "x"}},
            "recipe: detector.5: a key should be a name, got 5",
        ),
        (
            {"detector": {"use": "mtcnn", "device": "gpu"}},
            "recipe: detector.device: 'gpu' is not one of auto, cpu, cuda, cuda:N, mps",
        ),
        (
            {"detector": {"use": "mtcnn", "score_threshold": float("nan")}},
            "recipe: detector.score_threshold: should be a finite number, got nan",
        ),
        (
            {"subject_selector": {"use": "largest", "facing_forward": {"min_rato": 1}}},
            "recipe: subject_selector.facing_forward.min_rato: unknown key; did you mean 'min_rati",
        ),
        (
            {"subject_selector": {"use": "largest", "facing_forward": 5}},
            "recipe: subject_selector.facing_forward: should be `option: value` lines, got 5",
        ),
        (
            {"renderers": [{"use": "video", "path": "/a.mp4"}]},
            "recipe: renderers[0].path: '/a.mp4' is not a name inside the output folder",
        ),
    ],
)
def test_a_wrong_value_gets_one_line(data, line):
    found = faults_of(**data) if all(isinstance(key, str) for key in data) else None
    if found is None:
        with pytest.raises(RecipeError) as error:
            Recipe.of({**SMALLEST, **data})
        found = str(error.value).splitlines()
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    ("data", "refused"),
    [
        ({"canvas": {"size": "16x16384"}}, None),
        (
            {"canvas": {"size": "15x16384"}},
            "canvas.size: 15x16384: each side must be 16 to 16384 pixels",
        ),
        (
            {"canvas": {"size": "16x16385"}},
            "canvas.size: 16x16385: each side must be 16 to 16384 pixels",
        ),
        ({"canvas": {"max_border": 0}}, None),
        ({"canvas": {"max_border": 1}}, "canvas.max_border: should be less than 1, got 1"),
        ({"refine": {"passes": 5}}, None),
        ({"refine": {"passes": 6}}, "refine.passes: should be less than or equal to 5, got 6"),
        ({"max_residual": "auto"}, None),
        ({"max_residual": None}, None),
        ({"max_residual": 0}, "max_residual: should be greater than 0, got 0"),
        ({"seed": 2**32 - 1}, None),
        ({"seed": 2**32}, "seed: should be less than 4294967296, got 4294967296"),
        ({"executor": {"workers": 1}}, None),
        (
            {"executor": {"workers": 0}},
            "executor.workers: should be greater than or equal to 1, got 0",
        ),
    ],
)
def test_values_are_refused_beyond_their_bounds_and_not_at_them(data, refused):
    if refused is None:
        Recipe.of({**SMALLEST, **data})
    else:
        with pytest.raises(RecipeError) as error:
            Recipe.of({**SMALLEST, **data})
        assert str(error.value).partition(" (")[0] == f"recipe: {refused}"


def test_a_canvas_has_even_sides_and_the_border_of_its_framing():
    canvas = Recipe.of({**SMALLEST, "canvas": {"size": "101x51"}}).canvas
    assert canvas.shape() == (50, 100)
    shares = {}
    for framing in ("tight", "balanced", "whole", "auto"):
        options = {"framing": framing, "max_border": 0.25}
        shares[framing] = Recipe.of({**SMALLEST, "canvas": options}).canvas.allowed_border()
    assert shares == {"tight": 0.0, "balanced": 0.05, "whole": 1.0, "auto": 0.25}


EMPTY = "is empty; give a value or leave the line out"


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        (
            "canvas: {size: 720*720}",
            "canvas.size",
            "'720*720' is no size; write WIDTHxHEIGHT, such as 1080x1350",
        ),
        (
            "canvas: {size: 1080}",
            "canvas.size",
            "1080 is no size; write WIDTHxHEIGHT, such as 1080x1350",
        ),
        (
            "canvas: {size: 4x4}",
            "canvas.size",
            "4x4: each side must be 16 to 16384 pixels",
        ),
        (
            "canvas:\n  border: #203040",
            "canvas.border",
            (
                f"{EMPTY}; in YAML a colour needs quotes: '#203040' (what fills the canvas beyond "
                "a photo: blur, mirror, edge, or a colour such as black or '#102030')"
            ),
        ),
        (
            "canvas:\n  background: #203040",
            "canvas.background",
            (
                f"{EMPTY}; in YAML a colour needs quotes: '#203040' (what becomes of what is "
                "behind the subject: keep, remove (transparent), blur, or a colour such as white "
                "or '#102030'; all but keep need a detector of masks)"
            ),
        ),
        ("canvas:", "canvas", f"{EMPTY} (what every frame shows)"),
        ("seed:", "seed", f"{EMPTY} (seed of all randomness)"),
        ("renderers:\n-", "renderers[0]", EMPTY),
        (
            "output: 2024",
            "output",
            (
                "should be text, got 2024; put it in quotes: '2024' (folder or address (s3://...) "
                "for all results)"
            ),
        ),
        (
            "output: 2020-01-01",
            "output",
            (
                "should be text, got 2020-01-01; put it in quotes: '2020-01-01' (folder or "
                "address (s3://...) for all results)"
            ),
        ),
        (
            "output: no",
            "output",
            (
                "should be text, got False; put it in quotes (folder or address (s3://...) for all "
                "results)"
            ),
        ),
        (
            "photos: 2024",
            "photos",
            (
                "should be text, got 2024; put it in quotes: '2024' (folder, glob, address "
                "(s3://...) or list of them, relative to the recipe)"
            ),
        ),
        (
            "photos: [a, 2020-01-01]",
            "photos[1]",
            "should be text, got 2020-01-01; put it in quotes: '2020-01-01'",
        ),
        (
            "detector: {use: 5}",
            "detector.use",
            "should be text, got 5; put it in quotes: '5' (the stage's name)",
        ),
        (
            "refine: 1",
            "refine",
            (
                "should be `option: value` lines, such as `refine: {passes: 1}`, got 1 (correct "
                "the keypoints that were detected)"
            ),
        ),
    ],
)
def test_a_slip_of_yaml_is_told_with_what_to_write(tmp_path, text, field, message):
    key = text.partition(":")[0]
    rest = "".join(f"{k}: {v}\n" for k, v in SMALLEST.items() if k != key)
    (line,) = faults(f"{rest}{text}\n", tmp_path)
    assert line.partition(": ")[2] == f"{field}: {message}"


def test_what_is_required_is_said(tmp_path):
    assert faults("seed: 1\n", tmp_path) == [
        (
            "recipe.yaml:1: photos: this is required (folder, glob, address (s3://...) or list of "
            "them, relative to the recipe)"
        ),
        "recipe.yaml:1: detector: this is required (finds what could be the subject)",
    ]


def test_a_long_wrong_value_is_cut_short():
    (line,) = faults_of(seed="x" * 5000)
    assert len(line) < 300


def test_no_embedder_may_be_said_as_null():
    assert Recipe.of(SMALLEST | {"embedder": None}).embedder is None


def test_renderers_may_be_any_list_of_python():
    recipe = Recipe.of(SMALLEST | {"renderers": ("gif", {"use": "video"})})
    assert [stage.name for stage in recipe.renderers] == ["gif", "video"]


def test_an_unknown_stage_tells_which_plugin_failed_and_why(tmp_path, install):
    install("alignimation-moon", "import nowhere_to_be_found")
    assert faults("photos: a\ndetector:\n  use: moon\n", tmp_path) == [
        "recipe.yaml:3: detector.use: there is no detector 'moon'; available: "
        + ", ".join(sorted(registry().stages["detector"]))
        + "; plugin alignimation_moon (of alignimation-moon) cannot be used: "
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    ]


# combinations that cannot work


def test_identity_without_an_embedder_is_refused(tmp_path):
    text = "photos: a\ndetector: mtcnn\nsubject_selector: identity\n"
    assert faults(text, tmp_path) == [
        (
            "recipe.yaml:3: subject_selector: 'identity' needs an embedder; add `embedder: NAME` "
            f"(available: {', '.join(sorted(registry().stages['embedder']))})"
        )
    ]


BOXES = '''
from typing import ClassVar
from alignimation_core import Detections, Detector, hookimpl

class Boxes(Detector):
    """Boxes only."""

    name: ClassVar[str] = "boxes"

    def detect(self, images):
        return [Detections.empty() for _ in images]

@hookimpl
def alignimation_detectors():
    return [Boxes]
'''


def test_a_detector_without_keypoints_cannot_feed_what_needs_them(tmp_path, install):
    install("alignimation-boxes", BOXES)
    text = (
        "photos: a\n"
        "detector: boxes\n"
        "subject_selector: {use: largest, facing_forward: true}\n"
        "target_builder: {use: gaussian-keypoints, keypoints: [left_hip]}\n"
    )
    gate, target = faults(text, tmp_path)
    assert gate.startswith(
        "recipe.yaml:3: subject_selector: 'largest' needs the keypoints left_eye, nose, right_eye, "
        "which the detector 'boxes' does not give; detectors that do: "
    )
    assert "mtcnn" in gate
    assert target.startswith(
        "recipe.yaml:4: target_builder: 'gaussian-keypoints' needs keypoints, which the detector "
        "'boxes' does not give; detectors that do: "
    )


def test_the_default_target_needs_keypoints_too(tmp_path, install):
    install("alignimation-boxes", BOXES)
    (line,) = faults("photos: a\ndetector: boxes\n", tmp_path)
    assert line.startswith(
        "recipe.yaml:1: target_builder: 'gaussian-keypoints' needs keypoints, which the detector "
    )


def test_a_face_detector_cannot_feed_a_body_target(tmp_path):
    text = (
        "photos: a\ndetector: mtcnn\n"
        "target_builder: {use: gaussian-keypoints, keypoints: [nose, left_hip]}\n"
    )
    (line,) = faults(text, tmp_path)
    assert line.startswith(
        "recipe.yaml:3: target_builder: 'gaussian-keypoints' needs the keypoints left_hip, which "
        "the detector 'mtcnn' does not give; "
    )


def able(*abilities):
    """Return the detectors that a message should name for what is missing."""
    names = ["coco-annotations (with its options)"]
    for name, found in registry().stages["detector"].items():
        if name != "coco-annotations" and found.stage().provides() >= set(abilities):
            names.append(name)
    return ", ".join(sorted(names))


def test_a_keypoint_that_is_not_given_is_told_with_those_that_are(tmp_path):
    text = (
        "photos: a\ndetector: mtcnn\n"
        "target_builder: {use: gaussian-keypoints, keypoints: [lefteye, left_hip, nosee]}\n"
    )
    assert faults(text, tmp_path) == [
        (
            "recipe.yaml:3: target_builder: 'gaussian-keypoints' needs the keypoints left_hip, "
            "lefteye, nosee, which the detector 'mtcnn' does not give; did you mean "
            "'left_eye' and 'nose'? it gives left_eye, mouth_left, mouth_right, nose, right_eye; "
            "detectors that do: coco-annotations (with its options)"
        )
    ]
    (line,) = faults(text.replace("lefteye, ", "").replace(", nosee", ""), tmp_path)
    assert line.endswith(
        "; it gives left_eye, mouth_left, mouth_right, nose, right_eye; detectors that do: "
        + able("keypoints.left_hip")
    )


def test_of_many_keypoints_twenty_are_listed(tmp_path, install):
    names = ", ".join(f'"keypoints.k{i}"' for i in range(10, 35))
    code = BOXES.replace(
        "    def detect",
        f'    def provides(self):\n        return {{"keypoints", {names}}}\n\n    def detect',
    )
    install("alignimation-boxes", code)
    text = (
        "photos: a\ndetector: boxes\ntarget_builder: {use: gaussian-keypoints, keypoints: [nose]}\n"
    )
    (line,) = faults(text, tmp_path)
    shown = ", ".join(f"k{i}" for i in range(10, 30))
    assert f"does not give; it gives {shown}, ...; detectors that do: " in line


def test_masks_that_are_not_given_cannot_be_used(tmp_path):
    (line,) = faults("photos: a\ndetector: mtcnn\ntarget_builder: mask\n", tmp_path)
    assert line.startswith(
        "recipe.yaml:3: target_builder: 'mask' needs masks, which the detector 'mtcnn' does not "
        "give; "
    )


@pytest.mark.parametrize(
    ("renderers", "field", "message"),
    [
        (
            ["gif", {"use": "gif", "fps": 3}],
            "renderers[1].path",
            "'animation.gif' is also the path of renderers[0]; give each output its own",
        ),
        (
            [{"use": "gif", "path": "x/a.gif"}, {"use": "gif", "path": "./x//a.gif"}],
            "renderers[1].path",
            "'./x//a.gif' is also the path of renderers[0]; give each output its own",
        ),
        (
            [{"use": "frames", "path": "x"}, {"use": "gif", "path": "x/a.gif"}],
            "renderers[1].path",
            "'x/a.gif' and the path of renderers[0] lie in each other; give each output its own",
        ),
    ],
)
def test_outputs_do_not_share_a_path(renderers, field, message):
    assert faults_of(renderers=renderers) == [f"recipe: {field}: {message}"]


@pytest.mark.parametrize("output", ["out", "memory://box/out"])
def test_no_output_takes_the_name_of_the_run_record(output, tmp_path):
    data = SMALLEST | {
        "output": output,
        "renderers": ["gif", {"use": "frames", "path": "run.json"}],
    }
    recipe = Recipe.of(data, folder=tmp_path)
    with pytest.raises(RecipeError) as error:
        preflight.check_outputs(recipe)
    assert str(error.value) == (
        "recipe: renderers[1].path: 'run.json' is the run record; choose another name"
    )


def test_a_stage_that_fails_on_its_options_is_named(tmp_path, install):
    code = BOXES.replace(
        "    def detect",
        "    def model_post_init(self, context):\n        raise KeyError('moon')\n\n    def detect",
    )
    install("alignimation-boxes", code)
    assert faults("photos: a\ndetector: boxes\n", tmp_path) == [
        (
            "recipe.yaml:2: detector: 'boxes' of alignimation-boxes failed on its options: "
            "KeyError: 'moon'"
        )
    ]


@pytest.mark.parametrize("verb", ["requires", "provides"])
def test_a_stage_that_cannot_say_what_it_needs_is_named(tmp_path, install, verb):
    code = BOXES.replace(
        "    def detect", f"    def {verb}(self):\n        return 1 / 0\n\n    def detect"
    )
    install("alignimation-boxes", code)
    assert faults("photos: a\ndetector: boxes\n", tmp_path) == [
        (
            "recipe.yaml:2: detector: 'boxes' failed to say what it needs: "
            "ZeroDivisionError: division by zero"
        )
    ]


# photos


def test_all_places_without_photos_are_named_with_their_lines(tmp_path):
    (tmp_path / "empty").mkdir()
    path = tmp_path / "recipe.yaml"
    path.write_text("detector: mtcnn\nphotos:\n- gone/\n- empty\n- '*.jpg'\n- ~nobody-here/x\n")
    with pytest.raises(RecipeError) as error:
        preflight.find_photos(Recipe.load(path))
    gone, empty, pattern, nobody = str(error.value).splitlines()
    assert gone == f"{path}:3: photos[0]: {tmp_path}/gone does not exist"
    assert empty.startswith(f"{path}:4: photos[1]: the folder {tmp_path}/empty holds no photos (")
    assert pattern == f"{path}:5: photos[2]: no file matches {tmp_path}/*.jpg"
    assert nobody.startswith(f"{path}:6: photos[3]: ")


@pytest.mark.parametrize("pattern", ["x" * 5000, "a\0b", "*\0"])
def test_a_place_that_no_disk_can_have_is_a_fault(tmp_path, pattern):
    with pytest.raises(RecipeError, match=r"^recipe: photos\[0\]: "):
        preflight.find_photos(Recipe.of(SMALLEST | {"photos": pattern}, folder=tmp_path))


def test_paths_are_relative_to_the_recipe_and_each_photo_is_taken_once(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    (folder / "photos").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "c.txt"):
        (folder / "photos" / name).touch()
    (folder / "r.yaml").write_text(
        "photos: [photos/, photos/a.jpg, 'photos/../photos/*.jpg']\ndetector: mtcnn\n"
    )
    monkeypatch.chdir(tmp_path)
    found = preflight.find_photos(Recipe.load("recipes/r.yaml")).photos
    assert found == [folder / "photos" / "a.jpg", folder / "photos" / "b.PNG"]


def test_nothing_in_the_output_folder_is_a_photo(tmp_path):
    for name in ("photos/a.jpg", "photos/out/frames/0001.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    recipe = Recipe.of(SMALLEST | {"output": "photos/out"}, folder=tmp_path)
    assert preflight.find_photos(recipe).photos == [tmp_path / "photos" / "a.jpg"]
    with pytest.raises(RecipeError) as error:
        preflight.find_photos(Recipe.of(SMALLEST | {"output": "."}, folder=tmp_path))
    assert str(error.value) == (
        f"recipe: photos[0]: it lies inside the output folder {tmp_path}, where nothing is a photo"
    )


def test_a_reference_that_is_no_photo_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for name in ("a.jpg", "photos/a.jpg"):
        preflight.find_photos(Recipe.of(SMALLEST | {"reference": name}, folder=tmp_path))
    with pytest.raises(RecipeError) as error:
        preflight.find_photos(Recipe.of(SMALLEST | {"reference": "b.jpg"}, folder=tmp_path))
    assert str(error.value).startswith("recipe: reference: there is no photo 'b.jpg'; ")


# in Python


def test_a_recipe_is_built_from_stages(discs, tmp_path):
    recipe = Recipe(
        photos="photos",
        output="out",
        detector=discs.Blobs(),
        subject_selector=discs.First(),
        target_builder=discs.Points(),
        transform_model=discs.ClosedForm(),
        renderers=[discs.Array()],
        folder=tmp_path,
    )
    assert recipe.photos == ("photos",)
    assert recipe.dump()["detector"] == {"use": "blobs", "device": "auto", "least": 0.2}
    json.dumps(recipe.dump())


def test_stages_in_the_wrong_place_are_refused(discs, tmp_path):
    with pytest.raises(RecipeError) as error:
        Recipe(
            photos=["photos"],
            output="out",
            detector="mtcnn",
            subject_selector=discs.Blobs(),
            target_builder=discs.Points(),
            transform_model=discs.ClosedForm(),
            renderers=[discs.Array(), 5],
        )
    assert str(error.value).splitlines() == [
        "recipe: detector: expected Detector, got str",
        "recipe: subject_selector: expected SubjectSelector, got Blobs",
        "recipe: renderers[1]: expected Renderer, got int",
    ]


def test_combinations_are_checked_for_stages_too(discs):
    with pytest.raises(RecipeError, match=r"^recipe: subject_selector: 'identity' needs an embedd"):
        Recipe(
            photos=["photos"],
            output="out",
            detector=registry().stages["detector"]["mtcnn"].stage(),
            subject_selector=registry().stages["subject_selector"]["identity"].stage(),
            target_builder=discs.Points(),
            transform_model=discs.ClosedForm(),
            renderers=[discs.Array()],
        )


def test_another_device_is_for_every_stage_that_computes():
    recipe = Recipe.of(SMALLEST | {"embedder": "facenet"}).on("cuda:1")
    devices = {kind: getattr(stage, "device", None) for kind, _, stage in recipe.stages()}
    assert devices == {
        "detector": "cuda:1",
        "embedder": "cuda:1",
        "subject_selector": None,
        "target_builder": None,
        "transform_model": "cuda:1",
        "renderer": None,
    }
    with pytest.raises(RecipeError) as error:
        recipe.on("gpu")
    assert str(error.value) == ("--device gpu: 'gpu' is not one of auto, cpu, cuda, cuda:N, mps")


class Still(Effect):
    """An effect that does nothing."""

    name: ClassVar[str] = "still"

    def apply(self, frames, film):
        return frames


class Dream(Still, ComputeStage):
    """An effect that computes."""

    name: ClassVar[str] = "dream"
    depth: Annotated[int, Field(alias="deep")] = 1


def test_another_device_is_for_effects_that_compute_too(discs):
    own = discs.Array(effects=[Dream(deep=3), Still()])
    recipe = Recipe(
        photos=["photos"],
        detector=discs.Blobs(),
        target_builder=discs.Points(),
        transform_model=discs.ClosedForm(),
        subject_selector=discs.First(),
        effects=[Still(), Dream(deep=2)],
        renderers=[discs.Array(path="b"), own],
    ).on("cuda:1")
    still, dream = recipe.effects
    assert (type(still), dream.device, dream.depth) == (Still, "cuda:1", 2)
    assert recipe.renderers[0].effects is None
    dream, still = recipe.renderers[1].effects
    assert (type(still), dream.device, dream.depth) == (Still, "cuda:1", 3)
    assert own.effects[0].device == "auto"


def test_devices_that_this_machine_lacks_are_all_named(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "photos: a\ndetector: {use: mtcnn, device: 'cuda:99'}\n"
        "transform_model:\n  use: similarity\n  device: cuda:98\n"
    )
    recipe = Recipe.load(path)
    with pytest.raises(RecipeError) as error:
        preflight.check_devices(recipe)
    assert str(error.value).splitlines() == [
        f"{path}:2: detector.device: this machine has no device 'cuda:99'; use auto or cpu",
        f"{path}:5: transform_model.device: this machine has no device 'cuda:98'; use auto or cpu",
    ]
    preflight.check_devices(recipe.on("cpu"))


def test_a_missing_file_is_named_by_the_option_that_names_it(tmp_path):
    data = {"photos": "a", "detector": {"use": "body", "keypoint_weights": "mine.pt"}}
    with pytest.raises(RecipeError, match=r"^recipe: detector\.keypoint_weights: .*mine\.pt"):
        Recipe.of(data, folder=tmp_path)


def test_another_device_does_not_keep_what_a_stage_has_made_on_the_first(tmp_path):
    recipe = Recipe.of({"photos": "a", "detector": {"use": "body"}}, folder=tmp_path)
    assert recipe.detector.silhouettes.device == "auto"
    assert recipe.on("cpu").detector.silhouettes.device == "cpu"


def test_weights_that_are_not_there_are_named_before_anything_is_fetched(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("photos: a\ndetector: mtcnn\nembedder:\n  use: facenet\n  weights: mine.pt\n")
    recipe = Recipe.load(path)
    with pytest.raises(RecipeError) as error:
        preflight.check_weights(recipe)
    assert str(error.value) == (
        f"{path}:5: embedder.weights: {tmp_path}/mine.pt is no file; give another, or leave this "
        "out for the published one"
    )
    (tmp_path / "mine.pt").touch()
    preflight.check_weights(recipe)


def test_a_stage_that_cannot_say_which_weights_it_needs_is_named(tmp_path, install):
    code = BOXES.replace(
        "    def detect", "    def weights_needed(self):\n        return 5\n\n    def detect"
    )
    install("alignimation-boxes", code)
    recipe = Recipe.of({"photos": "a", "detector": "boxes", "target_builder": "pixels"})
    with pytest.raises(RecipeError) as error:
        preflight.check_weights(recipe)
    assert str(error.value) == (
        "recipe: detector: 'boxes' failed to say which weights it needs: TypeError: 'int' object "
        "is not iterable"
    )


# dump


FULL = SMALLEST | {
    "photos": ["a/", "b/"],
    "embedder": {"use": "facenet", "pretrained": "casia-webface"},
    "subject_selector": {"use": "identity", "facing_forward": {"min_ratio": 0.6}},
    "target_builder": {"use": "gaussian-keypoints", "keypoints": ["nose", "left_eye"]},
    "canvas": {"size": "64x48", "border": "mirror"},
    "renderers": ["gif", {"use": "video", "fps": 3}, "frames", "webp"],
}


@pytest.mark.parametrize("data", [SMALLEST, FULL])
def test_a_dump_binds_again_to_an_equal_recipe(data, tmp_path):
    recipe = Recipe.of(data, folder=tmp_path)
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump(recipe.dump()))
    assert Recipe.load(path) == recipe
    assert Recipe.of(recipe.dump(), folder=tmp_path) == recipe
    assert recipe.dump()["seed"] == 0
    assert Recipe.of(data | {"seed": 1}, folder=tmp_path) != recipe


# JSON Schema


@pytest.fixture(scope="module")
def validator():
    whole = json.loads(schema())
    Draft202012Validator.check_schema(whole)
    return Draft202012Validator(whole)


@pytest.mark.parametrize(
    "data",
    [
        SMALLEST,
        FULL,
        SMALLEST | {"embedder": None},
        SMALLEST | {"detector": {"use": "mtcnn", "min_face": 30}},
        SMALLEST | {"subject_selector": {"use": "largest", "facing_forward": True}},
    ],
)
def test_the_schema_accepts_what_binds(validator, data, tmp_path):
    Recipe.of(data)
    assert list(validator.iter_errors(data)) == []
    assert list(validator.iter_errors(Recipe.of(data).dump())) == []


@pytest.mark.parametrize(
    "data",
    [
        {"detector": "mtcnn"},
        SMALLEST | {"photos": 5},
        SMALLEST | {"detector": "mtcn"},
        SMALLEST | {"detector": None},
        SMALLEST | {"detector": {"use": "mtcnn", "min_fac": 30}},
        SMALLEST | {"detector": {"use": "mtcnn", "min_face": "big"}},
        SMALLEST | {"detector": {"use": "largest"}},
        SMALLEST | {"detector": {"min_face": 30}},
        SMALLEST | {"canvas": {"size": "large"}},
        SMALLEST | {"canvas": {"framing": "loose"}},
        SMALLEST | {"renderers": []},
        SMALLEST | {"renderers": [{"use": "gif", "fps": 99}]},
        SMALLEST | {"sed": 5},
        SMALLEST | {"seed": -5},
    ],
)
def test_the_schema_refuses_what_does_not_bind(validator, data):
    with pytest.raises(RecipeError):
        Recipe.of(data)
    assert list(validator.iter_errors(data))


def test_the_schema_describes_every_key_and_knows_every_stage():
    whole = json.loads(schema())
    assert all("description" in field for field in whole["properties"].values())
    for kind in KINDS:
        forms = whole["$defs"][kind]["anyOf"]
        assert forms[0] == {"enum": sorted(registry().stages[kind])}
        uses = {form["properties"]["use"]["const"] for form in forms[1:] if "properties" in form}
        assert uses == set(registry().stages[kind])


# anything at all


names = st.sampled_from(
    [
        *(field.name for field in fields(Settings)),
        "use",
        "fps",
        "path",
        "size",
        "facing_forward",
        "",
        "x",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.dates()
    | st.sampled_from(["mtcnn", "largest", "identity", "video", "gif", "facenet", "1080x1080"])
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(names | scalars.filter(lambda x: x == x), inner, max_size=4)
    ),
    max_leaves=10,
)


anything = st.dictionaries(names | st.integers(), junk, max_size=8)
near_good = st.tuples(anything, junk, junk).map(
    lambda parts: {
        **parts[0],
        **SMALLEST,
        "renderers": [{"use": "gif", "fps": parts[1]}, "video"],
        "subject_selector": {"use": "largest", "facing_forward": parts[2]},
    }
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(anything | near_good)
def test_any_mapping_gives_a_recipe_or_a_recipe_error(data):
    try:
        recipe = Recipe.of(data)
    except RecipeError as error:
        faults = error.faults
    else:
        assert Recipe.of(recipe.dump()) == recipe
        return
    assert faults
    assert all(len(str(fault).splitlines()) == 1 for fault in faults)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=60) | st.text("abc:-[]{}&*!|>'\"#\n ,?<", max_size=60))
def test_any_text_gives_a_recipe_or_a_recipe_error(text, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecipeError):
        Recipe.load(path)


@pytest.mark.parametrize("background", ["remove", "blur", "white"])
def test_a_background_cannot_be_replaced_without_masks(tmp_path, background):
    text = f"photos: a\ndetector: mtcnn\ncanvas:\n  background: {background}\n"
    (line,) = faults(text, tmp_path)
    assert line.startswith(
        f"recipe.yaml:4: canvas.background: {background!r} needs masks, which the detector "
        "'mtcnn' does not give; detectors that do: "
    )
    assert "mask-rcnn" in line


def test_a_background_is_a_word_or_a_colour(tmp_path):
    (line,) = faults("photos: a\ndetector: mtcnn\ncanvas: {background: remvoe}\n", tmp_path)
    assert line == (
        "recipe.yaml:3: canvas.background: 'remvoe' is neither keep, remove, blur nor a colour "
        "such as '#102030'"
    )


def test_a_tilde_in_output_is_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert (
        output_folder(Recipe.of(SMALLEST | {"output": "~/out"})).folder == tmp_path / "me" / "out"
    )
    assert (
        output_folder(Recipe.of(SMALLEST | {"output": "a~b"}, folder=tmp_path)).folder
        == tmp_path / "a~b"
    )


def test_what_the_file_of_annotations_does_not_have_is_said_of_the_file(tmp_path):
    empty = '{"images": [], "categories": [{"id": 1, "name": "person"}], "annotations": []}'
    (tmp_path / "coco.json").write_text(empty, encoding="utf-8")
    detector = "detector: {use: coco-annotations, file: coco.json}\n"
    (line,) = faults(f"photos: a\n{detector}target_builder: mask\n", tmp_path)
    assert line.startswith(
        "recipe.yaml:3: target_builder: 'mask' needs masks: the file of the detector "
        "'coco-annotations' has no masks; detectors that do: "
    )
