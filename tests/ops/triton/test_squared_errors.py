"""``squared_errors`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move

from medloss.ops.squared_errors import OPERATOR


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 7, 5), (1, 2, 9, 23, 25)], ids=str)
def test_equals_the_reference(shape, index, poisoned) -> None:
    compare(OPERATOR, move([torch.randn(shape, dtype=torch.float64) for _ in range(3)]), index=index)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types_layouts_and_nan(dtype) -> None:
    x, c = torch.randn(2, 2, 9, 7).to(dtype).mT, torch.rand(2, 2, 7, 9)
    x[0, 1, 2, 3] = torch.nan
    compare(OPERATOR, move((x, torch.rand(2, 2, 7, 9) > 0.5, c)), scale=5)


def launch(direction: str, dtype: torch.dtype) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        maps = [torch.empty(1, 2, 64, 64, 64, dtype=dtype) for _ in range(3)]
        path = OPERATOR.paths[-1]
        path.forward(maps) if direction == "forward" else path.backward(torch.empty(1, 2), maps)

    return Launch(call)


LAUNCHES = {
    "sums": launch("forward", torch.float32),
    "gradient": launch("backward", torch.float32),
    "gradient, bf16": launch("backward", torch.bfloat16),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
