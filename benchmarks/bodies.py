"""How still a body stands, by what must coincide, against known truth.

    python benchmarks/bodies.py
    python benchmarks/bodies.py FOLDER
    python benchmarks/bodies.py FOLDER --warps 50 --noise 0.5

The first table is of ``examples/body``, where a belly grows and hair is up or down: how far the
bones of the torso scatter on the canvas about their mean place, in percent of the torso's length.

The others are of a folder with photos of persons, their masks and keypoints in ``persons.json``::

    {"photo.jpg": {"persons": [{"id": 1, "box": [x0, y0, x1, y1], "mask": "masks/1.png",
                                "keypoints": {"nose": [x, y, visibility], ...}}]}}

Each person is cut out, and pasted by known similarities into other places: turned by up to 30
degrees, scaled by 0.6 to 1.6 and shifted. The annotation goes the same way, its mask drawn anew in
the pixels of the new photo. An error is the root mean square over the person's mask of how far the
transform found puts its pixels from their true places, in percent of the person's height. The last
table is of annotations that are spoilt: keypoints that are missing, off or move, photos that end at
half of the person, outlines that swell and shrink.

Every figure comes out of a whole run: photos and COCO annotations in, run record out.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pasted_persons import Person, Spoilt, persons_in, write_series
from registration import machine

from alignimation_annotations import CocoAnnotations
from alignimation_core import Recipe, Record, Registration, Target, TransformModel, run
from alignimation_core.api import geometry
from alignimation_core.api.stages import TargetBuilder
from alignimation_core.api.stages.selectors import Gates
from alignimation_core.recipe.options import RefineOptions
from alignimation_kornia import Similarity
from alignimation_subject import Largest
from alignimation_targets import GaussianKeypoints, SoftMask

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "body"
PERCENT = 0.3
"""Of the person's height: what counts as recovered."""
FEWEST = 5
"""Visible keypoints of a person who counts."""
SIMULATED = 4
"""Persons whose annotations are spoilt, spread over the folder."""


class ClosedForm(TransformModel):
    """Takes the start as the result: weighted least squares on the keypoints, no registration."""

    name: ClassVar[str] = "closed-form"

    def fit(self, moving: Target, fixed: Target, initial: torch.Tensor) -> Registration:  # noqa: ARG002
        """Return ``initial``."""
        count = len(initial)
        nothing = torch.zeros(count)
        return Registration(initial, nothing, nothing, nothing.int(), nothing == 0)


Contender = tuple[TargetBuilder, TransformModel, RefineOptions]


def contenders(keypoints: Sequence[str] | None) -> dict[str, Contender]:
    """Return what is compared, by name."""
    gaussians = GaussianKeypoints(keypoints=keypoints)
    product = GaussianKeypoints(keypoints=keypoints, mask=True)
    off, on = RefineOptions(rigid_parts=False), RefineOptions()
    return {
        "mask": (SoftMask(), Similarity(), off),
        "mask, rigid_parts": (SoftMask(), Similarity(), on),
        "closed form on the keypoints": (gaussians, ClosedForm(), off),
        "gaussian-keypoints": (gaussians, Similarity(), off),
        "gaussian-keypoints, mask: true": (product, Similarity(), off),
        "gaussian-keypoints, rigid_parts": (gaussians, Similarity(), on),
    }


def matrices_of(record: Record) -> dict[str, torch.Tensor]:
    """Return ``canvas_from_photo``, (3, 3) float64, of each photo used, by bare file name."""
    return {
        photo.path.rpartition("/")[2]: geometry.as_tensor(photo.canvas_from_photo)
        for photo in record.photos
        if photo.status == "used" and photo.canvas_from_photo is not None
    }


