"""What the Triton paths over images share: tiles of rows, and images as kernels read them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SIZES = {torch.float32: 1024, torch.float64: 512}
"""Voxels of a program, by the dtype in which it computes."""
COLUMNS = (128, 64, 32)
"""Of a tile: rows are read in whole cache lines, of 32 numbers in single precision."""


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
    """Tiles for ``lines`` rows of ``width`` voxels: as long as rows are, or the longest that leave fewest columns idle.

    Rows of 160 are five tiles of 32, as two of 128 would have 38 % of the threads do nothing.

    ``size``: voxels of a program, where threads have no registers for as many as there are otherwise.
    """
    size, most = size or SIZES[dtype], padded(width)
    powers = [columns for columns in COLUMNS if columns <= most] or [most]
    columns = min(powers, key=lambda columns: -(-width // columns) * columns)
    high = min(size // columns, padded(lines))
    if high < size // columns:  # few rows: longer tiles
        columns = min(size // high, most)
    return Tiles(high, columns, -(-width // columns))


def padded(count: int) -> int:
    """The power of two that is at least this, as the axes of tiles have to be."""
    return 1 << (count - 1).bit_length()


def readable(tensor: Tensor) -> Tensor:
    """Contiguous, and truth values as bytes, which Triton has no pointers to."""
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor


def shared_weight(mask: Tensor | None, image: Tensor) -> tuple[Tensor, int]:
    """The weights of a readable image's voxels, and how many channels share one; without a mask the image itself."""
    if mask is None:
        return image, 1
    batch, channels, *spatial = image.shape
    return readable(mask.expand(batch, mask.shape[1], *spatial)), channels // mask.shape[1]
