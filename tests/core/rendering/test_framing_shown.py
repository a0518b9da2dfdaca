"""What exactly the canvas shows, where it can be said by hand."""

import math
from datetime import datetime
from pathlib import Path

import pytest
import torch

from alignimation_core import Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering import framing

FACE = (300.0, 200.0, 400.0, 320.0)  # with its room: 288 to 412, 185.6 to 334.4
UPRIGHT = torch.eye(3, dtype=torch.float64)


def photo(reference_from_photo=UPRIGHT, box=FACE, width=800, height=600):
    facts = Photo(Path("/a"), "a", "", height, width, datetime(2020, 1, 1), "exif")
    framed = FramedSubject(facts, Subject(box, 1.0), UPRIGHT)
    return AlignedSubject(framed, reference_from_photo, 1)


def shown(items, size="400x300", framing_name="tight", **options):
    """Return the x0, y0, x1, y1 of the reference that an upright canvas shows."""
    asked = CanvasOptions.model_validate({"size": size, "framing": framing_name, **options})
    canvas, matrix = framing.frame(items, asked, level=False)
    ends = torch.tensor([[0, 0], [canvas.width, canvas.height]]).double()
    return geometry.apply(geometry.inverse(matrix), ends).flatten().tolist()


def needed(items):
    """Return what must be shown: nothing more is where the canvas is too wide or high for it."""
    _, y0, _, y1 = shown(items, "2000x40")
    x0, _, x1, _ = shown(items, "40x2000")
    return x0, y0, x1, y1


def test_whole_is_the_least_canvas_with_every_corner():
    assert shown([photo()], "400x500", "whole") == pytest.approx((0, -200, 800, 800))
    both = [photo(), photo(geometry.translation(-100, 40), width=500, height=700)]
    assert shown(both, "500x370", "whole") == pytest.approx((-150, 0, 850, 740))


def test_tight_is_the_largest_canvas_about_the_subject_inside_the_photo():
    assert shown([photo()], "400x300") == pytest.approx((350 - 346.67, 0, 696.67, 520), abs=0.1)
    near = (60.0, 250.0, 160.0, 350.0)
    assert shown([photo(box=near)], "400x300") == pytest.approx((0, 217.5, 220, 382.5), abs=0.1)


def test_a_tilted_photo_is_used_up_to_its_edge():
    tilt = torch.tensor([[1, 0.1, 0], [0, 1, 0], [3e-4, -2e-4, 1]], dtype=torch.float64)
    x0, y0, x1, y1 = shown([photo(tilt)])
    corners = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]).double()
    x, y = geometry.apply(geometry.inverse(tilt), corners).unbind(1)
    spare = torch.cat([x, y, 800 - x, 600 - y])
    assert spare.min() == pytest.approx(0, abs=0.2)


def test_balanced_leaves_a_twentieth_of_the_canvas_to_the_border():
    x0, y0, x1, y1 = shown([photo()], framing_name="balanced")
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((350, 260))
    inside = (min(x1, 800) - max(x0, 0)) * (min(y1, 600) - max(y0, 0))
    assert 1 - inside / ((x1 - x0) * (y1 - y0)) == pytest.approx(0.05, abs=0.005)


def test_a_subject_has_an_eighth_of_its_extent_around_it_inside_the_photo():
    assert needed([photo()]) == pytest.approx((288, 185.6, 412, 334.4))
    large = photo(box=(100.0, 10.0, 750.0, 590.0))
    assert needed([large]) == pytest.approx((22, 0, 800, 600))


def test_a_turned_subject_fills_its_box_as_an_ellipse():
    turn = geometry.rotation(0.5)
    centre = geometry.apply(turn, torch.tensor([[350.0, 260.0]]).double())[0]
    a, b = 62.0, 74.4
    reach = torch.tensor(
        [
            math.hypot(a * math.cos(0.5), b * math.sin(0.5)),
            math.hypot(a * math.sin(0.5), b * math.cos(0.5)),
        ]
    )
    wanted = [*(centre - reach).tolist(), *(centre + reach).tolist()]
    assert needed([photo(turn)]) == pytest.approx(wanted, abs=1e-3)


def test_on_each_side_one_photo_in_fifty_may_reach_further():
    items = [photo(geometry.translation(i, 2 * i)) for i in range(101)]
    assert needed(items) == pytest.approx((288 + 2, 185.6 + 4, 412 + 98, 334.4 + 196), abs=1e-3)


@pytest.mark.parametrize(
    ("box", "side", "outer"),
    [
        ((0.0, 200.0, 400.0, 320.0), 0, 0),
        ((300.0, 0.0, 400.0, 320.0), 1, 0),
        ((300.0, 200.0, 800.0, 320.0), 2, 800),
        ((300.0, 200.0, 400.0, 600.0), 3, 600),
    ],
)
def test_photos_whose_border_cuts_the_subject_do_not_say_how_far_it_goes(box, side, outer):
    cut, whole = photo(box=box), photo()
    seen = needed([cut, whole, whole])[side]
    assert seen == pytest.approx(needed([whole])[side], abs=1e-3)
    # where most are cut, half of them reach the border: the median of all
    assert needed([cut, cut, whole])[side] == pytest.approx(outer, abs=1e-3)
    # half of them are not most
    assert needed([cut, whole])[side] == pytest.approx(needed([whole])[side], abs=1e-3)


@pytest.mark.parametrize(("bottom", "goes_to"), [(593.0, 600.0), (595.0, 334.4)])
def test_a_box_within_a_hundredth_of_the_border_is_cut_by_it(bottom, goes_to):
    items = [photo(box=(300.0, 200.0, 400.0, bottom)), photo(), photo()]
    _, _, _, y1 = needed(items)
    expected = 334.4 + 0.96 * (goes_to - 334.4)  # the last fiftieth of three, in between two
    assert y1 == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("width", "height", "shape"),
    [(1600, 900, (608, 1080)), (900, 1600, (1080, 608)), (500, 500, (1080, 1080))],
)
def test_without_a_size_the_canvas_is_1080_long_and_even(width, height, shape):
    items = [photo(width=width, height=height), photo(width=width, height=height), photo()]
    canvas, _ = framing.frame(items, CanvasOptions(), level=False)
    assert (canvas.height, canvas.width) == shape
    assert not canvas.alpha


def test_a_removed_background_makes_a_canvas_with_transparency():
    options = CanvasOptions(size="40x30", background="remove")
    canvas, _ = framing.frame([photo()], options, level=False)
    assert canvas.alpha


def test_the_level_is_the_mean_direction_also_where_angles_wrap():
    items = [photo(geometry.rotation(angle)) for angle in (math.pi - 0.1, 0.3 - math.pi)]
    assert math.cos(framing.upright(items) + math.pi + 0.1) == pytest.approx(1)
    _, matrix = framing.frame(items, CanvasOptions(size="300x300"), level=True)
    assert geometry.angle_of(matrix).item() == pytest.approx(framing.upright(items))
