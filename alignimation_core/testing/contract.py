"""The contract of every stage, as tests for pytest."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from alignimation_core.api import hooks
from alignimation_core.api.stages import AnnotationDetector, ComputeStage, Stage
from alignimation_core.plugin.registry import KINDS, fault_of, is_name, registry
from alignimation_core.testing.alignment import TargetBuilderTests, TransformModelTests
from alignimation_core.testing.detection import (
    AnnotationDetectorTests,
    DetectorTests,
    EmbedderTests,
    SubjectSelectorTests,
)
from alignimation_core.testing.faults import fail
from alignimation_core.testing.films import EffectTests, RendererTests
from alignimation_core.testing.sources import PhotoSourceTests

TESTS: dict[str, type] = {
    "photo_source": PhotoSourceTests,
    "detector": DetectorTests,
    "embedder": EmbedderTests,
    "subject_selector": SubjectSelectorTests,
    "target_builder": TargetBuilderTests,
    "transform_model": TransformModelTests,
    "effect": EffectTests,
    "renderer": RendererTests,
}
"""The tests of each of ``KINDS``."""

ABILITIES = {"keypoints", "masks", "embeddings", "pixels"}
GIVEN = {"detector": {"keypoints", "masks"}, "embedder": {"embeddings"}}


class StageContract:
    """The tests of one stage: those of every stage, and those of its kind.

    A subclass sets ``stage``, and gets the tests of its kind with it. Each fault is told by one
    test, in one line; what depends on it is skipped.

    Attributes:
        stage: the stage to be tested, with options under which it can work on this machine.
        memo: what the stage has answered, where that takes long.
    """

    stage: ClassVar[Stage]
    memo: ClassVar[dict[Any, Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        """Add the tests of the stage's kind."""
        super().__init_subclass__(**options)
        stage: object = getattr(cls, "stage", None)
        if stage is None and not cls.__name__.startswith("Test"):
            return  # what several have in common
        if not isinstance(stage, Stage):
            what = f"the class {stage.__name__}" if isinstance(stage, type) else repr(stage)
            example = stage.__name__ if isinstance(stage, type) else "Moon"
            pytest.fail(
                f"{cls.__name__}: expected a stage, such as `stage = {example}()`, got {what}",
                pytrace=False,
            )
        annotates = isinstance(stage, AnnotationDetector)
        tests = AnnotationDetectorTests if annotates else TESTS[kind_of(stage)]
        cls.memo = {}
        if not issubclass(cls, tests):
            cls.__bases__ = (*cls.__bases__, tests)

    def test_it_can_be_registered(self) -> None:
        """As the plugin's hook returns it."""
        if fault := fault_of(kind_of(self.stage), type(self.stage)):
            fail(self.stage, fault)

    def test_an_entry_point_leads_to_it(self) -> None:
        """Where its package is installed as a plugin."""
        kind, package = kind_of(self.stage), _package(self.stage)
        if not _is_installed(package):
            pytest.skip(f"no entry point names {package}: recipes find it once that is installed")
        found = registry().stages[kind].get(self.stage.name)
        if found is None or found.stage is not type(self.stage):
            broken = [each for each in registry().broken if each.reason]
            why = "; ".join(map(str, broken)) or f"alignimation_{kind}s does not return it"
            fail(self.stage, f"no recipe can use it: {why}")

    def test_its_name_can_be_written_in_a_recipe(self) -> None:
        """In small letters and digits, with hyphens between words, and no word of YAML."""
        if not is_name(self.stage.name):
            what = (
                "expected small letters and digits, with hyphens between words, such as full-moon"
            )
            fail(self.stage, f"name: {what}; got {self.stage.name!r}")

    def test_it_says_in_one_line_what_it_does(self) -> None:
        """The first line of its docstring, which lists show."""
        line = (inspect.getdoc(type(self.stage)) or "").partition("\n")[0]
        if not 20 <= len(line) <= 100 or not line.endswith("."):
            fail(
                self.stage,
                f"docstring: expected a first line of 20 to 100 characters, got {line!r}",
            )

    def test_every_option_is_described(self) -> None:
        """For lists, editors and reference."""
        for name, option in type(self.stage).model_fields.items():
            if not option.description or option.description.endswith("."):
                what = "expected a description that does not end with a full stop"
                fail(self.stage, f"{name}: {what}, got {option.description!r}")
        described = type(self.stage).model_json_schema().get("properties", {})
        if open_ := [name for name, each in described.items() if "description" not in each]:
            fail(self.stage, f"{open_[0]}: its description does not get into the JSON schema")

    def test_it_is_frozen_and_refuses_unknown_options(self) -> None:
        """A misspelt option in a recipe is told."""
        options = {name: getattr(self.stage, name) for name in type(self.stage).model_fields}
        try:
            type(self.stage)(**{**options, "no_such_option": 1})
        except ValidationError as error:
            if [each["type"] for each in error.errors()] != ["extra_forbidden"]:
                fail(self.stage, f"its own options do not make it again: {error.errors()[0]}")
        else:
            fail(self.stage, "it takes options that it does not have; leave model_config as it is")
        for name, value in options.items():
            with pytest.raises(ValidationError, match="frozen"):
                setattr(self.stage, name, value)

    def test_it_equals_what_its_own_values_make(self) -> None:
        """As the run record writes it down, and as it travels to other processes."""
        stage = self.stage
        if type(stage).model_validate(stage.model_dump(mode="json")) != stage:
            fail(stage, "its options, written as JSON, make another stage")
        if pickle.loads(pickle.dumps(stage)) != stage:  # noqa: S301 - what was made here
            fail(stage, "pickled, it becomes another stage")

    def test_it_says_what_it_needs_and_gives_in_known_words(self) -> None:
        """By which recipes whose stages do not fit are refused."""
        kind = kind_of(self.stage)
        for verb in ("requires", "provides"):
            words = getattr(self.stage, verb)()
            if not isinstance(words, frozenset):
                fail(self.stage, f"{verb}: expected a frozenset, got {type(words).__name__}")
            allowed = ABILITIES if verb == "requires" else GIVEN.get(kind, set())
            if strange := sorted(w for w in words if w.partition(".")[0] not in allowed):
                among = ", ".join(sorted(allowed)) or "none"
                fail(self.stage, f"{verb}: unknown to this kind: {strange[0]!r}; known: {among}")
        given = self.stage.provides()
        if any(word.startswith("keypoints.") for word in given) != ("keypoints" in given):
            fail(self.stage, "provides: `keypoints` and `keypoints.NAME` belong together")
        if kind == "detector" and self.stage.requires():
            fail(self.stage, "requires: a detector is the first, and can require nothing")

    def test_it_says_which_weights_it_needs(self) -> None:
        """Files that are verified, and whose licence is known."""
        for weights, _ in self.stage.weights_needed():
            whole = len(weights.sha256) == 64 and weights.url.startswith("https://")
            if not (whole and weights.licence):
                what = "expected an https URL, a SHA-256 and a licence"
                fail(self.stage, f"weights_needed: {weights.filename}: {what}")

    def test_a_stage_that_computes_has_a_device(self) -> None:
        """Which a recipe sets for all."""
        if (
            not isinstance(self.stage, ComputeStage)
            or "device" not in type(self.stage).model_fields
        ):
            pytest.skip("it computes nothing")
        options = {name: getattr(self.stage, name) for name in type(self.stage).model_fields}
        there = type(self.stage)(**{**options, "device": "cpu"})
        assert str(there.torch_device()) == "cpu"
        with pytest.raises(ValidationError, match="is not one of auto, cpu, cuda, cuda:N, mps"):
            type(self.stage)(**{**options, "device": "gpu"})

    def test_its_verb_takes_what_its_kind_says(self) -> None:
        """By the same names, in the same order."""
        kind = AnnotationDetector if isinstance(self.stage, AnnotationDetector) else None
        base = kind or KINDS[kind_of(self.stage)]
        (verb,) = {"annotate"} if kind else base.__abstractmethods__
        own, wanted = (
            [*inspect.signature(getattr(each, verb)).parameters]
            for each in (type(self.stage), base)
        )
        if own != wanted:
            fail(self.stage, f"{verb}: expected ({', '.join(wanted)}), got ({', '.join(own)})")

    def test_importing_it_imports_no_torch(self) -> None:
        """Commands list every stage, and are to answer at once."""
        package = _package(self.stage)
        if not _is_installed(package):
            pytest.skip(f"no entry point names {package}")
        if fault := _import_fault(package):
            fail(self.stage, f"importing {package} {fault}")


def kind_of(stage: Stage) -> str:
    """Return which of ``KINDS`` a stage is of."""
    return next(kind for kind, base in KINDS.items() if isinstance(stage, base))


def _package(stage: Stage) -> str:
    return type(stage).__module__.partition(".")[0]


def _is_installed(package: str) -> bool:
    modules = (point.value.partition(":")[0] for point in entry_points(group=hooks.PROJECT))
    return package in {module.partition(".")[0] for module in modules}


@cache
def _import_fault(package: str) -> str | None:
    """Return what is wrong with importing a package; None where nothing is."""
    code = f"import sys, {package}; sys.exit(3 if 'torch' in sys.modules else 0)"
    done = subprocess.run(  # noqa: S603 - this very Python
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    if done.returncode == 3:
        return "imports torch, which takes seconds; import it inside the verb"
    if done.returncode:
        return f"fails: {(done.stderr.splitlines() or ['without a word'])[-1]}"
    return None
