"""The individuals in a pile of photos, each with a contact sheet of faces."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from alignimation_core import preflight
from alignimation_core.api import atomic, geometry
from alignimation_core.api.data import Observation
from alignimation_core.api.errors import (
    AlignimationError,
    OutputError,
    PhotoError,
    RecipeError,
    printable,
)
from alignimation_core.api.font import FONT
from alignimation_core.api.sampling import spread
from alignimation_core.api.stages.individuals import IdentitySelector, from_left
from alignimation_core.execution.executor import torch_threads
from alignimation_core.execution.factory import executor_of
from alignimation_core.output.remote import output_folder
from alignimation_core.photos import decoder
from alignimation_core.pipeline.finding import Finding
from alignimation_core.pipeline.work import Work
from alignimation_core.plugin import contract
from alignimation_core.progress import Progress
from alignimation_core.recipe.recipe import Recipe
from alignimation_core.store.store import open_store

FOLDER = "people"
"""Where the sheets are, in the output folder."""
OURS = b"alignimation people"
"""The comment in every sheet, by which it is known again."""
PART = re.compile(r"\.(\d+\.jpg)\.part-\d+")
"""The name of a sheet that is being written, or was when its process was killed."""
TILE = 160
"""Side of a face on a sheet, pixels."""
CAPTION = 34
"""Height of what is written below it."""
COLUMNS, MOST = 6, 36
"""Faces in a row of a sheet, and at most on one."""
FILL = 0.6
"""Share of a tile that a face's box takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Individual:
    """Someone who appears in the photos.

    Attributes:
        number: what ``person`` takes to mean this one.
        faces: photos in the order in which they were taken, with the index of the detection.
    """

    number: int
    faces: Sequence[tuple[Observation, int]]

    @property
    def years(self) -> str:
        """The years in which the photos were taken."""
        taken = [observation.photo.taken.year for observation, _ in self.faces]
        first, last = min(taken), max(taken)
        return f"{first}" if first == last else f"{first} to {last}"


def find(recipe: Recipe, progress: Progress) -> list[Individual]:
    """Return who appears in the photos of a recipe, the most frequent first.

    What is found in photos is kept in the store, as a run does.

    Raises:
        RecipeError: the recipe is wrong, or its subject selector tells no individuals apart.
        AlignimationError: nobody was found.
    """
    selector = recipe.subject_selector
    if not isinstance(selector, IdentitySelector):
        what = f"{selector.name!r} tells no individuals apart; set `subject_selector: identity`"
        raise RecipeError([recipe.fault(("subject_selector",), what)])
    preflight.check_devices(recipe)
    files = list(preflight.find_photos(recipe, progress).photos)
    corrections = preflight.check_corrections(recipe, files)
    preflight.check_weights(recipe)
    output = output_folder(recipe)
    output.bring_store()
    with (
        executor_of(recipe.executor) as executor,
        torch_threads(1),
        open_store(output.store_folder, recipe.detector, recipe.embedder, progress.note) as store,
    ):
        work = Work(recipe, corrections, output, progress)
        work.executor, work.store = executor, store
        finding = Finding(work)
        photos = finding.within(finding.read(files), None)
        known = store.recall([photo.content for photo in photos])
        observations = finding.observe(photos, known).observations
    people = contract.individuals(selector, observations)
    if not people:
        raise AlignimationError(f"nobody was found in {len(photos)} photos; try another detector")
    return [
        Individual(number, [(observations[place], index) for place, index in sorted(faces)])
        for number, faces in enumerate(people, 1)
    ]


def write_sheets(people: Sequence[Individual], folder: Path) -> list[Path]:
    """Write a contact sheet of each individual, and remove those of earlier times.

    Args:
        people: who is shown.
        folder: the output folder; the sheets are ``people/1.jpg`` and so on in it.

    Raises:
        OutputError: the folder holds what is no contact sheet, or cannot be written.
    """
    home = folder / FOLDER
    try:
        earlier = _earlier(home)
        home.mkdir(exist_ok=True)
        written: list[Path] = []
        for individual in people:
            path = home / f"{individual.number}.jpg"
            with atomic.AtomicWrite(path) as part:
                part.write_bytes(sheet(individual))
            written.append(path)
        for path in set(earlier) - set(written):
            path.unlink(missing_ok=True)
    except OSError as error:
        what = atomic.reason(error, "set `output` to another place")
        raise OutputError(f"{home}: {what}") from error
    return written


def _earlier(home: Path) -> list[Path]:
    """Return the sheets in a folder in which there may be nothing else."""
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise OutputError(f"{home} is no folder of contact sheets; move it away")
    there = [*home.iterdir()] if home.exists() else []
    parts = {path: part[1] for path in there if (part := PART.fullmatch(path.name))}
    for name in {*parts.values()}:
        atomic.remove_left(home / name)
    sheets = [path for path in there if path not in parts]
    for path in sheets:
        if path.is_symlink() or not path.is_file() or not _is_ours(path):
            raise OutputError(f"{path} is no contact sheet of this command; move it away")
    return sheets


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == ".jpg" and OURS in file.read(4096)


def sheet(individual: Individual) -> bytes:
    """Return a JPEG of the individual's faces, of many those spread over the time."""
    chosen = [individual.faces[i] for i in spread(len(individual.faces), MOST).tolist()]
    rows = -(-len(chosen) // COLUMNS)
    width = min(len(chosen), COLUMNS) * TILE
    picture = Image.new("RGB", (width, rows * (TILE + CAPTION)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.truetype(str(FONT), 11)
    for i, (observation, index) in enumerate(chosen):
        left, top = i % COLUMNS * TILE, i // COLUMNS * (TILE + CAPTION)
        face = _face(observation, index)
        if face is not None:
            picture.paste(face, (left, top))
        for line, text in enumerate(_caption(observation, index)):
            fits = (end for end in _ends(text) if draw.textlength(end, font) <= TILE - 6)
            place = left + 3, top + TILE + 2 + 15 * line
            draw.text(place, next(fits, ""), "black", font)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88, comment=OURS)
    return stream.getvalue()


def _caption(observation: Observation, index: int) -> tuple[str, str]:
    """Return a face's photo; its date, and its number where there are more."""
    photo, order = observation.photo, from_left(observation.detections)
    which = f"  face {order.index(index) + 1} of {len(order)}" if len(order) > 1 else ""
    return printable(photo.name), f"{photo.taken:%Y-%m-%d}{which}"


def _ends(text: str) -> Iterator[str]:
    """Yield a text, then what is left of it when more and more of its beginning is cut."""
    yield text
    yield from (f"...{text[start:]}" for start in range(1, len(text)))


def _face(observation: Observation, index: int) -> Image.Image | None:
    """Return a face, upright; None where its photo can no longer be read."""
    subject = observation.detections.subject(index)
    x0, y0, x1, y1 = subject.box
    scale = FILL * TILE / max(x1 - x0, y1 - y0, 1.0)
    tile_from_photo: Tensor = (
        geometry.translation(TILE / 2, TILE / 2)
        @ geometry.rotation(np.radians(subject.turn))
        @ geometry.scaling(scale, scale)
        @ geometry.translation(-(x0 + x1) / 2, -(y0 + y1) / 2)
    )
    try:
        pixels, tile_from_pixels = decoder.load_onto(observation.photo, tile_from_photo)
    except PhotoError:
        return None
    tile = geometry.warp_photo(pixels, tile_from_pixels, (TILE, TILE))
    return Image.fromarray((tile * 255).round().byte().permute(1, 2, 0).numpy())
