import json
import math
import re
from typing import ClassVar

import numpy as np
import pytest
import torch

from alignimation_core import Detections, Detector, run
from alignimation_core.api.errors import AlignimationError
from alignimation_core.cli.verbs import main
from alignimation_core.photos import decoder
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.scoring.folder import frames_in, judge_named, score_frames
from alignimation_core.scoring.judges import Judge, judges_of
from alignimation_core.scoring.score import Scorer, line
from alignimation_imageio import Frames

SIZE, SCALE = (240, 320), 4.0
BETWEEN = 18 * SCALE  # the red and the green blob, pixels


@pytest.fixture
def film(tmp_path, discs):
    """Paint frames of a subject that is moved by known amounts, pixels."""

    def film(shifts):
        folder = tmp_path / "frames"
        warps = [discs.placed(160 + x, 120 + y, 0, SCALE) for x, y in shifts]
        names = discs.series(folder, warps, SIZE)
        return [folder / name for name in names]

    return film


def load(paths):
    return [decoder.load(path).permute(1, 2, 0).contiguous().numpy() for path in paths]


def circle(radius, count):
    return [
        (radius * math.cos(a), radius * math.sin(a)) for a in np.arange(count) * math.tau / count
    ]


@pytest.fixture
def scored(discs):
    def scored(frames, detector=None, names=None):
        judge = Judge(detector or discs.Blobs(), tuple(names or discs.NAMES), True)
        return score_frames(frames, judge, lambda: None)

    return scored


def test_a_subject_that_is_moved_by_a_known_amount_has_that_score(film, scored):
    found = scored(film(circle(1.5, 12)))
    assert (found["frames"], found["seen"], found["of"]) == (12, 12, 12)
    assert found["percent_of_height"]["mean"] == pytest.approx(100 * 1.5 / SIZE[0], rel=0.01)
    assert found["percent_of_height"]["p95"] == pytest.approx(100 * 1.5 / SIZE[0], rel=0.02)
    assert found["percent_of_size"]["mean"] == pytest.approx(100 * 1.5 / BETWEEN, rel=0.01)
    assert found["percent_of_height"]["noise"] < 0.01
    assert found["word"] == "unsteady"


def test_the_95th_percentile_is_that_of_the_worst_frames(film, scored):
    shifts = [(0.0, 0.0)] * 36 + circle(6.0, 4)
    found = scored(film(shifts))["percent_of_height"]
    assert found["mean"] == pytest.approx(100 * 0.6 / SIZE[0], rel=0.02)
    assert found["p95"] == pytest.approx(100 * 6.0 / SIZE[0], rel=0.02)


@pytest.mark.parametrize(
    ("pixels", "word"),
    [(0.05, "excellent"), (0.12, "good"), (0.2, "acceptable"), (0.3, "unsteady")],
)
def test_the_word_goes_by_the_frames_height(film, scored, pixels, word):
    assert scored(film(circle(pixels, 6)))["word"] == word


def test_what_a_judge_adds_that_is_not_the_same_twice_is_told_as_its_noise(film, scored, discs):
    sigma = 0.8

    class Trembling(discs.Blobs):
        def detect(self, images):
            found = super().detect(images)
            for image, detections in zip(images, found, strict=True):
                drawn = torch.Generator().manual_seed(int(image.long().sum()) + image.shape[1])
                detections.keypoints.add_(sigma * torch.randn(1, 3, 2, generator=drawn))
            return found

    shifts = [(0.011 * i, 0.0) for i in range(100)]
    found = scored(film(shifts), Trembling())["percent_of_height"]
    # of the mean of two views, in two dimensions; the second one is seen 1.1 times as large
    each = math.hypot(sigma, sigma / 1.1) / 2
    rayleigh = 100 * each * math.sqrt(math.pi / 2) / SIZE[0]
    assert found["noise"] == pytest.approx(rayleigh, rel=0.1)
    assert found["mean"] == pytest.approx(rayleigh, rel=0.25)


class Eyes(Detector):
    """The red and the green blob, as eyes: the subject's left one is on the right."""

    name: ClassVar[str] = "eyes"
    names: ClassVar[tuple[str, ...]] = ("left_eye", "right_eye")

    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{name}" for name in self.names)})

    def detect(self, images):
        found = []
        for image in images:
            mass = image[:2].float().sum(1)
            x = (mass * (torch.arange(image.shape[2]) + 0.5)).sum(1) / mass.sum(1)
            side = image[:2].float().sum(2)
            y = (side * (torch.arange(image.shape[1]) + 0.5)).sum(1) / side.sum(1)
            points = torch.stack([x, y], 1)[x.argsort(descending=True)]
            box = torch.cat([points.amin(0) - 40, points.amax(0) + 40])
            found.append(
                Detections(box[None], torch.ones(1), points[None], keypoint_names=self.names)
            )
        return found


