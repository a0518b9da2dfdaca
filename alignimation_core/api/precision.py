"""Mixed precision where it is safe, and float32 to the last bit where it measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

TENSOR_CORES = 7, 0
"""CUDA's compute capability from which float16 is faster than float32: Volta's."""


def mixed(network: Callable[[Tensor], Mapping[str, Tensor]], batch: Tensor) -> dict[str, Tensor]:
    """Run a network; on a CUDA device with tensor cores in mixed precision.

    There torch's autocast computes convolutions and products in float16, whose eleven significant
    bits are those of TF32, and what needs more in float32. An answer that is not finite, as of an
    activation beyond float16's 65504, is computed again in float32. On a CPU, where the answer is
    the same as ever, and on MPS all is float32.

    It is for networks that describe a picture. What measures (boxes, keypoints, transforms) is to
    be computed in float32 from what they say.

    Args:
        network: gives named tensors for a batch.
        batch: float32, on the network's device.

    Returns:
        What the network gives, in float32.
    """
    kind = _kind(batch.device)
    if kind is not None:
        with torch.autocast(batch.device.type, kind):
            answer = {name: values.float() for name, values in network(batch).items()}
        if torch.stack([values.isfinite().all() for values in answer.values()]).all():
            return answer
    return {name: values.float() for name, values in network(batch).items()}


@contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """Let cuDNN's convolutions on a CUDA device be float32 throughout.

    torch lets them round their input to TF32, which has eleven significant bits. What is set is the
    process's: meanwhile other threads' convolutions are exact as well.
    """
    if device.type != "cuda":
        yield
        return
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _kind(device: torch.device) -> torch.dtype | None:
    """Return the lower precision of a device; None where there is none to use."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES:
        return torch.float16
    return None
