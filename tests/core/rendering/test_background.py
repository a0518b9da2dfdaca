"""What is behind the subject: the edge against a known matte, and what is left of the old."""

import hashlib
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch.nn import functional

from alignimation_core import AlignimationError, Canvas, Mask, Photo, Subject, run
from alignimation_core.alignment.subjects import AlignedSubject, FramedSubject
from alignimation_core.api import geometry
from alignimation_core.detection.selection import with_masks
from alignimation_core.execution.executor import Threads
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering import matting
from alignimation_core.rendering.background import matte_of, replaced
from alignimation_core.rendering.frames import fill, frames
from alignimation_core.rendering.placement import PlacedSubject

SIZE = (320, 384)
CENTRE = (190.0, 158.0)
UPRIGHT = torch.eye(3, dtype=torch.float64)
EXAMPLES = Path(__file__).parents[3] / "examples"


def shown(photo, canvas_from_photo, size, border):
    """The canvas before its background is replaced, float32 in [0, 1]."""
    return fill((photo * 255).round().byte(), canvas_from_photo, size, border).float() / 255


def star(centre=CENTRE, radius=95.0, size=SIZE):
    """A five-lobed matte whose edge is some six pixels wide."""
    y, x = torch.meshgrid(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5, indexing="ij")
    x, y = x - centre[0], y - centre[1]
    edge = radius * (1 + 0.2 * torch.cos(5 * torch.atan2(y, x)))
    return ((edge - torch.hypot(x, y)) / 6 + 0.5).clamp(0, 1)


def texture(colour, seed, size=SIZE):
    """A colour with soft and with fine structure, about a tenth deep."""
    noise = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 12, 14, generator=noise)
    soft = functional.interpolate(coarse, size, mode="bicubic", align_corners=False)[0]
    fine = torch.rand(3, *size, generator=noise)
    plain = torch.tensor(colour)[:, None, None]
    return (plain + 0.14 * (soft - 0.5) + 0.04 * (fine - 0.5)).clamp(0, 1)


BLUE, RED = texture((0.12, 0.2, 0.8), 0), texture((0.85, 0.15, 0.12), 1)


def over(matte, front, back):
    return matte * front + (1 - matte) * back


def box_of(matte):
    rows, columns = (matte > 0.5).any(1).nonzero(), (matte > 0.5).any(0).nonzero()
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def coarse(matte, cells=28, shift=(0.0, 0.0)):
    """The mask as a network draws it: 28 x 28 cells on the box, some cells off its place."""
    x0, y0, x1, y1 = box_of(matte)
    grid = functional.interpolate(matte[None, None, y0:y1, x0:x1], (cells, cells), mode="area")
    dx, dy = shift[0] * (x1 - x0) / cells, shift[1] * (y1 - y0) / cells
    return Mask.of(grid[0, 0], (x0 + dx, y0 + dy, x1 + dx, y1 + dy))


def drawn(mask, size, canvas_from_photo=UPRIGHT):
    """The mask as it is, without any refinement."""
    matrix = canvas_from_photo @ geometry.as_tensor(mask.image_from_mask)
    return geometry.warp(mask.tensor()[None], matrix, size)[0]


