from __future__ import annotations

import pickle
import wave
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from alignimation_core import Canvas, Frame, OutputError, Photo
from alignimation_imageio import Video

CANVAS = Canvas(64, 96)
PHOTO = Photo(Path("/a.jpg"), "a.jpg", "0" * 64, 64, 96, datetime(2020, 1, 1), "exif")
ORANGE = (200, 120, 40)
RATE = 44100


def write(renderer: Video, folder: Path, count: int, canvas: Canvas = CANVAS) -> Path:
    """Orange frames, with the opacity of an orange half where the canvas has alpha."""
    colour = torch.tensor([*ORANGE, 255][: 3 + canvas.alpha], dtype=torch.uint8)
    image = colour[:, None, None].expand(-1, canvas.height, canvas.width).clone()
    if canvas.alpha:
        image[3, :, : canvas.width // 2] = 0
    length = renderer.duration()
    with renderer.open(canvas, count, folder) as writer:
        for index in range(count):
            writer.write(Frame(image, index, PHOTO, length and length / count))
    return folder / renderer.path


@pytest.mark.parametrize(
    ("codec", "path", "decoder", "pixels"),
    [
        ("h264", "a.mp4", "h264", "yuv420p"),
        ("h265", "a.mp4", "hevc", "yuv420p"),
        ("h265", "a.mkv", "hevc", "yuv420p"),
        ("av1", "a.mp4", "libdav1d", "yuv420p"),
        ("av1", "a.webm", "libdav1d", "yuv420p"),
        ("vp9", "a.mp4", "vp9", "yuv420p"),
        ("prores", "a.mov", "prores", "yuv422p10le"),
    ],
)
def test_codecs_keep_colours_and_say_how_to_show_them(
    tmp_path: Path, codec: str, path: str, decoder: str, pixels: str
) -> None:
    written = write(Video.model_validate({"path": path, "codec": codec}), tmp_path, 8)
    again = write(Video.model_validate({"path": f"b-{path}", "codec": codec}), tmp_path, 8)
    assert written.read_bytes() == again.read_bytes()
    with av.open(str(written)) as movie:
        stream = movie.streams.video[0]
        assert (stream.codec.name, stream.codec_context.pix_fmt) == (decoder, pixels)
        frames = list(movie.decode(video=0))
        context = stream.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
    assert len(frames) == 8
    seen = frames[4].to_ndarray(format="rgb24").astype(int)
    assert np.abs(seen[32, 48] - ORANGE).max() <= 4
    if path.endswith((".mp4", ".mov")):
        kind = b"nclc" if path.endswith(".mov") else b"nclx"
        assert b"colr" + kind + b"\0\1\0\1\0\1" in written.read_bytes()  # Apple's players go by it


def test_h265_has_the_name_that_apples_players_want(tmp_path: Path) -> None:
    with av.open(str(write(Video(codec="h265"), tmp_path, 2))) as movie:
        assert movie.streams.video[0].codec_context.codec_tag == "hvc1"


def test_lower_crf_keeps_more_in_every_codec_that_has_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (3, 64, 96), dtype=torch.uint8, generator=generator)
    for codec in ("h265", "av1", "vp9"):
        sizes = []
        for crf in (10, 45):
            renderer = Video.model_validate({"path": "a.mkv", "codec": codec, "crf": crf})
            with renderer.open(CANVAS, 1, tmp_path) as writer:
                writer.write(Frame(noise, 0, PHOTO))
            sizes.append((tmp_path / "a.mkv").stat().st_size)
        assert sizes[0] > 1.5 * sizes[1]


def test_prores_keeps_transparency(tmp_path: Path) -> None:
    renderer = Video(path="a.mov", codec="prores")
    path = write(renderer, tmp_path, 2, Canvas(64, 96, alpha=True))
    with av.open(str(path)) as movie:
        seen = next(movie.decode(video=0)).to_ndarray(format="rgba").astype(int)
    assert list(seen[32, [20, 76], 3]) == [0, 255]
    assert np.abs(seen[32, 76, :3] - ORANGE).max() <= 4


