"""``nth_largest`` in Triton: the sort of the reference, to the bit, in every order that numbers have."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from triton_harness import CAPABILITIES, Launch, check, move

from medloss.ops import BackendError, backend, nth_largest
from medloss.ops.nth_largest import OPERATOR
from medloss.ops.nth_largest import triton_launch as path


def compare(values: Tensor, counted: Tensor, n: Tensor) -> Tensor:
    """Triton gives the reference's number, or NaN where it does."""
    args = move((values, counted, n))
    with backend("reference"):
        expected = nth_largest(*args)
    with backend("triton"):
        found = nth_largest(*args)
    assert found.dtype == values.dtype
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())
    return found


def rows(dtype: torch.dtype, length: int) -> Tensor:
    """Any sign and size, ties, both infinities, NaN, both zeros; and near numbers that differ in the last digit."""
    values = torch.randn(7, length, dtype=torch.float64)
    values[1] *= 10.0 ** torch.randint(-7, 5, (length,))
    values[2] = torch.randint(-3, 4, (length,)).to(values)
    values[4] = 1 + torch.finfo(dtype).eps * torch.randint(0, 50, (length,))
    values[5] = -values[4]
    values[6] = torch.finfo(dtype).tiny * torch.randint(-2, 3, (length,))
    values = values.to(dtype)
    values[3, ::7], values[3, 1::7], values[3, 2::7] = torch.inf, -torch.inf, torch.nan
    values[3, 3::7] = torch.tensor(-torch.nan, dtype=dtype)
    values[2, ::3] *= -1  # zeros of either sign
    return values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_equals_the_reference(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of several programs, whose last tile is not full; a place of its own in each."""
    monkeypatch.setattr(path, "TILE", 256 if dtype == torch.float64 else 128)
    monkeypatch.setattr(path, "PROGRAMS", 14)
    values = rows(dtype, 333)
    counted = torch.rand(values.shape) > 0.2
    for place in (140, 17)[: 1 + (dtype != torch.float64)]:
        compare(values, counted, place + torch.arange(-1, 6)[:, None])


def test_places_that_are_not_there() -> None:
    """Less than the first is the first; beyond those that count lies minus infinity, and what does not count is not
    looked at."""
    values = torch.tensor([[2.0, 1.0, 3.0, torch.nan]]).repeat(6, 1)
    counted = values < 4
    counted[5] = False
    found = compare(values, counted, torch.tensor([[-2], [0], [3], [4], [99], [1]]))
    assert found.flatten().tolist() == [3, 3, 1, -torch.inf, -torch.inf, -torch.inf]
    assert compare(values, values.isnan(), torch.tensor([[1], [2]] * 3)).isnan().flatten().tolist() == [True, False] * 3


def test_layouts_and_one_value() -> None:
    values = torch.randn(40, 3).T
    compare(values, (values > -1).contiguous(), torch.tensor([[9]]).expand(3, 1))
    compare(torch.tensor([[-0.0]]), torch.tensor([[True]]), torch.tensor([[1]]))


def test_reasons() -> None:
    values, counted = torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.bool)
    for args, why in (
        ((values.long(), counted, torch.ones(2, 1, dtype=torch.int64)), "values is torch.int64, the kernel takes"),
        ((values, counted[:1], torch.ones(2, 1, dtype=torch.int64)), "counted and n do not fit the values"),
        ((values, counted, torch.ones(2, 1)), "n is torch.float32, the kernel takes int64"),
        ((values[:, :0], counted[:, :0], torch.ones(2, 1, dtype=torch.int64)), "there are no values"),
    ):
        with backend("triton"), pytest.raises(BackendError, match=why):
            OPERATOR(*move(args))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_large_rows_on_a_gpu(dtype: torch.dtype) -> None:
    """As many counts at one address as there can be, the same in every run; and the host does not wait."""
    values = torch.randn(2, 12_345_677, device="cuda").to(dtype)
    values[1] = torch.where(values[1] > 1.5, values[1], 0.0)
    counted = torch.rand(values.shape, device="cuda") > 0.1
    n = torch.tensor([[1_234_567], [9_876_543]], device="cuda")
    first = compare(values, counted, n)
    torch.cuda.set_sync_debug_mode("error")
    try:
        with backend("triton"):
            others = [nth_largest(values, counted, n) for _ in range(5)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(first, other) for other in others)


def launch(dtype: torch.dtype, length: int = 96**3) -> Launch:
    """A call on tensors that are never written."""

    def call() -> None:
        values, counted = torch.empty(2, length, dtype=dtype), torch.empty(2, length, dtype=torch.bool)
        OPERATOR.paths[-1].forward(OPERATOR.arguments(values, counted, torch.empty(2, 1, dtype=torch.int64)))

    return Launch(call, wide=2)


LAUNCHES = {str(dtype): launch(dtype) for dtype in (torch.float32, torch.float64)}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
