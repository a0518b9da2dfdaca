"""A recipe that was run, and the server of its review, asked without a browser."""

import sys

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from alignimation_core import Recipe, run
from alignimation_core.review.app import application
from alignimation_core.review.session import Session

NASTY = "<script>alert(1)<!-- \"'&\n\U0001f600.png"
RECIPE = """\
# Mine. Four photos, and what else lies there.
photos: photos/
detector: blobs          # three colours
subject_selector: first  # whoever it is
target_builder: points
transform_model: closed-form
canvas: {size: 64x48}
score: false
renderers:
  - {use: gif, path: a b.gif}
"""


@pytest.fixture
def recipe_file(tmp_path, discs, discs_installed):
    """The file of a recipe of six photos, of which four are used, that was not run yet."""
    names = discs.series(tmp_path / "photos", discs.WARPS)
    (tmp_path / "photos" / names[1]).rename(tmp_path / "photos" / NASTY)
    (tmp_path / "photos" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "photos" / "empty.png")
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def review(recipe_file):
    """The server of a review of that recipe, after a run, as a client."""
    run(Recipe.load(recipe_file))
    return _client_of(recipe_file)


@pytest.fixture
def nasty():
    """The name of one of the photos, which tries to be a script."""
    return NASTY


@pytest.fixture
def client_of():
    """Start a review of a recipe that was run; return its client."""
    return _client_of


def _client_of(recipe_file, command=(sys.executable, "-c", "")):
    session = Session(recipe_file, lambda: Recipe.load(recipe_file), command)
    app = application(session, "secret", frozenset({"testserver"}))
    client = TestClient(app, base_url="http://testserver/secret/")
    client.session = session
    return client


@pytest.fixture
def places(review):
    """The places of photos in the record, by name."""
    photos = review.get("state").json()["photos"]
    return {photo["path"].removeprefix("photos/"): place for place, photo in enumerate(photos)}


@pytest.fixture
def decide(review):
    def decide(place, **changes):
        return review.post("decide", json=[{"photo": place, "changes": changes}])

    return decide