@pytest.mark.parametrize(("count", "seconds"), [(24, 4.0), (97, 30.0), (7, 3.3), (2, 5.0)])
def test_seconds_is_how_long_the_film_is(tmp_path: Path, count: int, seconds: float) -> None:
    with av.open(str(write(Video(seconds=seconds), tmp_path, count))) as movie:
        stream = movie.streams.video[0]
        assert stream.frames % count == 0
        assert stream.average_rate >= 30
        length = stream.duration * stream.time_base
    assert length == pytest.approx(Fraction(seconds), abs=0.002)


def test_seconds_too_short_for_one_frame_a_photo(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        Video(seconds=0.5).open(CANVAS, 100, tmp_path)
    assert str(caught.value) == (
        "animation.mp4: 100 photos in 0.5 seconds would be 200 a second; "
        "set seconds to 0.834 to 10000"
    )
    assert list(tmp_path.iterdir()) == []


# --- sound ------------------------------------------------------------------------------------


def wav(path: Path, seconds: float, tone: Callable[[np.ndarray], np.ndarray]) -> Path:
    """Write a stereo file of a function of time, both sides alike; 1 is the loudest."""
    times = np.arange(round(seconds * RATE)) / RATE
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((tone(times) * 32767).astype("<i2").repeat(2).tobytes())
    return path


def sine(times: np.ndarray) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 441 * times)


