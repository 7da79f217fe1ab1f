"""``joint_histogram`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, compare, move

OPERATOR = sys.modules["medloss.ops.joint_histogram"].OPERATOR
CASES = [("gaussian", 23, 0.5), ("gaussian", 5, 1.7), ("b-spline", 9, 0.5), ("b-spline", 32, 0.5)]


def images(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two images, some of whose intensities lie outside the ranges or at their ends; one range has no width."""
    x, y = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    ranges = torch.tensor([[-1.0, 1.5, -0.5, 2.0]] * shape[0], dtype=torch.float64)
    ranges[-1, 2:] = 0.25
    x[0, 0].view(-1)[:2] = torch.tensor([-1.0, 1.5])
    return x, y, ranges


@pytest.mark.parametrize("shape", [(2, 1, 37), (1, 2, 11, 13), (2, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize(("kernel", "bins", "sigma"), CASES)
def test_equals_the_reference(kernel, bins, sigma, shape, poisoned) -> None:
    x, y, ranges = images(shape)
    compare(OPERATOR, move((x, y, None, ranges, kernel, bins, sigma)))
    channels = 1 if len(shape) == 5 else shape[1]
    kept = torch.rand(shape[0], channels, *shape[2:]) > 0.4
    for image in (x, y):
        image.masked_fill_(~kept, torch.nan)
    mask = kept if len(shape) == 4 else kept * torch.rand(kept.shape)
    compare(OPERATOR, move((x, y, mask, ranges, kernel, bins, sigma)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision(dtype) -> None:
    x, y, ranges = images((1, 1, 9, 31), dtype)
    compare(OPERATOR, move((x, y, None, ranges, "gaussian", 23, 0.5)), scale=2)


def test_programs_that_walk(monkeypatch) -> None:
    """More tiles than programs, and a last program without any voxel."""
    from medloss.ops.joint_histogram import triton_launch

    monkeypatch.setattr(triton_launch, "PROGRAMS", 3)
    x, y, ranges = images((1, 1, 270))
    compare(OPERATOR, move((x, y, None, ranges, "gaussian", 23, 0.5)))


def test_a_cotangent_far_from_zero_costs_no_digits() -> None:
    """What all bins have in common moves nothing, as the weights sum to one."""
    x, y, ranges = images((1, 1, 200), torch.float32)
    path, args = OPERATOR.paths[-1], move((x, y, None, ranges, "gaussian", 32, 0.5))
    cotangent = torch.randn(1, 32, 32).to(args[0].device)
    near, far = (
        path.backward(cotangent, OPERATOR.arguments(*args)),
        path.backward(cotangent + 512, OPERATOR.arguments(*args)),
    )
    torch.testing.assert_close(far, near, rtol=1e-3, atol=2e-3 * near.abs().max().item())


def launch(direction: str, kernel: str, bins: int, dtype: torch.dtype = torch.float32) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, y = torch.empty(1, 1, 128, 128, 128, dtype=dtype), torch.empty(1, 1, 128, 128, 128, dtype=dtype)
        args, path = (x, y, None, torch.empty(1, 4), kernel, bins, 0.5), OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(1, bins, bins), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=0)


LAUNCHES = {
    "gaussian 32": launch("forward", "gaussian", 32),
    "gaussian 32, gradient": launch("backward", "gaussian", 32),
    "gaussian 128, gradient": launch("backward", "gaussian", 128),
    "b-spline 64 bf16, gradient": launch("backward", "b-spline", 64, torch.bfloat16),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
