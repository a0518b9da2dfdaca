"""How fast and how right the registration is, beside kornia's registrator on the same targets.

    python benchmarks/registration.py
    python benchmarks/registration.py --size 512x384 --batch 32 --pairs 4 --random 1000
    python benchmarks/registration.py --silhouettes folder/of/masks

The truth is known: keypoints or silhouettes are moved by a similarity and drawn again. An error is
how far the fitted transform puts the farthest corner of the reference's frame from its true place,
in percent of the frame's long side; for silhouettes, the farthest corner of the subject's box.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from alignimation_core import Mask, Registration, Subject, Target
from alignimation_core.api import geometry
from alignimation_core.api.mask import Matrix
from alignimation_core.api.registration import procrustes
from alignimation_kornia import KorniaRegistrator, Similarity
from alignimation_targets import GaussianKeypoints, SoftMask

NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip"),
    *("right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
Size = tuple[int, int]


def machine() -> str:
    """Return what the figures were measured on, in a line."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def similarity(size: Size, turn: float, scale: float, shift: tuple[float, float]) -> torch.Tensor:
    """Return (3, 3) float64: a turn (radians) and scaling about the centre, then a shift."""
    height, width = size
    return (
        geometry.translation(width / 2 + shift[0], height / 2 + shift[1])
        @ geometry.rotation(turn)
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-width / 2, -height / 2)
    )


def random_similarity(size: Size, generator: np.random.Generator, reach: float) -> torch.Tensor:
    """Return one of up to 45 degrees, half to double, shifted by up to ``reach`` of the side."""
    direction, distance = generator.uniform(0, 2 * math.pi), generator.uniform(0, reach)
    distance *= max(size)
    return similarity(
        size,
        generator.uniform(-math.pi / 4, math.pi / 4),
        2 ** generator.uniform(-1, 1),
        (distance * math.cos(direction), distance * math.sin(direction)),
    )


def keypoint_target(
    points: torch.Tensor, size: Size, noise: float, generator: np.random.Generator
) -> Target:
    """Draw (K, 2) keypoints; the points for the closed form are off by ``noise`` pixels."""
    x0, y0 = points.amin(0).tolist()
    x1, y1 = points.amax(0).tolist()
    names = NAMES[: len(points)]
    subject = Subject(
        box=(x0, y0, x1, y1),
        score=1.0,
        keypoint_names=names,
        keypoints={name: (x, y) for name, (x, y) in zip(names, points.tolist(), strict=True)},
        keypoint_scores=dict.fromkeys(names, 1.0),
    )
    target = GaussianKeypoints().build(subject, size)
    off = torch.from_numpy(generator.normal(0, noise, (len(points), 2)))
    return Target(target.image, target.weights, (target.points + off).float(), target.point_weights)


def keypoint_cases(
    count: int,
    keypoints: int,
    size: Size,
    generator: np.random.Generator,
    *,
    noise: float = 0.0,
    motion: Callable[[], torch.Tensor],
) -> tuple[Target, Target, torch.Tensor]:
    """Return photos, their reference and the true (B, 3, 3) ``fixed_from_moving``."""
    half = min(size) / 4
    spread = torch.from_numpy(generator.uniform(-half, half, (keypoints, 2)))
    points = spread + torch.tensor([size[1] / 2, size[0] / 2])
    fixed = keypoint_target(points, size, 0.0, generator)
    moving, truth = [], []
    for _ in range(count):
        moving_from_fixed = motion()
        scale = float(geometry.scale_of(moving_from_fixed))
        moved = geometry.apply(moving_from_fixed, points)
        moving.append(keypoint_target(moved, size, noise * scale, generator))
        truth.append(torch.linalg.inv(moving_from_fixed))
    return Target.stack(moving), fixed, torch.stack(truth)


def errors(
    found: torch.Tensor, truth: torch.Tensor, box: tuple[float, float, float, float], side: int
) -> torch.Tensor:
    """Return (B,) distances of the worst corner of a box in the reference, percent of ``side``."""
    x0, y0, x1, y1 = box
    corners = torch.tensor([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], dtype=torch.float64)
    before = geometry.apply(torch.linalg.inv(truth), corners)
    distance = (geometry.apply(found, before) - corners).norm(dim=-1)
    return distance.amax(1) / side * 100


