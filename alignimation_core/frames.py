"""Aligned photos -> frames: decoded at the scale needed, sampled where the canvas shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional

from alignimation_core import background, geometry, photos
from alignimation_core.data import Canvas, Frame, Photo, Subject
from alignimation_core.errors import PhotoError
from alignimation_core.executor import Executor, Lost
from alignimation_core.mask import Mask
from alignimation_core.observations import Entry
from alignimation_core.settings import CanvasOptions

ENOUGH = 0.9
"""Pixels along a side of a decoded photo for one of the canvas: a tenth fewer is not seen."""

COARSE = 16
"""Pixels of the canvas for one of the reduced picture that fills the border when enlarged."""

Placed = tuple[Entry, Subject]
"""A photo, of which the record has ``canvas_from_photo``, and its subject in full-size pixels."""


def frames(
    placed: Sequence[Placed], canvas: Canvas, options: CanvasOptions, executor: Executor
) -> Iterator[Frame | None]:
    """Yield the aligned photos one by one; None for one that cannot be read any more.

    Args:
        placed: photos with their subjects, in order.
        canvas: the rectangle to show.
        options: what fills it beyond a photo and behind the subject.
        executor: where photos are decoded and warped, a bounded number ahead.
    """
    kept = options.background == "keep"
    items = (
        [Placement(entry.photo, _placing(entry), None if kept else subject.mask)]
        for entry, subject in placed
    )
    work = Warp((canvas.height, canvas.width), options.border, options.background)
    index = 0
    for (entry, _), (image,) in zip(placed, executor.map(work, items), strict=True):
        if isinstance(image, Tensor):
            yield Frame(image, index, entry.photo)
            index += 1
        else:
            stage = "renderer" if isinstance(image, Lost) else "photos"
            entry.record.fail(stage, image.reason)
            yield None


def _placing(entry: Entry) -> Tensor:
    assert entry.record.canvas_from_photo is not None
    return geometry.as_tensor(entry.record.canvas_from_photo)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """One photo to be warped.

    Attributes:
        photo: its facts.
        canvas_from_photo: (3, 3).
        mask: of its subject in full-size pixels, where the background is replaced.
    """

    photo: Photo
    canvas_from_photo: Tensor
    mask: Mask | None


@dataclass(frozen=True, slots=True)
class Warp:
    """Decodes photos, each no larger than the canvas needs, and warps them onto it.

    Attributes:
        size: (height, width) of the canvas.
        border: ``blur``, ``mirror``, ``edge`` or a colour.
        background: ``keep``, ``remove``, ``blur`` or a colour.
    """

    size: tuple[int, int]
    border: str
    background: str

    def __call__(self, placements: list[Placement]) -> list[Tensor | PhotoError]:
        """Return (3 or 4, height, width) uint8 of each photo, or why it cannot be read."""
        return [self._frame(placement) for placement in placements]

    def _frame(self, placement: Placement) -> Tensor | PhotoError:
        photo, canvas_from_photo = placement.photo, placement.canvas_from_photo
        try:
            picture, canvas_from_picture = photos.load_onto(photo, canvas_from_photo, ENOUGH)
        except PhotoError as error:
            return error
        image = fill(picture, canvas_from_picture, self.size, self.border)
        if placement.mask is not None:
            image = background.replaced(
                image,
                placement.mask,
                (photo.height, photo.width),
                canvas_from_photo,
                self.background,
            )
        pixels = image.mul_(255).round_()[None]
        return pixels.to(torch.uint8, memory_format=torch.channels_last)[0]


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
    padding: Literal["border", "reflection"] = "reflection" if border == "mirror" else "border"
    colour = geometry.warp_photo(picture, canvas_from_picture, size, padding=padding)
    if border in ("edge", "mirror"):
        return colour
    height, width = picture.shape[-2:]
    cover = geometry.cover((height, width), canvas_from_picture, size)
    if float(cover.min()) == 1:
        return colour
    if border == "blur":
        beyond = _blurred(colour)
    else:
        rgb = ImageColor.getrgb(border)[:3]
        beyond = torch.tensor(rgb, dtype=torch.float32)[:, None, None] / 255
    return torch.lerp(beyond, colour, cover)


def _blurred(colour: Tensor) -> Tensor:
    """Return a picture that goes on beyond its border, blurred, (3, h, w) float32."""
    height, width = colour.shape[-2:]
    coarse, middle = (
        (max(8, height // step), max(8, width // step)) for step in (COARSE, COARSE // 4)
    )
    beyond = functional.adaptive_avg_pool2d(colour[None], coarse)
    for _ in range(3):
        beyond = functional.pad(beyond, (2, 2, 2, 2), mode="replicate")
        beyond = functional.avg_pool2d(beyond, 5, stride=1)
    beyond = functional.interpolate(beyond, middle, mode="bicubic", align_corners=False)
    # as bytes, with the channels of a pixel side by side, torch enlarges several times faster
    pixels = (beyond * 255).round_().clamp_(0, 255)
    pixels = pixels.to(torch.uint8, memory_format=torch.channels_last)
    wide = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0]
    return wide.contiguous().float().div_(255)
