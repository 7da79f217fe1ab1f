"""Numbers handed to Triton kernels as arguments: nothing waits for the device, and a recorded graph holds no address.

A tensor made of Python's numbers is copied from the host, which waits; kept, it would lie in the memory of whichever
CUDA graph was recorded at the time. Arguments do neither. Triton takes tuples of them, in which a float has single
precision and a whole number that is 1 or a multiple of 16 is compiled in: so doubles go as bits, in words that are
neither (see ``triton_kernels.py: number``).
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

from medloss.ops import triton_path

WORD, CODE = 1 << 40, 1 << 62
"""Keep a word of 32 bits, and one of fifteen digits, among those that take 64."""
ALIGNED = 4
"""Numbers that take at least 16 bytes, at whose multiples Triton compiles other kernels than between them."""
DIGITS, PALETTE, MOST_WORDS = 15, 16, 32
"""Of a word of codes; numbers that a code tells apart; words of a launch (unrolled: 128 take 8 s to compile)."""


def _word(bits: int) -> int:
    """Odd, and beyond 32 bits: never compiled in, always of one type."""
    return WORD | (bits & 0xFFFFFFFF) << 1 | 1


@functools.lru_cache(maxsize=1024)
def packed(values: tuple[float, ...], dtype: torch.dtype) -> tuple[float | int, ...]:
    """The numbers as a kernel is given them: float32 as they are, int32 as words, float64 as two words each."""
    if dtype == torch.float32:
        return tuple(map(float, values))
    if dtype == torch.int32:
        return tuple(_word(int(value)) for value in values)
    halves = (struct.unpack("<II", struct.pack("<d", value)) for value in values)
    return tuple(_word(half) for pair in halves for half in pair)


def table(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers where a kernel may look for any of them, written on the device: one launch, or a few for very many."""
    if device.type == "cpu":
        return torch.tensor(values, dtype=dtype)
    from medloss.ops import triton_functions

    result = torch.empty(len(values), dtype=dtype, device=device)
    with triton_path.on_device(result):
        for start, count, words, palette in _launches(values, dtype):
            triton_functions.write_numbers[(1,)](result, words, palette, start, count, WORDS=len(words), num_warps=1)
    return result


def tables(parts: Sequence[Sequence[float]], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Some tables for one launch: parts of a tensor, each of which begins at a multiple of 16 bytes."""
    filled = [(*part, *[0.0] * (-len(part) % ALIGNED)) for part in parts]
    whole = table(tuple(itertools.chain(*filled)), dtype, device)
    starts = itertools.accumulate((len(part) for part in filled), initial=0)
    return [whole.narrow(0, start, len(part)) for start, part in zip(starts, parts)]


@functools.lru_cache(maxsize=1024)
def _launches(values: tuple[float, ...], dtype: torch.dtype) -> list[tuple[int, int, tuple[int, ...], tuple]]:
    """Of each launch: where it begins, how many it writes, its words of codes, and the numbers that codes are for."""
    found, start = [], 0
    while start < len(values):
        known: dict[bytes, int] = {}
        end = start
        while end < min(len(values), start + DIGITS * MOST_WORDS):
            key = struct.pack("<d", values[end])  # by its bits: -0 is not 0
            if key not in known and len(known) == PALETTE:
                break
            known.setdefault(key, len(known))
            end += 1
        codes = [known[struct.pack("<d", value)] for value in values[start:end]]
        told = [struct.unpack("<d", key)[0] for key in known]
        palette = packed(tuple(told + told[:1] * (PALETTE - len(told))), dtype)
        found.append((start, end - start, _words(codes), palette))
        start = end
    return found


def _words(codes: Sequence[int]) -> tuple[int, ...]:
    """Fifteen codes a word; a power of two of words, so that there are few kernels."""
    count = 1 << (-(-len(codes) // DIGITS) - 1).bit_length()
    rows = [codes[DIGITS * at : DIGITS * (at + 1)] for at in range(count)]
    return tuple(CODE | sum(code << (4 * at + 1) for at, code in enumerate(row)) | 1 for row in rows)
