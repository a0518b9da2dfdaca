"""Frames: photos decoded at the scale needed and warped onto the canvas."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageColor
from torch import Tensor
from torch.nn import functional

from alignimation_core.api import geometry
from alignimation_core.api.data import Photo
from alignimation_core.api.errors import PhotoError
from alignimation_core.api.frame import Canvas, Frame
from alignimation_core.api.mask import Mask
from alignimation_core.execution.executor import Executor, Lost
from alignimation_core.failure import Failure
from alignimation_core.photos import decoder
from alignimation_core.recipe.options import CanvasOptions
from alignimation_core.rendering import background, coverage
from alignimation_core.rendering.placement import PlacedSubject
from alignimation_core.rendering.thumbnails import thumbnail
from alignimation_core.scoring.score import Scorer

ENOUGH = 0.9
"""Pixels along a side of a decoded photo for one of the canvas: a tenth fewer is not seen."""

COARSE = 16
"""Pixels of the canvas for one of the reduced picture that fills the border when enlarged."""

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
WarpItem = tuple[Photo, Tensor, Box, Mask | None]
"""A photo, ``canvas_from_photo``, its subject's box, and its mask to replace the background by."""
Keep = Callable[[Photo, bytes, bytes], None]
"""Takes a photo, a small picture of it, and one of its frame, as JPEG."""


def frames(
    placed: Sequence[PlacedSubject],
    canvas: Canvas,
    options: CanvasOptions,
    executor: Executor,
    keep: Keep | None = None,
) -> Iterator[Frame | Failure]:
    """Yield the aligned photos one by one; a failure for one that cannot be read any more.

    The executor decodes and warps a bounded number ahead. Small pictures go to ``keep``.
    """
    index = 0
    small = keep is not None
    work = partial(_warp(canvas, options).with_pictures, small=small)
    for item, (image,) in zip(placed, executor.map(work, _items(placed, options)), strict=True):
        if isinstance(image, Warped):
            if keep is not None:
                keep(item.photo, image.photo, image.frame)
            yield Frame(torch.from_numpy(image.pixels).permute(2, 0, 1), index, item.photo)
            index += 1
        else:
            stage = "renderer" if isinstance(image, Lost) else "photos"
            yield Failure(item.photo.name, stage, image.reason)


def look_again(
    placed: Sequence[PlacedSubject],
    canvas: Canvas,
    options: CanvasOptions,
    executor: Executor,
    scorer: Scorer,
    step: Callable[[], None],
) -> None:
    """Have some of these frames, made as ``frames`` makes them, looked at by a scorer.

    ``step`` is called after each.
    """
    work = scorer.looking(_warp(canvas, options), executor.cores)
    sample = [placed[i] for i in scorer.sample]
    for (answer,) in executor.map(work, _items(sample, options)):
        if not isinstance(answer, Lost | PhotoError):
            scorer.take(answer)
        step()


def _warp(canvas: Canvas, options: CanvasOptions) -> Warp:
    return Warp((canvas.height, canvas.width), options.border, options.background)


def _items(placed: Sequence[PlacedSubject], options: CanvasOptions) -> Iterator[list[WarpItem]]:
    for item in placed:
        mask = None if options.background == "keep" else item.subject.mask
        matrix = geometry.as_tensor(item.canvas_from_photo)
        yield [(item.photo, matrix, item.subject.box, mask)]


class Warped(NamedTuple):
    """A photo on the canvas.

    Attributes:
        pixels: (height, width, 3 or 4) uint8: arrays are pickled in a third of the time of tensors.
        photo: a small picture of the photo, JPEG; empty where none is asked for.
        frame: the same of the frame.
    """

    pixels: Pixels
    photo: bytes
    frame: bytes


