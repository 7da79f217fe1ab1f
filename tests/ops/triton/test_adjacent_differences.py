"""``adjacent_differences`` in Triton: held to the reference in value and gradient, and compiled without a GPU."""

from __future__ import annotations

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, compare, move, value_and_gradient

from medloss.ops import BackendError, adjacent_differences, backend
from medloss.ops.adjacent_differences import OPERATOR

PENALTIES = [("absolute", 1.0), ("isotropic", 1.0), ("magnitude", 1.0), ("magnitude", 2.0)]
SHAPES = [(1,), (23,), (6, 11), (3, 4, 9), (3, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("penalty", "exponent"), PENALTIES)
def test_equals_the_reference(penalty, exponent, shape, poisoned) -> None:
    """Steps of integers: no two of them differ by a rounding, where the slope jumps. NaN under the mask."""
    x, y = (torch.randint(-9, 9, (2, 2, *shape)).double() for _ in range(2))
    paired = y if penalty == "magnitude" else None
    options = (penalty, exponent, [1.0, 0.5, 2.0][: len(shape)])
    compare(OPERATOR, move((x, paired, None, *options, True)))
    mask = torch.rand(2, 1, *shape).double() * (torch.rand(2, 1, *shape) > 0.3)
    seen = x.masked_fill(mask == 0, torch.nan)
    compare(OPERATOR, move((seen, paired, mask, *options, True)))
    each = (torch.rand(2, 2, *shape) > 0.3) * torch.rand(2, 2, *shape).double()
    compare(OPERATOR, move((x, paired, each, *options, False)), index=1 if penalty == "magnitude" else 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_lower_precision_and_layouts(dtype) -> None:
    x, mask = torch.randint(-9, 9, (1, 2, 6, 7)).to(dtype).mT, torch.rand(1, 1, 7, 6) > 0.2
    compare(OPERATOR, move((x, None, mask, "isotropic", 1.0, [1.0, 0.5], True)))


def test_nan_stays_one_and_what_is_not_taken() -> None:
    x = torch.randn(1, 2, 8, 8)
    x[0, 1, 3, 3] = torch.nan
    args = move((x, None, None, "absolute", 1.0, [1.0, 1.0], True))
    compare(OPERATOR, args, index=-1)
    gradient = value_and_gradient(OPERATOR, "triton", args)[1]
    assert gradient[0, 1, 2:5, 3].isnan().all()
    assert gradient.isnan().sum() == 5
    with backend("triton"), pytest.raises(BackendError, match=r"edge_aware with shape=1\.0 has no kernel"):
        adjacent_differences(*move((x, x)), penalty="edge_aware", axis_scale=[1.0, 1.0])


def launch(penalty: str, direction: str, dtype: torch.dtype, masked: bool) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        x, y = (torch.empty(1, 2, 96, 96, 96, dtype=dtype) for _ in range(2))
        mask = torch.empty(1, 1, 96, 96, 96) if masked else None
        args = (x, y if penalty == "magnitude" else None, mask, penalty, 1.0, [1.0] * 3, True)
        path = OPERATOR.paths[-1]
        path.forward(OPERATOR.arguments(*args)) if direction == "forward" else path.backward(
            torch.empty(1, 2), OPERATOR.arguments(*args)
        )

    return Launch(call, wide=0)  # a row's last voxel has no next one


LAUNCHES = {
    "isotropic": launch("isotropic", "forward", torch.float32, False),
    "isotropic, mask, gradient": launch("isotropic", "backward", torch.float32, True),
    "magnitude, mask, bf16, gradient": launch("magnitude", "backward", torch.bfloat16, True),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
