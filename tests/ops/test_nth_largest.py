"""``nth_largest``: the kernel beside the sort of the reference, in every order that numbers have."""

from __future__ import annotations

import pytest
import torch

from medloss.ops import backend, native, nth_largest

needs_library = pytest.mark.skipif(bool(native.unavailable()), reason="no native library")
EMPTY, THREE = torch.zeros(1, 3, dtype=torch.bool), torch.tensor([[2.0, 1.0, 3.0]])


@pytest.mark.parametrize("name", ["reference", pytest.param("native", marks=needs_library)])
def test_by_hand(name: str) -> None:
    with backend(name):
        for n, expected in ((0, 3.0), (1, 3.0), (2, 2.0), (3, 1.0), (4, -torch.inf)):
            assert nth_largest(THREE, ~EMPTY, torch.tensor([[n]])).item() == expected
        assert nth_largest(THREE, EMPTY, torch.tensor([[1]])).item() == -torch.inf
        assert nth_largest(THREE, THREE < 3, torch.tensor([[1]])).item() == 2
        assert nth_largest(THREE.masked_fill(THREE == 1, torch.nan), ~EMPTY, torch.tensor([[1]])).isnan()


@needs_library
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_is_the_reference(dtype: torch.dtype) -> None:
    """Any sign and size, ties, both infinities, NaN; and near numbers that differ in the last digit alone."""
    values = torch.randn(6, 999, dtype=dtype)
    values[1] *= 10.0 ** torch.randint(-35, 35, (999,))
    values[2] = torch.randint(-3, 4, (999,)).to(dtype)
    values[3, ::7], values[3, 1::7], values[3, 2::7] = torch.inf, -torch.inf, torch.nan
    values[3, 3::7] = -values[3, 2]  # a NaN with the sign of a negative number
    values[4] = 1 + torch.finfo(dtype).eps * torch.randint(0, 50, (999,))
    values[5] = -values[4]
    counted = torch.rand(values.shape) > 0.2
    for n in (1, 2, 17, 140, 400, 700, 950):
        place = torch.full((6, 1), n)
        with backend("reference"):
            expected = nth_largest(values, counted, place)
        with backend("native"):
            assert torch.equal(nth_largest(values, counted, place).nan_to_num(7e7), expected.nan_to_num(7e7))


def test_opcheck() -> None:
    values = torch.randn(2, 30, dtype=torch.float64)
    torch.library.opcheck(torch.ops.medloss.nth_largest.default, (values, values > 0, torch.tensor([[3], [4]])))


@pytest.mark.skipif(bool(native.unavailable()), reason=f"no native library: {native.unavailable()}")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fewer_rows_than_threads(dtype: torch.dtype) -> None:
    """The values of a row are shared out; whoever counts them, it is the same place."""
    before = torch.get_num_threads()
    try:
        for rows in (1, 2, 5):
            values = torch.randn(rows, 50001, dtype=dtype).round(decimals=3)
            counted, n = torch.rand(rows, 50001) > 0.2, torch.randint(1, 60000, (rows, 1))
            expected = torch.where(counted, values, -torch.inf).sort(1, descending=True).values
            expected = torch.where(n <= 50001, expected.gather(1, (n - 1).clamp_max(50000)), -torch.inf)
            for threads in (1, 2, 3, 4):
                torch.set_num_threads(threads)
                with backend("native"):
                    assert torch.equal(nth_largest(values, counted, n), expected)
    finally:
        torch.set_num_threads(before)
