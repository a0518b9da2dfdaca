from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import imageio.v3 as iio
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from pydantic import ValidationError

from alignimation_core import Canvas, Frame, OutputError, Photo, Renderer
from alignimation_imageio import APNG, GIF, Frames, Video, WebP

COLOURS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (0, 0, 0),
    (128, 128, 128),
    (255, 255, 255),
    (200, 120, 40),
]
BARS = Canvas(height=48, width=32 * len(COLOURS))
PHOTO = Photo(Path("/a.jpg"), "a.jpg", "0" * 64, 48, 256, datetime(2020, 1, 1), "exif")
ALL = [Video(), Video(path="a.webm"), GIF(), WebP(), WebP(lossless=True), APNG(), Frames()]
FILES = ALL[:-1]


def label(renderer: object) -> str:
    return str(getattr(renderer, "path", renderer))


def bars(index: int = 0, canvas: Canvas = BARS) -> Frame:
    """Vertical bars of eight colours that move on by one bar a frame."""
    place = (torch.arange(canvas.width) * len(COLOURS) // canvas.width + index) % len(COLOURS)
    row = torch.tensor(COLOURS, dtype=torch.uint8)[place].T
    image = row[:, None, :].expand(3, canvas.height, canvas.width).contiguous()
    return Frame(image, index, PHOTO)


def disc(index: int = 0, side: int = 64) -> Frame:
    """An orange frame, transparent but for a half-opaque left and an opaque right quarter."""
    image = torch.zeros(4, side, side, dtype=torch.uint8)
    image[:3] = torch.tensor([200, 120, 40], dtype=torch.uint8)[:, None, None]
    image[3, :, : side // 4] = 100
    image[3, :, -side // 4 :] = 255
    return Frame(image, index, PHOTO)


def write(renderer: Renderer, folder: Path, count: int = 8, canvas: Canvas = BARS) -> Path:
    with renderer.open(canvas, count, folder) as writer:
        for index in range(count):
            writer.write(bars(index, canvas))
    return folder / renderer.path


def middles(image: np.ndarray) -> np.ndarray:
    """The colours in the middle of the eight bars."""
    height, width = image.shape[:2]
    return image[height // 2, width // 16 :: width // 8, :3].astype(int)


def stored(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {path.name: path.read_bytes()}
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize(
    ("path", "codec", "container"),
    [
        ("a.mp4", "h264", "mp4"),
        ("a.mov", "h264", "mov"),
        ("a.mkv", "h264", "matroska"),
        ("A.WEBM", "vp9", "webm"),
    ],
)
def test_video_has_the_codec_size_rate_and_colours_that_were_asked_for(
    tmp_path: Path, path: str, codec: str, container: str
) -> None:
    written = write(Video(path=path, fps=12.5), tmp_path, count=25)
    with av.open(str(written)) as movie:
        stream = movie.streams.video[0]
        assert container in movie.format.name
        assert (stream.codec.name, stream.codec_context.pix_fmt) == (codec, "yuv420p")
        assert (stream.width, stream.height) == (BARS.width, BARS.height)
        assert stream.average_rate == Fraction(25, 2)
        assert movie.duration == pytest.approx(2_000_000, abs=1000)  # microseconds
        context = stream.codec_context
        tags = (context.colorspace, context.color_primaries, context.color_trc)
        assert tags == (1, 1, 1)  # BT.709 in each of ffmpeg's enumerations
        assert context.color_range == 1  # limited
        frames = [frame.to_ndarray(format="yuv420p") for frame in movie.decode(video=0)]
    assert len(frames) == 25
    # ITU-R BT.709, item 3.4 and 3.5: 16 + 219 (0.2126 R + 0.7152 G + 0.0722 B)
    linear = np.array(COLOURS) / 255 @ [0.2126, 0.7152, 0.0722]
    luma = frames[0][BARS.height // 2, 16::32]
    assert luma == pytest.approx(16 + 219 * linear, abs=2)


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_colours_and_their_order_survive(tmp_path: Path, renderer: Renderer) -> None:
    path = write(renderer, tmp_path)
    if path.is_dir():
        frames = [iio.imread(file) for file in sorted(path.iterdir())]
    elif path.suffix in (".mp4", ".webm"):
        frames = list(iio.imiter(path, plugin="pyav"))
    else:
        frames = [np.asarray(f)[..., :3] for f in iio.imiter(path, plugin="pillow", mode="RGB")]
    assert len(frames) == 8
    for index, frame in enumerate(frames):
        assert frame.shape[:2] == (BARS.height, BARS.width)
        assert np.abs(middles(frame) - np.roll(COLOURS, -index, axis=0)).max() <= 4


def test_mp4_begins_with_its_index(tmp_path: Path) -> None:
    data = write(Video(), tmp_path).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_lower_crf_keeps_more(tmp_path: Path) -> None:
    sizes = [write(Video(path=f"{c}.mp4", crf=c), tmp_path).stat().st_size for c in (5, 25, 45)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 3


@pytest.mark.parametrize(("fps", "seconds"), [(12.0, 2.0), (0.5, 48.0), (29.97, 24 / 29.97)])
@pytest.mark.parametrize("kind", [GIF, WebP, APNG])
def test_rounded_delays_add_up_to_the_right_duration(
    tmp_path: Path, kind: type[Renderer], fps: float, seconds: float
) -> None:
    renderer = kind.model_validate({"fps": fps})
    path = write(renderer, tmp_path, count=24)
    with Image.open(path) as image:
        delays = []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            delays.append(image.info["duration"])
    assert len(delays) == 24
    assert sum(delays) / 1000 == pytest.approx(seconds, abs=0.011)
    assert max(delays) - min(delays) <= 10


@pytest.mark.parametrize(("loop", "in_gif", "in_webp"), [(0, 0, 0), (1, None, 1), (3, 2, 3)])
def test_loop_is_how_often_it_plays(
    tmp_path: Path, loop: int, in_gif: int | None, in_webp: int
) -> None:
    with Image.open(write(GIF(loop=loop), tmp_path)) as image:
        assert image.info.get("loop") == in_gif  # repetitions after the first time
    with Image.open(write(WebP(loop=loop), tmp_path)) as image:
        assert image.info["loop"] == in_webp
    with Image.open(write(APNG(loop=loop), tmp_path)) as image:
        assert image.info["loop"] == loop


def noise(canvas: Canvas, index: int) -> Frame:
    generator = torch.Generator().manual_seed(index)
    size = (3, canvas.height, canvas.width)
    return Frame(torch.randint(256, size, dtype=torch.uint8, generator=generator), index, PHOTO)


def test_lossless_formats_keep_every_pixel(tmp_path: Path) -> None:
    canvas = Canvas(32, 48)
    for renderer in (WebP(lossless=True), APNG(), Frames()):
        with renderer.open(canvas, 3, tmp_path) as writer:
            for index in range(3):
                writer.write(noise(canvas, index))
    webp = list(iio.imiter(tmp_path / "animation.webp", plugin="pillow", mode="RGB"))
    apng = list(iio.imiter(tmp_path / "animation.png", plugin="pillow", mode="RGB"))
    png = [iio.imread(file) for file in sorted((tmp_path / "frames").iterdir())]
    for index in range(3):
        wanted = noise(canvas, index).image.permute(1, 2, 0).numpy()
        assert np.array_equal(webp[index], wanted)
        assert np.array_equal(apng[index], wanted)
        assert np.array_equal(png[index], wanted)


def test_webp_quality_counts(tmp_path: Path) -> None:
    canvas = Canvas(64, 64)
    sizes = []
    for quality in (20, 95):
        with WebP(quality=quality).open(canvas, 1, tmp_path) as writer:
            writer.write(noise(canvas, 0))
        sizes.append((tmp_path / "animation.webp").stat().st_size)
    assert sizes[0] < sizes[1] / 2


def test_gif_gives_every_frame_its_own_256_colours(tmp_path: Path) -> None:
    ramp = torch.arange(256, dtype=torch.uint8).expand(16, 256)
    zero = torch.zeros_like(ramp)
    with GIF().open(Canvas(16, 256), 2, tmp_path) as writer:
        writer.write(Frame(torch.stack([ramp, zero, zero]), 0, PHOTO))
        writer.write(Frame(torch.stack([zero, ramp, zero]), 1, PHOTO))
    red, green = iio.imiter(tmp_path / "animation.gif", plugin="pillow", mode="RGB")
    assert np.abs(red[..., 0].astype(int) - ramp.numpy()).mean() < 2
    assert np.abs(green[..., 1].astype(int) - ramp.numpy()).mean() < 2


def test_pictures_are_numbered_wide_enough_and_carry_no_metadata(tmp_path: Path) -> None:
    assert names(write(Frames(), tmp_path, count=2)) == ["0001.png", "0002.png"]
    with Frames(path="many").open(BARS, 12345, tmp_path) as writer:
        writer.write(bars())
    assert names(tmp_path / "many") == ["00001.png"]
    with Image.open(tmp_path / "many" / "00001.png") as image:
        assert image.info == {"srgb": 0}


def test_pictures_say_that_they_are_srgb(tmp_path: Path) -> None:
    path = write(Frames(format="jpeg"), tmp_path, count=1) / "0001.jpg"
    with Image.open(path) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    assert ImageCms.getProfileDescription(profile).startswith("sRGB")
    with Image.open(write(APNG(), tmp_path, count=2)) as image:
        assert image.info["srgb"] in (0, 1)


def test_jpeg_is_not_subsampled(tmp_path: Path) -> None:
    path = write(Frames(format="jpeg"), tmp_path, count=1) / "0001.jpg"
    with Image.open(path) as image:
        assert image.format == "JPEG"
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}
        assert not image.getexif()
        assert np.abs(middles(np.asarray(image)) - COLOURS).max() <= 4


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_same_frames_give_same_bytes(tmp_path: Path, renderer: Renderer) -> None:
    results = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        results.append(stored(write(renderer, tmp_path / name, count=12)))
    assert results[0] == results[1]


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_one_frame_is_an_animation_too(tmp_path: Path, renderer: Renderer) -> None:
    path = write(renderer, tmp_path, count=1)
    frame = iio.imread(path / "0001.png" if path.is_dir() else path)
    assert np.abs(middles(frame.reshape(-1, *frame.shape[-3:])[0]) - COLOURS).max() <= 4


@pytest.mark.parametrize(
    ("renderer", "canvas", "size"),
    [
        (Video(), Canvas(75, 101), (100, 74)),
        (Video(), Canvas(1, 1), (2, 2)),
        (Video(width=481), Canvas(1350, 1080), (480, 600)),
        (Video(width=333), Canvas(1350, 1080), (332, 416)),
        (Video(width=5000), Canvas(48, 64), (64, 48)),
        (GIF(width=33), Canvas(75, 101), (33, 24)),
        (WebP(width=50), Canvas(75, 101), (50, 37)),
        (WebP(), Canvas(75, 101), (101, 75)),
    ],
    ids=str,
)
def test_sizes(tmp_path: Path, renderer: Renderer, canvas: Canvas, size: tuple[int, int]) -> None:
    path = write(renderer, tmp_path, count=1, canvas=canvas)
    plugin = "pyav" if path.suffix == ".mp4" else "pillow"
    height, width = iio.imread(path, plugin=plugin, index=0).shape[:2]
    assert (width, height) == size


def test_scaling_down_is_antialiased_and_stretches_nothing(tmp_path: Path) -> None:
    canvas = Canvas(400, 600)
    ys, xs = torch.meshgrid(torch.arange(400) + 0.5, torch.arange(600) + 0.5, indexing="ij")
    checks = ((xs.int() + ys.int()) % 2 * 255).byte()
    inside = (xs - 300) ** 2 + (ys - 200) ** 2 < 150**2
    image = torch.where(inside, torch.tensor(255, dtype=torch.uint8), checks).expand(3, -1, -1)
    with Frames(width=100).open(canvas, 1, tmp_path) as writer:
        writer.write(Frame(image, 0, PHOTO))
    small = iio.imread(tmp_path / "frames" / "0001.png")[..., 0]
    assert np.abs(small[:6, :6].astype(int) - 127).max() <= 2  # the checks average to grey
    white = small > 191
    assert white.any(0).sum() == pytest.approx(50, abs=1)  # diameter 300, six times smaller
    assert white.any(1).sum() == pytest.approx(50, abs=1)


def test_odd_canvas_is_cut_not_resampled(tmp_path: Path) -> None:
    canvas = Canvas(17, 33)
    checks = ((torch.arange(17)[:, None] + torch.arange(33)) % 2 * 255).byte().expand(3, -1, -1)
    with Video(crf=1).open(canvas, 1, tmp_path) as writer:
        writer.write(Frame(checks.contiguous(), 0, PHOTO))
    seen = iio.imread(tmp_path / "animation.mp4", plugin="pyav", index=0)
    assert np.abs(seen.astype(int) - checks.permute(1, 2, 0)[:16, :32].numpy()).max() <= 12


TRANSPARENT = Canvas(64, 64, alpha=True)


def write_disc(renderer: Renderer, folder: Path, count: int = 3) -> Path:
    with renderer.open(TRANSPARENT, count, folder) as writer:
        for index in range(count):
            writer.write(disc(index))
    return folder / renderer.path


@pytest.mark.parametrize("renderer", [WebP(), APNG(), Frames()], ids=label)
def test_soft_transparency_is_kept(tmp_path: Path, renderer: Renderer) -> None:
    path = write_disc(renderer, tmp_path)
    with Image.open(path / "0001.png" if path.is_dir() else path) as image:
        seen = np.asarray(image.convert("RGBA")).astype(int)
    assert seen[32, [4, 32, 60], 3] == pytest.approx([100, 0, 255], abs=2)
    assert seen[32, 60, :3] == pytest.approx([200, 120, 40], abs=6)


def test_webm_keeps_transparency(tmp_path: Path) -> None:
    path = write_disc(Video(path="a.webm"), tmp_path)
    decoder = av.CodecContext.create("libvpx-vp9", "r")  # ffmpeg's own decoder skips alpha
    with av.open(str(path)) as movie:
        assert movie.streams.video[0].metadata["alpha_mode"] == "1"
        frames = [frame for packet in movie.demux(video=0) for frame in decoder.decode(packet)]
    assert len(frames) == 3
    seen = frames[2].to_ndarray(format="rgba").astype(int)
    assert seen[32, [4, 32, 60], 3] == pytest.approx([100, 0, 255], abs=4)


def test_gif_transparency_is_all_or_nothing_in_every_frame(tmp_path: Path) -> None:
    path = write_disc(GIF(), tmp_path)
    with Image.open(path) as image:
        for index in range(3):
            image.seek(index)
            seen = np.asarray(image.convert("RGBA")).astype(int)
            assert list(seen[32, [4, 32, 60], 3]) == [0, 0, 255]
            assert seen[32, 60, :3] == pytest.approx([200, 120, 40], abs=4)


def test_gif_frame_does_not_show_through_the_next(tmp_path: Path) -> None:
    with GIF().open(TRANSPARENT, 2, tmp_path) as writer:
        for index in range(2):
            image = disc(index).image.clone()
            image[3] = 0
            image[3, :, 32 * index : 32 * index + 32] = 255
            writer.write(Frame(image, index, PHOTO))
    with Image.open(tmp_path / "animation.gif") as image:
        image.seek(1)
        assert list(np.asarray(image.convert("RGBA"))[32, [10, 50], 3]) == [0, 255]


@pytest.mark.parametrize("renderer", [Video(matte="#0000ff"), Frames(format="jpeg", matte="blue")])
def test_matte_is_behind_where_the_format_has_no_alpha(tmp_path: Path, renderer: Renderer) -> None:
    path = write_disc(renderer, tmp_path, count=1)
    seen = iio.imread(path / "0001.jpg") if path.is_dir() else iio.imread(path, index=0)
    half = np.array([200, 120, 40]) * 100 / 255 + np.array([0, 0, 255]) * 155 / 255
    assert np.abs(seen[32, 4].astype(int) - half).max() <= 6
    assert np.abs(seen[32, 32].astype(int) - [0, 0, 255]).max() <= 6


def test_transparent_pixels_do_not_bleed_when_scaled(tmp_path: Path) -> None:
    image = torch.zeros(4, 64, 64, dtype=torch.uint8)
    image[:, :, 30:] = 255  # opaque white beside transparent black
    with Frames(width=16).open(TRANSPARENT, 1, tmp_path) as writer:
        writer.write(Frame(image, 0, PHOTO))
    seen = iio.imread(tmp_path / "frames" / "0001.png")
    assert (seen[seen[..., 3] > 8][:, :3] >= 250).all()


# --- files that are, and files that are not, there --------------------------------------------


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_result_appears_only_when_closed_and_replaces_the_old(
    tmp_path: Path, renderer: Renderer
) -> None:
    old = stored(write(renderer, tmp_path, count=2))
    writer = renderer.open(BARS, 3, tmp_path)
    for index in range(3):
        writer.write(bars(index + 3))
        assert stored(tmp_path / renderer.path) == old
    assert writer.close() == tmp_path / renderer.path
    assert stored(tmp_path / renderer.path) != old
    assert names(tmp_path) == [renderer.path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_exception_inside_with_leaves_what_stood_there(
    tmp_path: Path, renderer: Renderer, error: type[BaseException]
) -> None:
    old = stored(write(renderer, tmp_path, count=2))
    with pytest.raises(error), renderer.open(BARS, 3, tmp_path) as writer:  # noqa: PT012
        writer.write(bars(5))
        raise error
    assert stored(tmp_path / renderer.path) == old
    assert names(tmp_path) == [renderer.path]


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_no_frame_is_an_error(tmp_path: Path, renderer: Renderer) -> None:
    writer = renderer.open(BARS, 3, tmp_path)
    with pytest.raises(OutputError) as caught:
        writer.close()
    assert str(caught.value) == f"{tmp_path / renderer.path}: no frame was written"
    assert names(tmp_path) == []


@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_abort_twice_does_no_harm(tmp_path: Path, renderer: Renderer) -> None:
    writer = renderer.open(BARS, 3, tmp_path)
    writer.write(bars())
    writer.abort()
    writer.abort()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (torch.zeros(3, 40, 256, dtype=torch.uint8), "(3, 40, 256) uint8"),
        (torch.zeros(4, 48, 256, dtype=torch.uint8), "(4, 48, 256) uint8"),
    ],
)
@pytest.mark.parametrize("renderer", [Video(), Frames()], ids=label)
def test_wrong_frame_is_named_with_both_sides(
    tmp_path: Path, renderer: Renderer, image: torch.Tensor, found: str
) -> None:
    with (
        pytest.raises(ValueError, match="frame 7") as caught,
        renderer.open(BARS, 3, tmp_path) as writer,
    ):
        writer.write(Frame(image, 7, PHOTO))
    assert str(caught.value) == f"frame 7: expected (3, 48, 256) uint8, got {found}"
    assert names(tmp_path) == []


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    assert write(GIF(path="a/b/c.gif"), tmp_path, count=1).is_file()
    assert names(write(Frames(path="d/e"), tmp_path, count=1)) == ["0001.png"]


@pytest.mark.parametrize("renderer", FILES, ids=label)
def test_folder_where_a_file_is_wanted(tmp_path: Path, renderer: Renderer) -> None:
    path = tmp_path / renderer.path
    path.mkdir()
    with pytest.raises(OutputError) as caught:
        renderer.open(BARS, 3, tmp_path)
    assert str(caught.value) == f"{path} is a folder; choose another path"
    assert names(tmp_path) == [renderer.path]


@pytest.mark.parametrize(("renderer"), [GIF(path="a/b.gif"), Frames(path="a/b")], ids=label)
def test_file_where_a_folder_is_wanted(tmp_path: Path, renderer: Renderer) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OutputError) as caught:
        renderer.open(BARS, 3, tmp_path)
    assert (
        str(caught.value)
        == f"{tmp_path / renderer.path}: {tmp_path / 'a'} is a file; choose another path"
    )


def test_frames_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "frames").write_text("mine")
    with pytest.raises(OutputError) as caught:
        Frames().open(BARS, 3, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path / 'frames'} is a file, not a folder of frames; choose another path"
    )


@pytest.mark.parametrize("name", ["notes.txt", "portrait.jpg", "1.jpeg", "12.png"])
def test_frames_never_replaces_a_folder_that_holds_something_else(
    tmp_path: Path, name: str
) -> None:
    path = write(Frames(), tmp_path, count=1)
    if name == "12.png":
        (path / name).mkdir()  # a folder is no frame, whatever its name
    else:
        (path / name).write_text("mine")
    with pytest.raises(OutputError) as caught:
        Frames().open(BARS, 3, tmp_path)
    assert str(caught.value) == f"{path} holds {name}, which is no frame; choose another path"
    assert names(path) == sorted(["0001.png", name])


def test_frames_looks_again_before_it_replaces(tmp_path: Path) -> None:
    path = write(Frames(), tmp_path, count=1)
    writer = Frames().open(BARS, 3, tmp_path)
    writer.write(bars())
    (path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds notes\.txt, which is no frame"):
        writer.close()
    assert (path / "notes.txt").read_text() == "mine"
    assert names(tmp_path) == ["frames"]


def test_frames_replaces_longer_runs_and_other_formats_wholly(tmp_path: Path) -> None:
    path = write(Frames(), tmp_path, count=5)
    (path / ".DS_Store").write_text("")
    write(Frames(format="jpeg"), tmp_path, count=2)
    assert names(path) == ["0001.jpg", "0002.jpg"]


def test_left_overs_of_killed_runs_are_removed_and_those_of_live_ones_kept(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = tmp_path / f".animation.gif.part-{ended.pid}"
    dead.write_text("half")
    dead_frames = tmp_path / f".frames.part-{ended.pid}"
    dead_frames.mkdir()
    (dead_frames / "0001.png").write_text("half")
    own = tmp_path / f".frames.part-{os.getpid()}"
    own.mkdir()
    live = tmp_path / f".animation.gif.part-{os.getppid()}"
    live.write_text("growing")
    write(GIF(), tmp_path, count=1)
    write(Frames(), tmp_path, count=1)
    assert names(tmp_path) == sorted([live.name, "animation.gif", "frames"])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "frames").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "animation.gif").symlink_to(tmp_path / "elsewhere.gif")
    write(Frames(), tmp_path, count=1)
    write(GIF(), tmp_path, count=1)
    assert (tmp_path / "frames").is_symlink()
    assert names(tmp_path / "elsewhere") == ["0001.png"]
    assert (tmp_path / "elsewhere.gif").is_file()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Let writing fail in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("renderer", ALL, ids=label)
def test_writing_that_fails_in_the_middle(tmp_path: Path, renderer: Renderer, size: int) -> None:
    canvas = Canvas(160, 160)
    old = stored(write(renderer, tmp_path, count=1, canvas=canvas))
    with (  # noqa: PT012
        files_no_larger_than(size),
        pytest.raises(OutputError) as caught,
        renderer.open(canvas, 4, tmp_path) as writer,
    ):
        for index in range(4):
            writer.write(noise(canvas, index))
    assert str(caught.value) == (
        f"{tmp_path / renderer.path}: the file grew larger than this disk or user may write; "
        "make it smaller"
    )
    assert stored(tmp_path / renderer.path) == old
    assert names(tmp_path) == [renderer.path]


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Give up the superuser's right to write anywhere."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("mode", [0o555, 0o000])
@pytest.mark.parametrize("renderer", [GIF(), GIF(path="a/b.gif"), Frames()], ids=label)
def test_folder_without_permission(renderer: Renderer, mode: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)
        with ordinary_user(), pytest.raises(OutputError) as caught:
            renderer.open(BARS, 3, folder)
        folder.chmod(0o700)
        assert names(folder) == []
    assert str(caught.value) == (
        f"{folder / renderer.path}: no permission to write there; choose another output folder"
    )


def test_what_the_encoder_refuses_is_said(tmp_path: Path) -> None:
    canvas = Canvas(2, 16400)  # WebP ends at 16383
    with pytest.raises(OutputError, match=r"animation\.webp: .+; choose another"):
        write(WebP(), tmp_path, count=1, canvas=canvas)
    assert names(tmp_path) == []


# --- options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Video, {"path": "a.avi"}, "'a.avi' does not end in .mp4, .mov, .mkv or .webm"),
        (Video, {"path": "film"}, "'film' does not end in .mp4, .mov, .mkv or .webm"),
        (GIF, {"path": "a.mp4"}, "'a.mp4' does not end in .gif"),
        (WebP, {"path": "a.gif"}, "'a.gif' does not end in .webp"),
        (Frames, {"path": "../frames"}, "'../frames' is not a name inside the output folder"),
        (Video, {"matte": "bleu"}, "'bleu' is no opaque colour; write a name or #rrggbb"),
        (
            Frames,
            {"matte": "#00000080"},
            "'#00000080' is no opaque colour; write a name or #rrggbb",
        ),
        (Video, {"fps": 0}, "Input should be greater than or equal to 0.01"),
        (Video, {"fps": float("nan")}, "Input should be a finite number"),
        (GIF, {"fps": 60}, "Input should be less than or equal to 50"),
        (Video, {"crf": 52}, "Input should be less than or equal to 51"),
        (Video, {"width": 0}, "Input should be greater than or equal to 16"),
        (WebP, {"quality": 101}, "Input should be less than or equal to 100"),
        (GIF, {"loop": -1}, "Input should be greater than or equal to 0"),
        (Frames, {"format": "tiff"}, "Input should be 'png' or 'jpeg'"),
        (GIF, {"quality": 3}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_options(kind: type[Renderer], options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(options)
    (error,) = caught.value.errors()
    assert error["msg"].removeprefix("Value error, ") == message
    assert error["loc"] == tuple(options)


def test_import_is_light() -> None:
    code = "import alignimation_imageio as a, sys; a.Video(path='a.mkv'); print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"torch", "numpy", "av", "imageio"} & set(loaded)


# --- memory -----------------------------------------------------------------------------------

GROWTH = """
import resource, sys
from datetime import datetime
from pathlib import Path
import torch
from alignimation_core import Canvas, Frame, Photo
import alignimation_imageio as renderers

kind, folder = sys.argv[1:]
canvas = Canvas(240, 320)
photo = Photo(Path("a"), "a", "", 1, 1, datetime(2020, 1, 1), "exif")
ramp = torch.arange(320, dtype=torch.int32).expand(3, 240, 320)
with getattr(renderers, kind)().open(canvas, 200, Path(folder)) as writer:
    for index in range(200):
        writer.write(Frame(((ramp + index) % 256).byte(), index, photo))
        if index == 70:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Video", "GIF", "WebP", "Frames"])
def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path, kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", GROWTH, kind, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
    )
    kept = 129 * 240 * 320 * 3 / 1024  # KiB, were the frames kept
    assert int(ran.stdout) < kept / 3