def band(matte, reach=10):
    """The pixels that have both subject and background near."""
    near, far = matte[None], -matte[None]
    for _ in range(reach // 2):
        near, far = (functional.max_pool2d(each, 5, 1, 2) for each in (near, far))
    near, far = near[0], -far[0]
    return (near > 0.01) & (far < 0.99)


def error(found, true, where):
    return float((found - true).abs()[..., where].mean())


@pytest.mark.parametrize(
    ("shift", "bound"), [((0.0, 0.0), 0.015), ((0.3, -0.3), 0.045), ((-0.4, 0.2), 0.045)]
)
def test_the_edge_goes_to_where_the_picture_has_it(shift, bound):
    true = star()
    mask = coarse(true, shift=shift)
    plain = drawn(mask, SIZE)
    found, cell = matte_of(over(true, BLUE, RED), mask, SIZE, UPRIGHT)
    assert cell == pytest.approx((box_of(true)[2] - box_of(true)[0]) / 28, rel=0.2)
    at = band(true)
    steep = ((plain - 0.5) * 8 + 0.5).clamp(0, 1)
    assert error(found, true, at) < bound
    assert error(found, true, at) < 0.45 * error(plain, true, at)
    assert error(found, true, at) < 0.6 * error(steep, true, at)


@pytest.mark.parametrize("background", ["white", "#00ff00", "black"])
def test_over_a_new_colour_nothing_of_the_old_background_is_left(background):
    true = star()
    photo, mask = over(true, BLUE, RED), coarse(true, shift=(0.25, -0.25))
    rgb = {"white": (1.0, 1, 1), "#00ff00": (0.0, 1, 0), "black": (0.0, 0, 0)}[background]
    new = torch.tensor(rgb)[:, None, None]
    wanted = over(true, BLUE, new)
    found = replaced(photo, mask, SIZE, UPRIGHT, background)
    at = band(true)
    assert found.shape == (3, *SIZE)
    assert error(found, wanted, at) < 0.03
    assert error(found, wanted, at) < 0.5 * error(over(drawn(mask, SIZE), photo, new), wanted, at)


def test_a_removed_background_leaves_no_halo_and_no_hidden_colours():
    true = star()
    photo, mask = over(true, BLUE, RED), coarse(true, shift=(0.25, -0.25))
    found = replaced(photo, mask, SIZE, UPRIGHT, "remove")
    colour, alpha = found[:3], found[3]
    assert found.shape == (4, *SIZE)
    assert (alpha[band(true, 20) == 0] == true[band(true, 20) == 0]).all()
    visible = (alpha > 0.1) & (alpha < 0.99)
    redness = (colour[0] - colour[2])[visible]
    assert (photo[0] - photo[2])[visible].max() > 0.4
    assert float((redness > 0).float().mean()) < 0.02
    assert float(colour[:, ~band(true, 60) & (true == 0)].max()) == 0


def test_the_matte_follows_the_transform():
    true = star()
    photo = over(true, BLUE, RED)
    turn = (
        geometry.translation(180, 200)
        @ geometry.rotation(0.5)
        @ geometry.scaling(1.3, 1.3)
        @ geometry.translation(-CENTRE[0], -CENTRE[1])
    )
    size = (400, 360)
    image = shown(photo, turn, size, "blur")
    found, _ = matte_of(image, coarse(true), SIZE, turn)
    wanted = geometry.warp(true[None], turn, size)[0]
    assert error(found, wanted, band(wanted)) < 0.03


def test_a_homography_moves_the_matte_too():
    true = star()
    tilt = torch.tensor([[1.0, 0.05, 4], [0.02, 1.0, 6], [2e-4, 1e-4, 1.0]]).double()
    image = shown(over(true, BLUE, RED), tilt, SIZE, "edge")
    found, _ = matte_of(image, coarse(true), SIZE, tilt)
    wanted = geometry.warp(true[None], tilt, SIZE)[0]
    assert error(found, wanted, band(wanted)) < 0.03


def test_beyond_the_photo_all_is_background():
    true = star()
    small = geometry.translation(70, 60) @ geometry.scaling(0.6, 0.6)
    image = shown(over(true, BLUE, RED), small, SIZE, "mirror")
    found, _ = matte_of(image, coarse(true), SIZE, small)
    x, y = torch.arange(SIZE[1]) + 0.5, torch.arange(SIZE[0])[:, None] + 0.5
    beyond = (x < 69.4) | (x > 70.6 + 0.6 * SIZE[1]) | (y < 59.4) | (y > 60.6 + 0.6 * SIZE[0])
    assert (found[beyond] == 0).all()
    assert float(found.max()) == 1


def test_the_photos_own_border_cuts_sharply_through_a_subject():
    true = star((CENTRE[0], 300.0), 110.0)
    inside = geometry.translation(40.0, 10.25) @ geometry.scaling(0.5, 0.5)
    image = shown(over(true, BLUE, RED), inside, SIZE, "blur")
    found, _ = matte_of(image, coarse(true), SIZE, inside)
    end = 10 + SIZE[0] // 2
    columns = (geometry.warp(true[None], inside, SIZE)[0][end - 4] > 0.99).nonzero()[6:-6, 0]
    assert len(columns) > 20
    assert float(found[end - 1, columns].min()) > 0.95
    assert float(found[end, columns].min()) == pytest.approx(0.25, abs=0.02)
    assert float(found[end + 1].max()) == 0


@pytest.mark.parametrize("off", [12, -12])
def test_an_invented_border_does_not_say_what_colours_a_subject_at_it_has(off):
    """Below the photo, the border has the subject's colours where background would go on.

    The silhouette's half-way line is some pixels off: colours alone tell where the edge is.
    """
    size, ends = (160, 240), 60
    x = torch.arange(size[1]) + 0.5
    true = (120 - x + 0.5).clamp(0, 1).expand(size)
    silhouette = ((120 + off - x) / 60 + 0.5).clamp(0, 1).expand(size).contiguous()
    blue, red = texture((0.12, 0.2, 0.8), 0, size), texture((0.85, 0.15, 0.12), 1, size)
    real = torch.zeros(size)
    real[:ends] = 1
    image = over(real, over(true, blue, red), over(true, red, blue))
    found = matting.refine(image, silhouette, 40.0, real)
    assert float((found - true)[: ends - 10].abs().mean()) < 0.006


@pytest.mark.parametrize("cells", [28, 200])
def test_a_subject_that_the_canvas_or_the_photo_cuts_off_is_whole_at_the_border(cells):
    true = star((CENTRE[0], 300.0), 110.0)
    found, _ = matte_of(over(true, BLUE, RED), coarse(true, cells), SIZE, UPRIGHT)
    assert error(found, true, band(true)) < 0.03
    last = true[-1] > 0.99
    assert float(found[-1][last].mean()) > 0.97


def test_a_fine_mask_is_kept():
    true = star()
    found, _ = matte_of(over(true, BLUE, RED), coarse(true, 200), SIZE, UPRIGHT)
    assert error(found, true, band(true)) < 0.02


def test_where_colours_say_nothing_the_mask_decides():
    true = star()
    mask, at = coarse(true), band(true)
    plain = error(drawn(mask, SIZE), true, at)
    found, _ = matte_of(torch.full((3, *SIZE), 0.4), mask, SIZE, UPRIGHT)
    assert error(found, true, at) < 0.8 * plain
    found, _ = matte_of(texture((0.4, 0.4, 0.4), 2), mask, SIZE, UPRIGHT)
    assert error(found, true, at) < 0.8 * plain


def test_a_full_mask_keeps_every_pixel():
    full = Mask.of(torch.ones(28, 28), (0, 0, SIZE[1], SIZE[0]))
    photo = over(star(), BLUE, RED)
    found = replaced(photo, full, SIZE, UPRIGHT, "remove")
    assert (found[3] == 1).all()
    assert torch.equal(found[:3], photo)


def test_an_almost_empty_mask_leaves_finite_numbers():
    grid = torch.zeros(28, 28)
    grid[14, 14] = 1
    found = replaced(BLUE, Mask.of(grid, (180, 150, 190, 160)), SIZE, UPRIGHT, "remove")
    assert found.isfinite().all()
    assert float(found[3].mean()) < 0.01


def test_a_grey_photo_is_cut_out_as_well():
    true = star()
    photo = over(true, BLUE, RED).mean(0, keepdim=True).expand(3, -1, -1)
    grey = photo - 0.4 * true
    found, _ = matte_of(grey.clamp(0, 1).contiguous(), coarse(true), SIZE, UPRIGHT)
    assert error(found, true, band(true)) < 0.04


def test_a_blurred_background_takes_no_colour_from_the_subject():
    true = star()
    found = replaced(over(true, BLUE, RED), coarse(true), SIZE, UPRIGHT, "blur")
    inside, outside = true == 1, ~band(true, 2) & (true == 0)
    deep = inside & ~band(true, 12)
    assert torch.equal(found[:, deep], over(true, BLUE, RED)[:, deep])
    assert float(found[2][outside].max()) < 0.25  # the photo's own red has 0.12 of blue
    rough, smooth = (picture[0].diff(dim=1)[outside[:, 1:]].std() for picture in (RED, found))
    assert float(smooth) < 0.2 * float(rough)


@pytest.mark.parametrize("border", ["blur", "mirror", "edge", "#d82620"])
def test_below_a_subject_that_the_photo_cuts_off_there_is_only_background(border):
    true = star((CENTRE[0], 300.0), 110.0)
    raised = geometry.translation(40.0, 10.0) @ geometry.scaling(0.5, 0.5)
    image = shown(over(true, BLUE, RED), raised, SIZE, border)
    found = replaced(image, coarse(true), SIZE, raised, "blur")
    below = found[:, 10 + SIZE[0] // 2 + 1 :]
    wanted = RED.mean((1, 2))[:, None, None]
    assert float((below - wanted).abs().max()) < 0.1  # the subject's own blue is 0.7 away


def test_far_beyond_the_photo_the_blurred_background_is_that_of_the_nearest_side():
    true, centre = star(radius=60.0), geometry.translation(96.0, 80.0) @ geometry.scaling(0.5, 0.5)
    left = (torch.arange(SIZE[1]) < SIZE[1] // 2).float()
    photo = over(true, BLUE, over(left, RED, torch.tensor([0.1, 0.7, 0.1])[:, None, None]))
    image = shown(photo, centre, SIZE, "black")
    found = replaced(image, coarse(true), SIZE, centre, "blur")
    redder = (found[0] - found[1])[120:200]  # 0.7 on the left of the photo, -0.6 on the right
    assert float(redder[:, :60].min()) > 0.3
    assert float(redder[:, -60:].max()) < -0.2
    assert float(found.amax(0).min()) > 0.35  # nowhere the border's black


def test_most_of_a_portraits_matte_comes_back_from_28_by_28_cells():
    portrait = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1).contiguous()
    painted = np.asarray(Image.open(EXAMPLES / "quickstart" / "astronaut_matte.png"))
    true = torch.from_numpy(painted / np.float32(255))
    size, twice = (1024, 1024), geometry.scaling(2, 2)
    image = geometry.warp_photo(portrait, twice, size)
    wanted = geometry.warp(true[None], twice, size)[0]
    at = band(wanted, 40)
    for shift, bound in (((0.0, 0.0), 0.02), ((0.25, -0.25), 0.035)):
        mask = coarse(true, shift=shift)
        found, _ = matte_of(image, mask, (512, 512), twice)
        assert error(found, wanted, at) < bound
        assert error(found, wanted, at) < 0.25 * error(drawn(mask, size, twice), wanted, at)


def subject(mask):
    return Subject(box=(90.0, 60.0, 290.0, 250.0), score=0.9, mask=mask)


def test_a_subject_without_a_mask_or_with_an_empty_one_cannot_be_cut_out(photo):
    masks = coarse(star()), None, Mask.of(torch.zeros(28, 28), (0, 0, 9, 9))
    photos = [replace(photo, name=name) for name in "abc"]
    subjects = [(each, subject(mask)) for each, mask in zip(photos, masks, strict=True)]
    usable, failures = with_masks(subjects)
    assert usable == subjects[:1]
    assert [(each.photo, each.stage, each.reason, each.status) for each in failures] == [
        (
            "b",
            "detector",
            "the detector found no mask of the subject, which `canvas.background` needs",
            "failed",
        ),
        (
            "c",
            "detector",
            "the subject's mask is empty, and `canvas.background` needs it",
            "failed",
        ),
    ]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = (over(star(), BLUE, RED) * 255).round().byte()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Photo(path, "photo.png", digest, *SIZE, datetime(2020, 1, 1), "file")


def frame_of(photo, mask, **options):
    canvas = Canvas(*SIZE, alpha=options.get("background") == "remove")
    shifted = geometry.translation(12.5, -7.25)
    aligned = AlignedSubject(FramedSubject(photo, subject(mask), torch.eye(3)), torch.eye(3), 1)
    placed = PlacedSubject(aligned, geometry.as_rows(shifted), None, None)
    (frame,) = frames([placed], canvas, CanvasOptions(**options), Threads(1))
    return frame.image


def test_a_kept_background_leaves_frames_as_they_are(photo):
    masked = frame_of(photo, coarse(star()), background="keep")
    assert torch.equal(masked, frame_of(photo, None))
    assert torch.equal(masked, frame_of(photo, coarse(star())))


def test_frames_carry_transparency_only_when_the_background_is_removed(photo):
    mask = coarse(star())
    removed = frame_of(photo, mask, background="remove")
    assert (removed.shape, removed.dtype) == ((4, *SIZE), torch.uint8)
    assert sorted(removed[3].unique().tolist())[:: len(removed[3].unique()) - 1] == [0, 255]
    for background in ("blur", "#203040"):
        assert frame_of(photo, mask, background=background).shape == (3, *SIZE)
    corner = frame_of(photo, mask, background="#203040")[:, -1, 0]
    assert corner.tolist() == [0x20, 0x30, 0x40]


@pytest.fixture
def recipe(tmp_path, discs, discs_recipe):
    class MaskedBlobs(discs.Blobs):
        """The blobs, with a disc about them as their mask, but for photos that are too dark."""

        name = "masked-blobs"
        bright: float = 0.0

        def provides(self):
            return super().provides() | {"masks"}

        def detect(self, images):
            found = super().detect(images)
            x, y = torch.meshgrid(torch.arange(28) - 13.5, torch.arange(28) - 13.5, indexing="xy")
            disc = torch.hypot(x, y) < 13
            for seen, image in zip(found, images, strict=True):
                mask = Mask.of(disc, tuple(seen.boxes[0].tolist()))
                dark = float(image[0].max()) < self.bright
                object.__setattr__(seen, "masks", (None if dark else mask,))
            return found

    discs.series(tmp_path / "photos", discs.WARPS)

    def recipe(background, **options):
        return discs_recipe(
            detector=MaskedBlobs(**options),
            reference="first",
            canvas=CanvasOptions(size="64x48", background=background),
        )

    return recipe


def test_a_run_removes_the_background(recipe, tmp_path):
    record = run(recipe("remove"))
    assert record.recipe["canvas"]["background"] == "remove"
    made = np.load(tmp_path / "out" / "frames.npy")
    assert made.shape == (4, 4, 48, 64)
    assert made[:, 3, 0].max() == 0
    assert made[:, 3].max(axis=(1, 2)).min() == 255


def test_a_photo_without_a_mask_fails_alone_with_its_reason(recipe, tmp_path):
    pixels = np.array(Image.open(tmp_path / "photos" / "2020-01-03.png")) // 2
    Image.fromarray(pixels).save(tmp_path / "photos" / "2020-01-03.png")
    record = run(recipe("blur", bright=200.0))
    assert [photo.status for photo in record.photos] == ["used", "used", "failed", "used"]
    assert record.photos[2].stage == "detector"
    assert record.photos[2].reason == (
        "the detector found no mask of the subject, which `canvas.background` needs"
    )
    assert np.load(tmp_path / "out" / "frames.npy").shape == (3, 3, 48, 64)
    assert run(recipe("keep", bright=200.0)).photos[2].status == "used"


def test_a_run_in_which_nobody_has_a_mask_says_so(recipe):
    with pytest.raises(
        AlignimationError, match="4 failed: the detector found no mask of the subject"
    ):
        run(recipe("remove", bright=1000.0))
