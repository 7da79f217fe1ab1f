"""Local mutual information: values by hand, its limit, and what blocks and masks have to do with each other."""

from __future__ import annotations

import math

import pytest
import torch

import medloss

SHARP = {"sigma_ratio": 0.1, "num_bins": 2}
"""Each intensity of 0 and 1 in a bin of its own."""


def test_by_hand() -> None:
    """Blocks of 4 of a line of 10: log 2 where the bits go together, 0 where they are independent, a short block."""
    x = torch.tensor([[[0.0, 0, 1, 1, 0, 0, 1, 1, 0, 1]]], dtype=torch.float64)
    y = torch.tensor([[[1.0, 1, 0, 0, 0, 1, 0, 1, 0, 1]]], dtype=torch.float64)
    loss = medloss.LocalMutualInformationLoss(block=4, **SHARP)
    assert loss(x, y).item() == pytest.approx(-(4 * math.log(2) + 0 + 2 * math.log(2)) / 10, abs=1e-5)
    # without the first two voxels the first block is of one intensity
    mask = torch.ones(1, 1, 10)
    mask[..., :2] = 0
    assert loss(x, y, mask).item() == pytest.approx(-2 * math.log(2) / 8, abs=1e-5)


def test_one_block_is_the_whole() -> None:
    x, y = torch.rand(2, 2, 5, 6, dtype=torch.float64), torch.rand(2, 2, 5, 6, dtype=torch.float64)
    mask = torch.rand(2, 1, 5, 6)
    for kernel in ("gaussian", "b-spline"):
        options = {"num_bins": 9, "kernel_type": kernel, "intensity_range": "image"}
        ours, whole = (
            medloss.LocalMutualInformationLoss(block=7, **options),
            medloss.GlobalMutualInformationLoss(**options),
        )
        torch.testing.assert_close(ours(x, y), whole(x, y))
        torch.testing.assert_close(ours(x, y, mask), whole(x, y, mask))


def test_blocks_are_those_of_a_loop() -> None:
    x, y = torch.rand(2, 1, 6, 7, 4, dtype=torch.float64), torch.rand(2, 1, 6, 7, 4, dtype=torch.float64)
    whole = medloss.GlobalMutualInformationLoss(num_bins=6, reduction="none")
    total = torch.zeros(2, dtype=torch.float64)
    for i in range(0, 6, 3):
        for j in range(0, 7, 3):
            for k in range(0, 4, 3):
                at = (..., slice(i, i + 3), slice(j, j + 3), slice(k, k + 3))
                total += whole(x[at], y[at]) * x[at][0].numel()
    ours = medloss.LocalMutualInformationLoss(block=3, num_bins=6, reduction="none")(x, y)
    torch.testing.assert_close(ours, total / (6 * 7 * 4))


def test_under_a_mask_of_whole_blocks_it_is_that_of_the_box() -> None:
    x, y = torch.rand(1, 1, 8, 8, dtype=torch.float64), torch.rand(1, 1, 8, 8, dtype=torch.float64)
    mask = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    mask[..., 4:, 2:6] = True
    loss = medloss.LocalMutualInformationLoss(block=2, num_bins=4)
    dirty = torch.where(mask, x, torch.nan)
    torch.testing.assert_close(loss(dirty, y, mask), loss(x[..., 4:, 2:6], y[..., 4:, 2:6]))


def test_a_contrast_that_changes_sides_is_seen_block_by_block() -> None:
    """The right half is inverted: block by block one image still tells all about the other, in the whole much less."""
    x = torch.rand(1, 1, 16, 32).round()
    y = torch.where(torch.arange(32) < 16, x, 1 - x)
    local = medloss.LocalMutualInformationLoss(block=16, **SHARP)(x, y)
    assert local.item() == pytest.approx(-math.log(2), abs=0.02)
    assert medloss.GlobalMutualInformationLoss(**SHARP)(x, y) > -0.05


def test_faults() -> None:
    for block in (1, 2.5):
        with pytest.raises(ValueError, match="must be a whole number of voxels, at least 2"):
            medloss.LocalMutualInformationLoss(block=block)