def scatter(
    matrices: Mapping[str, torch.Tensor], truth: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    """Return where the bones of the torso lie on the canvas, and how they scatter.

    Returns:
        (N, P) distances from each bone's mean place, percent of the mean torso length; (N, 2) the
        torso's mean offset in the same unit; and the belly's growth in each of the N photos.
    """
    rows, growth = [], []
    for photo in truth["photos"]:
        name = photo["file"].rpartition("/")[2]
        if name in matrices:
            places = [photo["subject"]["keypoints"][bone] for bone in truth["source"]["torso"]]
            rows.append(geometry.apply(matrices[name], torch.tensor(places).double()))
            growth.append(photo["subject"]["belly"])
    bones = dict(zip(truth["source"]["torso"], torch.stack(rows).unbind(1), strict=True))
    shoulders = bones["left_shoulder"] + bones["right_shoulder"]
    length = ((bones["left_hip"] + bones["right_hip"] - shoulders) / 2).norm(dim=1).mean()
    off = torch.stack(rows) - torch.stack(rows).mean(0)
    return off.norm(dim=-1) / length * 100, off.mean(1) / length * 100, growth


def growing_belly(folder: Path) -> None:
    """Print how the torso scatters in ``examples/body``."""
    recipe = Recipe.load(EXAMPLE / "offline.yaml", settings=[f"output={folder}"])
    truth = json.loads((EXAMPLE / "truth.json").read_text(encoding="utf-8"))
    assert isinstance(recipe.target_builder, GaussianKeypoints)
    print("\nexamples/body: scatter of the torso's bones, percent of the torso's length")
    print(f"{'':34}{'photos':>7}{'RMS':>9}{'worst':>9}{'drift with the belly':>23}")
    compared = contenders(recipe.target_builder.keypoints)
    for name, (builder, model, refine) in compared.items():
        changed = replace(
            recipe, target_builder=builder, transform_model=model, refine=refine, renderers=()
        )
        distances, offsets, growth = scatter(matrices_of(run(changed)), truth)
        drift = np.polyfit(growth, offsets.numpy(), 1)[0]
        print(
            f"{name:34}{len(distances):7}{float(distances.square().mean().sqrt()):9.3f}"
            f"{float(distances.max()):9.3f}{float(np.linalg.norm(drift)):23.3f}"
        )
    print("(drift: how far the torso moves while the belly grows from flat to term)")


def errors(
    person: Person, record: Record, truth: Mapping[str, torch.Tensor]
) -> tuple[torch.Tensor, int]:
    """Return the errors of the photos used, percent of the height, and how many were not."""
    found = matrices_of(record)
    rows, columns = np.nonzero(person.mask)
    places = torch.from_numpy(np.stack([columns, rows], 1) + 0.5)
    reference = found.pop("000.jpg")
    off = []
    for name, canvas_from_photo in found.items():
        placed = geometry.apply(canvas_from_photo @ truth[name], places)
        back = geometry.apply(torch.linalg.inv(reference @ truth["000.jpg"]), placed)
        off.append((back - places).square().sum(1).mean().sqrt() / person.height * 100)
    return torch.stack(off), len(truth) - 1 - len(off)


def known_warps(options: argparse.Namespace, folder: Path) -> None:
    """Print how well known warps of annotated persons are recovered."""
    generator = np.random.default_rng(options.seed)
    compared = contenders(None)
    product = "gaussian-keypoints, rigid_parts"
    total: dict[str, list[torch.Tensor]] = {name: [] for name in compared}
    lost = dict.fromkeys(compared, 0)
    spent = dict.fromkeys(compared, 0.0)
    print(
        f"\n{options.folder}: {options.warps} known similarities of each person, keypoints off by "
        f"{options.noise:g} % of the height; {product}"
    )
    print(
        f"{'photo and person':26}{'visible':>8}{'px tall':>8}{'median %':>10}{'95th %':>9}"
        f"{'worst %':>9}{f'under {PERCENT} %':>14}"
    )
    for number, person in enumerate(persons_in(Path(options.folder))):
        place = folder / str(number)
        spoilt = Spoilt(noise=options.noise)
        truth = write_series(person, place, options.warps, spoilt, generator)
        about = f"{person.label:26}{person.visible:8}{person.height:8.0f}"
        if person.visible < FEWEST:
            print(f"{about}  fewer than {FEWEST} visible keypoints: does not count")
            continue
        for name, (builder, model, refine) in compared.items():
            recipe = Recipe(
                photos=["*.jpg"],
                output=Path("out"),
                detector=CocoAnnotations(file=place / "annotations.json"),
                subject_selector=Largest(),
                target_builder=builder,
                transform_model=model,
                refine=refine,
                renderers=(),
                reference="000.jpg",
                folder=place,
            )
            begun = time.perf_counter()
            off, missing = errors(person, run(recipe), truth)
            spent[name] += time.perf_counter() - begun
            total[name].append(off)
            lost[name] += missing
            if name == product:
                share = float((off < PERCENT).sum()) / (len(off) + missing) * 100
                print(
                    f"{about}{float(off.median()):10.4f}{float(off.quantile(0.95)):9.4f}"
                    f"{float(off.max()):9.4f}{share:12.1f} %"
                )
    print(
        f"\nall who count{'':21}{'cases':>6}{'lost':>6}{'median %':>10}{'95th %':>9}{'worst %':>9}"
        f"{f'under {PERCENT} %':>14}{'ms each':>9}"
    )
    for name, parts in total.items():
        off = torch.cat(parts)
        cases = len(off) + lost[name]
        print(
            f"{name:34}{cases:6}{lost[name]:6}{float(off.median()):10.4f}"
            f"{float(off.quantile(0.95)):9.4f}{float(off.max()):9.4f}"
            f"{float((off < PERCENT).sum()) / cases * 100:12.1f} %{spent[name] / cases * 1e3:9.1f}"
        )


SPOILT = {
    "hips, knees, ankles missing in every second photo": Spoilt(lost=True),
    "noise of 1 % of the height": Spoilt(noise=1.0),
    "noise of 2 %": Spoilt(noise=2.0),
    "limbs move by 5 %": Spoilt(noise=0.5, limbs=5.0),
    "limbs move by 12 %": Spoilt(noise=0.5, limbs=12.0),
    "noise of 1 %, every second photo cut at half the person": Spoilt(noise=1.0, cut=True),
    "noise of 1 %, outlines off by 2 %": Spoilt(noise=1.0, rough=2.0),
    "noise of 0.5 %, outlines off by 4 %": Spoilt(noise=0.5, rough=4.0),
}
"""What is simulated, by name."""


def simulations(options: argparse.Namespace, folder: Path) -> None:
    """Print how well persons are aligned whose annotations are spoilt."""
    equal, firm = GaussianKeypoints(weights={}), GaussianKeypoints()
    off, on = RefineOptions(rigid_parts=False), RefineOptions()
    compared = {
        "equal weights": (equal, off, False),
        "trunk counts 3": (firm, off, False),
        "rigid_parts": (firm, on, False),
        "and masks": (firm, on, True),
    }
    print(
        f"\n{options.folder}: {options.warps} known similarities each, annotations spoilt; RMS "
        f"over the person, percent of the height: median / worst"
    )
    print(f"{'':58}" + "".join(f"{name:>16}" for name in compared))
    persons = [p for p in persons_in(Path(options.folder)) if p.visible >= FEWEST]
    persons = persons[:: math.ceil(len(persons) / SIMULATED)]
    for number, (what, spoilt) in enumerate(SPOILT.items()):
        found: dict[str, list[torch.Tensor]] = {name: [] for name in compared}
        for i, person in enumerate(persons):
            place = folder / f"spoilt-{number}-{i}"
            generator = np.random.default_rng([options.seed, number, i])
            truth = write_series(person, place, options.warps, spoilt, generator, pictures=False)
            for name, (builder, refine, masks) in compared.items():
                recipe = Recipe(
                    photos=["*.jpg"],
                    output=Path("out"),
                    detector=CocoAnnotations(file=_annotations(place, masks=masks)),
                    subject_selector=Largest(gates=Gates(max_yaw=None, max_pitch=None)),
                    target_builder=builder,
                    renderers=(),
                    reference="000.jpg",
                    refine=refine,
                    max_residual=None,
                    score=False,
                    report=False,
                    folder=place,
                )
                found[name].append(errors(person, run(recipe), truth)[0])
        rows = [torch.cat(parts) for parts in found.values()]
        told = (f"{float(row.median()):.3f} /{float(row.max()):7.3f}" for row in rows)
        print(f"{what:58}" + "".join(f"{text:>16}" for text in told), flush=True)


def _annotations(place: Path, *, masks: bool) -> Path:
    """Return the annotations of a series, without masks in a file of their own."""
    whole, bare = place / "annotations.json", place / "bare.json"
    if masks:
        return whole
    content = json.loads(whole.read_text(encoding="utf-8"))
    for one in content["annotations"]:
        del one["segmentation"]
    bare.write_text(json.dumps(content), encoding="utf-8")
    return bare


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", help="photos of persons, with persons.json")
    parser.add_argument("--warps", type=int, default=50, help="similarities a person")
    parser.add_argument(
        "--noise", type=float, default=0.0, help="of the keypoints, percent of the person's height"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        growing_belly(Path(folder) / "belly")
        if options.folder:
            known_warps(options, Path(folder))
            simulations(options, Path(folder))


if __name__ == "__main__":
    main()
