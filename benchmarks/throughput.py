"""Time and memory of whole runs over many photos: ``python benchmarks/throughput.py [PART ...]``.

Parts (all of them if none is named):

``large``   200 photos of 12 megapixels: the command against its kernels (decoding, network, warp,
            encoding), each timed alone, by one process a core; then again with another renderer.
            All three in turn, several times, and the mean of each: a shared machine is not as
            fast in one minute as in the next.
``memory``  peak memory for 50 and for 1000 photos of 12 megapixels.
``small``   cost a photo and peak memory for 100 to 10,000 small photos; then the time until
            rendering when 10,000 stored photos are chosen from again with another threshold.
``ray``     one worker of a Ray cluster on this machine, and one a core, in turn, likewise.

The photos are the quickstart's, enlarged, with grain. They are made in a folder that is removed at
the end, some 3 GB; ``TMPDIR`` says where.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageOps

QUICKSTART = Path(__file__).parents[1] / "examples" / "quickstart" / "photos"
COMMAND = Path(sys.executable).with_name("alignimation-run")
LARGE, SMALL = (4032, 3024), (400, 300)
GRAIN = 3.0
CORES = len(os.sched_getaffinity(0))
RECIPE: dict[str, Any] = {
    "detector": "mtcnn",
    "subject_selector": "largest",
    "renderers": [{"use": "video", "path": "a.mp4"}],
}
SAMPLES = 20
TURNS = 5


def main() -> None:
    """Run the parts named, or all."""
    parts = {"large": large, "memory": memory, "small": small, "ray": ray}
    chosen = sys.argv[1:] or list(parts)
    if unknown := set(chosen) - parts.keys():
        sys.exit(f"no part {', '.join(sorted(unknown))}; known: {', '.join(parts)}")
    print(f"{platform.machine()}, {CORES} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="alignimation-") as folder:
        for name in chosen:
            print(f"\n== {name}", flush=True)
            parts[name](Path(folder))


def large(folder: Path) -> None:
    """Compare the command with the sum of its kernels."""
    count = 200
    photos = many(folder / "large", count, LARGE)
    again = [{"use": "video", "path": "b.mp4", "crf": 20}]
    firsts, seconds, rounds = [], [], []
    for turn in range(TURNS):
        firsts.append(run(folder, photos, f"first-{turn}"))
        rounds.append(on_every_core(photos, firsts[0]["record"]))
        seconds.append(run(folder, photos, f"first-{turn}", renderers=again))
    costs = {name: mean(row[name] for row in rounds) for name in rounds[0]}
    print(f"{'kernel, alone':<34}{'core-ms a photo':>16}")
    for name, cost in costs.items():
        print(f"{name:<34}{cost:16.1f}")
    whole = sum(costs.values())
    print(f"{'sum':<34}{whole:16.1f}\n")
    print(HEAD)
    print_row("first run", firsts, count, whole)
    again_costs = whole - costs["decode to detect"] - costs["network"]
    print_row("another renderer", seconds, count, again_costs)


def memory(folder: Path) -> None:
    """Compare the peaks for few and for many photos."""
    photos = many(folder / "large", 200, LARGE)
    more = folder / "more"
    more.mkdir()
    for i, path in enumerate(sorted(photos.iterdir()) * 5):
        data = path.read_bytes() + f"photo {i}".encode()  # after the picture's end: another photo
        (more / day(i)).write_bytes(data)
    print(HEAD)
    for count in (50, 1000):
        photos = first(folder, more, count)
        print_row(f"{count} photos", [run(folder, photos, f"memory-{count}")], count)
        shutil.rmtree(photos)
    shutil.rmtree(more)


def small(folder: Path) -> None:
    """Show what a photo costs when there are few and when there are many."""
    photos = many(folder / "small", 10_000, SMALL)
    print(HEAD)
    for count in (100, 1000, 10_000):
        some = first(folder, photos, count)
        print_row(f"{count} photos", [run(folder, some, f"small-{count}")], count)
    selector = {"use": "largest", "facing_forward": {"min_ratio": 0.5}}
    again = run(folder, some, "small-10000", subject_selector=selector)
    seconds = again["record"]["seconds"]
    spent = {kind: value for kind, value in seconds.items() if kind != "renderer"}
    print(f"chosen again over {len(again['record']['photos'])}: {sum(spent.values()):.2f} s", spent)


def ray(folder: Path) -> None:
    """Compare one worker with as many as there are cores, in turn.

    The driver, which encodes, works beside the workers: one worker is measured with all cores,
    of which it leaves some to the driver, and with a single core for both.
    """
    count, every = 200, os.sched_getaffinity(0)
    photos = many(folder / "large", count, LARGE)
    ways = {
        "1 worker, 1 core": (1, {min(every)}),
        f"1 worker, {CORES} cores": (1, every),
        f"{CORES} workers, {CORES} cores": (CORES, every),
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for turn in range(TURNS):
        for i, (name, (workers, cores)) in enumerate(ways.items()):
            os.sched_setaffinity(0, cores)
            executor = {"use": "ray", "workers": workers}
            results[name].append(run(folder, photos, f"ray-{turn}-{i}", executor=executor))
    os.sched_setaffinity(0, every)
    print(HEAD)
    for name, runs in results.items():
        print_row(name, runs, count)
    *one, most = (
        mean(sum(result["record"]["seconds"].values()) for result in runs)
        for runs in results.values()
    )
    times = [f"{alone / most:.2f}" for alone in one]
    print(f"{CORES} workers are {times[0]} and {times[1]} times as fast")


HEAD = (
    f"{'command':<22}{'wall s':>8}{'run s':>8}{'core-ms a photo':>17}"
    f"{'run / kernels':>15}{'peak MB':>9}"
)


def print_row(
    name: str, results: list[dict[str, Any]], count: int, kernels: float | None = None
) -> None:
    """Print what runs took, on average; ``kernels`` is the core-ms a photo to compare with."""
    inside = mean(sum(result["record"]["seconds"].values()) for result in results)
    wall, cpu = (mean(result[what] for result in results) for what in ("wall", "cpu"))
    peak = max(result["peak"] for result in results)
    ratio = "" if kernels is None else f"{1000 * inside * CORES / (count * kernels):.2f}"
    print(
        f"{name:<22}{wall:8.1f}{inside:8.1f}{1000 * cpu / count:17.1f}{ratio:>15}{peak / 1e6:9.0f}",
        flush=True,
    )


def run(folder: Path, photos: Path, name: str, **changes: object) -> dict[str, Any]:
    """Run the command on a recipe; return its wall and processor seconds, peak bytes and record."""
    recipe = folder / f"{name}.yaml"
    options = {"photos": str(photos), "output": name, **RECIPE, **changes}
    recipe.write_text(yaml.safe_dump(options))
    arguments = [str(COMMAND), str(recipe)]
    log = folder / f"{name}.log"
    begun = time.perf_counter()
    with log.open("w") as stream:
        pid = os.posix_spawn(
            arguments[0],
            arguments,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), fd) for fd in (1, 2)],
        )
        _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - begun
    if status:
        sys.exit(log.read_text())
    return {
        "wall": wall,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
        "record": json.loads((folder / name / "run.json").read_text()),
    }


def on_every_core(photos: Path, record: dict[str, Any]) -> dict[str, float]:
    """Return the mean of what kernels cost while every core is at them."""
    with ProcessPoolExecutor(CORES, get_context("spawn")) as pool:
        rows = list(pool.map(partial(kernels, photos), [record] * CORES))
    return {name: sum(row[name] for row in rows) / CORES for name in rows[0]}


def kernels(photos: Path, record: dict[str, Any]) -> dict[str, float]:
    """Return the core-ms a photo of each step that no program of this kind can leave out."""
    import torch

    from alignimation_core import Canvas, Frame
    from alignimation_core.api import geometry
    from alignimation_core.photos import decoder, metadata
    from alignimation_core.rendering.frames import ENOUGH, fill
    from alignimation_facenet import MTCNN
    from alignimation_imageio import Video

    torch.set_num_threads(1)
    detector = MTCNN()
    used = [row for row in record["photos"] if row["status"] == "used"][:SAMPLES]
    canvas = Canvas(record["canvas"]["height"], record["canvas"]["width"])
    size = (canvas.height, canvas.width)
    sides, paths, matrices = [], [], []
    for row in used:
        paths.append(photos.parent / row["path"])
        matrices.append(torch.tensor(row["canvas_from_photo"], dtype=torch.float64))
        scale = ENOUGH * float(geometry.scale_of(matrices[-1]))
        sides.append(round(max(row["width"], row["height"]) * min(1.0, scale)))

    def small_pictures() -> Iterator[torch.Tensor]:
        return (decoder.load(path, detector.input_side()) for path in paths)

    def pictures() -> Iterator[torch.Tensor]:
        return (decoder.load(path, side) for path, side in zip(paths, sides, strict=True))

    def warped(decoded: list[torch.Tensor]) -> Iterator[torch.Tensor]:
        for picture, matrix, row in zip(decoded, matrices, used, strict=True):
            across = row["width"] / picture.shape[-1], row["height"] / picture.shape[-2]
            yield fill(picture, matrix @ geometry.scaling(*across), size, "blur")

    def encode(images: list[torch.Tensor]) -> Iterator[None]:
        facts = metadata.facts(paths[0], photos)
        with (
            tempfile.TemporaryDirectory() as out,
            Video(path="k.mp4").open(canvas, len(images), Path(out)) as writer,
        ):
            for i, image in enumerate(images):
                writer.write(Frame(image, i, facts))
                yield

    looked, decoded = list(small_pictures()), list(pictures())
    images = list(warped(decoded))
    return {
        "decode to detect": core_ms(small_pictures),
        "network": core_ms(lambda: (detector.detect([picture]) for picture in looked)),
        "decode to render": core_ms(pictures),
        "warp": core_ms(lambda: warped(decoded)),
        "encode": core_ms(lambda: encode(images)),
    }


def core_ms(steps: Callable[[], Iterator[object]]) -> float:
    """Return the processor time of a step, all threads together, once it is warm."""
    sum(1 for _ in steps())
    begun, count = time.process_time(), sum(1 for _ in steps())
    return 1000 * (time.process_time() - begun) / count


def many(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Make so many photos, one a day, unless they are there."""
    if not folder.exists():
        folder.mkdir()
        with ProcessPoolExecutor(CORES) as pool:
            list(pool.map(partial(make, folder, size), range(count), chunksize=10))
    return folder


def first(folder: Path, photos: Path, count: int) -> Path:
    """Return a folder with the first photos of another."""
    some = folder / f"{photos.name}-first-{count}"
    some.mkdir()
    for path in sorted(photos.iterdir())[:count]:
        os.link(path, some / path.name)
    return some


def make(folder: Path, size: tuple[int, int], number: int) -> None:
    """Make one photo: one of the quickstart's, as large as a camera's, with a camera's grain."""
    sources = sorted(QUICKSTART.iterdir())
    with Image.open(sources[number % len(sources)]) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    turned = size if image.width >= image.height else size[::-1]
    pixels = np.asarray(image.resize(turned, Image.Resampling.BICUBIC)).astype(np.float32)
    grain = np.random.default_rng(number).standard_normal(pixels.shape[:2], np.float32)
    pixels = (pixels + GRAIN * grain[..., None]).round().clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / day(number), quality=90)


def day(number: int) -> str:
    """Return the name of a photo taken so many days after the first."""
    return f"{date(1990, 1, 1) + timedelta(days=number)}.jpg"


if __name__ == "__main__":
    main()
