from datetime import datetime
from pathlib import Path

import pytest
import torch
from torch import Tensor

from alignimation_core import Photo, Subject
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering import framing

FACE = (300.0, 200.0, 400.0, 320.0)


Box = tuple[float, float, float, float]


def photo_at(
    reference_from_photo: Tensor, width: int = 800, height: int = 600, box: Box = FACE
) -> AlignedSubject:
    """A photo whose subject lands on a box of the reference."""
    name = "a.jpg"
    photo = Photo(Path("/", name), name, "", height, width, datetime(2020, 1, 1), "exif")
    photo_from_reference = geometry.as_rows(torch.linalg.inv(reference_from_photo))
    subject = Subject(box, 1.0).transformed(photo_from_reference)
    working = torch.eye(3, dtype=torch.float64)
    return AlignedSubject(FramedSubject(photo, subject, working), reference_from_photo, 1)


def series() -> list[AlignedSubject]:
    generator = torch.Generator().manual_seed(0)
    items = []
    for _ in range(12):
        x, y, angle, scale = (torch.rand(4, generator=generator) - 0.5).tolist()
        about = geometry.translation(350, 260)
        turn = geometry.rotation(0.3 * angle) @ geometry.scaling(1 + 0.4 * scale, 1 + 0.4 * scale)
        moved = about @ turn @ geometry.translation(-350 + 150 * x, -260 + 100 * y)
        items.append(photo_at(moved))
    return items


def corners(box: tuple[float, ...]) -> Tensor:
    x0, y0, x1, y1 = box
    return torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=torch.float64)


def invented(
    items: list[AlignedSubject], canvas_from_reference: Tensor, height: int, width: int
) -> float:
    """Share of all frames' pixels beyond their photos, by warping white photos."""
    shares = []
    for item in items:
        white = torch.ones(1, item.photo.height, item.photo.width)
        matrix = canvas_from_reference @ item.reference_from_photo
        shares.append(1 - geometry.warp(white, matrix, (height, width)).mean().item())
    return sum(shares) / len(shares)


@pytest.mark.parametrize("name", ["tight", "balanced", "whole", "auto"])
def test_the_subject_is_whole_in_every_framing(name: str) -> None:
    items = series()
    options = CanvasOptions.model_validate({"size": "400x500", "framing": name})
    canvas, canvas_from_reference = framing.frame(items, options, level=True)
    assert (canvas.height, canvas.width) == (500, 400)
    seen = geometry.apply(canvas_from_reference, corners(FACE))
    assert (seen >= 0).all()
    assert (seen <= torch.tensor([400.0, 500.0])).all()


def test_framings_differ_in_how_much_they_show_and_invent() -> None:
    items = series()
    shown, shares = {}, {}
    for name in ("tight", "balanced", "auto", "whole"):
        options = CanvasOptions.model_validate({"size": "400x300", "framing": name})
        _, matrix = framing.frame(items, options, level=True)
        shown[name] = 1 / geometry.scale_of(matrix).item()
        shares[name] = invented(items, matrix, 300, 400)
    assert shares["tight"] < 0.003
    assert 0.03 < shares["balanced"] < 0.06
    assert 0.03 < shares["auto"] < 0.06
    assert shown["tight"] < shown["balanced"] < shown["auto"] < shown["whole"]


def test_whole_shows_every_corner_of_every_photo() -> None:
    items = series()
    options = CanvasOptions(size="640x480", framing="whole")
    _, matrix = framing.frame(items, options, level=True)
    for item in items:
        photo = item.photo
        box = corners((0.0, 0.0, photo.width, photo.height))
        seen = geometry.apply(matrix @ item.reference_from_photo, box)
        assert (seen >= -1e-6).all()
        assert (seen <= torch.tensor([640 + 1e-6, 480 + 1e-6])).all()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.2])
def test_auto_uses_the_border_it_is_allowed_and_no_more(share: float) -> None:
    items = series()
    options = CanvasOptions(size="400x300", framing="auto", max_border=share)
    _, matrix = framing.frame(items, options, level=True)
    assert invented(items, matrix, 300, 400) == pytest.approx(share, abs=0.01)


def test_auto_moves_to_where_the_photos_reach() -> None:
    """The subject stands at the left of every photo: what there is to show lies to its right."""
    eye = torch.eye(3, dtype=torch.float64)
    items = [photo_at(eye @ geometry.translation(260, 0)) for _ in range(3)]
    shown = {}
    for name in ("balanced", "auto"):
        options = CanvasOptions.model_validate({"size": "400x300", "framing": name})
        _, matrix = framing.frame(items, options, level=True)
        shown[name] = 1 / geometry.scale_of(matrix).item()
        centre = geometry.apply(matrix, torch.tensor([[350.0, 260.0]]).double())[0]
    assert shown["auto"] > 1.8 * shown["balanced"]
    assert centre[0] < 150