def heard(path: Path) -> tuple[str, np.ndarray]:
    """Return the codec, and (n, 2) samples at 48 kHz."""
    with av.open(str(path)) as movie:
        stream = movie.streams.audio[0]
        resampler = av.AudioResampler("fltp", "stereo", 48000)
        frames = [part for frame in movie.decode(stream) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
        return stream.codec.name, np.concatenate([f.to_ndarray() for f in frames], 1).T


def loudness(samples: np.ndarray) -> np.ndarray:
    """Return the root mean square of every tenth of a second of the left channel."""
    whole = samples[: len(samples) // 4800 * 4800, 0].reshape(-1, 4800)
    return np.sqrt((whole.astype(float) ** 2).mean(1))


@pytest.mark.parametrize(
    ("options", "codec"),
    [
        ({"path": "a.mp4"}, "aac"),
        ({"path": "a.mkv"}, "aac"),
        ({"path": "a.webm"}, "opus"),
        ({"path": "a.mov", "codec": "prores"}, "pcm_s16le"),
    ],
    ids=str,
)
@pytest.mark.parametrize("length", [1.0, 60.0])
def test_sound_is_as_long_as_the_film_and_fades_out(
    tmp_path: Path, options: dict[str, object], codec: str, length: float
) -> None:
    music = wav(tmp_path / "music.wav", length, sine)
    renderer = Video.model_validate({**options, "audio": music, "fps": 10})
    path = write(renderer, tmp_path, 80)
    name, samples = heard(path)
    assert name == codec
    assert len(samples) / 48000 == pytest.approx(8, abs=0.05)
    loud = loudness(samples)
    assert loud[2:59] == pytest.approx(0.5 / np.sqrt(2), rel=0.03)
    faded = 0.5 / np.sqrt(2) * (1 - (np.arange(20) + 0.5) / 20)
    assert loud[60:79] == pytest.approx(faded[:19], abs=0.02)
    with av.open(str(path)) as movie:
        assert movie.duration / 1e6 == pytest.approx(8, abs=0.1)
        kinds = [packet.stream.type for packet in movie.demux() if packet.size]
    assert kinds.count("video") == 80
    half = kinds[: len(kinds) // 2]
    assert 25 <= half.count("video") <= 55  # interleaved, so that players need not jump


def test_sound_is_looped_from_its_beginning(tmp_path: Path) -> None:
    # half a second loud, half a second silent
    music = wav(tmp_path / "music.wav", 1.0, lambda t: sine(t) * (t < 0.5))
    _, samples = heard(write(Video(audio=music), tmp_path, 120))
    loud = loudness(samples)[:80].reshape(8, 10)
    assert (loud[:, 1:4] > 0.3).all()
    assert (loud[:, 6:9] < 0.02).all()


def test_the_same_sound_gives_the_same_bytes(tmp_path: Path) -> None:
    music = wav(tmp_path / "music.wav", 1.5, sine)
    one, two = (write(Video(path=p, audio=music), tmp_path, 40) for p in ("a.mp4", "b.mp4"))
    assert one.read_bytes() == two.read_bytes()


def test_a_film_that_is_short_or_aborted_has_sound_or_nothing(tmp_path: Path) -> None:
    music = wav(tmp_path / "music.wav", 1.5, sine)
    renderer = Video(audio=music)
    _, samples = heard(write(renderer, tmp_path, 1))
    assert len(samples) / 48000 == pytest.approx(1 / 12, abs=0.03)
    (tmp_path / "animation.mp4").unlink()
    writer = renderer.open(CANVAS, 3, tmp_path)
    writer.write(Frame(torch.zeros(3, 64, 96, dtype=torch.uint8), 0, PHOTO))
    writer.abort()
    assert list(tmp_path.iterdir()) == [music]


def test_sound_of_a_film_may_be_used(tmp_path: Path) -> None:
    music = wav(tmp_path / "music.wav", 1.5, sine)
    film = write(Video(path="first.mp4", audio=music), tmp_path, 24)
    assert heard(write(Video(audio=film), tmp_path, 12))[0] == "aac"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write(Video(path="silent.mp4"), tmp_path, 2)
    (tmp_path / "notes.mp3").write_text("no sound at all\n" * 100)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"audio": "none.mp3"}, "{0}/none.mp3: no such file; leave audio out, or name another"),
        (
            {"audio": "silent.mp4"},
            "{0}/silent.mp4: there is no sound in it; choose another file",
        ),
        (
            {"audio": "notes.mp3"},
            (
                "{0}/notes.mp3: its sound cannot be read (Invalid data found when processing "
                "input); choose another file"
            ),
        ),
        (
            {"codec": "prores"},
            "prores cannot be in a .mp4; let the path end in .mov or .mkv",
        ),
        (
            {"path": "a.webm", "codec": "h264"},
            "h264 cannot be in a .webm; let the path end in .mp4, .mov or .mkv",
        ),
        ({"codec": "mpeg2"}, "Input should be 'h264', 'h265', 'av1', 'vp9' or 'prores'"),
        ({"seconds": 0.0001}, "Input should be greater than or equal to 0.01"),
        ({"fps": 12, "seconds": 3}, "seconds and fps are both set; leave one of them out"),
        ({"path": "a.mov", "codec": "prores", "crf": 3}, "prores has no crf; leave it out"),
    ],
    ids=str,
)
def test_wrong_options(files: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Video.model_validate(options, context={"folder": files})
    (error,) = caught.value.errors()
    assert error["msg"].removeprefix("Value error, ") == message.format(files)


def test_a_codec_that_this_ffmpeg_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx265", "libx264"})
    with pytest.raises(ValidationError) as caught:
        Video(codec="h265")
    (error,) = caught.value.errors()
    assert error["msg"] == "Value error, this ffmpeg cannot write h265; it has av1, vp9, prores"
    with pytest.raises(OutputError) as refused:
        Video().open(CANVAS, 1, tmp_path)
    assert str(refused.value) == (
        "animation.mp4: this ffmpeg cannot write h264; it has av1, vp9, prores; set another codec"
    )


def test_options_travel(tmp_path: Path) -> None:
    music = wav(tmp_path / "music.wav", 0.5, sine)
    video = Video(path="a.mov", codec="prores", seconds=3, audio=music)
    assert pickle.loads(pickle.dumps(video)) == video
