"""What no interpreter shows of the kernels for shapes and ranks, on a real GPU: large volumes, order of sums, waiting.

The parity tests beside this file run on a GPU, too, where there is one; these are the ones that need it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from triton_harness import compare, value_and_gradient

import medloss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CALLS: dict[str, Callable[[Tensor, Tensor], tuple[Any, ...]]] = {
    "soft_morphology.SOFT_SKELETON": lambda x, y: (x, None, 5),
    "soft_morphology.SKELETON_SUMS": lambda x, y: (x, y, (y > 0.01).to(x.dtype), 3),
    "soft_morphology.EROSION_HAUSDORFF": lambda x, y: ((x > 0.3).to(x.dtype), y, None, 2.0, 3),
    "squared_errors.OPERATOR": lambda x, y: (x, (3 * y[:, :1]).long(), x * y, None, "softmax", True, None, 0),
    "adjacent_differences.OPERATOR": lambda x, y: (x, None, y[:, :1], "isotropic", 1.0, [1.0, 0.5, 2.0], True),
    "jaccard_extension.OPERATOR": lambda x, y: (8 * x, (3 * y[:, :1]).long(), None, "hinge", True, None, False, 0),
}


def operator(name: str):
    module, attribute = name.split(".")
    return getattr(sys.modules[f"medloss.ops.{module}"], attribute)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CALLS)
def test_large_volumes(name, dtype) -> None:
    """Equal to the reference in double, and to themselves, bit by bit. Values of few levels have many equals."""
    x, y = ((torch.rand(2, 3, 70, 64, 98, device="cuda") * 1024).round().to(dtype) / 1024 for _ in range(2))
    args = CALLS[name](x, y)
    # what float32 rounds beyond one half, or below it, has another slope
    rounded = dtype == torch.float32 and name == "soft_morphology.EROSION_HAUSDORFF"
    compare(operator(name), args, index=-1 if rounded else 0, scale=20)
    first, second = (value_and_gradient(operator(name), "triton", args) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", ["distance", "square", "signed"])
def test_borders_in_a_large_volume(kind) -> None:
    border = operator("distance_map.BORDER")
    args = (torch.rand(2, 2, 97, 96, 130, device="cuda") > 0.999, [1.0, 1.5, 0.7], torch.float64, kind)
    found, expected = (value_and_gradient(border, path, args, -1)[0] for path in ("triton", "reference"))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_slabs_of_a_large_volume(monkeypatch) -> None:
    """Launches follow each other: a slab's scratch is written when the last one has been read."""
    from medloss.ops.soft_morphology import triton_launch

    x, y = (torch.rand(2, 2, 90, 64, 70, device="cuda") for _ in range(2))
    whole = value_and_gradient(operator("soft_morphology.SKELETON_SUMS"), "triton", (x, y, None, 2))
    monkeypatch.setattr(triton_launch, "SCRATCH_BYTES", 2**20)
    parts = value_and_gradient(operator("soft_morphology.SKELETON_SUMS"), "triton", (x, y, None, 2))
    torch.testing.assert_close(parts[0], whole[0], rtol=1e-6, atol=1e-6)
    assert torch.equal(parts[1], whole[1])


@pytest.mark.parametrize("name", ["LovaszSoftmaxLoss", "SoftclDiceLoss", "HausdorffERLoss"])
def test_a_loss_never_waits_for_the_gpu(name) -> None:
    loss = getattr(medloss, name)(softmax=True)
    x = torch.randn(1, 3, 33, 34, 35, device="cuda", requires_grad=True)
    target = torch.nn.functional.one_hot(torch.randint(0, 3, (1, 33, 34, 35), device="cuda"), 3).movedim(-1, 1).float()
    loss(x, target).backward()  # compiled, and its tables handed over, by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
