"""What a GPU is good for, beside two cores of the CPU: ``python benchmarks/gpu.py [PART ...]``.

    python benchmarks/gpu.py
    python benchmarks/gpu.py networks fit --device cuda

Parts (all of them if none is named), each on the CPU and on the GPU (CUDA, ROCm, Apple) if any:

``networks``  Mask R-CNN, Keypoint R-CNN, and ``body``, which asks both: photos of 1512x1134, as a
              JPEG of 12 megapixels is decoded for them, so many in a call. The weights are random,
              but such that every photo has eight persons.
``faces``     ``mtcnn`` on the quickstart's photos, ``facenet`` on one face in each of them.
``fit``       ``similarity`` on targets of five keypoints, from host memory as the engine gives
              them, and from the device's own.
``warp``      photos of 12 megapixels onto canvases, each photo read once and each canvas written
              once, beside the device's own copy of as many bytes.
``whole``     a run from JPEGs of 12 megapixels to a video, with ``body``, unscored. Random weights
              find nobody: that is computed, and a person in the middle takes its place.

The CPU's column is of as many cores as ``--cores`` says; the GPU's has all cores beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torchvision
from registration import keypoint_cases, machine, similarity
from throughput import LARGE, QUICKSTART, make
from torch import Tensor

from alignimation_core import Detections, Mask, Recipe, Target, run
from alignimation_core.api import geometry
from alignimation_core.api.data import COCO_KEYPOINTS
from alignimation_core.api.registration import procrustes
from alignimation_core.photos import decoder
from alignimation_facenet import MTCNN, FaceNet
from alignimation_kornia import Similarity
from alignimation_torchvision import Body
from alignimation_torchvision._networks import keypoint_rcnn, mask_rcnn
from alignimation_torchvision._published import LABELS

PERSONS = 8
BATCHES = 1, 2, 4, 8, 16
CANVASES = (810, 1080), (2880, 3840)
LEAST_SECONDS = 1.5
"""For which a measurement goes on, once warm."""

GOALS = {
    "body, 4 in a call": "15",
    "similarity, batches of 1024": "20000",
    **{f"warp to {width}x{height}, share of the copy": "0.5" for height, width in CANVASES},
}
"""Of an H100 or H200."""

Row = tuple[str, str, float]
"""What, unit, value."""


def main() -> None:
    """Measure each device in a process of its own, and print them side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--device", help="this one alone: cpu, cuda, cuda:1, mps")
    parser.add_argument("--cores", type=int, default=2, help="of the CPU, for its column")
    parser.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        sys.exit(f"no part {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    parts = options.parts or list(PARTS)
    if options.json:
        measure(parts, torch.device(options.device))
        return
    devices = [options.device] if options.device else ["cpu"]
    if not options.device and torch.accelerator.is_available():
        devices.append(torch.accelerator.current_accelerator().type)
    print(f"{machine()}, torchvision {torchvision.__version__}")
    columns = {device: column(parts, device, options.cores) for device in devices}
    for device in set(devices) - {"cpu"}:
        print(card(torch.device(device)))
    heads = [f"{options.cores} cores" if device == "cpu" else device for device in devices]
    print(f"\n| | {' | '.join([*heads, 'goal'])} |\n|{'---|' * (len(heads) + 2)}")
    rows = {(what, unit): None for found in columns.values() for what, unit in found}
    for what, unit in rows:
        values = [columns[device].get((what, unit)) for device in devices]
        cells = ["-" if value is None else f"{value:.3g}" for value in values]
        print(f"| {what}, {unit} | {' | '.join([*cells, GOALS.get(what, '')])} |")
    rates = [columns[device].get(("whole run with body", "photos/s")) for device in devices]
    if len(rates) > 1 and all(rates):
        times = rates[1] / rates[0]
        print(f"\na whole run with body: {times:.1f} times {options.cores} cores (goal 20)")


def card(device: torch.device) -> str:
    """Return the name of a GPU, and what drives it."""
    if device.type != "cuda":
        return f"{device.type}, {platform.platform()}"
    name, cuda, rocm = torch.cuda.get_device_name(device), torch.version.cuda, torch.version.hip
    return f"{name}, CUDA {cuda}" if cuda else f"{name}, ROCm {rocm}"


def column(parts: list[str], device: str, cores: int) -> dict[tuple[str, str], float]:
    """Return the values of one device by what they are and their unit."""
    pin = getattr(os, "sched_setaffinity", lambda *_: None)  # Linux; elsewhere threads alone
    before = getattr(os, "sched_getaffinity", lambda _: {0})(0)
    pin(0, sorted(before)[:cores] if device == "cpu" else before)
    command = [sys.executable, __file__, *parts, "--json", "--device", device]
    environment = os.environ | ({"OMP_NUM_THREADS": str(cores)} if device == "cpu" else {})
    values = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        pin(0, before)
        assert process.stdout is not None
        for line in process.stdout:
            what, unit, value = json.loads(line)
            values[what, unit] = value
            print(f"  {device}: {what}: {value:.3g} {unit}", file=sys.stderr, flush=True)
    if process.returncode:
        sys.exit(f"{device}: the measurement ended with {process.returncode}")
    return values


def measure(parts: list[str], device: torch.device) -> None:
    """Print the rows of one device as JSON, a line each."""
    with tempfile.TemporaryDirectory(prefix="alignimation-") as folder:
        for part in parts:
            for row in PARTS[part](device, Path(folder)):
                print(json.dumps(row), flush=True)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the mean time of some work once it is warm."""
    for _ in range(1 if device.type == "cpu" else 2):
        work()
    finish = partial(torch.accelerator.synchronize, device) if device.type != "cpu" else int
    finish()
    begun, times = time.perf_counter(), 0
    while not times or time.perf_counter() - begun < LEAST_SECONDS:
        work()
        times += 1
    finish()
    return (time.perf_counter() - begun) / times


def networks(device: torch.device, folder: Path) -> Iterator[Row]:
    """Measure the networks that find persons, by photos in a call."""
    body = persons(Body, device, folder)
    stages = {"mask-rcnn": body.silhouettes, "keypoint-rcnn": body.skeletons, "body": body}
    pictures = [picture(1134, 1512, seed) for seed in range(max(BATCHES))]
    for name, stage in stages.items():
        for count in BATCHES if device.type != "cpu" else BATCHES[:1]:
            some = pictures[:count]
            spent = seconds_of(partial(stage.detect, some), device)
            yield f"{name}, {count} in a call", "photos/s", count / spent


def persons(kind: type[Body], device: torch.device, folder: Path) -> Body:
    """Return a detector with random weights that finds some persons in every photo."""
    torch.manual_seed(0)
    size, files = (800, 1333), {}
    for name, network in (
        ("mask_weights", mask_rcnn("v1", size, 0.5)),
        ("keypoint_weights", keypoint_rcnn(size, 0.5)),
    ):
        heads = network.roi_heads.box_predictor
        with torch.no_grad():  # likely persons, in boxes of a person's shape
            heads.cls_score.bias[LABELS["person"]] += 6
            for layer in (heads.cls_score, heads.bbox_pred, network.rpn.head.bbox_pred):
                layer.weight *= 0.1
        files[name] = folder / f"{name}.pth"
        torch.save(network.state_dict(), files[name])
    body = kind(short_side=size[0], score_threshold=0.5, device=str(device), **files)
    for stage in (body.silhouettes, body.skeletons):
        stage.network.roi_heads.detections_per_img = PERSONS
    return body


def picture(height: int, width: int, seed: int) -> Tensor:
    """Return (3, height, width) uint8, smooth, with the channels of a pixel side by side."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 48, 64, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return smooth.clamp(0, 255).byte().contiguous(memory_format=torch.channels_last)[0]


def faces(device: torch.device, folder: Path) -> Iterator[Row]:
    """Measure the networks for faces, on the CPU one thread a core as the engine calls them."""
    from facenet_pytorch import InceptionResnetV1

    torch.manual_seed(0)
    torch.save(InceptionResnetV1().state_dict(), folder / "facenet.pt")
    detector = MTCNN(device=str(device))
    embedder = FaceNet(weights=folder / "facenet.pt", device=str(device))
    pictures = [decoder.load(path, detector.input_side()) for path in sorted(QUICKSTART.iterdir())]
    found = detector.detect(pictures)
    pairs = [
        (one, Detections(boxes=seen.boxes[:1], scores=seen.scores[:1]))
        for one, seen in zip(pictures, found, strict=True)
        if len(seen)
    ] * 4

    def embed(batch: list[tuple[Tensor, Detections]]) -> object:
        return embedder.embed([one for one, _ in batch], [seen for _, seen in batch])

    cores = torch.get_num_threads()
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        each = map if device.type != "cpu" else pool.map
        spent = seconds_of(lambda: list(each(lambda one: detector.detect([one]), pictures)), device)
        yield "mtcnn", "photos/s", len(pictures) / spent
        for count in (4, 32):
            batches = [pairs[at : at + count] for at in range(0, len(pairs) - count + 1, count)]
            spent = seconds_of(lambda some=batches: list(each(embed, some)), device)
            yield f"facenet, {count} in a call", "faces/s", count * len(batches) / spent
    torch.set_num_threads(cores)


def fit(device: torch.device, folder: Path) -> Iterator[Row]:  # noqa: ARG001
    """Measure the registration."""
    size, model = (128, 128), Similarity(device=str(device))
    generator, motion = np.random.default_rng(0), similarity(size, 0.17, 1.1, (6.0, 3.0))
    many, fixed, _ = keypoint_cases(1024, 5, size, generator, noise=1.0, motion=lambda: motion)
    starts = procrustes.closed_form(many, fixed)
    for count in (32, 1024):
        few, some = of_each(many, lambda part, n=count: part[:n]), starts[:count]
        spent = seconds_of(partial(model.fit, few, fixed, some), device)
        yield f"similarity, batches of {count}", "photos/s", count / spent
        if device.type == "cuda":
            there, one = (of_each(target, lambda part: part.to(device)) for target in (few, fixed))
            spent = seconds_of(partial(model.fit, there, one, some), device)
            yield f"similarity, {count}, on the device", "photos/s", count / spent


def of_each(target: Target, change: Callable[[Tensor], Tensor]) -> Target:
    """Return a target of which each tensor is changed."""
    parts = (target.image, target.weights, target.points, target.point_weights)
    return Target(*(change(part) for part in parts))


def warp(device: torch.device, folder: Path) -> Iterator[Row]:  # noqa: ARG001
    """Measure the warp of photos on the device, and the device's copy of a gigabyte."""
    width, height = LARGE
    some = [picture(height, width, seed).to(device) for seed in range(4)]
    block = torch.randint(0, 255, (2**30,), dtype=torch.uint8, device=device)
    other = torch.empty_like(block)
    copy = 2 * block.numel() / seconds_of(partial(other.copy_, block), device) / 1e9
    yield "copy, read and written", "GB/s", copy
    for size in CANVASES:
        canvas_from_photo = (
            geometry.scaling(size[1] / width, size[0] / height)
            @ geometry.translation(width / 2, height / 2)
            @ geometry.rotation(0.05)
            @ geometry.translation(-width / 2, -height / 2)
        )

        onto = partial(geometry.warp_photo, canvas_from_photo=canvas_from_photo, size=size)
        spent = seconds_of(lambda onto=onto: [onto(one) for one in some], device) / len(some)
        moved = some[0].numel() + 4 * 3 * size[0] * size[1]
        name = f"warp to {size[1]}x{size[0]}"
        yield name, "ms", 1e3 * spent
        yield name, "GB/s", moved / spent / 1e9
        yield f"{name}, share of the copy", "of 1", moved / spent / 1e9 / copy


class Standing(Body):
    """Asks both networks, and answers with a person in the middle of every photo."""

    name: ClassVar[str] = "standing"

    def detect(self, images: list[Tensor]) -> list[Detections]:
        """Return one person a photo; the places of the keypoints hang on the pixels a little."""
        super().detect(images)
        return [someone(image) for image in images]


def someone(image: Tensor) -> Detections:
    """Return a person in the middle of a photo."""
    height, width = image.shape[-2:]
    generator = torch.Generator().manual_seed(int(image.sum(dtype=torch.int64)))
    reach = torch.tensor([0.3 * width, 0.3 * height])
    places = torch.rand(17, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    jitter = torch.randn(2, generator=generator) * 0.02
    middle = torch.tensor([width / 2, height / 2])
    box = torch.cat([middle - reach / 2, middle + reach / 2])
    x0, y0, x1, y1 = box.tolist()
    return Detections(
        boxes=box[None],
        scores=torch.ones(1),
        masks=(Mask.of(torch.ones(28, 28), (x0, y0, x1, y1)),),
        keypoints=(middle + (places + jitter) * reach)[None],
        keypoint_scores=torch.ones(1, 17),
        keypoint_names=COCO_KEYPOINTS,
    )


def whole(device: torch.device, folder: Path) -> Iterator[Row]:
    """Measure a whole run."""
    count = 64 if device.type != "cpu" else 4
    place = folder / "photos"
    place.mkdir()
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda number: make(place, LARGE, number), range(4)))
    for i, path in enumerate(sorted(place.iterdir()) * (count // 4)):
        (place / f"{i:03}.jpg").write_bytes(path.read_bytes() + f"photo {i}".encode())
    for path in place.glob("????-*"):
        path.unlink()
    data = {
        "photos": str(place),
        "output": "out",
        "detector": "body",
        "subject_selector": {"use": "largest", "gates": {"max_yaw": None, "max_pitch": None}},
        "target_builder": {"use": "gaussian-keypoints", "mask": True},
        "renderers": [{"use": "video", "path": "a.mp4"}],
        "score": False,  # of a few frames, however many there are
    }
    recipe = Recipe.of(data, folder=folder).on(str(device))
    recipe = replace(recipe, detector=persons(Standing, device, folder))
    recipe.detector.detect([picture(1134, 1512, 0)])
    begun = time.perf_counter()
    record = run(recipe)
    spent = time.perf_counter() - begun
    used = sum(photo.status == "used" for photo in record.photos)
    assert used == count, f"{used} of {count} photos were used"
    yield "whole run with body", "photos/s", count / spent
    for kind, value in record.seconds.items():
        yield f"of it, {kind}", "ms a photo", 1e3 * value / count


PARTS: dict[str, Callable[[torch.device, Path], Iterator[Row]]] = {
    "networks": networks,
    "faces": faces,
    "fit": fit,
    "warp": warp,
    "whole": whole,
}

if __name__ == "__main__":
    main()
