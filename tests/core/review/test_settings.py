"""Settings put into the text of a recipe: what else stands there stays, to the character."""

import pytest
import yaml

from alignimation_core import RecipeError
from alignimation_core.review.settings import edited

RECIPE = """\
# mine
photos: photos/   # all of them
subject_selector: identity     # who is in most
canvas: {size: 1x1}

renderers:
    - {use: video,   path: a.mp4}   # odd spaces
"""


@pytest.mark.parametrize(
    ("text", "key", "value", "line"),
    [
        (RECIPE, "reference", "photos/a b.jpg", "reference: photos/a b.jpg\n"),
        (
            RECIPE,
            "subject_selector.person",
            2,
            "subject_selector: {use: identity, person: 2}     # who is in most",
        ),
        (
            RECIPE,
            "subject_selector.gates.max_yaw",
            None,
            "subject_selector: {use: identity, gates: {max_yaw: null}}     # who is in most",
        ),
        ("reference: mean # so\n", "reference", "x, y: {z}.jpg", "'x, y: {z}.jpg' # so\n"),
        ("reference: |\n  first\nseed: 1\n", "reference", "a.jpg", "reference: a.jpg\nseed: 1\n"),
        ("reference:\nseed: 1\n", "reference", "a.jpg", "reference: a.jpg\nseed: 1\n"),
        ("{photos: a}", "reference", "b", "{photos: a, reference: b}"),
        ("photos: a", "reference", "b", "photos: a\nreference: b\n"),
        (
            "subject_selector: {use: identity, gates: {max_yaw: 75}, }\n",
            "subject_selector.gates.min_size",
            9.5,
            "{use: identity, gates: {max_yaw: 75, min_size: 9.5}, }",
        ),
        (
            "subject_selector:\n  # who\n  use: identity\n  gates:\n    max_yaw: 7\nseed: 1\n",
            "subject_selector.gates.max_yaw",
            40,
            "    max_yaw: 40\nseed: 1\n",
        ),
        (
            "subject_selector:\n  use: identity # she\nseed: 1\n",
            "subject_selector.person",
            2,
            "subject_selector:\n  person: 2\n  use: identity # she\nseed: 1\n",
        ),
        (
            "subject_selector: {use: identity, facing_forward: false}\n",
            "subject_selector.facing_forward.min_ratio",
            0.5,
            "facing_forward: {min_ratio: 0.5}}",
        ),
        (
            "subject_selector:\n  use: identity\n  person:\n    - a\n    - b\n\n# end\nseed: 1\n",
            "subject_selector.person",
            3,
            "  person:\n    3\n\n# end\nseed: 1\n",
        ),
        ("a: b\r\nseed: 1\r\n", "reference", "c", "seed: 1\r\nreference: c\r\n"),
    ],
)
def test_one_setting_is_put_and_nothing_else_changes(text, key, value, line):
    after = edited("recipe.yaml", text, key.split("."), value)
    assert line in after
    found = yaml.safe_load(after)
    for part in key.split("."):
        found = found[part]
    assert found == value
    for old in text.splitlines():
        comment = old.partition("#")[2]
        assert comment in after


@pytest.mark.parametrize(
    "text",
    [
        "x: &x {use: identity}\nsubject_selector: *x\n",
        "- a\n",
        "a: [\n",
        "<<: {subject_selector: {use: identity}}\n",
    ],
)
def test_what_cannot_be_added_to_is_left_alone(text):
    with pytest.raises(RecipeError) as error:
        edited("recipe.yaml", text, ["subject_selector", "person"], 2)
    assert str(error.value) == (
        "recipe.yaml: this cannot be added to; write it by hand: subject_selector.person: 2"
    )