@dataclass(frozen=True, slots=True)
class Warp:
    """Decodes photos, each no larger than the canvas needs, and warps them onto it.

    The canvas has size (height, width); border and background are as in ``CanvasOptions``.
    """

    size: tuple[int, int]
    border: str
    background: str

    def __call__(self, items: list[WarpItem]) -> list[Pixels | PhotoError]:
        """Return each photo's pixels, or why it cannot be read.

        Returns:
            (height, width, 3 or 4) uint8: arrays are pickled in a third of the time of tensors.
        """
        made = self.with_pictures(items, small=False)
        return [each.pixels if isinstance(each, Warped) else each for each in made]

    def with_pictures(self, items: list[WarpItem], *, small: bool) -> list[Warped | PhotoError]:
        """Return each photo on the canvas, and small pictures if asked; or why it is unreadable."""
        return [self._frame(*item, small=small) for item in items]

    def _frame(
        self, photo: Photo, canvas_from_photo: Tensor, box: Box, mask: Mask | None, *, small: bool
    ) -> Warped | PhotoError:
        try:
            read, canvas_from_picture = decoder.read_onto(photo, canvas_from_photo, ENOUGH)
        except PhotoError as error:
            return error
        if read.damage is not None and (reason := read.damage.reason_against(box)):
            return PhotoError(photo.path, reason)  # where nothing was decoded to detect
        picture = read.pixels
        outline = coverage.edges((photo.height, photo.width), canvas_from_photo)
        frame = fill(picture, canvas_from_picture, self.size, self.border, outline)
        if mask is not None:
            shown = background.replaced(
                frame.contiguous().float().div_(255),
                mask,
                (photo.height, photo.width),
                canvas_from_photo,
                self.background,
            )
            frame = _bytes_of(shown.mul_(255).round_())
        pixels = frame.permute(1, 2, 0).numpy()
        if not small:
            return Warped(pixels, b"", b"")
        return Warped(pixels, thumbnail(picture.permute(1, 2, 0).numpy()), thumbnail(pixels))


def fill(
    picture: Tensor,
    canvas_from_picture: Tensor,
    size: tuple[int, int],
    border: str,
    outline: coverage.Lines | None = None,
) -> Tensor:
    """Warp a picture, (3, h, w) uint8, onto the canvas and fill what it does not cover.

    ``outline``: the edges of the photo, which a reduced picture may exceed; those of the picture
    when left out.

    Returns:
        (3, height, width) uint8, the channels of a pixel side by side in memory.
    """
    height, width = size
    frame = np.empty((height, width, 3), np.uint8)
    edges = outline or coverage.edges((picture.shape[-2], picture.shape[-1]), canvas_from_picture)
    beyond: Tensor | None = None
    top = 0
    padding: Literal["border", "reflection"] = "reflection" if border == "mirror" else "border"
    for strip in geometry.strips(picture, canvas_from_picture, size, padding=padding):
        rows = range(top, top + strip.shape[1])
        top = rows.stop
        cover = None if border in ("edge", "mirror") else coverage.of_rows(rows, width, edges)
        if cover is not None:
            if beyond is None:
                beyond = _beyond(picture, canvas_from_picture, size, border)
            behind = beyond[:, rows.start : rows.stop].to(
                torch.float32, memory_format=torch.contiguous_format
            )
            torch.lerp(behind, strip, cover, out=strip)
        for colour, values in enumerate(strip.round_().numpy()):  # one by one: in half of the time
            frame[rows.start : rows.stop, :, colour] = values
    return torch.from_numpy(frame).permute(2, 0, 1)


def _beyond(
    picture: Tensor, canvas_from_picture: Tensor, size: tuple[int, int], border: str
) -> Tensor:
    """Return what is beyond a picture: a colour, or the picture blurred; (3, h, w) uint8."""
    if border != "blur":
        rgb = ImageColor.getrgb(border)[:3]
        return torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, *size)
    height, width = size
    coarse = max(8, height // COARSE), max(8, width // COARSE)
    coarse_from_canvas = geometry.scaling(coarse[1] / width, coarse[0] / height)
    blurred = geometry.warp_photo(picture, coarse_from_canvas @ canvas_from_picture, coarse)[None]
    for _ in range(3):
        blurred = functional.pad(blurred, (2, 2, 2, 2), mode="replicate")
        blurred = functional.avg_pool2d(blurred, 5, stride=1)
    few = _bytes_of(blurred[0].mul_(255).round_())[None]
    return functional.interpolate(few, size, mode="bicubic", antialias=True)[0]


def _bytes_of(pixels: Tensor) -> Tensor:
    """Return (C, h, w) uint8 with the channels side by side, as torch enlarges them fastest."""
    return pixels[None].to(torch.uint8, memory_format=torch.channels_last)[0]
