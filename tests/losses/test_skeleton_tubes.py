"""The tube of SkeletonRecallLoss: by a cross, as the paper's code dilates, or by a box."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import generate_binary_structure, grey_dilation
from torch import Tensor

import medloss
from medloss.ops import soft_skeleton

BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}


def block(axes: int, reach: int) -> tuple[Tensor, Tensor]:
    """A block around the middle of a volume, and how many steps each voxel is away from the middle."""
    steps = torch.stack(torch.meshgrid(*[torch.arange(-4, 5).abs()] * axes, indexing="ij"))
    return (steps.amax(0) <= reach).double()[None, None], steps.sum(0)[None, None]


@pytest.mark.parametrize(
    ("axes", "reach", "diamond", "whole"),
    [(1, 1, 3, 3), (2, 1, 5, 9), (3, 1, 7, 27), (2, 2, 13, 25), (3, 2, 25, 125)],
)
def test_skeleton_recall_by_hand_of_a_block(axes: int, reach: int, diamond: int, whole: int) -> None:
    """The skeleton of a block is its middle; the diamond around it has 5 or 13 voxels in a plane, 7 or 25 in a volume.

    Whoever finds nothing but the diamond has found all of the tube by a cross, and that part of the one by a box.
    """
    target, steps = block(axes, reach)
    prediction = target * (steps <= reach)
    assert prediction.sum() == diamond
    assert target.sum() == whole
    cross, box = (medloss.SkeletonRecallLoss(**BARE, radius=reach, tube=tube) for tube in ("cross", "box"))
    assert cross(prediction, target).item() == pytest.approx(0)
    assert box(prediction, target).item() == pytest.approx(1 - diamond / whole)
    assert cross(target - prediction, target).item() == pytest.approx(1)
    assert medloss.SkeletonRecallLoss(**BARE, radius=reach).tube == "cross"


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shape", [(12,), (9, 8), (7, 6, 8)])
def test_the_tube_is_the_dilation_of_scipy(shape: tuple[int, ...], masked: bool) -> None:
    """By a cross twice, through whatever lies between: only then comes the region."""
    generator = torch.Generator().manual_seed(1)
    target = (torch.rand(1, 1, *shape, generator=generator) > 0.3).double()
    prediction, weight = (torch.rand(1, 1, *shape, generator=generator).double() for _ in range(2))
    weight = (weight - 0.2).clamp(min=0) if masked else torch.ones_like(weight)
    mask = weight if masked else None
    wide = soft_skeleton(target, mask, iterations=3)[0, 0].numpy()
    for _ in range(2):
        wide = grey_dilation(wide, footprint=generate_binary_structure(len(shape), 1), mode="constant", cval=0.0)
    tube = weight * target * torch.from_numpy(wide)
    expected = 1 - (prediction * tube).sum() / tube.sum()
    torch.testing.assert_close(medloss.SkeletonRecallLoss(**BARE)(prediction, target, mask), expected)


def test_an_unknown_tube() -> None:
    with pytest.raises(ValueError, match="tube='ball' is unknown: choose one of 'cross', 'box'"):
        medloss.SkeletonRecallLoss(tube="ball")