def test_no_border_is_invented_below_a_subject_that_every_photo_cuts() -> None:
    """A half-length body, whose box ends at the lower border of each photo."""
    items = []
    for x in (-40.0, 0.0, 40.0):
        moved = geometry.translation(x, 0)
        items.append(photo_at(moved, box=(300.0 + x, 250.0, 500.0 + x, 600.0)))
    _, matrix = framing.frame(items, CanvasOptions(size="300x300", framing="tight"), level=True)
    assert invented(items, matrix, 300, 300) < 0.003


def test_one_photo_that_cuts_the_subject_does_not_cut_it_in_the_others() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    whole = [photo_at(eye) for _ in range(5)]
    cut = photo_at(geometry.translation(0, -340), box=(300.0, 200.0, 400.0, 260.0))
    options = CanvasOptions(size="300x300", framing="tight")
    _, matrix = framing.frame([*whole, cut], options, level=True)
    seen = geometry.apply(matrix, corners(FACE))
    assert (seen > 0).all()
    assert (seen < 300).all()


def test_auto_stays_on_a_subject_that_needs_more_than_there_is() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    items = [photo_at(eye, box=(100.0, 10.0, 700.0, 590.0)) for _ in range(3)]
    made = [
        framing.frame(
            items, CanvasOptions.model_validate({"size": "300x400", "framing": f}), level=True
        )
        for f in ("tight", "auto")
    ]
    torch.testing.assert_close(made[0][1], made[1][1])


def test_the_canvas_is_upright_as_the_photos_are_on_average() -> None:
    items = [photo_at(geometry.rotation(angle)) for angle in (0.2, 0.3, 0.4)]
    options = CanvasOptions(size="300x300")
    _, level = framing.frame(items, options, level=True)
    _, as_it_is = framing.frame(items, options, level=False)
    assert geometry.angle_of(level).item() == pytest.approx(-0.3)
    assert geometry.angle_of(as_it_is).item() == 0


@pytest.mark.parametrize(
    ("width", "height", "canvas"), [(4032, 3024, (810, 1080)), (3024, 4032, (1080, 810))]
)
def test_without_a_size_the_canvas_has_the_photos_usual_shape(
    width: int, height: int, canvas: tuple[int, int]
) -> None:
    eye = torch.eye(3, dtype=torch.float64)
    items = [photo_at(eye, width, height) for _ in range(3)] + [photo_at(eye, 100, 100)]
    made, _ = framing.frame(items, CanvasOptions(), level=True)
    assert (made.height, made.width) == canvas


def test_tight_invents_nothing_in_the_one_photo_of_a_thousand_that_shows_less() -> None:
    generator = torch.Generator().manual_seed(0)
    shifts = 20 * (torch.rand(1000, 2, generator=generator) - 0.5)
    items = [photo_at(geometry.translation(x, y)) for x, y in shifts.tolist()]
    options = CanvasOptions.model_validate({"size": "400x300", "framing": "tight"})
    for at in (0, 1, 2, 3, 500, 998, 999):
        close = photo_at(geometry.translation(250, 150), width=220, height=240)
        _, matrix = framing.frame([*items[:at], close, *items[at + 1 :]], options, level=True)
        assert invented([close], matrix, 300, 400) < 0.005


@pytest.mark.parametrize(
    ("size", "half"), [("300x300", 74.4), ("600x300", 74.4), ("300x600", 62 / 0.5)]
)
def test_at_its_tightest_the_canvas_shows_the_subject_with_an_eighth_around_it(
    size: str, half: float
) -> None:
    """Of 100 x 120 pixels about (350, 260), and 0.12 of them more on each side.

    The second photo begins right beside it, so that no more can be shown without a border.
    """
    items = [photo_at(geometry.translation(0, 0)), photo_at(geometry.translation(290, 0))]
    options = CanvasOptions.model_validate({"size": size, "framing": "tight"})
    canvas, matrix = framing.frame(items, options, level=True)
    assert geometry.scale_of(matrix).item() == pytest.approx(canvas.height / (2 * half), rel=2e-3)
    centre = geometry.apply(matrix, torch.tensor([[350.0, 260]]).double())[0].tolist()
    assert centre == pytest.approx([canvas.width / 2, canvas.height / 2], abs=0.2)


@pytest.mark.parametrize("side", range(4))
def test_a_subject_that_reaches_further_in_a_few_photos_is_whole_in_these_too(side: int) -> None:
    items = [photo_at(geometry.translation(0, 0)) for _ in range(18)]
    far = list(FACE)
    far[side] += -120 if side < 2 else 120
    items += [photo_at(geometry.translation(0, 0), box=(far[0], far[1], far[2], far[3]))] * 2
    close = photo_at(geometry.translation(290, 195), width=120, height=130)
    options = CanvasOptions.model_validate({"size": "300x300", "framing": "tight"})
    _, matrix = framing.frame([*items, close], options, level=True)
    seen = geometry.apply(matrix, corners(tuple(far)))
    assert (seen >= 0).all()
    assert (seen <= 300).all()