def test_left_is_left_in_the_mirror_too(film, scored):
    found = scored(film(circle(1.5, 6)), Eyes(), Eyes.names)
    assert found["percent_of_size"]["mean"] == pytest.approx(100 * 1.5 / BETWEEN, rel=0.02)
    assert found["percent_of_height"]["noise"] < 0.02


def test_a_small_subject_is_searched_for_in_a_larger_picture(tmp_path, discs):
    size = (720, 960)
    warps = [discs.placed(480 + x, 360 + y, 0, SCALE) for x, y in circle(1.5, 6)]
    frames = [tmp_path / name for name in discs.series(tmp_path, warps, size)]

    class Near(Eyes):
        def detect(self, images):
            found = super().detect(images)
            return [each if wide(each) > 50 else Detections.empty(Eyes.names) for each in found]

    def wide(found):
        return float(found.keypoints[0, 0, 0] - found.keypoints[0, 1, 0])

    assert 400 / 960 * BETWEEN < 50 < 800 / 960 * BETWEEN
    found = score_frames(frames, Judge(Near(), Eyes.names, True), lambda: None)
    assert found["seen"] == 6
    assert found["percent_of_height"]["mean"] == pytest.approx(100 * 1.5 / size[0], rel=0.05)
    assert found["percent_of_height"]["noise"] < 0.02


def test_frames_without_the_subject_are_counted_and_two_are_needed(film, scored, discs):
    frames = film(circle(1.5, 3))
    discs.paint(frames[0], discs.placed(-500, -500), SIZE)
    found = scored(frames)
    assert (found["frames"], found["seen"]) == (3, 2)
    discs.paint(frames[1], discs.placed(-500, -500), SIZE)
    found = scored(frames)
    assert found["note"] == "blobs sees the subject in 1 of 3 frames, and two are needed"
    assert line(found) == f"no score: {found['note']}"


# in a run


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    discs.series(tmp_path / "photos", discs.WARPS)
    return lambda **changes: discs_recipe(
        **{
            "score": True,
            "reference": "first",
            "canvas": CanvasOptions(size="256x192", border="black"),
            "renderers": [Frames(path="frames")],
            **changes,
        }
    )


def test_a_run_has_the_score_that_its_frames_have(recipe, tmp_path, scored, discs):
    record = run(recipe())
    written = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert (
        written["score"]
        == record.score
        == {
            **scored(frames_in(tmp_path / "out" / "frames"), names=sorted(discs.NAMES)),
            "independent": False,
        }
    )
    assert record.score["frames"] == 4
    assert record.score["percent_of_height"]["mean"] < 0.1
    again = run(recipe())
    assert again.score == record.score


def test_without_it_no_frame_is_looked_at(recipe, discs):
    seen = []

    class Counting(discs.Blobs):
        def detect(self, images):
            seen.extend(images)
            return super().detect(images)

    assert run(recipe(score=False, detector=Counting())).score is None
    assert len(seen) == 4
    run(recipe(detector=Counting()), fresh=True)
    assert len(seen) == 4 + 4 + 2 * 4


def test_a_judge_that_fails_costs_the_run_nothing(recipe, discs):
    class Failing(discs.Blobs):
        def detect(self, images):
            if images[0].shape[1] > 100:
                raise RuntimeError("out of order")
            return super().detect(images)

    record = run(recipe(detector=Failing()))
    assert record.error is None
    assert record.outputs == ["frames"]
    assert record.score["note"] == "detector blobs: RuntimeError: out of order"


def test_a_detector_without_keypoints_gives_no_score(recipe, discs):
    class Boxes(discs.Blobs):
        def provides(self):
            return frozenset()

    with pytest.raises(AlignimationError) as caught:
        judges_of(Boxes())
    assert str(caught.value) == "blobs finds no keypoints to score by"


OTHER = """
from typing import ClassVar
from alignimation_core import Detector, hookimpl
from alignimation_core.api.weights import Weights

class Other(Detector):
    '''Finds the same.'''
    name: ClassVar[str] = "other"
    def provides(self):
        return frozenset({"keypoints", *(f"keypoints.{n}" for n in ("red", "green", "blue"))})
    def weights_needed(self):
        return WEIGHTS
    def detect(self, images):
        raise NotImplementedError

@hookimpl
def alignimation_detectors():
    return [Other]
"""
MISSING = '((Weights("none.pt", "https://x.org/none.pt", "0" * 64, 10, "MIT"), None),)'


def test_a_detector_of_another_plugin_is_preferred(install, discs):
    install("alignimation-other", OTHER.replace("WEIGHTS", "()"))
    judge, own = judges_of(discs.Blobs())
    assert (judge.detector.name, judge.independent) == ("other", True)
    assert (own.detector.name, own.independent) == ("blobs", False)
    assert judge.keypoints == ("blue", "green", "red")


def test_weights_are_not_fetched_for_it(install, discs):
    install("alignimation-other", OTHER.replace("WEIGHTS", MISSING))
    (judge,) = judges_of(discs.Blobs())
    assert (judge.detector.name, judge.independent) == ("blobs", False)


