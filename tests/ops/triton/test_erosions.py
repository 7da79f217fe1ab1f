"""``erosion_hausdorff`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import sys

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops.soft_morphology import erosion_triton_launch as path

OPERATOR = sys.modules["medloss.ops.soft_morphology"].EROSION_HAUSDORFF


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("shape", "k"), [((2, 2, 17), 3), ((2, 2, 7, 9), 2), ((1, 3, 4, 5, 6), 2)], ids=str)
def test_equals_the_reference(shape, k, masked, poisoned) -> None:
    """Whole numbers: extremes that several voxels have, and means of just one half; a class without any error."""
    x, t = (torch.randint(0, 2, shape).double() for _ in range(2))
    t[0, 0] = x[0, 0]
    mask = None
    if masked:
        mask = (torch.rand(shape[0], 1, *shape[2:]).double() + 0.1) * (torch.rand(shape[0], 1, *shape[2:]) > 0.1)
        x, t = x.masked_fill(mask == 0, torch.nan), t.masked_fill(mask == 0, torch.inf)
    compare(OPERATOR, move((x, t, mask, 1.5, k)), index=int(masked))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_lower_precision_and_layouts(dtype) -> None:
    x, t = 1.5 * torch.rand(1, 2, 8, 7).to(dtype).mT, torch.rand(1, 2, 7, 8).round() - 0.5
    mask = torch.rand(1, 2, 7, 8) > 0.1
    compare(OPERATOR, move((x, t, mask, 2.0, 2)), scale=5)


def test_no_erosion_and_few_volumes_at_a_time(monkeypatch) -> None:
    x, t = torch.randint(0, 2, (1, 3, 6, 5)).double(), torch.zeros(1, 3, 6, 5).double()
    compare(OPERATOR, move((x, t, None, 2.0, 0)), index=-1)
    whole = value_and_gradient(OPERATOR, "triton", move((x, t, None, 2.0, 2)))
    monkeypatch.setattr(path, "SCRATCH_BYTES", 1)
    parts = value_and_gradient(OPERATOR, "triton", move((x, t, None, 2.0, 2)))
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))


def test_nan_stays_one_in_its_volume() -> None:
    x = torch.randint(0, 2, (1, 2, 6, 5)).double()
    x[0, 1, 2, 2] = torch.nan
    args = move((x, torch.zeros_like(x), None, 2.0, 2))
    compare(OPERATOR, args, index=-1)
    _, gradient = value_and_gradient(OPERATOR, "triton", args)
    assert gradient[0, 1].isnan().any()
    assert not gradient[0, 0].isnan().any()


def launch(direction: str, dtype: torch.dtype, masked: bool) -> Launch:
    """A call on tensors that are never written; neighbours along a row do not lie at multiples of 16 bytes."""

    def call() -> None:
        x, t = (torch.empty(1, 2, 96, 96, 96, dtype=dtype) for _ in range(2))
        args = (x, t, torch.empty(1, 1, 96, 96, 96) if masked else None, 2.0, 3)
        path = OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(x.shape), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=1)


LAUNCHES = {
    "map": launch("forward", torch.float32, False),
    "mask, gradient": launch("backward", torch.bfloat16, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
