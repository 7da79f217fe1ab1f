"""Every loss on a real GPU: value and gradient are those of the CPU's reference, and no host waits for the GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import LossCase, cases, full_mask
from torch import Tensor

import medloss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def prepared(case: LossCase, dtype: torch.dtype, device: str) -> tuple[Any, list[Tensor], Tensor]:
    """The loss, its tensors and a mask."""
    tensors = case.inputs(max(2, case.row.least))
    mask = full_mask(case, tensors[0])
    mask.view(mask.shape[0], -1)[:, ::5] = 0
    tensors = [(tensor.to(dtype) if tensor.is_floating_point() else tensor).to(device) for tensor in tensors]
    return case.make().to(device), tensors, mask.to(device)


def value_and_gradient(loss: Any, tensors: list[Tensor], mask: Tensor) -> tuple[Tensor, Tensor]:
    first = tensors[0].detach().requires_grad_()
    value = loss(first, *tensors[1:], mask=mask)
    return value.detach(), *torch.autograd.grad(value, first, torch.ones_like(value))


@pytest.mark.parametrize("case", cases(), ids=str)
def test_equals_the_reference_on_the_cpu(case: LossCase) -> None:
    with medloss.backend("reference"):
        expected = value_and_gradient(*prepared(case, torch.float64, "cpu"))
    found = value_and_gradient(*prepared(case, torch.float32, "cuda"))
    for name, mine, theirs in zip(("value", "gradient"), found, expected, strict=True):
        assert mine.device.type == "cuda"
        torch.testing.assert_close(
            mine.cpu().double(), theirs, rtol=1e-3, atol=1e-3 * max(1e-2, theirs.abs().max().item()),
            msg=lambda text, name=name: f"{name}: {text}",
        )  # fmt: skip


@pytest.mark.parametrize("case", cases(), ids=str)
def test_no_host_waits(case: LossCase) -> None:
    call = prepared(case, torch.float32, "cuda")
    value_and_gradient(*call)  # compiled, and its tables handed over, by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        value_and_gradient(*call)
    finally:
        torch.cuda.set_sync_debug_mode("default")
