"""What a run says of plugins at fault: by name, once, and of no photo or setting."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from alignimation_core import AlignimationError, Embedder, Registration, run
from alignimation_core.progress import Progress

STAGES = Path(__file__).parents[2] / "stages" / "discs.py"


@pytest.fixture
def recipe(discs_recipe, discs, tmp_path):
    discs.series(tmp_path / "photos", discs.WARPS)
    return discs_recipe()


def fault(recipe):
    with pytest.raises(AlignimationError) as error:
        run(recipe)
    return str(error.value)


def test_shares_in_the_place_of_pixels_are_told(recipe, discs):
    class Shares(discs.Blobs):
        def detect(self, images):
            return [found.scaled(1 / 64, 1 / 48) for found in super().detect(images)]

    assert fault(replace(recipe, detector=Shares())) == (
        "no photo shows the subject: 4 failed: blobs: ValueError: boxes: expected pixels of an "
        "image of 64 x 48, got shares of its sides, 0 to 1; multiply x by the width and y by the "
        "height (such as photos/2020-01-01.png)"
    )


def test_keypoints_that_are_shares_are_told_too(recipe, discs):
    class Shares(discs.Blobs):
        def detect(self, images):
            return [
                replace(found, keypoints=found.keypoints / torch.tensor([64.0, 48.0]))
                for found in super().detect(images)
            ]

    assert "blobs: ValueError: keypoints: expected pixels of an image of 64 x 48, got shares" in (
        fault(replace(recipe, detector=Shares()))
    )


def test_a_subject_in_the_first_pixels_of_a_photo_is_no_share(recipe, discs):
    class Corner(discs.Blobs):
        def detect(self, images):
            box = torch.tensor([[0.0, 0.0, 6.0, 6.0]])
            return [replace(found, boxes=box) for found in super().detect(images)]

    assert run(replace(recipe, detector=Corner())).summary["used"] == 4


@pytest.mark.parametrize(
    ("length", "fits"), [(22.6, False), (1.02, False), (1.004, True), (0, True)]
)
def test_embeddings_that_are_not_of_length_1_are_told(recipe, length, fits):
    class Long(Embedder):
        name: ClassVar[str] = "long"
        same_above: ClassVar[float] = 0.5

        def embed(self, images, detections):
            return [length * torch.eye(1, 4).repeat(len(found), 1) for found in detections]

    if fits:
        assert run(replace(recipe, embedder=Long())).summary["used"] == 4
    else:
        assert (
            f"4 failed: long: ValueError: embeddings: expected rows of length 1, got {length:.4g}; "
            "torch.nn.functional.normalize(rows, dim=1) makes them so (such as "
        ) in fault(replace(recipe, embedder=Long()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda target: replace(target, image=target.image + 255),
            "image: expected 0 to 1, got 255; divide by 255",
        ),
        (lambda target: replace(target, image=target.image - 1), "image: expected 0 to 1, got -1"),
        (
            lambda target: replace(target, weights=target.weights - 2),
            "weights: expected 0 or more, got -1",
        ),
    ],
)
def test_targets_beyond_their_range_are_told(recipe, discs, change, reason):
    class Bytes(discs.Points):
        def build(self, subject, size):
            return change(super().build(subject, size))

    assert fault(replace(recipe, target_builder=Bytes())) == (
        f"no photo is left to align; of 4, 4 failed: points: ValueError: {reason}"
    )


def test_a_builder_that_fails_on_every_photo_is_blamed_and_not_the_reference(recipe, discs):
    class Wrong(discs.Points):
        def build(self, subject, size):
            return subject + 1

    text = fault(replace(recipe, target_builder=Wrong(), reference="2020-01-03.png"))
    assert text.startswith("no photo is left to align; of 4, 4 failed: points: TypeError: ")
    assert "set `reference`" not in text


def test_a_model_that_never_converges_is_told_once(recipe, discs, listener):
    class Stubborn(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            return Registration(initial, converged=torch.zeros(len(initial), dtype=torch.bool))

    heard = listener()
    stubborn = replace(recipe, transform_model=Stubborn(), reference="mean")
    assert run(stubborn, progress=heard).summary["used"] == 4
    (line,) = [line for line in heard.notes if line.startswith("warning")]
    assert line == (
        "warning: transform_model closed-form: it says of none of the photos that its fit has "
        "converged; look closely, or give it more iterations"
    )


ALONE = (
    "; this was said of several photos together, and of none of them alone: they were given to "
    "the stage one by one, which takes longer"
)


def test_batches_that_only_fail_together_are_told_once(recipe, discs, tmp_path, listener):
    class Single(discs.Blobs):
        def detect(self, images):
            if len(images) > 1:
                raise ValueError(f"expected 1 image, got {len(images)}")
            return super().detect(images)

    class SingleFit(discs.ClosedForm):
        def fit(self, moving, fixed, initial):
            if len(initial) > 1:
                raise ValueError("expected 1 photo")
            return super().fit(moving, fixed, initial)

    discs.series(tmp_path / "photos", (*discs.WARPS, *discs.WARPS, *discs.WARPS[:2]))
    for number, path in enumerate(sorted((tmp_path / "photos").iterdir())):
        path.write_bytes(path.read_bytes() + bytes([number]))  # ten different files
    heard = listener()
    single = replace(recipe, detector=Single(), transform_model=SingleFit())
    assert run(single, progress=heard).summary["used"] == 10
    (line,) = [line for line in heard.notes if line.startswith("warning: detector")]
    assert line in [
        f"warning: detector blobs: ValueError: expected 1 image, got {count}{ALONE}"
        for count in (2, 4)
    ]
    assert [line for line in heard.notes if line.startswith("warning: transform")] == [
        f"warning: transform_model closed-form: ValueError: expected 1 photo{ALONE}"
    ]


def test_a_photo_that_fails_alone_explains_its_batch(recipe, discs, listener):
    class Picky(discs.Blobs):
        def detect(self, images):
            if any(int(image[1].float().amax(1).argmax()) == 17 for image in images):
                raise ValueError("not this one")
            return super().detect(images)

    heard = listener()
    assert run(replace(recipe, detector=Picky()), progress=heard).summary == {
        "used": 3,
        "rejected": 0,
        "failed": 1,
    }
    assert not [line for line in heard.notes if line.startswith("warning")]


# as users meet them: installed, by the command


@pytest.fixture
def written(tmp_path, discs):
    discs.series(tmp_path / "photos", discs.WARPS)
    recipe = {
        "photos": "photos/",
        "output": "out",
        "detector": "blobs",
        "subject_selector": "first",
        "target_builder": "points",
        "transform_model": "closed-form",
        "canvas": {"size": "64x48"},
        "report": False,
        "score": False,
        "renderers": ["array"],
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    return tmp_path / "recipe.yaml"


def lines_of(text):
    return [line for line in text.splitlines() if line]


def test_what_plugins_print_is_not_among_the_results(install, command, written):
    chatty = STAGES.read_text().replace(
        "        found = []\n",
        "        print('looking')\n        import os\n        os.write(1, b'in C\\n')\n"
        "        os.system('echo in a process')\n        found = []\n",
    )
    install("alignimation-discs", f"print('loading')\n{chatty}", module="alignimation_discs")
    done = command(written)
    assert done.returncode == 0, done.stderr
    assert lines_of(done.stdout) == [str(written.parent / "out" / "frames.npy")]
    assert {"loading", "looking", "in C", "in a process"} <= {*done.stderr.splitlines()}
    done = command(written, "--check")
    assert done.returncode == 0, done.stderr
    assert "loading" not in done.stdout
    assert json.loads(command("--schema").stdout)


def test_an_exception_of_a_plugin_names_file_and_line_and_can_be_traced(install, command, written):
    code = STAGES.read_text().replace(
        "        found = []\n", "        found = []\n        len(5)\n"
    )
    line = code[: code.index("len(5)")].count("\n") + 1
    install("alignimation-discs", code, module="alignimation_discs")
    done = command(written)
    reason = "TypeError: object of type 'int' has no len()"
    assert done.returncode == 1
    assert lines_of(done.stderr)[-1] == (
        f"alignimation-run: no photo shows the subject: 4 failed: blobs: {reason} "
        f"(alignimation_discs.py:{line}) (such as photos/2020-01-01.png)"
    )
    assert "Traceback" not in done.stderr
    traced = command(written, "--traceback").stderr
    assert f'alignimation_discs.py", line {line}, in detect\n    len(5)' in traced


def test_reasons_that_differ_in_numbers_are_told_as_one_without_them(install, command, written):
    code = STAGES.read_text().replace(
        "        found = []\n",
        "        found = []\n"
        "        raise ValueError(f'status {int(images[0].sum())}, try again')\n",
    )
    install("alignimation-discs", code, module="alignimation_discs")
    last = lines_of(command(written).stderr)[-1]
    assert "4 failed: blobs: ValueError: status …, try again (alignimation_discs.py:" in last


def test_plugins_at_fault_stop_no_recipe_that_does_not_use_them(install, command, written):
    install("alignimation-discs", STAGES.read_text(), module="alignimation_discs")
    later = "from alignimation_core import hookimpl\n@hookimpl\ndef alignimation_sounds():\n    ..."
    install("alignimation-later", later)
    claims = STAGES.read_text().replace('"blobs"', '"mtcnn"')
    for name in ("first", "points", "closed-form", "array"):
        claims = claims.replace(f'"{name}"', f'"{name}-again"')
    install("alignimation-claims", claims, module="alignimation_claims")
    done = command(written)
    assert done.returncode == 0, done.stderr
    listed = command("--list").stdout.splitlines()
    clash, unknown = [line for line in listed if line.startswith("plugin ")]
    assert clash == (
        "plugin alignimation_claims (of alignimation-claims) cannot be used: the detector 'mtcnn' "
        "is in both alignimation and alignimation-claims; uninstall one of the two, or rename it"
    )
    assert unknown.startswith(
        "plugin alignimation_later (of alignimation-later) cannot be used: unknown hook "
        "'alignimation_sounds'; the hooks are alignimation_photo_sources, alignimation_detectors, "
    )


def test_a_step_is_told_which_stages_are_at_work(recipe, discs):
    class Steps(Progress):
        def __init__(self):
            self.at_work = {}

        @contextmanager
        def stage(self, name, total, at_work=""):
            assert total > 0, f"nothing to do in {name}"
            self.at_work[name] = at_work
            yield lambda: None

    steps = Steps()
    run(recipe, progress=steps)
    assert steps.at_work == {
        "reading": "",
        "detecting": "blobs",
        "choosing": "first",
        "refining": "",
        "aligning": "closed-form",
        "rendering": "array",
    }
