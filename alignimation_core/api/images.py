"""Images as stages take them: one or many, (3, h, w) RGB, uint8 or floating point in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

EXPECTED = "expected (3, h, w) RGB, uint8 or float in [0, 1]"

ROUNDING = 1e-3
"""How far beyond [0, 1] a floating-point image may be: what rounding leaves."""


def are_many(images: object) -> bool:
    """Return whether these are several images: a list, a tuple, or a stacked (B, 3, h, w)."""
    if isinstance(images, Sequence):
        return not isinstance(images, str | bytes)
    import torch

    return isinstance(images, torch.Tensor) and images.ndim == 4


def as_bytes(image: Any, what: str = "image", channels: Sequence[int] = (3,)) -> Tensor:
    """Return an image as uint8 on the CPU; one that is that already, as it is.

    Args:
        image: (C, h, w) uint8, or floating point in [0, 1]; on any device.
        what: names it in messages.
        channels: which C may be.

    Raises:
        TypeError: it is no tensor, or one of another dtype; the message says what to do.
        ValueError: its shape or its range is another; likewise.
    """
    import torch

    check(image, what, channels)
    if image.dtype != torch.uint8:
        image = (image.detach() * 255).round().clamp(0, 255).byte()
    found: Tensor = image.cpu()
    return found


def as_floats(image: Any, what: str = "image", channels: Sequence[int] = (3,)) -> Tensor:
    """Return an image as float32 in [0, 1]; arguments and errors are those of ``as_bytes``."""
    import torch

    check(image, what, channels)
    floats: Tensor = image.float()
    return floats / 255 if image.dtype == torch.uint8 else floats


def expect_numbers(image: object) -> None:
    """Check that these are pixels of any channels and any range: ([B,] C, h, w).

    Raises:
        TypeError: it is no tensor, or neither uint8 nor floating point.
        ValueError: its shape is another.
    """
    import torch

    expected = "image: expected ([B,] C, h, w), uint8 or floating point, got"
    if not isinstance(image, torch.Tensor):
        raise TypeError(f"{expected} {type(image).__name__}")
    got = f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"{expected} {got}")
    if image.ndim not in (3, 4):
        raise ValueError(f"{expected} {got}")


def check(image: Any, what: str = "image", channels: Sequence[int] = (3,)) -> None:
    """Check that this is one image; arguments and errors are those of ``as_bytes``."""
    import torch

    expected = EXPECTED if tuple(channels) == (3,) else EXPECTED.replace("(3,", "(3 or 4,")
    if not isinstance(image, torch.Tensor):
        shape = getattr(image, "shape", None)
        got = type(image).__name__ if shape is None else f"{type(image).__name__} {tuple(shape)}"
        hint = "torch.from_numpy(array).permute(2, 0, 1) makes one of an array (h, w, 3)"
        if isinstance(image, str) or hasattr(image, "as_posix"):
            hint = "alignimation_core.load(path) makes one of a file"
        raise TypeError(f"{what}: {expected}, got {got}; {hint}")
    got = f"{tuple(image.shape)} {str(image.dtype).removeprefix('torch.')}"
    if image.ndim != 3 or image.shape[0] not in channels or not image.numel():
        hint = ""
        if image.ndim == 3 and image.shape[-1] in channels:
            hint = "; permute(2, 0, 1) puts its channels first"
        elif image.ndim == 2 or (image.ndim == 3 and image.shape[0] == 1):
            hint = "; expand(3, -1, -1) makes colours of grey"
        raise ValueError(f"{what}: {expected}, got {got}{hint}")
    if image.dtype == torch.uint8:
        return
    if not image.is_floating_point():
        raise TypeError(f"{what}: {expected}, got {got}; byte() makes it uint8")
    low, high = (float(bound) for bound in torch.aminmax(image.detach()))
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):
        hint = "divide it by 255" if low >= -ROUNDING and 1.5 < high <= 255.5 else "clamp(0, 1) it"
        raise ValueError(f"{what}: {expected}, got {got} from {low:.4g} to {high:.4g}; {hint}")