def timed(fit: Callable[[], Registration], repeats: int) -> tuple[Registration, float]:
    """Return a registration and the best time of some runs, seconds."""
    best = math.inf
    for _ in range(repeats):
        begun = time.perf_counter()
        registration = fit()
        best = min(best, time.perf_counter() - begun)
    return registration, best


def first(batch: Target, count: int) -> Target:
    """Return the first photos of a batch."""
    parts = (batch.image, batch.weights, batch.points, batch.point_weights)
    return Target(*(part[:count] for part in parts))


def beside_kornia(options: argparse.Namespace, size: Size) -> None:
    """Print both on the same targets."""
    generator = np.random.default_rng(options.seed)
    frame = (0.0, 0.0, float(size[1]), float(size[0]))
    side = max(size)
    motions: dict[str, Callable[[], torch.Tensor]] = {
        "10 degrees, x1.1, shift (20, 10) px": lambda: similarity(
            size, math.radians(10), 1.1, (20.0, 10.0)
        ),
        "up to 45 degrees, x0.5-2, 0.4 of the side": lambda: random_similarity(
            size, generator, 0.4
        ),
    }
    for name, motion in motions.items():
        moving, fixed, truth = keypoint_cases(
            options.batch, options.keypoints, size, generator, noise=options.noise, motion=motion
        )
        initial = procrustes.closed_form(moving, fixed)
        ours, seconds = timed(lambda m=moving, f=fixed, i=initial: Similarity().fit(m, f, i), 3)
        print(
            f"\n{name}; {options.keypoints} keypoints, the start off by {options.noise:g} px each"
        )
        print(f"{'':34}{'photos':>7}{'ms/photo':>10}{'median %':>10}{'worst %':>10}{'ratio':>20}")

        def row(
            label: str, matrices: torch.Tensor, milliseconds: float | None, ratio: str = ""
        ) -> torch.Tensor:
            error = errors(matrices, truth[: len(matrices)], frame, side)  # noqa: B023
            clock = "" if milliseconds is None else f"{milliseconds:.1f}"
            print(
                f"{label:34}{len(matrices):7}{clock:>10}{float(error.median()):10.5f}"
                f"{float(error.max()):10.5f}{ratio:>20}"
            )
            return error

        row("as they are", torch.eye(3, dtype=torch.float64).repeat(len(truth), 1, 1), None)
        row("closed form on the keypoints", initial, None)
        own = row("similarity", ours.matrices, seconds / options.batch * 1e3)
        for count in (1, 8):
            few, starts = first(moving, count), initial[:count]
            part, spent = timed(lambda m=few, f=fixed, i=starts: Similarity().fit(m, f, i), 3)
            row(f"similarity, {count} at once", part.matrices, spent / len(part.matrices) * 1e3)
        few, starts = first(moving, options.pairs), initial[: options.pairs]
        for start in ("identity", "closed-form") if options.pairs else ():
            model = KorniaRegistrator(start=start)
            theirs, spent = timed(lambda k=model, m=few, f=fixed, i=starts: k.fit(m, f, i), 1)
            faster = (spent / options.pairs) / (seconds / options.batch)
            off = errors(theirs.matrices, truth[: options.pairs], frame, side)
            better = float(off.mean() / own.mean())
            row(
                f"kornia-registrator, {start}",
                theirs.matrices,
                spent / options.pairs * 1e3,
                f"{faster:.0f}x, {better:.0f}x",
            )
    print("(ratio: how many times slower, and farther off in the mean, than similarity)")


def many_random(options: argparse.Namespace, size: Size) -> None:
    """Print the errors over many random similarities of clean keypoints."""
    generator = np.random.default_rng(options.seed)
    frame = (0.0, 0.0, float(size[1]), float(size[0]))
    clean, found, failed, done = [], [], 0, 0
    while done < options.random:
        count = min(20, options.random - done)
        moving, fixed, truth = keypoint_cases(
            count,
            int(generator.integers(5, 18)),
            size,
            generator,
            motion=lambda: random_similarity(size, generator, 0.4),
        )
        initial = procrustes.closed_form(moving, fixed)
        registration = Similarity().fit(moving, fixed, initial)
        failed += sum(failure is not None for failure in registration.failures)
        clean.append(errors(registration.matrices, truth, frame, max(size)))
        # The same from a start that is off by a hundredth of the side, a turn of 2 degrees and 3 %.
        off = similarity(size, 0.035, 1.03, (0.007 * max(size), 0.007 * max(size)))
        registration = Similarity().fit(moving, fixed, off @ initial)
        found.append(errors(registration.matrices, truth, frame, max(size)))
        done += count
    print(f"\n{done} random similarities, 5 to 17 clean keypoints, {size[1]}x{size[0]}")
    for label, error in (
        ("from the closed form", torch.cat(clean)),
        ("from 1 %, 2 degrees, 3 % beside it", torch.cat(found)),
    ):
        within = float((error < 0.01).double().mean()) * 100
        print(
            f"{label:38} median {float(error.median()):.5f} %, worst {float(error.max()):.5f} %, "
            f"under 0.01 %: {within:.1f} %"
        )
    print(f"failed: {failed}")


