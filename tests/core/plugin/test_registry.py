from importlib.metadata import version

import pytest

from alignimation_core import Recipe
from alignimation_core.cli.listing import listing
from alignimation_core.plugin.registry import KINDS, registry

GOOD = '''
from typing import ClassVar
from alignimation_core import Choice, SubjectSelector, hookimpl

class Last(SubjectSelector):
    """Takes the last detection.

    More about it.
    """

    name: ClassVar[str] = "last"

    def select(self, observations):
        return [Choice(len(seen.detections) - 1) for seen in observations]

@hookimpl
def alignimation_subject_selectors():
    return [Last]
'''


def broken():
    return {each.plugin: each.reason for each in registry().broken}


def test_a_plugin_is_found_with_its_distribution_version_and_summary(install):
    install("alignimation-last", GOOD, version="2.3")
    found = registry().stages["subject_selector"]["last"]
    assert (found.kind, found.name, found.distribution, found.version, found.summary) == (
        "subject_selector",
        "last",
        "alignimation-last",
        "2.3",
        "Takes the last detection.",
    )
    assert found.stage.__module__ == "alignimation_last"
    assert broken() == {}


def test_the_stages_that_come_along_are_found_through_their_entry_points():
    assert {"largest", "identity"} <= registry().stages["subject_selector"].keys()
    assert registry().stages["detector"]["mtcnn"].distribution == "alignimation"
    assert registry().broken == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('needs\\n  the moon')", "RuntimeError: needs the moon"),
        ("raise SystemExit", "SystemExit"),
        ("def f(:", "SyntaxError: invalid syntax"),
    ],
)
def test_a_plugin_that_fails_at_import_is_listed_and_harms_nobody(install, code, reason):
    install("alignimation-bad", code)
    install("alignimation-last", GOOD)
    assert "last" in registry().stages["subject_selector"]
    assert "mtcnn" in registry().stages["detector"]
    assert broken().keys() == {"alignimation_bad"}
    assert broken()["alignimation_bad"].startswith(reason)
    assert "\n" not in broken()["alignimation_bad"]
    line = f"plugin alignimation_bad (of alignimation-bad) cannot be used: {reason}"
    assert line in listing()


def test_an_entry_point_that_names_no_module_is_listed(install):
    install("alignimation-last", GOOD, points=["gone = alignimation_gone"])
    assert broken() == {"gone": "ModuleNotFoundError: No module named 'alignimation_gone'"}


