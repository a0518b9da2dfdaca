"""Mixed precision, with the CPU in the place of a CUDA device: both round float16 alike."""

import pytest
import torch
from torch import nn

from alignimation_core.api.precision import exact, mixed


class OnCuda(torch.Tensor):
    """A tensor that says that it is on a CUDA device."""

    device = torch.device("cuda", 1)


@pytest.fixture
def cuda(monkeypatch):
    """Have CUDA devices of a compute capability; what they autocast, the CPU does."""
    autocast = torch.autocast

    def cuda(*capability):
        monkeypatch.setattr(
            torch.cuda, "get_device_capability", {OnCuda.device: capability}.__getitem__
        )

        def on_the_cpu(device, dtype):
            assert device == "cuda"
            return autocast("cpu", dtype)

        monkeypatch.setattr(torch, "autocast", on_the_cpu)
        return BATCH.as_subclass(OnCuda)

    return cuda


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Conv2d(3, 8, 3)


def half_of(network):
    seen = []
    network.register_forward_hook(lambda _, __, answer: seen.append(answer.dtype))
    return seen


BATCH = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


@torch.no_grad()
def test_a_cpu_computes_in_float32(network):
    seen = half_of(network)
    answer = mixed(lambda batch: {"maps": network(batch)}, BATCH)
    assert torch.equal(answer["maps"], network(BATCH))
    assert seen == [torch.float32] * 2


@torch.no_grad()
@pytest.mark.parametrize("capability", [(7, 0), (7, 5), (8, 0), (9, 0), (12, 0)])
def test_tensor_cores_compute_in_float16_and_answer_in_float32(network, cuda, capability):
    seen = half_of(network)
    answer = mixed(lambda batch: {"maps": network(batch)}, cuda(*capability))
    assert seen == [torch.float16]
    assert answer["maps"].dtype == torch.float32
    assert torch.allclose(answer["maps"], network(BATCH), atol=2e-3, rtol=2e-3)
    assert not torch.equal(answer["maps"], network(BATCH))


@torch.no_grad()
@pytest.mark.parametrize("capability", [(5, 0), (6, 1), (6, 2)])
def test_a_cuda_device_without_tensor_cores_computes_in_float32(network, cuda, capability):
    seen = half_of(network)
    answer = mixed(lambda batch: {"maps": network(batch)}, cuda(*capability))
    assert seen == [torch.float32]
    assert torch.equal(answer["maps"], network(BATCH))


@torch.no_grad()
def test_what_float16_cannot_hold_is_computed_again_in_float32(network, cuda):
    network.weight *= 1e6
    seen = half_of(network)
    answer = mixed(lambda batch: {"small": batch, "maps": network(batch)}, cuda(7, 0))
    assert seen == [torch.float16, torch.float32]
    assert torch.equal(answer["maps"], network(BATCH))
    assert answer["maps"].abs().max() > torch.finfo(torch.float16).max
    assert torch.equal(answer["small"], BATCH)


def test_measuring_on_a_gpu_forbids_rounded_convolutions_for_as_long_as_it_lasts(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    for device, rounds in (("cpu", True), ("cuda", False)):
        with exact(torch.device(device)):
            assert torch.backends.cudnn.allow_tf32 is rounds
        assert torch.backends.cudnn.allow_tf32
