"""What no interpreter shows of resampling, MIND, pools, residuals and spreads, on a real GPU: races, size, waiting.

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
UNIT = [1.0, 1.0, 1.0]


def field(x: Tensor) -> Tensor:
    """A displacement of some voxels, B 3 [spatial], rough enough that many points share their voxels."""
    return 6 * (x[:, :1] * 7.3).sin().expand(-1, 3, *x.shape[2:]) * torch.rand(3, 1, 1, 1).to(x)


CALLS: dict[str, tuple[Callable[[Tensor, Tensor], tuple[Any, ...]], tuple[int, ...]]] = {
    "resample.OPERATOR": (lambda x, y: (x, field(y), [1.0, 0.7, 1.3]), (0, 1)),
    "mind.OPERATOR": (lambda x, y: (x, y, (y[:, :1] > 0.1).to(x.dtype), 2, 2, "squared", True), (0, 1)),
    "soft_morphology.MAX_POOL": (lambda x, y: (x, None, 5), (0,)),
    "soft_morphology.BOUNDARY_SUMS": (lambda x, y: (x, y, (y[:, :1] > 0.1).to(x.dtype), 3, 5), (0, 1)),
    "pointwise.OPERATOR": (
        lambda x, y: (x, y, y[:, :1], "charbonnier", False, None, 0.0, None, None, True, 0.3, False),
        (0, 1),
    ),
    "jacobian.PENALTY": (lambda x, y: (field(y) / 20, None, "sdlog", 0.1, "all", UNIT, "interior", True), (0,)),
}


def operator(name: str):
    module, attribute = name.split(".")
    return getattr(sys.modules[f"medloss.ops.{module}"], attribute)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CALLS)
def test_large_volumes(name, dtype) -> None:
    """Equal to the reference in double, and to themselves, bit by bit, however threads come.

    What single precision rounds into the next voxel has another slope there: of positions it is compared in double.
    """
    x, y = (torch.rand(2, 2, 70, 64, 98, device="cuda").to(dtype) for _ in range(2))
    call, indices = CALLS[name]
    args = call(x, y)
    for index in indices:
        if dtype == torch.float64 or index == 0:
            compare(operator(name), args, index=index, scale=20)
        first, second = (value_and_gradient(operator(name), "triton", args, index) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_all_points_in_one_voxel() -> None:
    """As many sums at one address as there can be: none is lost, and none depends on who comes first."""
    values, at = torch.zeros(1, 1, 8, 8, 8, device="cuda"), torch.full((1, 3, 2**22), 1e9, device="cuda")
    cotangent = torch.rand(1, 1, 2**22, device="cuda")
    path = operator("resample.OPERATOR").paths[-1]
    found = [path.backward(cotangent, operator("resample.OPERATOR").arguments(values, at, None)) for _ in range(3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0][0, 0, 7, 7, 7].double(), cotangent.double().sum(), rtol=1e-6, atol=0)


def test_slabs_of_a_large_volume(monkeypatch) -> None:
    """Slabs of a gradient see as far as they must, and scratch is written when the last one has been read."""
    triton = sys.modules["medloss.ops.mind.triton_launch"]
    x, y = (torch.rand(1, 2, 90, 40, 50, device="cuda", dtype=torch.float64) for _ in range(2))
    for reduce in (False, True):
        args = (x, y, (y > 0.1).to(x.dtype), 2, 2, "squared", reduce)
        whole = value_and_gradient(operator("mind.OPERATOR"), "triton", args)
        with monkeypatch.context() as patch:
            patch.setattr(triton, "SCRATCH_BYTES", 2**20)
            parts = value_and_gradient(operator("mind.OPERATOR"), "triton", args)
        torch.testing.assert_close(parts, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 40 * 2**30, reason="needs 40 GB of a GPU's memory"
)
def test_offsets_beyond_32_bits() -> None:
    """The last of many volumes, whose offset is beyond 2^31, is as it is alone."""
    x = torch.rand(1, 129, 256, 256, 256, dtype=torch.bfloat16, device="cuda")
    assert x[:, :-1].numel() == 2**31
    last = x[:, -1:].clone()
    at = torch.tensor([[[250.3], [3.4], [100.5]]], device="cuda")
    residual = ("huber", False, None, 0.5, None, None, True, 1.0, False)
    for name, rest in (
        ("resample.OPERATOR", lambda _: (at, None)),
        ("pointwise.OPERATOR", lambda z: (z.flip(-1), None, *residual)),
        ("soft_morphology.MAX_POOL", lambda _: (None, 3)),
    ):
        path = operator(name).paths[-1]
        found, expected = (
            path.forward(operator(name).arguments(x, *rest(x))),
            path.forward(operator(name).arguments(last, *rest(last))),
        )
        assert torch.equal(found[:, -1:], expected), name
        del found


@pytest.mark.parametrize(
    ("name", "options", "images"),
    [
        ("MINDSSCLoss", {}, 2),
        ("BoundaryF1Loss", {"softmax": True}, 2),
        ("CharbonnierLoss", {}, 2),
        ("JacobianLoss", {"penalty": "sdlog"}, 1),
        ("InverseConsistencyLoss", {}, 2),
    ],
)
def test_a_loss_never_waits_for_the_gpu(name, options, images) -> None:
    loss, inputs = getattr(medloss, name)(**options), [torch.rand(1, 3, 33, 34, 35, device="cuda") for _ in range(2)]
    inputs[0].requires_grad_()
    inputs = inputs[:images]
    assert "triton" in medloss.explain(loss, *inputs)
    loss(*inputs).backward()  # compiled, and its tables handed over, by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(*inputs).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
