"""Numbers as arguments of kernels: all their digits arrive, and new ones make no new kernel."""

from __future__ import annotations

import math

import pytest
import torch
from triton_harness import CAPABILITIES, Launch, check, device

from medloss.ops import triton_numbers
from medloss.ops.triton_numbers import packed

HARD = (0.0, -0.0, 1.0, -1.0, 16.0, math.pi, 1e-310, 5e-324, 1.7e308, -2.2e-308, math.inf, -math.inf, math.nan, 1 / 3)


class OnGpu:
    """A device that is none of the host's, so that tables are written by the kernel."""

    type = "cuda"


def written(values: tuple[float, ...], dtype: torch.dtype, monkeypatch) -> torch.Tensor:
    """A table as it is made on a GPU; without one the kernel is interpreted."""
    made = torch.empty
    monkeypatch.setattr(torch, "empty", lambda count, dtype, device: made(count, dtype=dtype, device=DEVICE))
    return triton_numbers.table(values, dtype, OnGpu()).cpu()


DEVICE = device()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 14, 15, 16, 31, 40])
def test_tables_have_the_bits_of_their_numbers(count: int, dtype: torch.dtype, monkeypatch) -> None:
    values = tuple((HARD * 3)[:count])
    found, expected = written(values, dtype, monkeypatch), torch.tensor(values, dtype=dtype)
    bits = torch.int32 if dtype == torch.float32 else torch.int64
    same = (found.view(bits) == expected.view(bits)) | (found.isnan() & expected.isnan())
    signed = same | ((found == 0) & (expected == 0))  # a sum with 0 has no -0
    assert signed.all(), (found, expected)


def test_whole_numbers_and_more_of_them_than_a_launch_tells_apart(monkeypatch) -> None:
    values = tuple(range(-40, 40)) + (2**31 - 1, -(2**31)) + (1,) * 100
    assert written(values, torch.int32, monkeypatch).tolist() == list(values)
    assert len(triton_numbers._launches(values, torch.int32)) == 6
    assert len(triton_numbers._launches((0, 1, -1) * 600, torch.int32)) == 4  # 1800 of at most 480


def test_no_number_is_compiled_in() -> None:
    """Triton has a kernel of its own for a 1, for multiples of 16, and for what fits into 32 bits."""
    from triton.backends.nvidia.compiler import CUDABackend
    from triton.runtime.jit import native_specialize_impl

    def kind(values: tuple) -> object:
        return native_specialize_impl(CUDABackend, values, False, True, True)

    for dtype, hard in ((torch.float64, HARD), (torch.float32, HARD), (torch.int32, (0, 1, 16, -1, 2**31 - 1))):
        assert len({kind(packed((value,), dtype)) for value in hard}) == 1
    assert kind(triton_numbers._words([0] * 15)) == kind(triton_numbers._words([15] * 15)) == kind((2**62 + 3,))


def tables(dtype: torch.dtype, count: int):
    """The launch that writes a table."""

    def call() -> None:
        from medloss.ops import triton_functions

        for start, many, words, palette in triton_numbers._launches((0.0, 1.0) * count, dtype):
            triton_functions.write_numbers[(1,)](
                torch.empty(2 * count, dtype=dtype), words, palette, start, many, WORDS=len(words), num_warps=1
            )

    return call


# 4 words, and 32, which is the most.
LAUNCHES = {
    "float64": Launch(tables(torch.float64, 30), wide=0),
    "float32": Launch(tables(torch.float32, 30), wide=0),
    "int32": Launch(tables(torch.int32, 200), wide=0),
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ahead_of_time(capability: int, compile_ahead) -> None:
    check(LAUNCHES, compile_ahead(__file__, capability))
