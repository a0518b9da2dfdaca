"""Aligned photos -> frames -> the renderers' writers, one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional

from alignimation_core import background, geometry
from alignimation_core.data import Canvas, Frame, Photo, Subject
from alignimation_core.errors import AlignimationError, PhotoError, StageError
from alignimation_core.observations import Entry, ask, load_ahead
from alignimation_core.settings import CanvasOptions
from alignimation_core.stages import Renderer, Writer

Placed = tuple[Entry, Subject, Tensor]
"""A photo, its subject in full-size photo pixels, and the (3, 3) ``canvas_from_photo``."""


def render(
    placed: Sequence[Placed],
    canvas: Canvas,
    options: CanvasOptions,
    renderers: Sequence[Renderer],
    folder: Path,
    step: Callable[[], None],
) -> tuple[list[Path], list[AlignimationError]]:
    """Write every output in one pass over the photos.

    A photo that can no longer be read is noted in its record and left out; a renderer that fails
    is left out, and its error returned, while the others go on. Whatever ends the pass early
    removes what was half written.

    Args:
        placed: photos with their subjects and transforms, in order.
        canvas: the rectangle to show.
        options: what fills it beyond a photo and behind the subject.
        renderers: what to write.
        folder: the output folder; it exists.
        step: called after each photo.

    Returns:
        The finished outputs, and what failed.
    """
    failures: list[AlignimationError] = []
    writers: list[tuple[Renderer, Writer]] = []
    done: list[Path] = []

    def attempt(renderer: Renderer, verb: Callable[[], object]) -> object:
        try:
            return ask("renderer", renderer, None, verb)
        except AlignimationError as error:
            failures.append(error)
            return None

    try:
        for renderer in renderers:
            known = len(failures)
            writer = attempt(renderer, partial(renderer.open, canvas, len(placed), folder))
            if isinstance(writer, Writer):
                writers.append((renderer, writer))
            elif len(failures) == known:
                what = f"open: expected a Writer, got {type(writer).__name__}"
                failures.append(StageError("renderer", renderer.name, what))
        count = 0
        for frame in frames(placed, canvas, options) if writers else ():
            count += 1
            for renderer, writer in tuple(writers):
                known = len(failures)
                attempt(renderer, partial(writer.write, frame))
                if len(failures) > known:
                    writers.remove((renderer, writer))
                    attempt(renderer, writer.abort)
            step()
        if writers and not count:
            raise AlignimationError("no photo could be read again to render it")
        while writers:
            renderer, writer = writers[0]
            known = len(failures)
            path = attempt(renderer, writer.close)
            if isinstance(path, Path):
                done.append(path)
            elif len(failures) > known:
                attempt(renderer, writer.abort)
            else:
                what = f"close: expected a Path, got {type(path).__name__}"
                failures.append(StageError("renderer", renderer.name, what))
            writers.pop(0)
    finally:
        for renderer, writer in writers:
            attempt(renderer, writer.abort)
    return done, failures


def frames(placed: Sequence[Placed], canvas: Canvas, options: CanvasOptions) -> Iterator[Frame]:
    """Yield the aligned photos one by one, decoding ahead.

    Each photo is decoded no larger than the canvas needs, and only what the canvas shows is
    sampled.
    """
    size = (canvas.height, canvas.width)
    wanted = [
        ((entry, subject, matrix), entry.photo.path, _long_side(entry.photo, matrix))
        for entry, subject, matrix in placed
    ]
    index = 0
    for (entry, subject, canvas_from_photo), picture in load_ahead(wanted):
        if isinstance(picture, PhotoError):
            entry.record.fail("photos", picture.reason)
            continue
        photo = entry.photo
        photo_from_picture = geometry.scaling(
            photo.width / picture.shape[-1], photo.height / picture.shape[-2]
        )
        image = fill(picture, canvas_from_photo @ photo_from_picture, size, options.border)
        if options.background != "keep" and subject.mask is not None:
            image = background.replaced(
                image,
                subject.mask,
                (photo.height, photo.width),
                canvas_from_photo,
                options.background,
            )
        yield Frame((image * 255).round().byte(), index, photo)
        index += 1


def _long_side(photo: Photo, canvas_from_photo: Tensor) -> int:
    scale = float(geometry.scale_of(canvas_from_photo))
    return round(max(photo.height, photo.width) * min(1.0, scale))


def fill(
    picture: Tensor, canvas_from_picture: Tensor, size: tuple[int, int], border: str
) -> Tensor:
    """Warp a picture onto the canvas and fill what it does not cover.

    Args:
        picture: (3, h, w) uint8.
        canvas_from_picture: (3, 3).
        size: (height, width) of the canvas.
        border: ``blur``, ``mirror``, ``edge`` or a colour.

    Returns:
        (3, height, width) float32 in [0, 1].
    """
    if border == "edge":
        return geometry.warp_photo(picture, canvas_from_picture, size, padding="border")[:3]
    if border == "mirror":
        return geometry.warp_photo(picture, canvas_from_picture, size, padding="reflection")[:3]
    warped = geometry.warp_photo(picture, canvas_from_picture, size)
    colour, cover = warped[:3], warped[3:]
    if float(cover.min()) == 1:
        return colour
    if border == "blur":
        beyond = _blurred(picture, canvas_from_picture, size)
    else:
        rgb = ImageColor.getrgb(border)[:3]
        beyond = torch.tensor(rgb, dtype=torch.float32)[:, None, None] / 255
    return colour * cover + beyond * (1 - cover)


def _blurred(picture: Tensor, canvas_from_picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the picture continued beyond its border and blurred, (3, height, width) float32."""
    small = (max(8, size[0] // 16), max(8, size[1] // 16))
    shrink = geometry.scaling(small[1] / size[1], small[0] / size[0])
    beyond = geometry.warp_photo(picture, shrink @ canvas_from_picture, small, padding="border")[:3]
    for _ in range(3):
        beyond = functional.avg_pool2d(
            functional.pad(beyond[None], (2, 2, 2, 2), mode="replicate"), 5, stride=1
        )[0]
    return functional.interpolate(beyond[None], size, mode="bicubic", align_corners=False)[0].clamp(
        0, 1
    )
