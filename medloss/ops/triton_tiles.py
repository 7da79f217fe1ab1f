"""What the Triton paths over images share: tiles of rows, and tables that stay on the device."""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch import Tensor

SIZES = {torch.float32: 1024, torch.float64: 512}
"""Voxels of a program, by the dtype in which it computes."""
LONGEST_ROW = 128


class Tiles(NamedTuple):
    """How many rows and columns a program has, and how many programs lie side by side."""

    lines: int
    columns: int
    across: int

    def programs(self, lines: int) -> int:
        """Programs for so many rows."""
        return self.across * -(-lines // self.lines)

    @property
    def options(self) -> dict[str, int]:
        """What a kernel is told."""
        return {"LINES": self.lines, "COLUMNS": self.columns}


def tiles(lines: int, width: int, dtype: torch.dtype, size: int = 0) -> Tiles:
    """Tiles for ``lines`` rows of ``width`` voxels: as long as rows are, up to a whole number of cache lines.

    ``size``: voxels of a program, where threads have no registers for as many as there are otherwise.
    """
    size, width_padded = size or SIZES[dtype], padded(width)
    high = min(size // min(LONGEST_ROW, width_padded), padded(lines))
    columns = min(size // high, width_padded)
    return Tiles(high, columns, -(-width // columns))


def padded(count: int) -> int:
    """The power of two that is at least this, as the axes of tiles have to be."""
    return 1 << (count - 1).bit_length()


@functools.lru_cache(maxsize=4096)
def table(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers where a kernel finds all their digits; kept, since handing them over waits for the device.

    Many are kept, half a kilobyte each: a recorded CUDA graph knows the address alone, and reads it at every replay.
    """
    return torch.tensor(values, dtype=dtype, device=device)


def readable(tensor: Tensor) -> Tensor:
    """Contiguous, and truth values as bytes, which Triton has no pointers to."""
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
