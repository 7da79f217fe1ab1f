"""How the Triton kernels over windows are cut into programs: by sizes, window, dtype and the GPU's multiprocessors."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch

REGISTERS = 2**16
"""Of a multiprocessor."""
OTHERS = 40
"""Registers of a thread beside its sums: addresses, weights, what it computes."""
THREADS = 128
MOST_PROGRAMS = 16
"""Of so many threads on a multiprocessor: more do not fit."""
START = 4
"""Steps that the start of a sliding window costs."""
SHORTEST = 4
"""Steps below which a program repeats more of its neighbour's work than it does of its own."""
HELD = {torch.float32: 124, torch.float64: 65}
"""Sums and weights that a thread may keep, by their width."""
HELD_IN_VECTORS = 48
"""Registers up to which a thread has several voxels, and loads them at once."""
LIMITS = {
    "rows": {30: None, 44: 96, 70: 128, 100: 168},
    "score": {30: None, 44: 96, 70: 128, 74: 168},
    "adjoint": {30: None, 44: 96, 70: 128, 100: 168},
}
"""Limits of registers for the compiler, by those of sums and weights: without one it prefers one program more on a
multiprocessor, and spills. Above, all that a thread can have."""
MOST_REGISTERS = 255


class SlidingWindow(NamedTuple):
    """A launch of programs that each take a tile of voxels down a part of an axis."""

    tile: int
    warps: int
    tiles: int
    chunk: int
    chunks: int
    registers: int | None

    @property
    def grid(self) -> tuple[int, int]:
        """Programs."""
        return self.tiles, self.chunks

    @property
    def options(self) -> dict[str, int]:
        """Launch options."""
        limit = {} if self.registers is None or torch.version.hip else {"maxnreg": self.registers}
        return {"TILE": self.tile, "num_warps": self.warps} | limit


@functools.lru_cache(maxsize=1024)
def sliding_window(
    voxels: int, groups: int, extent: int, repeated: int, held: int, dtype: torch.dtype, multiprocessors: int,
    kind: str,
) -> SlidingWindow:  # fmt: skip
    """Tiles and parts of an axis, so that all multiprocessors work and little is done twice.

    Args:
        voxels: abreast, in each of the groups; a tile does not reach from one into the next.
        groups: of voxels.
        extent: steps down the axis.
        repeated: steps that each part needs beside its own.
        held: sums and weights that a thread keeps for each voxel.
        dtype: of these sums.
        multiprocessors: of the GPU.
        kind: "rows" of planes, or planes that "score" or the "adjoint" takes. There a thread may have neighbours.
    """
    words = torch.finfo(dtype).bits // 32
    most = min(THREADS, max(32, 1 << (voxels - 1).bit_length()))
    each = 1
    while kind != "rows" and 2 * each * held * words <= HELD_IN_VECTORS and each * words < 4:
        each *= 2
    while each > 1 and groups * -(-voxels // (most * each)) * (extent // (4 * repeated + 8)) < 4 * multiprocessors:
        each //= 2
    tile = most * each
    tiles = groups * -(-voxels // tile)
    programs = REGISTERS // ((OTHERS * words + held * words * each) * most)
    room = multiprocessors * max(1, min(MOST_PROGRAMS, programs))
    parts = range(1, max(1, extent // SHORTEST) + 1)

    def cost(count: int) -> int:
        return (-(-extent // count) + repeated + START) * -(-tiles * count // room)

    chunk = -(-extent // min(parts, key=cost))
    sums = held * words * each + (OTHERS + 5) * (words - 1) + 8 * (each - 1)
    limit = next((limit for most, limit in LIMITS[kind].items() if sums <= most), MOST_REGISTERS)
    return SlidingWindow(tile, most // 32, tiles, chunk, -(-extent // chunk), limit)


@functools.cache
def multiprocessors(device: torch.device) -> int:
    """Of a GPU; where kernels are interpreted or only compiled, those of a large one."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132
