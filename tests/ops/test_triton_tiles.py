"""Tiles of rows: which leave the fewest columns idle."""

from __future__ import annotations

import pytest
import torch

from medloss.ops.triton_tiles import Tiles, tiles


@pytest.mark.parametrize(
    ("width", "columns", "across"),
    [(160, 32, 5), (128, 128, 1), (256, 128, 2), (192, 64, 3), (96, 32, 3), (144, 32, 5), (155, 32, 5), (224, 32, 7),
     (130, 32, 5), (64, 64, 1), (40, 64, 1), (17, 32, 1), (5, 8, 1), (1, 1, 1)],
)  # fmt: skip
def test_rows_are_cut_where_least_is_idle(width: int, columns: int, across: int) -> None:
    assert tiles(10**6, width, torch.float32) == Tiles(1024 // columns, columns, across)


@pytest.mark.parametrize("lines", [1, 2, 3, 100])
@pytest.mark.parametrize("width", [1, 7, 100, 160, 5000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiles_cover_all_voxels_and_are_no_larger_than_a_program(lines: int, width: int, dtype: torch.dtype) -> None:
    found = tiles(lines, width, dtype)
    assert found.across * found.columns >= width
    assert found.lines * found.columns <= (1024 if dtype == torch.float32 else 512)
    assert found.programs(lines) * found.lines * found.columns >= lines * width