HEAD = """
from typing import ClassVar
from alignimation_core import Choice, Embedder, SubjectSelector, hookimpl
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "@hookimpl\ndef alignimation_detectors():\n    raise OSError('no camera')",
            "alignimation_detectors: OSError: no camera",
        ),
        (
            "@hookimpl\ndef alignimation_detectors():\n    return None",
            (
                "alignimation_detectors: TypeError: expected a list of classes, such as "
                "[MyDetector], got None"
            ),
        ),
        (
            "@hookimpl\ndef alignimation_detectors():\n    return ['mtcnn']",
            "alignimation_detectors returned 'mtcnn', which is no subclass of Detector",
        ),
        (
            (
                "class A(SubjectSelector):\n    '''A.'''\n    name: ClassVar[str] = 'a'\n"
                "    def select(self, observations):\n        return []\n"
                "@hookimpl\ndef alignimation_detectors():\n    return [A]"
            ),
            "alignimation_detectors returned A, which is no subclass of Detector",
        ),
        (
            (
                "class A(SubjectSelector):\n    '''A.'''\n    name: ClassVar[str] = 'a'\n"
                "@hookimpl\ndef alignimation_subject_selectors():\n    return [A]"
            ),
            "A does not define select",
        ),
        (
            (
                "class A(SubjectSelector):\n    '''A.'''\n"
                "    def select(self, observations):\n        return []\n"
                "@hookimpl\ndef alignimation_subject_selectors():\n    return [A]"
            ),
            'A has no name: add `name: ClassVar[str] = "..."`',
        ),
        (
            (
                "class A(SubjectSelector):\n    name: ClassVar[str] = 'a'\n"
                "    def select(self, observations):\n        return []\n"
                "@hookimpl\ndef alignimation_subject_selectors():\n    return [A]"
            ),
            "A has no docstring, whose first line is shown by --list",
        ),
        (
            (
                "from alignimation_core import AnnotationDetector\n"
                "class A(AnnotationDetector):\n    name: ClassVar[str] = 'a'\n"
                "    def annotate(self, photo):\n        ...\n"
                "@hookimpl\ndef alignimation_detectors():\n    return [A]"
            ),
            "A has no docstring, whose first line is shown by --list",
        ),
        (
            (
                "class A(Embedder):\n    '''A.'''\n    name: ClassVar[str] = 'a'\n"
                "    def embed(self, images, detections):\n        return []\n"
                "@hookimpl\ndef alignimation_embedders():\n    return [A]"
            ),
            "A has no same_above: add `same_above: ClassVar[float] = ...`",
        ),
        (
            "def alignimation_detectors():\n    return []",
            "it has no hook; mark its functions with @hookimpl",
        ),
    ],
)
def test_what_a_plugin_does_wrong_is_said_in_one_line(install, code, reason):
    install("alignimation-bad", HEAD + code)
    assert broken() == {"alignimation_bad": reason}
    assert "largest" in registry().stages["subject_selector"]
    assert "a" not in registry().stages["subject_selector"]


def test_options_whose_types_are_not_there_at_run_time_are_listed(install):
    code = GOOD.replace("    def select", "    at: 'datetime | None' = None\n\n    def select")
    install("alignimation-last", code)
    reason = broken()["alignimation_last"]
    assert reason.startswith("Last has options that cannot be read: ")
    assert "datetime" in reason


def test_a_hook_that_asks_for_arguments_is_listed(install):
    code = "@hookimpl\ndef alignimation_detectors(config):\n    return []"
    install("alignimation-bad", HEAD + code)
    reason = broken()["alignimation_bad"]
    assert reason.startswith("PluginValidationError")
    assert "{'config'} are declared in the hookimpl" in reason


def test_one_unfit_stage_does_not_take_the_others_of_its_plugin_along(install):
    code = GOOD.replace("return [Last]", "return [5, Last]")
    install("alignimation-last", code)
    assert "last" in registry().stages["subject_selector"]
    reason = "alignimation_subject_selectors returned 5, which is no subclass of SubjectSelector"
    assert broken() == {"alignimation_last": reason}


def test_a_plugin_may_give_nothing(install):
    install("alignimation-none", HEAD + "@hookimpl\ndef alignimation_detectors():\n    return []")
    assert broken() == {}


ANOTHER = GOOD.replace("return [Last]", "return [Last, Final]").replace(
    "@hookimpl",
    "class Final(Last):\n    'Takes it, too.'\n    name: ClassVar[str] = 'final'\n\n@hookimpl",
)


def test_a_name_that_two_distributions_claim_is_nobodys_and_harms_no_other_stage(install):
    install("alignimation-last", GOOD)
    install("another-last", ANOTHER)
    text = (
        "the subject selector 'last' is in both alignimation-last and another-last; uninstall one "
        "of the two, or rename it"
    )
    assert broken() == {"another_last": text}
    assert registry().stages["subject_selector"].keys() >= {"final", "largest"}
    assert "last" not in registry().stages["subject_selector"]
    assert f"plugin another_last (of another-last) cannot be used: {text}" in listing()
    assert registry().explain_unknown("subject_selector", "last") == text


def test_what_comes_along_keeps_its_name(install):
    install("alignimation-last", GOOD.replace('"last"', '"largest"'))
    assert registry().stages["subject_selector"]["largest"].distribution == "alignimation"
    assert broken()["alignimation_last"].startswith(
        "the subject selector 'largest' is in both alignimation and alignimation-last; "
    )


def test_one_name_may_be_used_for_two_kinds(install):
    install("alignimation-last", GOOD.replace('"last"', '"video"'))
    assert registry().stages["subject_selector"]["video"].distribution == "alignimation-last"
    assert registry().stages["renderer"]["video"].distribution == "alignimation"


def test_two_distributions_may_call_their_entry_points_alike(install):
    install("alignimation-last", GOOD, point="plugin")
    install("another", GOOD.replace('"last"', '"final"'), point="plugin")
    assert {"last", "final"} <= registry().stages["subject_selector"].keys()
    assert broken() == {}


def test_a_plugin_with_an_unknown_hook_is_listed_and_harms_nobody(install):
    code = GOOD.replace("alignimation_subject_selectors", "alignimation_subject_selector")
    install("alignimation-last", code)
    assert broken() == {
        "alignimation_last": (
            "unknown hook 'alignimation_subject_selector'; did you mean "
            "alignimation_subject_selectors? the hooks are alignimation_photo_sources, "
            "alignimation_detectors, alignimation_embedders, "
            "alignimation_subject_selectors, alignimation_target_builders, "
            "alignimation_transform_models, alignimation_effects, alignimation_renderers"
        )
    }
    assert "last" not in registry().stages["subject_selector"]
    assert "largest" in registry().stages["subject_selector"]


def test_a_plugin_for_a_later_version_says_so_and_harms_nobody(install):
    asks = "Requires-Dist: numpy\nRequires-Dist: alignimation >=9.1 ; python_version > '3'\n"
    install("alignimation-last", "from alignimation_core import Sound", requires=asks)
    install("alignimation-next", GOOD + "\n@hookimpl\ndef alignimation_sounds():\n    return []")
    reasons = broken()
    assert reasons["alignimation_last"].startswith("ImportError: cannot import name 'Sound' from ")
    assert reasons["alignimation_last"].endswith(
        f"; it asks for alignimation >=9.1, and this is {version('alignimation')}"
    )
    assert reasons["alignimation_next"].startswith("unknown hook 'alignimation_sounds'; the hooks ")
    recipe = Recipe.of({"photos": "a", "detector": "mtcnn"})
    assert recipe.detector.name == "mtcnn"


def test_a_class_in_the_place_of_a_list_of_classes_is_named(install):
    install("alignimation-last", GOOD.replace("return [Last]", "return Last"))
    assert broken() == {
        "alignimation_last": "alignimation_subject_selectors: TypeError: expected a list of "
        "classes, such as [Last], got the class Last"
    }


def test_an_option_called_use_is_refused(install):
    code = GOOD.replace("    def select", "    use: str = 'it'\n\n    def select")
    install("alignimation-last", code)
    assert broken() == {
        "alignimation_last": "Last has an option `use`, which in a recipe names the stage; rename "
        "the option"
    }


def test_what_plugins_print_while_they_are_loaded_is_no_result(install, capsys):
    install("alignimation-last", f"print('hello')\n{GOOD}")
    assert "last" in registry().stages["subject_selector"]
    assert capsys.readouterr() == ("", "hello\n")


def test_list_shows_every_stage_of_every_kind_with_its_options(install):
    install("alignimation-last", GOOD, version="2.3")
    text = listing()
    lines = text.splitlines()
    for kind, stages in registry().stages.items():
        assert f"{kind}s".replace("_", " ") in lines
        for found in stages.values():
            head = f"  {found.name:<20} {found.summary}  [{found.distribution} {found.version}]"
            assert head in lines
            for option, field in found.stage.model_fields.items():
                assert f"      {field.alias or option}: {field.description} (" in text
    assert "  last                 Takes the last detection.  [alignimation-last 2.3]" in lines
    assert "      loop: how many times the animation plays; 0: forever (default 0)" in lines


def test_an_unknown_stage_is_explained_by_what_is_there_and_what_is_broken(install):
    install("alignimation-bad", "import nowhere_to_be_found")
    install("alignimation-last", GOOD)
    assert registry().explain_unknown("subject_selector", "lost") == (
        "there is no subject selector 'lost'; did you mean 'last'? "
        "available: centre, identity, largest, last, most-confident, track; plugin "
        "alignimation_bad (of alignimation-bad) cannot be used: ModuleNotFoundError: No module "
        "named 'nowhere_to_be_found'"
    )
    assert (
        registry()
        .explain_unknown("embedder", "zzz")
        .startswith("there is no embedder 'zzz'; available: ")
    )


def test_every_kind_has_its_hook():
    from alignimation_core.api import hooks

    for kind in KINDS:
        assert callable(getattr(hooks, f"alignimation_{kind}s"))


def test_options_that_cannot_be_described_harm_no_other_stage(install):
    code = GOOD.replace(
        "    def select",
        "    call: Annotated[Callable[[], int] | None, Field(description='x')] = None\n\n"
        "    def select",
    )
    install(
        "alignimation-last",
        "from collections.abc import Callable\nfrom typing import Annotated\n"
        "from pydantic import Field\n" + code,
    )
    assert "its options cannot be described: PydanticInvalidForJsonSchema" in listing()
    assert "mtcnn" in listing()