class Costly(Eyes):
    """Has a lighter self look at frames."""

    name: ClassVar[str] = "costly"
    light: bool = False

    def score_detector(self):
        return Costly(light=True)


def test_a_detector_may_have_a_lighter_one_look_at_frames():
    *_, judge = judges_of(Costly())
    assert judge == Judge(Costly(light=True), Eyes.names, independent=False)


def test_the_same_one_looks_at_a_folder(install):
    light = """
    light: bool = False
    def score_detector(self):
        return Other(light=True)
"""
    code = OTHER.replace("WEIGHTS", "()").replace('"other"\n', '"other"' + light)
    install("alignimation-other", code)
    assert judge_named("other").detector.light


def test_one_that_is_no_detector_is_told():
    class Wrong(Eyes):
        def score_detector(self):
            return None

    with pytest.raises(AlignimationError) as caught:
        judges_of(Wrong())
    assert str(caught.value) == (
        "detector eyes: TypeError: score_detector: expected a Detector, got NoneType"
    )


@pytest.mark.parametrize("fault", ["raise RuntimeError('out of order')", "return None"])
def test_where_another_detector_has_nobody_look_the_runs_own_judges(install, discs, fault):
    code = f"    def score_detector(self):\n        {fault}\n    def detect"
    install("alignimation-other", OTHER.replace("WEIGHTS", "()").replace("    def detect", code))
    (judge,) = judges_of(discs.Blobs())
    assert judge.detector.name == "blobs"


NOTHING = "return [Detections.empty(('red', 'green', 'blue'))] * len(images)"


@pytest.mark.parametrize("found", [NOTHING, "raise NotImplementedError"])
def test_where_another_detector_sees_nothing_the_runs_own_judges(recipe, install, found):
    code = OTHER.replace("WEIGHTS", "()").replace("raise NotImplementedError", found)
    install("alignimation-other", code.replace("import Detector,", "import Detections, Detector,"))
    score = run(recipe()).score
    assert (score["detector"], score["independent"], score["seen"]) == ("blobs", False, 4)
    assert score["percent_of_height"]["mean"] < 0.1


def test_the_score_of_a_sample_tells_how_far_it_may_be_off(film, discs):
    rng = np.random.default_rng(0)
    frames = film(rng.normal(0, 1.5, (60, 2)).tolist())
    judge = Judge(discs.Blobs(), discs.NAMES, True)
    whole = score_frames(frames, judge, lambda: None)
    assert whole["percent_of_height"]["error"] == 0
    assert "±" not in line(whole)
    scorer = Scorer.of_run(judge, 60, 0)
    look = scorer.looking(load, 1)
    for place in scorer.sample:
        scorer.take(*look([frames[place]]))
    some = scorer.score()
    mean, error = (some["percent_of_height"][name] for name in ("mean", "error"))
    assert error == pytest.approx(0.52 * mean / math.sqrt(6) * math.sqrt(0.9), rel=0.6)  # Rayleigh
    assert abs(mean - whole["percent_of_height"]["mean"]) < 3 * error
    assert f"% (±{error:.3f}) of the height" in line(some)


@pytest.mark.parametrize(("count", "looked_at"), [(5, 5), (100, 6), (1000, 50), (9000, 100)])
def test_two_looks_at_one_frame_in_twenty_and_at_most_at_a_hundred(discs, count, looked_at):
    sample = Scorer.of_run(Judge(discs.Blobs(), discs.NAMES, False), count, 0).sample
    assert len(sample) == looked_at
    assert sample == sorted(set(sample))
    assert 0 <= sample[0] <= sample[-1] < count


# the command


def test_the_command_scores_a_folder(film, discs_installed, capsys):
    folder = film(circle(1.5, 12))[0].parent
    assert main(["score", str(folder), "--detector", "blobs"]) == 0
    about = (
        r"keypoints lie 0\.62. % of the height \(95 %: 0\.62. %\), 2\.08 % of the subject's size"
    )
    seen = r"seen by blobs on 12 of 12 frames; its noise: 0\.00. %"
    told = rf"score: unsteady; {about} from their mean places; {seen}\n"
    assert re.fullmatch(told, capsys.readouterr().out)


def test_the_command_says_what_is_wrong(film, discs, discs_installed, tmp_path, capsys):
    def told(*arguments, status=2):
        assert main(["score", *map(str, arguments)]) == status
        return capsys.readouterr().err.splitlines()[-1]

    frames = film(circle(1.5, 3))
    discs.paint(frames[2], discs.placed(60, 50), (100, 120))
    assert told(frames[0].parent, "--detector", "blobs", status=1).endswith(
        f"{frames[0].name} has 320x240 pixels and {frames[2].name} has 120x100 pixels; the frames "
        "of a film are all of one size"
    )
    assert "there is no detector 'blob'; did you mean 'blobs'?" in told(
        frames[0].parent, "--detector", "blob"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert told(empty).endswith(f"{empty}: there is no picture in it; give a folder of frames")
    assert told(frames[0]).endswith(f"{frames[0]}: Not a directory; give a folder of frames")