def silhouettes(options: argparse.Namespace, size: Size) -> None:
    """Print the errors over random similarities of real silhouettes, without keypoints."""
    generator = np.random.default_rng(options.seed)
    error, failed, spent = [], 0, 0.0
    for file in sorted(Path(options.silhouettes).glob("*.png")):
        inside = torch.from_numpy(np.array(Image.open(file).convert("L"))).float() / 255
        rows, columns = (inside > 0.5).any(1).nonzero()[:, 0], (inside > 0.5).any(0).nonzero()[:, 0]
        y0, y1 = int(rows[0]), int(rows[-1]) + 1
        x0, x1 = int(columns[0]), int(columns[-1]) + 1
        mask = Mask.of(inside[y0:y1, x0:x1], (x0, y0, x1, y1))
        zoom = min(size) / 2 / max(y1 - y0, x1 - x0)
        frame_from_photo = (
            geometry.translation(size[1] / 2, size[0] / 2)
            @ geometry.scaling(zoom, zoom)
            @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
        )
        subject = Subject(box=(x0, y0, x1, y1), score=1.0, mask=mask)
        reference = subject.transformed(geometry.as_rows(frame_from_photo))
        fixed = SoftMask().build(reference, size)
        moving, truth = [], []
        while len(moving) < options.turns:
            moving_from_fixed = random_similarity(size, generator, 0.4)
            matrix: Matrix = geometry.as_rows(moving_from_fixed)
            moved = reference.transformed(matrix)
            if min(moved.box[:2]) < 0 or moved.box[2] > size[1] or moved.box[3] > size[0]:
                continue  # the silhouette would be cut: its moments say nothing then
            moving.append(SoftMask().build(moved, size))
            truth.append(torch.linalg.inv(moving_from_fixed))
        batch = Target.stack(moving)
        begun = time.perf_counter()
        registration = Similarity().fit(batch, fixed, procrustes.closed_form(batch, fixed))
        spent += time.perf_counter() - begun
        failed += sum(failure is not None for failure in registration.failures)
        off = errors(registration.matrices, torch.stack(truth), reference.box, max(size))
        print(
            f"{file.name:36} median {float(off.median()):.4f} %, worst {float(off.max()):.4f} %, "
            f"under 0.5 %: {float((off < 0.5).double().mean()) * 100:.0f} %"
        )
        error.append(off)
    if not error:
        raise SystemExit(f"{options.silhouettes}: no PNG files; give a folder of masks, 0 and 255")
    total = torch.cat(error)
    print(
        f"\n{len(total)} registrations of masks alone, {size[1]}x{size[0]}: "
        f"median {float(total.median()):.4f} %, "
        f"under 0.5 %: {float((total < 0.5).double().mean()) * 100:.1f} %, failed: {failed}, "
        f"{spent / len(total) * 1e3:.1f} ms each"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", default="512x384", help="of the targets, WIDTHxHEIGHT")
    parser.add_argument("--batch", type=int, default=32, help="photos at once")
    parser.add_argument("--keypoints", type=int, default=5)
    parser.add_argument("--noise", type=float, default=2.0, help="of the start's points, pixels")
    parser.add_argument("--pairs", type=int, default=3, help="photos for kornia; 0 for none")
    parser.add_argument("--random", type=int, default=0, help="random similarities to try")
    parser.add_argument("--silhouettes", help="folder of masks as PNG files")
    parser.add_argument("--turns", type=int, default=16, help="random similarities a silhouette")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    width, height = (int(number) for number in options.size.split("x"))
    print(machine())
    if options.batch:
        beside_kornia(options, (height, width))
    if options.random:
        many_random(options, (height, width))
    if options.silhouettes:
        silhouettes(options, (height, width))


if __name__ == "__main__":
    main()
